"""The hub's tables, and the operations that all handlers share: frames, commands, facts, names, deadlines.

Only `turnserver.signaling.rooms.lifecycle` removes entries from the tables of sockets, sessions and rooms.
"""

import base64
from collections import Counter
from collections.abc import Callable
from enum import StrEnum
from typing import Final, NamedTuple

from turnserver.core.types import Now
from turnserver.deadlines import Deadlines
from turnserver.signaling.protocol.base import Delivery, ServerMessage
from turnserver.signaling.protocol.codec import encode
from turnserver.signaling.protocol.errors import SignalCode
from turnserver.signaling.protocol.fields import ErrorDetail, Ice
from turnserver.signaling.protocol.server_messages import Error
from turnserver.signaling.rooms.expiring import ExpiringSet, FairSet
from turnserver.signaling.rooms.facts import Fact, HubCommand, Wake
from turnserver.signaling.rooms.media_port import MediaPort
from turnserver.signaling.rooms.room import LOBBY, Member, Room
from turnserver.signaling.rooms.session import Connection, Session
from turnserver.signaling.rooms.settings import Admission, HubBounds, Inviter, MediaOptions, Minter, RoomOptions
from turnserver.signaling.truth.relays import RelayView
from turnserver.throttle import Guesses

__all__ = ["Due", "HubState", "RandomBytes", "Timer", "error", "millis"]

RandomBytes = Callable[[int], bytes]


class Due(StrEnum):
    """The purpose of a deadline."""

    HELLO = "hello"
    """A socket (by its number) still has no session."""
    GAP = "gap"
    """A session (by its id) was not resumed in time."""
    ICE = "ice"
    """A member (by its peer id) needs new ICE servers."""
    REVOKE = "revoke"
    """The relays of a TURN user who has left are to end."""
    MODE = "mode"
    """A room (by its id) has had its time for a change of its mode, or before one."""


class Timer(NamedTuple):
    """Identifies a deadline: its purpose, and the object it is for."""

    due: Due
    name: str


_MAX_ADDRESSES: Final = 8192
_MAX_BANS: Final = 8192
_MAX_TOKENS: Final = 16384


def millis(seconds: float) -> int:
    """Seconds, converted to the protocol's milliseconds."""
    return int(seconds * 1000)


def error(
    code: SignalCode, msg: str, *, re: str | None = None, retry: int | None = None, d: ErrorDetail | None = None
) -> Error:
    """An `error` frame; ``retry`` in milliseconds."""
    return Error(re=re, code=code, msg=msg[:256], retry=retry, d=d)


