"""`TurnCore` as a whole: what is answered, what is silence, parked look-ups, revocation, the ACL reloaded, time."""

from ipaddress import ip_network
from typing import Any

import pytest

from auth.keys import long_term_keys
from auth.nonce import NonceStatus
from auth.source import StaticUsers
from auth.types import Credential
from stun import attributes as a
from stun.address import Address
from stun.attributes import AttributeType
from stun.channeldata import encode
from stun.constants import MAGIC_COOKIE, ErrorCode, MessageClass, Method
from stun.message import Message, MessageBuilder
from tests.support.core_settings import core_settings
from tests.support.core_world import (
    PEER,
    PEER6,
    REALM,
    RELAY,
    SERVER,
    SOFTWARE,
    ScriptedClient,
    World,
    appended,
    code_of,
    names_of,
)
from tests.support.limits import limits
from turnserver.core.allocation import Allocation
from turnserver.core.commands import (
    AddRoute,
    CloseClient,
    CloseRelay,
    ForbidPeer,
    OpenRelay,
    RemoveRoute,
    SendToClient,
    SendToPeer,
)
from turnserver.core.events import (
    AllocationEnded,
    AllocationOpened,
    AllocationRefreshed,
    AnswerWithheld,
    EndReason,
    RequestRefused,
)
from turnserver.core.handlers import allocate
from turnserver.core.policy import PeerPolicy
from turnserver.core.settings import CoreBounds, RelayAddress
from turnserver.core.types import AllocationView, ClientTransport, Counters, Now, PortRange, RelayId
from turnserver.reasons import Reason

OPTIONAL: AttributeType[bytes] = AttributeType(0xC001, "OPTIONAL", "-", lambda v, t: v, lambda v, t: v)
REQUIRED: AttributeType[bytes] = AttributeType(0x7F01, "REQUIRED", "-", lambda v, t: v, lambda v, t: v)
ALSO_REQUIRED: AttributeType[bytes] = AttributeType(0x7F02, "ALSO-REQUIRED", "-", lambda v, t: v, lambda v, t: v)

ALICE = Credential("alice", REALM, "alice", long_term_keys("alice", REALM, "secret"))


def allocated(world: World, **options: Any) -> ScriptedClient:
    client = world.client(**options)
    assert code_of(client.allocate()) == 0
    world.take()
    world.take_events()
    return client


# What is a frame at all


def malformed() -> dict[str, bytes]:
    good = MessageBuilder(Method.BINDING, MessageClass.REQUEST, b"t" * 12).add(a.SOFTWARE, "abc").build()
    marked = MessageBuilder(Method.BINDING, MessageClass.REQUEST, b"t" * 12).fingerprint().build()
    cookie = MAGIC_COOKIE.to_bytes(4, "big")
    return {
        "nothing": b"",
        "one byte": b"\x00",
        "half a header": good[:19],
        "no cookie": good.replace(cookie, bytes(4)),
        "length too long": good[:2] + b"\x00\x10" + good[4:],
        "length too short": good[:2] + b"\x00\x04" + good[4:],
        "length not a multiple of four": good[:2] + b"\x00\x09" + good[4:] + b"\x00",
        "attribute beyond the end": good[:22] + b"\x00\x40" + good[24:],
        "wrong fingerprint": marked[:-1] + bytes((marked[-1] ^ 1,)),
        "fingerprint not last": appended(marked, a.SOFTWARE.number, b"abcd"),
        "integrity of a length it cannot have": appended(good, a.MESSAGE_INTEGRITY.number, bytes(16)),
        "trailing bytes": good + bytes(4),
    }


@pytest.mark.parametrize("case", malformed())
def test_what_is_not_stun_is_dropped(case: str) -> None:
    """Rules 4, 6 and 20, RFC 8489 §6.3: header, cookie, lengths, FINGERPRINT are checked before anything; silence."""
    world = World()
    assert world.feed(world.client().path, malformed()[case]) == []
    assert (world.take(), world.take_events(), world.core.deadline()) == ([], [], None)


@pytest.mark.parametrize("first", [4, 15, 16, 19, 20, 63, 0x50, 0x7F, 0x80, 0xFF])
def test_first_bytes_of_other_protocols_are_dropped(first: int) -> None:
    """Rules 19 and 20, RFC 7983, RFC 8656 §12: 0–3 is STUN, 64–79 a channel, all the rest nothing of ours."""
    world = World()
    client = allocated(world)
    assert world.feed(client.path, bytes((first, 0, 0, 4)) + b"data") == []
    assert (world.take(), world.take_events()) == ([], [])


@pytest.mark.parametrize("message_class", [MessageClass.SUCCESS, MessageClass.ERROR])
@pytest.mark.parametrize("method", [Method.BINDING, Method.ALLOCATE, Method.SEND])
def test_responses_are_nobodys(method: int, message_class: MessageClass) -> None:
    """RFC 8489 §6.3.3: a response to nothing that was asked is dropped."""
    world = World()
    frame = MessageBuilder(method, message_class, b"t" * 12).build()
    assert world.feed(world.client().path, frame) == []
    assert (world.take(), world.take_events()) == ([], [])


