"""Hostile bytes: whatever comes in, by whichever door, nothing is raised and nothing grows without bound.

With ``MESHTURN_THOROUGH=1`` there are many more examples, and new ones each time.
"""

import os
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from stun import attributes as a
from stun import channeldata
from stun.address import Address
from stun.attributes import REGISTRY, AttributeType, IcmpValue
from stun.classic import decode_binding
from stun.constants import MAGIC_COOKIE, MessageClass, Method, TransportProtocol
from stun.demux import is_stun
from stun.errors import MalformedMessage
from stun.message import Message, MessageBuilder
from tests.support.core_tables import check_tables
from tests.support.core_world import PEER, PEER6, SERVER, ScriptedClient, SlowSource, World, code_of
from tests.support.examples import scaled
from tests.support.limits import limits
from turnserver.core.reflection import MAX_PREFIXES
from turnserver.core.types import ClientTransport, FiveTuple, PortRange, RelayId

__all__ = ["PROFILE"]

_THOROUGH = bool(os.environ.get("MESHTURN_THOROUGH"))

PROFILE = settings(
    deadline=None,
    derandomize=not _THOROUGH,
    print_blob=True,
    max_examples=5_000 if _THOROUGH else scaled(100),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)
"""The same examples in every run by default; new ones, each with a blob to repeat it, when thorough."""

_COOKIE = MAGIC_COOKIE.to_bytes(4, "big")
_ANSWERED = frozenset(Method) - {Method.SEND, Method.DATA, Method.CONNECTION_ATTEMPT}
_METHODS = st.one_of(st.sampled_from(sorted(Method)), st.integers(0, 0xFFF))
_TYPES = st.one_of(st.sampled_from(sorted(REGISTRY)), st.integers(0, 0xFFFF))
_VALUES = st.one_of(st.binary(max_size=40), st.sampled_from([bytes(4), bytes(8), b"\x11\0\0\0", b"\0\1\0\0\0\0\0\0"]))
_ATTRIBUTES = st.lists(st.tuples(_TYPES, _VALUES), max_size=8)
_TAIL = (a.MESSAGE_INTEGRITY.number, a.MESSAGE_INTEGRITY_SHA256.number, a.FINGERPRINT.number)
_SIGNABLE = st.lists(st.tuples(_TYPES.filter(lambda kind: kind not in _TAIL), _VALUES), max_size=8)
"""Attributes that may stand before an integrity attribute and count."""
_ADDRESSES = st.builds(
    Address, st.one_of(st.binary(min_size=4, max_size=4), st.binary(min_size=16, max_size=16)), st.integers(0, 0xFFFF)
)


@dataclass
class _Arena:
    """A world with a client that has a dual allocation, permissions for `PEER` and `PEER6`, and a channel to `PEER`."""

    world: World
    client: ScriptedClient


def _arena(transport: ClientTransport = ClientTransport.UDP) -> _Arena:
    world = World()
    client = world.client(transport=transport, serial=int(transport.connected))
    assert code_of(client.allocate((a.ADDITIONAL_ADDRESS_FAMILY, 2))) == 0
    assert code_of(client.permit(PEER, PEER6)) == 0
    assert code_of(client.bind(0x4000, PEER)) == 0
    world.take()
    return _Arena(world, client)


def _raw(number: int) -> AttributeType[bytes]:
    return AttributeType(number, "raw", "", lambda value, _: value, lambda value, _: value)


def _unsigned(method: int, number: int, attributes: list[tuple[int, bytes]], transaction: bytes) -> bytes:
    """A message of any class with any attributes in it, even such as nobody could build."""
    body = b"".join(
        kind.to_bytes(2, "big") + len(value).to_bytes(2, "big") + value + bytes(-len(value) % 4)
        for kind, value in attributes
    )
    kind = (method & 0xF80) << 2 | (method & 0x70) << 1 | method & 0xF | (number & 1) << 4 | (number & 2) << 7
    return b"".join((kind.to_bytes(2, "big"), len(body).to_bytes(2, "big"), _COOKIE, transaction, body))


