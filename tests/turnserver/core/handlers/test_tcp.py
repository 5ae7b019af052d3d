"""TCP allocations: every rule of RFC 6062 §5, in virtual time."""

from ipaddress import ip_network

import pytest

from auth.source import StaticUsers
from auth.types import Credential
from stun import attributes as a
from stun.address import Address
from stun.attributes import AttributeType
from stun.channeldata import encode_padded
from stun.constants import MessageClass, Method, TransportProtocol
from stun.message import Message
from tests.support.core_settings import core_settings
from tests.support.core_world import PEER, PEER6, REALM, RELAY, RELAY6, SERVER, SlowSource, code_of
from tests.support.limits import limits
from tests.support.tcp_world import TCP, TcpClient, TcpWorld
from turnserver.core.commands import (
    AllowPeer,
    ClosePeer,
    CloseRelay,
    ConnectPeer,
    ForbidPeer,
    OpenRelay,
    SendToPeer,
    Splice,
)
from turnserver.core.events import (
    AllocationOpened,
    PeerConnectionEnded,
    PeerConnectionOpened,
    PeerConnectionRefused,
    PeerRefused,
    RequestRefused,
)
from turnserver.core.policy import PeerPolicy
from turnserver.core.settings import RelayAddress
from turnserver.core.tcp_connections import ConnectionState
from turnserver.core.types import ClientTransport, PortRange
from turnserver.reasons import Reason

OTHER = Address.parse("8.8.4.4", 6000)
PRIVATE = Address.parse("10.0.0.1", 80)


def allocated(world: TcpWorld, **options: object) -> TcpClient:
    client = world.control(**options)
    assert code_of(client.allocate_tcp()) == 0
    return client


def permitted(world: TcpWorld, *peers: Address) -> TcpClient:
    client = allocated(world)
    assert code_of(client.permit(*peers)) == 0
    return client


# §5.1 Allocate


@pytest.mark.parametrize("transport", [ClientTransport.TCP, ClientTransport.TLS])
def test_a_tcp_relay_over_a_stream(transport: ClientTransport) -> None:
    """RFC 6062 §5.1: a TCP relayed transport address instead of a UDP one, and no RESERVATION-TOKEN."""
    world = TcpWorld()
    client = world.control(transport=transport)
    answer = client.allocate_tcp()
    assert code_of(answer) == 0
    assert not answer.has(a.RESERVATION_TOKEN)
    (opened,) = [command for command in world.log if isinstance(command, OpenRelay)]
    assert opened.protocol is TransportProtocol.TCP
    assert answer.first(a.XOR_RELAYED_ADDRESS) == opened.bind
    event = world.events[-1]
    assert isinstance(event, AllocationOpened)
    assert event.protocol is TransportProtocol.TCP


def test_not_over_udp() -> None:
    """RFC 6062 §5.1: the client reaches the server over TCP or TLS, else 400."""
    world = TcpWorld()
    assert code_of(world.control(transport=ClientTransport.UDP).allocate_tcp()) == 400
    assert world.bound == {}


@pytest.mark.parametrize(
    "attribute",
    [(a.DONT_FRAGMENT, True), (a.EVEN_PORT, False), (a.EVEN_PORT, True), (a.RESERVATION_TOKEN, b"12345678")],
    ids=["DONT-FRAGMENT", "EVEN-PORT", "EVEN-PORT R", "RESERVATION-TOKEN"],
)
def test_what_goes_with_udp_only(attribute: tuple[AttributeType[object], object]) -> None:
    """RFC 6062 §5.1: DONT-FRAGMENT, EVEN-PORT and RESERVATION-TOKEN → 400, and nothing is opened."""
    world = TcpWorld()
    assert code_of(world.control().allocate_tcp(attribute)) == 400
    assert world.bound == {}
    assert world.core.state.quota.total == 0


def test_a_protocol_that_is_neither() -> None:
    """RFC 8656 §7.2 step 3: 442."""
    world = TcpWorld()
    assert code_of(world.control().request(Method.ALLOCATE, (a.REQUESTED_TRANSPORT, 132))) == 442


def test_both_families_at_once() -> None:
    """RFC 8656 §7.2 with RFC 6062: a dual allocation listens on both, and each peer is reached from its own family."""
    world = TcpWorld()
    client = world.control()
    answer = client.allocate_tcp((a.ADDITIONAL_ADDRESS_FAMILY, 2))
    assert [address.ip for address in answer.all(a.XOR_RELAYED_ADDRESS)] == [RELAY, RELAY6]
    first, second = client.relays
    client.connected(PEER)
    client.connected(PEER6)
    assert [command.relay for command in world.connects] == [first, second]


