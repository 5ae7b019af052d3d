"""The TURN client in virtual time: against the real core, and against a server that answers by hand."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stun import attributes as a
from stun import channeldata
from stun.address import Address
from stun.attributes import AttributeType, IcmpValue
from stun.client.core import PERMISSIONS_AT_ONCE, ClientCore, ClientOptions
from stun.client.errors import (
    ErrorResponse,
    IntegrityViolated,
    InvalidAnswer,
    NoAllocation,
    NoAnswer,
    NotPermitted,
    RequestCancelled,
    ServerUnreachable,
    TooManyRequests,
    TryAlternate,
)
from stun.client.events import (
    AllocationLost,
    ChannelLost,
    ConnectionAttempt,
    PeerData,
    PeerError,
    PermissionLost,
    RequestDone,
)
from stun.client.requests import FinalResponse
from stun.constants import AddressFamily, MessageClass, Method, TransportProtocol
from stun.demux import is_stun
from stun.message import Message, MessageBuilder
from tests.support.client_world import LOGIN, ClientWorld, Party, Script, first
from tests.support.core_world import PEER, PEER6, RELAY, RELAY6, World, deterministic_entropy
from tests.support.limits import limits
from tests.support.tcp_world import TcpWorld
from turnserver.core.types import ClientTransport

OTHER = Address.parse("8.8.4.4", 6000)
TCP, UDP = TransportProtocol.TCP, TransportProtocol.UDP
STREAM = ClientTransport.TCP


def allocated(world: ClientWorld | None = None, *, asking: dict[str, Any] | None = None, **options: Any) -> Party:
    party = (world or ClientWorld()).client(**options)
    request = party.core.allocate(party.now, **asking or {})
    party.world.run()
    request.result()
    party.events.clear()
    return party


def permitted(*peers: Address, **options: Any) -> Party:
    party = allocated(**options)
    request = party.core.create_permission(peers, party.now)
    party.world.run()
    request.result()
    party.events.clear()
    return party


def bound(peer: Address = PEER, **options: Any) -> Party:
    party = allocated(**options)
    request = party.core.bind_channel(peer, party.now)
    party.world.run()
    assert request.result() == 0x4000
    party.events.clear()
    return party


def at_peers(party: Party) -> list[tuple[Address, bytes]]:
    """What has been sent to peers."""
    sent = [(each.peer, each.data) for each in party.world.server.to_peers]
    party.world.server.to_peers.clear()
    return sent


class Alone:
    """A client without a server: the test answers with a `Script`."""

    def __init__(self, *, reliable: bool = False, **options: Any) -> None:
        self.core = ClientCore(
            deterministic_entropy(), login=LOGIN, reliable=reliable, options=ClientOptions(**options)
        )
        self.script = Script()
        self.now = 100.0

    def hear(self, frame: bytes) -> None:
        self.core.receive(frame, self.now)

    def allocated(self, lifetime: int = 600) -> "Alone":
        request = self.core.allocate(self.now)
        self.hear(self.script.challenge(first(self.core)))
        relayed = Address.parse("203.0.113.1", 50000)
        self.hear(self.script.success(first(self.core), (a.XOR_RELAYED_ADDRESS, relayed), (a.LIFETIME, lifetime)))
        request.result()
        self.core.events()
        return self

    def turn(self, seconds: float) -> list[Message]:
        """Turn the clock and let time do what it does; the messages sent."""
        self.now += seconds
        self.core.expire(self.now)
        return [Message.decode(frame) for frame in self.core.frames() if is_stun(frame)]


# Requests


def test_binding_says_our_address() -> None:
    """RFC 8489 §2: and goes without credentials."""
    party = ClientWorld().client(login=None)
    request = party.core.binding(party.now)
    party.world.run()
    assert request.result() == party.path.address
    assert party.events == [RequestDone(request)]


def test_an_allocation() -> None:
    """RFC 8656 §7: challenged, answered, granted; the client knows what the server knows."""
    world = ClientWorld()
    party = world.client()
    request = party.core.allocate(party.now)
    assert party.core.allocation is None
    world.run()
    allocation = request.result()
    assert party.core.allocation == allocation
    assert allocation.address.ip == RELAY
    assert (allocation.mapped, allocation.lifetime, allocation.protocol) == (party.path.address, 600, UDP)
    assert party.events == [RequestDone(request)]
    assert len(party.requests(Method.ALLOCATE)) == 2
    assert party.core.session is not None
    assert party.core.session.offered is not None, "our own server offers SHA-256"


def test_the_options_of_an_allocation_reach_the_wire() -> None:
    """RFC 8656 §7.1: each option is its attribute, and without an option there is none."""
    asking: dict[str, Any] = {
        "family": AddressFamily.IPV6,
        "additional_family": AddressFamily.IPV6,
        "even_port": False,
        "reservation": b"12345678",
        "lifetime": 1200,
        "dont_fragment": True,
        "protocol": TCP,
    }
    full, plain = Alone(), Alone()
    full.core.allocate(100.0, **asking)
    message = first(full.core)
    assert message.first(a.REQUESTED_TRANSPORT) == 6
    assert message.first(a.REQUESTED_ADDRESS_FAMILY) == 2
    assert message.first(a.ADDITIONAL_ADDRESS_FAMILY) == 2
    assert message.first(a.EVEN_PORT) is False
    assert message.first(a.RESERVATION_TOKEN) == b"12345678"
    assert message.first(a.LIFETIME) == 1200
    assert message.has(a.DONT_FRAGMENT)
    plain.core.allocate(100.0)
    assert [raw.type for raw in first(plain.core).attributes] == [a.REQUESTED_TRANSPORT.number, a.FINGERPRINT.number]


def test_a_dual_allocation_and_a_half_one() -> None:
    """RFC 8656 §7.3: two relayed addresses; with one family missing, ADDRESS-ERROR-CODE says why."""
    asking = {"additional_family": AddressFamily.IPV6}
    both = allocated(asking=asking).core.allocation
    assert both is not None
    assert [address.ip for address in both.relayed] == [RELAY, RELAY6]
    assert both.refused is None
    world = ClientWorld(World(relays=World().relays[:1]))
    half = allocated(world, asking=asking).core.allocation
    assert half is not None
    assert [address.ip for address in half.relayed] == [RELAY]
    assert half.refused is not None
    assert (half.refused.family, half.refused.code) == (AddressFamily.IPV6, 440)


def test_a_reserved_port_is_allocated_by_its_token() -> None:
    """RFC 8656 §7.2: EVEN-PORT with the R bit, and RESERVATION-TOKEN for the next port from another 5-tuple."""
    party = allocated(asking={"even_port": True})
    allocation = party.core.allocation
    assert allocation is not None
    assert allocation.reservation is not None
    other = allocated(party.world, asking={"reservation": allocation.reservation}).core.allocation
    assert other is not None
    assert other.address.port == allocation.address.port + 1


def test_refusals_are_errors_with_their_code() -> None:
    """RFC 8656 §7.4."""
    world = ClientWorld(World(limits=limits(allocations_per_user=1)))
    allocated(world)
    party = world.client()
    request = party.core.allocate(party.now)
    world.run()
    with pytest.raises(ErrorResponse) as caught:
        request.result()
    assert caught.value.code == 486
    assert party.core.allocation is None


def test_the_server_may_send_its_clients_elsewhere() -> None:
    """RFC 8656 §7.2 step 13, §7.4: 300 is an outcome of its own."""
    world = ClientWorld(World(settings={"alternate_servers": (Address.parse("192.0.2.77", 3478),)}))
    party = world.client()
    request = party.core.allocate(party.now)
    world.run()
    with pytest.raises(TryAlternate) as caught:
        request.result()
    assert caught.value.server == Address.parse("192.0.2.77", 3478)


def test_a_refresh_lengthens_and_ends() -> None:
    """RFC 8656 §8: the lifetime that is granted counts; 0 ends it, and what belonged to it."""
    party = bound(automatic=False)
    request = party.core.refresh(party.now, 1200)
    party.world.run()
    assert request.result() == 1200
    assert party.core.allocation is not None
    assert party.core.allocation.lifetime == 1200
    request = party.core.refresh(party.now, 0)
    party.world.run()
    assert request.result() == 0
    assert party.core.allocation is None
    party.world.server.assert_nothing_left()
    assert not party.told(AllocationLost), "it was not lost but given back"
    assert party.core.deadline() is None


def test_giving_back_what_has_gone_is_no_loss() -> None:
    """RFC 8656 §8.3: 437 to a Refresh with 0 means that the allocation is gone, which was the wish."""
    party = allocated(automatic=False)
    party.world.server.core.revoke("alice", party.world.server.now)
    request = party.core.refresh(party.now, 0)
    party.world.run()
    with pytest.raises(ErrorResponse):
        request.result()
    assert party.core.allocation is None
    assert not party.told(AllocationLost)


@pytest.mark.parametrize("what", ["refresh", "permission", "channel"])
def test_437_means_that_the_allocation_is_gone(what: str) -> None:
    """RFC 8656 §8.3: whichever request hears of it."""
    party = allocated(automatic=False)
    party.world.server.core.revoke("alice", party.world.server.now)
    request: Any = {
        "refresh": lambda: party.core.refresh(party.now),
        "permission": lambda: party.core.create_permission([PEER], party.now),
        "channel": lambda: party.core.bind_channel(PEER, party.now),
    }[what]()
    party.world.run()
    with pytest.raises(ErrorResponse, match="437"):
        request.result()
    assert party.core.allocation is None
    (lost,) = party.told(AllocationLost)
    assert lost.error.code == 437


def test_an_allocation_that_cannot_be_used_is_given_back() -> None:
    """RFC 8656 §7.3: a relayed address of another family than was asked for is not used but deleted."""
    alone = Alone()
    request = alone.core.allocate(alone.now, family=AddressFamily.IPV4)
    alone.hear(alone.script.challenge(first(alone.core)))
    relayed = Address.parse("2001:db8::1", 50000)
    alone.hear(alone.script.success(first(alone.core), (a.XOR_RELAYED_ADDRESS, relayed), (a.LIFETIME, 600)))
    with pytest.raises(InvalidAnswer):
        request.result()
    assert alone.core.allocation is None
    refresh = first(alone.core)
    assert (refresh.method, refresh.first(a.LIFETIME)) == (Method.REFRESH, 0)
    alone.hear(alone.script.success(refresh, (a.LIFETIME, 0)))
    assert alone.core.events() == [RequestDone(request)]


def test_any_request_can_be_made() -> None:
    """For who looks into a server: whatever attributes, and the answer as it came."""
    party = allocated()
    request = party.core.request(Method.CREATE_PERMISSION, [(a.LIFETIME, 5)], party.now)
    party.world.run()
    error = request.answer().error
    assert error is not None
    assert error.code == 400


@pytest.mark.parametrize("what", ["garbage", "nothing", "fingerprint", "cut"])
def test_what_is_no_message_is_no_answer(what: str) -> None:
    """RFC 8489 §6.3, §14.7: the request goes on; if nothing better comes, the reason says what was ignored."""
    alone = Alone(patience=1.0)
    request, other = alone.core.binding(alone.now), Alone()
    good = alone.script.success(first(alone.core), (a.XOR_MAPPED_ADDRESS, PEER))
    frames = {
        "garbage": b"\0\1garbage",
        "nothing": b"",
        "fingerprint": good[:-1] + bytes([good[-1] ^ 1]),
        "cut": good[:-4],
    }
    alone.hear(frames[what])
    assert not request.done
    alone.hear(good)
    assert request.result() == PEER
    lost = other.core.binding(other.now)
    first(other.core)
    other.hear(frames[what])
    for _ in range(10):
        other.turn(5)
    with pytest.raises(NoAnswer, match="not valid STUN was ignored"):
        lost.result()


def test_a_request_can_be_cancelled() -> None:
    party = ClientWorld().client()
    request = party.core.allocate(party.now)
    party.core.cancel(request, party.now)
    party.world.run()
    assert isinstance(request.outcome, RequestCancelled)
    assert party.core.deadline() is None


def test_a_broken_way_costs_the_requests_and_not_the_allocation() -> None:
    """An ICMP error over UDP may be a moment's: what stands at the server stands."""
    party = allocated()
    request = party.core.refresh(party.now)
    party.core.unreachable(ServerUnreachable("Nothing listens there."), party.now)
    with pytest.raises(ServerUnreachable):
        request.result()
    assert party.core.allocation is not None


