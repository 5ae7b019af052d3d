"""Frames on a stream (RFC 8656 §3.1, §12.5): STUN messages and padded ChannelData, one after the other."""

from typing import Final

from stun.constants import HEADER_LENGTH, MAGIC_COOKIE
from stun.demux import FrameKind, classify
from stun.errors import MalformedMessage

__all__ = ["MAX_FRAME", "StreamFramer"]

MAX_FRAME: Final = 65_540
"""Bytes of the longest frame, its header included: ChannelData of 65,535 bytes, padded."""

_COOKIE: Final = MAGIC_COOKIE.to_bytes(4, "big")


class StreamFramer:
    """Cuts a byte stream into frames, however it is chopped up. Never holds more than one unfinished frame."""

    def __init__(self, max_frame: int = MAX_FRAME) -> None:
        self._max = max_frame
        self._buffer = bytearray()

    @property
    def buffered(self) -> int:
        """Bytes held of a frame that is not whole yet."""
        return len(self._buffer)

    def feed(self, data: bytes | bytearray | memoryview) -> list[bytes]:
        """The frames that ``data`` completes; ChannelData comes without its padding.

        Raises `MalformedMessage` for what is neither STUN nor ChannelData, or too long, and on every call after that:
        the boundaries are lost. Frames that the same call completed before it are lost with them.
        """
        buffer = self._buffer
        buffer += data
        frames = []
        at = 0
        try:
            while len(buffer) - at >= 4:
                size, whole = self._sizes(buffer, at)
                if len(buffer) - at < whole:
                    break
                frames.append(bytes(buffer[at : at + size]))
                at += whole
            else:
                if len(buffer) > at:
                    _check_first(buffer[at])
        finally:
            del buffer[:at]
        return frames

    def _sizes(self, buffer: bytearray, at: int) -> tuple[int, int]:
        """Bytes of the frame that begins at ``at``, and the same with padding."""
        kind = classify(buffer[at])
        length = buffer[at + 2] << 8 | buffer[at + 3]
        if kind is FrameKind.CHANNEL_DATA:
            size = 4 + length
            whole = size + -size % 4
        elif kind is FrameKind.STUN and length & 3 == 0:
            size = whole = HEADER_LENGTH + length
            if not _COOKIE.startswith(buffer[at + 4 : at + 8]):
                raise MalformedMessage("not STUN: magic cookie")
        else:
            raise MalformedMessage("neither STUN nor ChannelData")
        if whole > self._max:
            raise MalformedMessage(f"a frame of more than {self._max} bytes")
        return size, whole


def _check_first(byte: int) -> None:
    """Refuse at the first byte what can never become a frame."""
    if classify(byte) not in (FrameKind.STUN, FrameKind.CHANNEL_DATA):
        raise MalformedMessage("neither STUN nor ChannelData")
