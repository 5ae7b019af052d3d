"""The probe's UDP link, on loopback."""

import socket

import pytest

from cli.probe.link import LinkError, open_udp
from stun.address import Address


async def test_datagrams_go_there_and_back() -> None:
    """RFC 8489 §6.2.1: one frame is one datagram, empty ones included."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(10)
        link = await open_udp(Address.parse(*server.getsockname()))
        try:
            link.send(b"there")
            data, client = server.recvfrom(100)
            assert data == b"there"
            server.sendto(b"back", client)
            server.sendto(b"", client)
            assert [await link.receive(), await link.receive()] == [b"back", b""]
        finally:
            await link.close()


async def test_strangers_are_not_heard() -> None:
    """RFC 8489 §6.3: the socket is connected, so that only the server's datagrams come in."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger,
    ):
        server.bind(("127.0.0.1", 0))
        link = await open_udp(Address.parse(*server.getsockname()))
        try:
            link.send(b"hello")
            _, client = server.recvfrom(100)
            stranger.sendto(b"stranger", client)
            server.sendto(b"server", client)
            assert await link.receive() == b"server"
        finally:
            await link.close()


async def test_a_closed_port_says_so() -> None:
    """Rule 26: the kernel's ICMP error is a sentence and a hint, at once and not after a timeout."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as gone:
        gone.bind(("127.0.0.1", 0))
        address = Address.parse(*gone.getsockname())
    link = await open_udp(address)
    try:
        link.send(b"anybody?")
        with pytest.raises(LinkError, match="Nothing listens there") as caught:
            await link.receive()
        assert "port" in caught.value.hint
    finally:
        await link.close()


async def test_a_flood_is_bounded() -> None:
    """Rule 22: what nobody takes is dropped, not kept."""
    from cli.probe.link import UdpLink

    link = UdpLink()
    for number in range(1000):
        link.datagram_received(b"%d" % number, None)
    assert await link.receive() == b"0"
    assert link._frames.qsize() == 255


async def test_no_route_is_one_sentence() -> None:
    """Rule 26: what the kernel refuses at once is a sentence too; a broadcast address takes no datagrams."""
    with pytest.raises(LinkError, match="The server cannot be reached: ") as caught:
        await open_udp(Address.parse("255.255.255.255", 3478))
    assert "routes" in caught.value.hint
