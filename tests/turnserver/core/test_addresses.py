"""Bound and advertised addresses of relays behind 1:1 NAT (rule 23)."""

import pytest

from stun.address import Address
from stun.constants import AddressFamily
from turnserver.core.addresses import ABSENCE, AddressChoice, RelayAddresses
from turnserver.core.settings import RelayAddress
from turnserver.core.types import Now, PortRange

PRIVATE = Address.parse("10.0.0.5", 50000)
PUBLIC = Address.parse("8.8.4.4", 50000)
OTHER = Address.parse("9.9.9.9", 50000)
PORTS = PortRange(50000, 50009)

MAPPED = RelayAddresses([RelayAddress(PRIVATE.ip, PUBLIC.ip), RelayAddress(OTHER.ip, OTHER.ip)], PORTS)


def test_own_relays_are_mapped_both_ways() -> None:
    """Rule 23: bind the private, advertise the external; hairpin between own relays works."""
    assert MAPPED.to_wire(PUBLIC) == PRIVATE
    assert MAPPED.to_client(PRIVATE) == PUBLIC
    assert MAPPED.wire_ip(PUBLIC.ip) == PRIVATE.ip


@pytest.mark.parametrize("port", [49999, 50010, 22])
def test_other_ports_of_the_same_address_are_not(port: int) -> None:
    """Rule 23: only relay ports are relays; SSH on the same machine is not."""
    assert MAPPED.to_wire(Address(PUBLIC.ip, port)) == Address(PUBLIC.ip, port)
    assert MAPPED.to_client(Address(PRIVATE.ip, port)) == Address(PRIVATE.ip, port)


@pytest.mark.parametrize("address", [OTHER, Address.parse("1.2.3.4", 50000), Address.parse("2a00::1", 50000)])
def test_everybody_else_is_who_he_is(address: Address) -> None:
    """Rule 23: the identity, for relays without NAT too."""
    assert (MAPPED.to_wire(address), MAPPED.to_client(address)) == (address, address)
    assert MAPPED.wire_ip(address.ip) == address.ip


def test_the_private_address_is_not_a_name() -> None:
    """Rule 23: a client that names the private address of a relay is not helped."""
    assert MAPPED.to_wire(PRIVATE) == PRIVATE


@pytest.mark.parametrize("name", [PRIVATE.ip, PUBLIC.ip])
def test_both_names_of_one_place(name: bytes) -> None:
    """Rule 23: what clients may call a relay's address, and what it is on the wire."""
    assert set(MAPPED.aliases(name)) == {PRIVATE.ip, PUBLIC.ip}


def test_one_name_of_another() -> None:
    """Rule 23: everybody else has one."""
    assert set(MAPPED.aliases(OTHER.ip)) == {OTHER.ip}


IPV6 = Address.parse("2001:db8::5", 0).ip


def chosen(choice: AddressChoice, family: AddressFamily, seconds: float, preferred: bytes = b"") -> list[bytes]:
    return [relay.bound for relay in choice.of(family, preferred, Now(seconds, 0.0))]


def test_an_absent_address_comes_last_for_a_while() -> None:
    """Rule 13: others are tried first, until it is time to look whether it has come back."""
    choice = AddressChoice([RelayAddress(ip, ip) for ip in (PRIVATE.ip, OTHER.ip, IPV6)])
    assert chosen(choice, AddressFamily.IPV4, 0, PRIVATE.ip) == [PRIVATE.ip, OTHER.ip]
    choice.absent(PRIVATE.ip, Now(0.0, 0.0))
    assert chosen(choice, AddressFamily.IPV4, ABSENCE - 1, PRIVATE.ip) == [OTHER.ip, PRIVATE.ip]
    assert chosen(choice, AddressFamily.IPV6, ABSENCE - 1) == [IPV6]
    assert chosen(choice, AddressFamily.IPV4, ABSENCE, PRIVATE.ip) == [PRIVATE.ip, OTHER.ip]
    choice.absent(PRIVATE.ip, Now(ABSENCE, 0.0))
    choice.present(PRIVATE.ip)
    assert chosen(choice, AddressFamily.IPV4, ABSENCE, PRIVATE.ip) == [PRIVATE.ip, OTHER.ip]


def test_the_family_that_is_available() -> None:
    """Rule 23: IPv4 before IPv6, and what is absent last."""
    four, six = RelayAddress(PRIVATE.ip, PRIVATE.ip), RelayAddress(IPV6, IPV6)
    now = Now(0.0, 0.0)
    assert AddressChoice([]).available(now) is None
    assert AddressChoice([six]).available(now) is AddressFamily.IPV6
    choice = AddressChoice([six, four])
    assert choice.available(now) is AddressFamily.IPV4
    choice.absent(four.bound, now)
    assert choice.available(now) is AddressFamily.IPV6
    assert choice.available(Now(ABSENCE, 0.0)) is AddressFamily.IPV4
    choice.absent(four.bound, now)
    choice.absent(six.bound, now)
    assert choice.available(now) is AddressFamily.IPV4


def test_the_preferred_address_is_first() -> None:
    """Rule 23: the one that the client has reached."""
    choice = AddressChoice([RelayAddress(ip, ip) for ip in (PRIVATE.ip, OTHER.ip)])
    assert [relay.bound for relay in choice.of(AddressFamily.IPV4, OTHER.ip)] == [OTHER.ip, PRIVATE.ip]
    assert choice.of(AddressFamily.IPV6) == []
