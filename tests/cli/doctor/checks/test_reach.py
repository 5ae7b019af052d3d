"""Hairpinning and IPv6. `tests/net/test_doctor.py` has real NATs."""

from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

import pytest

from cli.doctor.checks.reach import hairpin, ipv6
from cli.doctor.findings import Severity
from cli.doctor.host import Host, Interface
from tests.support.server import free_port
from turnserver.server import Server

Make = Callable[..., Host]
PUBLIC6, PRIVATE6 = ip_address("2001:db8::7").packed, ip_address("fd00::7").packed


def on(address: str, port: int = 3478, **relay: Any) -> dict[str, Any]:
    return {"listeners": [{"transport": "udp", "address": address, "port": port}], "relay": relay}


async def test_a_public_address(make: Make) -> None:
    """Nothing is in front of it."""
    (found,) = await hairpin(make(on("192.0.2.1")))
    assert (found.grade, "no NAT" in found.what) == (Severity.OK, True)


@pytest.mark.parametrize("options", [on("10.0.0.1"), on("192.0.2.1", external="auto", stun_server="stun:192.0.2.9")])
async def test_the_public_address_is_not_known(make: Make, options: dict[str, Any]) -> None:
    """Nothing can be tried then."""
    (found,) = await hairpin(make(options))
    assert found.grade is Severity.NOT_CHECKED


async def test_through_the_public_address(make: Make) -> None:
    """127.0.0.2 stands for the public address of 127.0.0.3, and the server answers at both."""
    port = free_port()
    listeners = [{"transport": "udp", "address": f"127.0.0.{each}", "port": port} for each in (2, 3)]
    given = on("127.0.0.3", port, external={"127.0.0.3": "127.0.0.2"})
    host = make(given, patience=30.0)
    # Loopback is never behind a NAT, so the pair is looked at by itself.
    from cli.doctor.checks.reach import _through

    own, public = (ip_address(f"127.0.0.{each}").packed for each in (3, 2))
    async with Server({"listeners": listeners}):
        found = await _through(host, own, public)
    assert (found.grade, "The NAT hairpins" in found.what) == (Severity.OK, True)
    async with Server({"listeners": listeners[1:]}):
        found = await _through(host, own, public)
    assert (found.grade, "split DNS" in found.mend[0]) == (Severity.WARNING, True)
    found = await _through(host, own, public)
    assert (found.grade, "does not answer" in found.what) == (Severity.NOT_CHECKED, True)


def interfaces(*ips: bytes) -> dict[str, Any]:
    return {"interfaces": lambda: [Interface("eth0", ips)]}


@pytest.mark.parametrize(
    ("ips", "address", "route", "grade", "words"),
    [
        ((), "192.0.2.1", None, Severity.OK, "has no IPv6"),
        ((), "2001:db8::7", None, Severity.WRONG, "no IPv6 address"),
        ((PRIVATE6,), "192.0.2.1", None, Severity.OK, "private IPv6 addresses only"),
        ((PUBLIC6,), "192.0.2.1", PUBLIC6, Severity.WARNING, "no listener is on IPv6"),
        ((PUBLIC6,), "2001:db8::7", None, Severity.WRONG, "no route"),
        ((PUBLIC6,), "2001:db8::7", PUBLIC6, Severity.OK, "with a route"),
    ],
)
async def test_ipv6(
    make: Make, ips: tuple[bytes, ...], address: str, route: bytes | None, grade: Severity, words: str
) -> None:
    """Addresses, listeners and routes that fit, or do not."""
    (found,) = await ipv6(make(on(address), **interfaces(*ips), route=lambda towards: route))
    assert (found.grade, words in found.what) == (grade, True), found


async def test_relays_without_ipv6(make: Make) -> None:
    """Clients come by IPv6, and peers that have nothing else cannot be reached."""
    given = on("2001:db8::7", addresses=["192.0.2.1"])
    (found,) = await ipv6(make(given, **interfaces(PUBLIC6), route=lambda towards: PUBLIC6))
    assert (found.grade, found.mend) == (Severity.WARNING, ("relay: {addresses: ['2001:db8::7']}",))