def test_udp_and_tcp_ports_are_apart() -> None:
    """RFC 6062 §5.1: of one port, a UDP relay and a TCP relay have one each; a second TCP relay gets 508."""
    world = TcpWorld(ports=PortRange(50000, 50000), relays=(RelayAddress(RELAY, RELAY),))
    world._open = lambda relay, bind: world.core.relay_opened(relay, world.now)  # type: ignore[method-assign]
    assert code_of(world.control().allocate()) == 0
    assert code_of(world.control().allocate_tcp()) == 0
    assert code_of(world.control().allocate_tcp()) == 508
    state = world.core.state
    assert state.ports[RELAY, TransportProtocol.UDP].used == 1
    assert state.ports[RELAY, TransportProtocol.TCP].used == 1


def test_the_relay_is_closed_as_what_it_is() -> None:
    """RFC 6062 §5.1: UDP and TCP are separate spaces of ports, when a relay is closed too."""
    world = TcpWorld()
    client = allocated(world)
    (relay,) = client.relays
    assert code_of(client.refresh(0)) == 0
    assert CloseRelay(relay, TransportProtocol.TCP) in world.log
    assert [ports.used for ports in world.core.state.ports.values()] == [0] * 4


# What else there is to an allocation


def test_no_packets_over_a_tcp_allocation() -> None:
    """RFC 6062 §4.6, §5: data goes over data connections; Send is dropped, ChannelBind refused, ChannelData silence."""
    world = TcpWorld()
    client = permitted(world, PEER)
    frame = client.indication(Method.SEND, (a.XOR_PEER_ADDRESS, PEER), (a.DATA, b"x"))
    assert world.feed(client.path, frame) == []
    assert code_of(client.bind(0x4000, PEER)) == 437
    assert world.feed(client.path, encode_padded(0x4000, b"x")) == []
    assert not [command for command in world.log if isinstance(command, SendToPeer)]
    assert world.routes == {}


def test_permissions_stay_in_the_core() -> None:
    """RFC 6062 §5.3: a permission lets connections in, which the core decides one by one; no datagram needs it."""
    world = TcpWorld()
    client = permitted(world, PEER)
    world.advance(301)
    assert world.core.state.allocations[client.path].permissions == {}
    assert not [command for command in world.log if isinstance(command, AllowPeer | ForbidPeer)]


# §5.2 Connect


def test_connect() -> None:
    """RFC 6062 §5.2: from the relayed address to the peer; the answer comes when it stands, with a CONNECTION-ID."""
    world = TcpWorld()
    client = allocated(world)
    assert client.connect(PEER) == []
    (command,) = world.connects
    assert (command.relay, command.peer) == (client.relay, PEER)
    world.peer_takes(command.connection)
    (answer,) = client.heard()
    assert (answer.method, answer.message_class) == (Method.CONNECT, MessageClass.SUCCESS)
    assert answer.first(a.CONNECTION_ID) == command.connection
    assert answer.has(a.MESSAGE_INTEGRITY)
    assert isinstance(world.events[-1], PeerConnectionOpened)


def test_connect_needs_no_permission() -> None:
    """RFC 6062 §5.2: a permission is for who connects to us (§5.3); and a Connect installs none."""
    world = TcpWorld()
    client = allocated(world)
    client.connected(PEER)
    assert world.core.state.allocations[client.path].permissions == {}


def test_connect_without_an_allocation() -> None:
    """RFC 6062 §5.2: 437."""
    world = TcpWorld()
    assert [code_of(answer) for answer in world.control().connect(PEER)] == [437]


@pytest.mark.parametrize("transport", list(ClientTransport))
def test_connect_on_a_udp_allocation(transport: ClientTransport) -> None:
    """RFC 6062 §5.2, RFC 8656 §19: it needs a TCP allocation, and that is not one → 437."""
    world = TcpWorld()
    client = world.control(transport=transport)
    assert code_of(client.allocate()) == 0
    assert [code_of(answer) for answer in client.connect(PEER)] == [437]
    assert world.connects == []


def test_connect_by_somebody_else() -> None:
    """RFC 8656 §5: the credential that made the allocation, else 441."""
    world = TcpWorld()
    client = allocated(world)
    client.user, client.password = "bob", "hunter2"
    assert [code_of(answer) for answer in client.connect(PEER)] == [441]


