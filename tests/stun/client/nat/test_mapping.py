"""How a NAT maps (RFC 5780 §4.3), by one server with two addresses or by several."""

import pytest

from stun.address import Address
from stun.client.nat.findings import Dependence
from stun.client.nat.mapping import compare_servers, mapping_test
from tests.support.nat_world import ALTERNATE, PRIMARY, NatWorld, SimNat, SimServer

INDEPENDENT, ADDRESS, BOTH = Dependence


def at(text: str) -> Address:
    host, _, port = text.partition(":")
    return Address.parse(host, int(port))


@pytest.mark.parametrize("mapping", list(Dependence))
def test_mapping(mapping: Dependence) -> None:
    """Tests II and III; test I has been made."""
    world = NatWorld(SimNat(mapping))
    first = world.nat.outward(world.local(0), PRIMARY, world.now)
    assert world.run(mapping_test(0, PRIMARY, ALTERNATE, first)).possible == (mapping,)
    asked = [to for _, _, to, _ in world.sent]
    assert asked == [Address(ALTERNATE.ip, PRIMARY.port), ALTERNATE][: 1 if mapping is INDEPENDENT else 2]


def test_a_silent_port_leaves_two_possibilities() -> None:
    """Without test III, dependent is all that is known; and an error is named."""
    world = NatWorld(SimNat(BOTH), SimServer(silent_at=(ALTERNATE,)))
    first = world.nat.outward(world.local(0), PRIMARY, world.now)
    found = world.run(mapping_test(0, PRIMARY, ALTERNATE, first))
    assert (found.possible, found.why) == ((ADDRESS, BOTH), f"the server's other address {ALTERNATE} did not answer")
    world = NatWorld(SimNat(BOTH), SimServer(refuses={0: 400}))
    found = world.run(mapping_test(0, PRIMARY, ALTERNATE, first))
    assert (found.possible, "answered with the error 400" in found.why) == ((), True)


@pytest.mark.parametrize(
    ("seen", "possible", "why"),
    [
        ({}, (), "name a second server"),
        ({"192.0.2.1:1": "9.9.9.9:1"}, (), "name a second server"),
        ({"192.0.2.1:1": "9.9.9.9:1", "192.0.2.2:1": "9.9.9.9:1"}, (INDEPENDENT,), ""),
        ({"192.0.2.1:1": "9.9.9.9:1", "192.0.2.2:1": "9.9.9.9:2"}, (ADDRESS, BOTH), "two ports of one address"),
        ({"192.0.2.1:1": "9.9.9.9:1", "192.0.2.2:1": "9.9.9.8:1"}, (ADDRESS, BOTH), "two ports of one address"),
        ({"192.0.2.1:1": "9.9.9.9:1", "192.0.2.1:2": "9.9.9.9:1"}, (INDEPENDENT, ADDRESS), "at another address"),
        ({"192.0.2.1:1": "9.9.9.9:1", "192.0.2.1:2": "9.9.9.9:2"}, (BOTH,), ""),
        ({"192.0.2.1:1": "9.9.9.9:1", "192.0.2.1:2": "9.9.9.9:1", "192.0.2.2:1": "9.9.9.9:3"}, (ADDRESS,), ""),
        ({"192.0.2.1:1": "9.9.9.9:1", "192.0.2.1:2": "9.9.9.9:2", "192.0.2.2:1": "9.9.9.9:3"}, (BOTH,), ""),
        ({"192.0.2.1:1": "9.9.9.9:1", "192.0.2.1:2": "9.9.9.9:2", "192.0.2.2:1": "9.9.9.9:1"}, (), "contradict"),
        ({"192.0.2.1:1": "9.9.9.9:1", "192.0.2.2:1": "9.9.9.9:1", "192.0.2.3:1": "9.9.9.9:2"}, (), "contradict"),
    ],
)
def test_what_plain_servers_tell(seen: dict[str, str], possible: tuple[Dependence, ...], why: str) -> None:
    """RFC 4787 §4.1: the same mapping for two addresses, or for two ports of one."""
    found = compare_servers((at(server), at(mapped)) for server, mapped in seen.items())
    assert found.possible == possible
    assert why in found.why
    assert bool(found.why) == bool(why)
