"""The table of peer connections (RFC 6062): three indexes that agree, one deadline each, one way out."""

from stun.address import Address
from stun.attributes import ADDITIONAL_ADDRESS_FAMILY
from tests.support.core_world import PEER, PEER6
from tests.support.limits import limits
from tests.support.tcp_world import TcpClient, TcpWorld
from turnserver.core.commands import ClosePeer
from turnserver.core.events import PeerConnectionEnded
from turnserver.core.tcp_connections import ConnectionState, TcpPeerConnection


def begun(world: TcpWorld, client: TcpClient, peer: Address = PEER) -> TcpPeerConnection:
    client.connect(peer)
    return world.core.state.tcp.by_id[world.connects[-1].connection]


def allocated(world: TcpWorld) -> TcpClient:
    client = world.control()
    client.allocate_tcp()
    return client


def test_a_connection_is_found_every_way() -> None:
    """RFC 6062 §5.2, §5.4: by its number, by allocation and peer, by relay, and by the data connection once bound."""
    world = TcpWorld()
    client, other = allocated(world), allocated(world)
    tcp, state = world.core.state.tcp, world.core.state
    connection = begun(world, client)
    allocation = state.allocations[client.path]
    assert tcp.by_id == {connection.id: connection}
    assert tcp.towards(allocation, PEER) is connection
    assert tcp.towards(allocation, PEER6) is None
    assert tcp.towards(state.allocations[other.path], PEER) is None
    assert tcp.of(allocation) == tcp.of(allocation, connection.relay) == [connection]
    assert tcp.of(state.allocations[other.path]) == []
    assert tcp.by_client == {}
    world.peer_takes(connection.id)
    data, _ = client.claim(connection.id)
    assert tcp.by_client == {data.path: connection}


def test_a_relay_has_its_own() -> None:
    """RFC 8656 §8.2: what belongs to one half of a dual allocation can be told from the rest."""
    world = TcpWorld()
    client = world.control()
    client.allocate_tcp((ADDITIONAL_ADDRESS_FAMILY, 2))
    allocation = world.core.state.allocations[client.path]
    first, second = begun(world, client, PEER), begun(world, client, PEER6)
    tcp = world.core.state.tcp
    assert [tcp.of(allocation, relay) for relay in allocation.relays] == [[first], [second]]


def test_full_counts_every_state() -> None:
    """Rule 25: one that is only being made takes a place already."""
    world = TcpWorld(limits=limits(tcp_connections_per_allocation=1))
    client = allocated(world)
    tcp, allocation = world.core.state.tcp, world.core.state.allocations[client.path]
    assert not tcp.full(allocation)
    connection = begun(world, client)
    for _ in range(2):
        assert tcp.full(allocation)
        if connection.state is ConnectionState.CONNECTING:
            world.peer_takes(connection.id)
    tcp.close(connection, world.now)
    assert not tcp.full(allocation)
    world.run()


def test_closing_is_told_to_the_shell_unless_it_said_so_itself() -> None:
    """Rule 25: closed exactly once, by whoever is first."""
    world = TcpWorld()
    client = allocated(world)
    number = client.connected(PEER)
    world.log.clear()
    world.peer_leaves(number)
    assert ClosePeer(number) not in world.log
    number = client.connected(PEER)
    world.core.state.tcp.close(world.core.state.tcp.by_id[number], world.now)
    world.run()
    assert world.log[-1] == ClosePeer(number)


def test_the_end_is_an_event_only_if_there_was_a_beginning() -> None:
    """A connection that never stood is a refused request, not the end of anything."""
    world = TcpWorld()
    client = allocated(world)
    world.peer_refuses(begun(world, client).id)
    assert not [event for event in world.events if isinstance(event, PeerConnectionEnded)]
    world.peer_leaves(client.connected(PEER))
    assert len([event for event in world.events if isinstance(event, PeerConnectionEnded)]) == 1


def test_nobody_hears_the_answer_of_a_client_that_has_gone() -> None:
    """RFC 6062 §5.5: its connections end, and no answer is made for it."""
    world = TcpWorld()
    client = allocated(world)
    connection = begun(world, client)
    world.hang_up(client.path)
    assert connection.request is None
    assert client.heard() == []
    assert len(world.core.state.retransmissions) == 1, "that of the Allocate"
