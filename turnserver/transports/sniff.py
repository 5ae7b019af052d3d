"""Recognises a client's protocol by its first bytes (RFC 7983, RFC 8656 §3.1): STUN, HTTP, TLS, or an unknown one.

The first frame on a stream can only be a STUN message, because ChannelData needs an allocation and an allocation needs
its connection (RFC 8656 §3.1). Without this, HTTP would be ambiguous: ``GET `` is a valid ChannelData header.
"""

from enum import Enum
from typing import Final

from stun.constants import MAGIC_COOKIE
from stun.demux import TLS_HANDSHAKE, is_stun

__all__ = ["Speech", "sniff"]

_COOKIE: Final = MAGIC_COOKIE.to_bytes(4, "big")
_STUN_PREFIX: Final = 8
"""Bytes up to the end of the magic cookie."""

_METHODS: Final = tuple(method + b" " for method in b"GET HEAD POST PUT DELETE CONNECT OPTIONS TRACE PATCH PRI".split())
"""Methods of HTTP (RFC 9110 §9, RFC 5789), and the start of HTTP/2 with prior knowledge (RFC 9113 §3.4)."""

_TLS_HANDSHAKE: Final = bytes((TLS_HANDSHAKE, 3))


class Speech(Enum):
    """The protocols that the first bytes may belong to."""

    STUN = "stun"
    HTTP = "http"
    TLS = "tls"
    GARBAGE = "garbage"


def sniff(first: bytes) -> Speech | None:
    """The protocol that ``first`` begins; None while it is ambiguous. Never needs more than 8 bytes."""
    if is_stun(first):
        return _stun(first)
    if first.startswith(_METHODS):
        return Speech.HTTP
    if first.startswith(_TLS_HANDSHAKE):
        return Speech.TLS
    if any(word.startswith(first) for word in (*_METHODS, _TLS_HANDSHAKE)):
        return None
    return Speech.GARBAGE


def _stun(first: bytes) -> Speech | None:
    """RFC 8489 §5: a length that is a multiple of four, then the magic cookie."""
    if (len(first) >= 4 and first[3] & 3) or not _COOKIE.startswith(first[4:_STUN_PREFIX]):
        return Speech.GARBAGE
    return Speech.STUN if len(first) >= _STUN_PREFIX else None
