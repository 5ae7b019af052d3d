"""The sockets of the media tier: one UDP port on each address, for all rooms.

Everything else in `turnserver.media` is sans-IO. The edge gives an engine the datagrams that arrive, and sends what the
engine has put on its wire: in batches while it reads a burst, sound before pictures. It keeps one timer, for the
earliest deadline of the engine.
"""

import asyncio
import socket
import time
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from stun.address import Address
from turnserver.errors import StartupError
from turnserver.faults import RAISED
from turnserver.media.connection import Wire
from turnserver.net import UdpSocket, bind_udp, from_sockaddr
from turnserver.receiver import HEADROOM, Receiver, Source, from_source, open_receiver
from turnserver.sender import Outbound, Sender, open_sender

__all__ = ["READ_BURST", "SEND_BURST", "DrivenEngine", "MediaEdge", "bind_media"]

READ_BURST: Final = 64
"""Datagrams read in one turn of the loop, before others have theirs."""

SEND_BURST: Final = 128
"""Datagrams of one system call. Each packet of a burst may go to thirty receivers."""

SEND_EARLY: Final = 32
"""Datagrams that leave before the rest of what was read is looked at: a frame for thirty people takes a millisecond."""

_BUFFER: Final = 4 * 1024 * 1024
"""Bytes asked for, for each direction: a hundred keyframes of thirty kilobytes at once."""

_MOST_SOURCES: Final = 4096
"""Addresses that are remembered in the form in which the engine knows them; then all are forgotten."""

_FAULT_PAUSE: Final = 1.0
"""Seconds in which a socket that cannot be read is left alone."""

_LEAST_WAIT: Final = 0.001
"""Seconds between two looks at the deadlines: paced video has many that are near."""


class DrivenEngine(Protocol):
    """What the edge drives: an engine. Times are monotonic seconds."""

    wire: Wire

    def receive(self, datagram: memoryview, size: int, source: Address, now: float) -> None:
        """Take one datagram, in memory that may be changed, and that is valid until the call returns."""

    def expire(self, now: float) -> None:
        """Do what is due."""

    @property
    def deadline(self) -> float | None:
        """When `expire` has to be called next; None: never."""


def bind_media(addresses: Sequence[Address]) -> list[socket.socket]:
    """Bind the addresses, of which each family has one; port 0 takes a free one.

    Raises `StartupError`, with nothing left open.
    """
    if len({len(address.ip) for address in addresses}) != len(addresses):
        raise ValueError("one address of each family")
    sockets: list[socket.socket] = []
    try:
        for address in addresses:
            sockets.append(bind_udp(address, receive_tos=False, receive_buffer=_BUFFER, send_buffer=_BUFFER))
    except OSError as error:
        for sock in sockets:
            sock.close()
        hint = "Another program may have that port, or this host not that address."
        raise StartupError(f"The media port {address} cannot be used: {error.strerror}.", hint) from error
    return sockets


class _Family:
    """The socket of one address family, with what reads and writes it."""

    def __init__(self, udp: UdpSocket, receiver: Receiver, sender: Sender) -> None:
        self.udp = udp
        self.receiver = receiver
        self.sender = sender
        self.sources: dict[Source, Address] = {}


