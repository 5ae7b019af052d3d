"""One client's connection once it speaks TURN: frames in, frames out (RFC 8656 §3.1, §12.5).

In: frames are parsed in the buffer of each read. ChannelData with a live hop goes directly to its peer.

Out: frames that are sent during one turn of the loop leave together at its end, with one system call (under TLS in one
record each). Bytes that the socket does not take wait in a queue of bounded size. When it is full, new media frames are
dropped, because a stream cannot drop queued ones; only whole frames, and never an answer. A client whose answers pile
up all the same, or which reads nothing for too long, is disconnected.
"""

import math
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from stun.demux import CHANNEL_BITS, KIND_BITS, begins_frame
from stun.framing import MAX_FRAME, stun_size
from turnserver.core.types import FiveTuple
from turnserver.faults import RAISED
from turnserver.paths import ChannelHop
from turnserver.streams import ByteStream
from turnserver.transports.base import FrameSink, ListenerLimits

__all__ = ["READ_SIZE", "ConnectionOwner", "StreamConnection"]

READ_SIZE: Final = 64 * 1024
"""Bytes read per connection and turn of the loop: some 300 packets of audio, or 50 of video."""

_HEADER_SIZE: Final = 4
_COOKIE_END: Final = 8
"""Bytes of a STUN message up to the end of the magic cookie."""
_FRAME_COST: Final = 48
"""Bytes counted per queued frame in addition to its size, so that a queue of empty frames is bounded too."""

_ANSWER_ROOM: Final = 64 * 1024
"""Bytes beyond the limit of the queue that are reserved for answers. A client that fills them does not read."""

_DATA_INDICATION: Final = b"\x00\x17"
_SEND_INDICATION: Final = b"\x00\x16"


class ConnectionOwner(Protocol):
    """What a connection needs from its transport."""

    sink: FrameSink
    packets_in: int
    bytes_in: int
    packets_out: int
    bytes_out: int

    def flush_soon(self, connection: "StreamConnection") -> None:
        """Flush a connection at the end of this turn of the loop, once for everything it sends in this turn."""

    def close_soon(self, connection: "StreamConnection") -> None:
        """Close a connection at the end of this turn of the loop."""

    def count_dropped(self) -> None:
        """Count a dropped frame or connection."""

    def hop_failed(self, error: BaseException, connection: "StreamConnection") -> None:
        """A hop has raised; only the frames that it was to send are lost."""


