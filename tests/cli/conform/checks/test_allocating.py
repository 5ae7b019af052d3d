"""Allocate on every transport of this server (RFC 8656 §7.2)."""

from pathlib import Path

from cli.conform.catalogue import all_checks
from cli.conform.findings import Grade
from tests.support.conformance import grade_all, kit_server, run_group

GROUP = "allocating"


def test_this_server_does_what_is_right(tmp_path: Path) -> None:
    found = run_group(tmp_path, GROUP)
    assert found["wrong"] == set()
    assert found["untested"] == {"quota"}
    everything = {name for name, check in all_checks().items() if check.group == GROUP}
    assert found["passed"] | found["untested"] == everything


async def test_a_quota_is_seen_where_there_is_one(tmp_path: Path) -> None:
    """Only with --intrusive; the allocations are deleted."""
    for most, grade in ((3, Grade.PASSED), (1000, Grade.UNTESTED)):
        limits = {"allocations_per_user": most}
        async with kit_server(tmp_path, ["udp"], hosts=["127.0.0.1"], limits=limits) as (server, targets):
            report = await grade_all(targets, "quota", intrusive=True)
            assert [each.grade for each in report.findings] == [grade]
            assert not server.snapshot().allocations
