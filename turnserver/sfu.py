"""The SFU of the server: joins the rooms of signaling with a media engine and its socket. It makes no decisions.

Nothing is opened until a room first goes through it. Its socket is on the addresses that the server relays from, and
clients are told the public ones in their place. Reports are handed over in another turn of the loop: rooms do not want
them from inside of their own calls.
"""

import asyncio
import os
import secrets
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Protocol

from stun.address import Address
from turnserver.core.settings import MediaSocket, OwnAddresses
from turnserver.core.types import PortRange
from turnserver.errors import StartupError
from turnserver.faults import RAISED, Faults
from turnserver.media.dtls import create_identity
from turnserver.media.edge import MediaEdge
from turnserver.media.engine import EmbeddedEngine
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
from turnserver.media.router import Wish
from turnserver.media.stats import MediaRoomView
from turnserver.recordings.owner import RecordingOptions, Recordings
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

__all__ = ["MediaSection", "Sfu"]

PORTS_TRIED: Final = 20
"""Ports of the range that are tried. Of 16,384, most are free even on a busy relay."""

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
        """The UDP port; 0 for any of the relays' range."""

    @property
    def recordings(self) -> Path | None:
        """Where recordings are kept; None if there are none."""

    @property
    def recordings_size(self) -> int:
        """MiB of a recording at most."""

    @property
    def recordings_reserve(self) -> int:
        """MiB that are left free on the disk of recordings."""


