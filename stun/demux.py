"""What a first byte says of what follows (RFC 7983 §7, RFC 8656 §12)."""

from enum import Enum
from typing import Final

__all__ = ["FrameKind", "classify"]


class FrameKind(Enum):
    """The protocols that may share a port."""

    STUN = "stun"
    ZRTP = "zrtp"
    DTLS = "dtls"
    CHANNEL_DATA = "channel-data"
    RTP = "rtp"
    OTHER = "other"


def _kind(byte: int) -> FrameKind:
    if byte <= 3:
        return FrameKind.STUN
    if 16 <= byte <= 19:
        return FrameKind.ZRTP
    if 20 <= byte <= 63:
        return FrameKind.DTLS
    if 64 <= byte <= 79:
        return FrameKind.CHANNEL_DATA
    if 128 <= byte <= 191:
        return FrameKind.RTP
    return FrameKind.OTHER


_KINDS: Final = tuple(_kind(byte) for byte in range(256))


def classify(first_byte: int) -> FrameKind:
    """What begins with this byte (0 to 255). TLS on a stream begins with 22 and so falls under DTLS."""
    return _KINDS[first_byte]
