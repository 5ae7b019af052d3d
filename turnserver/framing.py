"""Messages within a stream of bytes: length, kind, and bytes of that kind.

A message is a 32-bit length of what follows it, a byte for its kind, and the rest. The reader refuses lengths beyond
its limit before it keeps any of it.
"""

import struct
from collections.abc import Iterator
from typing import Final

from turnserver.errors import ServerError

__all__ = ["LARGEST", "FrameError", "FrameReader", "encode", "head"]

LARGEST: Final = 4 * 1024 * 1024
"""Bytes of a message: a description of 256 KB, or the view of a room with a hundred people, is far below."""

_header: Final = struct.Struct("!IB")


class FrameError(ServerError):
    """What came is no message."""


def head(kind: int, size: int) -> bytes:
    """What is before a payload of so many bytes. Raises ValueError as `encode` does."""
    if size >= LARGEST or not 0 <= kind <= 255:
        raise ValueError(f"no message: kind {kind}, {size} bytes")
    return _header.pack(size + 1, kind)


def encode(kind: int, payload: bytes) -> bytes:
    """A message as bytes. Raises ValueError for one that is too large, or a kind that is no byte."""
    return head(kind, len(payload)) + payload


class FrameReader:
    """Makes messages of bytes; ``largest`` is the limit for the length of each."""

    def __init__(self, largest: int = LARGEST) -> None:
        self._largest = largest
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """The messages, kind and payload, that are complete now. Raises `FrameError` for what can be none."""
        self._buffer += data
        while len(self._buffer) >= _header.size:
            length, kind = _header.unpack_from(self._buffer)
            if not 1 <= length <= self._largest:
                raise FrameError(f"a message of {length} bytes")
            end = _header.size - 1 + length
            if len(self._buffer) < end:
                return
            payload = bytes(self._buffer[_header.size : end])
            del self._buffer[:end]
            yield kind, payload
