"""What goes between participants and the SFU: descriptions, candidates, what to receive; and what the SFU reports.

A connection with the SFU is named by whoever offers it (`pc`), in both directions. Frames for a connection that is gone
are passed on all the same: its name tells both ends that they are late.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from turnserver.core.types import Now
from turnserver.signaling.protocol.client_messages import Cand, Choose, Desc, ModeReady
from turnserver.signaling.protocol.errors import Denial, SignalCode
from turnserver.signaling.protocol.fields import Description, MediaSource, SourceLayers
from turnserver.signaling.protocol.server_messages import Layers, PeerDesc, Speaker
from turnserver.signaling.rooms import recording, switching
from turnserver.signaling.rooms.assistance import inside
from turnserver.signaling.rooms.facts import MediaLost
from turnserver.signaling.rooms.handlers import Heard, handles
from turnserver.signaling.rooms.media_port import (
    SFU,
    MediaEvent,
    MediaPort,
    SfuAnswered,
    SfuConnected,
    SfuFailed,
    SfuGone,
    SfuLayers,
    SfuOffered,
    SfuRecorded,
    SfuSpeaker,
    SfuUnrecorded,
    Tile,
)
from turnserver.signaling.rooms.room import Member, Room
from turnserver.signaling.rooms.session import Session
from turnserver.signaling.rooms.state import HubState

__all__ = ["candidates", "choose", "describe", "mode_ready", "report", "reset", "silence", "tell_layers", "unsilence"]

_SCREEN: Final = frozenset({"screen", "screen_audio"})

_SOURCES: Final[Mapping[str, tuple[MediaSource, ...]]] = {
    "audio": ("audio",),
    "video": ("camera",),
    "screen": ("screen", "screen_audio"),
}
"""What a host mutes, by the word of `mod`."""

# From participants


def describe(state: HubState, session: Session, message: Desc) -> None:
    """`desc` to the SFU: an offer of what the client sends, or the answer to the SFU's offer. Raises `Denial`."""
    media, room, member = _through(state, session)
    sources = message.sources or {}
    if not session.may("screen") and not _SCREEN.isdisjoint(sources.values()):
        raise Denial(SignalCode.FORBIDDEN, "your token does not allow you to send a screen", path="sources")
    if message.desc.type == "offer":
        if message.pc != member.sending:
            member.sending = message.pc
            member.layers.clear()  # was said of tracks that end with the connection before
        media.offer(room.id, member.id, message.pc, message.desc.sdp, sources)
    elif message.desc.type == "answer":
        media.answer(room.id, member.id, message.pc, message.desc.sdp)
    else:
        raise Denial(SignalCode.BAD_MESSAGE, "the SFU knows offers and answers only", path="desc.type")


def candidates(state: HubState, session: Session, message: Cand) -> None:
    """`cand` to the SFU. Raises `Denial`."""
    media, room, member = _through(state, session)
    lines = [each.candidate for each in message.list if each is not None and each.candidate]
    media.candidates(room.id, member.id, message.pc, lines)


def reset(state: HubState, session: Session) -> None:
    """`reset` to the SFU: the client needs another connection to receive through. Raises `Denial`."""
    media, room, member = _through(state, session)
    media.reset(room.id, member.id)


@handles(Choose)
def choose(state: HubState, session: Session, message: Choose, heard: Heard) -> None:
    """`choose`: which pictures the client wants. Raises `Denial`."""
    media, room, member = _through(state, session)
    tiles = [Tile(each.id, each.what, each.h, each.pin) for each in message.tiles if each.id in room.members]
    media.choose(room.id, member.id, message.last, message.others, tiles)


@handles(ModeReady)
def mode_ready(state: HubState, session: Session, message: ModeReady, heard: Heard) -> None:
    """`mode_ready`: the client has the connections of the room's mode. Raises `Denial` if there is only one mode."""
    if state.media is None:
        raise Denial(SignalCode.UNSUPPORTED_MODE, "this server has only meshes", detail={"modes": ("mesh",)})
    room, member = inside(state, session)
    switching.ready(state, room, member, message.epoch, heard.now)


