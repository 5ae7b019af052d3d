"""Presence in rooms: peek, join, leave, update, and waiting for admission to a locked room."""

from typing import Final

from turnserver.core.types import Now
from turnserver.signaling.protocol.client_messages import Join, Leave, Peek, Update
from turnserver.signaling.protocol.errors import Denial, SignalCode
from turnserver.signaling.protocol.fields import Ice, Media, Peer, RoomState, You
from turnserver.signaling.protocol.server_messages import Joined, PeerJoin, PeerUpdate, RoomInfo, Sync
from turnserver.signaling.rooms.assistance import fresh_ice, inside
from turnserver.signaling.rooms.facts import PeerJoined
from turnserver.signaling.rooms.handlers import Heard, handles
from turnserver.signaling.rooms.lifecycle import knock, leave_door, open_room, take_seat, vacate, wait_at_door
from turnserver.signaling.rooms.mediation import unsilence
from turnserver.signaling.rooms.room import MAX_WAITING, Member, Room
from turnserver.signaling.rooms.seats import free_seat, seat_wait
from turnserver.signaling.rooms.session import Session
from turnserver.signaling.rooms.settings import Grant
from turnserver.signaling.rooms.state import HubState
from turnserver.signaling.rooms.switching import check_client

__all__ = [
    "admit_to_seat",
    "announce_member",
    "announce_room",
    "ban_keys",
    "is_banned",
    "join",
    "largest",
    "leave",
    "let_in",
    "peek",
    "restate",
    "size_of",
    "snapshot",
    "update",
]

_MESHES: Final = ("mesh",)
_MODES: Final = ("mesh", "auto")
"""The modes of joins, without and with an SFU: `mesh` is for clients that know nothing else."""


@handles(Peek)
def peek(state: HubState, session: Session, message: Peek, heard: Heard) -> RoomInfo:
    """`peek`: what a client shows of a room before it joins."""
    _check_room(session, message.room)
    room = state.rooms.get(message.room)
    if room is None:
        return RoomInfo(re=message.id, exists=False, count=0, max=size_of(state, session), locked=False)
    return RoomInfo(
        re=message.id,
        exists=True,
        count=len(room.members),
        max=room.max,
        locked=room.locked,
        knock=room.knock,
        mode=room.routing.mode,
        retry=None if session.room == room.id else seat_wait(state, room, session, heard.now),
    )


@handles(Join)
def join(state: HubState, session: Session, message: Join, heard: Heard) -> None:
    """`join`: enter the room, or get a new snapshot if the session is in it already. Raises `Denial` if refused.

    A join that is repeated after a resume gets no second answer if the socket of the resume brings the first one.
    """
    if session.room is not None:
        if session.room != message.room:
            raise Denial(
                SignalCode.ALREADY_JOINED, "a session can be in one room at a time: leave the other room first"
            )
        re, seq = session.joined_by
        if message.id is None or message.id != re or not session.outbox.delivers(seq):
            _welcome(state, *inside(state, session), message.id, heard.now)
        return
    _check_join(state, session, message, heard.now)
    room = state.rooms.get(message.room) or _open(state, session, message, heard.now)
    if room.locked and session.role != "host":
        _wait(state, room, session, message)
    admit_to_seat(state, room, session, message, heard.now)


def admit_to_seat(state: HubState, room: Room, session: Session, message: Join, now: Now) -> None:
    """Give a session a seat, if the room has one for it. Raises `Denial` otherwise."""
    meshes_only = message.mode == "mesh"
    check_client(state, room, meshes_only=meshes_only)
    free_seat(state, room, session, now, meshes_only=meshes_only)
    let_in(state, room, session, message, now)


def let_in(state: HubState, room: Room, session: Session, message: Join, now: Now) -> None:
    """Put a session into a room, even if the room is locked, and answer its join."""
    name = session.grant.name if session.grant.name is not None else message.name
    media = _allowed(session, message.media)
    member = take_seat(state, room, session, message, name=name, media=media, now=now)
    for target in room.others(member.id):
        state.send(target.session, PeerJoin(peer=room.peer(member, target)))
    state.fact(PeerJoined(room.id, member.id, member.user_id, name, member.role))
    _welcome(state, room, member, message.id, now)


@handles(Leave)
def leave(state: HubState, session: Session, message: Leave, heard: Heard) -> None:
    """`leave`: leave the room, or stop waiting for admission. Without a room it does nothing."""
    leave_door(state, session)
    if session.room is not None:
        vacate(state, session, "left", heard.now)


@handles(Update)
def update(state: HubState, session: Session, message: Update, heard: Heard) -> None:
    """`update`: tell the others the member's new name and media."""
    room, member = inside(state, session)
    if message.media is not None:
        if message.media != _allowed(session, message.media):
            raise Denial(SignalCode.FORBIDDEN, "your token does not allow you to send this", path="media")
        member.media = message.media
        unsilence(state, room, member)
    if message.name is not None and session.grant.name is None:
        member.name = message.name
    if message.meta is not None:
        member.meta = message.meta
    announce_member(state, room, member)
    if not member.media.s and room.leave_spotlight(member.id, only="screen"):
        announce_room(state, room)


