"""Behavior discovery is offered whole or not at all, by family, and says why not."""

import itertools
from collections.abc import Callable

import pytest

from stun.address import Address
from turnserver.core.settings import DiscoverySocket
from turnserver.discovery import discovery_sockets

PORTS = (3478, 3479)
PRIVATE = ("10.0.0.1", "10.0.0.2")
PUBLIC = ("203.0.113.1", "203.0.113.2")
SIX = ("2001:db8::1", "2001:db8::2")


def packed(host: str) -> bytes:
    return Address.parse(host, 0).ip


def sockets(*hosts: str) -> list[Address]:
    return [Address.parse(host, port) for host, port in itertools.product(hosts, PORTS)]


def outside(**pairs: str) -> Callable[[bytes], bytes]:
    known = {packed(host.replace("_", ".").removeprefix("a")): packed(public) for host, public in pairs.items()}
    return lambda ip: known.get(ip, ip)


ONE_TO_ONE = outside(a10_0_0_1=PUBLIC[0], a10_0_0_2=PUBLIC[1])


def offered(
    wanted: list[Address], public: Callable[[bytes], bytes], *, closed: int | None = None, gone: str = ""
) -> tuple[tuple[DiscoverySocket, ...], dict[str, str]]:
    listeners = {at: number for number, at in enumerate(wanted) if number != closed}
    present = {each.ip for each in wanted} - ({packed(gone)} if gone else set())
    return discovery_sockets(wanted, listeners, present, public)


@pytest.mark.parametrize(
    ("hosts", "public", "told"),
    [(PUBLIC, outside(), PUBLIC), (PRIVATE, outside(), PRIVATE), (PRIVATE, ONE_TO_ONE, PUBLIC)],
    ids=["public", "private network", "1:1 NAT"],
)
def test_whole(hosts: tuple[str, str], public: Callable[[bytes], bytes], told: tuple[str, str]) -> None:
    """Each socket with the number of its listener and what clients are told. A private network needs no public ones."""
    bound, shown = sockets(*hosts), sockets(*told)
    assert offered(bound, public) == (tuple(map(DiscoverySocket, bound, shown, range(4))), {})


def test_one_of_two_addresses_may_be_public_itself() -> None:
    """Only a private one needs `relay.external`."""
    bound = sockets(PRIVATE[0], PUBLIC[1])
    found, reasons = offered(bound, outside(a10_0_0_1=PUBLIC[0]))
    assert [each.public for each in found] == sockets(*PUBLIC)
    assert reasons == {}


@pytest.mark.parametrize(
    ("public", "closed", "gone", "reason"),
    [
        (ONE_TO_ONE, 3, "", "10.0.0.2:3479 is not open"),
        (ONE_TO_ONE, None, "10.0.0.2", "10.0.0.2 is no address of this host now"),
        (outside(a10_0_0_1=PUBLIC[0]), None, "", "relay.external has no public address for 10.0.0.2"),
        (
            outside(a10_0_0_1=PUBLIC[0], a10_0_0_2=PUBLIC[0]),
            None,
            "",
            "relay.external gives 10.0.0.1 and 10.0.0.2 the same public address",
        ),
    ],
    ids=["a closed socket", "an address that has gone", "a private address", "one public address for both"],
)
def test_none_of_a_family(public: Callable[[bytes], bytes], closed: int | None, gone: str, reason: str) -> None:
    """With what a client would find out wrongly, the family is not offered, and the other one is."""
    found, reasons = offered(sockets(*PRIVATE) + sockets(*SIX), public, closed=closed, gone=gone)
    assert reasons == {"IPv4": reason}
    assert [each.bound for each in found] == sockets(*SIX)