def test_the_end_of_a_connection_is_the_end_of_the_allocation() -> None:
    """RFC 8656 §3.1."""
    party = bound(transport=STREAM)
    error = ServerUnreachable("The server closed the connection.")
    party.core.lost(error, party.now)
    party.world.run()
    assert party.told(AllocationLost) == [AllocationLost(error)]
    assert party.core.allocation is None
    assert party.core.deadline() is None


# Data


def test_data_goes_by_permission() -> None:
    """RFC 8656 §11: Send there, Data back; empty datagrams are datagrams."""
    party = permitted(PEER)
    for data in (b"hello", b""):
        party.core.send(PEER, data, party.now)
        party.world.run()
        assert at_peers(party) == [(PEER, data)]
        party.world.peer_sends(party, PEER, data)
    assert party.events == [PeerData(PEER, b"hello"), PeerData(PEER, b"")]


@pytest.mark.parametrize("transport", [ClientTransport.UDP, STREAM])
def test_data_goes_by_channel(transport: ClientTransport) -> None:
    """RFC 8656 §12: ChannelData both ways, padded on streams only."""
    party = bound(transport=transport)
    party.core.send(PEER, b"hello", party.now)
    party.world.run()
    padding = b"\0\0\0" if transport.padded else b""
    assert party.sent[-1] == bytes.fromhex("40000005") + b"hello" + padding
    assert at_peers(party) == [(PEER, b"hello")]
    party.world.peer_sends(party, PEER, b"hi")
    party.world.peer_sends(party, PEER, b"")
    assert party.events == [PeerData(PEER, b"hi", 0x4000), PeerData(PEER, b"", 0x4000)]