class HubState:
    """Sockets, sessions, rooms, and deadlines of one hub."""

    def __init__(
        self,
        options: RoomOptions,
        entropy: RandomBytes,
        admit: Admission | None,
        mint: Minter | None,
        relays: RelayView,
        *,
        bounds: HubBounds,
        invite: Inviter | None = None,
        media: MediaPort | None = None,
        media_options: MediaOptions | None = None,
    ) -> None:
        self.options = options
        self.invite = invite
        self.media = media
        self.media_options = MediaOptions() if media_options is None else media_options
        self.bounds = bounds
        self.entropy = entropy
        self.admit = admit
        self.relays = relays
        self.draining = False
        """Whether all clients have been sent away."""
        self.closes_at: float | None = None
        """When the server stops at the latest (Unix time), once it drains: no room is opened any more."""
        self.connections: dict[int, Connection] = {}
        self.sessions: dict[str, Session] = {}
        self.peers: dict[str, Session] = {}
        self.rooms: dict[str, Room] = {}
        self.deadlines: Deadlines[Timer] = Deadlines()
        self.sockets: dict[str, int] = {}
        """Strangers' sockets by address key: those without a session that a token opened."""
        self.held: Counter[tuple[str, bool]] = Counter()
        """Sessions by address key, and by whether a token opened them."""
        self.failures: Guesses[str] = Guesses(bounds.auth_failures, bounds.auth_window, _MAX_ADDRESSES)
        """Failed admissions by address key, on the monotonic clock."""
        self.bans: FairSet[tuple[str, str, str]] = FairSet(_MAX_BANS)
        """Room, kind and value of what is banned, on the wall clock; owned by the room, or by who is host of all."""
        self.used_tokens: ExpiringSet[tuple[str, int]] = ExpiringSet(_MAX_TOKENS)
        """The uses of tokens that open a number of sessions only, by id and from 0 on, on the wall clock."""
        self.leaving: dict[str, tuple[str, float]] = {}
        """TURN users to revoke after the grace period: their peer id, and the end of the revocation."""
        self._mint = mint
        self._overflowing: dict[str, Session] = {}
        self._wakes: dict[int, None] = {}
        self._commands: list[HubCommand] = []
        self._facts: list[Fact] = []

    # Frames to clients

    def send(self, session: Session, message: ServerMessage, delivery: Delivery | None = None) -> int:
        """Queue a frame for a session and return its number; ``delivery`` overrides that of its type."""
        seq = session.outbox.put(message, delivery)
        self._look_after(session)
        return seq

    def direct(self, connection: Connection, message: ServerMessage) -> None:
        """Send a frame of the socket itself, before any session's."""
        connection.direct.append(encode(message))
        self._wakes[connection.cid] = None

    def broadcast(self, room: Room, message: ServerMessage, *, but: str = "") -> None:
        """Queue a frame for all members of a room except one."""
        for member in room.others(but):
            self.send(member.session, message)

    def overflowing(self) -> list[Session]:
        """Sessions whose clients do not read; each is returned once."""
        found = [session for session in self._overflowing.values() if session.connection is not None]
        self._overflowing.clear()
        return found

    def _look_after(self, session: Session) -> None:
        if session.connection is not None:
            self._wakes[session.connection.cid] = None
            if session.outbox.waiting_bytes > self.bounds.queue_bytes:
                self._overflowing[session.sid] = session

    # Commands and facts

    def command(self, command: HubCommand) -> None:
        """Add a command for the edge."""
        self._commands.append(command)

    def fact(self, fact: Fact) -> None:
        """Add a fact."""
        self._facts.append(fact)

    def take_commands(self) -> list[HubCommand]:
        """Return and clear the commands; sockets to wake come first."""
        found: list[HubCommand] = [*(Wake(cid) for cid in self._wakes), *self._commands]
        self._wakes.clear()
        self._commands = []
        return found

    def take_facts(self) -> list[Fact]:
        """Return and clear the facts."""
        found, self._facts = self._facts, []
        return found

    # Names

    def name(self, length: int) -> str:
        """An unguessable name of the given number of letters and digits (base32: five bits each)."""
        size = -(-length * 5 // 8)
        return base64.b32encode(self.entropy(size)).decode("ascii").lower()[:length]

    def peer_id(self) -> str:
        """A peer id that no session has."""
        while (name := self.name(10)) in self.peers:
            pass
        return name

    def fraction(self) -> float:
        """A random number from 0 up to, but not including, 1."""
        return int.from_bytes(self.entropy(4), "big") / 2**32

    # Rooms and TURN users

    def member_of(self, session: Session) -> tuple[Room, Member] | None:
        """The session's room, and the session's member there."""
        if session.room is None:
            return None
        room = self.rooms[session.room]
        return room, room.members[session.peer_id]

    def user_id(self, session: Session, place: str) -> str:
        """The TURN user of a session in a room (its hash) or in the lobby."""
        suffix = f"-{session.generation}" if session.generation else ""
        return f"{place}.{session.peer_id}{suffix}"

    def mint(self, session: Session, user_id: str, now: Now) -> Ice:
        """ICE servers with new credentials, whose expiry is recorded in case they have to be revoked."""
        if self._mint is None:
            expires = int(now.wall) + self.options.credential_lifetime
            ice = Ice(servers=(), exp=expires, policy=self.options.policy)
        else:
            ice = self._mint(user_id, now.wall, session.doorway)
        if user_id.startswith(f"{LOBBY}."):
            session.lobby = {known: end for known, end in session.lobby.items() if end > now.wall}
            session.lobby[user_id] = float(ice.exp)
        elif (found := self.member_of(session)) is not None:
            found[1].expires = max(found[1].expires, float(ice.exp))
        return ice
