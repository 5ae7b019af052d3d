"""The long-term mechanism on every transport of this server, with both kinds of integrity (RFC 8489 §9.2)."""

from pathlib import Path

from cli.conform.catalogue import all_checks
from tests.support.conformance import run_group

GROUP = "authentication"


def test_this_server_does_what_is_right(tmp_path: Path) -> None:
    found = run_group(tmp_path, GROUP)
    assert found["wrong"] == set()
    assert found["untested"] == {"userhash-accepted", "userhash-unknown"}
    everything = {name for name, check in all_checks().items() if check.group == GROUP}
    assert found["passed"] | found["untested"] == everything
