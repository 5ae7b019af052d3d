"""Refresh on every transport of this server (RFC 8656 §8.2)."""

from pathlib import Path

from cli.conform.catalogue import all_checks
from tests.support.conformance import run_group

GROUP = "refreshing"


def test_this_server_does_what_is_right(tmp_path: Path) -> None:
    found = run_group(tmp_path, GROUP)
    assert found["wrong"] == set()
    assert found["untested"] == set()
    everything = {name for name, check in all_checks().items() if check.group == GROUP}
    assert found["passed"] | found["untested"] == everything