@pytest.mark.parametrize("method", [Method.SEND, Method.DATA, Method.CONNECTION_ATTEMPT, 0x0FF])
def test_methods_that_have_no_request_here_are_dropped(method: int) -> None:
    """RFC 8489 §6.3: a method that is not known, or not for its class, is an error, and such are dropped silently."""
    world = World()
    client = allocated(world)
    assert world.feed(client.path, client.build(method)) == []
    assert (world.take(), world.take_events()) == ([], [])


@pytest.mark.parametrize(
    "method",
    [Method.BINDING, Method.ALLOCATE, Method.REFRESH, Method.CREATE_PERMISSION, Method.CHANNEL_BIND, Method.DATA],
)
def test_indications_are_never_answered(method: int) -> None:
    """Rule 8, RFC 8656 §5: indications are neither authenticated nor answered, whatever their method."""
    world = World()
    client = allocated(world)
    frame = MessageBuilder(method, MessageClass.INDICATION, b"t" * 12).add(a.LIFETIME, 0).build()
    assert world.feed(client.path, frame) == []
    assert (world.take(), world.take_events()) == ([], [])
    assert world.core.state.live(client.path) is not None


# Unknown attributes, duplicates, what stands behind the integrity


def test_unknown_required_attributes_are_named() -> None:
    """Rule 7, RFC 8489 §6.3.1: 420 with every comprehension-required type that is not understood, each once."""
    world = World()
    client = allocated(world)
    answer = client.request(Method.REFRESH, (REQUIRED, b""), (OPTIONAL, b""), (ALSO_REQUIRED, b"x"), (REQUIRED, b""))
    assert code_of(answer) == 420
    assert answer.first(a.UNKNOWN_ATTRIBUTES) == (REQUIRED.number, ALSO_REQUIRED.number)
    assert names_of(answer) == ["ERROR-CODE", "UNKNOWN-ATTRIBUTES", "SOFTWARE", "MESSAGE-INTEGRITY"]


@pytest.mark.parametrize(
    "method", [Method.ALLOCATE, Method.REFRESH, Method.CREATE_PERMISSION, Method.CHANNEL_BIND, Method.BINDING]
)
def test_every_request_minds_unknown_attributes(method: int) -> None:
    """Rule 7, RFC 8489 §6.3.1: 420 from every method, before the method looks at anything."""
    world = World()
    client = world.client()
    assert code_of(client.request(method, (REQUIRED, b""))) == 420
    world.assert_nothing_left()


def test_strangers_get_401_not_420() -> None:
    """Rules 1 and 7, RFC 8489 §6.3: authentication first, then unknown attributes."""
    world = World()
    client = world.client()
    frame = client.build(Method.ALLOCATE, [(REQUIRED, b"")], signed=False)
    assert code_of(client.send(frame)) == 401


def test_unknown_optional_attributes_are_ignored() -> None:
    """Rule 7, RFC 8489 §6.3.1: comprehension-optional attributes do not matter."""
    world = World()
    assert code_of(world.client().allocate((OPTIONAL, b"whatever"))) == 0


@pytest.mark.parametrize("spec", [a.CHANGE_REQUEST, a.PADDING, a.RESPONSE_PORT, a.ACCESS_TOKEN])
def test_known_is_not_understood(spec: AttributeType[object]) -> None:
    """Rule 7, RFC 8489 §6.3.1: an attribute of another RFC that the codec knows, but nothing here acts on, is 420."""
    world = World()
    client = world.client()
    raw: AttributeType[bytes] = AttributeType(spec.number, spec.name, "-", lambda v, t: v, lambda v, t: v)
    answer = client.send(client.build(Method.BINDING, [(raw, bytes((0, 0, 0, 6)))], signed=False))
    assert (code_of(answer), answer.first(a.UNKNOWN_ATTRIBUTES)) == (420, (spec.number,))


def test_an_indication_with_unknown_attributes_is_dropped() -> None:
    """Rule 7, RFC 8489 §6.3.2: indications are not answered, so they are dropped."""
    world = World()
    client = allocated(world)
    client.permit(PEER)
    assert client.indicate((a.XOR_PEER_ADDRESS, PEER), (a.DATA, b"x"), (REQUIRED, b"")) == []
    assert client.indicate((a.XOR_PEER_ADDRESS, PEER), (a.DATA, b"x"), (OPTIONAL, b"")) != []


