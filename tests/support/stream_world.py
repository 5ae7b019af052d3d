"""A stream listener on loopback with a clock that the test turns, a sink that remembers, and clients driven by hand."""

import asyncio
import contextlib
import logging
import ssl
import struct
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from ipaddress import IPv4Network, IPv6Network
from typing import Any

from stun.address import Address
from stun.constants import MAGIC_COOKIE
from tests.support.certificates import client_context
from tests.support.clock import Clock
from tests.support.limits import limits
from tests.support.tcp_pair import Peer, eventually
from turnserver.core.types import ClientTransport, FiveTuple
from turnserver.proxies import Arrival
from turnserver.streams import ByteStream
from turnserver.transports.base import HttpGateway
from turnserver.transports.certificates import CertificateSource
from turnserver.transports.crossed import Door
from turnserver.transports.limits import ConnectionLimiter
from turnserver.transports.stream import StreamTransport

__all__ = [
    "ANSWER",
    "BINDING",
    "Gateway",
    "RecordingHop",
    "RecordingSink",
    "StreamRig",
    "TlsPeer",
    "captured_log",
    "channel_data",
    "stun",
]

Network = IPv4Network | IPv6Network

TIMEOUT = 90.0


def stun(kind: int = 0x0001, body: bytes = b"", *, number: int = 0) -> bytes:
    """A STUN message that is good enough for a transport: type, length, cookie, transaction id."""
    return struct.pack("!HHIQI", kind, len(body), MAGIC_COOKIE, 0, number) + body


BINDING = stun()
ANSWER = stun(0x0101)


def channel_data(channel: int, payload: bytes) -> bytes:
    """ChannelData as it stands on a stream, padded (RFC 8656 §12.5)."""
    return struct.pack("!HH", channel, len(payload)) + payload + bytes(-len(payload) % 4)


@contextlib.contextmanager
def captured_log(name: str) -> Iterator[list[logging.LogRecord]]:
    """What a logger writes from INFO up, whatever else has configured logging."""
    records: list[logging.LogRecord] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record)

    handler, logger = Keep(), logging.getLogger(name)
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield records
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


class RecordingSink:
    """Stands for the engine. ``on_frame`` may do what the engine would do then."""

    def __init__(self) -> None:
        self.frames: list[tuple[FiveTuple, bytes]] = []
        self.gone: list[FiveTuple] = []
        self.faults: list[str] = []
        self.on_frame: Any = None

    def fault(self, part: str, error: BaseException, client: FiveTuple | None = None) -> None:
        self.faults.append(f"{part}: {type(error).__name__}")

    def client_frame(self, client: FiveTuple, frame: bytes) -> None:
        self.frames.append((client, frame))
        if self.on_frame is not None:
            self.on_frame(client, frame)

    def client_gone(self, client: FiveTuple) -> None:
        self.gone.append(client)

    @property
    def bodies(self) -> list[bytes]:
        """The frames without their senders."""
        return [frame for _, frame in self.frames]


class RecordingHop:
    """Stands for a channel's way to its peer; ``runs`` are the sizes of the runs it came in."""

    def __init__(self, expires: float = 1e9) -> None:
        self.expires = expires
        self.payloads: list[bytes] = []
        self.runs: list[int] = []

    def send(self, data: bytes | memoryview, tos: int = 0) -> bool:
        self.payloads.append(bytes(data))
        self.runs.append(1)
        return True

    def send_run(self, datagrams: Sequence[bytes | memoryview], tos: int = 0) -> bool:
        self.payloads += map(bytes, datagrams)
        self.runs.append(len(datagrams))
        return True


class Gateway:
    """Stands for the HTTP server: remembers what it is given."""

    def __init__(self) -> None:
        self.accepted: list[tuple[ByteStream, bytes, Address, bool]] = []
        self.arrivals: list[Arrival] = []

    def accept(self, stream: ByteStream, first: bytes, arrival: Arrival) -> None:
        self.accepted.append((stream, first, arrival.client, arrival.secure))
        self.arrivals.append(arrival)