def test_connect_without_a_peer() -> None:
    """RFC 6062 §5.2: XOR-PEER-ADDRESS missing → 400."""
    world = TcpWorld()
    assert code_of(allocated(world).request(Method.CONNECT)) == 400


def test_connect_with_an_address_of_no_family() -> None:
    """RFC 6062 §5.2: XOR-PEER-ADDRESS invalid → 400."""
    world = TcpWorld()
    raw: AttributeType[bytes] = AttributeType(a.XOR_PEER_ADDRESS.number, "RAW", "-", lambda v, t: v, lambda v, t: v)
    assert code_of(allocated(world).request(Method.CONNECT, (raw, b"\x00\x07\x00\x00abcd"))) == 400


def test_connect_to_the_other_family() -> None:
    """RFC 8656 §10.2, RFC 6156 §6.2: 443."""
    world = TcpWorld()
    assert [code_of(answer) for answer in allocated(world).connect(PEER6)] == [443]


@pytest.mark.parametrize("peer", [PRIVATE, SERVER, Address(RELAY, 22), Address.parse("127.0.0.1", 6379)], ids=str)
def test_connect_to_the_forbidden(peer: Address) -> None:
    """RFC 6062 §5.2, rule 16: 403 by the same list as over UDP, ports of the server itself included."""
    world = TcpWorld()
    client = allocated(world)
    assert [code_of(answer) for answer in client.connect(peer)] == [403]
    assert world.connects == []
    assert [event.peer for event in world.events if isinstance(event, PeerRefused)] == [peer]


def test_connect_to_another_relay() -> None:
    """Rule 16: relay to relay is how a mesh behind two symmetric NATs works."""
    world = TcpWorld()
    first, second = allocated(world), allocated(world)
    target = world.bound[second.relay]
    assert first.connect(target) == []
    assert world.connects[-1].peer == target


def test_connect_behind_nat_goes_to_the_private_address() -> None:
    """Rule 23: a relay of ours is named by its public address and reached at its private one; and shown as public."""
    private = Address.parse("192.168.7.1", 0).ip
    world = TcpWorld(relays=(RelayAddress(private, RELAY),), policy=PeerPolicy.build(relays=[private, RELAY]))
    client, second, third = (allocated(world) for _ in range(3))
    port, other = (world.bound[held.relay].port for held in (second, third))
    assert client.connect(Address(RELAY, port)) == []
    assert world.connects[-1].peer == Address(private, port)
    client.permit(Address(RELAY, other))
    number = world.peer_connects(client.relay, Address(private, other))
    (indication,) = client.heard()
    assert indication.first(a.XOR_PEER_ADDRESS) == Address(RELAY, other)
    assert indication.first(a.CONNECTION_ID) == number


def test_connect_to_the_same_peer_again() -> None:
    """RFC 6062 §5.2: 446 while one is being made, while it waits and while it is in use; afterwards it may be."""
    world = TcpWorld()
    client = allocated(world)
    assert client.connect(PEER) == []
    number = world.connects[-1].connection
    assert [code_of(answer) for answer in client.connect(PEER)] == [446]
    world.peer_takes(number)
    client.heard()
    assert [code_of(answer) for answer in client.connect(PEER)] == [446]
    client.claim(number)
    assert [code_of(answer) for answer in client.connect(PEER)] == [446]
    assert client.connect(PEER._replace(port=PEER.port + 1)) == []
    world.peer_leaves(number)
    assert client.connect(PEER) == []


def test_a_peer_that_connected_counts_as_connected() -> None:
    """RFC 6062 §5.2: there is no second connection between the same two addresses → 446."""
    world = TcpWorld()
    client = permitted(world, PEER)
    assert world.peer_connects(client.relay, PEER) is not None
    client.heard()
    assert [code_of(answer) for answer in client.connect(PEER)] == [446]


def test_as_many_connections_as_the_limit_says() -> None:
    """Rule 25: 508 beyond the limit; incoming ones count as well, and one that ends makes room."""
    world = TcpWorld(limits=limits(tcp_connections_per_allocation=2))
    client = permitted(world, PEER)
    number = client.connected(PEER)
    assert world.peer_connects(client.relay, PEER._replace(port=1)) is not None
    client.heard()
    assert [code_of(answer) for answer in client.connect(OTHER)] == [508]
    assert world.peer_connects(client.relay, PEER._replace(port=2)) is None
    assert client.heard() == []
    world.peer_leaves(number)
    assert client.connect(OTHER) == []
    assert allocated(world).connect(OTHER) == [], "the limit is each allocation's own"