def test_the_first_of_duplicates_wins() -> None:
    """Rule 7, RFC 8489 §14: only the first of several attributes of a type counts."""
    world = World()
    client = world.client()
    assert client.allocate((a.LIFETIME, 900), (a.LIFETIME, 0), (a.LIFETIME, 3600)).first(a.LIFETIME) == 900
    client.permit(PEER)
    sent = client.indicate((a.XOR_PEER_ADDRESS, PEER), (a.DATA, b"one"), (a.DATA, b"two"))
    assert sent == [SendToPeer(client.relay, PEER, b"one")]


def test_what_stands_behind_the_integrity_does_not_count() -> None:
    """Rule 6, RFC 8489 §14.5: after MESSAGE-INTEGRITY everything but -SHA256 and FINGERPRINT is ignored."""
    world = World()
    client = allocated(world)
    frame = client.build(Method.REFRESH)
    for number, value in ((a.LIFETIME.number, bytes(4)), (REQUIRED.number, b"x"), (a.USERNAME.number, b"bob")):
        frame = appended(frame, number, value)
    answer = client.send(frame)
    assert (code_of(answer), answer.first(a.LIFETIME)) == (0, 600)
    assert world.core.state.live(client.path) is not None


def test_what_stands_behind_sha256_does_not_count() -> None:
    """Rule 6, RFC 8489 §14.6: likewise after MESSAGE-INTEGRITY-SHA256."""
    world = World()
    client = allocated(world, sha256=True)
    frame = appended(client.build(Method.REFRESH), a.LIFETIME.number, bytes(4))
    assert client.send(frame).first(a.LIFETIME) == 600


def test_the_integrity_covers_all_that_counts() -> None:
    """Rules 5 and 6, RFC 8489 §14.5: an attribute slipped in before the integrity breaks it."""
    world = World()
    client = allocated(world)
    frame = client.build(Method.REFRESH)
    at = len(frame) - 24
    lifetime = a.LIFETIME.number.to_bytes(2, "big") + b"\x00\x04" + bytes(4)
    length = int.from_bytes(frame[2:4], "big") + len(lifetime)
    forged = frame[:2] + length.to_bytes(2, "big") + frame[4:at] + lifetime + frame[at:]
    assert code_of(client.send(forged)) == 401


def test_an_attribute_that_cannot_be_read_is_400() -> None:
    """RFC 8489 §6.3: a sound message with a senseless value gets Bad Request, not silence."""
    world = World()
    client = allocated(world)
    short: AttributeType[bytes] = AttributeType(a.LIFETIME.number, "LIFETIME", "-", lambda v, t: v, lambda v, t: v)
    answer = client.request(Method.REFRESH, (short, b"\x01"))
    assert (code_of(answer), names_of(answer)) == (400, ["ERROR-CODE", "SOFTWARE", "MESSAGE-INTEGRITY"])


# Strangers cost nothing


@pytest.mark.parametrize(
    "method",
    [Method.BINDING, Method.ALLOCATE, Method.REFRESH, Method.CREATE_PERMISSION, Method.CHANNEL_BIND],
)
def test_strangers_leave_no_state(method: int) -> None:
    """Rules 1 and 3: an unauthenticated UDP source gets 401 (or a Binding), no socket, no table entry and no timer."""
    world = World()
    for port in range(1000, 1100):
        client = world.client(port=port)
        answer = client.send(client.build(method, [(a.REQUESTED_TRANSPORT, 17)], signed=False))
        assert code_of(answer) == (0 if method == Method.BINDING else 401)
    assert {type(command) for command in world.take()} == {SendToClient}
    assert world.core.deadline() is None
    assert len(world.core.state.retransmissions) == 0
    assert len(world.core.state.reflection) == 1, "one bucket for the prefix, of a bounded table"
    world.assert_nothing_left()


def test_no_request_without_allocation_is_silence() -> None:
    """Rule 9, RFC 8656 §5: 437 for every request but Allocate; indications and ChannelData are dropped."""
    world = World()
    client = world.client()
    assert code_of(client.refresh()) == 437
    assert code_of(client.permit(PEER)) == 437
    assert code_of(client.bind(0x4000, PEER)) == 437
    assert client.indicate((a.XOR_PEER_ADDRESS, PEER), (a.DATA, b"x")) == []
    assert client.indicate_raw(encode(0x4000, b"x")) == []
    world.assert_nothing_left()


def test_requests_while_the_relay_opens_get_437() -> None:
    """Rule 9: an allocation that has not been answered yet is none; but a request is still answered."""
    world = World(automatic=False)
    client = world.client()
    client.challenge()
    assert world.feed(client.path, client.build(Method.ALLOCATE, [(a.REQUESTED_TRANSPORT, 17)])) == []
    assert code_of(client.refresh()) == 437
    assert code_of(client.permit(PEER)) == 437
    assert client.indicate((a.XOR_PEER_ADDRESS, PEER), (a.DATA, b"x")) == []
    world.peer_sends(RelayId(1), PEER, b"x")
    assert client.hears() == []


