"""Settings of the kernel, in a folder that looks like /proc."""

from collections.abc import Callable

import pytest

from cli.doctor.checks.kernel import buffers, clock, conntrack, rp_filter
from cli.doctor.clock import ClockState
from cli.doctor.findings import HostFinding, Severity
from cli.doctor.host import Host, Interface
from turnserver.transports.udp import RECEIVE_BUFFER, SEND_BUFFER

Make = Callable[..., Host]
Kernel = Callable[..., None]
ETH0, ETH1 = (Interface(f"eth{number}", (bytes((192, 0, 2, number)),)) for number in range(2))
LO = Interface("lo", (bytes((127, 0, 0, 1)),))


def grades(findings: list[HostFinding]) -> list[Severity]:
    return [each.grade for each in findings]


async def test_buffers(make: Make, kernel: Kernel) -> None:
    """Too small a limit is a warning, with the lines that raise it now and for good."""
    kernel(**{"net/core/rmem_max": 212992, "net/core/wmem_max": SEND_BUFFER})
    found = await buffers(make())
    assert grades(found) == [Severity.WARNING, Severity.OK]
    assert found[0].mend[0] == f"sysctl -w net.core.rmem_max={RECEIVE_BUFFER}"
    assert found[0].mend[1] == f"echo 'net.core.rmem_max = {RECEIVE_BUFFER}' >> /etc/sysctl.d/60-meshturn.conf"


async def test_buffers_in_a_container(make: Make) -> None:
    """A network namespace does not have these: not checked, and not fine."""
    assert grades(await buffers(make())) == [Severity.NOT_CHECKED] * 2


@pytest.mark.parametrize(
    ("count", "most", "grade"),
    [
        (10, 262_144, Severity.OK),
        (10, 20_000, Severity.WARNING),
        (220_000, 262_144, Severity.WARNING),
        (262_144, 262_144, Severity.WRONG),
    ],
)
async def test_conntrack(make: Make, kernel: Kernel, count: int, most: int, grade: Severity) -> None:
    """A table that is full, nearly full, or smaller than the limits of the configuration may need (24,000)."""
    kernel(**{"net/netfilter/nf_conntrack_count": count, "net/netfilter/nf_conntrack_max": most})
    (found,) = await conntrack(make())
    assert found.grade is grade
    assert (grade is Severity.OK) == (not found.mend)
    if found.mend:
        raised = int(found.mend[0].rpartition("=")[2])
        assert found.mend[0].startswith("sysctl -w net.netfilter.nf_conntrack_max=")
        assert raised >= max(24_000, count)


async def test_no_conntrack(make: Make, tmp_path: object) -> None:
    """Without the module nothing can fill up; without /proc/sys nothing is known."""
    assert grades(await conntrack(make())) == [Severity.OK]
    assert grades(await conntrack(make(proc=make().proc / "missing"))) == [Severity.NOT_CHECKED]


@pytest.mark.parametrize(
    ("common", "own", "interfaces", "grade"),
    [
        (0, 1, [LO, ETH0, ETH1], Severity.WARNING),
        (1, 0, [LO, ETH0, ETH1], Severity.WARNING),
        (2, 1, [LO, ETH0, ETH1], Severity.OK),
        (0, 0, [LO, ETH0, ETH1], Severity.OK),
        (1, 1, [LO, ETH0], Severity.OK),
    ],
)
async def test_rp_filter(
    make: Make, kernel: Kernel, common: int, own: int, interfaces: list[Interface], grade: Severity
) -> None:
    """The larger of both numbers counts (ip-sysctl), and strict filtering does harm with several interfaces only."""
    kernel(**{"net/ipv4/conf/all/rp_filter": common, "net/ipv4/conf/eth0/rp_filter": own})
    (found,) = await rp_filter(make(interfaces=lambda: interfaces))
    assert found.grade is grade
    if grade is Severity.WARNING:
        assert found.mend[0] == "sysctl -w net.ipv4.conf.eth0.rp_filter=2"


async def test_interfaces_with_dots(make: Make, kernel: Kernel) -> None:
    """sysctl(8) takes slashes then."""
    vlan = Interface("eth0.100", (bytes((192, 0, 2, 9)),))
    kernel(**{"net/ipv4/conf/all/rp_filter": 0, "net/ipv4/conf/eth0.100/rp_filter": 1})
    (found,) = await rp_filter(make(interfaces=lambda: [vlan, ETH0]))
    assert found.mend[0] == "sysctl -w net/ipv4/conf/eth0.100/rp_filter=2"


async def test_no_rp_filter(make: Make) -> None:
    """Nothing to read is not fine."""
    assert grades(await rp_filter(make())) == [Severity.NOT_CHECKED]


@pytest.mark.parametrize(
    ("state", "grade"),
    [
        (ClockState(True, 0.02), Severity.OK),
        (ClockState(True, 3.0), Severity.WARNING),
        (ClockState(False, 16.0), Severity.WARNING),
    ],
)
async def test_clock(make: Make, state: ClockState, grade: Severity) -> None:
    """A clock that nobody keeps, or that may be off by seconds."""
    (found,) = await clock(make(clock=lambda: state))
    assert found.grade is grade
    assert (grade is Severity.OK) == (not found.mend)


async def test_no_clock(make: Make) -> None:
    """A system that does not tell."""

    def silent() -> ClockState:
        raise OSError("only Linux tells")

    (found,) = await clock(make(clock=silent))
    assert (found.grade, "only Linux tells" in found.what) == (Severity.NOT_CHECKED, True)