def test_dont_fragment_goes_by_indication() -> None:
    """RFC 8656 §11.1: ChannelData has no room for it."""
    party = bound()
    party.core.send(PEER, b"x", party.now, dont_fragment=True)
    party.world.run()
    sent = Message.decode(party.sent[-1])
    assert (sent.method, sent.has(a.DONT_FRAGMENT)) == (Method.SEND, True)


def test_nothing_is_sent_that_the_server_would_drop() -> None:
    """RFC 8656 §9: silence would be all that a caller got; a permission covers every port of its address."""
    party = ClientWorld().client()
    with pytest.raises(NoAllocation):
        party.core.send(PEER, b"x", party.now)
    party = permitted(PEER)
    with pytest.raises(NotPermitted, match=r"8\.8\.4\.4"):
        party.core.send(OTHER, b"x", party.now)
    party.core.send(Address(PEER.ip, 1), b"x", party.now)
    party.world.run()
    assert at_peers(party) == [(Address(PEER.ip, 1), b"x")]


def test_a_tcp_relay_takes_no_datagrams() -> None:
    """RFC 6062 §5.1."""
    party = allocated(ClientWorld(TcpWorld()), transport=STREAM, asking={"protocol": TCP})
    with pytest.raises(NoAllocation, match="relays datagrams"):
        party.core.send(PEER, b"x", party.now)