def test_another_users_requests_get_441() -> None:
    """Rule 9, RFC 8656 §5: who is authenticated but did not make the allocation gets Wrong Credentials."""
    world = World()
    client = allocated(world)
    bob = world.client(user="bob", password="hunter2")
    assert bob.path == client.path
    for answer in (bob.refresh(0), bob.permit(PEER), bob.bind(0x4000, PEER)):
        assert code_of(answer) == 441
        assert names_of(answer) == ["ERROR-CODE", "SOFTWARE", "MESSAGE-INTEGRITY"]
    assert code_of(bob.allocate()) == 437, "Allocate is told that the 5-tuple is taken (§7.2)"
    assert code_of(client.refresh()) == 0


# Ends


def test_revocation_ends_everything_of_a_user() -> None:
    """Rule 24: cutting somebody off is what revocation is for; every allocation of the user, nobody else's."""
    world = World()
    first, second = allocated(world), allocated(world, port=40001)
    other = allocated(world, port=40002, user="bob", password="hunter2")
    first.bind(0x4000, PEER)
    gone = [first.relay, second.relay]
    world.take()
    assert world.core.revoke("alice", world.now) == 2
    world.run()
    commands = world.take()
    assert sorted(c.relay for c in commands if isinstance(c, CloseRelay)) == sorted(gone)
    assert [c for c in commands if not isinstance(c, CloseRelay)] == [RemoveRoute(first.path, 0x4000, gone[0])]
    ended = [event for event in world.take_events() if isinstance(event, AllocationEnded)]
    assert {(event.client, event.reason) for event in ended} == {
        (first.path, EndReason.REVOKED),
        (second.path, EndReason.REVOKED),
    }
    assert code_of(first.refresh()) == 437
    assert code_of(other.refresh()) == 0
    assert world.core.revoke("alice", world.now) == 0


def test_revocation_closes_streams() -> None:
    """Rules 22 and 24: on a stream the connection goes with the allocation."""
    world = World()
    client = allocated(world, transport=ClientTransport.TLS, serial=3)
    relay = client.relay
    assert world.core.revoke("alice", world.now) == 1
    world.run()
    assert world.take() == [CloseRelay(relay), CloseClient(client.path)]
    world.assert_nothing_left()


def test_revocation_while_the_relay_opens() -> None:
    """Rules 9 and 24: the Allocate that waits is refused; the socket that comes up late is closed."""
    world = World(automatic=False, bounds=CoreBounds(opening_timeout=3600))
    client = world.client()
    client.challenge()
    world.feed(client.path, client.build(Method.ALLOCATE, [(a.REQUESTED_TRANSPORT, 17)]))
    world.take()
    world.advance(3000)
    assert world.core.revoke("alice", world.now) == 1
    world.run()
    closed, sent = world.take()
    assert closed == CloseRelay(RelayId(1))
    assert isinstance(sent, SendToClient)
    refusal = Message.decode(sent.frame)
    assert code_of(refusal) == 401
    nonce = refusal.first(a.NONCE)
    assert nonce is not None
    scope = client.path.address.pack()
    assert world.nonces.check(nonce, scope, world.now.wall) is NonceStatus.VALID, "a fresh one, however long it took"
    world.settle()
    assert world.take() == []
    assert not [event for event in world.events if isinstance(event, AllocationEnded)], "it never opened"
    world.assert_nothing_left()


def test_the_end_of_the_server_is_the_end_of_every_allocation() -> None:
    """Each with its event, as for any other end; nobody gets a new one meanwhile."""
    world = World()
    first, second = allocated(world), allocated(world, port=40001)
    stranger = world.client(port=40002)
    stranger.challenge()
    relays = [first.relay, second.relay]
    assert not world.core.is_empty
    clients = world.core.clients
    assert clients == [first.path, second.path]
    world.advance(10)
    world.take_events()
    world.core.drain(world.now)
    world.core.shut_down(clients[:1], world.now)
    world.run()
    assert code_of(stranger.allocate()) == 508
    world.core.shut_down([*clients, stranger.path], world.now)
    world.run()
    ended = [event for event in world.take_events() if isinstance(event, AllocationEnded)]
    assert ended == [
        AllocationEnded(client.path, "alice", "alice", (relay,), EndReason.SHUTDOWN, 10.0)
        for client, relay in zip((first, second), relays, strict=True)
    ]
    assert world.core.is_empty
    world.assert_nothing_left()


def test_an_allocate_that_waits_for_its_relay_is_refused_at_the_end() -> None:
    """A request is answered, and there is no end of what never began."""
    world = World(automatic=False)
    client = world.client()
    client.challenge()
    world.feed(client.path, client.build(Method.ALLOCATE, [(a.REQUESTED_TRANSPORT, 17)]))
    world.take()
    assert not world.core.is_empty
    world.core.shut_down(world.core.clients, world.now)
    world.run()
    closed, sent = world.take()
    assert closed == CloseRelay(RelayId(1))
    assert isinstance(sent, SendToClient)
    assert code_of(Message.decode(sent.frame)) == 508
    assert not [event for event in world.events if isinstance(event, AllocationEnded)], "it never opened"
    world.settle()
    world.assert_nothing_left()


