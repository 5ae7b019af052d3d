"""Frames on a stream (RFC 8656 §3.1, §12.5): STUN messages and padded ChannelData, one after the other."""

from typing import Final

from stun.constants import HEADER_LENGTH, MAGIC_COOKIE
from stun.demux import LAST_STUN_BYTE, FrameKind, classify
from stun.errors import MalformedMessage

__all__ = ["MAX_FRAME", "StreamFramer", "stun_size"]

MAX_FRAME: Final = 65_540
"""Bytes of the longest frame, its header included: ChannelData of 65,535 bytes, padded."""

_COOKIE: Final = MAGIC_COOKIE.to_bytes(4, "big")


def stun_size(data: bytes | bytearray, at: int, length: int) -> int:
    """Bytes of the STUN message that begins at ``at``, by its length field; 0 if none can begin there (RFC 8489 §5).

    Checked: a first byte of 0 to 3, a length that is a multiple of four, and as much of the magic cookie as has come.
    """
    if data[at] <= LAST_STUN_BYTE and not length & 3 and _COOKIE.startswith(data[at + 4 : at + 8]):
        return HEADER_LENGTH + length
    return 0


class StreamFramer:
    """Cuts a byte stream into frames, however it is chopped up. Never holds more than one unfinished frame.

    `feed` gives all frames of a piece at once. With `push` and `pop` they come one at a time, and those before an
    invalid one are not lost.
    """

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
        self._buffer += data
        frames = []
        while (frame := self.pop()) is not None:
            frames.append(frame)
        return frames

    def push(self, data: bytes | bytearray | memoryview) -> None:
        """Add bytes without looking at them; the caller bounds how many, by taking frames out with `pop`."""
        self._buffer += data

    def rest(self) -> bytes:
        """Take out what is held and is no frame yet, where the stream stops being one of frames (RFC 6062 §4.3)."""
        rest = bytes(self._buffer)
        self._buffer.clear()
        return rest

    def pop(self) -> bytes | None:
        """The next frame, ChannelData without its padding; None while it is not whole. Raises `MalformedMessage`."""
        buffer = self._buffer
        if len(buffer) < 4:
            if buffer:
                _check_first(buffer[0])
            return None
        size, whole = self._sizes(buffer)
        if len(buffer) < whole:
            return None
        frame = bytes(buffer[:size])
        del buffer[:whole]
        return frame

    def _sizes(self, buffer: bytearray) -> tuple[int, int]:
        """Bytes of the frame that the buffer begins with, and the same with padding."""
        length = buffer[2] << 8 | buffer[3]
        if classify(buffer[0]) is FrameKind.CHANNEL_DATA:
            size = 4 + length
            whole = size + -size % 4
        else:
            size = whole = stun_size(buffer, 0, length)
            if not size:
                raise MalformedMessage("neither STUN nor ChannelData")
        if whole > self._max:
            raise MalformedMessage(f"a frame of more than {self._max} bytes")
        return size, whole


def _check_first(byte: int) -> None:
    """Raise `MalformedMessage` for a first byte that cannot begin a frame."""
    if classify(byte) not in (FrameKind.STUN, FrameKind.CHANNEL_DATA):
        raise MalformedMessage("neither STUN nor ChannelData")
