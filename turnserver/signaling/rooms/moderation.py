"""Moderation by hosts and administrators: kick, ban, mute, lock, admit, appoint, spotlight, close; and invitations."""

from collections.abc import Callable, Mapping
from typing import Final, Literal

from turnserver.core.types import Now
from turnserver.signaling.protocol.client_messages import Invite, Mod
from turnserver.signaling.protocol.errors import Denial, SignalCode
from turnserver.signaling.protocol.fields import Role, Spotlight
from turnserver.signaling.protocol.server_messages import Invitation, Mute, RoleUpdate
from turnserver.signaling.rooms import recording
from turnserver.signaling.rooms.assistance import inside, other
from turnserver.signaling.rooms.facts import InvitationMade, Kicked
from turnserver.signaling.rooms.handlers import Heard, handles
from turnserver.signaling.rooms.lifecycle import dismiss, turn_away
from turnserver.signaling.rooms.mediation import silence
from turnserver.signaling.rooms.presence import (
    admit_to_seat,
    announce_member,
    announce_room,
    ban_keys,
    largest,
    restate,
)
from turnserver.signaling.rooms.room import Member, Room
from turnserver.signaling.rooms.session import Session
from turnserver.signaling.rooms.state import HubState

__all__ = ["close_room", "expel", "invite", "moderate"]

_MUTABLE: Final[Mapping[str | int, Literal["audio", "video", "screen"]]] = {
    "audio": "audio",
    "video": "video",
    "screen": "screen",
}
"""What a host can mute."""


@handles(Mod)
def moderate(state: HubState, session: Session, message: Mod, heard: Heard) -> None:
    """`mod`: for hosts only. Raises `Denial`."""
    _OPERATIONS[message.op](state, *_as_host(state, session), message, heard.now)


@handles(Invite)
def invite(state: HubState, session: Session, message: Invite, heard: Heard) -> Invitation:
    """`invite`: for hosts only. An invitation ends with the token of whoever invites at the latest. Raises `Denial`."""
    room, member = _as_host(state, session)
    if state.invite is None:
        raise Denial(SignalCode.FORBIDDEN, "this server cannot sign invitations")
    token, expires = state.invite(room.id, session.grant, message.ttl, message.uses, heard.now.wall)
    state.fact(InvitationMade(room.id, member.id, expires, message.uses))
    return Invitation(re=message.id, token=token, exp=expires, uses=message.uses)


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
    targets = room.others(host.id) if message.to is None else [other(room, host, message.to)]
    what = _MUTABLE.get("audio" if message.value is None else message.value)
    if what is None:
        raise Denial(SignalCode.BAD_MESSAGE, "must be audio, video or screen", path="value")
    for target in targets:
        before = target.media
        silence(state, room, target, what)
        state.send(target.session, Mute(from_=host.id, what=what))
        if target.media != before:
            announce_member(state, room, target)


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
    if not isinstance(size, int) or not 2 <= size <= largest(state):
        raise Denial(SignalCode.BAD_MESSAGE, f"a number from 2 to {largest(state)}", path="value")
    room.max = size
    announce_room(state, room)


def _admit(state: HubState, room: Room, host: Member, message: Mod, now: Now) -> None:
    if message.to not in room.waiting:
        raise Denial(SignalCode.NO_SUCH_PEER, "no participant with this id is waiting", path="to")
    _open_door(state, room, message.to, now)


def _host(state: HubState, room: Room, host: Member, message: Mod, now: Now) -> None:
    _appoint(state, room, other(room, host, message.to or ""), "host")


def _member(state: HubState, room: Room, host: Member, message: Mod, now: Now) -> None:
    target = host if message.to in (None, host.id) else other(room, host, message.to or "")
    if len(room.hosts()) == 1 and target.role == "host":
        raise Denial(SignalCode.BAD_MESSAGE, "a room needs a host: appoint another one first", path="to")
    _appoint(state, room, target, "member")


def _appoint(state: HubState, room: Room, target: Member, role: Role) -> None:
    """Give a participant a role for as long as it is in the room, and tell everybody."""
    if target.role == role:
        return
    target.session.appointed = role
    state.send(target.session, RoleUpdate(role=role))
    announce_member(state, room, target)
    restate(state, target.session)


def _close(state: HubState, room: Room, host: Member, message: Mod, now: Now) -> None:
    close_room(state, room, now)


def _spotlight(state: HubState, room: Room, host: Member, message: Mod, now: Now) -> None:
    """Show a participant large to everybody; without ``to``, nobody."""
    if message.to is None:
        light = None
    else:
        target = host if message.to == host.id else other(room, host, message.to)
        what: Literal["camera", "screen"] = "screen" if message.value == "screen" else "camera"
        if message.value not in (None, what):
            raise Denial(SignalCode.BAD_MESSAGE, "must be camera or screen", path="value")
        if what == "screen" and not target.media.s:
            raise Denial(SignalCode.BAD_MESSAGE, "this participant shares no screen", path="to")
        light = Spotlight(id=target.id, what=what, by=host.id)
    if light != room.spotlight:
        room.spotlight = light
        announce_room(state, room)


def _record(state: HubState, room: Room, host: Member, message: Mod, now: Now) -> None:
    """Record the room at the server, or do so no more."""
    if message.value not in {"start", "stop"}:
        raise Denial(SignalCode.BAD_MESSAGE, "must be start or stop", path="value")
    if message.value == "start":
        recording.start(state, room, host.id, now)
    else:
        recording.stop(state, room, now)


def _as_host(state: HubState, session: Session) -> tuple[Room, Member]:
    """The session's room, and its member there. Raises `Denial` unless that is a host."""
    room, member = inside(state, session)
    if member.role != "host":
        raise Denial(SignalCode.FORBIDDEN, "only hosts may do this")
    return room, member


def _open_door(state: HubState, room: Room, peer_id: str, now: Now) -> None:
    """Complete the join of a client that waits for admission. Raises `Denial` if the room is full."""
    waiter = room.waiting[peer_id]
    admit_to_seat(state, room, waiter.session, waiter.join, now)


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
    "host": _host,
    "member": _member,
    "close": _close,
    "spotlight": _spotlight,
    "record": _record,
}
