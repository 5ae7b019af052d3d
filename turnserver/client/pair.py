"""One participant of the room: what comes from it, and what that comes through.

In a mesh that is a connection of its own (`turnserver.client.connection`), and in a room that goes through the server's
SFU the connections with that (`turnserver.client.sfu`), which all participants share. While a room changes from one to
the other a pair has both, and takes what comes through the one that is shown.
"""

import time
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Final, Protocol

from aiortc import MediaStreamTrack, RTCPeerConnection
from av.frame import Frame as MediaFrame

from turnserver.client.connection import MeshConnection, MeshLink, Negotiation
from turnserver.client.errors import SignalError
from turnserver.client.ice import Chosen, IceChoice, candidate_types, chosen_pair, traffic
from turnserver.client.media import MediaPlan, Received
from turnserver.client.state import PairState, PairTiming
from turnserver.client.streams import Incomings
from turnserver.signaling.protocol.fields import IceError, MediaSource, Mode, PathKind, Peer

__all__ = ["Negotiation", "Pair", "PairLink", "PairReport", "PairState", "SharedConnections"]

_MAX_SHOWN: Final = 200


@dataclass(frozen=True, slots=True)
class PairReport:
    """What is known here of one pair."""

    id: str
    name: str
    state: PairState
    chosen: Chosen | None
    relay: str
    """The URL of the TURN server, if our candidate of the chosen pair is relayed; else empty."""
    proto: str | None
    """The transport to that server: ``udp``, ``tcp`` or ``tls``."""
    bytes_sent: int
    """Through an SFU, both are those of all participants: they share its connections."""
    bytes_received: int
    received: Received
    rebuilds: int
    gap: bool
    """Whether the participant's signaling connection is lost."""
    way: Mode = "mesh"
    """How its media come: by a connection of its own, or through the server's SFU."""
    took: float | None = None
    """How long the connection of its own took to stand for the first time, in seconds; None until then."""

    @property
    def path(self) -> PathKind:
        """``relay``, ``direct``, or ``unknown`` while there is none; through an SFU, that to the SFU."""
        return "unknown" if self.chosen is None else self.chosen.path


class PairLink(MeshLink, Protocol):
    """What a pair needs from its room."""

    def changed(self, pair: "Pair") -> None:
        """The state has changed."""

    def message(self, pair: "Pair", data: str | bytes) -> None:
        """A message has arrived over the data channel."""


class SharedConnections(Protocol):
    """The connections with the SFU, as pairs see them: `turnserver.client.sfu.SfuConnections`."""

    @property
    def state(self) -> PairState:
        """How they are."""

    @property
    def rebuilds(self) -> int:
        """How often in a row they were built again."""

    @property
    def pc(self) -> RTCPeerConnection | None:
        """The connection through which the others come."""

    @property
    def ice(self) -> IceChoice:
        """The TURN server that it uses."""

    def restart(self, why: str = "user") -> None:
        """Build them again."""

    async def traffic(self) -> tuple[int, int]:
        """Bytes sent and received."""