def test_no_connection_without_a_descriptor() -> None:
    """Rule 30, RFC 6062 §5.2, §5.3: 508 that says why, an incoming one is closed, and what stands goes on."""
    world = TcpWorld(limits=limits(tcp_connections_per_allocation=100))
    client = permitted(world, PEER)
    number = client.connected(PEER)
    budget = world.core.state.descriptors
    budget.total = budget.used + budget.ahead
    (answer,) = client.connect(OTHER)
    assert code_of(answer) == 508
    error = answer.first(a.ERROR_CODE)
    assert error is not None
    assert error.reason == "Insufficient Capacity (no-descriptors)"
    caller = PEER._replace(port=1)
    assert world.peer_connects(client.relay, caller) is None
    assert client.heard() == []
    told = [event for event in world.events if isinstance(event, PeerConnectionRefused)]
    assert told == [PeerConnectionRefused(client.path, "alice", caller, Reason.NO_DESCRIPTORS)]
    assert number in world.core.state.tcp.by_id
    world.peer_leaves(number)
    assert client.connect(OTHER) == []


def test_one_user_leaves_descriptors_to_the_others() -> None:
    """Rule 30: however many connections its allocations may have: another user's Allocate and Connect succeed."""
    world = TcpWorld(limits=limits(tcp_connections_per_allocation=100))
    world.core.state.descriptors.total = 60
    client = allocated(world)
    codes = [code_of(answer) for port in range(1, 99) for answer in client.connect(PEER._replace(port=port))]
    assert codes == [508] * len(codes)
    assert world.core.state.descriptors.users == {"alice": 42}, "of 20 connections both ends, and of the allocation"
    assert world.peer_connects(client.relay, PEER) is None
    reasons = {event.cause for event in world.events if isinstance(event, RequestRefused) and event.code == 508}
    assert reasons == {Reason.USER_DESCRIPTORS}
    other = allocated(world, host="192.0.2.77", user="bob", password="hunter2")
    assert other.connect(PEER) == []


def test_data_connections_are_their_users() -> None:
    """Rule 30: claimed or not, a connection with a peer counts for both of its ends, and both are given back."""
    world = TcpWorld()
    client = allocated(world)
    budget = world.core.state.descriptors
    assert (budget.users, budget.ahead) == ({"alice": 2}, 0)
    claimed, waiting = client.connected(PEER), client.connected(OTHER)
    assert (budget.users, budget.ahead) == ({"alice": 6}, 2)
    assert code_of(client.claim(claimed)[1]) == 0
    assert (budget.users, budget.ahead) == ({"alice": 6}, 1)
    world.peer_leaves(claimed)
    assert (budget.users, budget.ahead) == ({"alice": 4}, 1)
    world.peer_leaves(waiting)
    assert (budget.users, budget.ahead) == ({"alice": 2}, 0)
    assert code_of(client.refresh(0)) == 0
    assert (budget.users, budget.used) == ({}, 0)


def test_the_peer_refuses() -> None:
    """RFC 6062 §5.2: 447; the same Connect again gets the same answer and tries nothing, a new one tries again."""
    world = TcpWorld()
    client = allocated(world)
    transaction = client.transaction_id()
    assert client.connect(PEER, transaction) == []
    world.peer_refuses(world.connects[-1].connection)
    (answer,) = client.heard()
    assert code_of(answer) == 447
    assert client.connect(PEER, transaction) == [answer]
    assert len(world.connects) == 1
    assert client.connect(PEER) == []
    assert len(world.connects) == 2


def test_the_peer_does_not_answer() -> None:
    """RFC 6062 §5.2: the timeout is at least 30 seconds; then 447, and the attempt is given up."""
    world = TcpWorld()
    client = allocated(world)
    client.connect(PEER)
    world.advance(29.9)
    assert client.heard() == []
    world.advance(0.1)
    assert [code_of(answer) for answer in client.heard()] == [447]
    assert world.connections == {}


def test_a_retransmitted_connect_waits_for_the_first() -> None:
    """RFC 8489 §6.3.1, rule 10: one under way is absorbed, an answered one gets the same answer."""
    world = TcpWorld()
    client = allocated(world)
    transaction = client.transaction_id()
    assert client.connect(PEER, transaction) == []
    assert client.connect(PEER, transaction) == []
    assert len(world.connects) == 1
    world.peer_takes(world.connects[0].connection)
    (answer,) = client.heard()
    assert client.connect(PEER, transaction) == [answer]


