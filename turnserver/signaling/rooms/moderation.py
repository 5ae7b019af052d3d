"""Moderation by hosts and administrators: kick, ban, mute, lock, cap, admit, close."""

from collections.abc import Callable, Mapping
from typing import Final

from turnserver.core.types import Now
from turnserver.signaling.protocol.client_messages import Mod
from turnserver.signaling.protocol.errors import Denial, SignalCode
from turnserver.signaling.protocol.server_messages import Mute
from turnserver.signaling.rooms.assistance import inside, other
from turnserver.signaling.rooms.facts import Kicked
from turnserver.signaling.rooms.handlers import Heard, handles
from turnserver.signaling.rooms.lifecycle import dismiss, turn_away
from turnserver.signaling.rooms.presence import announce_room, ban_keys, let_in
from turnserver.signaling.rooms.room import Member, Room
from turnserver.signaling.rooms.seats import free_seat
from turnserver.signaling.rooms.session import Session
from turnserver.signaling.rooms.state import HubState

__all__ = ["close_room", "expel", "moderate"]


@handles(Mod)
def moderate(state: HubState, session: Session, message: Mod, heard: Heard) -> None:
    """`mod`: for hosts only. Raises `Denial`."""
    room, member = inside(state, session)
    if member.role != "host":
        raise Denial(SignalCode.FORBIDDEN, "only hosts may do this")
    _OPERATIONS[message.op](state, room, member, message, heard.now)


def expel(state: HubState, room: Room, target: Session, reason: str, now: Now, *, by: str = "") -> None:
    """Dismiss a participant of a room, or a client that waits for admission."""
    state.fact(Kicked(room.id, target.peer_id, by, reason, banned=False))
    dismiss(state, target, SignalCode.KICKED, reason or "you were removed from the room", now)


def close_room(state: HubState, room: Room, now: Now) -> None:
    """Remove all participants."""
    for waiter in list(room.waiting.values()):
        turn_away(state, waiter.session, SignalCode.ROOM_CLOSED, "the room was closed")
    for member in list(room.members.values()):
        dismiss(state, member.session, SignalCode.ROOM_CLOSED, "the room was closed", now)


def _kick(state: HubState, room: Room, host: Member, message: Mod, now: Now) -> None:
    expel(state, room, _somebody(room, host, message.to), message.reason, now, by=host.id)


def _ban(state: HubState, room: Room, host: Member, message: Mod, now: Now) -> None:
    target = _somebody(room, host, message.to)
    grant = host.session.grant
    owner = room.id if grant.room is not None else f"*{grant.subject or grant.token_id}"  # no room begins with this
    for kind, value in ban_keys(target.grant, target.address_key):
        until = now.wall + state.bounds.address_ban if kind == "address" else target.grant.expires
        state.bans.add((room.id, kind, value), owner, now.wall, until)
    state.fact(Kicked(room.id, target.peer_id, host.id, message.reason, banned=True))
    dismiss(state, target, SignalCode.BANNED, message.reason or "you were banned from the room", now)


def _mute(state: HubState, room: Room, host: Member, message: Mod, now: Now) -> None:
    target = other(room, host, message.to or "")
    what = "audio" if message.value is None else message.value
    if what not in ("audio", "video"):
        raise Denial(SignalCode.BAD_MESSAGE, "must be audio or video", path="value")
    state.send(target.session, Mute(from_=host.id, what="audio" if what == "audio" else "video"))


def _lock(state: HubState, room: Room, host: Member, message: Mod, now: Now) -> None:
    if message.value not in (None, "closed", "knock"):
        raise Denial(SignalCode.BAD_MESSAGE, "must be closed or knock", path="value")
    room.locked = True
    room.knock = message.value == "knock"
    if not room.knock:
        for waiter in list(room.waiting.values()):
            turn_away(state, waiter.session, SignalCode.ROOM_LOCKED, "the room is locked")
    announce_room(state, room)


def _unlock(state: HubState, room: Room, host: Member, message: Mod, now: Now) -> None:
    room.locked = room.knock = False
    announce_room(state, room)
    for peer_id in list(room.waiting):
        try:
            _open_door(state, room, peer_id, now)
        except Denial as refusal:
            turn_away(state, room.waiting[peer_id].session, refusal.code, refusal.msg, retry=refusal.retry)


def _cap(state: HubState, room: Room, host: Member, message: Mod, now: Now) -> None:
    size = message.value
    if not isinstance(size, int) or not 2 <= size <= state.options.room_size:
        raise Denial(SignalCode.BAD_MESSAGE, f"a number from 2 to {state.options.room_size}", path="value")
    room.max = size
    announce_room(state, room)


def _admit(state: HubState, room: Room, host: Member, message: Mod, now: Now) -> None:
    if message.to not in room.waiting:
        raise Denial(SignalCode.NO_SUCH_PEER, "no participant with this id is waiting", path="to")
    _open_door(state, room, message.to, now)


def _open_door(state: HubState, room: Room, peer_id: str, now: Now) -> None:
    """Complete the join of a client that waits for admission. Raises `Denial` if the room is full."""
    waiter = room.waiting[peer_id]
    free_seat(state, room, waiter.session, now)
    let_in(state, room, waiter.session, waiter.join, now)


def _somebody(room: Room, host: Member, to: str | None) -> Session:
    """A participant, or a client that waits for admission, but not the host itself. Raises `Denial`."""
    waiter = room.waiting.get(to or "")
    return waiter.session if waiter is not None else other(room, host, to or "").session


_OPERATIONS: Final[Mapping[str, Callable[[HubState, Room, Member, Mod, Now], None]]] = {
    "kick": _kick,
    "ban": _ban,
    "mute": _mute,
    "lock": _lock,
    "unlock": _unlock,
    "cap": _cap,
    "admit": _admit,
}
