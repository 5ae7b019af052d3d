"""Messages between processes of one server, over one end of a socket pair; `turnserver.framing` is their form.

The reader refuses messages beyond its limit. The writer never waits: what the other side does not read is kept up to a
limit. Beyond either limit the link ends: a process that speaks nonsense or does not read is not to be reasoned with.
"""

import asyncio
import socket
from collections.abc import Callable
from typing import Final

from turnserver.framing import FrameError, FrameReader, encode

__all__ = ["MessageLink"]

MOST_UNREAD: Final = 16 * 1024 * 1024
"""Bytes that wait for the other side."""

_READ: Final = 256 * 1024
"""Bytes that are read in one turn of the loop."""


class MessageLink:
    """One end of a socket pair on the running loop, which is its from now on.

    ``receive`` gets kind and payload of each message, and may raise `FrameError`. ``ended`` is called once, with the
    reason, empty if the other side has closed its end; never after `close`, and never from inside of a call.
    """

    def __init__(
        self,
        sock: socket.socket,
        receive: Callable[[int, bytes], None],
        ended: Callable[[str], None],
        *,
        most_unread: int = MOST_UNREAD,
    ) -> None:
        self._sock = sock
        self._receive = receive
        self._ended = ended
        self._most_unread = most_unread
        self._reader = FrameReader()
        self._unread = bytearray()
        self._open = True
        self._loop = asyncio.get_running_loop()
        sock.setblocking(False)
        self._loop.add_reader(sock.fileno(), self._read)

    @property
    def unread(self) -> int:
        """Bytes that wait for the other side."""
        return len(self._unread)

    def send(self, kind: int, payload: bytes = b"") -> None:
        """Send a message, as soon as the other side reads; nothing once the link has ended."""
        if not self._open:
            return
        waiting = bool(self._unread)
        self._unread += encode(kind, payload)
        if not waiting:
            self._write()
        if len(self._unread) > self._most_unread:
            self._end_later("it does not read what it is sent")

    def close(self) -> None:
        """End the link. What waits is lost, and `ended` is not called any more."""
        if not self._open:
            return
        self._open = False
        fd = self._sock.fileno()
        self._loop.remove_reader(fd)
        self._loop.remove_writer(fd)
        self._sock.close()

    def _end_later(self, why: str) -> None:
        if self._open:
            self.close()
            self._loop.call_soon(self._ended, why)

    def _write(self) -> None:
        try:
            sent = self._sock.send(self._unread)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self._end_later("" if isinstance(error, ConnectionError) else f"{error.strerror}")
            return
        del self._unread[:sent]
        fd = self._sock.fileno()
        if self._unread:
            self._loop.add_writer(fd, self._write)
        else:
            self._loop.remove_writer(fd)

    def _read(self) -> None:
        try:
            data = self._sock.recv(_READ)
        except BlockingIOError:
            return
        except OSError as error:
            self._end_later("" if isinstance(error, ConnectionError) else f"{error.strerror}")
            return
        if not data:
            self._end_later("")
            return
        try:
            for kind, payload in self._reader.feed(data):
                self._receive(kind, payload)
                if not self._open:
                    return
        except FrameError as error:
            self._end_later(f"it sent {error}")
