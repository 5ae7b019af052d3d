"""A DTLS listener on loopback with a clock that the test turns, and clients driven by hand, record by record."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from OpenSSL import SSL

from stun.address import Address
from tests.support.certificates import CertificatePair, issue
from tests.support.clock import Clock
from tests.support.limits import limits
from tests.support.stream_world import RecordingSink
from tests.support.tcp_pair import eventually
from turnserver.core.types import FiveTuple
from turnserver.transports.certificates import CertificateSource
from turnserver.transports.dtls import DtlsTransport
from turnserver.transports.limits import ConnectionLimiter

__all__ = ["DtlsPeer", "DtlsRig", "client_dtls", "records_of", "refragmented", "with_version"]

TIMEOUT = 90.0
HEADER = 13


def client_dtls(protocols: tuple[bytes, ...] = (), ca: Path | None = None) -> SSL.Context:
    """A client's context: any certificate will do, unless ``ca`` says which."""
    context = SSL.Context(SSL.DTLS_CLIENT_METHOD)
    context.set_options(SSL.OP_NO_QUERY_MTU)
    if protocols:
        context.set_alpn_protos(list(protocols))
    if ca is not None:
        context.load_verify_locations(str(ca))
        context.set_verify(SSL.VERIFY_PEER)
    return context


def records_of(data: bytes) -> Iterator[bytes]:
    """The records that stand in a row."""
    while data:
        size = HEADER + int.from_bytes(data[11:13], "big")
        yield data[:size]
        data = data[size:]


def with_version(hello: bytes, version: bytes) -> bytes:
    """A ClientHello that asks for another version."""
    at = HEADER + 12
    return hello[:at] + version + hello[at + 2 :]


def refragmented(hello: bytes, size: int) -> list[bytes]:
    """A ClientHello in fragments of ``size`` bytes, each in a record of its own (RFC 6347 §4.2.3)."""
    head, body = hello[HEADER : HEADER + 6], hello[HEADER + 12 :]
    found = []
    for number, at in enumerate(range(0, len(body), size)):
        part = body[at : at + size]
        message = head + at.to_bytes(3, "big") + len(part).to_bytes(3, "big") + part
        sequence = (int.from_bytes(hello[5:11], "big") + number).to_bytes(6, "big")
        found.append(hello[:5] + sequence + len(message).to_bytes(2, "big") + message)
    return found


class DtlsPeer:
    """A client: OpenSSL on memory, and a UDP socket. Every wait is bounded."""

    def __init__(
        self, server: Address, context: SSL.Context | None = None, *, host: str | None = "localhost", name: str = ""
    ) -> None:
        family = socket.AF_INET if len(server.ip) == 4 else socket.AF_INET6
        self.sock = socket.socket(family, socket.SOCK_DGRAM)
        self.sock.setblocking(False)
        self.sock.bind((name or server.host, 0))
        self.sock.connect((server.host, server.port))
        self.restart(context, host)

    def restart(self, context: SSL.Context | None = None, host: str | None = "localhost") -> None:
        """Forget everything, as a client that has crashed; the socket stays."""
        self.tls = SSL.Connection(context or client_dtls(), None)
        self.tls.set_connect_state()
        self.tls.set_ciphertext_mtu(1200)
        if host is not None:
            self.tls.set_tlsext_host_name(host.encode())
        self.sizes: list[int] = []
        """Of the datagrams that have come."""

    @property
    def address(self) -> Address:
        """The client's own."""
        return Address.parse(*self.sock.getsockname()[:2])

    def records(self) -> list[bytes]:
        """What OpenSSL wants to send."""
        waiting = b""
        try:
            while True:
                waiting += self.tls.bio_read(65536)
        except SSL.WantReadError:
            return list(records_of(waiting))

    def step(self) -> list[bytes]:
        """Go on with the handshake; the records to send, not sent."""
        with contextlib.suppress(SSL.WantReadError):
            self.tls.do_handshake()
        return self.records()

    async def datagram(self) -> bytes:
        """The next datagram."""
        async with asyncio.timeout(TIMEOUT):
            data = await asyncio.get_running_loop().sock_recv(self.sock, 65536)
        self.sizes.append(len(data))
        return data

    async def hello_with_cookie(self) -> bytes:
        """The second ClientHello, not sent."""
        (hello,) = self.step()
        self.sock.send(hello)
        self.tls.bio_write(await self.datagram())
        (hello,) = self.step()
        return hello

    async def handshake(self) -> Self:
        """Go through with it. Raises `SSL.Error` when the server refuses."""
        for record in self.step():
            self.sock.send(record)
        while True:
            self.tls.bio_write(await self.datagram())
            try:
                self.tls.do_handshake()
            except SSL.WantReadError:
                pass
            else:
                return self
            finally:
                for record in self.records():
                    self.sock.send(record)

    def sealed(self, message: bytes) -> bytes:
        """A message as a record, not sent."""
        self.tls.send(message)
        (record,) = self.records()
        return record

    def send(self, *messages: bytes) -> None:
        """Send messages, each in a record and a datagram of its own."""
        for message in messages:
            self.sock.send(self.sealed(message))

    async def receive(self) -> bytes:
        """The next message. Raises `SSL.ZeroReturnError` when the server has closed."""
        while True:
            data = await self.datagram()
            assert len(list(records_of(data))) == 1
            self.tls.bio_write(data)
            try:
                return self.tls.recv(65536)
            except SSL.WantReadError:
                continue

    def bye(self) -> None:
        """Send a close_notify."""
        self.tls.shutdown()
        for record in self.records():
            self.sock.send(record)

    def close(self) -> None:
        """Close the socket."""
        self.sock.close()


