"""Which protocol a first byte announces (RFC 7983 §7, RFC 8656 §12). Nothing else in the project decides that.

`classify` is the table. Code that looks at every packet compares with the constants directly, to save the call.
"""

from enum import Enum
from typing import Final

from stun.constants import CHANNEL_MAX, CHANNEL_MIN

__all__ = [
    "CHANNEL_BITS",
    "KIND_BITS",
    "LAST_STUN_BYTE",
    "TLS_HANDSHAKE",
    "FrameKind",
    "begins_frame",
    "classify",
    "is_stun",
]

LAST_STUN_BYTE: Final = 3
"""A STUN message begins with 0 to 3: two zero bits, and methods end at 0xFFF (RFC 8489 §5)."""

KIND_BITS: Final = 0xC0
"""The two bits that tell STUN from ChannelData in TURN's own streams and on UDP (RFC 5766 §11)."""

CHANNEL_BITS: Final = 0x40
"""What those bits are in ChannelData, with RFC 5766's range of channel numbers, 0x4000 to 0x7FFF.

RFC 8656 §12 has reserved the numbers above 0x4FFF. A server still has to find the end of such a frame on a stream,
even if it then drops it, because clients of RFC 5766 send them.
"""

TLS_HANDSHAKE: Final = 22
"""The content type of a TLS record with a handshake, and so the first byte of every TLS connection (RFC 8446 §5.1)."""


class FrameKind(Enum):
    """The protocols that may share a port."""

    STUN = "stun"
    ZRTP = "zrtp"
    DTLS = "dtls"
    CHANNEL_DATA = "channel-data"
    RTP = "rtp"
    OTHER = "other"


def _kind(byte: int) -> FrameKind:
    if byte <= LAST_STUN_BYTE:
        return FrameKind.STUN
    if 16 <= byte <= 19:
        return FrameKind.ZRTP
    if 20 <= byte <= 63:
        return FrameKind.DTLS
    if CHANNEL_MIN >> 8 <= byte <= CHANNEL_MAX >> 8:
        return FrameKind.CHANNEL_DATA
    if 128 <= byte <= 191:
        return FrameKind.RTP
    return FrameKind.OTHER


_KINDS: Final = tuple(_kind(byte) for byte in range(256))


def classify(first_byte: int) -> FrameKind:
    """The protocol whose packets begin with this byte (0 to 255). TLS on a stream begins with 22, as DTLS does."""
    return _KINDS[first_byte]


def is_stun(frame: bytes | bytearray | memoryview) -> bool:
    """True if the frame begins as a STUN message does; False for an empty one."""
    return len(frame) > 0 and frame[0] <= LAST_STUN_BYTE


def begins_frame(first_byte: int) -> bool:
    """True if a frame of a TURN stream can begin so: STUN, or ChannelData with a channel number of RFC 5766."""
    return first_byte <= LAST_STUN_BYTE or first_byte & KIND_BITS == CHANNEL_BITS
