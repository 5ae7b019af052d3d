"""How the media of a room go, and the change between mesh and SFU: make before break.

In a *mesh*, every participant has a connection with every other one. With more people than that bears, the room goes
through an SFU, a `MediaPort`. The change is seen by nobody if no connection ends before the new ones carry media:

1. `room_update` tells the new mode under a new *epoch*, with `changing`: clients build the new connections and keep
   the old ones.
2. Each client says `mode_ready` with that epoch once it decodes what comes through the new ones.
3. When all have said so, or after `PATIENCE`, `room_update` comes without `changing`: clients end the old ones.

The states of a room, and what leads from one to another:

| state   | somebody comes      | somebody leaves            | all ready | time over            | engine gone          |
|---------|---------------------|----------------------------|-----------|----------------------|----------------------|
| mesh    | to SFU, if too many | –                          | –         | –                    | –                    |
| to SFU  | –                   | mesh, if it is still whole | SFU       | SFU, if any is ready | mesh, or to SFU anew |
| SFU     | –                   | to mesh, after `CALM`      | –         | –                    | mesh, or to SFU anew |
| to mesh | to SFU, if too many | –                          | mesh      | SFU                  | –                    |

*Too many* are more than a mesh has (`signaling.room_size`), and *few* are fewer than that: between the two there is a
gap of one, so that a room in which one comes and goes does not change with it. What works is not given up for what does
not: the old mesh is kept for as long as nobody reaches the SFU, and a mesh that does not come about leaves the room
with the SFU until somebody comes or leaves. An engine that is gone leaves no choice: those who are few enough have a
mesh, and others wait for the engine.

Clients that know only meshes stay among as many as a mesh has: they are refused in larger rooms, and a room in which
one of them is does not grow beyond that (`seats_of`).
"""

from typing import Final

from turnserver.core.types import Now
from turnserver.signaling.protocol.errors import Denial, SignalCode
from turnserver.signaling.protocol.fields import Mode
from turnserver.signaling.protocol.server_messages import PeerReset
from turnserver.signaling.rooms.facts import MediaLost, ModeChanged, RecordingChanged
from turnserver.signaling.rooms.media_port import SFU, MediaPort, SfuGone
from turnserver.signaling.rooms.room import Member, Room
from turnserver.signaling.rooms.state import Due, HubState, Timer

__all__ = [
    "CALM",
    "PATIENCE",
    "RETRIES",
    "arrived",
    "begun",
    "bring",
    "calm",
    "check_client",
    "connected",
    "departed",
    "due",
    "ended",
    "gone",
    "ready",
    "seats_of",
]

PATIENCE: Final = 10.0
"""Seconds that participants have for the connections of a new mode; a browser needs less than three, also through TURN
over TLS, and two sets of connections are a burden for those with little bandwidth."""

CALM: Final = 15.0
"""Seconds for which a room has to be small before it is a mesh again: somebody who reloads a page is back by then."""

RETRIES: Final = (0.0, 1.0, 2.0, 5.0, 10.0, 30.0)
"""Seconds until an engine that is gone is asked again; the last is for all further times. One crash costs nobody more
than the time for new connections, and an engine that cannot start is not asked all the time."""

_GONE: Final = "sfu_gone"
_UNREACHABLE: Final = "sfu_unreachable"
_NO_MESH: Final = "no_mesh"


def check_client(state: HubState, room: Room | None, *, meshes_only: bool) -> None:
    """Check that a client of that kind can be in the room, or in a new one. Raises `Denial` (room_full)."""
    always = state.media is not None and state.media_options.mode == "sfu"
    if meshes_only and (always if room is None else room.routing.mode == "sfu"):
        detail = {"max": state.options.room_size}
        raise Denial(SignalCode.ROOM_FULL, "this call goes through the server, and your program cannot", detail=detail)


def seats_of(state: HubState, room: Room, *, meshes_only: bool) -> tuple[int, str]:
    """How many participants the room can have with one of that kind among them, and why it cannot have more."""
    limit = state.options.room_size
    if room.max <= limit or not (meshes_only or room.meshes_only):
        return room.max, "the room is full"
    who = "your program" if meshes_only else "a program that somebody here uses"
    return limit, f"the room is full: {who} is for calls of up to {limit}"


# What happens in the room


def begun(state: HubState, room: Room, now: Now) -> None:
    """The room is new, and still empty."""
    if state.media is not None and state.media_options.mode == "sfu":
        room.routing.mode = "sfu"
        _open(state, room, state.media)


