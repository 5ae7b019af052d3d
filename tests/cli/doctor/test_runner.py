"""The run of all checks: a check that fails costs itself."""

from collections.abc import Callable

from cli.doctor.findings import CheckName, HostFinding, Severity, ok
from cli.doctor.host import Host
from cli.doctor.runner import diagnose


async def fine(host: Host) -> list[HostFinding]:
    return [ok("fine")]


async def empty(host: Host) -> list[HostFinding]:
    return []


async def broken(host: Host) -> list[HostFinding]:
    raise ValueError("what nobody foresaw\x1b[2J")


CHECKS = {CheckName.CLOCK: fine, CheckName.DNS: empty, CheckName.SRV: broken}


async def test_each_check_by_itself(make: Callable[..., Host]) -> None:
    """Neither a check without findings nor one that fails is counted as fine; texts are made safe."""
    found = await diagnose(make(), "file", checks=CHECKS)
    grades = {subject: [each.grade for each in group] for subject, group in found.findings.items()}
    assert grades == {
        CheckName.CLOCK: [Severity.OK],
        CheckName.DNS: [Severity.NOT_CHECKED],
        CheckName.SRV: [Severity.NOT_CHECKED],
    }
    assert "ValueError: what nobody foresaw\\x1b[2J" in found.findings[CheckName.SRV][0].what


async def test_some_of_them(make: Callable[..., Host]) -> None:
    """Only those that are named."""
    found = await diagnose(make(), "file", [CheckName.DNS], CHECKS)
    assert list(found.findings) == [CheckName.DNS]
    assert not found.ok