class MediaEdge:
    """The sockets of one engine, on at most one address of each family; see the module.

    ``fault`` is told of exceptions inside the engine, with the name of a part: each costs what it happened to.
    """

    def __init__(
        self,
        engine: DrivenEngine,
        *,
        fault: Callable[[str, BaseException], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.addresses: tuple[Address, ...] = ()
        """Where the sockets are bound."""
        self._engine = engine
        self._fault = fault
        self._now = clock
        self._families: dict[int, _Family] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0
        self._loop: asyncio.AbstractEventLoop

    @property
    def sockets(self) -> tuple[UdpSocket, ...]:
        """The sockets, which count what they carry and drop."""
        return tuple(family.udp for family in self._families.values())

    def bind(self, addresses: Sequence[Address]) -> None:
        """Bind the addresses as `bind_media` does, and use these sockets. Raises `StartupError`."""
        self.use(bind_media(addresses))

    def use(self, sockets: Sequence[socket.socket]) -> None:
        """Use sockets of `bind_media`, which are the edge's from now on."""
        for sock in sockets:
            receiver, sender = open_receiver(sock.family, READ_BURST), open_sender(sock.family, SEND_BURST)
            self._families[len(from_sockaddr(sock.getsockname()).ip)] = _Family(UdpSocket(sock), receiver, sender)
        self.addresses = tuple(from_sockaddr(family.udp.sock.getsockname()) for family in self._families.values())

    def serve(self) -> None:
        """Begin to read, inside the running loop."""
        self._loop = asyncio.get_running_loop()
        for family in self._families.values():
            self._read(family)
        self.flush()

    def close(self) -> None:
        """Send what waits, and close the sockets."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._send()
        for family in self._families.values():
            if self._is_served():
                self._loop.remove_reader(family.udp.fd)
            family.udp.close()
        self._families.clear()

    def flush(self) -> None:
        """Send what the engine has put on its wire, and look at its deadline: after anything it was asked to do."""
        self._send()
        deadline = self._engine.deadline
        if deadline is None or not self._families or (self._timer is not None and self._due <= deadline):
            return  # a timer that comes too early finds nothing due, and another one follows
        if self._timer is not None:
            self._timer.cancel()
        self._due = deadline
        self._timer = self._loop.call_later(max(_LEAST_WAIT, deadline - self._now()), self._expire)

    def _is_served(self) -> bool:
        return hasattr(self, "_loop")

    def _read(self, family: _Family) -> None:
        if family.udp.fd >= 0:
            self._loop.add_reader(family.udp.fd, self._drain, family)

    def _drain(self, family: _Family) -> None:
        """One turn of the loop. A socket that cannot be read stays readable, so it is paused for a while."""
        try:
            burst = list(family.receiver.burst(family.udp, READ_BURST))
        except RAISED as error:
            self._fault("media.read", error)
            self._loop.remove_reader(family.udp.fd)
            self._loop.call_later(_FAULT_PAUSE, self._read, family)
            return
        now = self._now()
        sources, receive, wire = family.sources, self._engine.receive, self._engine.wire
        for frame, (size,), (source, _) in burst:
            address = sources.get(source)
            if address is None:
                address = self._learn(sources, source)
            try:
                receive(frame[HEADROOM : HEADROOM + size], size, address, now)
            except RAISED as error:
                self._fault("media.receive", error)
            if wire.waiting >= SEND_EARLY:
                self._send()
        self.flush()

    @staticmethod
    def _learn(sources: dict[Source, Address], source: Source) -> Address:
        if len(sources) >= _MOST_SOURCES:
            sources.clear()
        address = sources[source] = from_source(source)
        return address

    def _expire(self) -> None:
        self._timer = None
        try:
            self._engine.expire(self._now())
        except RAISED as error:
            self._fault("media.expire", error)
        self.flush()

    def _send(self) -> None:
        """Send by the family of each destination; what has no socket here is dropped."""
        wire = self._engine.wire
        if wire.outgoing:
            self._send_datagrams(wire.take_outgoing())
        for length, lanes in wire.lanes.items():
            family = self._families.get(length)
            for lane in lanes:
                for batch in lane.drain():
                    if family is not None:
                        family.sender.flush(family.udp, batch)

    def _send_datagrams(self, datagrams: Sequence[Outbound]) -> None:
        sorted_out: dict[int, list[Outbound]] = {}
        for data, destination in datagrams:
            sorted_out.setdefault(len(destination.ip), []).append((data, destination))
        for length, some in sorted_out.items():
            family = self._families.get(length)
            if family is not None:
                family.sender.send(family.udp, some)
