"""Messages between clients of one room: descriptions, candidates, resets, restarts, free-form messages."""

from typing import Final, NamedTuple

from turnserver.signaling.protocol.base import Rate, Relayed
from turnserver.signaling.protocol.candidates import candidate_types, relay_addresses
from turnserver.signaling.protocol.client_messages import Cand, Desc, Reset, Restart
from turnserver.signaling.protocol.errors import Denial, SignalCode
from turnserver.signaling.protocol.fields import Cap
from turnserver.signaling.protocol.sdp import sends_media
from turnserver.signaling.protocol.server_messages import IceUpdate, PeerReset, PeerRestart
from turnserver.signaling.rooms import mediation
from turnserver.signaling.rooms.assistance import fresh_ice, inside, other, push_ice
from turnserver.signaling.rooms.facts import CandidatesSeen
from turnserver.signaling.rooms.handlers import Heard, handles
from turnserver.signaling.rooms.media_port import SFU
from turnserver.signaling.rooms.room import Member, Room
from turnserver.signaling.rooms.session import Session
from turnserver.signaling.rooms.state import HubState

__all__ = ["candidates", "describe", "relay", "reset", "restart"]

_STALE: Final = "stale"


_SENDING: Final[dict[Cap, str]] = {
    "publish": "audio or video",
    "screen": "a screen",
    "message": "messages",
}


class _Between(NamedTuple):
    """The sender, the receiver, and their room."""

    room: Room
    sender: Member
    receiver: Member


@handles(Desc)
def describe(state: HubState, session: Session, message: Desc, heard: Heard) -> None:
    """`desc`: relayed unchanged, never refused for the rate; a client that exceeds it for long is disconnected."""
    if message.to == SFU:
        # Who may only listen offers nothing: what an offer sends is decided by the engine's reading of it alone.
        if message.desc.type == "offer":
            _need(session, "publish", path="desc")
        _may_send(session, message)
        _charge(state, session, message, heard)
        mediation.describe(state, session, message)
        return
    way = _way(state, session, message.to)
    _may_send(session, message)
    if _pass_on(state, way, message, heard):
        _note_candidates(state, way, message.desc.sdp)


@handles(Cand)
def candidates(state: HubState, session: Session, message: Cand, heard: Heard) -> None:
    """`cand`: relayed unchanged."""
    if message.to == SFU:
        _charge(state, session, message, heard)
        mediation.candidates(state, session, message)
        return
    way = _way(state, session, message.to)
    if _pass_on(state, way, message, heard):
        lines = "\n".join(candidate.candidate for candidate in message.list if candidate is not None)
        _note_candidates(state, way, lines)


@handles(Reset)
def reset(state: HubState, session: Session, message: Reset, heard: Heard) -> None:
    """`reset`: the receiver drops its connection; a reset is never answered with a reset."""
    if message.to == SFU:
        mediation.reset(state, session)
        return
    _send(state, _way(state, session, message.to), message)


@handles(Restart)
def restart(state: HubState, session: Session, message: Restart, heard: Heard) -> IceUpdate:
    """`restart`: send new ICE servers to both ends, and then the restart to the other end."""
    room, member = inside(state, session)
    target = other(room, member, message.to)
    push_ice(state, target.session, "restart", heard.now)
    state.send(target.session, PeerRestart(from_=member.id, why=message.why))
    return IceUpdate(re=message.id, ice=fresh_ice(state, member, heard.now), why="restart")


def relay(state: HubState, session: Session, message: Relayed, heard: Heard) -> None:
    """Every other message that is relayed unchanged, to one member or to all."""
    room, member = inside(state, session)
    if message.needs is not None:
        _need(session, message.needs)
    target = None if message.to is None else other(room, member, message.to)
    _charge(state, session, message, heard)
    frame = message.relayed(member.id, None if target is None else target.id)
    for receiver in room.others(member.id) if target is None else (target,):
        state.send(receiver.session, frame)


def _may_send(session: Session, message: Desc) -> None:
    """Check that the token allows to send what a description says. Raises `Denial`."""
    if not session.may("publish") and sends_media(message.desc.sdp):
        _need(session, "publish", path="desc.sdp")


def _need(session: Session, cap: Cap, *, path: str | None = None) -> None:
    if not session.may(cap):
        raise Denial(SignalCode.FORBIDDEN, f"your token does not allow you to send {_SENDING[cap]}", path=path)


def _charge(state: HubState, session: Session, message: Relayed, heard: Heard) -> None:
    """Count the size of a message against the session's relaying rate, if its type says so. Raises `Denial`."""
    bucket = session.pacer.relayed
    if message.rate is Rate.BYTES and (pause := bucket.take(heard.now.mono, heard.size)):
        raise Denial(SignalCode.RATE_LIMITED, "too much to relay", retry=int(pause * 1000) + 1)
    if message.rate is Rate.DEBT and bucket.take(heard.now.mono, heard.size, debt=state.bounds.relay_burst):
        raise Denial(SignalCode.RATE_LIMITED, "too many descriptions", fatal=True)


def _way(state: HubState, session: Session, to: str) -> _Between:
    room, member = inside(state, session)
    return _Between(room, member, other(room, member, to))


def _pass_on(state: HubState, way: _Between, message: Desc | Cand, heard: Heard) -> bool:
    """Relay a message for one connection of the receiver; False if the receiver has replaced that connection."""
    _charge(state, way.sender.session, message, heard)
    if _is_stale(state, way, message.rpc):
        return False
    _send(state, way, message)
    return True


def _send(state: HubState, way: _Between, message: Desc | Cand | Reset) -> None:
    """Relay a message, and record which connection of the sender the receiver was told of, and in which frame."""
    room, sender, receiver = way
    seq = state.send(receiver.session, message.relayed(sender.id, receiver.id))
    room.saw(sender.id, receiver.id, message.pc, seq)


def _is_stale(state: HubState, way: _Between, rpc: str | None) -> bool:
    """True if the frame is for a connection that the receiver has replaced: it is dropped.

    Normally the frame that tells the sender of the new connection is still on its way. Only a sender that has
    acknowledged that frame and still uses the old connection, or has lost it, is told again, once per connection.
    """
    room, sender, receiver = way
    line = room.stale_line(sender.id, receiver.id, rpc)
    if line is None:
        return False
    if not line.reset and sender.session.outbox.acked >= line.seq:
        line.reset = True
        state.send(sender.session, PeerReset(from_=receiver.id, pc=line.pc, why=_STALE))
    return True


def _note_candidates(state: HubState, way: _Between, text: str) -> None:
    room, sender, receiver = way
    sender.announced.setdefault(receiver.id, set()).update(candidate_types(text))
    addresses = relay_addresses(text)
    if addresses:
        state.fact(CandidatesSeen(room.id, sender.user_id, receiver.user_id, addresses))