def _request(frame: bytes) -> Message | None:
    """The request in a frame that the RFCs want answered, if it is one."""
    try:
        message = Message.decode(frame) if is_stun(frame) else None
    except MalformedMessage:
        return None
    if message is None or message.message_class != MessageClass.REQUEST or message.method not in _ANSWERED:
        return None
    return message


def _feed(arena: _Arena, frame: bytes) -> None:
    """Any frame: requests get one answer of their own, everything else silence, and the books are in order."""
    request = _request(frame)
    answers = arena.world.feed(arena.client.path, frame)
    if request is not None:
        assert [Message.decode(answer).transaction_id for answer in answers] == [request.transaction_id]
    elif decode_binding(frame) is not None and not arena.client.path.transport.proven:
        assert [answer[4:20] for answer in answers] == [frame[4:20]]  # RFC 3489: all sixteen bytes
    else:
        assert answers == []
    check_tables(arena.world)


@PROFILE
@given(st.lists(st.binary(max_size=120), max_size=5), st.sampled_from(ClientTransport))
@example([b"", b"\0", b"\x40", b"\x40\0\0\0", b"\xff" * 4], ClientTransport.UDP)
def test_any_bytes_from_a_client(frames: list[bytes], transport: ClientTransport) -> None:
    """Rule 20: bytes that are no message are dropped, and nothing is raised."""
    arena = _arena(transport)
    for frame in frames:
        _feed(arena, frame)


@PROFILE
@given(_METHODS, st.integers(0, 3), _ATTRIBUTES)
def test_any_attributes_from_a_stranger(method: int, number: int, attributes: list[tuple[int, bytes]]) -> None:
    """RFC 8489 §6.3: a sound header with anything after it, unsigned."""
    arena = _arena()
    _feed(arena, _unsigned(method, number, attributes, bytes(12)))
    assert arena.world.to_peers == []


@PROFILE
@given(st.sampled_from(sorted(_ANSWERED)), _SIGNABLE, st.booleans(), st.booleans())
def test_any_attributes_from_a_user(
    method: Method, attributes: list[tuple[int, bytes]], sha256: bool, allocated: bool
) -> None:
    """RFC 8656 §7.2, §8.2, §10.2, §12.2: signed requests get an answer, however unreadable their attributes are."""
    arena = _arena()
    client = arena.client
    if not allocated:
        client = arena.world.client(port=40_001, sha256=sha256)
        client.challenge()
    wanted: list[tuple[AttributeType[Any], Any]] = [(_raw(kind), value) for kind, value in attributes]
    _feed(_Arena(arena.world, client), client.build(method, wanted))


def _corpus(client: ScriptedClient) -> list[bytes]:
    """One sound frame of every kind."""
    send = MessageBuilder(Method.SEND, MessageClass.INDICATION, client.transaction_id())
    return [
        client.build(Method.BINDING, signed=False),
        client.build(Method.ALLOCATE, [(a.REQUESTED_TRANSPORT, 17), (a.EVEN_PORT, True), (a.LIFETIME, 900)]),
        client.build(Method.REFRESH, [(a.LIFETIME, 0), (a.REQUESTED_ADDRESS_FAMILY, 2)]),
        client.build(Method.CREATE_PERMISSION, [(a.XOR_PEER_ADDRESS, PEER), (a.XOR_PEER_ADDRESS, PEER6)]),
        client.build(Method.CHANNEL_BIND, [(a.CHANNEL_NUMBER, 0x4001), (a.XOR_PEER_ADDRESS, PEER6)]),
        send.add(a.XOR_PEER_ADDRESS, PEER).add(a.DATA, b"payload").fingerprint().build(),
        channeldata.encode(0x4000, b"payload"),
    ]


_EDITS = st.lists(
    st.tuples(
        st.sampled_from(["flip", "cut", "insert", "splice"]), st.integers(0, 400), st.binary(min_size=1, max_size=8)
    ),
    min_size=1,
    max_size=4,
)


