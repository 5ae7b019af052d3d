"""Messages: strict decoding, what counts, building (RFC 8489 §5, §6, §14)."""

import zlib

import pytest

from stun import attributes as a
from stun.constants import MAGIC_COOKIE, MAX_LENGTH, MessageClass, Method
from stun.errors import EncodeError, MalformedMessage
from stun.integrity import verify
from stun.message import Message, MessageBuilder, RawAttribute

TRANSACTION = bytes(range(12))
KEY = b"key"


def builder(method: int = Method.BINDING, message_class: MessageClass = MessageClass.REQUEST) -> MessageBuilder:
    return MessageBuilder(method, message_class, TRANSACTION)


def raw(*attributes: tuple[int, bytes], kind: int = 1, padding: bytes = b"\0") -> bytes:
    """A message put together by hand, with any attributes in any order."""
    body = b"".join(
        number.to_bytes(2, "big") + len(value).to_bytes(2, "big") + value + padding * (-len(value) % 4)
        for number, value in attributes
    )
    return kind.to_bytes(2, "big") + len(body).to_bytes(2, "big") + MAGIC_COOKIE.to_bytes(4, "big") + TRANSACTION + body


@pytest.mark.parametrize("message_class", list(MessageClass))
@pytest.mark.parametrize("method", [0, 1, 3, 0x00A, 0x0FF, 0x100, 0x555, 0xAAA, 0xFFF])
def test_method_and_class_bits_are_interleaved(method: int, message_class: MessageClass) -> None:
    """RFC 8489 §5: M11–M7 C1 M6–M4 C0 M3–M0; a method that nobody knows decodes too."""
    message = Message.decode(builder(method, message_class).build())
    assert (message.method, message.message_class, message.transaction_id) == (method, message_class, TRANSACTION)


def test_known_types_on_the_wire() -> None:
    """RFC 8489 §5: 0x0001, 0x0011, 0x0101, 0x0111 for Binding."""
    kinds = [builder(Method.BINDING, message_class).build()[:2].hex() for message_class in MessageClass]
    assert kinds == ["0001", "0011", "0101", "0111"]


GOOD = raw((0x0006, b"user"))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        GOOD[:19],
        b"\x40" + GOOD[1:],
        b"\x80" + GOOD[1:],
        GOOD[:4] + b"\0" + GOOD[5:],
        GOOD + b"\0\0\0\0",
        GOOD[:-1],
        GOOD[:-4],
        GOOD[:3] + b"\x07" + GOOD[4:-1],
        GOOD[:22] + b"\0\x05" + GOOD[24:],
        GOOD[:22] + b"\xff\xff" + GOOD[24:],
        raw((0x0008, bytes(16))),
        raw((0x0008, bytes(24))),
        raw((0x001C, bytes(12))),
        raw((0x001C, bytes(18))),
        raw((0x001C, bytes(36))),
        raw((0x8028, bytes(4))),
        raw((0x8028, bytes(8))),
    ],
)
def test_malformed_messages(data: bytes) -> None:
    """RFC 8489 §6.3: whatever is wrong with the frame, there is one error, and the server stays silent."""
    with pytest.raises(MalformedMessage):
        Message.decode(data)


@pytest.mark.parametrize("surplus", [1, 2, 3])
def test_a_length_is_a_multiple_of_four(surplus: int) -> None:
    """RFC 8489 §5: even where the datagram is just as long as the length field says."""
    with pytest.raises(MalformedMessage):
        Message.decode(GOOD[:2] + (len(GOOD) - 20 + surplus).to_bytes(2, "big") + GOOD[4:] + bytes(surplus))


def test_fingerprint_must_be_last_even_if_right() -> None:
    """Rule 6, RFC 8489 §14.7: the checksum fits the message as it is, and still something follows it."""
    data = bytearray(raw((0x8022, b"x"), (0x8028, bytes(4)), (0x8022, b"y")))
    data[32:36] = (zlib.crc32(data[:28]) ^ 0x5354554E).to_bytes(4, "big")
    with pytest.raises(MalformedMessage):
        Message.decode(data)