def test_answers_of_the_shell_that_come_too_late() -> None:
    """What was closed meanwhile is nobody's any more."""
    world = TcpWorld()
    client = allocated(world)
    number = client.connected(PEER)
    world.core.peer_connected(number, world.now)
    world.core.peer_failed(number, world.now)
    for unknown in (number ^ 1, 0):
        world.core.peer_connected(unknown, world.now)
        world.core.peer_failed(unknown, world.now)
        world.core.peer_gone(unknown, world.now)
    world.run()
    assert world.connections == {number: ConnectionState.WAITING}
    assert client.heard() == []


# §5.3 Peers that connect


def test_a_peer_connects() -> None:
    """RFC 6062 §5.3: with a permission the client is told, with CONNECTION-ID and XOR-PEER-ADDRESS."""
    world = TcpWorld()
    client = permitted(world, PEER)
    peer = PEER._replace(port=12345)
    number = world.peer_connects(client.relay, peer)
    (indication,) = client.heard()
    assert (indication.method, indication.message_class) == (Method.CONNECTION_ATTEMPT, MessageClass.INDICATION)
    assert indication.first(a.CONNECTION_ID) == number
    assert indication.first(a.XOR_PEER_ADDRESS) == peer
    assert world.events[-1] == PeerConnectionOpened(client.path, "alice", peer, number, True)


def test_a_peer_without_permission() -> None:
    """RFC 6062 §5.3: closed at once, and nothing is sent to the client."""
    world = TcpWorld()
    client = permitted(world, OTHER)
    assert world.peer_connects(client.relay, PEER) is None
    assert client.heard() == []


def test_a_permission_ends() -> None:
    """RFC 8656 §9: 300 seconds; RFC 6062 §5.3: who is connected stays, who comes later does not get in."""
    world = TcpWorld()
    client = permitted(world, PEER)
    number = world.peer_connects(client.relay, PEER)
    assert number is not None
    client.claim(number)
    world.advance(300)
    assert world.peer_connects(client.relay, PEER._replace(port=1)) is None
    assert world.connections == {number: ConnectionState.BOUND}


def test_a_permission_does_not_open_the_servers_own_ports() -> None:
    """Rule 16: asked again at inbound accept, with the port: the server's own address only where a TCP relay stands."""
    world = TcpWorld()
    client, second = permitted(world, Address(RELAY, 0)), allocated(world)
    datagrams = world.client(port=50)
    datagrams.allocate()
    for port in (22, 3478, 50000, world.bound[datagrams.relay].port):
        assert world.peer_connects(client.relay, Address(RELAY, port)) is None
        assert [code_of(answer) for answer in client.connect(Address(RELAY, port))] == [403]
    assert world.peer_connects(client.relay, world.bound[second.relay]) is not None


def test_connecting_to_a_relay_that_ends() -> None:
    """Rule 16: 447; whatever gets the port next is not reached. What is connected has its last bytes."""
    world = TcpWorld()
    client, second = allocated(world), allocated(world)
    peer = world.bound[second.relay]
    assert client.connect(peer) == []
    second.refresh(0)
    (answer,) = client.heard()
    assert code_of(answer) == 447
    assert world.connections == {}
    assert [code_of(answer) for answer in client.connect(peer)] == [403]

    third = allocated(world)
    assert client.connect(world.bound[third.relay]) == []
    (number,) = world.connections
    world.peer_takes(number)
    third.refresh(0)
    assert world.connections == {number: ConnectionState.WAITING}
    client.refresh(0)
    assert world.core.state.tcp._to._to == {}


def test_a_relay_that_nobody_has() -> None:
    """What the shell accepts for a relay that has gone, or that is still opening, is closed."""
    world = TcpWorld(automatic=False)
    client = world.control()
    client.challenge()
    assert world.feed(client.path, client.build(Method.ALLOCATE, [TCP])) == []
    (relay,) = world.bound
    assert world.peer_connects(relay, PEER) is None
    world.hang_up(client.path)
    assert world.peer_connects(relay, PEER) is None


def test_a_peer_connects_again_from_the_same_address() -> None:
    """The system allows that only when the earlier connection is dead, so that one is ended."""
    world = TcpWorld()
    client = permitted(world, PEER)
    first = world.peer_connects(client.relay, PEER)
    second = world.peer_connects(client.relay, PEER)
    assert first is not None
    assert second is not None
    assert world.connections == {second: ConnectionState.WAITING}


