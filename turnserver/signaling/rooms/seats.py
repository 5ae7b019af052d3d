"""Seats in a full room that are kept for participants whose connection is lost.

A crashed client does not come back, and its session waits for it all the same. Nobody needs the seat while there are
others. In a full room, the holder of the same token gets it at once, and a newcomer when it has been kept for a while.
The session itself lives on: when its client resumes it, it is in no room, and joins as a newcomer.
"""

from turnserver.core.types import Now
from turnserver.signaling.protocol.errors import Denial, SignalCode
from turnserver.signaling.rooms.lifecycle import vacate
from turnserver.signaling.rooms.room import Room
from turnserver.signaling.rooms.session import Session
from turnserver.signaling.rooms.state import HubState, millis
from turnserver.signaling.rooms.switching import seats_of

__all__ = ["free_seat", "seat_wait"]


def free_seat(state: HubState, room: Room, session: Session, now: Now, *, meshes_only: bool) -> None:
    """See to it that there is a seat for ``session``, if necessary that of a participant whose connection is lost.

    ``meshes_only`` if its client knows nothing else. Raises `Denial` if there is none; its ``retry`` says when a seat
    that is kept for somebody will be free.
    """
    size, why = seats_of(state, room, meshes_only=meshes_only)
    if len(room.members) < size:
        return
    wait, kept = _kept_seats(state, room, session, size, now)
    if wait != 0:
        retry = None if wait is None else millis(wait) + 1
        raise Denial(SignalCode.ROOM_FULL, why, retry=retry, detail={"max": size})
    for lost in kept:
        vacate(state, lost, "replaced" if _is_holder(session, lost) else "timeout", now)


def seat_wait(state: HubState, room: Room, session: Session, now: Now) -> int | None:
    """In how many milliseconds there is a seat in a full room for ``session``; None if none is in sight, or needed."""
    size, _ = seats_of(state, room, meshes_only=False)
    if len(room.members) < size:
        return None
    wait, _ = _kept_seats(state, room, session, size, now)
    return millis(wait) + 1 if wait else None if wait is None else 0


def _kept_seats(
    state: HubState, room: Room, session: Session, size: int, now: Now
) -> tuple[float | None, list[Session]]:
    """Whose seats ``session`` would have, and in how many seconds; None if too few are kept for those who are lost."""
    hold = min(state.bounds.seat_hold, state.options.resume)
    lost = [member.session for member in room.members.values() if member.session.connection is None]
    own = {each.sid for each in lost if _is_holder(session, each)}
    waits = {each.sid: 0.0 if each.sid in own else max(0.0, each.lost_at + hold - now.mono) for each in lost}
    lost.sort(key=lambda each: (waits[each.sid], each.sid not in own, each.lost_at))
    needed = len(room.members) - size + 1  # more than one if a host has made the room smaller
    kept = lost[:needed]
    return (waits[kept[-1].sid], kept) if len(kept) == needed else (None, [])


def _is_holder(session: Session, lost: Session) -> bool:
    """Whether a session is, as far as its token shows, that of the one who has lost the connection.

    A link that was sent to several people is one token for all of them. If nothing in it names a person, the address
    has to be the same, too.
    """
    mine, theirs = session.grant, lost.grant
    if mine.subject or theirs.subject:
        return mine.subject == theirs.subject
    if mine.token_id is None or mine.token_id != theirs.token_id:
        return False
    return mine.name is not None or session.address_key == lost.address_key