def test_fingerprint_must_be_last() -> None:
    """Rule 6, RFC 8489 §14.7: a right FINGERPRINT with something after it is not one."""
    good = builder().add(a.SOFTWARE, "x").fingerprint().build()
    assert Message.decode(good).has(a.FINGERPRINT)
    longer = good[:2] + (len(good) - 20 + 8).to_bytes(2, "big") + good[4:] + raw((0x8022, b"abcd"))[20:]
    with pytest.raises(MalformedMessage):
        Message.decode(longer)
    twice = raw((0x8028, good[-4:]), (0x8028, good[-4:]))
    with pytest.raises(MalformedMessage):
        Message.decode(twice)


def test_fingerprint_counts_itself_in_the_length() -> None:
    """RFC 8489 §14.7: CRC-32 over all before it, XOR 0x5354554e, the length field counting the attribute."""
    data = builder().add(a.SOFTWARE, "x").fingerprint().build()
    assert int.from_bytes(data[2:4], "big") == len(data) - 20
    assert int.from_bytes(data[-4:], "big") == zlib.crc32(data[:-8]) ^ 0x5354554E


def test_a_wrong_fingerprint_is_refused() -> None:
    """RFC 8489 §14.7: it tells STUN from other protocols, so one flipped bit makes it not STUN."""
    good = builder().add(a.SOFTWARE, "x").fingerprint().build()
    for index in (*range(len(good) - 8), *range(len(good) - 4, len(good))):
        with pytest.raises(MalformedMessage):
            Message.decode(good[:index] + bytes([good[index] ^ 1]) + good[index + 1 :])


def test_padding_of_any_kind_is_kept() -> None:
    """RFC 8489 §14: padding bits may be any value and are ignored; encoding gives back what came."""
    data = raw((0x0006, b"abcde"), padding=b"\xaa")
    message = Message.decode(data)
    assert message.first(a.USERNAME) == "abcde"
    assert message.attributes == (RawAttribute(0x0006, b"abcde", b"\xaa\xaa\xaa"),)
    assert message.encode() == data


def test_the_first_of_duplicates_wins() -> None:
    """Rule 7, RFC 8489 §14."""
    message = Message.decode(raw((0x000D, b"\0\0\0\1"), (0x000D, b"\0\0\0\2")))
    assert message.first(a.LIFETIME) == 1
    assert message.all(a.LIFETIME) == [1, 2]


def test_what_stands_after_the_integrity_does_not_count() -> None:
    """Rule 6, RFC 8489 §14.5: but for -SHA256 and FINGERPRINT."""
    data = raw(
        (0x0006, b"user"),
        (0x0008, bytes(20)),
        (0x000D, bytes(4)),
        (0x001C, bytes(32)),
        (0x7777, b""),
        (0x0008, bytes(20)),
    )
    message = Message.decode(data)
    assert message.has(a.USERNAME)
    assert message.has(a.MESSAGE_INTEGRITY)
    assert message.has(a.MESSAGE_INTEGRITY_SHA256)
    assert not message.has(a.LIFETIME)
    assert message.first(a.LIFETIME) is None
    assert message.all(a.LIFETIME) == []
    assert message.unknown_required(frozenset({6, 8, 0x1C})) == ()
    assert len(message.attributes) == 6
    assert message.encode() == data


def test_after_sha256_even_message_integrity_does_not_count() -> None:
    """RFC 8489 §14.6: after MESSAGE-INTEGRITY-SHA256 only FINGERPRINT."""
    message = Message.decode(raw((0x001C, bytes(32)), (0x0008, bytes(20))))
    assert message.has(a.MESSAGE_INTEGRITY_SHA256)
    assert not message.has(a.MESSAGE_INTEGRITY)
    assert not verify(message, KEY)
    twice = Message.decode(raw((0x001C, bytes(32)), (0x001C, bytes(16))))
    assert twice.all(a.MESSAGE_INTEGRITY_SHA256) == [bytes(32)]


def test_unknown_comprehension_required_attributes() -> None:
    """Rule 7, RFC 8489 §6.3.1: each once, in order; the optional half never counts."""
    message = Message.decode(raw((0x7777, b""), (0x0006, b""), (0x7000, b""), (0x7777, b""), (0xFFFF, b"")))
    assert message.unknown_required(frozenset({6})) == (0x7777, 0x7000)


