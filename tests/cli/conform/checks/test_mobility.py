"""Mobility, where it is switched on (RFC 8016 §3)."""

from pathlib import Path

from cli.conform.catalogue import all_checks
from tests.support.conformance import run_group
from tests.support.server import loopback_config

GROUP = "mobility"


def test_this_server_does_what_is_right(tmp_path: Path) -> None:
    found = run_group(tmp_path, GROUP, relay=loopback_config()["relay"] | {"mobility": True})
    assert found["wrong"] == set()
    assert found["untested"] == set()
    assert found["passed"] == {name for name, check in all_checks().items() if check.group == GROUP}


def test_where_it_is_off_there_is_nothing_to_see_but_the_refusal(tmp_path: Path) -> None:
    found = run_group(tmp_path, GROUP)
    assert found["wrong"] == set()
    assert found["passed"] == {"mobility-asked"}
