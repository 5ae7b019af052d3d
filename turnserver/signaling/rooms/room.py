"""One room: its members, those who wait for admission, and the connection ids of each pair. It sends no messages."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

from turnserver.signaling.protocol.client_messages import Diag, Join, Stat
from turnserver.signaling.protocol.fields import (
    Media,
    MediaSource,
    Meta,
    Mode,
    PathEntry,
    PathKind,
    Peer,
    Role,
    RoomState,
    ServerRecording,
    SourceLayers,
    Spotlight,
    You,
)
from turnserver.signaling.protocol.server_messages import RoomUpdate
from turnserver.signaling.rooms.media_port import MediaSide
from turnserver.signaling.rooms.session import Session
from turnserver.signaling.rooms.views import PeerView, RoomView

__all__ = ["LOBBY", "MAX_WAITING", "Member", "PairDirection", "Room", "Routing", "Waiter", "room_hash"]

MAX_WAITING: Final = 16
"""Sessions that may wait for admission to one room."""

LOBBY: Final = "lobby"
"""Takes the place of the room's hash in the TURN user ids of sessions outside rooms."""


def room_hash(room_id: str) -> str:
    """The room's part of a TURN user id: it distinguishes rooms without revealing their names."""
    return sha256(room_id.encode()).hexdigest()[:10]


@dataclass(slots=True, eq=False)
class Member:
    """One participant of a room."""

    session: Session
    user_id: str
    name: str
    meta: Meta
    media: Media
    joined: float
    """Unix time."""
    order: int
    """Grows with every join."""
    expires: float = 0.0
    """When its TURN credentials expire (Unix time)."""
    stats: dict[str, Stat] = field(default_factory=dict)
    diags: dict[str, Diag] = field(default_factory=dict)
    announced: dict[str, set[str]] = field(default_factory=dict)
    """Types of the candidates that it has sent, by peer id."""
    paths: tuple[PathEntry, ...] = ()
    """The paths that it was last told."""
    meshes_only: bool = True
    """Whether its client knows only meshes."""
    sides: set[MediaSide] = field(default_factory=set)
    """Which of its connections with the SFU stand."""
    sending: str = ""
    """The name of the connection through which it sends to the SFU."""
    layers: dict[str, SourceLayers] = field(default_factory=dict)
    """The layers of its pictures that somebody receives, by the picture's source."""
    muted: set[MediaSource] = field(default_factory=set)
    """What the SFU does not forward of it, until it turns that on again."""

    @property
    def id(self) -> str:
        """Its peer id."""
        return self.session.peer_id

    @property
    def role(self) -> Role:
        """``host`` or ``member``."""
        return self.session.role


@dataclass(slots=True, eq=False)
class Waiter:
    """A session that waits for admission, with the join to complete."""

    session: Session
    join: Join


@dataclass(slots=True)
class PairDirection:
    """One direction of a pair: the sender's latest connection, and the frame that told the receiver of it."""

    pc: str
    seq: int
    """The number of the first frame with this ``pc`` in the receiver's outbox."""
    reset: bool = False
    """True once the receiver was told again, after it had used the old connection."""


_FIRST: Final[Mode] = "mesh"
"""How the media of a room go before `switching` says otherwise."""


@dataclass(slots=True)
class Routing:
    """How the media of a room go: `turnserver.signaling.rooms.switching` has the theory, and changes it."""

    mode: Mode = _FIRST
    epoch: int = 1
    """Grows with every change of the mode."""
    changing: bool = False
    """Whether the connections of the mode before are still needed."""
    why: str | None = None
    """The cause of the last change, if it was not the number of participants."""
    ready: set[str] = field(default_factory=set)
    """Who has said so, while the mode changes."""
    unready: set[str] = field(default_factory=set)
    """Who had not said so in time."""
    claimed: set[str] = field(default_factory=set)
    """Who has said so, and has not all of the connections yet that it needs for that."""
    meshed: set[str] = field(default_factory=set)
    """Who was in the mesh from which the room changes to the SFU."""
    opened: bool = False
    """Whether the engine has the room."""
    opening: int = 0
    """How many times it was handed to the engine: the engine's ``epoch``."""
    failures: int = 0
    """How many times the engine has lost the room since it last carried it."""
    stays: bool = False
    """Whether a mesh has failed, so that the room stays with the SFU until somebody comes or leaves."""
    speaker: str | None = None


