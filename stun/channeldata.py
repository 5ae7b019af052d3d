"""ChannelData (RFC 8656 §12.4, §12.5): four bytes of header and the datagram; padded to four bytes on streams only."""

from struct import Struct
from typing import Final

from stun.constants import CHANNEL_MAX, CHANNEL_MAX_RFC5766, CHANNEL_MIN
from stun.errors import EncodeError, MalformedMessage

__all__ = ["HEADER_LENGTH", "decode", "encode", "encode_padded"]

HEADER_LENGTH: Final = 4
"""Bytes: channel number and length."""

_HEADER: Final = Struct("!HH")
_PADDING: Final = (b"", bytes(3), bytes(2), bytes(1))


def encode(channel: int, payload: bytes) -> bytes:
    """A frame without padding, as on UDP and DTLS. Raises `EncodeError`."""
    if not CHANNEL_MIN <= channel <= CHANNEL_MAX_RFC5766 or len(payload) > 0xFFFF:
        raise EncodeError("a channel number out of range, or more than 65,535 bytes")
    return _HEADER.pack(channel, len(payload)) + payload


def encode_padded(channel: int, payload: bytes) -> bytes:
    """A frame padded to a multiple of four bytes, as on TCP and TLS; the length excludes the padding."""
    return encode(channel, payload) + _PADDING[len(payload) & 3]


def decode(data: bytes | memoryview, last: int = CHANNEL_MAX) -> tuple[int, memoryview]:
    """Channel number and payload of one frame; bytes beyond the length are padding. Raises `MalformedMessage`.

    ``last`` is the highest channel number there is; `CHANNEL_MAX_RFC5766` for clients of the older range.
    """
    view = memoryview(data)
    if len(view) < HEADER_LENGTH:
        raise MalformedMessage("shorter than a ChannelData header")
    channel, length = _HEADER.unpack_from(view)
    if not CHANNEL_MIN <= channel <= last:
        raise MalformedMessage("not a channel number")
    if length > len(view) - HEADER_LENGTH:
        raise MalformedMessage("ChannelData longer than its datagram")
    return channel, view[HEADER_LENGTH : HEADER_LENGTH + length]
