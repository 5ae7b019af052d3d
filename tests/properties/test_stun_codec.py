"""Properties of the codec: one error and no other, the identity, and frames whatever the chunks."""

from contextlib import suppress
from typing import Any

import hypothesis.strategies as st
from hypothesis import given

from stun import attributes as a
from stun.address import Address
from stun.attributes import REGISTRY
from stun.channeldata import decode as decode_channel_data
from stun.channeldata import encode, encode_padded
from stun.constants import CHANNEL_MAX, CHANNEL_MIN, MAGIC_COOKIE, MessageClass
from stun.errors import EncodeError, MalformedMessage
from stun.framing import StreamFramer
from stun.integrity import verify, verify_sha256
from stun.message import Message, MessageBuilder

transactions = st.binary(min_size=12, max_size=12)
addresses = st.builds(
    Address, st.binary(min_size=4, max_size=4) | st.binary(min_size=16, max_size=16), st.integers(0, 65535)
)
known = st.sampled_from(sorted(REGISTRY))
attributes = st.lists(st.tuples(known | st.integers(0, 0xFFFF), st.binary(max_size=40)), max_size=8)
texts = st.text(max_size=127, alphabet=st.characters(codec="utf-8"))
octets = st.binary(max_size=200)
codes = st.integers(300, 699)
algorithms = st.builds(a.AlgorithmValue, st.integers(0, 0xFFFF), st.binary(max_size=20))
VALUES: dict[a.AttributeType[Any], st.SearchStrategy[Any]] = {
    a.MAPPED_ADDRESS: addresses,
    a.RESPONSE_ADDRESS: addresses,
    a.SOURCE_ADDRESS: addresses,
    a.CHANGED_ADDRESS: addresses,
    a.CHANGE_REQUEST: st.integers(0, 2**32 - 1),
    a.USERNAME: texts,
    a.ERROR_CODE: st.builds(a.ErrorValue, codes, texts),
    a.UNKNOWN_ATTRIBUTES: st.lists(st.integers(0, 0xFFFF), max_size=9).map(tuple),
    a.CHANNEL_NUMBER: st.integers(0, 0xFFFF),
    a.LIFETIME: st.integers(0, 2**32 - 1),
    a.XOR_PEER_ADDRESS: addresses,
    a.DATA: octets,
    a.REALM: texts,
    a.NONCE: octets,
    a.XOR_RELAYED_ADDRESS: addresses,
    a.REQUESTED_ADDRESS_FAMILY: st.integers(0, 255),
    a.EVEN_PORT: st.booleans(),
    a.REQUESTED_TRANSPORT: st.integers(0, 255),
    a.DONT_FRAGMENT: st.just(True),
    a.ACCESS_TOKEN: octets,
    a.PASSWORD_ALGORITHM: algorithms,
    a.USERHASH: st.binary(min_size=32, max_size=32),
    a.XOR_MAPPED_ADDRESS: addresses,
    a.RESERVATION_TOKEN: st.binary(min_size=8, max_size=8),
    a.PADDING: octets,
    a.RESPONSE_PORT: st.integers(0, 0xFFFF),
    a.CONNECTION_ID: st.integers(0, 2**32 - 1),
    a.ADDITIONAL_ADDRESS_FAMILY: st.integers(0, 255),
    a.ADDRESS_ERROR_CODE: st.builds(a.AddressErrorValue, st.sampled_from([1, 2]), codes, texts),
    a.PASSWORD_ALGORITHMS: st.lists(algorithms, min_size=1, max_size=4).map(tuple),
    a.ALTERNATE_DOMAIN: st.text(max_size=63, alphabet=st.characters(codec="utf-8")),
    a.ICMP: st.builds(a.IcmpValue, st.integers(0, 127), st.integers(0, 511), st.integers(0, 2**32 - 1)),
    a.SOFTWARE: texts,
    a.ALTERNATE_SERVER: addresses,
    a.TRANSACTION_TRANSMIT_COUNTER: st.builds(a.TransmitCounterValue, st.integers(0, 255), st.integers(0, 255)),
    a.CACHE_TIMEOUT: st.integers(0, 2**32 - 1),
    a.RESPONSE_ORIGIN: addresses,
    a.OTHER_ADDRESS: addresses,
    a.THIRD_PARTY_AUTHORIZATION: texts,
    a.MOBILITY_TICKET: octets,
}
COMPUTED = {a.MESSAGE_INTEGRITY, a.MESSAGE_INTEGRITY_SHA256, a.FINGERPRINT}
parts_of_messages = st.lists(
    st.sampled_from(list(VALUES)).flatmap(lambda spec: st.tuples(st.just(spec), VALUES[spec])), max_size=8
)
integrities = st.sampled_from([None, "sha1", "sha256", "both"])


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    """A frame whose header is right, with any attributes: most decode, some do not."""
    body = b""
    for number, value in draw(attributes):
        padding = draw(st.binary(min_size=-len(value) % 4, max_size=-len(value) % 4))
        body += number.to_bytes(2, "big") + len(value).to_bytes(2, "big") + value + padding
    kind = draw(st.integers(0, 0x3FFF))
    head = kind.to_bytes(2, "big") + len(body).to_bytes(2, "big") + MAGIC_COOKIE.to_bytes(4, "big")
    return head + draw(transactions) + body


def build(
    method: int,
    message_class: MessageClass,
    transaction: bytes,
    parts: list[tuple[a.AttributeType[Any], Any]],
    integrity: str | None,
    fingerprint: bool,
) -> bytes:
    """A message by `MessageBuilder`, with integrity made with the key ``b"key"``."""
    builder = MessageBuilder(method, message_class, transaction)
    for spec, value in parts:
        builder.add(spec, value)
    if integrity in ("sha1", "both"):
        builder.integrity(b"key")
    if integrity in ("sha256", "both"):
        builder.integrity_sha256(b"key")
    if fingerprint:
        builder.fingerprint()
    return builder.build()


