"""The SFU of the server: joins the rooms of signaling with media engines and their sockets.

Of rooms, it decides nothing but which engine has them. Engines run in child processes (`turnserver.sfu_hosts`), so that
a crash costs their rooms new connections, and TURN nothing; or one runs in the server's own loop. A room stays with the
engine that had least to do when it began. Nothing is opened until a room needs it. The sockets are on the addresses
that the server relays from, and clients are told the public ones in their place. When these change, new connections and
ICE restarts name the new ones; clients that reach the SFU through a relay of ours by a former one go on to.
Reports are handed over in another turn of the loop: rooms do not want them from inside of their own calls.
"""

import asyncio
import os
import secrets
import socket
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal, Protocol

from stun.address import Address
from turnserver.core.settings import MediaSocket, OwnAddresses
from turnserver.core.types import PortRange
from turnserver.errors import StartupError
from turnserver.faults import Faults
from turnserver.media.edge import bind_media
from turnserver.media.facts import (
    AnswerReady,
    LayersWanted,
    MediaFact,
    OfferReady,
    RecordingBegan,
    RecordingEnded,
    RoomLost,
    SideConnected,
    SideFailed,
    SpeakerChanged,
)
from turnserver.media.stats import MediaRoomView
from turnserver.net import from_sockaddr
from turnserver.recordings.owner import RecordingOptions
from turnserver.sfu_hosts import ChildHost, LoopHost, SfuHost
from turnserver.signaling.protocol.fields import MediaSource
from turnserver.signaling.rooms.media_port import (
    MediaEvent,
    SfuAnswered,
    SfuConnected,
    SfuFailed,
    SfuGone,
    SfuLayers,
    SfuOffered,
    SfuRecorded,
    SfuSpeaker,
    SfuUnrecorded,
    Tile,
)
from turnserver.supervisor import ChildTiming

__all__ = ["MediaSection", "Sfu", "processes_of"]

PORTS_TRIED: Final = 20
"""Ports of the range that are tried. Of 16,384, most are free even on a busy relay."""

MOST_FORMER: Final = 4
"""Former public addresses of a socket that stay known. A call seldom lasts through more changes."""

_EVENTS: Final[Mapping[type[MediaFact], Callable[..., MediaEvent]]] = {
    AnswerReady: SfuAnswered,
    OfferReady: SfuOffered,
    SideConnected: SfuConnected,
    SideFailed: SfuFailed,
    SpeakerChanged: SfuSpeaker,
    LayersWanted: SfuLayers,
    RecordingBegan: SfuRecorded,
    RecordingEnded: SfuUnrecorded,
    RoomLost: SfuGone,
}
"""What the rooms call the facts of an engine; both have the same fields."""


class MediaSection(Protocol):
    """What is read of the configuration's ``media``."""

    @property
    def port(self) -> int:
        """The UDP port of the first engine; 0 for any of the relays' range."""

    @property
    def processes(self) -> int | Literal["auto"]:
        """Child processes at most; 0 for none, with the engine in the server's own loop."""

    @property
    def recordings(self) -> Path | None:
        """Where recordings are kept; None if there are none."""

    @property
    def recordings_size(self) -> int:
        """MiB of a recording at most."""

    @property
    def recordings_reserve(self) -> int:
        """MiB that are left free on the disk of recordings."""


def processes_of(media: MediaSection) -> int:
    """How many child processes there are at most. ``auto`` leaves one core to the server, and a given port alone."""
    if media.processes != "auto":
        return min(media.processes, 65536 - media.port)
    return 1 if media.port else max(1, _cores() - 1)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Pin:
    """A room and where it is; ``peers`` are those who are in it."""

    def __init__(self, host: SfuHost, epoch: int) -> None:
        self.host = host
        self.epoch = epoch
        self.peers: set[str] = set()


