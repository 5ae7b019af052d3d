"""The link between a client and its server: the interface, and its implementations over UDP, TCP and TLS.

A link delivers whole frames and reports errors; all that it knows of TURN is where a frame ends. The one over DTLS is
in `turnserver.turnclient.dtls`, because it needs a library that is an extra; `turnserver.turnclient.openers` has all.
"""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final, Protocol, cast

from stun.address import Address
from stun.client.errors import ServerUnreachable
from stun.demux import is_stun
from stun.errors import MalformedMessage
from stun.framing import StreamFramer
from stun.uri import StunUri

__all__ = [
    "Link",
    "LinkBroken",
    "LinkReceiver",
    "Opener",
    "StreamLink",
    "UdpLink",
    "connect_stream",
    "open_tcp",
    "open_tls",
    "open_udp",
    "unreachable",
]

_CLOSING: Final = 1.0
"""Seconds to wait for a connection to close: the server may not answer the ``close_notify`` of TLS."""


class LinkBroken(ServerUnreachable):
    """A stream to the server has ended.

    Its ``__cause__`` is the error of the system or of TLS, None if the server closed it; ``nonsense`` is received data
    that is not a frame; ``answered`` says whether any frame had been received before.
    """

    def __init__(self, sentence: str, *, nonsense: bytes, answered: bool) -> None:
        self.nonsense = nonsense
        self.answered = answered
        super().__init__(sentence)


class LinkReceiver(Protocol):
    """The receiver of a link's frames and errors, such as `turnserver.turnclient.driver.Driver`."""

    def frame_received(self, frame: bytes) -> None:
        """A whole frame from the server."""

    def link_troubled(self, error: ServerUnreachable) -> None:
        """The system reports an error about the server's address; the link goes on."""

    def link_ended(self, error: ServerUnreachable) -> None:
        """The link has ended. Not called after `Link.close`."""


class Link(Protocol):
    """Whole frames to and from one server."""

    reliable: bool
    """True for streams: no retransmission, and ChannelData is padded."""

    def start(self, receiver: LinkReceiver) -> None:
        """Begin to deliver."""

    def send(self, frame: bytes) -> None:
        """Send one whole frame; does nothing if the link has ended."""

    @property
    def buffered(self) -> int:
        """Bytes that the system has not taken yet."""

    async def close(self) -> None:
        """Close the socket."""


Opener = Callable[[StunUri, Address, ssl.SSLContext | None], Awaitable[Link]]
"""Opens a link to the server of a URI at one of its addresses. Raises `ServerUnreachable`."""


class UdpLink(asyncio.DatagramProtocol):
    """A connected UDP socket, so that the kernel reports closed ports and drops packets from other sources."""

    reliable = False

    def __init__(self) -> None:
        self._receiver: LinkReceiver | None = None
        self._transport: asyncio.DatagramTransport | None = None

    @property
    def buffered(self) -> int:
        """Bytes that the system has not taken yet."""
        # A datagram transport has the method of a writing one, though its type does not say so.
        return 0 if self._transport is None else cast(asyncio.WriteTransport, self._transport).get_write_buffer_size()

    def start(self, receiver: LinkReceiver) -> None:
        """Begin to deliver."""
        self._receiver = receiver

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio once the socket is there."""
        # Not asserted: the selector loop's transport is a DatagramTransport in all but its base class (Python 3.11).
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: object) -> None:
        """Called by asyncio for each datagram from the server."""
        if self._receiver is not None:
            self._receiver.frame_received(data)

    def error_received(self, exc: Exception) -> None:
        """Called by asyncio for an ICMP error, or when a datagram could not be sent."""
        if self._receiver is not None:
            self._receiver.link_troubled(unreachable(exc))

    def send(self, frame: bytes) -> None:
        """Send one datagram."""
        if self._transport is not None:
            self._transport.sendto(frame)

    async def close(self) -> None:
        """Close the socket."""
        self._receiver = None
        if self._transport is not None:
            self._transport.close()


class StreamLink(asyncio.Protocol):
    """A connection to the server, plain or with TLS (RFC 8656 §3.1), that splits the stream into frames."""

    reliable = True

    def __init__(self) -> None:
        self._receiver: LinkReceiver | None = None
        self._transport: asyncio.Transport | None = None
        self._framer = StreamFramer()
        self._answered = False
        self._trouble: LinkBroken | None = None
        self._lost = asyncio.get_running_loop().create_future()

    @property
    def buffered(self) -> int:
        """Bytes that the system has not taken yet."""
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def start(self, receiver: LinkReceiver) -> None:
        """Begin to deliver, and report if the connection has ended meanwhile."""
        self._receiver = receiver
        if self._trouble is not None:
            asyncio.get_running_loop().call_soon(self._tell)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio once the connection, and its TLS, is there."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Called by asyncio for each piece of the stream."""
        if self._trouble is not None:
            return
        try:
            if not self._answered and not is_stun(data):
                raise MalformedMessage("ChannelData before any answer")  # no channel is bound yet: another service
            self._framer.push(data)
            while (frame := self._framer.pop()) is not None:
                self._answered = True
                if self._receiver is not None:
                    self._receiver.frame_received(frame)
        except MalformedMessage as error:
            self._broken("What the server sends is neither STUN nor ChannelData.", error, data)
            if self._transport is not None:
                self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by asyncio when the connection has ended."""
        self._broken("The server closed the connection.", exc)
        self._transport = None
        if not self._lost.done():
            self._lost.set_result(None)

    def send(self, frame: bytes) -> None:
        """Send one whole frame; ChannelData must be padded."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(frame)

    async def close(self) -> None:
        """Close the connection; abort it if it does not close in time."""
        self._receiver = None
        transport = self._transport
        if transport is None:
            return
        transport.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSING):
                await asyncio.shield(self._lost)
        transport.abort()

    def _broken(self, sentence: str, cause: Exception | None, nonsense: bytes = b"") -> None:
        if self._trouble is None:
            self._trouble = LinkBroken(sentence, nonsense=nonsense, answered=self._answered)
            self._trouble.__cause__ = cause
            self._tell()

    def _tell(self) -> None:
        if self._receiver is not None and self._trouble is not None:
            self._receiver.link_ended(self._trouble)


