"""Two spliced streams (RFC 6062 §5.4, §5.5): the bytes of each are sent on the other, with flow control.

Each direction holds at most one chunk that its target has not taken. Until then its source is not read, so the kernel's
receive window makes the sender wait. The end of one direction (a FIN) ends only that direction: a peer that has sent
everything may still receive. When sending to one stream fails, what it has sent before still goes to the other. When
both directions have ended, both streams are closed.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from turnserver.faults import RAISED
from turnserver.streams import ByteStream

__all__ = ["StreamSplice"]

CHUNK: Final = 64 * 1024
"""Bytes read at a time, and so the most that one direction of a splice holds."""

BURST: Final = 4
"""Chunks moved in one direction before other work of the loop gets its turn."""


class _Direction:
    """One direction."""

    __slots__ = ("_pending", "done", "ended", "octets", "scheduled", "source", "target", "waiting")

    def __init__(self, source: ByteStream, target: ByteStream) -> None:
        self.source = source
        self.target = target
        self.octets = 0
        self.ended = False
        self.done = False
        self.scheduled = False
        self.waiting = False
        self._pending = memoryview(b"")

    def move(self) -> bool:
        """Move what can be moved now; True if there may be more. Raises OSError when the source has failed."""
        for _ in range(BURST):
            if self._pending and not self._flush():
                return False
            if self.ended:
                if not self.done:
                    self.done = True
                    self.target.shutdown_write()
                return False
            data = self.source.recv(CHUNK)
            if data is None:
                return False
            if not data:
                self.ended = True
                self.source.want_read(False)
            elif not self.done:
                self._pending = memoryview(data)
        return True

    def give_up(self) -> None:
        """Nothing more can be sent to the target; what the source sends is discarded."""
        self.done = True
        self._pending = memoryview(b"")
        self._wait(False)

    def _flush(self) -> bool:
        """Send the pending bytes to the target; False if it must become writable first."""
        while self._pending:
            try:
                taken = self.target.send(self._pending)
            except OSError:
                self.give_up()
                return True
            if not taken:
                self._wait(True)
                return False
            self.octets += taken
            self._pending = self._pending[taken:]
        self._wait(False)
        return True

    def _wait(self, on: bool) -> None:
        """Wait for room in the target instead of data from the source (``on``), or the reverse."""
        if on is not self.waiting:
            self.waiting = on
            self.target.want_write(on)
            self.source.want_read(not on and not self.ended)


class StreamSplice:
    """A client's data connection spliced with its peer connection; ``over`` is called once if it is not `close`d.

    An unexpected exception ends it too, and is reported to ``on_fault``.
    """

    def __init__(
        self, client: ByteStream, peer: ByteStream, over: Callable[[], None], on_fault: Callable[[BaseException], None]
    ) -> None:
        self._client = client
        self._peer = peer
        self._over = over
        self._on_fault = on_fault
        for stream in (client, peer):
            stream.on_fault = on_fault
            stream.on_closed.append(self._stream_closed)
        self._up = _Direction(client, peer)
        self._down = _Direction(peer, client)
        self._closed = False
        self._octets_seen = -1
        self._loop = asyncio.get_running_loop()

    @property
    def octets_to_peer(self) -> int:
        """Bytes sent to the peer."""
        return self._up.octets

    @property
    def octets_to_client(self) -> int:
        """Bytes sent to the client."""
        return self._down.octets

    def start(self) -> None:
        """Begin with the bytes that either side has already sent."""
        client, peer, up, down = self._client, self._peer, self._up, self._down
        client.on_readable = peer.on_writable = lambda: self._move(up)
        peer.on_readable = client.on_writable = lambda: self._move(down)
        client.want_read(True)
        peer.want_read(True)
        # A stream may hold bytes that no event will announce: those read with the ConnectionBind, or a TLS record.
        self._move(up)
        self._move(down)

    def close(self) -> None:
        """Close both ends; ``over`` is not called. Calling it again does nothing."""
        if not self._closed:
            self._closed = True
            self._client.close()
            self._peer.close()

    def abandoned(self) -> bool:
        """True if one side has ended and nothing has moved since the previous call.

        A FIN does not tell a closed connection from a half-closed one; only lasting silence does.
        """
        octets, seen = self._up.octets + self._down.octets, self._octets_seen
        self._octets_seen = octets if self._up.done or self._down.done else -1
        return self._octets_seen == seen >= 0

    def _move(self, way: _Direction) -> None:
        if self._closed:
            return
        try:
            more = way.move()
        except OSError:
            more = False
            self._source_failed(way)
        except RAISED as error:
            self._on_fault(error)
            self._end()
            return
        if self._up.done and self._down.done:
            self._finish()
        elif more and not way.scheduled:
            way.scheduled = True
            self._loop.call_soon(self._again, way)

    def _source_failed(self, way: _Direction) -> None:
        """A stream was reset; all that it had sent has been passed on, and nothing can be sent to it."""
        way.done = way.ended = True
        way.source.want_read(False)
        way.target.shutdown_write()
        for direction in (self._up, self._down):
            if direction is not way:
                direction.give_up()

    def _again(self, way: _Direction) -> None:
        way.scheduled = False
        self._move(way)

    def _finish(self) -> None:
        """Both directions have ended; a stream may still have bytes to send."""
        sending = [stream for stream in (self._client, self._peer) if not stream.flushed]
        for stream in sending:
            stream.want_write(True)
        if not sending:
            self._end()

    def _stream_closed(self) -> None:
        """One of the two streams has closed after an unexpected failure."""
        if not self._closed:
            self._end()

    def _end(self) -> None:
        self.close()
        self._over()
