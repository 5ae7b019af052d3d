"""Peers of a tester's own: sockets that a relay sends to and is sent from."""

import asyncio
import socket
from collections import deque
from contextlib import suppress
from typing import Any, Final, cast

from cli.conform.findings import FrameLog
from stun.address import Address

__all__ = ["TcpPeer", "UdpPeer"]

_MOST: Final = 64


class UdpPeer(asyncio.DatagramProtocol):
    """One UDP socket; datagrams of anybody are kept with their source."""

    def __init__(self, journal: FrameLog) -> None:
        self._journal = journal
        self._arrived: deque[tuple[bytes, Address]] = deque(maxlen=_MOST)
        self._news = asyncio.Event()
        self.address: Address
        self._socket: socket.socket

    @classmethod
    async def open(cls, host: str, journal: FrameLog) -> "UdpPeer":
        """A socket at an address of this machine. Raises OSError."""
        sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        try:
            sock.setblocking(False)
            sock.bind((host, 0))
            _, peer = await asyncio.get_running_loop().create_datagram_endpoint(lambda: cls(journal), sock=sock)
        except BaseException:
            sock.close()
            raise
        peer._socket = sock
        return peer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        self._transport = cast(asyncio.DatagramTransport, transport)
        host, port = transport.get_extra_info("sockname")[:2]
        self.address = Address.parse(host, port)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        """Called by asyncio."""
        self._journal.note("peer ← relay", data)
        self._arrived.append((data, Address.parse(str(addr[0]).partition("%")[0], addr[1])))
        self._news.set()

    def error_received(self, exc: Exception) -> None:
        """Called by asyncio for ICMP errors."""

    def send(self, data: bytes, relay: Address) -> None:
        """Send one datagram to a relayed address."""
        self._journal.note("peer → relay", data)
        # Not by the transport: in Python 3.11 it sends no empty datagrams.
        with suppress(OSError):
            self._socket.sendto(data, (relay.host, relay.port))

    async def arrival(self, seconds: float) -> tuple[bytes, Address] | None:
        """The next datagram and where it came from; None if none comes in time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not self._arrived:
                    self._news.clear()
                    await self._news.wait()
        return self._arrived.popleft() if self._arrived else None

    def close(self) -> None:
        """Close the socket."""
        self._transport.close()


class TcpPeer:
    """A listener that a relay connects to, and connections of its own to a relay (RFC 6062)."""

    def __init__(self, journal: FrameLog) -> None:
        self._journal = journal
        self._accepted: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
        self._writers: list[asyncio.StreamWriter] = []
        self._server: asyncio.Server | None = None
        self.address: Address

    @classmethod
    async def open(cls, host: str, journal: FrameLog) -> "TcpPeer":
        """A listener at an address of this machine. Raises OSError."""
        peer = cls(journal)
        peer._server = await asyncio.start_server(peer._connected, host, 0)
        found, port = peer._server.sockets[0].getsockname()[:2]
        peer.address = Address.parse(found, port)
        return peer

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        self._accepted.put_nowait((reader, writer))

    async def accepted(self, seconds: float) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        """The next connection of the relay; None if none comes in time."""
        try:
            async with asyncio.timeout(seconds):
                return await self._accepted.get()
        except TimeoutError:
            return None

    async def connect(self, relay: Address, seconds: float) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect from this peer's address (another port) to a relay. Raises OSError, also when it takes too long."""
        async with asyncio.timeout(seconds):
            reader, writer = await asyncio.open_connection(relay.host, relay.port, local_addr=(self.address.host, 0))
        self._writers.append(writer)
        return reader, writer

    def stop_listening(self) -> None:
        """Close the listener: further connections are refused."""
        if self._server is not None:
            self._server.close()

    def close(self) -> None:
        """Close the listener and every connection."""
        self.stop_listening()
        for writer in self._writers:
            writer.close()
