"""Drafts that may be wrong, and messages that are read however wrong they are."""

from cli.conform.wire import FINGERPRINT_SEAL, Draft, SeenMessage, sealed_sha1, sealed_sha256
from stun import integrity
from stun.attributes import ERROR_CODE, LIFETIME, SOFTWARE, ErrorValue
from stun.constants import MessageClass, Method
from stun.message import Message, MessageBuilder

KEY = b"0123456789abcdef"


def seen(data: bytes) -> SeenMessage:
    message = SeenMessage.read(data)
    assert message is not None
    return message


def test_a_draft_that_is_right_is_what_the_codec_makes() -> None:
    draft = Draft(Method.REFRESH).add(LIFETIME, 600).append(sealed_sha1(KEY), sealed_sha256(KEY), FINGERPRINT_SEAL)
    builder = MessageBuilder(Method.REFRESH, MessageClass.REQUEST, draft.transaction_id).add(LIFETIME, 600)
    assert draft.encode() == builder.integrity(KEY).integrity_sha256(KEY).fingerprint().build()


def test_what_is_taken_away_and_put_in_is_sealed() -> None:
    draft = Draft(Method.REFRESH).add(LIFETIME, 600).add(SOFTWARE, "a").append(sealed_sha1(KEY))
    message = Message.decode(draft.drop(SOFTWARE).put(LIFETIME, bytes(4)).insert((0xBFFE, b"x")).encode())
    assert [each.type for each in message.attributes] == [0xBFFE, LIFETIME.number, 8]
    assert message.first(LIFETIME) == 0
    assert integrity.verify(message, KEY)


def test_seals_are_looked_at() -> None:
    message = seen(Draft(Method.BINDING).add(SOFTWARE, "a").append(sealed_sha1(KEY), FINGERPRINT_SEAL).encode())
    assert message.sealed_by(sealed_sha1(KEY)) is True
    assert message.sealed_by(sealed_sha1(b"other")) is False
    assert message.sealed_by(FINGERPRINT_SEAL) is True
    assert message.sealed_by(sealed_sha256(KEY)) is None


def test_a_truncated_seal() -> None:
    message = seen(Draft(Method.BINDING).append(sealed_sha256(KEY, 16)).encode())
    assert message.sealed_by(sealed_sha256(KEY, 16)) is True
    assert message.sealed_by(sealed_sha256(KEY)) is False


def test_every_method_and_class_keeps_its_bits() -> None:
    for method in (1, 3, 0x00E, 0x0FE, 0xFFF):
        for message_class in MessageClass:
            message = seen(Draft(method, message_class).encode())
            assert (message.method, message.message_class, message.fault) == (method, message_class, "")


def test_faults_are_named() -> None:
    data = Draft(Method.BINDING).add(SOFTWARE, "abcde").encode()
    assert seen(data).fault == ""
    assert "cookie" in seen(Draft(Method.BINDING, cookie=1).encode()).fault
    assert "length field" in seen(data + b"\0\0\0\0").fault
    assert "padding" in seen(data[:-2]).fault or "length field" in seen(data[:-2]).fault
    assert seen(data[:22]).fault
    assert SeenMessage.read(b"short") is None
    assert SeenMessage.read(b"\x80" + bytes(30)) is None


def test_values_that_cannot_be_read_are_none() -> None:
    message = seen(Draft(Method.REFRESH).append((LIFETIME.number, b"1")).encode())
    assert message.value(LIFETIME) is None
    assert message.octets(LIFETIME) == b"1"
    assert message.has(LIFETIME)
    assert not message.has(SOFTWARE)


def test_the_code_of_an_error() -> None:
    draft = Draft(Method.REFRESH, MessageClass.ERROR).add(ERROR_CODE, ErrorValue(437, "Allocation Mismatch"))
    assert seen(draft.encode()).code == 437
    assert seen(Draft(Method.REFRESH, MessageClass.ERROR).encode()).code == 0
    assert seen(Draft(Method.REFRESH, MessageClass.SUCCESS).encode()).success


def test_the_padding_may_be_anything() -> None:
    data = Draft(Method.BINDING, padding=0xA5).append((0xBFFE, b"x")).encode()
    assert data[-3:] == b"\xa5\xa5\xa5"
    assert seen(data).attributes[0].padding == b"\xa5\xa5\xa5"