def test_one_that_cannot_be_ended_keeps_no_other_from_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """The exception is a fault, and stays where it is."""
    world = World()
    first, second = allocated(world), allocated(world, port=40001)
    end = world.core.state.end_allocation

    def broken(allocation: Allocation, reason: EndReason, now: Now) -> None:
        if allocation.client == first.path:
            raise ZeroDivisionError
        end(allocation, reason, now)

    monkeypatch.setattr(world.core.state, "end_allocation", broken)
    world.core.shut_down(world.core.clients, world.now)
    assert world.core.clients == [first.path]
    assert [type(error) for error in world.core.faults()] == [ZeroDivisionError]
    monkeypatch.undo()
    assert code_of(second.refresh()) == 437


@pytest.mark.parametrize("transport", [ClientTransport.TCP, ClientTransport.TLS])
def test_an_allocation_ends_with_its_connection(transport: ClientTransport) -> None:
    """Rule 22, RFC 8656 §3.1: the connection is the 5-tuple; a new one from the old address starts with nothing."""
    world = World()
    client = allocated(world, transport=transport, serial=1)
    client.bind(0x4000, PEER)
    relay = client.relay
    world.take()
    world.advance(10)
    world.core.client_gone(client.path, world.now)
    world.run()
    assert world.take() == [RemoveRoute(client.path, 0x4000, relay), CloseRelay(relay)]
    ended = AllocationEnded(client.path, "alice", "alice", (relay,), EndReason.CLIENT_GONE, 10.0)
    assert world.take_events() == [ended]
    world.assert_nothing_left()
    again = world.client(transport=transport, serial=2)
    assert code_of(again.refresh()) == 437
    assert code_of(again.allocate()) == 0


@pytest.mark.parametrize("opened", [0, 1])
@pytest.mark.parametrize("wanted", [None, (a.EVEN_PORT, True), (a.ADDITIONAL_ADDRESS_FAMILY, 2)])
def test_a_connection_that_goes_while_the_relay_opens(wanted: tuple[AttributeType[Any], Any], opened: int) -> None:
    """Rules 22 and 25: quota and ports are given back, nobody is answered, and every socket is closed."""
    world = World(automatic=False)
    client = world.client(transport=ClientTransport.TCP, serial=1)
    client.challenge()
    world.feed(client.path, client.build(Method.ALLOCATE, [(a.REQUESTED_TRANSPORT, 17), *([wanted] if wanted else [])]))
    relays = list(world.bound)
    assert len(relays) == (2 if wanted else 1)
    if opened and wanted:
        world.core.relay_opened(world.waiting.pop(0), world.now)
    world.take()
    world.core.client_gone(client.path, world.now)
    world.run()
    assert sorted(world.take()) == [CloseRelay(relay) for relay in relays]
    world.assert_nothing_left()
    world.settle()
    assert world.take() == []
    world.assert_nothing_left()


def test_clients_that_go_without_allocation() -> None:
    """Rule 22: most connections end with nothing to end."""
    world = World()
    world.core.client_gone(world.client(transport=ClientTransport.TCP, serial=1).path, world.now)
    assert (world.core.commands(), world.core.events()) == ([], [])


def test_relays_that_nobody_waits_for() -> None:
    """A socket's fate that comes too late, or twice, changes nothing; one that is of no use is to be closed."""
    world = World()
    client = allocated(world)
    assert world.core.relay_opened(client.relay, world.now)
    assert not world.core.relay_opened(RelayId(99), world.now)
    world.core.relay_failed(RelayId(99), world.now)
    assert (world.core.commands(), world.core.events()) == ([], [])
    assert code_of(client.refresh()) == 0


# The ACL reloaded


def test_a_reloaded_acl_ends_what_it_forbids() -> None:
    """Rule 16: the ACL is asked again for every permission and channel that stands when the list is reloaded."""
    world = World()
    client = allocated(world)
    kept = Address.parse("9.9.9.9", 1)
    client.permit(PEER, kept)
    client.bind(0x4000, PEER)
    client.bind(0x4001, kept)
    world.take()
    policy = PeerPolicy.build(deny=[ip_network("8.8.8.0/24")])
    world.core.replace_policy(policy, world.now)
    world.run()
    assert world.take() == [RemoveRoute(client.path, 0x4000, client.relay), ForbidPeer(client.relay, PEER.ip)]
    assert client.indicate((a.XOR_PEER_ADDRESS, PEER), (a.DATA, b"x")) == []
    assert client.indicate_raw(encode(0x4000, b"x")) == []
    world.peer_sends(client.relay, PEER, b"x")
    assert client.hears() == []
    assert client.indicate_raw(encode(0x4001, b"x")) == [SendToPeer(client.relay, kept, b"x")]
    assert code_of(client.permit(PEER)) == 403
    assert code_of(client.bind(0x4002, PEER)) == 403
    client.refresh(0)
    world.assert_nothing_left()