def arrived(state: HubState, room: Room, member: Member, now: Now) -> None:
    """A participant has its seat, and neither it nor the others have been told."""
    routing = room.routing
    if state.media is None:
        return
    if routing.opened:
        state.media.join(room.id, member.id, member.name)
    routing.stays = False
    if routing.mode == "mesh" and len(room.members) > state.options.room_size and not room.meshes_only:
        if not routing.opened:
            _open(state, room, state.media)
        routing.meshed = {each for each in room.members if each != member.id}
        _change(state, room, "sfu", now, changing=True, but=member.id)
    elif routing.mode == "sfu" and not routing.changing and not _is_small(state, room):
        _forget(state, room)


def departed(state: HubState, room: Room, member: Member, now: Now) -> None:
    """A participant has left its seat, and others are there."""
    routing = room.routing
    if state.media is None:
        return
    if routing.opened:
        state.media.leave(room.id, member.id)
    if routing.speaker == member.id:
        routing.speaker = None
    for each in (routing.ready, routing.unready, routing.claimed):
        each.discard(member.id)
    routing.stays = False
    kept = routing.changing and routing.meshed.issuperset(room.members)
    if routing.mode == "sfu" and _fits(state, room) and (kept or not routing.opened):
        _change(state, room, "mesh", now, changing=False, why=None if routing.opened else _GONE)
        _close(state, room)
    elif routing.changing:
        _look(state, room, now)
    else:
        _wait_for_calm(state, room, now)


def ended(state: HubState, room: Room) -> None:
    """The last participant has left."""
    if room.recording is not None:
        room.recording = room.recorded_by = None
        state.fact(RecordingChanged(room.id, on=False, by="", why=""))
    _forget(state, room)
    _close(state, room)


def ready(state: HubState, room: Room, member: Member, epoch: int, now: Now) -> None:
    """A participant decodes what comes through the connections of that epoch. Late news of another one is ignored.

    Whoever says so before the engine has its connections is believed when it has them.
    """
    routing = room.routing
    if epoch != routing.epoch:
        return
    if routing.mode == "sfu" and not _stands(room, member):
        routing.claimed.add(member.id)
        return
    routing.claimed.discard(member.id)
    if routing.changing:
        routing.ready.add(member.id)
        _look(state, room, now)
    elif member.id in routing.unready:
        routing.unready.discard(member.id)
        state.broadcast(room, room.news())


def connected(state: HubState, room: Room, member: Member, now: Now) -> None:
    """One more of a participant's connections with the engine stands."""
    if member.id in room.routing.claimed:
        ready(state, room, member, room.routing.epoch, now)


def gone(state: HubState, room: Room, event: SfuGone, now: Now) -> None:
    """The engine has lost the room; of another opening than the last one it is late, and ignored."""
    routing = room.routing
    if not routing.opened or event.epoch != routing.opening:
        return
    _lose(room)
    state.fact(MediaLost(room.id, "", event.why))
    was, room.recording = room.recording, None
    if routing.mode == "mesh":
        return
    wanted, room.recorded_by = room.recorded_by, None  # the call is worth more than its recording
    falls_back = _fits(state, room)
    if was is not None or (falls_back and wanted is not None):
        state.fact(RecordingChanged(room.id, on=False, by="", why=event.why))
    if falls_back:
        unrecorded = None if wanted is None else event.why[:256]
        _change(state, room, "mesh", now, changing=False, why=_GONE, unrecorded=unrecorded)
        return
    room.recorded_by = wanted
    if not routing.changing:
        routing.meshed = set()
    pause = RETRIES[min(routing.failures, len(RETRIES) - 1)]
    routing.failures += 1
    if pause:
        state.deadlines.set(Timer(Due.MODE, room.id), now.mono + pause)
        routing.why = _GONE
        state.broadcast(room, room.news())
    else:
        _open_again(state, room, now)


def due(state: HubState, room: Room, now: Now) -> None:
    """The room's deadline is over: for a change, for being small, or for asking the engine again."""
    routing = room.routing
    if routing.mode == "sfu" and not routing.opened:
        _open_again(state, room, now)
    elif not routing.changing:
        _change(state, room, "mesh", now, changing=True)
    elif routing.mode == "mesh" and routing.opened:
        routing.stays = True
        _change(state, room, "sfu", now, changing=False, why=_NO_MESH)
    elif routing.mode == "mesh":
        _complete(state, room, now)
    else:
        routing.ready |= {member.id for member in room.members.values() if member.sides and _stands(room, member)}
        if routing.ready:
            _complete(state, room, now)
        else:
            state.deadlines.set(Timer(Due.MODE, room.id), now.mono + PATIENCE)
            if routing.why != _UNREACHABLE:
                routing.why = _UNREACHABLE
                state.broadcast(room, room.news())


def bring(state: HubState, room: Room, now: Now) -> None:
    """The room is to go through the engine whatever its size is. It stays there as long as it is recorded."""
    routing = room.routing
    if state.media is None or routing.mode == "sfu":
        _forget_calm(state, room)
        return
    if not routing.opened:
        _open(state, room, state.media)
    routing.meshed = set(room.members)
    routing.stays = False
    _change(state, room, "sfu", now, changing=True)


