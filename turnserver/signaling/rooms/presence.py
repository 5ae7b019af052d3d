"""Coming, going, and how one looks: peek, join, leave, update, and the door of a locked room."""

from turnserver.core.types import Now
from turnserver.signaling.protocol.errors import ErrorCode, Refusal
from turnserver.signaling.protocol.fields import Media, Peer, RoomState, You
from turnserver.signaling.protocol.messages import (
    Ice,
    Join,
    Joined,
    Knock,
    Peek,
    PeerJoin,
    PeerLeave,
    PeerUpdate,
    RoomInfo,
    RoomUpdate,
    Sync,
    Update,
)
from turnserver.signaling.rooms.assistance import fresh_ice, inside
from turnserver.signaling.rooms.facts import LeaveReason, PeerJoined, PeerLeft, RoomClosed, RoomOpened
from turnserver.signaling.rooms.outbox import Kind
from turnserver.signaling.rooms.room import MAX_WAITING, Member, Room, Waiter
from turnserver.signaling.rooms.session import Session
from turnserver.signaling.rooms.settings import Grant
from turnserver.signaling.rooms.state import State, error

__all__ = [
    "announce_room",
    "ban_keys",
    "depart",
    "join",
    "leave",
    "let_in",
    "peek",
    "restate",
    "size_of",
    "snapshot",
    "stop_waiting",
    "token_ban_keys",
    "turn_away",
    "update",
]

MODES = ("mesh",)


def peek(state: State, session: Session, message: Peek) -> RoomInfo:
    """`peek`: what a lobby shows."""
    _check_room(session, message.room)
    room = state.rooms.get(message.room)
    if room is None:
        return RoomInfo(re=message.id, exists=False, count=0, max=size_of(state, session), locked=False)
    count = len(room.members)
    return RoomInfo(re=message.id, exists=True, count=count, max=room.max, locked=room.locked, knock=room.knock)


def join(state: State, session: Session, message: Join, now: Now) -> None:
    """`join`: in, or a fresh snapshot for who is in already. Raises `Refusal` for all that can be against it.

    A join that is repeated after a resume, while the answer to it is on its way again, gets no second one.
    """
    if session.room is not None:
        if session.room != message.room:
            raise Refusal(ErrorCode.ALREADY_JOINED, "one room at a time: leave the other one first")
        re, seq = session.joined_by
        if message.id is None or message.id != re or not session.outbox.holds(seq):
            _welcome(state, *inside(state, session), message.id, now)
        return
    _check_join(state, session, message, now)
    room = state.rooms.get(message.room) or _open(state, session, message.room, now)
    if room.locked and session.role != "host":
        _wait(state, room, session, message)
    if room.is_full:
        raise Refusal(ErrorCode.ROOM_FULL, "the room is full", detail={"max": room.max})
    let_in(state, room, session, message, now)


def let_in(state: State, room: Room, session: Session, message: Join, now: Now) -> None:
    """Put somebody into a room, whatever its door, and answer its join."""
    stop_waiting(state, session)
    user_id = state.user_id(session, room.hash)
    state.keep(user_id)
    name = session.grant.name if session.grant.name is not None else message.name
    media = _allowed(session, message.media)
    member = room.add(session, user_id, message, name=name, media=media, wall=now.wall)
    session.room = room.id
    for target in room.others(member.id):
        state.send(target.session, PeerJoin(peer=room.peer(member, target)), Kind.NEWS)
    state.fact(PeerJoined(room.id, member.id, user_id, name, member.role))
    _welcome(state, room, member, message.id, now)


def leave(state: State, session: Session, now: Now) -> None:
    """`leave`: out of the room, or away from its door. Done twice it is done."""
    stop_waiting(state, session)
    if session.room is not None:
        depart(state, session, "left", now)


def depart(state: State, session: Session, reason: LeaveReason, now: Now, *, revoke: bool = False) -> None:
    """Take a session out of the room that it is in; with ``revoke``, its relays end without a grace."""
    room, member = inside(state, session)
    room.remove(member.id)
    session.room = None
    state.timers.remove(("ice", member.id))
    state.fact(PeerLeft(room.id, member.id, member.user_id, reason))
    if revoke:
        state.revoke(member.user_id, member.id, member.expires)
    else:
        state.revoke_later(member.user_id, member.id, member.expires, now)
    if room.members:
        state.broadcast(room, PeerLeave(id=member.id, reason=reason), Kind.NEWS)
    else:
        _close(state, room, now)


def update(state: State, session: Session, message: Update) -> None:
    """`update`: the others are told how the member looks now."""
    room, member = inside(state, session)
    if message.media is not None:
        if message.media != _allowed(session, message.media):
            raise Refusal(ErrorCode.FORBIDDEN, "your token does not let you send that", path="media")
        member.media = message.media
    if message.name is not None and session.grant.name is None:
        member.name = message.name
    if message.meta is not None:
        member.meta = message.meta
    news = PeerUpdate(id=member.id, name=member.name, meta=member.meta, media=member.media)
    state.broadcast(room, news, Kind.PRESENCE, key=("update", member.id), but=member.id)


def snapshot(state: State, session: Session, at: int, lost: bool, now: Now) -> Sync | None:
    """`sync`, for who has missed too much; None for who is in no room."""
    found = state.member_of(session)
    if found is None:
        return None
    state_, you, peers, ice = _whole(state, *found, now)
    return Sync(room=state_, you=you, peers=peers, ice=ice, at=at, lost=lost)


def restate(state: State, session: Session) -> None:
    """After a snapshot: what is in none. A host is told who waits at the door."""
    found = state.member_of(session)
    if found is not None and found[1].role == "host":
        for waiter in found[0].waiting.values():
            _knock(state, waiter, found[1])