def test_a_reloaded_acl_ends_a_channel_to_what_has_become_a_listener() -> None:
    """Rule 16: a channel goes by address and port; the permission for the address may stay."""
    world = World()
    client = allocated(world)
    client.bind(0x4000, PEER)
    world.take()
    world.core.replace_policy(PeerPolicy.build(listeners=[PEER]), world.now)
    world.run()
    assert world.take() == [RemoveRoute(client.path, 0x4000, client.relay)]
    assert client.indicate((a.XOR_PEER_ADDRESS, PEER), (a.DATA, b"x")) == []
    other = Address(PEER.ip, PEER.port + 1)
    assert client.indicate((a.XOR_PEER_ADDRESS, other), (a.DATA, b"x")) == [SendToPeer(client.relay, other, b"x")]


@pytest.mark.parametrize("nat", [False, True])
def test_other_relay_ports_do_not_cut_calls_from_relay_to_relay(nat: bool) -> None:
    """Rule 16: what a relay has from the former range stays its own, and reachable; also behind 1:1 NAT."""
    inside = Address.parse("10.0.0.5", 0).ip if nat else RELAY
    world = World(relays=(RelayAddress(inside, RELAY),), ports=PortRange(50000, 50009))
    one, other = world.client(port=40000), world.client(port=40001, user="bob", password="hunter2")
    for client in (one, other):
        client.allocate()
    here, there = (Address(RELAY, world.bound[client.relay].port) for client in (one, other))
    assert [code_of(one.bind(0x4000, there)), code_of(other.permit(here))] == [0, 0]
    changed = core_settings(realm=REALM, software=SOFTWARE, ports=PortRange(60000, 60009))
    world.core.use(changed, world.now)
    world.run()
    wire = Address(inside, there.port)
    assert world.routes[one.path, 0x4000].peer == wire
    assert code_of(one.bind(0x4000, there)) == 0
    assert other.indicate((a.XOR_PEER_ADDRESS, here), (a.DATA, b"x"))
    world.peer_sends(other.relay, Address(inside, here.port), b"x")
    (heard,) = other.hears()
    assert Message.decode(heard).first(a.XOR_PEER_ADDRESS) == here


def test_a_reloaded_acl_can_allow_more() -> None:
    """Rule 16: and it works the other way."""
    world = World()
    client = allocated(world)
    private = Address.parse("10.1.2.3", 9)
    assert code_of(client.permit(private)) == 403
    world.core.replace_policy(PeerPolicy.build(allow=[ip_network("10.1.0.0/16")]), world.now)
    assert code_of(client.permit(private)) == 0


def test_new_credentials_serve_new_requests() -> None:
    """Who is asked next is asked from the new source."""
    world = World()
    world.core.replace_credentials(StaticUsers({"carol": "pw"}), world.now)
    assert code_of(world.client(user="carol", password="pw").allocate()) == 0
    assert code_of(world.client(port=40001).allocate()) == 401


# Time


def test_the_deadline_is_that_of_the_next_thing_to_end() -> None:
    """RFC 8656 §3.2: nothing has a timer of its own; the core says when it must be called."""
    world = World()
    assert world.core.deadline() is None
    client = world.client()
    client.allocate()
    assert world.core.deadline() == world.now.mono + 40, "the kept answer"
    world.advance(40)
    assert world.core.deadline() == world.now.mono + 560, "the allocation"
    client.permit(PEER)
    assert world.core.deadline() == world.now.mono + 300, "the permission"
    world.advance(600)
    assert world.core.deadline() is None
    world.assert_nothing_left()


def test_inputs_come_after_what_is_due() -> None:
    """RFC 8656 §9: no handler sees a dead permission, even if nobody called `expire`."""
    world = World()
    client = allocated(world)
    client.permit(PEER)
    world.now = world.now._replace(mono=world.now.mono + 300)
    assert client.indicate((a.XOR_PEER_ADDRESS, PEER), (a.DATA, b"late")) == []
    world.peer_sends(client.relay, PEER, b"late")
    assert client.hears() == []


def test_the_wall_clock_does_not_time_anything() -> None:
    """Rule 2: a wall clock that jumps a day ends no allocation; only nonces and credentials go by it."""
    world = World()
    client = allocated(world)
    world.now = world.now._replace(wall=world.now.wall + 86_400)
    answer = client.refresh()
    assert code_of(answer) == 438
    client.nonce = answer.first(a.NONCE)
    assert code_of(client.refresh()) == 0


# Events


