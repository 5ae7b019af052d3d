"""The room core: frames and the time in, frames and commands out. It has no sockets and no clock.

Every input first handles what is due, then the input itself, then clients that do not read. Afterwards the shell
carries out `commands`, takes frames for the sockets to wake, and sets its timer to `deadline`. No frame of a client
makes an input raise.

If very much is due in the same moment (thousands lose their sockets together, or are to get new credentials), an input
does `SLICE` of it. `deadline` is then in the past, so that the shell goes on with the rest in the next turn of its
loop, and other traffic has its turn in between. Who returns before its turn has come is in time.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from itertools import islice
from typing import Final

from turnserver.core.types import Now
from turnserver.signaling.protocol.base import ClientMessage, Counted, Delivery, Rate, Relayed, ServerMessage
from turnserver.signaling.protocol.client_messages import Bye, Hello, Join, Ping
from turnserver.signaling.protocol.codec import parse
from turnserver.signaling.protocol.errors import Denial, Reconnect, SignalCode, reconnect_of
from turnserver.signaling.protocol.fields import (
    MAX_DATA,
    MAX_FRAME,
    MAX_META,
    MAX_NAME,
    MAX_SDP,
    ClientLimits,
    ErrorDetail,
)
from turnserver.signaling.protocol.server_messages import Ok, Pong, Welcome
from turnserver.signaling.rooms import (
    assistance,
    entrance,
    lifecycle,
    mediation,
    moderation,
    presence,
    recording,
    relaying,
    switching,
)
from turnserver.signaling.rooms.facts import CandidatesSeen, Close, Fact, HubCommand, MessageRefused, Revoke, Wake
from turnserver.signaling.rooms.handlers import HANDLERS, Heard, handles
from turnserver.signaling.rooms.media_port import MediaEvent, MediaPort
from turnserver.signaling.rooms.session import ClientPace, Connection, Session
from turnserver.signaling.rooms.settings import (
    Admission,
    Doorway,
    Grant,
    HubBounds,
    Inviter,
    MediaOptions,
    Minter,
    RoomOptions,
)
from turnserver.signaling.rooms.state import Due, HubState, RandomBytes, error, millis
from turnserver.signaling.rooms.views import PeerView, RoomsView, RoomView
from turnserver.signaling.truth.relays import RelayView
from turnserver.throttle import prefix_of

__all__ = [
    "CandidatesSeen",
    "Close",
    "Fact",
    "Grant",
    "Hub",
    "HubCommand",
    "PeerView",
    "Revoke",
    "RoomView",
    "Wake",
]

FEATURES: Final = ("mesh", "restart", "diag", "paths", "knock", "invite")
SFU_FEATURE: Final = "sfu"
"""Rooms can go through an SFU: a client may join with the mode `auto`."""

RECORD_FEATURE: Final = "record"
"""A host can have the server record the room."""

_BROKEN: Final = frozenset(
    {SignalCode.BAD_JSON, SignalCode.BAD_MESSAGE, SignalCode.UNKNOWN_TYPE, SignalCode.TOO_LARGE},
)
SLICE: Final = 32
"""How much of what is due one input does: sessions, sockets, or rooms."""

_FLOOD_PAUSE: Final = 10_000
"""Milliseconds that a client which has flooded the server is asked to wait."""

_BOUNDS: Final = HubBounds()

_STOPPING: Final = "the server is about to stop"


class Hub:
    """All rooms of a process.

    ``entropy`` returns that many unguessable bytes. ``admit`` reads tokens; without it only an open hub admits clients.
    ``mint`` makes ICE servers; without it clients get none. ``relays`` is the TURN server's knowledge of paths.
    ``invite`` makes tokens for those whom hosts invite; without it, they cannot. ``media`` is an SFU for rooms with
    more people than a mesh has; without it, all rooms are meshes.
    """

    def __init__(
        self,
        options: RoomOptions,
        entropy: RandomBytes,
        admit: Admission | None,
        mint: Minter | None,
        relays: RelayView,
        *,
        bounds: HubBounds = _BOUNDS,
        invite: Inviter | None = None,
        media: MediaPort | None = None,
        media_options: MediaOptions | None = None,
    ) -> None:
        self._state = HubState(
            options,
            entropy,
            admit,
            mint,
            relays,
            bounds=bounds,
            invite=invite,
            media=media,
            media_options=media_options,
        )
        self._soon: deque[tuple[Callable[[str, Now], None], str]] = deque()
        """What is to be done for many (by name), in slices..."""
        self._soon_since = 0.0
        """...since the time at which the last of it was asked for."""
        self._spread = 0.0
        """Seconds within which clients are asked to return when the server stops."""

    def use(self, options: RoomOptions) -> None:
        """Use other options from now on, for new clients and new rooms."""
        self._state.options = options

    # Inputs: sockets

    def opened(self, cid: int, address: str, doorway: Doorway, now: Now) -> None:
        """A socket is open: the client's ``address``, and the way by which it has come."""
        self._advance(now)
        state = self._state
        connection = Connection(cid, state.name(8), address, doorway, bounds=state.bounds, mono=now.mono)
        held = lifecycle.open_socket(state, connection, now)
        if state.draining:
            lifecycle.close_socket(state, connection, SignalCode.DRAINING, _STOPPING, reconnect="fresh")
        elif held > state.options.sockets_per_address:
            msg = "too many connections from your address"
            lifecycle.close_socket(
                state, connection, SignalCode.RATE_LIMITED, msg, reconnect="fresh", after=_FLOOD_PAUSE
            )
        else:
            state.direct(connection, _welcome(state, connection, now))

    def text(self, cid: int, frame: str, now: Now) -> None:
        """A text message was received."""
        self._advance(now)
        connection = self._state.connections.get(cid)
        if connection is None or (connection.closing and connection.left is None):
            return
        if connection.closing:
            with suppress(Denial):
                late = parse(frame)
                if isinstance(late, Bye) and not late.keep:
                    lifecycle.hear_late_bye(self._state, connection, now)
            self._settle(now)
            return
        message: ClientMessage | None = None
        try:
            message = parse(frame)
            self._hear(connection, message, Heard(now, len(frame)))
        except Denial as refusal:
            self._refuse(connection, message, refusal, now)
        self._settle(now)

    def binary(self, cid: int, now: Now) -> None:
        """A binary message was received; the protocol has none."""
        self._advance(now)
        connection = self._state.connections.get(cid)
        if connection is not None and not connection.closing:
            self._refuse(
                connection, None, Denial(SignalCode.BAD_MESSAGE, "frames must be text, not binary", path=""), now
            )
        self._settle(now)

    def closed(self, cid: int, now: Now) -> None:
        """The socket has closed."""
        self._advance(now)
        connection = self._state.connections.get(cid)
        if connection is not None:
            lifecycle.socket_lost(self._state, connection, now)
            self._settle(now)

    def seated(self, cid: int) -> bool:
        """Whether the client of that socket is in a room, or waits at the door of one."""
        connection = self._state.connections.get(cid)
        session = None if connection is None else connection.session
        return session is not None and (session.room is not None or session.waits_for is not None)

    def take(self, cid: int) -> str | None:
        """The next frame for that socket; None when there is none now."""
        connection = self._state.connections.get(cid)
        if connection is None:
            return None
        if connection.direct:
            return connection.direct.popleft()
        return connection.session.outbox.take() if connection.session is not None else None

    def media(self, event: MediaEvent, now: Now) -> None:
        """Something that the SFU reports."""
        self._advance(now)
        mediation.report(self._state, event, now)
        self._settle(now)

    # Inputs: time, and the operator

    def expire(self, now: Now) -> None:
        """Handle everything that is due."""
        self._advance(now)
        self._settle(now)

    def wind_down(self, until: float, now: Now) -> None:
        """Tell all clients that the server stops at ``until`` (Unix time) at the latest, and open no rooms any more.

        Rooms that exist go on, and can be joined.
        """
        self._state.closes_at = until
        self._do_soon(self._warn_one, self._state.sessions, now)

    def drain(self, after: float, now: Now) -> None:
        """Send goodbye to all clients, to come back within ``after`` seconds; admit no client from now on."""
        state = self._state
        state.draining = True
        self._spread = after
        self._do_soon(self._drain_one, map(str, state.connections), now)

    def rotate(self, now: Now) -> None:
        """Send new ICE servers to all clients, because the previous ones are not valid any more."""
        members = (name for room in self._state.rooms.values() for name in room.members)
        self._do_soon(self._rotate_one, members, now)

    def close_room(self, room_id: str, now: Now) -> bool:
        """Remove all participants from a room; False if there is no such room."""
        self._advance(now)
        room = self._state.rooms.get(room_id)
        if room is not None:
            moderation.close_room(self._state, room, now)
            self._settle(now)
        return room is not None

    def kick(self, room_id: str, peer_id: str, reason: str, now: Now) -> bool:
        """Remove one participant; False if there is none."""
        self._advance(now)
        room = self._state.rooms.get(room_id)
        if room is None or peer_id not in room.members:
            return False
        moderation.expel(self._state, room, room.members[peer_id].session, reason[:256], now)
        self._settle(now)
        return True

    def record(self, room_id: str, on: bool, now: Now) -> bool:
        """Record a room, or do so no more; False if there is no such room. Raises `Denial`."""
        self._advance(now)
        room = self._state.rooms.get(room_id)
        if room is None:
            return False
        try:
            if on:
                recording.start(self._state, room, "", now)
            else:
                recording.stop(self._state, room, now)
        finally:
            self._settle(now)
        return True

    def is_banned(self, grant: Grant, address: str, now: Now) -> bool:
        """True if somebody with that token, at that address, was banned from the token's room."""
        return grant.room is not None and presence.is_banned(self._state, grant.room, grant, prefix_of(address), now)

    def report_paths(self, now: Now) -> None:
        """Send all participants the changes of their paths, as the relays see them."""
        self._do_soon(self._report_one, self._state.rooms, now)

    # Outputs

    def commands(self) -> list[HubCommand]:
        """Hand over the commands, in order."""
        return self._state.take_commands()

    def events(self) -> list[Fact]:
        """Hand over what has happened."""
        return self._state.take_facts()

    def deadline(self) -> float | None:
        """When `expire` must be called, on the monotonic clock."""
        due = self._state.deadlines.next()
        if self._soon:
            return self._soon_since if due is None else min(due, self._soon_since)
        return due

    def rooms(self) -> list[RoomView]:
        """Every room."""
        return [room.view() for room in self._state.rooms.values()]

    def room(self, room_id: str) -> RoomView | None:
        """One room."""
        room = self._state.rooms.get(room_id)
        return room.view() if room is not None else None

    @property
    def census(self) -> RoomsView:
        """How many rooms, participants and pairs there are; cheap also for very many."""
        modes: Counter[str] = Counter()
        paths: Counter[str] = Counter()
        connected = away = waiting = recorded = 0
        for room in self._state.rooms.values():
            modes[room.routing.mode] += 1
            paths.update(room.paths)
            waiting += len(room.waiting)
            recorded += room.recording is not None
            here = sum(member.session.connection is not None for member in room.members.values())
            connected += here
            away += len(room.members) - here
        return RoomsView(modes, connected, away, waiting, recorded, paths, len(self._state.sessions))

    @property
    def room_count(self) -> int:
        """Rooms with participants."""
        return len(self._state.rooms)

    @property
    def peer_count(self) -> int:
        """Participants of all rooms."""
        return sum(len(room.members) for room in self._state.rooms.values())

    # Inside

    def _advance(self, now: Now) -> None:
        """Do a slice of what is due, the earliest first, and of what is to be done for many."""
        state, left = self._state, SLICE
        for due, name in islice(state.deadlines.due(now.mono), SLICE):
            left -= 1
            if due is Due.HELLO:
                lifecycle.close_socket(
                    state, state.connections[int(name)], SignalCode.IDLE, "no hello was received in time"
                )
            elif due is Due.GAP:
                lifecycle.gap_over(state, state.sessions[name], now)
            elif due is Due.ICE:
                assistance.push_ice(state, state.peers[name], "refresh", now)
            elif due is Due.MODE:
                switching.due(state, state.rooms[name], now)
            else:
                lifecycle.grace_over(state, name)
        while left and self._soon:
            left -= 1
            act, name = self._soon.popleft()
            act(name, now)

    def _do_soon(self, act: Callable[[str, Now], None], names: Iterable[str], now: Now) -> None:
        """Do the same for many: a slice of them now, and the rest with later inputs. Some may have ended by then."""
        self._soon.extend((act, name) for name in names)
        self._soon_since = now.mono
        self._advance(now)
        self._settle(now)

    def _rotate_one(self, peer_id: str, now: Now) -> None:
        session = self._state.peers.get(peer_id)
        if session is not None:
            assistance.push_ice(self._state, session, "rotate", now)

    def _report_one(self, room_id: str, now: Now) -> None:
        room = self._state.rooms.get(room_id)
        if room is not None:
            assistance.report_paths(self._state, room)

    def _warn_one(self, sid: str, now: Now) -> None:
        session = self._state.sessions.get(sid)
        if session is not None and session.farewell is None:
            entrance.tell_of_end(self._state, session)

    def _drain_one(self, cid: str, now: Now) -> None:
        state = self._state
        connection = state.connections.get(int(cid))
        if connection is None:
            return
        if connection.session is not None:
            lifecycle.detach(state, connection.session, now, tell=False)
        pause = millis(self._spread * state.fraction())
        lifecycle.close_socket(state, connection, SignalCode.DRAINING, _STOPPING, after=pause)

    def _settle(self, now: Now) -> None:
        """Disconnect clients that do not read; telling the others may fill another client's queue."""
        while found := self._state.overflowing():
            for session in found:
                connection = session.connection
                if connection is not None:
                    lifecycle.detach(self._state, session, now)
                    msg = "the client reads more slowly than frames arrive for it"
                    lifecycle.close_socket(self._state, connection, SignalCode.SLOW_CONSUMER, msg)

    def _hear(self, connection: Connection, message: ClientMessage, heard: Heard) -> None:
        session = connection.session
        if isinstance(message, Bye):
            if session is not None and message.keep:
                lifecycle.detach(self._state, session, heard.now, wait=message.keep / 1000)
            elif session is not None:
                lifecycle.end_session(self._state, session, "left", heard.now)
            lifecycle.end_socket(self._state, connection)
            return
        if session is None:
            self._hear_stranger(connection, message, heard.now)
            return
        session.confirm()
        if message.ack is not None:
            session.outbox.ack(message.ack)
        number = message.n if isinstance(message, Counted) else 0
        repeated = number > 0 and self._is_repeated(session, number)
        self._pace(session.pacer, message, heard.now)
        if repeated:
            if message.id is not None and number <= session.unanswered:
                raise Denial(SignalCode.RESUME_LOST, "it is no longer known whether this request was carried out")
            return
        self._answer(session, message, self._handle(session, message, heard))

    def _hear_stranger(self, connection: Connection, message: ClientMessage, now: Now) -> None:
        self._pace(connection.pacer, message, now)
        if isinstance(message, Hello):
            entrance.hello(self._state, connection, message, now)
        elif isinstance(message, Ping):
            self._state.direct(connection, _pong(message, now))
        else:
            raise Denial(SignalCode.BAD_MESSAGE, "the first message must be hello", path="t")

    @staticmethod
    def _is_repeated(session: Session, number: int) -> bool:
        """Count a message. Raises `Denial` if messages before it are missing."""
        if number <= session.n:
            return True
        if number != session.n + 1:
            raise Denial(SignalCode.BAD_MESSAGE, f"n is {session.n + 1} next", path="n")
        session.n = number
        return False

    def _pace(self, pacer: ClientPace, message: ClientMessage, now: Now) -> None:
        """Count the frame against the rate, which some types may exceed for a limited time. Raises `Denial`."""
        debt = float(self._state.bounds.burst) if message.rate is Rate.DEBT else 0.0
        pause = pacer.frames.take(now.mono, debt=debt)
        if not pause and not pacer.frames.in_debt:
            return
        if pacer.flood.refused(now.mono) >= self._state.bounds.flood or (pause and debt):
            raise Denial(SignalCode.RATE_LIMITED, "far too many messages", retry=_FLOOD_PAUSE, fatal=True)
        if pause:
            raise Denial(SignalCode.RATE_LIMITED, "too many messages", retry=millis(pause) + 1)

    def _handle(self, session: Session, message: ClientMessage, heard: Heard) -> ServerMessage | None:
        handler = HANDLERS.get(type(message))
        if handler is not None:
            return handler(self._state, session, message, heard)
        if isinstance(message, Relayed):
            relaying.relay(self._state, session, message, heard)
            return None
        raise Denial(SignalCode.UNKNOWN_TYPE, "this server does not support this message type", path="t")

    def _answer(self, session: Session, message: ClientMessage, answer: ServerMessage | None) -> None:
        """Number answers to counted messages, so that a resume repeats them: the message is not sent again."""
        if answer is None and message.id is not None and message.answer is None:
            answer = Ok(re=message.id)
        if answer is not None:
            self._state.send(session, answer, Delivery.RELAYED if isinstance(message, Counted) else Delivery.SOCKET)

    def _refuse(self, connection: Connection, message: ClientMessage | None, refusal: Denial, now: Now) -> None:
        state, session = self._state, connection.session
        re = message.id if message is not None else refusal.re
        n = message.n if isinstance(message, Counted) else refusal.n
        if message is None and session is not None and n == session.n + 1:
            session.n = n  # a malformed counted message counts as handled: repeating it would not help
        detail = refusal.detail | ({"n": n} if n is not None else {})
        d = ErrorDetail(**detail) if detail else None
        answer = error(refusal.code, refusal.msg, re=re, retry=refusal.retry, d=d)
        fatal = refusal.fatal or (refusal.code in _BROKEN and connection.bad.take(now.mono) > 0)
        if not fatal:
            room = message.room if isinstance(message, Join) else ""
            peer = "" if session is None else session.peer_id
            state.fact(MessageRefused(connection.address, refusal.code, refusal.msg, room, peer))
            if session is None:
                state.direct(connection, answer)
            else:
                numbered = isinstance(message, Counted) and re is not None
                state.send(session, answer, Delivery.RELAYED if numbered else Delivery.SOCKET)
            return
        if session is not None:
            if reconnect_of(refusal.code) == "resume":
                lifecycle.detach(state, session, now)
            else:
                lifecycle.end_session(state, session, "left", now)
        state.direct(connection, answer)
        after = refusal.retry or 0
        how = None if session is not None else _anew(refusal)
        lifecycle.close_socket(state, connection, refusal.code, refusal.msg, reconnect=how, after=after)