def test_a_peer_connects_while_we_connect_to_it() -> None:
    """One connection between two addresses: the one that is being made goes on."""
    world = TcpWorld()
    client = permitted(world, PEER)
    client.connect(PEER)
    assert world.peer_connects(client.relay, PEER) is None
    world.peer_takes(world.connects[-1].connection)
    assert [code_of(answer) for answer in client.heard()] == [0]


@pytest.mark.parametrize("inbound", [False, True])
def test_a_connection_that_nobody_claims(inbound: bool) -> None:
    """RFC 6062 §5.2, §5.3: closed when there is no ConnectionBind within 30 seconds; then it cannot be claimed."""
    world = TcpWorld()
    client = permitted(world, PEER)
    number = world.peer_connects(client.relay, PEER) if inbound else client.connected(PEER)
    assert number is not None
    world.advance(29.9)
    assert world.connections == {number: ConnectionState.WAITING}
    world.advance(0.1)
    assert world.connections == {}
    event = world.events[-1]
    assert isinstance(event, PeerConnectionEnded)
    assert not event.bound
    _, answer = client.claim(number)
    assert code_of(answer) == 400


# §5.4 ConnectionBind


@pytest.mark.parametrize("transport", [ClientTransport.TCP, ClientTransport.TLS])
def test_connection_bind(transport: ClientTransport) -> None:
    """RFC 6062 §5.4: answered first, then the connection is the peer's; from there on it has no time limit."""
    world = TcpWorld()
    client = allocated(world)
    number = client.connected(PEER)
    data, answer = client.claim(number, transport=transport)
    assert code_of(answer) == 0
    assert answer.has(a.MESSAGE_INTEGRITY)
    assert world.log[-1] == Splice(data.path, number)
    world.advance(500)
    assert world.spliced == {data.path: number}


def test_connection_bind_over_udp() -> None:
    """RFC 6062 §5.4: 400; the connection can still be claimed."""
    world = TcpWorld()
    client = allocated(world)
    number = client.connected(PEER)
    assert code_of(client.claim(number, transport=ClientTransport.UDP)[1]) == 400
    assert code_of(client.claim(number)[1]) == 0


def test_connection_bind_without_an_id() -> None:
    """RFC 6062 §5.4: CONNECTION-ID missing → 400."""
    world = TcpWorld()
    assert code_of(world.control().request(Method.CONNECTION_BIND)) == 400


def test_connection_bind_to_nothing() -> None:
    """RFC 6062 §5.4: an id that is not of a pending connection → 400: unknown, connecting, taken, or gone."""
    world = TcpWorld()
    client = allocated(world)
    client.connect(PEER)
    number = world.connects[-1].connection
    assert code_of(client.claim(number)[1]) == 400
    world.peer_takes(number)
    assert code_of(client.claim(number ^ 1)[1]) == 400
    assert code_of(client.claim(number)[1]) == 0
    assert code_of(client.claim(number)[1]) == 400
    world.peer_leaves(number)
    assert code_of(client.claim(number)[1]) == 400


def test_connection_bind_by_somebody_else() -> None:
    """RFC 8656 §5: another user's → 441; and the owner can still claim it."""
    world = TcpWorld()
    client = allocated(world)
    number = client.connected(PEER)
    assert code_of(client.claim(number, user="bob", password="hunter2")[1]) == 441
    assert code_of(client.claim(number, password="wrong")[1]) == 401
    assert code_of(client.claim(number)[1]) == 0


def test_connection_bind_needs_a_credential() -> None:
    """RFC 6062 §5.4, RFC 8656 §5: authenticated like every request."""
    world = TcpWorld()
    number = allocated(world).connected(PEER)
    stranger = world.control()
    frame = stranger.build(Method.CONNECTION_BIND, [(a.CONNECTION_ID, number)], signed=False)
    assert code_of(stranger.send(frame)) == 401
    assert world.spliced == {}


@pytest.mark.parametrize("transport", [6, 17])
def test_connection_bind_on_a_control_connection(transport: int) -> None:
    """RFC 6062 §4.3: over a *new* connection; one that has an allocation → 437, and it keeps it."""
    world = TcpWorld()
    client = allocated(world)
    number = client.connected(PEER)
    other = world.control()
    assert code_of(other.request(Method.ALLOCATE, (a.REQUESTED_TRANSPORT, transport))) == 0
    for control in (client, other):
        assert code_of(control.request(Method.CONNECTION_BIND, (a.CONNECTION_ID, number))) == 437
    assert code_of(other.refresh(600)) == 0
    assert world.spliced == {}