def test_the_events_of_a_life_come_once_each() -> None:
    """Rule 25: opened, refreshed, ended; each fact once, and none for what did not happen."""
    world = World()
    client = world.client()
    client.allocate()
    relay = client.relay
    opened = world.core.state.by_relay[relay][1].advertised
    client.refresh(1200)
    world.advance(1200)
    world.advance(1200)
    assert world.take_events() == [
        RequestRefused(client.path, Method.ALLOCATE, 401, Reason.NO_CREDENTIALS, "Unauthenticated", ""),
        AllocationOpened(client.path, "alice", "alice", (relay,), (opened,), 600),
        AllocationRefreshed(client.path, "alice", 1200),
        AllocationEnded(client.path, "alice", "alice", (relay,), EndReason.EXPIRED, 1200.0),
    ]
    world.assert_nothing_left()


def test_retransmissions_are_no_events() -> None:
    """Rule 25: what is answered from memory has not happened again."""
    world = World()
    client = world.client()
    client.challenge()
    frame = client.build(Method.ALLOCATE, [(a.REQUESTED_TRANSPORT, 17)])
    client.send(frame)
    world.take_events()
    client.send(frame)
    assert world.take_events() == []


def test_a_withheld_answer_is_an_event_and_no_answer() -> None:
    """Rule 4: when a prefix has used up its budget nothing is sent, and that is said."""
    world = World(limits=limits(reflection_burst=0, reflection_rate=0))
    client = world.client()
    assert world.feed(client.path, client.build(Method.ALLOCATE, signed=False)) == []
    assert (world.take(), world.take_events()) == ([], [AnswerWithheld(client.path)])


def test_dual_allocations_end_once_with_both_relays() -> None:
    """Rule 25, RFC 8656 §3.2: two relays due at the same moment are one end, and its account names both."""
    world = World()
    client = world.client()
    client.allocate((a.ADDITIONAL_ADDRESS_FAMILY, 2))
    relays = tuple(client.relays)
    assert len(relays) == 2
    client.permit(PEER, PEER6)
    world.take_events()
    world.advance(600)
    ended = AllocationEnded(client.path, "alice", "alice", relays, EndReason.EXPIRED, 600.0)
    assert world.take_events() == [ended]
    world.assert_nothing_left()


def test_commands_and_events_are_handed_over_once() -> None:
    """The queues are drained by whoever takes them."""
    world = World()
    client = world.client()
    world.core.client_frame(client.path, client.build(Method.ALLOCATE, signed=False), world.now)
    assert len(world.core.commands()) == 1
    assert len(world.core.events()) == 1
    assert (world.core.commands(), world.core.events()) == ([], [])


def test_commands_come_in_the_order_of_cause() -> None:
    """A route is added before the client hears that its channel is bound, a relay opened before anything goes there."""
    world = World()
    client = world.client()
    client.allocate()
    client.bind(0x4000, PEER)
    kinds = [type(command) for command in world.take()]
    assert kinds.index(OpenRelay) < kinds.index(AddRoute) < len(kinds) - 1
    assert kinds[-1] is SendToClient


# Looking in from outside


def test_a_live_allocation_as_it_is_seen_from_outside() -> None:
    """Its relayed address as the client was told it, permissions as addresses without a port, channels with one."""
    world = World()
    client = world.client()
    answer = client.allocate()
    client.permit(PEER)
    client.bind(0x4000, Address(PEER.ip, 7))
    (view,) = world.core.allocations()
    assert view == AllocationView(
        client.path,
        "alice",
        "alice",
        (answer.first(a.XOR_RELAYED_ADDRESS),),
        (Address(PEER.ip, 0), Address(PEER.ip, 7)),
        Counters(),
        world.now.mono + 600,
        world.now.mono,
        (client.relay,),
    )
    client.refresh(1200)
    assert world.core.allocations()[0].expires == world.now.mono + 1200
    assert view.expires == world.now.mono + 600, "a view is of its moment"


def test_the_allocations_of_some_users_or_of_everybody() -> None:
    """By user id, each once, the oldest first; nobody's for a user without any."""
    world = World()
    clients = [world.client(port=40000 + number) for number in range(3)]
    clients.append(world.client(port=50000, user="bob", password="hunter2"))
    for client in clients:
        client.allocate()

    def seen(*users: str) -> list[int]:
        return [view.client.address.port for view in world.core.allocations(users)]

    assert [view.client for view in world.core.allocations()] == [client.path for client in clients]
    assert seen("alice") == [40000, 40001, 40002]
    assert seen("bob", "alice", "bob") == [40000, 40001, 40002, 50000]
    assert seen("nobody") == seen() == []


