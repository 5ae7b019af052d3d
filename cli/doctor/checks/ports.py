"""Whether the server answers at each of its ports, asked from this host."""

import asyncio
from ipaddress import ip_address

from cli.doctor.findings import HostFinding, not_checked, ok, wrong
from cli.doctor.host import Host, ServedSocket

__all__ = ["ports"]

_START = ("systemctl status meshturn", "journalctl -u meshturn -e")


async def ports(host: Host) -> list[HostFinding]:
    """A Binding request to each socket, over each transport; from outside, firewalls and NATs come on top."""
    fixed = [door for door in host.doors if not door.behind]
    silent: dict[str, list[ServedSocket]] = {}
    for door, trouble in zip(fixed, await asyncio.gather(*(_trouble(host, door) for door in fixed)), strict=True):
        silent.setdefault(trouble, []).append(door)
    found = [_finding(trouble, doors) for trouble, doors in silent.items()]
    found += [
        not_checked(
            f"{door}: clients come through proxies, which write a PROXY header or the headers of HTTP.",
            f"meshturn probe '{door.uri}'    # at the address of the proxy, from another machine",
        )
        for door in host.doors
        if door.behind
    ]
    return found or [not_checked("No listener has a port of its own (port: 0 takes a free one).")]


async def _trouble(host: Host, door: ServedSocket) -> str:
    """Why the server does not answer at a socket; empty if it does."""
    report = await host.probe(door.uri)
    if report.reflexive is not None:
        return ""
    return report.steps[-1].sentence if report.steps else "No answer."


def _finding(trouble: str, doors: list[ServedSocket]) -> HostFinding:
    listed = ", ".join(map(str, doors))
    if not trouble:
        local = all(ip_address(door.address.ip).is_loopback for door in doors)
        return ok(
            f"The server answers at {listed}" + (", which only programs on this host can reach." if local else ".")
        )
    return wrong(
        f"{listed}: {trouble}",
        "Either the server does not run, or another program has the port, or a firewall drops packets inside this "
        "host. Clients get nothing there.",
        *_START,
    )