def announce_member(state: HubState, room: Room, member: Member) -> None:
    """Tell the others what a member's name, media and role are now."""
    news = PeerUpdate(id=member.id, name=member.name, meta=member.meta, media=member.media, role=member.role)
    state.broadcast(room, news, but=member.id)


def snapshot(state: HubState, session: Session, at: int, lost: bool, now: Now) -> Sync | None:
    """`sync`, for a session that has missed too much; None if it is in no room."""
    found = state.member_of(session)
    if found is None:
        return None
    state_, you, peers, ice = _whole(state, *found, now)
    return Sync(room=state_, you=you, peers=peers, ice=ice, at=at, lost=lost)


def restate(state: HubState, session: Session) -> None:
    """Send what a snapshot does not contain: a host is told who waits for admission."""
    found = state.member_of(session)
    if found is not None and found[1].role == "host":
        for waiter in found[0].waiting.values():
            knock(state, waiter, found[1])


def announce_room(state: HubState, room: Room) -> None:
    """Tell every member the room's lock, size and spotlight."""
    state.broadcast(room, room.news())


def size_of(state: HubState, session: Session) -> int:
    """The size of a room that this session opens."""
    size = largest(state)
    return size if session.grant.max is None else max(2, min(session.grant.max, size))


def largest(state: HubState) -> int:
    """How many participants a room of this server can have."""
    return state.options.room_size if state.media is None else state.media_options.room_size


def _check_room(session: Session, room_id: str) -> None:
    if session.grant.room is not None and session.grant.room != room_id:
        raise Denial(SignalCode.FORBIDDEN, "your token is for another room", path="room")


def _check_join(state: HubState, session: Session, message: Join, now: Now) -> None:
    modes = _MESHES if state.media is None else _MODES
    if message.mode not in modes:
        raise Denial(SignalCode.UNSUPPORTED_MODE, f"the modes are {', '.join(modes)}", detail={"modes": modes})
    _check_room(session, message.room)
    if now.wall >= session.grant.expires:
        raise Denial(SignalCode.TOKEN_EXPIRED, "your token has expired", fatal=True)
    if is_banned(state, message.room, session.grant, session.address_key, now):
        raise Denial(SignalCode.BANNED, "you are banned from this room", fatal=True)
    waits = session.waits_for == message.room
    pause = 0.0 if waits else session.pacer.joins.take(now.mono)
    if pause:
        raise Denial(SignalCode.RATE_LIMITED, "too many joins", retry=int(pause * 1000) + 1)


def is_banned(state: HubState, room_id: str, grant: Grant, address_key: str, now: Now) -> bool:
    """Whether somebody with this token, at this address, was banned from a room."""
    return any(state.bans.has((room_id, *key), now.wall) for key in ban_keys(grant, address_key))


def ban_keys(grant: Grant, address_key: str) -> list[tuple[str, str]]:
    """The keys of a ban of one person: what of the token is theirs alone, otherwise the address.

    A subject names a person, and so does the id of a token that one person has. Of a link that was given to many, the
    id names all of them, so a ban by it would be one of people who have done nothing.
    """
    keys = [("subject", grant.subject)] if grant.subject else []
    if grant.token_id and not grant.shared:
        keys.append(("token", grant.token_id))
    return keys or [("address", address_key)]


def _open(state: HubState, session: Session, message: Join, now: Now) -> Room:
    check_client(state, None, meshes_only=message.mode == "mesh")
    if state.closes_at is not None:
        raise Denial(SignalCode.DRAINING, "the server is about to stop: it opens no new rooms")
    if len(state.rooms) >= state.options.rooms:
        raise Denial(SignalCode.SERVER_FULL, "the server has reached its limit of rooms", retry=10_000)
    return open_room(state, message.room, size_of(state, session), now)


def _wait(state: HubState, room: Room, session: Session, message: Join) -> None:
    """Let the session wait for admission to a locked room. Always raises `Denial`: waiting, or room_locked."""
    if not room.knock:
        raise Denial(SignalCode.ROOM_LOCKED, "the room is locked")
    if session.waits_for != room.id and len(room.waiting) >= MAX_WAITING:
        leave_door(state, session)
        raise Denial(SignalCode.ROOM_LOCKED, "the room is locked, and too many participants are waiting")
    wait_at_door(state, room, session, message)
    raise Denial(SignalCode.WAITING, "a host must admit you", detail={"max": room.max})


def _allowed(session: Session, media: Media) -> Media:
    publish, screen = session.may("publish"), session.may("screen")
    return Media(a=media.a if publish else 0, v=media.v if publish else 0, s=media.s if screen else 0)


def _whole(state: HubState, room: Room, member: Member, now: Now) -> tuple[RoomState, You, tuple[Peer, ...], Ice]:
    peers = tuple(room.peer(target, member) for target in room.others(member.id))
    return room.state(), room.you(member), peers, fresh_ice(state, member, now)


def _welcome(state: HubState, room: Room, member: Member, re: str | None, now: Now) -> None:
    """`joined`. It is numbered, so that a resume sends it again before later frames of other members."""
    session = member.session
    whole, you, peers, ice = _whole(state, room, member, now)
    answer = Joined(re=re, room=whole, you=you, peers=peers, ice=ice, at=session.outbox.seq)
    session.joined_by = re, state.send(session, answer)
    restate(state, session)