def test_connection_bind_with_the_credential_that_made_the_allocation() -> None:
    """Rule 24: the source need not know it any more; a new allocation with it is refused."""
    world = TcpWorld()
    client = allocated(world)
    number = client.connected(PEER)
    world.core.replace_credentials(StaticUsers({"alice": "changed"}), world.now)
    assert code_of(client.claim(number)[1]) == 0
    data = world.control()
    assert code_of(data.allocate_tcp()) == 401


def test_connection_bind_with_the_nonce_of_the_control_connection() -> None:
    """RFC 6062 §4.3: the client is the same, and uses the nonce that it has (coturn's can do no other)."""
    world = TcpWorld()
    client = allocated(world)
    number = client.connected(PEER)
    data = world.control()
    data.nonce = client.nonce
    assert code_of(data.request(Method.CONNECTION_BIND, (a.CONNECTION_ID, number ^ 1))) == 438
    data.nonce = client.nonce
    assert code_of(data.request(Method.CONNECTION_BIND, (a.CONNECTION_ID, number))) == 0


def test_another_clients_nonce_is_stale() -> None:
    """RFC 8489 §9.2.4: a nonce is one client's; and only a ConnectionBind may come with its control connection's."""
    world = TcpWorld()
    client, other = allocated(world), allocated(world)
    number = client.connected(PEER)
    data = world.control()
    data.nonce = other.nonce
    assert code_of(data.request(Method.CONNECTION_BIND, (a.CONNECTION_ID, number))) == 438
    data.nonce = client.nonce
    assert code_of(data.request(Method.ALLOCATE, TCP, (a.CONNECTION_ID, number))) == 438


def found(world: TcpWorld, ticket: int) -> None:
    credentials = StaticUsers(world.users).find("alice", REALM, 0.0)
    assert all(isinstance(credential, Credential) for credential in credentials)
    world.core.credential_found(ticket, tuple(credentials), world.now)
    world.run()


def test_what_a_data_connection_asked_before_is_forgotten() -> None:
    """RFC 6062 §5.4: nothing but the peer's bytes goes there any more, so a look-up that comes back is nobody's."""
    world = TcpWorld(source=SlowSource())
    client = world.control()
    client.challenge()
    world.feed(client.path, client.build(Method.ALLOCATE, [TCP]))
    found(world, world.lookups[-1].ticket)
    client.heard()
    number = client.connected(PEER)
    data = world.control()
    data.challenge()
    assert world.feed(data.path, data.build(Method.ALLOCATE, [TCP])) == []
    assert code_of(data.request(Method.CONNECTION_BIND, (a.CONNECTION_ID, number))) == 0
    world.peer_leaves(number)
    found(world, world.lookups[-1].ticket)
    assert data.heard() == []
    assert list(world.core.state.allocations) == [client.path]


# §5.5 What ends a connection


def test_the_client_closes_its_data_connection() -> None:
    """RFC 6062 §5.5: so is the peer's; the allocation lives on."""
    world = TcpWorld()
    client = allocated(world)
    data, _ = client.claim(client.connected(PEER))
    world.hang_up(data.path)
    assert world.connections == {}
    assert world.core.state.live(client.path) is not None


def test_the_peer_closes() -> None:
    """RFC 6062 §5.5: and the other way round; the event says how long it was."""
    world = TcpWorld()
    client = allocated(world)
    number = client.connected(PEER)
    client.claim(number)
    world.advance(7)
    world.peer_leaves(number)
    assert world.events[-1] == PeerConnectionEnded(client.path, "alice", PEER, number, True, 7.0)
    assert world.core.state.live(client.path) is not None


def busy(world: TcpWorld) -> TcpClient:
    """An allocation with a connection in each state."""
    client = permitted(world, PEER)
    client.claim(client.connected(PEER))
    assert world.peer_connects(client.relay, PEER._replace(port=1)) is not None
    assert client.connect(OTHER)[:-1] == []
    client.heard()
    assert len(world.connections) == 3
    return client


def expire(world: TcpWorld, client: TcpClient) -> None:
    world.core.state.set_relay_expiry(
        world.core.state.allocations[client.path],
        world.core.state.allocations[client.path].relays[0],
        world.now.mono + 1,
    )
    world.advance(1)