def _edit(frame: bytes, edit: str, at: int, data: bytes, other: bytes) -> bytes:
    at %= len(frame) + 1
    match edit:
        case "flip":
            at = min(at, len(frame) - 1)
            return frame[:at] + bytes((frame[at] ^ (data[0] or 1),)) + frame[at + 1 :] if frame else data
        case "cut":
            return frame[:at] + frame[at + len(data) :]
        case "insert":
            return frame[:at] + data + frame[at:]
        case _:
            return frame[:at] + other[at:]


@PROFILE
@given(st.integers(0, 6), st.integers(0, 6), _EDITS, st.booleans())
def test_mutated_frames(which: int, other: int, edits: list[tuple[str, int, bytes]], repair: bool) -> None:
    """RFC 8489 §9.2.4: a frame that has been tampered with changes nothing, unless no byte that matters has changed."""
    arena = _arena()
    corpus = _corpus(arena.client)
    frame = corpus[which]
    for edit, at, data in edits:
        frame = _edit(frame, edit, at, data, corpus[other])
    if repair and len(frame) >= 20:
        # A right length field gets it past the first door.
        frame = frame[: 20 + (len(frame) - 20) // 4 * 4]
        frame = frame[:2] + (len(frame) - 20).to_bytes(2, "big") + frame[4:]
    before = arena.world.core.state.allocation(arena.client.path)
    assert before is not None
    held = dict(before.permissions), sorted(before.channels)
    _feed(arena, frame)
    if frame not in corpus and (request := _request(frame)) is not None:
        authentic = any(
            Message.decode(sound).before(a.MESSAGE_INTEGRITY) == request.before(a.MESSAGE_INTEGRITY)
            for sound in corpus[1:5]
        )
        after = arena.world.core.state.allocation(arena.client.path)
        assert authentic or (after is before and (dict(before.permissions), sorted(before.channels)) == held)


@PROFILE
@given(_ADDRESSES, st.binary(max_size=200), st.integers(0, 4), st.sampled_from(ClientTransport))
def test_any_datagram_from_anywhere(peer: Address, data: bytes, relay: int, transport: ClientTransport) -> None:
    """RFC 8656 §11.3: from a peer without a permission, or to a relay that is not there, nothing comes through."""
    arena = _arena(transport)
    arena.world.peer_sends(RelayId(relay), peer, data)
    assert (arena.client.hears() != []) == (relay in (1, 2) and peer.ip in {PEER.ip, PEER6.ip})
    check_tables(arena.world)


@pytest.mark.parametrize("size", [0, 1, 3, 65_500, 65_507, 65_527, 65_535])
@pytest.mark.parametrize("peer", [PEER, Address(PEER.ip, 1), PEER6], ids=["channel", "data", "data-ipv6"])
@pytest.mark.parametrize("transport", ClientTransport)
def test_datagrams_of_every_size(size: int, peer: Address, transport: ClientTransport) -> None:
    """RFC 8656 §11.4, §12.7: what does not fit in a Data indication is dropped; nothing is raised or cut short."""
    arena = _arena(transport)
    relay = arena.client.relays[0 if len(peer.ip) == 4 else 1]
    arena.world.peer_sends(relay, peer, bytes(size))
    frames = arena.client.hears()
    if peer == PEER:
        assert [bytes(channeldata.decode(frame)[1]) for frame in frames] == [bytes(size)]
    else:
        fits = 4 + 4 + len(peer.ip) + 4 + size + -size % 4 <= 65_532
        assert [Message.decode(frame).first(a.DATA) for frame in frames] == [bytes(size)] * fits


@PROFILE
@given(_ADDRESSES, st.integers(-1, 300), st.integers(-1, 600), st.integers(0, 2**32 - 1), st.integers(0, 4))
@example(PEER, 3, 4, 1400, 1)
def test_any_icmp(peer: Address, kind: int, code: int, data: int, relay: int) -> None:
    """RFC 8656 §11.5: an ICMP error about nobody's business, or none that is relayed, is dropped."""
    arena = _arena()
    arena.world.core.peer_icmp(RelayId(relay), peer, IcmpValue(kind, code & 0xFF, data), arena.world.now)
    arena.world.run()
    known = relay in (1, 2) and peer.ip in {PEER.ip, PEER6.ip}
    relayed = kind in ({3, 11} if len(peer.ip) == 4 else {1, 2, 3})
    assert len(arena.client.hears()) == int(known and relayed)


@PROFILE
@given(
    st.lists(st.tuples(st.sampled_from(sorted(_ANSWERED)), st.integers(0, 255), _ATTRIBUTES), min_size=1, max_size=20)
)
def test_amplification_is_bounded(requests: list[tuple[Method, int, list[tuple[int, bytes]]]]) -> None:
    """Rule 4: what strangers get over UDP exceeds what came from their prefix by no more than the budget."""
    world = World(limits=limits(reflection_burst=500, reflection_rate=0))
    received = sent = 0
    for number, (method, host, attributes) in enumerate(requests):
        client = FiveTuple(ClientTransport.UDP, Address(bytes((192, 0, 2, host)), 4_000), SERVER, 0)
        frame = _unsigned(method, MessageClass.REQUEST, attributes, number.to_bytes(12, "big"))
        received += len(frame)
        sent += sum(map(len, world.feed(client, frame)))
    assert sent <= received + 500


def test_strangers_leave_nothing_behind() -> None:
    """Rule 3: no table entry and no timer for whoever has not proven anything, and a bounded memory of prefixes."""
    world = World(limits=limits(reflection_burst=500))  # too small to be divided into shares
    for number in range(MAX_PREFIXES + 100):
        address = Address(bytes((1 + number // 65_536, number // 256 % 256, number % 256, 9)), 4_000)
        client = world.client(address.host, 4_000)
        for method in (Method.BINDING, Method.ALLOCATE) if number < 100 else (Method.ALLOCATE,):
            client.send(client.build(method, [(a.REQUESTED_TRANSPORT, 17)], signed=False))
    world.assert_nothing_left()
    check_tables(world)
    assert len(world.core.state.reflection) == MAX_PREFIXES
    assert world.core.deadline() is None


def test_churn_is_bounded() -> None:
    """Rule 25: whoever allocates and deletes without end leaves no port, no quota and no heap of dead deadlines."""
    world = World(ports=PortRange(50_000, 50_009))
    client = world.client()
    for _ in range(450):
        assert code_of(client.allocate((a.LIFETIME, 3600))) == 0
        assert code_of(client.permit(PEER)) == 0
        assert code_of(client.bind(0x4000, PEER)) == 0
        assert code_of(client.refresh(0)) == 0
        world.log.clear()
    world.assert_nothing_left()
    check_tables(world)
    deadlines = world.core.state.deadlines
    assert len(deadlines._heap) <= 2 * len(deadlines) + 1_100
    assert len(deadlines._scheduled) <= len(deadlines._heap)
    assert len(world.core.state.ports[world.relays[0].bound, TransportProtocol.UDP]._any._cooling) <= 10


def test_refreshes_are_bounded() -> None:
    """RFC 8656 §8: a deadline that is moved about, sooner and later, is one deadline."""
    world = World()
    client = world.client()
    client.allocate()
    for number in range(2_000):
        assert code_of(client.refresh(3600 if number % 2 else 600)) == 0
        world.advance(0.1)
        if number % 500 == 0:
            client.challenge()
    assert len(world.core.state.deadlines._heap) < 100


def test_lookups_are_bounded() -> None:
    """Rule 3: a nonce buys only so many look-ups; beyond that the answer is 500, and nothing waits."""
    world = World(source=SlowSource(), limits=limits(pending_lookups=10))
    client = world.client()
    client.challenge()
    answers = [world.feed(client.path, client.build(Method.REFRESH)) for _ in range(30)]
    assert [len(answer) for answer in answers] == [0] * 10 + [1] * 20
    assert [code_of(Message.decode(answer[0])) for answer in answers[10:]] == [500] * 20
    check_tables(world)
    world.advance(10)
    world.assert_nothing_left()
    check_tables(world)
