"""Numbered sockets, over UDP and TCP."""

import asyncio
import socket
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from cli.nat.sockets import NatSockets, TcpSockets, UdpSockets, mtu_towards, own_address
from stun.address import Address
from stun.constants import MessageClass, Method
from stun.message import MessageBuilder
from tests.support.server import has_ipv6_loopback
from turnserver.errors import StartupError

LOOPBACK = Address.parse("127.0.0.1", 0)
REQUEST = MessageBuilder(Method.BINDING, MessageClass.REQUEST, b"x" * 12).build()


class Events:
    """Keeps what is reported."""

    def __init__(self) -> None:
        self.heard: asyncio.Queue[tuple[int, Address, bytes]] = asyncio.Queue()
        self.failures: asyncio.Queue[tuple[int, Address, str]] = asyncio.Queue()

    def received(self, number: int, source: Address, data: bytes) -> None:
        self.heard.put_nowait((number, source, data))

    def failed(self, number: int, to: Address, why: str) -> None:
        self.failures.put_nowait((number, to, why))


def run(kind: type[Any], work: Callable[[Any, Events], Awaitable[None]], host: Address = LOOPBACK) -> None:
    async def whole() -> None:
        events = Events()
        sockets: NatSockets = kind(host, events)
        try:
            async with asyncio.timeout(60):
                await work(sockets, events)
        finally:
            await sockets.close()

    asyncio.run(whole())


@pytest.mark.parametrize("kind", [UdpSockets, TcpSockets])
def test_one_socket_sends_to_another(kind: type[Any]) -> None:
    """What hairpinning needs: a request arrives at the socket whose address it was sent to, and says from where."""

    async def work(sockets: NatSockets, events: Events) -> None:
        sockets.send(2, sockets.local(1), REQUEST)
        number, source, data = await events.heard.get()
        assert (number, source, data) == (1, sockets.local(2), REQUEST)
        sockets.send(2, sockets.local(1), REQUEST)
        assert (await events.heard.get())[:2] == (1, source)
        assert sockets.local(1) != sockets.local(2)

    run(kind, work)


def test_udp_hears_from_anybody() -> None:
    """RFC 5780 §4.4: sockets are not connected."""

    async def work(sockets: UdpSockets, events: Events) -> None:
        to = sockets.local(5)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            stranger.bind(("127.0.0.9", 0))
            stranger.sendto(b"hello", (to.host, to.port))
            assert await events.heard.get() == (5, Address.parse(*stranger.getsockname()), b"hello")

    run(UdpSockets, work)


def test_udp_that_cannot_be_sent_is_reported() -> None:
    """A datagram that is too long, here."""

    async def work(sockets: UdpSockets, events: Events) -> None:
        sockets.send(1, LOOPBACK._replace(port=9), bytes(70_000))
        assert await events.failures.get() == (1, LOOPBACK._replace(port=9), "it cannot be sent: Message too long")

    run(UdpSockets, work)


def test_tcp_that_ends_is_reported() -> None:
    """A server that closes, and one that is not there."""

    async def work(sockets: TcpSockets, events: Events) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            listening.setblocking(False)
            to = Address.parse(*listening.getsockname())
            sockets.send(1, to, REQUEST)
            accepted, _ = await asyncio.get_running_loop().sock_accept(listening)
            accepted.close()
            assert await events.failures.get() == (1, to, "the server closed the connection")
        sockets.send(2, to, REQUEST)
        assert await events.failures.get() == (2, to, "nothing listens there over TCP")

    run(TcpSockets, work)


@pytest.mark.parametrize(
    ("greeting", "words"),
    [(b"HTTP/1.1 400 Bad Request\r\n\r\n", "a web server"), (b"SSH-2.0-x\r\n", "an SSH server"), (b"\0\0", "")],
    ids=["HTTP", "SSH", "STUN"],
)
def test_tcp_of_another_service_is_reported_as_such(greeting: bytes, words: str) -> None:
    """What it sends and closes after; in the words of ``probe``. Half an answer is no other service."""

    async def work(sockets: TcpSockets, events: Events) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            listening.setblocking(False)
            to = Address.parse(*listening.getsockname())
            sockets.send(1, to, REQUEST)
            accepted, _ = await asyncio.get_running_loop().sock_accept(listening)
            with accepted:
                accepted.sendall(greeting)
            why = f"what it sends is neither STUN nor ChannelData; it seems to be {words}: check the port"
            assert await events.failures.get() == (1, to, why if words else "the server closed the connection")

    run(TcpSockets, work)


def test_tcp_noise_ends_the_connection() -> None:
    """What is not STUN has no frames."""

    async def work(sockets: TcpSockets, events: Events) -> None:
        to = sockets.local(1)
        reader, writer = await asyncio.open_connection(to.host, to.port)
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        assert await reader.read() == b""
        writer.close()
        assert events.heard.empty()

    run(TcpSockets, work)


def test_tcp_takes_only_so_many_connections() -> None:
    """Whoever finds the port may connect."""

    async def work(sockets: TcpSockets, events: Events) -> None:
        to = sockets.local(1)
        kept = [await asyncio.open_connection(to.host, to.port) for _ in range(8)]
        for _, writer in kept:
            writer.write(REQUEST)
            await events.heard.get()
        reader, writer = await asyncio.open_connection(to.host, to.port)
        assert await reader.read() == b""
        for each in (writer, *(writer for _, writer in kept)):
            each.close()

    run(TcpSockets, work)


@pytest.mark.parametrize("kind", [UdpSockets, TcpSockets])
def test_an_address_that_is_not_here(kind: type[Any]) -> None:
    """An error of the machine's, with the address."""

    async def work(sockets: NatSockets, events: Events) -> None:
        with pytest.raises(StartupError, match=r"192\.0\.2\.77"):
            sockets.local(1)

    run(kind, work, Address.parse("192.0.2.77", 0))


def test_own_address_and_mtu(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the system routes; nothing is sent."""
    server = Address.parse("127.0.0.5", 3478)
    found = own_address(server)
    assert found is not None
    assert found.is_loopback
    assert found.port == 0
    assert mtu_towards(server) in (65_535, 65_536)
    monkeypatch.setattr(sys, "platform", "darwin")
    assert mtu_towards(server) == 1500
    assert own_address(Address.parse("255.255.255.255", 1)) is None


@pytest.mark.skipif(not has_ipv6_loopback(), reason="no IPv6 here")
@pytest.mark.parametrize("kind", [UdpSockets, TcpSockets])
def test_ipv6(kind: type[Any]) -> None:
    """The same over IPv6."""

    async def work(sockets: NatSockets, events: Events) -> None:
        sockets.send(2, sockets.local(1), REQUEST)
        assert await events.heard.get() == (1, sockets.local(2), REQUEST)

    run(kind, work, Address.parse("::1", 0))
    assert mtu_towards(Address.parse("::1", 1)) == 65_536
