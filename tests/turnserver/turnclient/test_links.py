"""A client's links, on loopback."""

import asyncio
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest

from stun import channeldata
from stun.address import Address
from stun.client.errors import ServerUnreachable
from stun.constants import MessageClass, Method
from stun.message import MessageBuilder
from stun.uri import StunUri
from tests.support.certificates import client_context, issue
from tests.support.handler_server import echo, serving
from turnserver.turnclient.links import Link, LinkBroken, StreamLink, UdpLink, open_tcp, open_tls, open_udp

URI = StunUri.parse("turn:127.0.0.1")
TIMEOUT = 90.0
ANSWER = MessageBuilder(Method.BINDING, MessageClass.SUCCESS, bytes(12)).build()


class Ear:
    """Hears a link."""

    def __init__(self, link: Link) -> None:
        self.heard: asyncio.Queue[Any] = asyncio.Queue()
        link.start(self)

    def frame_received(self, frame: bytes) -> None:
        self.heard.put_nowait(frame)

    def link_troubled(self, error: ServerUnreachable) -> None:
        self.heard.put_nowait(("trouble", error))

    def link_ended(self, error: ServerUnreachable) -> None:
        self.heard.put_nowait(("end", error))

    async def next(self) -> Any:
        async with asyncio.timeout(TIMEOUT):
            return await self.heard.get()


# UDP


async def test_datagrams_go_there_and_back() -> None:
    """RFC 8489 §6.2.1: one frame is one datagram, empty ones included."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(10)
        link = await open_udp(URI, Address.parse(*server.getsockname()))
        ear = Ear(link)
        try:
            link.send(b"there")
            data, client = server.recvfrom(100)
            assert data == b"there"
            server.sendto(b"back", client)
            server.sendto(b"", client)
            assert [await ear.next(), await ear.next()] == [b"back", b""]
            assert (link.reliable, link.buffered) == (False, 0)
        finally:
            await link.close()


async def test_strangers_are_not_heard() -> None:
    """RFC 8489 §6.3: the socket is connected, so that only the server's datagrams come in."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger,
    ):
        server.bind(("127.0.0.1", 0))
        link = await open_udp(URI, Address.parse(*server.getsockname()))
        ear = Ear(link)
        try:
            link.send(b"hello")
            _, client = server.recvfrom(100)
            stranger.sendto(b"stranger", client)
            server.sendto(b"server", client)
            assert await ear.next() == b"server"
        finally:
            await link.close()


async def test_a_closed_port_says_so() -> None:
    """Rule 26: the kernel's ICMP error comes at once and not after a timeout, and the link goes on."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as gone:
        gone.bind(("127.0.0.1", 0))
        address = Address.parse(*gone.getsockname())
    link = await open_udp(URI, address)
    ear = Ear(link)
    try:
        link.send(b"anybody?")
        what, error = await ear.next()
        assert (what, str(error)) == ("trouble", "Nothing listens there: the host answered that the port is closed.")
        assert isinstance(error.__cause__, ConnectionRefusedError)
    finally:
        await link.close()


async def test_no_route_is_one_sentence() -> None:
    """Rule 26: what the kernel refuses at once; a broadcast address takes no datagrams."""
    with pytest.raises(ServerUnreachable, match="The server cannot be reached: "):
        await open_udp(URI, Address.parse("255.255.255.255", 3478))


async def test_who_does_not_listen_hears_nothing() -> None:
    """Rule 22: what comes before the start is dropped, not kept; a link that was never opened sends nothing."""
    link = UdpLink()
    link.datagram_received(b"x", None)
    link.send(b"x")
    await link.close()
    stream = StreamLink()
    stream.send(b"x")
    stream.data_received(ANSWER)
    assert (link.buffered, stream.buffered) == (0, 0)
    await stream.close()


# Streams


async def test_frames_go_there_and_back_whole() -> None:
    """RFC 8656 §12.5: a stream is cut into messages wherever it was chopped up, and padding is not part of them."""
    sent = [ANSWER, channeldata.encode_padded(0x4001, b"abcde"), ANSWER]

    async def one_byte_at_a_time(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for byte in await reader.readexactly(sum(map(len, sent))):
            writer.write(bytes([byte]))
            await writer.drain()

    async with serving(one_byte_at_a_time) as address:
        link = await open_tcp(URI, address)
        ear = Ear(link)
        for frame in sent:
            link.send(frame)
        assert [await ear.next() for _ in sent] == [ANSWER, channeldata.encode(0x4001, b"abcde"), ANSWER]
        what, error = await ear.next()
        assert (what, str(error)) == ("end", "The server closed the connection.")
        assert isinstance(error, LinkBroken)
        assert (error.nonsense, error.answered, error.__cause__) == (b"", True, None)
        link.send(b"nobody there")
        await link.close()


@pytest.mark.parametrize("said", [b"HTTP/1.1 400 Bad Request\r\n", b"\x15\x03\x03\0\2\2\x28", b"\x40\0\0\0", b"\xff"])
async def test_what_else_may_listen_there(said: bytes) -> None:
    """RFC 8656 §12: before the first answer nothing is bound, so ChannelData is no better than anything else."""

    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        await reader.read()

    async with serving(say) as address:
        link = await open_tcp(URI, address)
        what, error = await Ear(link).next()
        assert (what, str(error)) == ("end", "What the server sends is neither STUN nor ChannelData.")
        assert (error.nonsense, error.answered) == (said, False)
        await link.close()


async def test_who_comes_late_hears_that_it_is_over() -> None:
    async def leave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pass

    async with serving(leave) as address:
        link = await open_tcp(URI, address)
        assert isinstance(link, StreamLink)
        async with asyncio.timeout(TIMEOUT):
            await link._lost
        what, _ = await Ear(link).next()
        assert what == "end"


async def test_closing_is_no_news() -> None:
    async with serving(echo) as address:
        link = await open_tcp(URI, address)
        ear = Ear(link)
        link.send(ANSWER)
        assert await ear.next() == ANSWER
        await link.close()
        await link.close()
        assert ear.heard.empty()


@pytest.mark.parametrize("opening", [open_tcp, open_tls])
async def test_nobody_takes_the_connection(opening: Any) -> None:
    async with serving(echo) as address:
        pass
    with pytest.raises(ServerUnreachable, match="Nothing listens there"):
        await opening(URI, address)


async def test_certificates_are_checked(tmp_path: Path) -> None:
    """RFC 8489 §6.2.3: against the host of the URI, and against the system's roots unless others are given."""
    good = issue(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(good.certificate, good.key)
    trust = client_context(good)
    async with serving(echo, context) as address:
        link = await open_tls(StunUri.parse("turns:127.0.0.1"), address, trust)
        ear = Ear(link)
        link.send(ANSWER)
        assert await ear.next() == ANSWER
        await link.close()
        with pytest.raises(ServerUnreachable):
            await open_tls(StunUri.parse("turns:turn.example.org"), address, trust)
        with pytest.raises(ServerUnreachable):
            await open_tls(StunUri.parse("turns:127.0.0.1"), address)