class Room:
    """A room with at least one member."""

    def __init__(self, room_id: str, size: int, wall: float) -> None:
        self.id = room_id
        self.hash = room_hash(room_id)
        self.created = wall
        self.max = size
        self.locked = False
        self.knock = False
        self.spotlight: Spotlight | None = None
        self.members: dict[str, Member] = {}
        self.waiting: dict[str, Waiter] = {}
        self.lines: dict[tuple[str, str], PairDirection] = {}
        self.routing = Routing()
        self.recorded_by: str | None = None
        """Who wants the room recorded, a peer id or nothing for an operator; None if nobody does."""
        self.recording: ServerRecording | None = None
        """What everybody is told; None as long as it is not recorded."""
        self.paths: Mapping[PathKind, int] = {}
        """How many pairs have each kind of path, as the members were last told."""
        self._timed: set[frozenset[str]] = set()
        self._order = 0

    def seat(self, session: Session, user_id: str, join: Join, *, name: str, media: Media, wall: float) -> Member:
        """Add a member."""
        self._order += 1
        member = Member(session, user_id, name, join.meta, media, wall, self._order, meshes_only=join.mode == "mesh")
        self.members[member.id] = member
        return member

    def unseat(self, peer_id: str) -> Member:
        """Remove a member, with all that is stored about it."""
        member = self.members.pop(peer_id)
        self.lines = {pair: line for pair, line in self.lines.items() if peer_id not in pair}
        self._timed = {pair for pair in self._timed if peer_id not in pair}
        for other in self.members.values():
            for known in (other.stats, other.diags, other.announced):
                known.pop(peer_id, None)
        return member

    def times(self, one: str, other: str) -> bool:
        """Whether it is the first time that two members are asked about here: one time to connect is told of them."""
        pair = frozenset((one, other))
        first = pair not in self._timed
        self._timed.add(pair)
        return first

    def others(self, peer_id: str) -> list[Member]:
        """All members except one."""
        return [member for member in self.members.values() if member.id != peer_id]

    @property
    def meshes_only(self) -> bool:
        """Whether somebody's client knows only meshes."""
        return any(member.meshes_only for member in self.members.values())

    def hosts(self) -> list[Member]:
        """The members who may moderate."""
        return [member for member in self.members.values() if member.role == "host"]

    def stale_line(self, sender: str, receiver: str, rpc: str | None) -> PairDirection | None:
        """The direction from receiver to sender, if ``rpc`` is not the receiver's current connection in it."""
        line = self.lines.get((receiver, sender))
        return line if line is not None and rpc is not None and line.pc != rpc else None

    def saw(self, sender: str, receiver: str, pc: str, seq: int) -> None:
        """A frame of ``sender``'s connection ``pc`` was queued for ``receiver`` under that number."""
        line = self.lines.get((sender, receiver))
        if line is None or line.pc != pc:
            self.lines[sender, receiver] = PairDirection(pc, seq)

    def state(self) -> RoomState:
        """The room as a protocol value."""
        return RoomState(
            id=self.id,
            max=self.max,
            mode=self.routing.mode,
            epoch=self.routing.epoch,
            changing=self.routing.changing or None,
            unready=self._unready,
            why=self.routing.why,
            locked=self.locked,
            knock=self.knock,
            spotlight=self.spotlight,
            speaker=self.routing.speaker,
            recording=self.recording,
        )

    def news(self, unrecorded: str | None = None) -> RoomUpdate:
        """What of the room can change, for its members; ``unrecorded`` is why a recording has ended by itself."""
        return RoomUpdate(
            locked=self.locked,
            knock=self.knock,
            max=self.max,
            mode=self.routing.mode,
            epoch=self.routing.epoch,
            changing=self.routing.changing or None,
            unready=self._unready,
            why=self.routing.why,
            spotlight=self.spotlight,
            recording=self.recording,
            unrecorded=unrecorded,
        )

    @property
    def _unready(self) -> tuple[str, ...] | None:
        return tuple(sorted(self.routing.unready)) or None

    def leave_spotlight(self, peer_id: str, *, only: str | None = None) -> bool:
        """Take a member, or with ``only`` just its camera or screen, out of the spotlight. True if it was in it."""
        if self.spotlight is None or self.spotlight.id != peer_id or only not in (None, self.spotlight.what):
            return False
        self.spotlight = None
        return True

    def you(self, member: Member) -> You:
        """A member, as described to itself."""
        caps = member.session.caps
        return You(id=member.id, role=member.role, name=member.name, caps=caps, media=member.media)

    def peer(self, member: Member, receiver: Member) -> Peer:
        """A member, as described to ``receiver``: `polite` and `start` are the receiver's roles."""
        session = member.session
        return Peer(
            id=member.id,
            name=member.name,
            meta=member.meta,
            media=member.media,
            role=member.role,
            since=int(member.joined * 1000),
            polite=receiver.id > member.id,
            start=receiver.order > member.order,
            gap=None if session.connection is not None else int(session.gap_until * 1000),
        )

    def view(self) -> RoomView:
        """The room as plain values, for other parts of the process."""
        peers = tuple(
            PeerView(
                id=member.id,
                user_id=member.user_id,
                name=member.name,
                role=member.role,
                joined=member.joined,
                connected=member.session.connection is not None,
                media=member.media,
                stats=dict(member.stats),
                candidates={peer: sorted(types) for peer, types in member.announced.items()},
            )
            for member in self.members.values()
        )
        mode = self.routing.mode
        since = None if self.recording is None else self.recording.since / 1000
        return RoomView(self.id, self.created, self.locked, self.knock, self.max, mode, peers, len(self.waiting), since)
