"""How a probe's frames reach the server: the seam, and a connected UDP socket. Streams are in `cli.probe.stream`."""

import asyncio
from collections.abc import Sequence
from typing import Protocol, cast

from cli.probe.report import Step
from cli.probe.security import TlsFacts
from stun.address import Address

__all__ = ["Link", "LinkError", "UdpLink", "open_udp", "unreachable"]

_QUEUE = 256
"""Frames kept while the probe is busy; more is a flood, and the newest are dropped."""


class LinkError(Exception):
    """The way to the server is broken; the message is one sentence, ``hint`` what to do about it.

    ``step`` is what failed; what had been found out by then is in ``opened`` (the steps before it) and ``tls``.
    """

    def __init__(
        self,
        sentence: str,
        hint: str = "",
        *,
        step: str = "connect",
        opened: Sequence[Step] = (),
        tls: TlsFacts | None = None,
    ) -> None:
        self.hint = hint
        self.step = step
        self.opened = tuple(opened)
        self.tls = tls
        super().__init__(sentence)


class Link(Protocol):
    """Whole frames to and from one server."""

    reliable: bool
    """True for streams: no retransmission, and ChannelData is padded."""
    opened: Sequence[Step]
    """How opening it went: a step for the connection, one for TLS; none for UDP, which has nothing to open."""
    tls: TlsFacts | None
    """What the TLS handshake showed; None without TLS."""

    def send(self, frame: bytes) -> None:
        """Send one whole frame."""

    async def receive(self) -> bytes:
        """The next whole frame. Raises `LinkError` when there will be none."""

    async def close(self) -> None:
        """Close the socket."""


class UdpLink(asyncio.DatagramProtocol):
    """A connected UDP socket, so that the kernel tells of closed ports and drops what others send."""

    reliable = False
    opened: Sequence[Step] = ()
    tls: TlsFacts | None = None

    def __init__(self) -> None:
        self._frames: asyncio.Queue[bytes | Exception] = asyncio.Queue(_QUEUE)
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio once the socket is there."""
        # Not asserted: the selector loop's transport is a DatagramTransport in all but its base class (Python 3.11).
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: object) -> None:
        """Called by asyncio for each datagram from the server."""
        if not self._frames.full():
            self._frames.put_nowait(data)

    def error_received(self, exc: Exception) -> None:
        """Called by asyncio for an ICMP error, or when a datagram could not be sent."""
        if not self._frames.full():
            self._frames.put_nowait(exc)

    def send(self, frame: bytes) -> None:
        """Send one datagram."""
        if self._transport is not None:
            self._transport.sendto(frame)

    async def receive(self) -> bytes:
        """The next datagram. Raises `LinkError` for what the kernel reports about the server's address."""
        frame = await self._frames.get()
        if isinstance(frame, Exception):
            raise unreachable(frame) from frame
        return frame

    async def close(self) -> None:
        """Close the socket."""
        if self._transport is not None:
            self._transport.close()


def unreachable(error: Exception) -> LinkError:
    """What the kernel says about a server that cannot be reached, as a sentence and a hint."""
    if isinstance(error, ConnectionRefusedError):
        return LinkError(
            "Nothing listens there: the host answered that the port is closed.",
            "Check the port, and that the server is running and listens on this address.",
        )
    reason = getattr(error, "strerror", None) or type(error).__name__
    return LinkError(f"The server cannot be reached: {reason}.", "Check the address and this machine's routes.")


async def open_udp(address: Address) -> Link:
    """Open a way to ``address``. Raises `LinkError` when there is no route."""
    loop = asyncio.get_running_loop()
    try:
        _, link = await loop.create_datagram_endpoint(UdpLink, remote_addr=(address.host, address.port))
    except OSError as error:
        raise unreachable(error) from error
    return link
