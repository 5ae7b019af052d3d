"""What one client says to another: descriptions, candidates, resets, restarts, messages. Never beyond the room."""

from typing import Final

from turnserver.core.types import Now
from turnserver.signaling.protocol.candidates import candidate_types, relay_addresses
from turnserver.signaling.protocol.errors import ErrorCode, Refusal
from turnserver.signaling.protocol.messages import (
    Cand,
    Desc,
    IceUpdate,
    Msg,
    PeerCand,
    PeerDesc,
    PeerMsg,
    PeerReset,
    PeerRestart,
    Reset,
    Restart,
)
from turnserver.signaling.protocol.sdp import sends_media
from turnserver.signaling.rooms.assistance import fresh_ice, inside, other, push_ice
from turnserver.signaling.rooms.facts import CandidatesSeen
from turnserver.signaling.rooms.outbox import Kind
from turnserver.signaling.rooms.room import Member, Room
from turnserver.signaling.rooms.session import Session
from turnserver.signaling.rooms.state import State

__all__ = ["candidates", "describe", "message_to", "reset", "restart"]

_STALE: Final = "stale"


def describe(state: State, session: Session, message: Desc, size: int, now: Now) -> None:
    """`desc`: relayed as it is, whatever the rate; a client that goes on and on is sent away instead."""
    room, member = inside(state, session)
    target = other(room, member, message.to)
    if not session.may("publish") and sends_media(message.desc.sdp):
        raise Refusal(ErrorCode.FORBIDDEN, "your token does not let you send audio or video", path="desc.sdp")
    if session.pacer.relayed.take(now.mono, size, debt=state.settings.relay_burst):
        raise Refusal(ErrorCode.RATE_LIMITED, "too many descriptions", fatal=True)
    if _is_stale(state, room, member, target, message.rpc):
        return
    frame = PeerDesc(
        from_=member.id, pc=message.pc, rpc=message.rpc, desc=message.desc, restart=message.restart or None
    )
    room.saw(member.id, target.id, message.pc, state.send(target.session, frame, Kind.RELAYED))
    _note_candidates(state, room, member, target, message.desc.sdp)


def candidates(state: State, session: Session, message: Cand, size: int, now: Now) -> None:
    """`cand`: relayed as it is."""
    room, member = inside(state, session)
    target = other(room, member, message.to)
    _charge(session, size, now)
    if _is_stale(state, room, member, target, message.rpc):
        return
    frame = PeerCand(from_=member.id, pc=message.pc, rpc=message.rpc, list=message.list)
    room.saw(member.id, target.id, message.pc, state.send(target.session, frame, Kind.RELAYED))
    lines = "\n".join(candidate.candidate for candidate in message.list if candidate is not None)
    _note_candidates(state, room, member, target, lines)


def reset(state: State, session: Session, message: Reset) -> None:
    """`reset`: the receiver drops its connection; there is never a reset in answer to it."""
    room, member = inside(state, session)
    target = other(room, member, message.to)
    frame = PeerReset(from_=member.id, pc=message.pc, why=message.why)
    room.saw(member.id, target.id, message.pc, state.send(target.session, frame, Kind.RELAYED))


def restart(state: State, session: Session, message: Restart, now: Now) -> IceUpdate:
    """`restart`: fresh ICE servers to both ends, before the other end hears of it."""
    room, member = inside(state, session)
    target = other(room, member, message.to)
    push_ice(state, target.session, "restart", now)
    state.send(target.session, PeerRestart(from_=member.id, why=message.why), Kind.RELAYED)
    return IceUpdate(re=message.id, ice=fresh_ice(state, member, now), why="restart")


def message_to(state: State, session: Session, message: Msg, size: int, now: Now) -> None:
    """`msg`: to one, or to all."""
    room, member = inside(state, session)
    if not session.may("message"):
        raise Refusal(ErrorCode.FORBIDDEN, "your token does not let you send messages")
    target = None if message.to is None else other(room, member, message.to)
    _charge(session, size, now)
    frame = PeerMsg(from_=member.id, to=None if target is None else target.id, data=message.data)
    for receiver in room.others(member.id) if target is None else (target,):
        state.send(receiver.session, frame, Kind.RELAYED)


def _charge(session: Session, size: int, now: Now) -> None:
    pause = session.pacer.relayed.take(now.mono, size)
    if pause:
        raise Refusal(ErrorCode.RATE_LIMITED, "too much to relay", retry=int(pause * 1000) + 1)


def _is_stale(state: State, room: Room, member: Member, target: Member, rpc: str | None) -> bool:
    """True if the frame is for a connection that the target has replaced since: it is dropped.

    As a rule the sender is about to hear of the new one, for that news is on its way. Only a sender that has
    acknowledged them and goes on regardless (or that has lost them) is told again, once for each connection.
    """
    line = room.stale_line(member.id, target.id, rpc)
    if line is None:
        return False
    if not line.reset and member.session.outbox.acked >= line.seq:
        line.reset = True
        state.send(member.session, PeerReset(from_=target.id, pc=line.pc, why=_STALE), Kind.RELAYED)
    return True


def _note_candidates(state: State, room: Room, member: Member, target: Member, text: str) -> None:
    member.announced.setdefault(target.id, set()).update(candidate_types(text))
    addresses = relay_addresses(text)
    if addresses:
        state.fact(CandidatesSeen(room.id, member.user_id, target.user_id, addresses))
