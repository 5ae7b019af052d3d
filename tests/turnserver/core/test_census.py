"""How much there is of what, without a list of it."""

from typing import Any

from stun import attributes as a
from stun.constants import AddressFamily, TransportProtocol
from tests.support.core_world import RELAY, RELAY6, World
from turnserver.core.census import count_allocations, count_ports
from turnserver.core.types import AllocationKind, ClientTransport, PortRange, PortsView

UDP, TCP = TransportProtocol.UDP, TransportProtocol.TCP


def test_allocations_by_kind() -> None:
    """By the client's transport, the family of the relays and the protocol to peers."""
    world = World()
    first = world.client()
    first.allocate()
    first.at("192.0.2.11").allocate(a_family(AddressFamily.IPV6))
    first.at("192.0.2.12").allocate((a.ADDITIONAL_ADDRESS_FAMILY, AddressFamily.IPV6))
    found = world.core.kinds()
    assert found == count_allocations(world.core.state)
    assert found == {
        AllocationKind(ClientTransport.UDP, "ipv4", UDP): 1,
        AllocationKind(ClientTransport.UDP, "ipv6", UDP): 1,
        AllocationKind(ClientTransport.UDP, "dual", UDP): 1,
    }
    first.refresh(0)
    assert AllocationKind(ClientTransport.UDP, "ipv4", UDP) not in world.core.kinds()


def test_what_is_being_opened_is_not_live_yet() -> None:
    """An allocation counts from its success answer on."""
    world = World(automatic=False)
    client = world.client()
    client.challenge()
    world.feed(client.path, client.build(0x003, [(a.REQUESTED_TRANSPORT, 17)]))
    assert len(world.core.clients) == 1
    assert world.core.kinds() == {}


def test_ports_by_address_and_protocol() -> None:
    """Taken and in all, in the range that is configured."""
    world = World(ports=PortRange(50000, 50099))
    client = world.client()
    client.allocate()
    assert world.core.ports() == count_ports(world.core.state)
    assert set(world.core.ports()) == {
        PortsView(RELAY, UDP, 1, 100),
        PortsView(RELAY, TCP, 0, 100),
        PortsView(RELAY6, UDP, 0, 100),
        PortsView(RELAY6, TCP, 0, 100),
    }
    client.refresh(0)
    assert {ports.used for ports in world.core.ports()} == {0}


def a_family(family: AddressFamily) -> Any:
    return a.REQUESTED_ADDRESS_FAMILY, family
