"""All tables of the hub, and what everybody who changes them needs: frames out, commands, facts, names, time."""

import base64
from collections import Counter
from collections.abc import Callable
from typing import Final, Literal, TypeAlias

from turnserver.core.types import Now
from turnserver.deadlines import Deadlines
from turnserver.signaling.protocol.errors import CLOSE_CODES, CLOSE_NORMAL, ErrorCode
from turnserver.signaling.protocol.fields import ErrorDetail, Ice
from turnserver.signaling.protocol.messages import Error, Goodbye, ServerMessage, encode
from turnserver.signaling.rooms.expiring import ExpiringSet
from turnserver.signaling.rooms.facts import ClientRefused, Close, Command, Fact, Revoke, Wake
from turnserver.signaling.rooms.outbox import Kind
from turnserver.signaling.rooms.room import LOBBY, Member, Room
from turnserver.signaling.rooms.session import Connection, Session
from turnserver.signaling.rooms.settings import Admission, HubSettings, Minter
from turnserver.signaling.truth.relays import RelayView
from turnserver.throttle import Guesses

__all__ = ["Entropy", "Reconnect", "State", "error", "millis", "reconnect_of"]

Entropy = Callable[[int], bytes]

TimerKey = tuple[str, str]
"""What is due, and whose."""

_MAX_ADDRESSES: Final = 8192
_MAX_BANS: Final = 8192
_MAX_TOKENS: Final = 16384

Reconnect: TypeAlias = Literal["resume", "fresh", "never"]
"""What a client does after a goodbye: go on with its session, begin another one, or nothing."""

_RECONNECT: Final[dict[ErrorCode, Reconnect]] = {
    ErrorCode.SLOW_CONSUMER: "resume",
    ErrorCode.DRAINING: "resume",
    ErrorCode.INTERNAL: "resume",
    ErrorCode.RATE_LIMITED: "resume",
    ErrorCode.IDLE: "fresh",
    ErrorCode.SERVER_FULL: "fresh",
    ErrorCode.BAD_JSON: "fresh",
    ErrorCode.BAD_MESSAGE: "fresh",
    ErrorCode.UNKNOWN_TYPE: "fresh",
    ErrorCode.TOO_LARGE: "fresh",
}


def reconnect_of(code: ErrorCode) -> Reconnect:
    """What a client does after a goodbye with that code, unless it says otherwise."""
    return _RECONNECT.get(code, "never")


def millis(seconds: float) -> int:
    """Seconds as the wire has them."""
    return int(seconds * 1000)


def error(
    code: ErrorCode, msg: str, *, re: str | None = None, retry: int | None = None, d: ErrorDetail | None = None
) -> Error:
    """An `error` frame; ``retry`` in milliseconds."""
    return Error(re=re, code=code, msg=msg[:256], retry=retry, d=d)