@handles(Ping)
def _ping(state: HubState, session: Session, message: Ping, heard: Heard) -> Pong:
    return _pong(message, heard.now)


def _pong(message: Ping, now: Now) -> Pong:
    return Pong(re=message.id, ts=message.ts, now=millis(now.wall))


def _anew(refusal: Denial) -> Reconnect:
    """A client without a session can only begin a new one; later, if ``retry`` says when."""
    return "fresh" if refusal.retry is not None or reconnect_of(refusal.code) != "never" else "never"


def _welcome(state: HubState, connection: Connection, now: Now) -> Welcome:
    return Welcome(
        v=entrance.VERSIONS,
        feat=_features(state),
        limits=ClientLimits(
            msg=MAX_FRAME,
            rate=state.bounds.rate,
            burst=state.bounds.burst,
            name=MAX_NAME,
            meta=MAX_META,
            data=MAX_DATA,
            sdp=MAX_SDP,
        ),
        hb=millis(state.options.heartbeat),
        resume=millis(state.options.resume),
        now=millis(now.wall),
        cid=connection.name,
    )


def _features(state: HubState) -> tuple[str, ...]:
    """What the server can beyond the protocol's first version."""
    if state.media is None:
        return FEATURES
    return (*FEATURES, SFU_FEATURE, RECORD_FEATURE) if state.media_options.records else (*FEATURES, SFU_FEATURE)