def test_an_unreadable_value_is_malformed_only_when_asked_for() -> None:
    message = Message.decode(raw((0x000D, b"\0"), (0x0006, b"user")))
    assert message.first(a.USERNAME) == "user"
    assert message.has(a.LIFETIME)
    with pytest.raises(MalformedMessage):
        message.first(a.LIFETIME)
    with pytest.raises(MalformedMessage):
        message.all(a.LIFETIME)


def test_before_gives_the_bytes_up_to_an_attribute() -> None:
    data = raw((0x0006, b"abcde"), (0x000D, bytes(4)))
    message = Message.decode(data)
    assert message.before(a.USERNAME) == data[:20]
    assert message.before(a.LIFETIME) == data[:32]
    assert message.before(a.REALM) is None


def test_a_message_is_immutable_and_shows_no_values() -> None:
    message = Message.decode(raw((0x0006, b"very secret")))
    with pytest.raises(AttributeError):
        message.method = 3
    assert "secret" not in repr(message)
    assert "0x0006[11]" in repr(message)


@pytest.mark.parametrize(
    ("method", "transaction"), [(-1, TRANSACTION), (0x1000, TRANSACTION), (1, bytes(11)), (1, bytes(13))]
)
def test_a_header_that_cannot_be_sent(method: int, transaction: bytes) -> None:
    with pytest.raises(EncodeError):
        MessageBuilder(method, MessageClass.REQUEST, transaction)


def test_the_builder_insists_on_the_order() -> None:
    """RFC 8489 §14.5–14.7: attributes, MESSAGE-INTEGRITY, -SHA256, FINGERPRINT."""
    closed = builder().integrity(KEY).integrity_sha256(KEY).fingerprint()
    for step in (
        lambda: closed.add(a.SOFTWARE, "x"),
        lambda: closed.integrity(KEY),
        lambda: closed.integrity_sha256(KEY),
        closed.fingerprint,
        lambda: builder().integrity_sha256(KEY).integrity(KEY),
        lambda: builder().integrity(KEY).integrity(KEY),
        lambda: builder().integrity(KEY).add(a.SOFTWARE, "x"),
        lambda: builder().integrity(KEY).extend(bytes(4)),
        lambda: builder().add(a.MESSAGE_INTEGRITY, bytes(20)),
        lambda: builder().add(a.MESSAGE_INTEGRITY_SHA256, bytes(32)),
        lambda: builder().add(a.FINGERPRINT, 0),
        lambda: builder().integrity_sha256(KEY, 18),
        lambda: builder().integrity_sha256(KEY, 12),
        lambda: builder().integrity_sha256(KEY, 36),
    ):
        with pytest.raises(EncodeError):
            step()


def test_attributes_of_an_earlier_message() -> None:
    """What is sent again and again is encoded once; the longest message is the longest by this way, too."""
    earlier = builder().add(a.REALM, "example.org").build()[20:]
    again = builder().extend(earlier).add(a.SOFTWARE, "x").build()
    assert again == builder().add(a.REALM, "example.org").add(a.SOFTWARE, "x").build()
    builder().extend(bytes(MAX_LENGTH))
    with pytest.raises(EncodeError):
        builder().extend(bytes(MAX_LENGTH)).extend(bytes(4))


def test_everything_at_once_decodes() -> None:
    data = builder(Method.ALLOCATE).add(a.USERNAME, "u").integrity(KEY).integrity_sha256(KEY).fingerprint().build()
    message = Message.decode(bytearray(data))
    assert [attribute.type for attribute in message.attributes] == [0x0006, 0x0008, 0x001C, 0x8028]
    assert verify(message, KEY)


def test_a_message_has_a_longest_length() -> None:
    """The length field is 16 bits: what does not fit is refused, not wrapped around."""
    full = builder().add(a.DATA, bytes(65_520))
    assert Message.decode(full.build()).first(a.DATA) == bytes(65_520)
    with pytest.raises(EncodeError):
        full.add(a.DATA, bytes(20))