def test_strangers_are_dropped() -> None:
    """RFC 8656 §11.4: what the client has not permitted it does not take, even from its server; unless told to."""
    indication = MessageBuilder(Method.DATA, MessageClass.INDICATION, bytes(12))
    frame = indication.add(a.XOR_PEER_ADDRESS, OTHER).add(a.DATA, b"x").build()
    strict, open_ = permitted(PEER), permitted(PEER, check_permissions=False)
    strict.core.receive(frame, strict.now)
    open_.core.receive(frame, open_.now)
    assert strict.core.events() == []
    assert open_.core.events() == [PeerData(OTHER, b"x")]


def test_channels_that_are_not_bound_are_dropped() -> None:
    """RFC 8656 §12.6."""
    party = bound()
    for number in (0x4001, 0x5000, 0x7FFF):
        party.core.receive(channeldata.encode(number, b"x"), party.now)
    assert party.core.events() == []


def test_data_that_overtakes_the_answer_is_taken() -> None:
    """RFC 8656 §12: the channel is bound when the server says so, and the answer may come late."""
    party = allocated()
    party.core.bind_channel(PEER, party.now)
    party.core.receive(channeldata.encode(0x4000, b"early"), party.now)
    assert party.core.events() == [PeerData(PEER, b"early", 0x4000)]


