"""A probe's own socket, which is a peer outside of the server: its datagrams take the way that other peers' take.

Two relays of one server meet inside it, so that an echo between them does not show what a firewall in front of the
relay ports, or a wrong public address, does to everybody else.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol, cast

from stun.address import Address

__all__ = ["OpenOutside", "Outside", "open_outside"]

_MAX_INCOMING: Final = 64


class Outside(Protocol):
    """A UDP socket of this machine towards one relayed address."""

    @property
    def source(self) -> Address:
        """Its own address and port."""

    @property
    def refused(self) -> int:
        """How often an ICMP error has said that the port is closed."""

    def send(self, data: bytes) -> None:
        """Send one datagram to the relayed address; errors are ignored, or show in ``refused``."""

    async def incoming(self, seconds: float) -> bytes | None:
        """The next datagram from the relayed address; None if none comes in time, or the port is said to be closed."""

    async def close(self) -> None:
        """Close it."""


OpenOutside = Callable[[Address], Awaitable[Outside]]
"""Opens a socket towards a relayed address. Raises `OSError` without a route there."""


class _Socket(asyncio.DatagramProtocol):
    """Connected, so that the system reports closed ports and drops packets from elsewhere."""

    def __init__(self) -> None:
        self.refused = 0
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue(_MAX_INCOMING)
        self._transport: asyncio.DatagramTransport | None = None

    @property
    def source(self) -> Address:
        assert self._transport is not None
        host, port = self._transport.get_extra_info("sockname")[:2]
        return Address.parse(str(host).partition("%")[0], port)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not checked: the selector loop's transport is a DatagramTransport in all but its base class (Python 3.11).
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self._put(data)

    def error_received(self, exc: Exception) -> None:
        if isinstance(exc, ConnectionRefusedError):
            self.refused += 1
            self._put(None)

    def send(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.sendto(data)

    async def incoming(self, seconds: float) -> bytes | None:
        try:
            async with asyncio.timeout(seconds):
                return await self._queue.get()
        except TimeoutError:
            return None

    async def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def _put(self, data: bytes | None) -> None:
        if not self._queue.full():
            self._queue.put_nowait(data)


async def open_outside(relayed: Address) -> Outside:
    """A socket towards a relayed address. Raises `OSError` without a route there."""
    loop = asyncio.get_running_loop()
    _, protocol = await loop.create_datagram_endpoint(_Socket, remote_addr=(relayed.host, relayed.port))
    return protocol
