"""How sockets, sessions and seats begin and end. Nothing else in the server ends one of them.

A client has three parts here, and each has its own lifetime:

- a **socket** (`Connection`) is one WebSocket. It ends when the network connection ends, when its client sends `bye`,
  or when we close it; in the last case its last frame is a `goodbye`, and the edge is told to close it (`Close`).
- a **session** (`Session`) is one client over a series of sockets, with at most one at a time. Without a socket it
  waits for its client, for as long as a resume is possible. A client that is dismissed may not learn of it before it
  returns. A dismissed session therefore stays, as a name and a reason, for as long as it would have waited.
- a **seat** is the place of a session in a room: in the room (`Member`) or at its door (`Waiter`). A session has one
  seat at most.

Rules:

1. The end of a socket ends no session. The end of a session ends its seat. The end of the last seat in a room ends the
   room, and waiters at its door are refused.
2. A socket is closed only after its session has been detached from it, so that later frames for the session are not
   lost in a socket that is about to close.
3. A session has a socket or a deadline, and an open socket has a session or a deadline, so that abandoned ones end by
   themselves.
4. A seat whose session waits for its client is kept for it only while nobody else needs the seat (`seats`). The
   session lives on without it then.
5. The TURN user of a seat ends with it: at once if the client is sent away, else after a grace period in which the
   client may take the seat again and keep its relays. A TURN user that was revoked is never used again.
6. Every end is reported to all concerned: the others in the room, the hosts at the door, the log.

The three tables say which event is possible in which state, and which state follows. The events are the functions
below. An event that a table does not have is a bug of the server: it raises `LifecycleFault`, and nothing changes.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, TypeVar

from meshturn.root import MeshturnError
from turnserver.core.types import Now
from turnserver.signaling.protocol.client_messages import Join
from turnserver.signaling.protocol.errors import CLOSE_CODES, CLOSE_NORMAL, Reconnect, SignalCode, reconnect_of
from turnserver.signaling.protocol.fields import Media
from turnserver.signaling.protocol.server_messages import Goodbye, Knock, PeerGap, PeerLeave
from turnserver.signaling.rooms import switching
from turnserver.signaling.rooms.facts import (
    ClientRefused,
    Close,
    LeaveReason,
    PeerLeft,
    PeerLost,
    Revoke,
    RoomClosed,
    RoomOpened,
    SessionEnded,
)
from turnserver.signaling.rooms.outbox import Outbox
from turnserver.signaling.rooms.room import Member, Room, Waiter
from turnserver.signaling.rooms.session import Connection, Session
from turnserver.signaling.rooms.state import Due, HubState, Timer, error, millis

__all__ = [
    "SEAT",
    "SESSION",
    "SOCKET",
    "LifecycleFault",
    "SeatState",
    "SessionState",
    "SocketState",
    "attach",
    "begin_session",
    "close_socket",
    "detach",
    "dismiss",
    "end_session",
    "end_socket",
    "gap_over",
    "grace_over",
    "hear_late_bye",
    "knock",
    "leave_door",
    "open_room",
    "open_socket",
    "revoke_later",
    "revoke_user",
    "seat_state",
    "session_state",
    "socket_lost",
    "socket_state",
    "take_seat",
    "turn_away",
    "vacate",
    "wait_at_door",
]


class SocketState(StrEnum):
    """The state of a socket."""

    ABSENT = "absent"
    """It is in no table: not open yet, or closed."""
    OPEN = "open"
    """It has no session: there was no `hello` yet, or its session was detached."""
    SERVING = "serving"
    """It has a session."""
    CLOSING = "closing"
    """It is closed once its queued frames are sent, and its client's frames are ignored."""


class SessionState(StrEnum):
    """The state of a session."""

    ABSENT = "absent"
    """It is in no table: not begun, or ended."""
    ATTACHED = "attached"
    """It has a socket."""
    WAITING = "waiting"
    """It has no socket, and waits for its client until the deadline `Due.GAP`."""
    DISMISSED = "dismissed"
    """Its client was sent away, and can learn the reason until the same deadline."""