def test_errors_of_peers_are_told() -> None:
    """RFC 8656 §11.6: a Data indication with ICMP, and without DATA."""
    party = permitted(PEER)
    value = IcmpValue(3, 3, 0)
    party.world.server.core.peer_icmp(party.relays[0], PEER, value, party.world.server.now)
    party.world.server.run()
    party.world.run()
    assert party.events == [PeerError(PEER, value)]


@pytest.mark.parametrize("lacking", ["peer", "data", "unknown", "method"])
def test_indications_that_are_not_whole_are_dropped(lacking: str) -> None:
    """RFC 8656 §11.4, RFC 8489 §6.3.2: without peer, without data, with an attribute that had to be understood."""
    party = permitted(PEER)
    required: AttributeType[bytes] = AttributeType(0x7FF0, "UNKNOWN", "none", lambda v, t: v, lambda v, t: v)
    builder = MessageBuilder(Method.SEND if lacking == "method" else Method.DATA, MessageClass.INDICATION, bytes(12))
    if lacking != "peer":
        builder.add(a.XOR_PEER_ADDRESS, PEER)
    if lacking != "data":
        builder.add(a.DATA, b"x")
    if lacking == "unknown":
        builder.add(required, b"")
    party.core.receive(builder.build(), party.now)
    assert party.core.events() == []


def test_a_flood_is_bounded() -> None:
    """Rule 22: however much comes in, only so much is kept; the newest is dropped and counted."""
    party = bound(queue=10)
    for number in range(25):
        party.core.receive(channeldata.encode(0x4000, b"%d" % number), party.now)
    assert [event.data for event in party.core.events()] == [b"%d" % number for number in range(10)]
    assert party.core.dropped == 15
    party.core.receive(channeldata.encode(0x4000, b"next"), party.now)
    assert len(party.core.events()) == 1


@given(st.lists(st.binary(max_size=80) | st.binary(max_size=60).map(lambda tail: b"\0\x17\0\0\x21\x12\xa4\x42" + tail)))
def test_whatever_comes_in_raises_nothing(frames: list[bytes]) -> None:
    """Rule 20."""
    alone = Alone().allocated()
    request = alone.core.refresh(alone.now)
    (sent,) = alone.core.frames()
    for frame in frames:
        alone.hear(frame)
    alone.hear(alone.script.success(Message.decode(sent), (a.LIFETIME, 600)))
    assert request.result() == 600


# RFC 6062


def tcp_party() -> tuple[TcpWorld, Party]:
    server = TcpWorld()
    party = allocated(ClientWorld(server), transport=STREAM, asking={"protocol": TCP})
    return server, party


def test_a_connection_to_a_peer() -> None:
    """RFC 6062 §4.3: Connect gives a number, ConnectionBind on another connection makes that one the peer's."""
    server, party = tcp_party()
    request = party.core.connect(PEER, party.now)
    party.world.run()
    assert not request.done
    server.peer_takes(server.connects[-1].connection)
    party.world.run()
    number = request.result()
    data = party.world.client(transport=STREAM)
    binding = data.core.bind_connection(number, data.now)
    party.world.run()
    assert binding.result() is None  # type: ignore[func-returns-value]
    assert list(server.spliced) == [data.path]