sound_messages = st.builds(
    build,
    st.integers(0, 0xFFF),
    st.sampled_from(MessageClass),
    transactions,
    parts_of_messages,
    integrities,
    st.booleans(),
)


def read_everything(message: Message) -> None:
    """Ask for every value there is; only `MalformedMessage` may come of it."""
    for spec in REGISTRY.values():
        with suppress(MalformedMessage):
            message.first(spec)
        with suppress(MalformedMessage):
            message.all(spec)
        message.has(spec)
        message.before(spec)
    message.unknown_required(REGISTRY)
    verify(message, b"key")
    verify_sha256(message, b"key")
    repr(message)


@given(st.binary(max_size=200) | messages())
def test_decoding_raises_one_error_and_encoding_is_the_identity(data: bytes) -> None:
    try:
        message = Message.decode(data)
    except MalformedMessage:
        return
    assert message.encode() == data
    assert Message.decode(message.encode()) == message
    read_everything(message)


def test_every_attribute_is_built_below() -> None:
    """But for those that the builder computes itself."""
    assert VALUES.keys() | COMPUTED == set(REGISTRY.values())


@given(st.sampled_from(list(REGISTRY.values())), st.binary(max_size=40) | st.binary(max_size=800), transactions)
def test_every_decoder_raises_one_error(spec: a.AttributeType[Any], value: bytes, transaction: bytes) -> None:
    """What can be read can be written again and means the same; texts longer than may be sent are the exception."""
    try:
        meaning = spec.decode(value, transaction)
    except MalformedMessage:
        return
    try:
        again = spec.encode(meaning, transaction)
    except EncodeError:
        assert len(value) > 127 or spec is a.ADDRESS_ERROR_CODE
        return
    assert spec.decode(again, transaction) == meaning


@given(messages() | sound_messages, st.data())
def test_mutated_messages(data: bytes, draws: st.DataObject) -> None:
    """Flip, cut, repeat: whatever is done to a frame, it decodes or is malformed."""
    changed = bytearray(data)
    for _ in range(draws.draw(st.integers(1, 4))):
        at = draws.draw(st.integers(0, len(changed)))
        match draws.draw(st.integers(0, 2)):
            case 0:
                del changed[at : at + draws.draw(st.integers(0, 8))]
            case 1:
                changed[at:at] = draws.draw(st.binary(max_size=8))
            case _:
                changed[at : at + 1] = draws.draw(st.binary(min_size=1, max_size=1))
    try:
        message = Message.decode(changed)
    except MalformedMessage:
        return
    assert message.encode() == changed
    read_everything(message)


@given(
    st.integers(0, 0xFFF),
    st.sampled_from(MessageClass),
    transactions,
    parts_of_messages,
    integrities,
    st.booleans(),
)
def test_what_is_built_is_what_is_read(
    method: int,
    message_class: MessageClass,
    transaction: bytes,
    parts: list[tuple[a.AttributeType[Any], Any]],
    integrity: str | None,
    fingerprint: bool,
) -> None:
    data = build(method, message_class, transaction, parts, integrity, fingerprint)
    message = Message.decode(data)
    assert message.encode() == data
    assert (message.method, message.message_class, message.transaction_id) == (method, message_class, transaction)
    for spec in {spec for spec, _ in parts}:
        assert message.all(spec) == [value for other, value in parts if other is spec]
    assert verify(message, b"key") is (integrity in ("sha1", "both"))
    assert verify_sha256(message, b"key") is (integrity in ("sha256", "both"))
    assert message.has(a.FINGERPRINT) is fingerprint


@given(addresses, transactions)
def test_addresses_round_trip(address: Address, transaction: bytes) -> None:
    assert Address.unpack(address.pack()) == address
    assert Address.unpack_xor(address.pack_xor(transaction), transaction) == address
    assert Address.parse(address.host, address.port) == address


channel_frames = st.builds(encode, st.integers(CHANNEL_MIN, CHANNEL_MAX), st.binary(max_size=60))
stun_frames = st.builds(
    lambda value: MessageBuilder(1, MessageClass.REQUEST, bytes(12)).add(a.DATA, value).build(), st.binary(max_size=60)
)


@given(st.lists(channel_frames | stun_frames, max_size=8), st.data())
def test_frames_are_the_same_however_the_stream_is_chopped(frames: list[bytes], draws: st.DataObject) -> None:
    stream = b"".join(frame + bytes(-len(frame) % 4) for frame in frames)
    cuts = sorted(draws.draw(st.lists(st.integers(0, len(stream)), max_size=10)))
    framer = StreamFramer()
    found = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        found += framer.feed(stream[start:end])
    assert found == frames
    assert framer.buffered == 0


@given(st.lists(st.binary(max_size=100), max_size=8))
def test_a_framer_never_holds_more_than_one_frame(chunks: list[bytes]) -> None:
    framer = StreamFramer(max_frame=64)
    for chunk in chunks:
        try:
            framer.feed(chunk)
        except MalformedMessage:
            return
        assert framer.buffered < 64


@given(st.binary(max_size=100))
def test_channel_data_of_anything(data: bytes) -> None:
    try:
        channel, payload = decode_channel_data(data)
    except MalformedMessage:
        return
    assert data.startswith(encode(channel, bytes(payload)))
    assert encode_padded(channel, bytes(payload))[: 4 + len(payload)] == data[: 4 + len(payload)]