class SeatState(StrEnum):
    """Where a session has its seat."""

    NOWHERE = "nowhere"
    DOOR = "door"
    ROOM = "room"


SOCKET: Final[Mapping[SocketState, Mapping[str, SocketState]]] = {
    SocketState.ABSENT: {
        "open_socket": SocketState.OPEN,
    },
    SocketState.OPEN: {
        "attach": SocketState.SERVING,
        "close_socket": SocketState.CLOSING,
        "end_socket": SocketState.CLOSING,
        "socket_lost": SocketState.ABSENT,
    },
    SocketState.SERVING: {
        "detach": SocketState.OPEN,
        "socket_lost": SocketState.ABSENT,
    },
    SocketState.CLOSING: {
        "close_socket": SocketState.CLOSING,
        "socket_lost": SocketState.ABSENT,
    },
}
"""``detach`` is what happens to a socket when its session detaches, ends, is dismissed, or goes to another socket.
``close_socket`` does nothing the second time: two reasons may come together."""

SESSION: Final[Mapping[SessionState, Mapping[str, SessionState]]] = {
    SessionState.ABSENT: {
        "begin_session": SessionState.ATTACHED,
    },
    SessionState.ATTACHED: {
        "attach": SessionState.ATTACHED,
        "detach": SessionState.WAITING,
        "end_session": SessionState.ABSENT,
        "dismiss": SessionState.DISMISSED,
    },
    SessionState.WAITING: {
        "attach": SessionState.ATTACHED,
        "end_session": SessionState.ABSENT,
        "dismiss": SessionState.DISMISSED,
        "gap_over": SessionState.ABSENT,
    },
    SessionState.DISMISSED: {
        "gap_over": SessionState.ABSENT,
    },
}
"""``attach`` of an attached session: another socket continues it, and the previous one is closed."""

SEAT: Final[Mapping[SeatState, Mapping[str, SeatState]]] = {
    SeatState.NOWHERE: {
        "wait_at_door": SeatState.DOOR,
        "take_seat": SeatState.ROOM,
        "leave_door": SeatState.NOWHERE,
    },
    SeatState.DOOR: {
        "wait_at_door": SeatState.DOOR,
        "take_seat": SeatState.ROOM,
        "leave_door": SeatState.NOWHERE,
    },
    SeatState.ROOM: {
        "vacate": SeatState.NOWHERE,
        "leave_door": SeatState.ROOM,
    },
}
"""``leave_door`` does nothing without a waiter, and ``wait_at_door`` at another door ends the previous wait."""


class LifecycleFault(MeshturnError):
    """An event in a state in which it is not possible: a bug of the server, not caused by what a client sends."""


_S = TypeVar("_S", bound=StrEnum)


def _allow(table: Mapping[_S, Mapping[str, _S]], state: _S, event: str) -> None:
    if event not in table[state]:
        raise LifecycleFault(f"{event} in the state {state}")


def socket_state(state: HubState, connection: Connection) -> SocketState:
    """The state of a socket."""
    if state.connections.get(connection.cid) is not connection:
        return SocketState.ABSENT
    if connection.closing:
        return SocketState.CLOSING
    return SocketState.OPEN if connection.session is None else SocketState.SERVING


def session_state(state: HubState, session: Session) -> SessionState:
    """The state of a session."""
    if state.sessions.get(session.sid) is not session:
        return SessionState.ABSENT
    if session.farewell is not None:
        return SessionState.DISMISSED
    return SessionState.WAITING if session.connection is None else SessionState.ATTACHED


def seat_state(session: Session) -> SeatState:
    """The state of a session's seat."""
    if session.room is not None:
        return SeatState.ROOM
    return SeatState.NOWHERE if session.waits_for is None else SeatState.DOOR


# Sockets


