"""The probe's own socket, on loopback."""

import asyncio
import socket

import pytest

from cli.probe.outside import open_outside
from stun.address import Address


async def test_there_and_back() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as relay:
        relay.bind(("127.0.0.1", 0))
        relay.setblocking(False)
        outside = await open_outside(Address.parse(*relay.getsockname()))
        outside.send(b"hello")
        data, sender = await asyncio.get_running_loop().sock_recvfrom(relay, 100)
        assert (data, Address.parse(*sender)) == (b"hello", outside.source)
        relay.sendto(b"and back", sender)
        assert await outside.incoming(30) == b"and back"
        assert await outside.incoming(0.01) is None
        assert outside.refused == 0
        await outside.close()


async def test_a_closed_port_is_told_at_once() -> None:
    """ICMP ends the wait, however long it may be."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as gone:
        gone.bind(("127.0.0.1", 0))
        address = Address.parse(*gone.getsockname())
    outside = await open_outside(address)
    outside.send(b"hello")
    async with asyncio.timeout(30):
        assert await outside.incoming(600) is None
    assert outside.refused == 1
    await outside.close()


async def test_no_way_there() -> None:
    with pytest.raises(OSError, match=r"."):
        await open_outside(Address.parse("255.255.255.255", 9))