def test_a_peer_that_does_not_answer() -> None:
    """RFC 6062 §5.2: 447 after 30 seconds, which a client on a stream waits for."""
    _, party = tcp_party()
    request = party.core.connect(PEER, party.now)
    party.world.advance(31)
    with pytest.raises(ErrorResponse, match="447"):
        request.result()


def test_a_peer_that_connects() -> None:
    """RFC 6062 §4.4."""
    server, party = tcp_party()
    party.core.create_permission([PEER], party.now)
    party.world.run()
    number = server.peer_connects(party.relays[0], PEER)
    party.world.run()
    assert party.told(ConnectionAttempt) == [ConnectionAttempt(PEER, number)]


# Renewal


def test_everything_is_kept_for_hours() -> None:
    """RFC 8656 §8, §9, §12: allocation, permissions and channels are renewed in time, and nothing is ever lost."""
    party = bound(PEER)
    party.core.create_permission([OTHER], party.now)
    party.world.run()
    party.events.clear()
    for _ in range(4 * 60):
        party.world.advance(60)
        party.core.send(PEER, b"x", party.now)
        party.core.send(OTHER, b"y", party.now)
        party.world.run()
        assert at_peers(party) == [(PEER, b"x"), (OTHER, b"y")]
    assert party.events == []
    (allocation,) = party.world.server.core.state.allocations.values()
    assert set(allocation.permissions) == {PEER.ip, OTHER.ip}
    refreshes = len(party.requests(Method.REFRESH))
    assert 26 <= refreshes <= 32, "every nine minutes, and a new nonce now and then"


def test_renewal_can_be_left_to_the_caller() -> None:
    """Probes and tests drive by hand: nothing is sent that they have not asked for, and the ends are told."""
    party = bound(automatic=False)
    before = len(party.sent)
    party.world.advance(3600)
    assert len(party.sent) == before
    assert party.events == [PermissionLost(PEER.ip, None), AllocationLost(None)]


def test_renewals_are_for_the_lifetime_that_was_asked_for() -> None:
    """RFC 8656 §8.1."""
    party = allocated(asking={"lifetime": 1800})
    party.world.advance(1740)
    (refresh,) = [each for each in party.requests(Method.REFRESH) if each.has(a.USERNAME)][-1:]
    assert refresh.first(a.LIFETIME) == 1800


def test_the_times_of_renewal() -> None:
    """RFC 8656 §8: a minute before 300 seconds for permissions, 600 for channels, and what was granted."""
    alone = Alone(keepalive=None).allocated(3600)
    request = alone.core.bind_channel(PEER, alone.now)
    alone.hear(alone.script.success(first(alone.core)))
    request.result()
    began, sent = alone.now, []
    while alone.now < began + 3599:
        deadline = alone.core.deadline()
        assert deadline is not None
        for message in alone.turn(deadline - alone.now):
            sent.append((round(alone.now - began), Method(message.method).name))
            lifetime = [(a.LIFETIME, 3600)] if message.method == Method.REFRESH else []
            alone.hear(alone.script.success(message, *lifetime))
    assert [at for at, what in sent if what == "CREATE_PERMISSION"][:3] == [240, 480, 780]
    assert [at for at, what in sent if what == "CHANNEL_BIND"] == [540, 1080, 1620, 2160, 2700, 3240]
    assert [at for at, what in sent if what == "REFRESH"] == [3540]


def test_many_permissions_go_together() -> None:
    """RFC 8656 §10: several addresses in a request, but no request larger than a path takes."""
    server = World(limits=limits(permissions_per_allocation=200))
    party = allocated(ClientWorld(server))
    peers = [Address.parse(f"8.8.1.{number}", 1) for number in range(1, 101)]
    for at in range(0, len(peers), 25):
        party.core.create_permission(peers[at : at + 25], party.now)
    party.world.run()
    before = len(party.requests(Method.CREATE_PERMISSION))
    party.world.advance(250)
    renewals = party.requests(Method.CREATE_PERMISSION)[before:]
    assert [len(message.all(a.XOR_PEER_ADDRESS)) for message in renewals] == [PERMISSIONS_AT_ONCE] * 3 + [4]
    assert max(len(message.raw) for message in renewals) < 1200