def open_socket(state: HubState, connection: Connection, now: Now) -> int:
    """A socket has opened; returns the number of strangers' sockets from its address.

    Without a hello, `Due.HELLO` ends it.
    """
    _allow(SOCKET, socket_state(state, connection), "open_socket")
    state.connections[connection.cid] = connection
    held = state.sockets.get(connection.address_key, 0) + 1
    state.sockets[connection.address_key] = held
    state.deadlines.set(Timer(Due.HELLO, str(connection.cid)), now.mono + state.bounds.hello)
    return held


def close_socket(
    state: HubState,
    connection: Connection,
    code: SignalCode,
    msg: str,
    *,
    reconnect: Reconnect | None = None,
    after: int = 0,
) -> None:
    """Send goodbye on a socket and close it.

    ``reconnect`` says what the client should do then, if not the default for that code; ``after`` is how long it should
    wait, in milliseconds.
    """
    _allow(SOCKET, socket_state(state, connection), "close_socket")
    if connection.closing:
        return
    connection.closing = True
    state.deadlines.remove(Timer(Due.HELLO, str(connection.cid)))
    how = reconnect or reconnect_of(code)
    state.direct(connection, Goodbye(cid=connection.name, code=code, msg=msg[:256], reconnect=how, after=after))
    state.command(Close(connection.cid, CLOSE_CODES[code], code.value))
    if code is not SignalCode.REPLACED:
        state.fact(ClientRefused(connection.address, code, msg))


def end_socket(state: HubState, connection: Connection) -> None:
    """Close a socket whose client has sent `bye`."""
    _allow(SOCKET, socket_state(state, connection), "end_socket")
    connection.closing = True
    state.deadlines.remove(Timer(Due.HELLO, str(connection.cid)))
    state.command(Close(connection.cid, CLOSE_NORMAL, "bye"))


def socket_lost(state: HubState, connection: Connection, now: Now) -> None:
    """The socket has closed, from either side. Its session, if it has one, waits for its client."""
    _allow(SOCKET, socket_state(state, connection), "socket_lost")
    if connection.session is not None:
        detach(state, connection.session, now)
    del state.connections[connection.cid]
    if not connection.vouched:
        _leave_strangers(state, connection)
    state.deadlines.remove(Timer(Due.HELLO, str(connection.cid)))


def hear_late_bye(state: HubState, connection: Connection, now: Now) -> None:
    """A `bye` on a socket that is about to close ends the session that was detached from it and still waits."""
    session = connection.left
    if session is None or session.last is not connection or session_state(state, session) is not SessionState.WAITING:
        return
    end_session(state, session, "left", now)


# Sessions


def begin_session(state: HubState, session: Session, connection: Connection) -> None:
    """A session begins, on a socket without one."""
    _allow(SESSION, session_state(state, session), "begin_session")
    _allow(SOCKET, socket_state(state, connection), "attach")
    state.sessions[session.sid] = session
    state.peers[session.peer_id] = session
    state.held[session.count_key] += 1
    _join(state, session, connection)


def attach(state: HubState, session: Session, connection: Connection) -> bool:
    """A session continues on a socket without one. True if it had another socket, which is closed."""
    _allow(SESSION, session_state(state, session), "attach")
    _allow(SOCKET, socket_state(state, connection), "attach")
    old = session.connection
    if old is not None:
        _part(session)
        close_socket(state, old, SignalCode.REPLACED, "another socket has resumed this session")
    _uncount(state, session)
    session.address, session.address_key = connection.address, connection.address_key
    session.doorway = connection.doorway
    state.held[session.count_key] += 1
    _join(state, session, connection)
    return old is not None


def detach(state: HubState, session: Session, now: Now, *, tell: bool = True, wait: float | None = None) -> None:
    """A session has lost its socket, and waits for its client. With ``tell``, the others in its room are told.

    It waits as long as the configuration says, or ``wait`` seconds if that is less.
    """
    _allow(SESSION, session_state(state, session), "detach")
    session.last.left = session
    _part(session)
    session.lost_at = now.mono
    resume = state.options.resume if wait is None else min(wait, state.options.resume)
    session.gap_until = now.wall + resume
    state.deadlines.set(Timer(Due.GAP, session.sid), now.mono + resume)
    found = state.member_of(session)
    if tell and found is not None:
        room, member = found
        state.broadcast(room, PeerGap(id=member.id, until=millis(session.gap_until)), but=member.id)
        state.fact(PeerLost(room.id, member.id))


