"""MESSAGE-INTEGRITY and -SHA256 (RFC 8489 §14.5, §14.6), checked against HMACs computed here by hand."""

import hashlib
import hmac

import pytest

from stun import attributes as a
from stun.constants import MessageClass, Method
from stun.integrity import verify, verify_sha256
from stun.message import Message, MessageBuilder

KEY = bytes(16)


def builder() -> MessageBuilder:
    return MessageBuilder(Method.REFRESH, MessageClass.REQUEST, bytes(12)).add(a.USERNAME, "alice").add(a.LIFETIME, 600)


def test_the_length_field_counts_up_to_the_end_of_the_attribute() -> None:
    """Rule 5, RFC 8489 §14.5: while hashing, whatever follows is not counted."""
    data = builder().integrity(KEY).fingerprint().build()
    at = len(data) - 8 - 24
    covered = data[:2] + (at - 20 + 24).to_bytes(2, "big") + data[4:at]
    assert hmac.new(KEY, covered, hashlib.sha1).digest() == data[at + 4 : at + 24]
    assert verify(Message.decode(data), KEY)


@pytest.mark.parametrize("length", range(16, 33, 4))
def test_sha256_may_be_truncated(length: int) -> None:
    """Rule 5, RFC 8489 §14.6: the length field counts the truncated attribute; who does not ask wants all 32 bytes."""
    data = builder().integrity_sha256(KEY, length).build()
    at = len(data) - 4 - length
    covered = data[:2] + (at - 20 + 4 + length).to_bytes(2, "big") + data[4:at]
    assert hmac.new(KEY, covered, hashlib.sha256).digest()[:length] == data[at + 4 :]
    assert verify_sha256(Message.decode(data), KEY, minimum=length)
    assert verify_sha256(Message.decode(data), KEY) is (length == 32)


def test_sha256_after_sha1_covers_it() -> None:
    """RFC 8489 §14.6: MESSAGE-INTEGRITY before -SHA256 is part of what is hashed."""
    message = Message.decode(builder().integrity(KEY).integrity_sha256(KEY).build())
    assert verify(message, KEY)
    assert verify_sha256(message, KEY)


def test_every_flipped_bit_is_noticed() -> None:
    """In the type, the transaction id, every value and the integrity itself."""
    data = builder().integrity(KEY).build()
    for index in (1, *range(8, 20), *range(24, 29), *range(36, 40), *range(44, 64)):
        flipped = data[:index] + bytes([data[index] ^ 1]) + data[index + 1 :]
        assert not verify(Message.decode(flipped), KEY)


def test_a_wrong_key_and_a_missing_attribute() -> None:
    signed = Message.decode(builder().integrity(KEY).build())
    bare = Message.decode(builder().build())
    assert not verify(signed, b"other")
    assert not verify_sha256(signed, KEY)
    assert not verify(bare, KEY)
    assert not verify_sha256(bare, KEY)