def test_one_forbidden_address_does_not_cost_the_others() -> None:
    """RFC 8656 §10.2: a request permits all or none, so each is asked for by itself when all were refused."""
    alone = Alone(keepalive=None).allocated(3600)
    request = alone.core.create_permission([PEER, OTHER], alone.now)
    alone.hear(alone.script.success(first(alone.core)))
    request.result()
    alone.core.events()
    (both,) = alone.turn(240)
    alone.hear(alone.script.error(both, 403))
    for frame in alone.core.frames():
        message = Message.decode(frame)
        peer = message.first(a.XOR_PEER_ADDRESS)
        assert peer is not None
        alone.hear(alone.script.error(message, 403) if peer.ip == PEER.ip else alone.script.success(message))
    (lost,) = alone.core.events()
    assert isinstance(lost, PermissionLost)
    assert lost.ip == PEER.ip
    assert isinstance(lost.error, ErrorResponse)
    alone.core.send(OTHER, b"x", alone.now + 100)


def test_a_channel_that_is_refused_is_told() -> None:
    alone = Alone(keepalive=None).allocated(3600)
    alone.core.bind_channel(PEER, alone.now)
    alone.hear(alone.script.success(first(alone.core)))
    alone.core.events()
    sent: list[Message] = []
    while not any(message.method == Method.CHANNEL_BIND for message in sent):
        deadline = alone.core.deadline()
        assert deadline is not None
        sent = alone.turn(deadline - alone.now)
        for message in sent:
            refused = message.method == Method.CHANNEL_BIND
            alone.hear(alone.script.error(message, 403) if refused else alone.script.success(message))
    (lost,) = alone.core.events()
    assert isinstance(lost, ChannelLost)
    assert (lost.channel, lost.peer) == (0x4000, PEER)
    assert isinstance(lost.error, ErrorResponse)


def test_a_server_that_is_silent_for_a_while_costs_nothing() -> None:
    """RFC 8656 §8: a renewal that failed is tried again, as long as there is something to renew."""
    party = bound()
    party.world.advance(200)
    party.world.blocked = True
    party.world.advance(70)
    party.world.blocked = False
    party.world.advance(900)
    assert party.events == []
    party.core.send(PEER, b"x", party.now)
    party.world.run()
    assert at_peers(party) == [(PEER, b"x")]


def test_a_server_that_stays_silent_is_told_of() -> None:
    """RFC 8656 §3.2: when the time is over the allocation is gone; the reason is why it could not be renewed."""
    party = bound()
    party.world.blocked = True
    party.world.advance(700)
    assert [type(event) for event in party.events] == [PermissionLost, AllocationLost]
    assert isinstance(party.events[-1].error, NoAnswer)
    assert party.core.allocation is None
    assert party.core.deadline() is None, "nothing is left to do"


def test_a_credential_that_is_withdrawn_is_told_of() -> None:
    """The server says 437 or 401; the latter is not asked again every moment, as if passwords were being tried."""
    alone = Alone(keepalive=None).allocated()
    refused = 0
    while alone.core.allocation is not None:
        deadline = alone.core.deadline()
        assert deadline is not None
        for message in alone.turn(deadline - alone.now):
            refused += 1
            alone.hear(alone.script.challenge(message))
    assert refused <= 4
    (lost,) = alone.core.events()
    assert isinstance(lost, AllocationLost)
    assert isinstance(lost.error, ErrorResponse)
    assert lost.error.code == 401


def test_the_client_never_believes_that_it_has_more_than_it_has() -> None:
    """RFC 8656 §3.2: a lifetime counts from when the request was sent, when the server may have granted it."""
    alone = Alone(automatic=False)
    request = alone.core.allocate(alone.now)
    alone.hear(alone.script.challenge(first(alone.core)))
    sent = first(alone.core)
    alone.now += 20
    relayed = Address.parse("203.0.113.1", 50000)
    alone.hear(alone.script.success(sent, (a.XOR_RELAYED_ADDRESS, relayed), (a.LIFETIME, 600)))
    request.result()
    alone.core.events()
    alone.turn(580)
    assert alone.core.events() == [AllocationLost(None)]