class StreamConnection:
    """The path of one client; see `turnserver.paths.ClientPath`.

    ``idle_deadline`` and ``stall_deadline`` are monotonic seconds after which the transport closes the connection:
    when no whole frame has come for too long, and when the client has read nothing for too long.
    """

    __slots__ = (
        "_buffer",
        "_buffer_at",
        "_clock",
        "_idle_timeout",
        "_kept",
        "_limit",
        "_missing",
        "_partial",
        "_queue",
        "_queued",
        "_stall_timeout",
        "_transport",
        "_waiting",
        "channels",
        "client",
        "idle_deadline",
        "known",
        "stall_deadline",
        "stream",
    )

    padded = True

    def __init__(
        self,
        transport: ConnectionOwner,
        stream: ByteStream,
        client: FiveTuple,
        limits: ListenerLimits,
        clock: Callable[[], float],
    ) -> None:
        self.channels: dict[int, ChannelHop] = {}
        self.client = client
        self.stream: ByteStream | None = stream
        self.known = False
        """Whether the sink has received a frame of the client."""
        self.idle_deadline = math.inf
        self.stall_deadline = math.inf
        self._transport = transport
        self._clock = clock
        self._limit = limits.send_queue
        self._idle_timeout = limits.idle_timeout
        self._stall_timeout = limits.stall_timeout
        self._kept = False
        self._partial = bytearray()
        self._missing = 0
        self._buffer = b""
        self._buffer_at = 0
        self._queue: list[bytes] = []
        self._queued = 0
        self._waiting = False

    @property
    def silent(self) -> bool:
        """Whether nothing can be sent any more: sending has failed, or the stream has a new owner or is closed."""
        return self._limit < 0

    @property
    def queued(self) -> int:
        """Bytes that the queue counts against its limit."""
        return self._queued

    def keep(self, on: bool) -> None:
        """Whether the connection may be idle without limit."""
        self._kept = on
        self.idle_deadline = math.inf if on else self._clock() + self._idle_timeout

    # To the client

    def send(self, data: bytes | memoryview, tos: int = 0) -> bool:
        """Send one whole frame to the client; False if it had to be dropped. A stream has no ``tos`` per frame."""
        queued = self._queued + len(data) + _FRAME_COST
        if queued > self._limit and not self._has_room(data, queued):
            return False
        self._queued = queued
        self._queue.append(bytes(data))
        transport = self._transport
        transport.packets_out += 1
        transport.bytes_out += len(data)
        if not self._waiting:
            self._waiting = True
            transport.flush_soon(self)
        return True

    def send_run(self, datagrams: Sequence[bytes | memoryview], tos: int = 0) -> bool:
        """Send frames of one size in one go; False if *none* was sent, and the caller may try them one by one."""
        count = len(datagrams)
        size = len(datagrams[0]) * count
        queued = self._queued + size + _FRAME_COST * count
        if queued > self._limit or self.stream is None:
            return False
        self._queued = queued
        self._queue += map(bytes, datagrams)
        transport = self._transport
        transport.packets_out += count
        transport.bytes_out += size
        if not self._waiting:
            self._waiting = True
            transport.flush_soon(self)
        return True

    def flush(self) -> None:
        """Send the queue, as far as the socket takes it."""
        stream = self.stream
        queue = self._queue
        if stream is None or not queue:
            return
        try:
            moved = self._send_joined(stream) if stream.tls is None else self._send_records(stream)
        except OSError:
            self._fall_silent(stream)
            return
        if not queue:
            self._queued = 0
            if self.stall_deadline != math.inf:
                self.stall_deadline = math.inf
                stream.want_write(False)
            self._waiting = False
            return
        if moved:
            self._queued = sum(map(len, queue)) + _FRAME_COST * len(queue)
        if moved or self.stall_deadline == math.inf:
            self.stall_deadline = self._clock() + self._stall_timeout
        self._waiting = True
        stream.want_write(True)

    def _send_joined(self, stream: ByteStream) -> bool:
        """Send the queue in one call; the rest of a frame sent in part stays in front. True if any byte was sent."""
        queue = self._queue
        data = queue[0] if len(queue) == 1 else b"".join(queue)
        sent = stream.send(data)
        if sent:
            queue[:] = [data[sent:]] if sent < len(data) else []
        return sent > 0

    def _send_records(self, stream: ByteStream) -> bool:
        """Send the queue under TLS, each frame in its own record. True if any byte was sent."""
        queue = self._queue
        sent = 0
        while sent < len(queue) and (taken := stream.send_each(queue, sent)):
            sent += taken
        del queue[:sent]
        return sent > 0

    def _fall_silent(self, stream: ByteStream) -> None:
        """Sending has failed. Frames that have arrived are still processed; then the stream, and so this, ends."""
        self._limit = -1
        self._queue.clear()
        self._queued = 0
        self.stall_deadline = math.inf
        stream.want_write(False)

    def part(self) -> None:
        """The stream has a new owner or is closed: nothing can be sent here any more."""
        self.stream = None
        self._limit = -1
        self._queue.clear()
        self.channels.clear()

    def take_queue(self) -> bytes:
        """The bytes still to be sent, for the new owner to send."""
        data = b"".join(self._queue)
        self._queue.clear()
        self._queued = 0
        return data

    def _has_room(self, frame: bytes | memoryview, queued: int) -> bool:
        """Whether a frame may exceed the limit: media never, answers by the reserve; beyond it the client is closed."""
        transport = self._transport
        if self._limit < 0:
            return False
        if not frame[0] & KIND_BITS and frame[:2] != _DATA_INDICATION:
            if queued <= self._limit + _ANSWER_ROOM:
                return True
            transport.count_dropped()
            transport.close_soon(self)
            return False
        transport.count_dropped()
        return False

    # From the client

    def read(self) -> None:
        """Read what has arrived; the stream's ``on_readable``."""
        stream = self.stream
        if stream is None:
            return
        try:
            data = stream.recv(READ_SIZE)
        except OSError:
            stream.close()
            return
        if data:
            if self._partial:
                self.feed(data)
            elif not self._consume_one(data):
                self._consume(data)
        elif data is not None:
            stream.close()

    def paused(self, on: bool) -> None:
        """Drop the media that has waited (``on``), until there was nothing more to read; or read as usual again."""
        if self.stream is not None:
            self.stream.on_readable = self._read_requests if on else self.read

    def _read_requests(self) -> None:
        """`read` after a pause, without media. It is a method of its own so that `read` costs no more otherwise."""
        stream = self.stream
        if stream is None:
            return
        try:
            data = stream.recv(READ_SIZE)
        except OSError:
            stream.close()
            return
        if data is None or len(data) < READ_SIZE:
            self.paused(False)
        if data:
            whole = bytes(self._partial) + data
            self._partial.clear()
            self.feed(self._without_media(whole))
        elif data is not None:
            stream.close()

    def _without_media(self, data: bytes) -> bytes:
        """The frames that are not media, and the beginning of the one that is still incomplete."""
        kept = bytearray()
        at, end = 0, len(data)
        while end - at >= _HEADER_SIZE:
            length = data[at + 2] << 8 | data[at + 3]
            is_channel_data = data[at] & KIND_BITS == CHANNEL_BITS
            size = length + 7 & ~3 if is_channel_data else stun_size(data, at, length)
            if not size or at + size > end:
                break
            if is_channel_data or data[at : at + 2] == _SEND_INDICATION:
                self._transport.count_dropped()
            else:
                kept += data[at : at + size]
            at += size
        return bytes(kept) + data[at:]

    def feed(self, data: bytes) -> None:
        """Process bytes that have been read already."""
        partial = self._partial
        if partial:
            partial += data
            if len(partial) < self._missing:
                return
            data = bytes(partial)
            partial.clear()
        self._consume(data)

    def unread(self) -> bytes:
        """Bytes that have been read and not been passed on."""
        data = self._buffer[self._buffer_at :] + self._partial
        self._partial.clear()
        return data

    def _consume_one(self, data: bytes) -> bool:
        """`_consume` for the common case of exactly one packet with a live hop; False in all other cases."""
        first = data[0]
        if first & KIND_BITS != CHANNEL_BITS or len(data) < _HEADER_SIZE:
            return False
        length = data[2] << 8 | data[3]
        hop = self.channels.get(first << 8 | data[1])
        if hop is None or len(data) != length + 7 & ~3 or hop.expires <= self._clock():
            return False
        try:
            hop.send(data[_HEADER_SIZE : _HEADER_SIZE + length], 0)
        except RAISED as error:
            self._transport.hop_failed(error, self)
        transport = self._transport
        transport.packets_in += 1
        transport.bytes_in += len(data)
        if not self._kept:
            self.idle_deadline = self._clock() + self._idle_timeout
        return True

    def _consume(self, data: bytes) -> None:
        """Pass on every whole frame: ChannelData with a live hop to its peer, the rest to the sink."""
        channels = self.channels
        now = self._clock()
        run: list[bytes] = []
        run_hop: ChannelHop | None = None
        at = frames = run_size = 0
        end = len(data)
        missing = _HEADER_SIZE
        while end - at >= _HEADER_SIZE:
            first = data[at]
            length = data[at + 2] << 8 | data[at + 3]
            if first & KIND_BITS == CHANNEL_BITS:
                size = _HEADER_SIZE + length
                after = at + (length + 7 & ~3)
            else:
                size = stun_size(data, at, length)
                if not size:
                    missing = 0
                    break
                after = at + size
            if after > end:
                missing = after - at
                if missing <= MAX_FRAME and end - at < _COOKIE_END and not first & KIND_BITS:
                    missing = end - at + 1  # any byte of the cookie may show that this is no frame
                break
            frames += 1
            hop = channels.get(first << 8 | data[at + 1])
            if hop is not None and hop.expires > now:
                payload = data[at + _HEADER_SIZE : at + size]
                at = after
                if hop is run_hop and size == run_size:
                    run.append(payload)
                    continue
                if run_hop is not None:
                    self._forward(run_hop, run)
                run = [payload]
                run_hop = hop
                run_size = size
                continue
            frame = data[at : at + size]
            at = after
            if run_hop is not None:  # frames before this one must be sent before the sink acts on it
                self._forward(run_hop, run)
                run_hop = None
            if not self._pass_up(frame, data, at):
                self._count(frames, at, now)
                return
        if run_hop is not None:
            self._forward(run_hop, run)
        self._count(frames, at, now)
        self._rest(data, at, missing)

    def _pass_up(self, frame: bytes, data: bytes, at: int) -> bool:
        """Pass a frame to the sink; False if the connection has a new owner or is closed afterwards."""
        self.known = True
        self._buffer = data
        self._buffer_at = at
        self._transport.sink.client_frame(self.client, frame)
        self._buffer = b""
        self._buffer_at = 0
        return self.stream is not None

    def _rest(self, data: bytes, at: int, missing: int) -> None:
        """Keep the beginning of a frame; close the connection if none can begin so, or if it is too long."""
        left = len(data) - at
        if not left:
            return
        if not missing or missing > MAX_FRAME or (left < _HEADER_SIZE and not begins_frame(data[at])):
            self._transport.count_dropped()
            if self.stream is not None:
                self.stream.close()
            return
        self._partial += data[at:]
        self._missing = missing

    def _count(self, frames: int, octets: int, now: float) -> None:
        transport = self._transport
        transport.packets_in += frames
        transport.bytes_in += octets
        if frames and not self._kept:
            self.idle_deadline = now + self._idle_timeout

    def _forward(self, hop: ChannelHop, run: list[bytes]) -> None:
        """Send payloads of one size to the peer of a channel."""
        try:
            if len(run) > 1 and hop.send_run(run, 0):
                return
            for payload in run:
                hop.send(payload, 0)
        except RAISED as error:
            self._transport.hop_failed(error, self)