def calm(state: HubState, room: Room, now: Now) -> None:
    """The room may be a mesh again, if it is small enough."""
    if not room.routing.changing:
        _wait_for_calm(state, room, now)


# Inside


def _stands(room: Room, member: Member) -> bool:
    """Whether the engine has the connections that a participant needs: to send if it does, to receive if others do."""
    sends = bool(member.media.a or member.media.v or member.media.s)
    receives = any("publish" in other.sides for other in room.members.values() if other is not member)
    return (not sends or "publish" in member.sides) and (not receives or "subscribe" in member.sides)


def _is_small(state: HubState, room: Room) -> bool:
    """Few enough for a mesh, and nothing else keeps the room with the engine."""
    return room.recorded_by is None and len(room.members) < state.options.room_size


def _forget_calm(state: HubState, room: Room) -> None:
    """A mesh is not waited for any more."""
    if room.routing.opened and not room.routing.changing:
        _forget(state, room)


def _fits(state: HubState, room: Room) -> bool:
    """Whether a mesh is allowed, and has room for everybody; a room that is recorded is none."""
    return (
        room.recorded_by is None and len(room.members) <= state.options.room_size and state.media_options.mode == "auto"
    )


def _wait_for_calm(state: HubState, room: Room, now: Now) -> None:
    """Let a small room be a mesh after a while, unless it already waits for that."""
    timer = Timer(Due.MODE, room.id)
    routing = room.routing
    wanted = state.media_options.mode == "auto" and routing.mode == "sfu" and routing.opened and not routing.stays
    if wanted and _is_small(state, room) and state.deadlines.get(timer) is None:
        state.deadlines.set(timer, now.mono + CALM)


def _look(state: HubState, room: Room, now: Now) -> None:
    """Complete the change if everybody is ready."""
    if room.routing.ready.issuperset(room.members):
        _complete(state, room, now)


def _complete(state: HubState, room: Room, now: Now) -> None:
    routing = room.routing
    routing.changing = False
    routing.unready = set(room.members) - routing.ready
    routing.why = None
    _forget(state, room)
    if routing.mode == "mesh":
        _close(state, room)
    else:
        routing.failures = 0
    _tell(state, room)
    _wait_for_calm(state, room, now)


def _change(
    state: HubState,
    room: Room,
    mode: Mode,
    now: Now,
    *,
    changing: bool,
    why: str | None = None,
    but: str = "",
    unrecorded: str | None = None,
) -> None:
    """The room has another mode, or the same in another epoch; all but one are told, and why a recording has ended."""
    routing = room.routing
    routing.mode, routing.changing, routing.why = mode, changing, why
    routing.epoch += 1
    routing.ready, routing.unready, routing.claimed = set(), set(), set()
    _forget(state, room)
    if changing:
        state.deadlines.set(Timer(Due.MODE, room.id), now.mono + PATIENCE)
    _tell(state, room, but=but, unrecorded=unrecorded)


def _tell(state: HubState, room: Room, *, but: str = "", unrecorded: str | None = None) -> None:
    routing = room.routing
    state.fact(ModeChanged(room.id, routing.mode, routing.epoch, routing.changing, routing.why or ""))
    state.broadcast(room, room.news(unrecorded), but=but)


def _forget(state: HubState, room: Room) -> None:
    state.deadlines.remove(Timer(Due.MODE, room.id))


def _open(state: HubState, room: Room, media: MediaPort) -> None:
    """Hand the room and everybody in it to the engine."""
    routing = room.routing
    routing.opening += 1
    routing.opened = True
    media.open(room.id, routing.opening)
    for member in room.members.values():
        media.join(room.id, member.id, member.name)
        for source in member.muted:
            media.mute(room.id, member.id, source, on=True)
    if room.recorded_by is not None:
        media.record(room.id, on=True)


def _open_again(state: HubState, room: Room, now: Now) -> None:
    """Ask the engine again for a room that it has lost."""
    assert state.media is not None
    _open(state, room, state.media)
    state.broadcast(room, PeerReset(from_=SFU, pc=str(room.routing.opening), why=_GONE))
    _change(state, room, "sfu", now, changing=True, why=_GONE)


def _close(state: HubState, room: Room) -> None:
    """Take the room from the engine, if it has it."""
    if room.routing.opened and state.media is not None:
        _lose(room)
        state.media.close(room.id)


def _lose(room: Room) -> None:
    """Nothing that was known of the engine's room is so any more."""
    room.routing.opened = False
    room.routing.speaker = None
    for member in room.members.values():
        member.sides.clear()
        member.layers.clear()