@pytest.mark.parametrize(
    "end",
    [
        lambda world, client: client.world.feed(client.path, client.build(Method.REFRESH, [(a.LIFETIME, 0)])),
        lambda world, client: world.hang_up(client.path),
        lambda world, client: (world.core.revoke("alice", world.now), world.run()),
        expire,
    ],
    ids=["deleted", "client gone", "revoked", "expired"],
)
def test_the_allocation_ends(end: object) -> None:
    """RFC 6062 §5.5: so does every connection of it, in whatever state, and the port is free again."""
    world = TcpWorld()
    client = busy(world)
    assert callable(end)
    end(world, client)
    closed = [type(command) for command in world.log if isinstance(command, CloseRelay | ClosePeer)]
    assert closed == [CloseRelay, ClosePeer, ClosePeer, ClosePeer], "no peer gets in while the rest is closed"
    assert (world.connections, world.bound, world.core.state.allocations) == ({}, {}, {})
    assert [ports.used for ports in world.core.state.ports.values()] == [0] * 4
    world.advance(60)
    assert world.core.deadline() is None


def test_a_connect_under_way_is_answered_when_the_allocation_ends() -> None:
    """Rule 9: never silence for a request: 447, unless there is nobody to hear it."""
    world = TcpWorld()
    client = allocated(world)
    client.connect(PEER)
    answers = world.feed(client.path, client.build(Method.REFRESH, [(a.LIFETIME, 0)]))
    assert [code_of(Message.decode(answer)) for answer in answers] == [447, 0]
    client = allocated(world)
    client.connect(PEER)
    world.hang_up(client.path)
    assert client.heard() == []


def test_half_of_a_dual_allocation_ends() -> None:
    """RFC 8656 §8.2: the connections of that family go with it, the others stay."""
    world = TcpWorld()
    client = world.control()
    client.allocate_tcp((a.ADDITIONAL_ADDRESS_FAMILY, 2))
    kept, gone = client.connected(PEER), client.connected(PEER6)
    assert kept != gone
    assert code_of(client.refresh(0, (a.REQUESTED_ADDRESS_FAMILY, 2))) == 0
    assert world.connections == {kept: ConnectionState.WAITING}


def test_the_peer_list_is_replaced() -> None:
    """Rule 16: what the new list forbids ends at once, in whatever state; the rest stays."""
    world = TcpWorld()
    client = busy(world)
    peers = PeerPolicy.build(listeners=[SERVER], deny=[ip_network("8.8.8.0/24")])
    world.core.replace_policy(peers, world.now)
    world.run()
    assert list(world.connections.values()) == [ConnectionState.CONNECTING]
    world.core.replace_policy(PeerPolicy.build(deny=[ip_network("8.0.0.0/8")]), world.now)
    world.run()
    assert world.connections == {}
    assert [code_of(answer) for answer in client.heard()] == [447]
    assert world.core.state.live(client.path) is not None


def test_ids_cannot_be_guessed_and_are_never_shared() -> None:
    """RFC 6062 §5.2: unique; and drawn at random, so that only who is told of a connection can claim it."""
    world = TcpWorld()
    drawn = [b"\x00\x00\x00\x01", b"\x00\x00\x00\x01", b"\x00\x00\x00\x02"]
    client = allocated(world)
    entropy = world.core.state.entropy
    world.core.state.entropy = lambda size: drawn.pop(0) if size == 4 else entropy(size)
    assert client.connected(PEER) == 1
    assert client.connected(OTHER) == 2
    assert [command.connection for command in world.log if isinstance(command, ConnectPeer)] == [1, 2]


# relay.tcp


def test_switched_off() -> None:
    """`relay.tcp: false`: TCP is a protocol that is not offered → 442; Connect and ConnectionBind alike. UDP works."""
    world = TcpWorld(settings={"tcp": False})
    client = world.control()
    assert code_of(client.allocate_tcp()) == 442
    assert code_of(client.request(Method.CONNECT, (a.XOR_PEER_ADDRESS, PEER))) == 442
    assert code_of(client.request(Method.CONNECTION_BIND, (a.CONNECTION_ID, 1))) == 442
    assert code_of(world.control().allocate()) == 0


def test_switched_off_while_there_are_allocations() -> None:
    """An allocation from before gets no new connections, and ends as any other."""
    world = TcpWorld()
    client = permitted(world, PEER)
    world.core.use(core_settings(tcp=False), world.now)
    assert code_of(client.request(Method.CONNECT, (a.XOR_PEER_ADDRESS, PEER))) == 442
    assert code_of(client.refresh(0)) == 0