def announce_room(state: State, room: Room) -> None:
    """Tell everybody of a room's lock and size."""
    news = RoomUpdate(locked=room.locked, knock=room.knock, max=room.max)
    state.broadcast(room, news, Kind.PRESENCE, key=("room", ""))


def turn_away(state: State, session: Session, code: ErrorCode, msg: str) -> None:
    """Answer the join of somebody who waits: no."""
    waiter = stop_waiting(state, session)
    if waiter is not None:
        state.send(session, error(code, msg, re=waiter.join.id), Kind.REPLY)


def size_of(state: State, session: Session) -> int:
    """How many a room that this session opens is for."""
    size = state.settings.room_size
    return size if session.grant.max is None else max(2, min(session.grant.max, size))


def _check_room(session: Session, room_id: str) -> None:
    if session.grant.room is not None and session.grant.room != room_id:
        raise Refusal(ErrorCode.FORBIDDEN, "your token is for another room", path="room")


def _check_join(state: State, session: Session, message: Join, now: Now) -> None:
    if message.mode not in MODES:
        raise Refusal(ErrorCode.UNSUPPORTED_MODE, "this server knows the mesh only", detail={"modes": MODES})
    _check_room(session, message.room)
    if now.wall >= session.grant.expires:
        raise Refusal(ErrorCode.TOKEN_EXPIRED, "your token has expired", fatal=True)
    if any(state.bans.has((message.room, *ban), now.wall) for ban in ban_keys(session)):
        raise Refusal(ErrorCode.BANNED, "you may not come back into this room", fatal=True)
    waits = session.waits_for == message.room
    pause = 0.0 if waits else session.pacer.joins.take(now.mono)
    if pause:
        raise Refusal(ErrorCode.RATE_LIMITED, "too many joins", retry=int(pause * 1000) + 1)


def ban_keys(session: Session) -> list[tuple[str, str]]:
    """What a ban of this session goes by: its token, if it says who or which it is; else its address."""
    return token_ban_keys(session.grant) or [("address", session.address_key)]


def token_ban_keys(grant: Grant) -> list[tuple[str, str]]:
    """What a ban of whoever has this token goes by; nothing if it does not say."""
    keys = [("subject", grant.subject)] if grant.subject else []
    return [*keys, ("token", grant.token_id)] if grant.token_id else keys


def _open(state: State, session: Session, room_id: str, now: Now) -> Room:
    if len(state.rooms) >= state.settings.rooms:
        raise Refusal(ErrorCode.SERVER_FULL, "the server has as many rooms as it may have", retry=10_000)
    room = Room(room_id, size_of(state, session), now.wall)
    state.rooms[room_id] = room
    state.fact(RoomOpened(room_id))
    return room


def _close(state: State, room: Room, now: Now) -> None:
    """The last one has left; whoever waits at the door waits for nobody."""
    del state.rooms[room.id]
    state.fact(RoomClosed(room.id, now.wall - room.created))
    for waiter in list(room.waiting.values()):
        waiter.session.waits_for = None
        message = error(ErrorCode.NO_SUCH_ROOM, "the room is gone: everybody has left", re=waiter.join.id)
        state.send(waiter.session, message, Kind.REPLY)
    room.waiting.clear()


def _wait(state: State, room: Room, session: Session, message: Join) -> None:
    """At the door of a locked room. Always raises: waiting, or room_locked."""
    if not room.knock:
        raise Refusal(ErrorCode.ROOM_LOCKED, "the room is locked")
    known = session.peer_id in room.waiting
    if not known:
        stop_waiting(state, session)
        if len(room.waiting) >= MAX_WAITING:
            raise Refusal(ErrorCode.ROOM_LOCKED, "the room is locked, and too many wait at its door")
    waiter = Waiter(session, message)
    room.waiting[session.peer_id] = waiter
    session.waits_for = room.id
    if not known:
        for host in room.hosts():
            _knock(state, waiter, host)
    raise Refusal(ErrorCode.WAITING, "a host has to let you in", detail={"max": room.max})


def _knock(state: State, waiter: Waiter, host: Member, *, gone: bool = False) -> None:
    peer_id = waiter.session.peer_id
    name = waiter.session.grant.name if waiter.session.grant.name is not None else waiter.join.name
    news = Knock(id=peer_id, name=name, gone=gone or None)
    state.send(host.session, news, Kind.PRESENCE, ("knock", peer_id))


def stop_waiting(state: State, session: Session) -> Waiter | None:
    """Take somebody from the door that it waits at."""
    room = state.rooms.get(session.waits_for) if session.waits_for is not None else None
    session.waits_for = None
    waiter = room.waiting.pop(session.peer_id, None) if room is not None else None
    if room is not None and waiter is not None:
        for host in room.hosts():
            _knock(state, waiter, host, gone=True)
    return waiter


def _allowed(session: Session, media: Media) -> Media:
    publish, screen = session.may("publish"), session.may("screen")
    return Media(a=media.a if publish else 0, v=media.v if publish else 0, s=media.s if screen else 0)


def _whole(state: State, room: Room, member: Member, now: Now) -> tuple[RoomState, You, tuple[Peer, ...], Ice]:
    peers = tuple(room.peer(target, member) for target in room.others(member.id))
    return room.state(), room.you(member), peers, fresh_ice(state, member, now)


def _welcome(state: State, room: Room, member: Member, re: str | None, now: Now) -> None:
    """`joined`; it is numbered, so that a resume brings it again, before whatever others have said since."""
    session = member.session
    whole, you, peers, ice = _whole(state, room, member, now)
    answer = Joined(re=re, room=whole, you=you, peers=peers, ice=ice, at=session.outbox.seq)
    session.joined_by = re, state.send(session, answer, Kind.NEWS)
    restate(state, session)