def unreachable(error: Exception) -> ServerUnreachable:
    """The exception for a system error while connecting, with a sentence; its ``__cause__`` is ``error``."""
    if isinstance(error, ConnectionRefusedError):
        found = ServerUnreachable("Nothing listens there: the host answered that the port is closed.")
    else:
        reason = getattr(error, "strerror", None) or type(error).__name__
        found = ServerUnreachable(f"The server cannot be reached: {reason}.")
    found.__cause__ = error
    return found


async def open_udp(
    uri: StunUri, address: Address, tls: ssl.SSLContext | None = None, *, local: str | None = None
) -> Link:
    """A link over UDP, from the address ``local`` of this machine if one is given.

    Raises `ServerUnreachable` if there is no route, or no such address.
    """
    loop = asyncio.get_running_loop()
    source = None if local is None else (local, 0)
    try:
        _, link = await loop.create_datagram_endpoint(
            UdpLink, local_addr=source, remote_addr=(address.host, address.port)
        )
    except OSError as error:
        raise unreachable(error) from error
    return link


async def open_tcp(uri: StunUri, address: Address, tls: ssl.SSLContext | None = None) -> Link:
    """A link over TCP. Raises `ServerUnreachable`."""
    return await _open_stream(address, None, None)


async def open_tls(uri: StunUri, address: Address, tls: ssl.SSLContext | None = None) -> Link:
    """A link over TLS, whose certificate is checked against the URI's host; ``tls`` None trusts the system's roots.

    Raises `ServerUnreachable`, also for a certificate that is not trusted.
    """
    return await _open_stream(address, tls or ssl.create_default_context(), uri.host)


async def _open_stream(address: Address, tls: ssl.SSLContext | None, host: str | None) -> Link:
    loop = asyncio.get_running_loop()
    sock = await connect_stream(address)
    with _closed_on_failure(sock):
        _, link = await loop.create_connection(StreamLink, sock=sock, ssl=tls, server_hostname=host)
    return link


async def connect_stream(address: Address) -> socket.socket:
    """A TCP connection with Nagle's algorithm off. Raises `ServerUnreachable`; the caller bounds the time."""
    family = socket.AF_INET if len(address.ip) == 4 else socket.AF_INET6
    sock = socket.socket(family, socket.SOCK_STREAM)
    with _closed_on_failure(sock):
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.get_running_loop().sock_connect(sock, (address.host, address.port))
    return sock


@contextmanager
def _closed_on_failure(sock: socket.socket) -> Iterator[None]:
    """Close a socket that could not be connected, and raise `ServerUnreachable` for an error of the system."""
    try:
        yield
    except OSError as error:
        sock.close()
        raise unreachable(error) from error
    except BaseException:
        sock.close()
        raise
