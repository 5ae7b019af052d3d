"""Peers of the kit's own."""

import asyncio
import socket

import pytest

from cli.conform.findings import FrameLog
from cli.conform.peers import TcpPeer, UdpPeer
from stun.address import Address

LIMIT = 20.0


async def test_datagrams_come_with_their_source() -> None:
    log = FrameLog()
    first, second = await UdpPeer.open("127.0.0.1", log), await UdpPeer.open("127.0.0.1", log)
    for data in (b"", b"abc"):
        first.send(data, second.address)
        assert await second.arrival(LIMIT) == (data, first.address)
    assert await second.arrival(0) is None
    assert [each.way for each in log.exchanges] == ["peer → relay", "peer ← relay"] * 2
    first.close()
    second.close()


async def test_an_address_that_is_not_here() -> None:
    with pytest.raises(OSError, match="assign"):
        await UdpPeer.open("192.0.2.1", FrameLog())


async def test_connections_both_ways() -> None:
    peer, other = await TcpPeer.open("127.0.0.1", FrameLog()), await TcpPeer.open("127.0.0.1", FrameLog())
    reader, writer = await peer.connect(other.address, LIMIT)
    accepted = await other.accepted(LIMIT)
    assert accepted is not None
    assert accepted[1].get_extra_info("peername") == writer.get_extra_info("sockname")
    accepted[1].write(b"abc")
    assert await asyncio.wait_for(reader.readexactly(3), LIMIT) == b"abc"
    assert await other.accepted(0) is None
    other.stop_listening()
    with pytest.raises(ConnectionRefusedError):
        await peer.connect(other.address, LIMIT)
    peer.close()
    other.close()


async def test_the_address_is_that_of_the_socket() -> None:
    peer = await UdpPeer.open("127.0.0.1", FrameLog())
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken, pytest.raises(OSError, match="in use"):
        taken.bind((peer.address.host, peer.address.port))
    assert peer.address == Address.parse("127.0.0.1", peer.address.port)
    peer.close()