class Sfu:
    """`turnserver.signaling.rooms.media_port.MediaPort` by an engine in this process.

    ``own`` gives the server's addresses, and ``ports`` are those of its relays. ``report`` gets what rooms are told.
    ``changed`` is told of its sockets whenever they are others, before one is closed. ``clock`` is monotonic seconds.
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
    ) -> None:
        self._media = media
        self._ports = ports
        self._own = own
        self._report = report
        self._changed = changed
        self._faults = faults
        self._now = clock
        self._engine: EmbeddedEngine | None = None
        self._edge: MediaEdge | None = None
        self._sockets: tuple[MediaSocket, ...] = ()
        self._facts: deque[MediaFact] = deque()
        self._telling: asyncio.Handle | None = None
        options = RecordingOptions(media.recordings, media.recordings_size << 20, media.recordings_reserve << 20)
        self._recordings = Recordings(options, clock=clock)

    @property
    def sockets(self) -> tuple[MediaSocket, ...]:
        """Where its sockets are bound, and where clients send media to; none before the first room."""
        return self._sockets

    @property
    def addresses(self) -> tuple[Address, ...]:
        """Where clients send media to; none before the first room."""
        return tuple(socket.public for socket in self._sockets)

    def rooms(self) -> list[MediaRoomView]:
        """Statistics of the rooms that go through it."""
        return [] if self._engine is None else self._engine.rooms(self._now())

    def stop(self) -> None:
        """Close the socket; no more is reported."""
        if self._telling is not None:
            self._telling.cancel()
        self._use_sockets(())  # before the system may give its port to another program
        if self._edge is not None:
            self._edge.close()
        self._recordings.stop()
        self._engine = self._edge = None

    # What rooms ask

    def open(self, room: str, epoch: int) -> None:
        """See `MediaPort`."""
        if self._engine is None:
            try:
                self._start()
            except StartupError as error:
                self._tell(RoomLost(room, epoch, str(error)))
                return
        self._ask(lambda engine, now: engine.open(room, epoch, now=now))

    def close(self, room: str) -> None:
        """See `MediaPort`."""
        self._ask(lambda engine, now: engine.close(room, now=now))

    def join(self, room: str, peer: str, name: str) -> None:
        """See `MediaPort`."""
        self._ask(lambda engine, now: engine.join(room, peer, name, now=now))

    def leave(self, room: str, peer: str) -> None:
        """See `MediaPort`."""
        self._ask(lambda engine, now: engine.leave(room, peer, now=now))

    def offer(self, room: str, peer: str, pc: str, sdp: str, sources: Mapping[str, MediaSource]) -> None:
        """See `MediaPort`."""
        self._ask(lambda engine, now: engine.offer(room, peer, pc, sdp, sources, now=now))

    def answer(self, room: str, peer: str, pc: str, sdp: str) -> None:
        """See `MediaPort`."""
        self._ask(lambda engine, now: engine.answer(room, peer, pc, sdp, now=now))

    def candidates(self, room: str, peer: str, pc: str, lines: Sequence[str]) -> None:
        """See `MediaPort`. A lite agent learns where the other side is from its checks (RFC 8445 §2.5)."""

    def reset(self, room: str, peer: str) -> None:
        """See `MediaPort`."""
        self._ask(lambda engine, now: engine.reset(room, peer, now=now))

    def choose(self, room: str, peer: str, last: int | None, others: int, tiles: Sequence[Tile]) -> None:
        """See `MediaPort`."""
        wishes = [
            Wish(f"{tile.peer}.screen" if tile.source == "screen" else tile.peer, tile.height, tile.pinned)
            for tile in tiles
        ]
        self._ask(lambda engine, now: engine.choose(room, peer, last, others, wishes, now=now))

    def mute(self, room: str, peer: str, source: MediaSource, on: bool) -> None:
        """See `MediaPort`."""
        self._ask(lambda engine, now: engine.mute(room, peer, source, on, now=now))

    def record(self, room: str, on: bool) -> None:
        """See `MediaPort`."""
        self._ask(lambda engine, now: engine.record(room, on, now=now))

    # Inside

    def _start(self) -> None:
        """Open the socket. Raises `StartupError`, with nothing left open."""
        relays = self._own().relays
        first = {len(relay.bound): relay for relay in reversed(relays)}
        if not first:
            raise StartupError("The SFU has no address: the server relays from none.", "See `relay.addresses`.")
        engine = EmbeddedEngine(create_identity(datetime.now(UTC)), (), os.urandom, self._tell, self._recordings)
        edge = MediaEdge(engine, fault=self._faults.note, clock=self._now)
        self._bind(edge, [relay.bound for relay in first.values()])
        public = {relay.bound: relay.external for relay in relays}
        sockets = [MediaSocket(each, Address(public.get(each.ip, each.ip), each.port)) for each in edge.addresses]
        engine.addresses = tuple(socket.public for socket in sockets)
        edge.serve()
        self._engine, self._edge = engine, edge
        self._use_sockets(sockets)

    def _use_sockets(self, sockets: Sequence[MediaSocket]) -> None:
        if sockets or self._sockets:
            self._sockets = tuple(sockets)
            self._changed(self._sockets)

    def _bind(self, edge: MediaEdge, ips: Sequence[bytes]) -> None:
        """Bind one port on all addresses: the configured one, or one of the relays' that is free."""
        if self._media.port:
            edge.bind([Address(ip, self._media.port) for ip in ips])
            return
        for left in reversed(range(PORTS_TRIED)):
            port = self._ports.first + secrets.randbelow(self._ports.last - self._ports.first + 1)
            try:
                edge.bind([Address(ip, port) for ip in ips])
                return
            except StartupError:
                if not left:
                    raise

    def _ask(self, call: Callable[[EmbeddedEngine, float], Any]) -> None:
        """Ask the engine something, and send what it has to say."""
        if self._engine is None or self._edge is None:
            return
        try:
            call(self._engine, self._now())
            self._edge.flush()
        except RAISED as error:
            self._faults.note("media", error)

    def _tell(self, fact: MediaFact) -> None:
        self._facts.append(fact)
        if self._telling is None:
            self._telling = asyncio.get_running_loop().call_soon(self._tell_all)

    def _tell_all(self) -> None:
        self._telling = None
        while self._facts:
            fact = self._facts.popleft()
            self._report(_EVENTS[type(fact)](*fact))