def end_session(state: HubState, session: Session, reason: LeaveReason, now: Now, *, revoke: bool = False) -> None:
    """The session ends, and its seat with it; with ``revoke``, its relays end without a grace period."""
    _allow(SESSION, session_state(state, session), "end_session")
    _end(state, session, reason, now, revoke=revoke)


def dismiss(state: HubState, session: Session, code: SignalCode, msg: str, now: Now) -> None:
    """Dismiss a client. If it does not receive the goodbye, it learns the reason when it tries to resume."""
    _allow(SESSION, session_state(state, session), "dismiss")
    connection = session.connection
    _end(state, session, "kicked", now, revoke=True)
    if connection is not None:
        close_socket(state, connection, code, msg)
    session.farewell = code, msg
    session.outbox = Outbox(0, 0)
    state.sessions[session.sid] = session
    state.deadlines.set(Timer(Due.GAP, session.sid), now.mono + state.options.resume)


def gap_over(state: HubState, session: Session, now: Now) -> None:
    """The time for a resume is over."""
    _allow(SESSION, session_state(state, session), "gap_over")
    if session.farewell is None:
        _end(state, session, "timeout", now, revoke=False)
    else:
        del state.sessions[session.sid]


def _end(state: HubState, session: Session, reason: LeaveReason, now: Now, *, revoke: bool) -> None:
    leave_door(state, session)
    if session.room is not None:
        vacate(state, session, reason, now, revoke=revoke)
    for user_id, expires in session.lobby.items():
        if revoke:
            revoke_user(state, user_id, session.peer_id, expires, kicked=True)
        else:
            revoke_later(state, user_id, session.peer_id, expires, now)
    if session.connection is not None:
        _part(session)
    del state.sessions[session.sid]
    del state.peers[session.peer_id]
    _uncount(state, session)
    state.deadlines.remove(Timer(Due.GAP, session.sid))
    state.fact(SessionEnded(session.peer_id, reason))


def _join(state: HubState, session: Session, connection: Connection) -> None:
    session.connection = session.last = connection
    connection.session = session
    if session.vouched and not connection.vouched:
        connection.vouched = True
        _leave_strangers(state, connection)
    state.deadlines.remove(Timer(Due.GAP, session.sid))
    state.deadlines.remove(Timer(Due.HELLO, str(connection.cid)))


def _leave_strangers(state: HubState, connection: Connection) -> None:
    held = state.sockets[connection.address_key] - 1
    if held:
        state.sockets[connection.address_key] = held
    else:
        del state.sockets[connection.address_key]


def _part(session: Session) -> None:
    """The ``detach`` of a socket."""
    connection = session.connection
    assert connection is not None
    connection.session = None
    session.connection = None
    session.outbox.detach()


def _uncount(state: HubState, session: Session) -> None:
    state.held[session.count_key] -= 1
    if not state.held[session.count_key]:
        del state.held[session.count_key]


# Seats


def open_room(state: HubState, room_id: str, size: int, now: Now) -> Room:
    """A new room, for the session that takes the first seat in it."""
    room = Room(room_id, size, now.wall)
    state.rooms[room_id] = room
    state.fact(RoomOpened(room_id))
    switching.begun(state, room, now)
    return room


def wait_at_door(state: HubState, room: Room, session: Session, join: Join) -> None:
    """A session waits to be admitted; asking again changes the request, and hosts are told once."""
    _allow(SEAT, seat_state(session), "wait_at_door")
    known = session.peer_id in room.waiting
    if not known:
        leave_door(state, session)
    waiter = Waiter(session, join)
    room.waiting[session.peer_id] = waiter
    session.waits_for = room.id
    if not known:
        for host in room.hosts():
            knock(state, waiter, host)