def test_a_late_answer_does_not_bring_back_what_is_gone() -> None:
    alone = Alone(automatic=False).allocated()
    request = alone.core.bind_channel(PEER, alone.now + 590)
    sent = first(alone.core)
    alone.turn(600)
    alone.hear(alone.script.success(sent))
    assert request.result() == 0x4000
    with pytest.raises(NoAllocation):
        alone.core.send(PEER, b"x", alone.now)


def test_the_way_to_the_server_is_kept_open() -> None:
    """RFC 8489 §2, RFC 4787 §4.3: a NAT forgets a silent client, so there is a Binding indication now and then."""
    party = allocated()
    party.world.advance(100)
    kept = [Message.decode(frame) for frame in party.sent[2:]]
    assert [(each.method, each.message_class) for each in kept] == [(Method.BINDING, MessageClass.INDICATION)] * 5
    quiet = allocated(keepalive=None)
    quiet.world.advance(100)
    assert len(quiet.sent) == 2
    stream = allocated(transport=STREAM)
    stream.world.advance(100)
    assert len(stream.sent) == 2, "a connection keeps itself"


def test_who_sends_needs_no_keepalive() -> None:
    party = permitted(PEER)
    before = len(party.sent)
    for _ in range(20):
        party.world.advance(10)
        party.core.send(PEER, b"x", party.now)
    assert all(Message.decode(frame).method == Method.SEND for frame in party.sent[before:])


def test_a_peer_is_renewed_until_it_is_forgotten() -> None:
    party = bound()
    party.core.forget(PEER, party.now)
    party.world.advance(700)
    assert len(party.requests(Method.CHANNEL_BIND)) == 1
    assert len(party.requests(Method.CREATE_PERMISSION)) == 0
    with pytest.raises(NotPermitted):
        party.core.send(PEER, b"x", party.now)


def test_renewals_wait_where_there_is_no_room() -> None:
    """Rule 22: requests under way are bounded, and renewals are not the ones to raise about it."""
    party = permitted(PEER, limit=1)
    party.world.advance(230)
    party.world.blocked = True
    party.core.refresh(party.now)
    with pytest.raises(TooManyRequests):
        party.core.refresh(party.now)
    party.world.advance(12)
    party.world.blocked = False
    party.world.advance(300)
    assert party.told(PermissionLost) == []


def test_answers_that_nobody_signed_renew_nothing() -> None:
    """RFC 8489 §9.2.5: who can write to the client but has no key cannot keep or end an allocation."""
    alone = Alone(keepalive=None, automatic=False).allocated()
    request = alone.core.refresh(alone.now)
    sent = first(alone.core)
    alone.hear(alone.script.success(sent, (a.LIFETIME, 0), signed=False))
    alone.hear(alone.script.error(sent, 437, signed=False))
    assert alone.core.allocation is not None
    for _ in range(8):
        alone.turn(5)
    with pytest.raises(IntegrityViolated):
        request.result()
    assert alone.core.allocation is not None
    assert isinstance(alone.core.events()[-1], RequestDone)


def test_another_allocation_is_another_world() -> None:
    """What was asked for one is not taken for the next: permissions begin anew."""
    party = bound(automatic=False)
    party.core.refresh(party.now, 0)
    party.world.run()
    again = party.core.allocate(party.now)
    party.world.run()
    again.result()
    with pytest.raises(NotPermitted):
        party.core.send(PEER, b"x", party.now)
    assert party.core.bind_channel(PEER6, party.now) is not None


def test_every_answer_is_there_to_be_looked_at() -> None:
    """For probes: time, transmissions, and whether it was signed."""
    party = allocated()
    request = party.core.refresh(party.now)
    party.world.run()
    assert isinstance(request.outcome, FinalResponse)
    assert request.outcome.signed
    assert party.core.transmissions == len(party.requests(Method.ALLOCATE)) + 1