class DtlsRig:
    """A listener with its certificate, clock, sink and limits; an async context manager."""

    def __init__(
        self,
        directory: Path,
        host: str = "127.0.0.1",
        *,
        pairs: tuple[CertificatePair, ...] = (),
        limiter: ConnectionLimiter | None = None,
        listener: dict[str, Any] | None = None,
        **changes: Any,
    ) -> None:
        self.clock = Clock()
        self.sink = RecordingSink()
        self.limits = limits(**changes)
        self.limiter = limiter or ConnectionLimiter(self.limits)
        self.pairs = pairs or (issue(directory),)
        self.certificates = CertificateSource([(pair.certificate, pair.key) for pair in self.pairs])
        self.transport = DtlsTransport(
            5,
            Address.parse(host, 0),
            tls=self.certificates,
            limits=self.limits,
            limiter=self.limiter,
            clock=self.clock,
            **(listener or {}),
        )
        self.peers: list[DtlsPeer] = []

    async def __aenter__(self) -> Self:
        self.transport.bind()
        self.transport.serve(self.sink)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.transport.close()
        for peer in self.peers:
            peer.close()

    def peer(self, context: SSL.Context | None = None, *, host: str | None = "localhost", name: str = "") -> DtlsPeer:
        """A client that has not begun."""
        made = DtlsPeer(self.transport.address, context, host=host, name=name)
        self.peers.append(made)
        return made

    async def client(self, frame: bytes, **options: Any) -> tuple[FiveTuple, DtlsPeer]:
        """A client that has sent a frame, and its 5-tuple."""
        peer = await self.peer(**options).handshake()
        return await self.introduce(peer, frame), peer

    async def introduce(self, peer: DtlsPeer, frame: bytes) -> FiveTuple:
        """Have a client send a frame; its 5-tuple."""
        before = len(self.sink.frames)
        peer.send(frame)
        await eventually(lambda: len(self.sink.frames) > before)
        return self.sink.frames[-1][0]

    async def fence(self) -> None:
        """Everything that was sent before has been dealt with: datagrams of one host arrive in order."""
        with socket.socket(self.peers[0].sock.family, socket.SOCK_DGRAM) as sock:
            dropped = self.transport.counters.dropped
            sock.sendto(b"\xff", (self.transport.address.host, self.transport.address.port))
            await eventually(lambda: self.transport.counters.dropped > dropped)
