# SPDX-License-Identifier: GPL-2.0-or-later
"""Keys and what is computed with them: pure functions of bytes."""

import hashlib
import hmac
import struct
import unicodedata
import zlib

from scapy_turn.registry import FINGERPRINT_XOR

__all__ = [
    "adjusted",
    "crc",
    "hmac_sha1",
    "hmac_sha256",
    "long_term_key",
    "opaque",
    "short_term_key",
    "userhash",
]


def opaque(text: str | bytes) -> bytes:
    """A user's name, realm or password as OpaqueString has it (RFC 8265 §4.2): NFC, and one kind of space."""
    if isinstance(text, bytes):
        return text
    spaced = "".join(" " if unicodedata.category(character) == "Zs" else character for character in text)
    return unicodedata.normalize("NFC", spaced).encode()


def short_term_key(password: str | bytes) -> bytes:
    """RFC 8489 §9.1.1: the password itself."""
    return opaque(password)


def long_term_key(username: str | bytes, realm: str | bytes, password: str | bytes, algorithm: int = 1) -> bytes:
    """RFC 8489 §18.5.1: a digest of ``username:realm:password``, MD5 (1) or SHA-256 (2).

    Raises `ValueError` for another algorithm.
    """
    joined = b":".join((opaque(username), opaque(realm), opaque(password)))
    if algorithm == 1:
        return hashlib.md5(joined, usedforsecurity=False).digest()
    if algorithm == 2:
        return hashlib.sha256(joined).digest()
    raise ValueError(f"no password algorithm {algorithm}")


def userhash(username: str | bytes, realm: str | bytes) -> bytes:
    """RFC 8489 §14.4: what USERHASH has in the place of a name."""
    return hashlib.sha256(opaque(username) + b":" + opaque(realm)).digest()


def adjusted(message: bytes, end: int) -> bytes:
    """A message up to an attribute, with the length that ends at ``end``, the end of that attribute."""
    return message[:2] + struct.pack("!H", end - 20 & 0xFFFF) + message[4:]


def hmac_sha1(key: bytes, message: bytes) -> bytes:
    """MESSAGE-INTEGRITY of a message up to there (RFC 8489 §14.5)."""
    return hmac.digest(key, adjusted(message, len(message) + 24), "sha1")


def hmac_sha256(key: bytes, message: bytes, size: int = 32) -> bytes:
    """MESSAGE-INTEGRITY-SHA256 of a message up to there, cut to ``size`` bytes (RFC 8489 §14.6)."""
    return hmac.digest(key, adjusted(message, len(message) + 4 + size), "sha256")[:size]


def crc(message: bytes) -> int:
    """FINGERPRINT of a message up to there (RFC 8489 §14.7)."""
    return zlib.crc32(adjusted(message, len(message) + 8)) ^ FINGERPRINT_XOR