def silence(state: HubState, room: Room, member: Member, what: str) -> None:
    """Let the SFU, if the room has it, forward nothing of ``what`` any more, until the participant turns it on."""
    if state.media is None or not room.routing.opened:
        return
    for source in _SOURCES[what]:
        member.muted.add(source)
        state.media.mute(room.id, member.id, source, on=True)
    changes = {what[0]: 0}
    member.media = replace(member.media, **changes)


def unsilence(state: HubState, room: Room, member: Member) -> None:
    """Let the SFU forward again what the participant has turned on."""
    on = {"audio": member.media.a, "video": member.media.v, "screen": member.media.s}
    for source in [each for what, sources in _SOURCES.items() if on[what] for each in sources if each in member.muted]:
        member.muted.discard(source)
        if state.media is not None and room.routing.opened:
            state.media.mute(room.id, member.id, source, on=False)


def tell_layers(state: HubState, member: Member) -> None:
    """Tell a participant which layers of its pictures anybody receives, if the SFU has said so."""
    if member.layers:
        state.send(member.session, Layers(list=tuple(member.layers[what] for what in sorted(member.layers))))


def _through(state: HubState, session: Session) -> tuple[MediaPort, Room, Member]:
    """The SFU, and the room and member of a session whose room goes through it. Raises `Denial` otherwise."""
    room, member = inside(state, session)
    if state.media is None or not room.routing.opened:
        raise Denial(SignalCode.NO_SUCH_PEER, "the room does not go through an SFU", path="to")
    return state.media, room, member


# From the SFU


def report(state: HubState, event: MediaEvent, now: Now) -> None:
    """Something that the SFU reports; what is late is ignored."""
    room = state.rooms.get(event.room)
    if room is None or not room.routing.opened:
        return
    if isinstance(event, SfuGone):
        switching.gone(state, room, event, now)
    elif isinstance(event, SfuSpeaker):
        _note_speaker(state, room, event)
    elif isinstance(event, SfuRecorded):
        recording.began(state, room, now)
    elif isinstance(event, SfuUnrecorded):
        recording.ended(state, room, event.why, now)
    else:
        member = room.members.get(event.peer)
        if member is None:
            return
        _REPORTS[type(event)](state, member, event)
        if isinstance(event, SfuConnected):
            switching.connected(state, room, member, now)


def _note_speaker(state: HubState, room: Room, event: SfuSpeaker) -> None:
    speaker = event.peer if event.peer in room.members else None
    if speaker != room.routing.speaker:
        room.routing.speaker = speaker
        state.broadcast(room, Speaker(peer=speaker))


def _pass_answer(state: HubState, member: Member, event: SfuAnswered) -> None:
    state.send(member.session, PeerDesc(from_=SFU, pc=event.pc, desc=Description(type="answer", sdp=event.sdp)))


def _pass_offer(state: HubState, member: Member, event: SfuOffered) -> None:
    state.send(member.session, PeerDesc(from_=SFU, pc=event.pc, desc=Description(type="offer", sdp=event.sdp)))


def _note_connected(state: HubState, member: Member, event: SfuConnected) -> None:
    member.sides.add(event.side)


def _note_failed(state: HubState, member: Member, event: SfuFailed) -> None:
    member.sides.discard(event.side)
    if event.side == "publish":
        member.layers.clear()
    state.fact(MediaLost(event.room, member.id, event.why))


def _note_layers(state: HubState, member: Member, event: SfuLayers) -> None:
    member.layers[event.source] = SourceLayers(what=event.source, rids=tuple(event.rids))
    tell_layers(state, member)


_REPORTS: Final[Mapping[type[Any], Callable[[HubState, Member, Any], None]]] = {
    SfuAnswered: _pass_answer,
    SfuOffered: _pass_offer,
    SfuConnected: _note_connected,
    SfuFailed: _note_failed,
    SfuLayers: _note_layers,
}