def leave_door(state: HubState, session: Session) -> Waiter | None:
    """A session stops waiting; returns its `Waiter`, if there was one."""
    _allow(SEAT, seat_state(session), "leave_door")
    if session.waits_for is None:
        return None
    room = state.rooms[session.waits_for]
    session.waits_for = None
    waiter = room.waiting.pop(session.peer_id)
    for host in room.hosts():
        knock(state, waiter, host, gone=True)
    return waiter


def turn_away(state: HubState, session: Session, code: SignalCode, msg: str, *, retry: int | None = None) -> None:
    """Refuse the join of a client that waits for admission; ``retry`` as in `Denial`."""
    waiter = leave_door(state, session)
    if waiter is not None:
        state.send(session, error(code, msg, re=waiter.join.id, retry=retry))


def take_seat(
    state: HubState, room: Room, session: Session, join: Join, *, name: str, media: Media, now: Now
) -> Member:
    """A session is in the room now, with the TURN user that it had there if it returned in time."""
    _allow(SEAT, seat_state(session), "take_seat")
    leave_door(state, session)
    user_id = state.user_id(session, room.hash)
    state.leaving.pop(user_id, None)
    state.deadlines.remove(Timer(Due.REVOKE, user_id))
    member = room.seat(session, user_id, join, name=name, media=media, wall=now.wall)
    session.room = room.id
    switching.arrived(state, room, member, now)
    return member


def vacate(state: HubState, session: Session, reason: LeaveReason, now: Now, *, revoke: bool = False) -> None:
    """A session has left the room; with ``revoke``, its relays end without a grace. The last one ends the room."""
    _allow(SEAT, seat_state(session), "vacate")
    found = state.member_of(session)
    assert found is not None
    room, member = found
    room.unseat(member.id)
    dark = room.leave_spotlight(member.id)
    session.room = None
    session.appointed = None
    state.deadlines.remove(Timer(Due.ICE, member.id))
    state.fact(PeerLeft(room.id, member.id, member.user_id, reason))
    if revoke:
        revoke_user(state, member.user_id, member.id, member.expires, kicked=True)
    else:
        revoke_later(state, member.user_id, member.id, member.expires, now)
    if room.members:
        state.broadcast(room, PeerLeave(id=member.id, reason=reason))
        switching.departed(state, room, member, now)
        if dark:
            state.broadcast(room, room.news())
        return
    switching.ended(state, room)
    for waiter in list(room.waiting.values()):
        turn_away(state, waiter.session, SignalCode.NO_SUCH_ROOM, "the room no longer exists: everybody has left")
    del state.rooms[room.id]
    state.fact(RoomClosed(room.id, now.wall - room.created))


def knock(state: HubState, waiter: Waiter, host: Member, *, gone: bool = False) -> None:
    """Tell a host which client waits for admission, or no longer does."""
    session = waiter.session
    name = session.grant.name if session.grant.name is not None else waiter.join.name
    state.send(host.session, Knock(id=session.peer_id, name=name, gone=gone or None))


# TURN users


def revoke_user(state: HubState, user_id: str, peer_id: str, until: float, *, kicked: bool) -> None:
    """End a TURN user's allocations now; its session, if it lives on, gets another user id from now on."""
    state.leaving.pop(user_id, None)
    state.deadlines.remove(Timer(Due.REVOKE, user_id))
    state.command(Revoke(user_id, until, kicked))
    state.relays.forget(user_id)
    if (session := state.peers.get(peer_id)) is not None:
        session.generation += 1


def revoke_later(state: HubState, user_id: str, peer_id: str, until: float, now: Now) -> None:
    """The same, after the grace."""
    state.leaving[user_id] = peer_id, until
    state.deadlines.set(Timer(Due.REVOKE, user_id), now.mono + state.bounds.leave_grace)


def grace_over(state: HubState, user_id: str) -> None:
    """The grace of `revoke_later` is over."""
    peer_id, until = state.leaving[user_id]
    revoke_user(state, user_id, peer_id, until, kicked=False)