class Sfu:
    """`turnserver.signaling.rooms.media_port.MediaPort` by engines in child processes, or by one in this process.

    ``own`` gives the server's addresses, and ``ports`` are those of its relays. ``report`` gets what rooms are told.
    ``changed`` is told of its sockets whenever they are others, before one is closed. ``clock`` is monotonic seconds.
    ``timing`` is that of the supervision of processes.
    """

    def __init__(
        self,
        media: MediaSection,
        ports: PortRange,
        own: Callable[[], OwnAddresses],
        *,
        report: Callable[[MediaEvent], None],
        changed: Callable[[tuple[MediaSocket, ...]], None],
        faults: Faults,
        clock: Callable[[], float],
        timing: ChildTiming | None = None,
    ) -> None:
        self._media = media
        self._ports = ports
        self._own = own
        self._report = report
        self._changed = changed
        self._faults = faults
        self._now = clock
        self._timing = timing
        self._recordings = RecordingOptions(
            media.recordings, media.recordings_size << 20, media.recordings_reserve << 20
        )
        self._hosts: dict[int, SfuHost] = {}
        self._former: dict[Address, tuple[Address, ...]] = {}
        """By where a socket is bound: what clients have been told before, the latest first."""
        self._ending: list[SfuHost] = []
        self._pins: dict[str, _Pin] = {}
        self._facts: deque[MediaFact] = deque()
        self._telling: asyncio.Handle | None = None

    @property
    def sockets(self) -> tuple[MediaSocket, ...]:
        """Where its sockets are bound, and where clients send media to; none before the first room.

        One that has had other public addresses is there with each of the latest of these, too.
        """
        current = self._current
        former = [MediaSocket(each.bound, public) for each in current for public in self._former.get(each.bound, ())]
        return (*current, *former)

    @property
    def addresses(self) -> tuple[Address, ...]:
        """Where clients send media to; none before the first room."""
        return tuple(each.public for each in self._current)

    @property
    def _current(self) -> tuple[MediaSocket, ...]:
        return tuple(each for host in self._hosts.values() for each in host.sockets)

    @property
    def processes(self) -> tuple[int, ...]:
        """The child processes that there are at present, by process id."""
        return tuple(host.pid for host in self._hosts.values() if isinstance(host, ChildHost) and host.pid is not None)

    def rooms(self) -> list[MediaRoomView]:
        """Statistics of the rooms that go through it; those of child processes are a second old."""
        return [view for host in self._hosts.values() for view in host.rooms()]

    def use_own(self, own: OwnAddresses) -> None:
        """The server's addresses may be others. Sockets stay where they are bound, and get the public names of that.

        What is not relayed from any more keeps its name. Whoever calls it tells the peer ACL of `sockets`.
        """
        public = {relay.bound: relay.external for relay in own.relays}
        for host in self._hosts.values():
            moved = tuple(
                MediaSocket(each.bound, Address(public.get(each.bound.ip, each.public.ip), each.public.port))
                for each in host.sockets
            )
            if moved == host.sockets:
                continue
            for before, after in zip(host.sockets, moved, strict=True):
                names = dict.fromkeys((before.public, *self._former.get(before.bound, ())))
                self._former[before.bound] = tuple(name for name in names if name != after.public)[:MOST_FORMER]
            host.move(moved)

    def stop(self) -> None:
        """Close the sockets; no more is reported."""
        if self._telling is not None:
            self._telling.cancel()
        hosts = list(self._hosts.values())
        self._hosts.clear()
        self._former.clear()
        self._pins.clear()
        if hosts:
            self._changed(())  # before the system may give a port to another program
        for host in hosts:
            host.stop()
        self._ending += hosts

    async def wait_closed(self) -> None:
        """Wait until the processes have ended, after `stop`; those that do not are killed after a moment."""
        while self._ending:
            await self._ending.pop().wait_closed()

    # What rooms ask

    def open(self, room: str, epoch: int) -> None:
        """See `MediaPort`."""
        pin = self._pins.pop(room, None)
        try:
            host = pin.host if pin is not None and not pin.host.absence else self._choose()
        except StartupError as error:
            self._tell(RoomLost(room, epoch, str(error)))
            return
        self._pins[room] = _Pin(host, epoch)
        host.ask("open", [room, epoch])

    def close(self, room: str) -> None:
        """See `MediaPort`."""
        self._ask("close", room)
        self._pins.pop(room, None)

    def join(self, room: str, peer: str, name: str) -> None:
        """See `MediaPort`."""
        if room in self._pins:
            self._pins[room].peers.add(peer)
        self._ask("join", room, peer, name)

    def leave(self, room: str, peer: str) -> None:
        """See `MediaPort`."""
        if room in self._pins:
            self._pins[room].peers.discard(peer)
        self._ask("leave", room, peer)

    def offer(self, room: str, peer: str, pc: str, sdp: str, sources: Mapping[str, MediaSource]) -> None:
        """See `MediaPort`."""
        self._ask("offer", room, peer, pc, sdp, dict(sources))

    def answer(self, room: str, peer: str, pc: str, sdp: str) -> None:
        """See `MediaPort`."""
        self._ask("answer", room, peer, pc, sdp)

    def candidates(self, room: str, peer: str, pc: str, lines: Sequence[str]) -> None:
        """See `MediaPort`. A lite agent learns where the other side is from its checks (RFC 8445 §2.5)."""

    def reset(self, room: str, peer: str) -> None:
        """See `MediaPort`."""
        self._ask("reset", room, peer)

    def choose(self, room: str, peer: str, last: int | None, others: int, tiles: Sequence[Tile]) -> None:
        """See `MediaPort`."""
        wishes = [
            (f"{tile.peer}.screen" if tile.source == "screen" else tile.peer, tile.height, tile.pinned)
            for tile in tiles
        ]
        self._ask("choose", room, peer, last, others, wishes)

    def mute(self, room: str, peer: str, source: MediaSource, on: bool) -> None:
        """See `MediaPort`."""
        self._ask("mute", room, peer, source, on)

    def record(self, room: str, on: bool) -> None:
        """See `MediaPort`."""
        self._ask("record", room, on)

    # Engines

    def _choose(self) -> SfuHost:
        """The engine for a new room: the one with the least to do. Raises `StartupError`."""
        loads = dict.fromkeys(range(max(1, processes_of(self._media))), (0, 0))
        for pin in self._pins.values():
            number = next(number for number, host in self._hosts.items() if host is pin.host)
            streams, rooms = loads[number]
            loads[number] = streams + len(pin.peers) ** 2, rooms + 1  # what each sends goes to all others
        absent = {number: host.absence for number, host in self._hosts.items() if host.absence}
        present = [number for number in loads if number not in absent]
        if not present:
            raise StartupError(next(iter(absent.values())))
        number = min(present, key=lambda number: (*loads[number], number))
        if number not in self._hosts:
            self._hosts[number] = self._start(number)
            self._changed(self.sockets)
        return self._hosts[number]

    def _start(self, number: int) -> SfuHost:
        """Open the sockets of an engine, and start it. Raises `StartupError`, with nothing left open."""
        relays = self._own().relays
        first = {len(relay.bound): relay for relay in reversed(relays)}
        if not first:
            raise StartupError("The SFU has no address: the server relays from none.", "See `relay.addresses`.")
        opened = self._bind([relay.bound for relay in first.values()], number)
        public = {relay.bound: relay.external for relay in relays}
        bound = [from_sockaddr(sock.getsockname()) for sock in opened]
        sockets = [MediaSocket(each, Address(public.get(each.ip, each.ip), each.port)) for each in bound]
        if not processes_of(self._media):
            return LoopHost(opened, sockets, self._recordings, self._tell, faults=self._faults, clock=self._now)
        return ChildHost(
            f"media {number + 1}",
            opened,
            sockets,
            self._recordings,
            tell=self._tell,
            lost=self._gone,
            faults=self._faults,
            timing=self._timing,
        )

    def _bind(self, ips: Sequence[bytes], number: int) -> list[socket.socket]:
        """Bind one port on all addresses: the configured one, or one of the relays' that is free."""
        if self._media.port:
            return bind_media([Address(ip, self._media.port + number) for ip in ips])
        for left in reversed(range(PORTS_TRIED)):
            port = self._ports.first + secrets.randbelow(self._ports.last - self._ports.first + 1)
            try:
                return bind_media([Address(ip, port) for ip in ips])
            except StartupError:
                if not left:
                    raise
        raise AssertionError("unreachable")

    def _gone(self, host: ChildHost, why: str) -> None:
        """An engine has lost all of its rooms."""
        for room, pin in [*self._pins.items()]:
            if pin.host is host:
                del self._pins[room]
                self._tell(RoomLost(room, pin.epoch, why))

    def _ask(self, call: str, room: str, *arguments: Any) -> None:
        """Ask the engine of a room something."""
        pin = self._pins.get(room)
        if pin is not None:
            pin.host.ask(call, [room, *arguments])

    # Reports

    def _tell(self, fact: MediaFact) -> None:
        self._facts.append(fact)
        if self._telling is None:
            self._telling = asyncio.get_running_loop().call_soon(self._tell_all)

    def _tell_all(self) -> None:
        self._telling = None
        while self._facts:
            fact = self._facts.popleft()
            self._report(_EVENTS[type(fact)](*fact))
