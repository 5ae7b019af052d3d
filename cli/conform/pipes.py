"""Connections of a tester, frame by frame. Another transport is an entry in `TRANSPORTS`."""

import asyncio
import socket
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from cli.probe.security import ALPN_TURN, Trust
from stun.address import Address
from stun.client.errors import ServerUnreachable
from stun.constants import AddressFamily
from stun.errors import MalformedMessage
from stun.framing import StreamFramer
from stun.uri import StunUri
from turnserver.turnclient.links import connect_stream

if TYPE_CHECKING:
    from turnserver.turnclient.dtls import DtlsLink

__all__ = ["TRANSPORTS", "DatagramPipe", "DtlsPipe", "Pipe", "StreamPipe", "Subject"]

_MOST: Final = 256
"""Frames that wait to be read."""

_CLOSING: Final = 1.0


@dataclass(frozen=True, slots=True)
class Subject:
    """A server at one address over one transport."""

    uri: StunUri
    address: Address
    trust: Trust

    def __str__(self) -> str:
        """Scheme, address and transport."""
        return f"{self.uri.protocol} {self.address}"


class Pipe(Protocol):
    """Whole frames to and from a server, in the order in which they came."""

    reliable: bool
    local: Address
    ended: str
    """Why the connection has ended; empty while it is there."""

    def send(self, data: bytes) -> None:
        """Send bytes: on UDP, one datagram."""

    async def frame(self, seconds: float) -> bytes | None:
        """The next frame; None if none comes in time, or the connection has ended."""

    def waiting(self) -> bytes | None:
        """The next frame if it is there already."""

    async def close(self) -> None:
        """Close it."""


class _Queue:
    """Frames in order, and the end."""

    def __init__(self) -> None:
        self._frames: deque[bytes] = deque(maxlen=_MOST)
        self._news = asyncio.Event()
        self.ended = ""

    def put(self, frame: bytes) -> None:
        self._frames.append(frame)
        self._news.set()

    def end(self, why: str) -> None:
        self.ended = self.ended or why
        self._news.set()

    def waiting(self) -> bytes | None:
        return self._frames.popleft() if self._frames else None

    async def frame(self, seconds: float) -> bytes | None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not self._frames and not self.ended:
                    self._news.clear()
                    await self._news.wait()
        return self.waiting()


def _local(transport: asyncio.BaseTransport) -> Address:
    host, port = transport.get_extra_info("sockname")[:2]
    return Address.parse(str(host).partition("%")[0], port)


class DatagramPipe(_Queue, asyncio.DatagramProtocol):
    """A connected UDP socket."""

    reliable = False
    local: Address
    sock: socket.socket

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        self._transport = cast(asyncio.DatagramTransport, transport)
        self.local = _local(transport)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        """Called by asyncio."""
        self.put(data)

    def error_received(self, exc: Exception) -> None:
        """Called by asyncio for ICMP errors; a silence tells as much."""

    def send(self, data: bytes) -> None:
        """Send one datagram."""
        # Not by the transport: in Python 3.11 it sends no empty datagrams.
        with suppress(OSError):
            self.sock.send(data)

    async def close(self) -> None:
        """Close the socket."""
        self._transport.close()


class StreamPipe(_Queue, asyncio.Protocol):
    """A TCP or TLS connection; after the answer that `raw_after` names, bytes instead of frames."""

    reliable = True
    local: Address

    def __init__(self) -> None:
        super().__init__()
        self._framer: StreamFramer | None = StreamFramer()
        self._last: bytes | None = None
        self._lost = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        self._transport = cast(asyncio.Transport, transport)
        self.local = _local(transport)

    @property
    def tls(self) -> Any:
        """What TLS has agreed upon (an ``SSLObject``); None without TLS."""
        return self._transport.get_extra_info("ssl_object")

    def data_received(self, data: bytes) -> None:
        """Called by asyncio."""
        if self._framer is None:
            self.put(data)
            return
        self._framer.push(data)
        try:
            while (frame := self._framer.pop()) is not None:
                self.put(frame)
                if self._last is not None and frame[8:20] == self._last and frame[:1] == b"\x01":
                    rest, self._framer = self._framer.rest(), None
                    if rest:
                        self.put(rest)
                    return
        except MalformedMessage:
            self.end("it sent what is neither STUN nor ChannelData")
            self._transport.abort()

    def eof_received(self) -> bool:
        """Called by asyncio when the server sends no more."""
        self.end("it closed the connection")
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by asyncio."""
        self.end("it closed the connection")
        if not self._lost.done():
            self._lost.set_result(None)

    def raw_after(self, transaction_id: bytes) -> None:
        """Behind the success response to this request there are no frames, only bytes (RFC 6062 §4.3)."""
        self._last = transaction_id

    def send(self, data: bytes) -> None:
        """Send bytes."""
        if not self._transport.is_closing():
            self._transport.write(data)

    async def close(self) -> None:
        """Close the connection; abort it if that takes long."""
        self._transport.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSING):
                await asyncio.shield(self._lost)
        self._transport.abort()


class DtlsPipe(_Queue):
    """An association over UDP (RFC 7350); see `turnserver.turnclient.links.LinkReceiver`."""

    reliable = False

    def __init__(self, link: "DtlsLink") -> None:
        super().__init__()
        self.local = link.source
        self._link = link
        link.start(self)

    def frame_received(self, frame: bytes) -> None:
        """Called by the link."""
        self.put(frame)

    def link_troubled(self, error: ServerUnreachable) -> None:
        """Called by the link for ICMP errors; a silence tells as much."""

    def link_ended(self, error: ServerUnreachable) -> None:
        """Called by the link when the association has ended."""
        self.end("it ended the association")

    def send(self, data: bytes) -> None:
        """Send one record in a datagram."""
        self._link.send(data)

    async def close(self) -> None:
        """End the association."""
        await self._link.close()


async def _open_dtls(target: Subject) -> Pipe:
    from turnserver.turnclient.dtls import open_association  # noqa: PLC0415  few need OpenSSL

    link, shown = await open_association(target.uri.host, target.address, target.trust.context())
    if shown.distrust is not None and not target.trust.insecure:
        await link.close()
        raise ServerUnreachable(f"The server's certificate is not trusted: {shown.distrust.words}.")
    return DtlsPipe(link)


async def _open_datagrams(target: Subject) -> Pipe:
    family = socket.AF_INET if target.address.family is AddressFamily.IPV4 else socket.AF_INET6
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        sock.connect((target.address.host, target.address.port))
        _, pipe = await asyncio.get_running_loop().create_datagram_endpoint(DatagramPipe, sock=sock)
    except BaseException:
        sock.close()
        raise
    pipe.sock = sock
    return pipe


async def _open_stream(target: Subject) -> Pipe:
    sock = await connect_stream(target.address)
    loop = asyncio.get_running_loop()
    if not target.uri.secure:
        return (await loop.create_connection(StreamPipe, sock=sock))[1]
    try:
        context = target.trust.context(verify=not target.trust.insecure, alpn=ALPN_TURN)
        host = target.uri.host
        return (await loop.create_connection(StreamPipe, sock=sock, ssl=context, server_hostname=host))[1]
    except BaseException:
        sock.close()
        raise


TRANSPORTS: Final[Mapping[str, Callable[[Subject], Awaitable[Pipe]]]] = MappingProxyType(
    {"udp": _open_datagrams, "tcp": _open_stream, "tls": _open_stream, "dtls": _open_dtls}
)
"""How to open a connection, by `stun.uri.StunUri.protocol`; raises OSError or `stun.client.errors.ClientError`."""