def test_an_allocation_that_is_opening_is_not_there_yet_and_an_ended_one_not_any_more() -> None:
    """`TurnCore.allocations` tells of what stands, which is less than what the tables hold."""
    world = World(automatic=False)
    client = world.client()
    client.challenge()
    world.feed(client.path, client.build(Method.ALLOCATE, [(a.REQUESTED_TRANSPORT, 17)]))
    assert world.core.allocations() == world.core.allocations(["alice"]) == []
    world.settle()
    assert len(world.core.allocations(["alice"])) == 1
    world.advance(600)
    assert world.core.allocations() == world.core.allocations(["alice"]) == []


def test_a_dual_allocation_is_one_and_shrinks_with_its_halves() -> None:
    """RFC 8656 §8.2: it lives as long as the longer half."""
    world = World()
    client = world.client()
    client.allocate((a.ADDITIONAL_ADDRESS_FAMILY, 2))
    client.refresh(1200, (a.REQUESTED_ADDRESS_FAMILY, 2))
    (view,) = world.core.allocations()
    assert ([len(address.ip) for address in view.relayed], len(view.relays)) == ([4, 16], 2)
    assert view.expires == world.now.mono + 1200
    world.advance(600)
    (view,) = world.core.allocations()
    assert [len(address.ip) for address in view.relayed] == [16]


def test_behind_one_to_one_nat_views_have_the_external_address() -> None:
    """Rule 23."""
    external = Address.parse("203.0.113.9", 0).ip
    world = World(relays=(RelayAddress(RELAY, external),))
    answer = world.client().allocate()
    (view,) = world.core.allocations()
    assert view.relayed == (answer.first(a.XOR_RELAYED_ADDRESS),)
    assert view.relayed[0].ip == external


# Faults


class BrokenSource(StaticUsers):
    """Raises for one user, as a database driver may."""

    def find(self, username: str, realm: str, wall: float) -> tuple[Credential, ...]:
        """Nothing, loudly."""
        if username == "bob":
            raise ZeroDivisionError("in the driver")
        return super().find(username, realm, wall)


def test_a_fault_costs_the_request_that_met_it() -> None:
    """It is answered with 500 (RFC 8489 §14.8: try again), reported once, and nothing of it stays."""
    world = World(source=BrokenSource({"alice": "secret", "bob": "hunter2"}))
    client = allocated(world)
    unlucky = world.client(port=40001, user="bob", password="hunter2")
    assert code_of(unlucky.allocate()) == 500
    (fault,) = world.core.faults()
    assert isinstance(fault, ZeroDivisionError)
    assert world.core.faults() == []
    assert code_of(client.refresh(0)) == 0
    world.assert_nothing_left()


def test_a_fault_in_ending_one_thing_leaves_the_rest_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is due is ended each by itself: whoever's frame came next has no part in it."""
    world = World()
    first, second = allocated(world), allocated(world, port=40001)
    end = world.core.state.end_allocation

    def broken(allocation: Allocation, reason: EndReason, now: Now) -> None:
        if allocation.client == first.path:
            raise KeyError("half of a table")
        end(allocation, reason, now)

    monkeypatch.setattr(world.core.state, "end_allocation", broken)
    world._turn_to(world.now.mono + 601)
    third = world.client(port=40002)
    assert code_of(third.challenge()) == 401
    assert [type(fault) for fault in world.core.faults()] == [KeyError]
    assert world.core.state.live(second.path) is None


@pytest.mark.parametrize("step", ["_redirect", "_redeem"])
def test_a_fault_after_the_quota_was_taken_gives_it_back(step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rule 25: whatever it was."""
    world = World()
    client = world.client()
    client.challenge()

    def broken(*_: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(allocate, step, broken)
    assert code_of(client.allocate()) == 500
    assert world.core.state.quota.total == 0


def test_other_settings_hold_at_once_and_for_what_stands() -> None:
    """Rule 16 for the peers; limits, switches and names for whatever is asked next. What is bound stays as it was."""
    world = World()
    client = world.client()
    client.allocate()
    client.permit(PEER)
    (allocation,) = world.core.state.allocations.values()
    assert allocation.permissions
    elsewhere = Address.parse("198.51.100.2", 3478)
    settings = core_settings(
        realm=REALM,
        software="another",
        deny=(ip_network("8.8.8.0/24"),),
        max_lifetime=700,
        permissions_per_allocation=0,
        legacy_channels=True,
        alternate_servers=(elsewhere,),
    )
    world.core.use(settings, world.now)
    world.run()
    assert not allocation.permissions
    answer = client.request(Method.REFRESH, (a.LIFETIME, 3600))
    assert (answer.first(a.LIFETIME), answer.first(a.SOFTWARE)) == (700, "another")
    assert code_of(client.permit(Address.parse("9.9.9.9", 5))) == ErrorCode.INSUFFICIENT_CAPACITY
    assert world.core.state.last_channel == 0x7FFF
    assert code_of(world.client(port=40009).allocate()) == ErrorCode.TRY_ALTERNATE
    assert world.core.state.policy.refusal(SERVER.ip, SERVER.port) == "own listener"
