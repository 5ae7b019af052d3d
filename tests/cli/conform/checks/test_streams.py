"""TCP and TLS (RFC 8656 §3.1, §12.5)."""

from pathlib import Path

from cli.conform.catalogue import all_checks
from tests.support.conformance import run_group

GROUP = "streams"


def test_this_server_does_what_is_right(tmp_path: Path) -> None:
    found = run_group(tmp_path, GROUP)
    assert found["wrong"] == set()
    assert found["untested"] == set()
    everything = {name for name, check in all_checks().items() if check.group == GROUP}
    assert found["passed"] | found["untested"] == everything
