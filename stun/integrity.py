"""Checking MESSAGE-INTEGRITY and MESSAGE-INTEGRITY-SHA256 (RFC 8489 §14.5, §14.6); `MessageBuilder` appends them."""

import hmac
from collections.abc import Callable

from stun.attributes import MESSAGE_INTEGRITY, MESSAGE_INTEGRITY_SHA256, AttributeType
from stun.constants import HEADER_LENGTH
from stun.digest import SHA256_LENGTH, integrity_sha1, integrity_sha256
from stun.message import Message

__all__ = ["verify", "verify_sha256"]


def verify(message: Message, key: bytes) -> bool:
    """True if the message has a MESSAGE-INTEGRITY and it is right for ``key``. Constant time."""
    return _verify(message, key, MESSAGE_INTEGRITY, integrity_sha1)


def verify_sha256(message: Message, key: bytes, minimum: int = SHA256_LENGTH) -> bool:
    """True if the message has a MESSAGE-INTEGRITY-SHA256 and it is right for ``key``. Constant time.

    A value truncated to fewer than ``minimum`` bytes is refused. RFC 8489 §14.6 wants the full 32 unless the usage
    says otherwise, and TURN does not.
    """
    claimed = message.first(MESSAGE_INTEGRITY_SHA256)
    if claimed is None or len(claimed) < minimum:
        return False
    return _verify(message, key, MESSAGE_INTEGRITY_SHA256, integrity_sha256)


def _verify(message: Message, key: bytes, spec: AttributeType[bytes], digest: Callable[[bytes, bytes], bytes]) -> bool:
    claimed = message.first(spec)
    before = message.before(spec)
    if claimed is None or before is None:
        return False
    # While hashing, the length field counts up to the end of the attribute itself.
    length = len(before) - HEADER_LENGTH + 4 + len(claimed)
    covered = before[:2] + length.to_bytes(2, "big") + before[4:]
    return hmac.compare_digest(digest(covered, key)[: len(claimed)], claimed)
