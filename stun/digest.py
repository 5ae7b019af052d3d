"""The two HMACs over a message's bytes (RFC 8489 §14.5, §14.6)."""

import hmac
from typing import Final

__all__ = ["INTEGRITY_LENGTH", "SHA256_LENGTH", "integrity_sha1", "integrity_sha256"]

INTEGRITY_LENGTH: Final = 20
"""Bytes of MESSAGE-INTEGRITY."""

SHA256_LENGTH: Final = 32
"""Bytes of an untruncated MESSAGE-INTEGRITY-SHA256, which is what TURN uses."""


def integrity_sha1(covered: bytes, key: bytes) -> bytes:
    """HMAC-SHA1 of the bytes before MESSAGE-INTEGRITY; the length field counts up to its end (RFC 8489 §14.5)."""
    return hmac.digest(key, covered, "sha1")


def integrity_sha256(covered: bytes, key: bytes) -> bytes:
    """HMAC-SHA256 of the bytes before MESSAGE-INTEGRITY-SHA256, likewise; not truncated (RFC 8489 §14.6)."""
    return hmac.digest(key, covered, "sha256")