class Pair:
    """One participant. ``peer`` is the server's description of it, ``plan`` says what it is sent in a mesh."""

    def __init__(self, peer: Peer, link: PairLink, plan: MediaPlan, timing: PairTiming, *, way: Mode = "mesh") -> None:
        self.id = peer.id
        self.name = peer.name
        self.role = peer.role
        self.media = peer.media
        """What it says it sends."""
        self.since = peer.since
        """When it joined, by the server's clock, in milliseconds."""
        self.gap = peer.gap is not None
        """Whether its signaling is away."""
        self.way: Mode = way
        """How what is received of it comes now: by a connection of its own, or through the server's SFU."""
        self.received = Received()
        self.errors: list[str] = []
        """What went wrong, in our words; the last few."""
        self._polite = peer.polite
        self._starts = peer.start
        self._link = link
        self._plan = plan
        self._timing = timing
        self._closed = False
        self._began = time.monotonic()
        self._took: float | None = None
        self._incoming = Incomings()
        self._connection: MeshConnection | None = None
        self._sfu: SharedConnections | None = None
        self._decoded: Counter[tuple[Mode, MediaSource]] = Counter()
        if way == "mesh":
            self.connect()

    @property
    def state(self) -> PairState:
        """The state of what its media come through."""
        return PairState.CLOSED if self._closed else self.state_of(self.way)

    @property
    def rebuilds(self) -> int:
        """How often in a row that was built again."""
        through = self._connection if self.way == "mesh" else self._sfu
        return 0 if through is None else through.rebuilds

    def track(self, source: MediaSource) -> MediaStreamTrack:
        """What comes from the participant, as a track that goes on whatever happens to connections, until it leaves.

        ``source`` is ``audio``, ``camera``, ``screen`` or ``screen_audio``. Every call gives the same track: several
        readers share it with an `aiortc.contrib.media.MediaRelay`. Who reads late misses frames.
        """
        return self._incoming.track(source)

    # For users and for the room.

    def update(self, peer: Peer) -> None:
        """What the server says of the participant has changed, or was sent again."""
        self.name = peer.name
        self.role = peer.role
        self.media = peer.media

    def set_gap(self, gap: bool) -> None:
        """The participant's signaling is away, or is back."""
        self.gap = gap
        self.wake()

    def wake(self) -> None:
        """Signaling is back, theirs or ours: repairs that had to wait are made now."""
        if self._connection is not None:
            self._connection.wake()

    def restart(self, why: str = "user") -> None:
        """Build the connection anew, with fresh credentials; through an SFU, those with it."""
        through = self._connection if self.way == "mesh" else self._sfu
        if through is not None:
            through.restart(why)

    def send(self, data: str | bytes) -> None:
        """Send over the data channel, which there is in a mesh.

        Raises `SignalError` while it is not open, or when too much waits.
        """
        if self._connection is None:
            raise SignalError("not_connected", "There is no data channel with this participant.")
        self._connection.send(data)

    @property
    def channel_open(self) -> bool:
        """Whether `send` can be used."""
        return self._connection is not None and self._connection.channel_open

    async def report(self) -> PairReport:
        """What is known of the pair now."""
        pc = self._pc
        ice = IceChoice()
        sent = received = 0
        if self.way == "mesh" and self._connection is not None:
            ice = self._connection.ice
            sent, received = (0, 0) if pc is None else await traffic(pc)
        elif self._sfu is not None:
            ice = self._sfu.ice
            sent, received = await self._sfu.traffic()
        chosen = None if pc is None or self.state is PairState.CLOSED else chosen_pair(pc)
        relayed = chosen is not None and chosen.local == "relay"
        return PairReport(
            self.id,
            self.name,
            self.state,
            chosen,
            ice.url if relayed else "",
            ice.transport if relayed else None,
            sent,
            received,
            self.received,
            self.rebuilds,
            self.gap,
            self.way,
            self._took,
        )

    def candidate_types(self) -> tuple[list[str], list[str]]:
        """The types of our candidates and of theirs, for ``diag``."""
        return candidate_types(self._pc)

    def failures(self) -> list[IceError]:
        """ICE errors as browsers number them: 701 when there is no relayed candidate though there is a server."""
        return [] if self._connection is None else self._connection.failures()

    async def close(self) -> None:
        """End the connection; the participant has left, or we have."""
        if self._closed:
            return
        self._closed = True
        self._incoming.close()
        await self.disconnect()

    # Its ways: both exist while the room changes.

    def connect(self) -> None:
        """Build a connection of its own, if there is none."""
        if self._connection is None and not self._closed:
            self._connection = MeshConnection(
                self, self._link, self._plan, self._timing, polite=self._polite, starts=self._starts
            )

    def disconnect(self) -> Coroutine[Any, Any, None]:
        """Let go of the connection of its own; what is returned ends it."""
        connection, self._connection = self._connection, None
        self._forget("mesh")
        return _ended(connection)

    def through(self, sfu: SharedConnections | None) -> None:
        """The connections with the SFU; None when these are gone."""
        if sfu is not self._sfu:
            self._forget("sfu")
        self._sfu = sfu

    def show(self, way: Mode) -> None:
        """From now on, take what comes that way."""
        if way != self.way:
            self.way = way
            self._link.changed(self)

    def state_of(self, way: Mode) -> PairState:
        """The state of the connection of its own, or of those with the SFU."""
        through = self._connection if way == "mesh" else self._sfu
        return PairState.CONNECTING if through is None else through.state

    def decodes(self, way: Mode) -> bool:
        """Whether what the participant says it sends has come that way."""
        sound, picture = self._decoded[way, "audio"], self._decoded[way, "camera"]
        return (not self.media.a or sound > 0) and (not self.media.v or picture > 0)

    def deliver(self, said: Negotiation) -> None:
        """A ``desc``, ``cand`` or ``reset`` from the participant."""
        if self._connection is not None:
            self._connection.deliver(said)

    def take(self, way: Mode, source: MediaSource, origin: object, frame: MediaFrame) -> None:
        """A frame that has come that way, over the connection or section ``origin``."""
        self._decoded[way, source] += 1
        if way == self.way and not self._closed and self._incoming.take(source, origin, frame):
            self.received.take(frame)
            self._plan.incoming(frame)

    # For its connection.

    def moved(self) -> None:
        """See `turnserver.client.connection.MeshOwner`."""
        if self._took is None and self.state_of("mesh") is PairState.CONNECTED:
            self._took = time.monotonic() - self._began
        self._link.changed(self)

    def said(self, data: str | bytes) -> None:
        """See `turnserver.client.connection.MeshOwner`."""
        self._link.message(self, data)

    def heard(self, source: MediaSource, track: MediaStreamTrack, frame: MediaFrame) -> None:
        """See `turnserver.client.connection.MeshOwner`."""
        self.take("mesh", source, track, frame)

    def note(self, text: str) -> None:
        """See `turnserver.client.connection.MeshOwner`."""
        del self.errors[:-9]
        self.errors.append(text[:_MAX_SHOWN])

    @property
    def _pc(self) -> RTCPeerConnection | None:
        through = self._connection if self.way == "mesh" else self._sfu
        return None if through is None else through.pc

    def _forget(self, way: Mode) -> None:
        for key in [each for each in self._decoded if each[0] == way]:
            del self._decoded[key]


async def _ended(connection: MeshConnection | None) -> None:
    if connection is not None:
        await connection.close()
