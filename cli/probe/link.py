"""How a probe's frames reach the server: a connected UDP socket.

Streams will be another `Link`, made by `open_link`; nothing else has to change for them.
"""

import asyncio
from typing import Protocol, cast

from stun.address import Address

__all__ = ["Link", "LinkError", "UdpLink", "Unsupported", "open_link"]

_QUEUE = 256
"""Frames kept while the probe is busy; more is a flood, and the newest are dropped."""


class LinkError(Exception):
    """The way to the server is broken; the message is one sentence, ``hint`` what to do about it."""

    def __init__(self, sentence: str, hint: str = "") -> None:
        self.hint = hint
        super().__init__(sentence)


class Unsupported(Exception):
    """This version does not speak the transport; the message is one sentence."""


class Link(Protocol):
    """Whole frames to and from one server."""

    reliable: bool
    """True for streams: no retransmission, and ChannelData is padded."""

    def send(self, frame: bytes) -> None:
        """Send one whole frame."""

    async def receive(self) -> bytes:
        """The next whole frame. Raises `LinkError` when there will be none."""

    def close(self) -> None:
        """Close the socket."""


class UdpLink(asyncio.DatagramProtocol):
    """A connected UDP socket, so that the kernel tells of closed ports and drops what others send."""

    reliable = False

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
            raise _explain(frame) from frame
        return frame

    def close(self) -> None:
        """Close the socket."""
        if self._transport is not None:
            self._transport.close()


def _explain(error: Exception) -> LinkError:
    if isinstance(error, ConnectionRefusedError):
        return LinkError(
            "Nothing listens there: the host answered that the port is closed.",
            "Check the port, and that the server is running and listens on this address.",
        )
    reason = getattr(error, "strerror", None) or type(error).__name__
    return LinkError(f"The server cannot be reached: {reason}.", "Check the address and this machine's routes.")


async def open_link(transport: str, secure: bool, address: Address) -> Link:
    """Open a way to ``address``. Raises `Unsupported` for all but plain UDP, `LinkError` when there is no route."""
    if secure or transport != "udp":
        kind = ("DTLS" if transport == "udp" else "TLS") if secure else transport.upper()
        raise Unsupported(
            f"Probing over {kind} is not supported yet in this version; only turn: and stun: over UDP are."
        )
    loop = asyncio.get_running_loop()
    try:
        _, link = await loop.create_datagram_endpoint(UdpLink, remote_addr=(address.host, address.port))
    except OSError as error:
        raise _explain(error) from error
    return link
