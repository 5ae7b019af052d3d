"""A `ByteStream` as an asyncio transport, so that any asyncio protocol (here aiohttp's) can be served on it."""

import asyncio
from collections.abc import Iterable
from typing import Any, Final, NoReturn

from stun.address import Address
from turnserver.net import to_sockaddr
from turnserver.proxies import Arrival
from turnserver.streams import ByteStream

__all__ = ["StreamAdapter"]

READ_SIZE: Final = 64 * 1024
HIGH_WATER: Final = 64 * 1024
"""Bytes waiting to be sent beyond which the protocol is asked to pause, unless it sets its own limits."""

STALL_TIMEOUT: Final = 30.0
"""Seconds after which a client that reads none of the bytes queued for it is disconnected."""


class StreamAdapter(asyncio.Transport):
    """Connects one stream with one protocol, and owns the stream.

    The client in ``arrival`` is the protocol's peer name. Nothing is read before `start`.
    """

    def __init__(
        self, stream: ByteStream, protocol: asyncio.Protocol, arrival: Arrival, *, stall_timeout: float = STALL_TIMEOUT
    ) -> None:
        super().__init__(_facts(stream, arrival.client))
        self.arrival = arrival
        """What the listener knows of the connection."""
        self.local: Address = stream.local
        """The listener's address."""
        self._stream = stream
        self._protocol: asyncio.Protocol = protocol
        self._loop = asyncio.get_running_loop()
        self._buffer = bytearray()
        self._high = HIGH_WATER
        self._low = HIGH_WATER // 4
        self._stall_timeout = stall_timeout
        self._stall: asyncio.TimerHandle | None = None
        self._paused_writing = False
        self._reading = True
        self._closing = False
        self._ended = False
        self._eof = False
        self._broken: OSError | None = None
        self._working = self._held = self._used = False
        stream.on_closed.append(self._stream_closed)

    def start(self, first: bytes = b"") -> None:
        """Tell the protocol of the connection, pass it the bytes already read, and start reading."""
        self._protocol.connection_made(self)
        self._stream.on_readable = self._readable
        self._stream.on_writable = self._writable
        if first and not self._ended:
            self._protocol.data_received(first)
        if not self._closing:
            self._stream.want_read(self._reading)

    # Whether the connection may be closed to make room for another

    def work(self, on: bool) -> None:
        """Whether the application works on a request. It is the client that is waited for while it does not read."""
        self._working = on
        self._mind_use()

    def hold(self, on: bool) -> None:
        """The application itself says from now on whether the connection is in use; the request does not count."""
        self._working = False
        self._held = on
        self._mind_use()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """What asyncio's transports know, ``hold``, the method of this name, and ``claim`` (`Arrival`)."""
        if name == "claim":
            return self.arrival.claim
        return self.hold if name == "hold" else super().get_extra_info(name, default)

    def _mind_use(self) -> None:
        used = self._held or (self._working and not self._paused_writing)
        if used != self._used:
            self._used = used
            self._stream.in_use(used)

    # Reading

    def is_reading(self) -> bool:
        """Whether data is read for the protocol."""
        return self._reading and not self._closing

    def pause_reading(self) -> None:
        """Stop reading for now; the sender has to wait."""
        self._reading = False
        if not self._closing:
            self._stream.want_read(False)

    def resume_reading(self) -> None:
        """Read again."""
        self._reading = True
        if not self._closing:
            self._stream.want_read(True)

    def get_protocol(self) -> asyncio.BaseProtocol:
        """The protocol."""
        return self._protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Use another protocol from now on. Raises TypeError for one that takes no data."""
        if not isinstance(protocol, asyncio.Protocol):
            raise TypeError("not a protocol for streams")
        self._protocol = protocol

    def _readable(self) -> None:
        try:
            data = self._stream.recv(READ_SIZE)
        except OSError as error:
            self._end(error)
            return
        if data:
            self._protocol.data_received(data)
        elif self._broken is not None and data is not None:
            self._end(self._broken)
        elif data is not None:
            self._stream.want_read(False)
            if not self._protocol.eof_received():
                self.close()

    # Writing

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send, or keep until it can be sent; nothing is sent after `close`.

        When sending fails, data is discarded from then on. What has arrived still goes to the protocol before
        ``connection_lost``: a client may have sent its last message and closed without reading ours.
        """
        if self._closing or self._eof or self._broken is not None or not data:
            return
        at = 0
        if not self._buffer:
            at = self._send(memoryview(data).cast("B"))
        if at < len(data) and self._broken is None:
            self._buffer += memoryview(data).cast("B")[at:]
            self._wait_for_room()

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        """Send several pieces at once."""
        self.write(b"".join(list_of_data))

    def can_write_eof(self) -> bool:
        """True: half-closing works, under TLS too."""
        return True

    def write_eof(self) -> None:
        """End the sending direction when everything has been sent."""
        if self._eof or self._closing:
            return
        self._eof = True
        if not self._buffer:
            self._stream.shutdown_write()

    def get_write_buffer_size(self) -> int:
        """Bytes kept until they can be sent."""
        return len(self._buffer)

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """The low and the high mark, in bytes."""
        return self._low, self._high

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """When the protocol is asked to pause and to resume, in bytes. Raises ValueError unless 0 ≤ low ≤ high."""
        if high is None:
            high = HIGH_WATER if low is None else 4 * low
        if low is None:
            low = high // 4
        if not 0 <= low <= high:
            raise ValueError(f"low ({low}) and high ({high}) must be ordered")
        self._low, self._high = low, high
        self._mind_the_marks()

    def _send(self, data: memoryview) -> int:
        """Send as much of ``data`` as the stream takes; returns the number, all of it if the stream has failed."""
        at = 0
        try:
            while at < len(data) and (taken := self._stream.send(data[at:])):
                at += taken
        except OSError as error:
            self._fall_silent(error)
        return at

    def _fall_silent(self, error: OSError) -> None:
        """Sending has failed: only read, until the stream ends or the protocol has not read for too long."""
        self._broken = error
        if self._closing:
            self._end(error)
            return
        self._buffer.clear()
        self._stop_stall()
        self._stall = self._loop.call_later(self._stall_timeout, self._stalled)
        self._stream.want_write(False)
        self._mind_the_marks()

    def _wait_for_room(self) -> None:
        self._stream.want_write(True)
        if self._stall is None:
            self._stall = self._loop.call_later(self._stall_timeout, self._stalled)
        self._mind_the_marks()

    def _writable(self) -> None:
        if self._buffer:
            sent = self._send(memoryview(bytes(self._buffer)))
            if self._broken is not None:
                return
            del self._buffer[:sent]
            if sent and self._stall is not None:
                self._stall.cancel()
                self._stall = self._loop.call_later(self._stall_timeout, self._stalled)
            self._mind_the_marks()
        if self._buffer or (self._closing and not self._stream.flushed):
            return
        self._stream.want_write(False)
        self._stop_stall()
        if self._closing:
            self._end(None)
        elif self._eof:
            self._stream.shutdown_write()

    def _mind_the_marks(self) -> None:
        size = len(self._buffer)
        if size > self._high and not self._paused_writing:
            self._paused_writing = True
            self._mind_use()
            self._protocol.pause_writing()
        elif size <= self._low and self._paused_writing:
            self._paused_writing = False
            self._mind_use()
            self._protocol.resume_writing()

    def _stalled(self) -> None:
        self._stall = None
        self._end(self._broken or TimeoutError("the client does not read"))

    def _stop_stall(self) -> None:
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None

    # The end

    def is_closing(self) -> bool:
        """Whether `close` or `abort` was called, or the stream has ended."""
        return self._closing

    def close(self) -> None:
        """Stop reading, send the queued bytes, then close."""
        if self._closing:
            return
        self._closing = True
        self._stream.want_read(False)
        if self._buffer or not self._stream.flushed:
            self._wait_for_room()
        else:
            self._loop.call_soon(self._end, None)

    def abort(self) -> None:
        """Close at once; what has not been sent is lost."""
        self._closing = True
        self._stream.want_read(False)
        self._loop.call_soon(self._end, None)

    def _end(self, error: Exception | None) -> None:
        if self._ended:
            return
        self._ended = self._closing = True
        self._stop_stall()
        self._buffer.clear()
        self._loop.call_soon(self._lose, error)
        self._stream.close()

    def _lose(self, error: Exception | None) -> None:
        try:
            self._protocol.connection_lost(error)
        except Exception as fault:
            if self._stream.on_fault is None:
                raise
            self._stream.on_fault(fault)

    def _stream_closed(self) -> None:
        self._end(ConnectionAbortedError("the stream was closed"))

    @property
    def _sendfile_compatible(self) -> NoReturn:
        """Make ``loop.sendfile`` raise the error on which aiohttp reads the file instead."""
        raise NotImplementedError("sendfile is not supported")


def _facts(stream: ByteStream, client: Address) -> dict[str, Any]:
    """What `asyncio.BaseTransport.get_extra_info` knows; aiohttp takes the scheme, ``https``, from ``sslcontext``."""
    facts: dict[str, Any] = {"peername": to_sockaddr(client), "sockname": to_sockaddr(stream.local)}
    tls = stream.tls
    if tls is not None:
        facts |= {
            "sslcontext": tls.context,
            "ssl_object": tls,
            "cipher": tls.cipher(),
            "compression": tls.compression(),
            "peercert": tls.getpeercert(),
        }
    return facts