class State:
    """Sockets, sessions, rooms, and deadlines of one hub."""

    def __init__(
        self,
        settings: HubSettings,
        entropy: Entropy,
        admit: Admission | None,
        mint: Minter | None,
        relays: RelayView,
    ) -> None:
        self.settings = settings
        self.entropy = entropy
        self.admit = admit
        self.relays = relays
        self.draining = False
        self.connections: dict[int, Connection] = {}
        self.sessions: dict[str, Session] = {}
        self.peers: dict[str, Session] = {}
        self.rooms: dict[str, Room] = {}
        self.timers: Deadlines[TimerKey] = Deadlines()
        self.sockets: dict[str, int] = {}
        """Sockets by address key."""
        self.held: Counter[str] = Counter()
        """Sessions by address key."""
        self.failures: Guesses[str] = Guesses(settings.auth_failures, settings.auth_window, _MAX_ADDRESSES)
        """Failed admissions by address key, on the monotonic clock."""
        self.bans: ExpiringSet[tuple[str, str, str]] = ExpiringSet(_MAX_BANS)
        """Room, kind and value of what is banned, on the wall clock."""
        self.used_tokens: ExpiringSet[str] = ExpiringSet(_MAX_TOKENS)
        """Tokens that open one session only, by id, on the wall clock."""
        self.leaving: dict[str, tuple[str, float]] = {}
        """TURN users to revoke after the grace: their peer id, and until when."""
        self._mint = mint
        self._overflowing: dict[str, Session] = {}
        self._wakes: dict[int, None] = {}
        self._commands: list[Command] = []
        self._facts: list[Fact] = []

    # Frames out

    def send(self, session: Session, message: ServerMessage, kind: Kind, key: tuple[str, str] | None = None) -> int:
        """Queue a frame for a session, and give its number."""
        seq = session.outbox.put(message, kind, key)
        self._look_after(session)
        return seq

    def tell(self, session: Session, message: ServerMessage, key: tuple[str, str]) -> None:
        """Queue a frame of passing interest: without a number, only the last of its key, only for this socket."""
        session.outbox.put(message, Kind.PRESENCE, key, counted=False)
        self._look_after(session)

    def direct(self, connection: Connection, message: ServerMessage) -> None:
        """A frame for the socket itself, ahead of any session's."""
        connection.direct.append(encode(message))
        self._wakes[connection.cid] = None

    def broadcast(
        self,
        room: Room,
        message: ServerMessage,
        kind: Kind,
        *,
        key: tuple[str, str] | None = None,
        but: str = "",
    ) -> None:
        """Queue a frame for everybody in a room but one."""
        for member in room.others(but):
            self.send(member.session, message, kind, key)

    def part(
        self,
        connection: Connection,
        code: ErrorCode,
        msg: str,
        *,
        reconnect: Reconnect | None = None,
        after: int = 0,
    ) -> None:
        """Say goodbye to a socket and have it closed; its session, if it has one, must be taken from it before."""
        if connection.closing:
            return
        connection.closing = True
        how = reconnect or reconnect_of(code)
        goodbye = Goodbye(cid=connection.name, code=code, msg=msg[:256], reconnect=how, after=after)
        self.direct(connection, goodbye)
        self.command(Close(connection.cid, CLOSE_CODES[code], code.value))
        self.timers.remove(("hello", str(connection.cid)))
        if code is not ErrorCode.REPLACED:
            self.fact(ClientRefused(connection.address, code, msg))

    def end(self, connection: Connection) -> None:
        """Close a socket whose client has said goodbye itself."""
        connection.closing = True
        self.command(Close(connection.cid, CLOSE_NORMAL, "bye"))

    def overflowing(self) -> list[Session]:
        """Sessions whose clients do not read, once."""
        found = [session for session in self._overflowing.values() if session.connection is not None]
        self._overflowing.clear()
        return found

    def _look_after(self, session: Session) -> None:
        if session.connection is not None:
            self._wakes[session.connection.cid] = None
            if session.outbox.waiting_bytes > self.settings.queue_bytes:
                self._overflowing[session.sid] = session

    # What comes out

    def command(self, command: Command) -> None:
        """Something for the edge to do."""
        self._commands.append(command)

    def fact(self, fact: Fact) -> None:
        """Something that has happened."""
        self._facts.append(fact)

    def take_commands(self) -> list[Command]:
        """Everything to do since the last time; sockets to wake come first."""
        found: list[Command] = [*(Wake(cid) for cid in self._wakes), *self._commands]
        self._wakes.clear()
        self._commands = []
        return found

    def take_facts(self) -> list[Fact]:
        """Everything that has happened since the last time."""
        found, self._facts = self._facts, []
        return found

    # Sessions

    def add_session(self, session: Session) -> None:
        """One more session."""
        self.sessions[session.sid] = session
        self.peers[session.peer_id] = session
        self.held[session.address_key] += 1

    def move_session(self, session: Session, connection: Connection) -> None:
        """The session's client comes from elsewhere now."""
        self._let_go(session)
        session.address, session.address_key = connection.address, connection.address_key
        session.host = connection.host
        self.held[session.address_key] += 1

    def remove_session(self, session: Session) -> None:
        """One less."""
        del self.sessions[session.sid]
        del self.peers[session.peer_id]
        self._let_go(session)

    def _let_go(self, session: Session) -> None:
        self.held[session.address_key] -= 1
        if not self.held[session.address_key]:
            del self.held[session.address_key]

    # Names

    def name(self, length: int) -> str:
        """An unguessable name of that many letters and digits (base32: five bits each)."""
        size = -(-length * 5 // 8)
        return base64.b32encode(self.entropy(size)).decode("ascii").lower()[:length]

    def peer_id(self) -> str:
        """A name that no session has."""
        while (name := self.name(10)) in self.peers:
            pass
        return name

    def fraction(self) -> float:
        """From 0 up to, but not including, 1."""
        return int.from_bytes(self.entropy(4), "big") / 2**32

    # Rooms and TURN users

    def member_of(self, session: Session) -> tuple[Room, Member] | None:
        """The room that a session is in, and its member there."""
        if session.room is None:
            return None
        room = self.rooms[session.room]
        return room, room.members[session.peer_id]

    def user_id(self, session: Session, place: str) -> str:
        """The TURN user of a session in a room (its hash) or in the lobby."""
        suffix = f"-{session.generation}" if session.generation else ""
        return f"{place}.{session.peer_id}{suffix}"

    def mint(self, session: Session, user_id: str, now: Now) -> Ice:
        """ICE servers with fresh credentials, and the deadline noted for the day they have to be revoked."""
        if self._mint is None:
            expires = int(now.wall) + self.settings.credential_lifetime
            ice = Ice(servers=(), exp=expires, policy=self.settings.policy)
        else:
            ice = self._mint(user_id, now.wall, session.host)
        if user_id.startswith(f"{LOBBY}."):
            session.lobby = {known: end for known, end in session.lobby.items() if end > now.wall}
            session.lobby[user_id] = float(ice.exp)
        elif (found := self.member_of(session)) is not None:
            found[1].expires = max(found[1].expires, float(ice.exp))
        return ice

    def revoke(self, user_id: str, peer_id: str, until: float) -> None:
        """Have a user's allocations ended now; its session, if it lives on, gets another user id from now on."""
        self.leaving.pop(user_id, None)
        self.timers.remove(("revoke", user_id))
        self.command(Revoke(user_id, until))
        self.relays.forget(user_id)
        if (session := self.peers.get(peer_id)) is not None:
            session.generation += 1

    def revoke_later(self, user_id: str, peer_id: str, until: float, now: Now) -> None:
        """The same, after the grace."""
        self.leaving[user_id] = peer_id, until
        self.timers.set(("revoke", user_id), now.mono + self.settings.leave_grace)

    def keep(self, user_id: str) -> None:
        """Whoever left is back in time."""
        self.leaving.pop(user_id, None)
        self.timers.remove(("revoke", user_id))