class TlsPeer:
    """A client's end under TLS, over a `Peer`; every wait is bounded."""

    def __init__(self, peer: Peer, context: ssl.SSLContext | None = None) -> None:
        self.peer = peer
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self.tls = (context or client_context()).wrap_bio(self._incoming, self._outgoing, server_hostname="localhost")

    async def handshake(self) -> "TlsPeer":
        """Go through with it. Raises `ssl.SSLError` when the server refuses."""
        await self._run(self.tls.do_handshake)
        return self

    async def hello(self) -> bytes:
        """The ClientHello, not sent."""
        with contextlib.suppress(ssl.SSLWantReadError):
            self.tls.do_handshake()
        return self._outgoing.read()

    async def send(self, data: bytes) -> None:
        """Send all of it, in as few records as it takes."""
        await self.peer.send(self.records(data))

    def records(self, data: bytes) -> bytes:
        """``data`` as records, not sent."""
        self.tls.write(data)
        return self._outgoing.read()

    async def read(self, size: int) -> bytes:
        """Exactly ``size`` bytes, or fewer if the stream ends before."""
        data = b""
        while len(data) < size:
            chunk = await self._run(partial(self.tls.read, size - len(data)))
            if not chunk:
                break
            data += chunk
        return data

    async def bye(self) -> None:
        """Send a close_notify."""
        with contextlib.suppress(ssl.SSLError):
            self.tls.unwrap()
        await self.peer.send(self._outgoing.read())

    async def _run(self, step: Any) -> Any:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(TIMEOUT):
            while True:
                try:
                    result = step()
                except ssl.SSLWantReadError:
                    await self._flush()
                    data = await loop.sock_recv(self.peer.sock, 65536)
                    if data:
                        self._incoming.write(data)
                    else:
                        self._incoming.write_eof()
                except ssl.SSLError:
                    with contextlib.suppress(OSError):
                        await self._flush()  # the alert that says why
                    raise
                else:
                    await self._flush()
                    return result

    async def _flush(self) -> None:
        if self._outgoing.pending:
            await self.peer.send(self._outgoing.read())


class StreamRig:
    """One started listener; an asynchronous context manager that leaves nothing open."""

    def __init__(
        self,
        *,
        tls: CertificateSource | None = None,
        auto: bool = False,
        doors: Callable[[], Sequence[Door]] = tuple,
        http: HttpGateway | None = None,
        host: str = "127.0.0.1",
        limiter: ConnectionLimiter | None = None,
        proxies: Sequence[Network] = (),
        header_required: bool = False,
        **options: Any,
    ) -> None:
        found = limits(**options)
        self.clock = Clock()
        self.sink = RecordingSink()
        self.limiter = limiter or ConnectionLimiter(found)
        self.transport = StreamTransport(
            7,
            Address.parse(host, 0),
            kind=ClientTransport.TCP if tls is None else ClientTransport.TLS,
            also=(ClientTransport.TCP,) if auto else (),
            limits=found,
            tls=tls,
            http=http,
            limiter=self.limiter,
            proxies=proxies,
            doors=doors,
            header_required=header_required,
            clock=self.clock,
        )
        self._peers: list[Peer] = []

    async def __aenter__(self) -> "StreamRig":
        self.transport.bind()
        self.transport.serve(self.sink)
        return self

    async def __aexit__(self, *_: object) -> None:
        for peer in self._peers:
            peer.close()
        self.transport.close()
        if self.transport.tls is not None:
            self.transport.tls.close()

    async def connect(self, source: Address | None = None) -> Peer:
        """A client's bare connection."""
        peer = await Peer.to(self.transport.address, source)
        self._peers.append(peer)
        return peer

    async def connect_tls(self, context: ssl.SSLContext | None = None) -> TlsPeer:
        """A client's connection after its TLS handshake."""
        return await TlsPeer(await self.connect(), context).handshake()

    async def client(self) -> tuple[Peer, FiveTuple]:
        """A client that has sent one whole message, and who it is to the server."""
        peer = await self.connect()
        return peer, await self.introduce(peer)

    async def introduce(self, peer: Peer | TlsPeer) -> FiveTuple:
        """Have a client send a first message; who it is to the server."""
        known = len(self.sink.frames)
        await peer.send(BINDING)
        await eventually(lambda: len(self.sink.frames) > known)
        return self.sink.frames[known][0]

    def pass_time(self, seconds: float) -> None:
        """Turn the clock, and have the transport look at it."""
        self.clock.now += seconds
        self.transport.sweep()
