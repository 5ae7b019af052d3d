"""One room: who is in it, who waits at the door, and whose connection with whom is which. No messages are sent here."""

from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

from turnserver.signaling.protocol.client_messages import Diag, Join, Stat
from turnserver.signaling.protocol.fields import Media, Meta, PathEntry, Peer, Role, RoomState, You
from turnserver.signaling.rooms.session import Session
from turnserver.signaling.rooms.views import PeerView, RoomView

__all__ = ["LOBBY", "MAX_WAITING", "Member", "PairDirection", "Room", "Waiter", "room_hash"]

MAX_WAITING: Final = 16
"""People at the door of one room."""

LOBBY: Final = "lobby"
"""Stands for the room in the TURN user ids of those who are in none."""


def room_hash(room_id: str) -> str:
    """What a TURN user id says of a room: enough to tell rooms apart, not what they are called."""
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
    """Until when its TURN credentials live (Unix time)."""
    stats: dict[str, Stat] = field(default_factory=dict)
    diags: dict[str, Diag] = field(default_factory=dict)
    announced: dict[str, set[str]] = field(default_factory=dict)
    """Types of the candidates that it has sent to each peer."""
    paths: tuple[PathEntry, ...] = ()
    """What it was last told of its paths."""

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
    """Somebody at the door: the join to complete."""

    session: Session
    join: Join


@dataclass(slots=True)
class PairDirection:
    """One direction of a pair: the sender's connection as last seen, and where the receiver was told of it."""

    pc: str
    seq: int
    """The number, in the receiver's outbox, of the first frame with this ``pc``."""
    reset: bool = False
    """The receiver was told again, in answer to a frame that ignored it."""


class Room:
    """A room with somebody in it."""

    def __init__(self, room_id: str, size: int, wall: float) -> None:
        self.id = room_id
        self.hash = room_hash(room_id)
        self.created = wall
        self.max = size
        self.locked = False
        self.knock = False
        self.members: dict[str, Member] = {}
        self.waiting: dict[str, Waiter] = {}
        self.lines: dict[tuple[str, str], PairDirection] = {}
        self._order = 0

    @property
    def is_full(self) -> bool:
        """True if nobody else gets in."""
        return len(self.members) >= self.max

    def seat(self, session: Session, user_id: str, join: Join, *, name: str, media: Media, wall: float) -> Member:
        """One more member."""
        self._order += 1
        member = Member(session, user_id, name, join.meta, media, wall, self._order)
        self.members[member.id] = member
        return member

    def unseat(self, peer_id: str) -> Member:
        """One less; everything about it is forgotten."""
        member = self.members.pop(peer_id)
        self.lines = {pair: line for pair, line in self.lines.items() if peer_id not in pair}
        for other in self.members.values():
            for known in (other.stats, other.diags, other.announced):
                known.pop(peer_id, None)
        return member

    def others(self, peer_id: str) -> list[Member]:
        """Everybody but one."""
        return [member for member in self.members.values() if member.id != peer_id]

    def hosts(self) -> list[Member]:
        """Those who moderate."""
        return [member for member in self.members.values() if member.role == "host"]

    def stale_line(self, sender: str, receiver: str, rpc: str | None) -> PairDirection | None:
        """The receiver's line back, if ``rpc`` is not what the receiver's connection with the sender is by now."""
        line = self.lines.get((receiver, sender))
        return line if line is not None and rpc is not None and line.pc != rpc else None

    def saw(self, sender: str, receiver: str, pc: str, seq: int) -> None:
        """A frame of ``sender``'s connection ``pc`` was queued for ``receiver`` under that number."""
        line = self.lines.get((sender, receiver))
        if line is None or line.pc != pc:
            self.lines[sender, receiver] = PairDirection(pc, seq)

    def state(self) -> RoomState:
        """The room on the wire."""
        return RoomState(id=self.id, max=self.max, mode="mesh", epoch=1, locked=self.locked, knock=self.knock)

    def you(self, member: Member) -> You:
        """A member as it is told of itself."""
        caps = member.session.caps
        return You(id=member.id, role=member.role, name=member.name, caps=caps, media=member.media)

    def peer(self, member: Member, receiver: Member) -> Peer:
        """A member as ``receiver`` is told of it: who gives way and who starts is the receiver's part."""
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
        """The room as others in the process see it."""
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
        return RoomView(self.id, self.created, self.locked, self.knock, self.max, "mesh", peers, len(self.waiting))
