"""The recording of a room by the server: who begins and ends it, and that everybody knows.

Only what goes through the SFU can be recorded, so a mesh goes there for it, and stays for as long as it is recorded.
Everybody is told by `room_update`, and those who come later by `joined`. A recording that ends by itself is told with
its cause. When the engine is lost and asked again, the recording goes on as another one.
"""

from turnserver.core.types import Now
from turnserver.signaling.protocol.errors import Denial, SignalCode
from turnserver.signaling.protocol.fields import ServerRecording
from turnserver.signaling.rooms import switching
from turnserver.signaling.rooms.facts import RecordingChanged
from turnserver.signaling.rooms.room import Room
from turnserver.signaling.rooms.state import HubState

__all__ = ["began", "ended", "start", "stop"]


def start(state: HubState, room: Room, by: str, now: Now) -> None:
    """Record the room, as a participant (``by``) or, with an empty id, an operator wants. Raises `Denial`."""
    if state.media is None or not state.media_options.records:
        why = "this server does not record" if state.media is not None else "this server has only meshes"
        raise Denial(SignalCode.FORBIDDEN, f"{why}: recordings need media.recordings and signaling.mode sfu or auto")
    if room.recorded_by is not None:
        return
    if room.routing.mode == "mesh" and room.meshes_only:
        raise Denial(SignalCode.FORBIDDEN, "somebody's program knows only meshes, which the server cannot record")
    room.recorded_by = by
    if room.routing.opened:
        state.media.record(room.id, on=True)  # else it is recorded as soon as the engine has it
    switching.bring(state, room, now)


def stop(state: HubState, room: Room, now: Now) -> None:
    """Record the room no more. It may be a mesh again."""
    if room.recorded_by is None or state.media is None:
        return
    was = _forget(room)
    if room.routing.opened:
        state.media.record(room.id, on=False)
    if was:
        state.fact(RecordingChanged(room.id, on=False, by="", why=""))
        state.broadcast(room, room.news())
    switching.calm(state, room, now)


def began(state: HubState, room: Room, now: Now) -> None:
    """The engine records the room."""
    if room.recorded_by is None or room.recording is not None:
        return
    room.recording = ServerRecording(since=int(now.wall * 1000), by=room.recorded_by or None)
    state.fact(RecordingChanged(room.id, on=True, by=room.recorded_by, why=""))
    state.broadcast(room, room.news())


def ended(state: HubState, room: Room, why: str, now: Now) -> None:
    """The engine does not record the room, or not any more; nobody is surprised who has asked for that."""
    if room.recorded_by is None or not why:
        return
    _forget(room)
    state.fact(RecordingChanged(room.id, on=False, by="", why=why))
    state.broadcast(room, room.news(unrecorded=why))
    switching.calm(state, room, now)


def _forget(room: Room) -> bool:
    """Whether it was recorded."""
    was, room.recording, room.recorded_by = room.recording is not None, None, None
    return was
