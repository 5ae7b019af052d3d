"""New ICE servers before the old ones expire, reports of paths between members, and the diagnosis of failed calls."""

from collections import Counter
from typing import Final, Literal

from turnserver.core.types import Now
from turnserver.signaling.protocol.base import Delivery
from turnserver.signaling.protocol.client_messages import Diag, IceGet, Stat
from turnserver.signaling.protocol.errors import Denial, SignalCode
from turnserver.signaling.protocol.fields import Ice, PathEntry, PathKind
from turnserver.signaling.protocol.server_messages import DiagVerdict, IceUpdate, Paths
from turnserver.signaling.rooms.facts import PairConnected, VerdictGiven
from turnserver.signaling.rooms.handlers import Heard, handles
from turnserver.signaling.rooms.room import LOBBY, Member, Room
from turnserver.signaling.rooms.session import Session
from turnserver.signaling.rooms.state import Due, HubState, Timer
from turnserver.signaling.truth.relays import PairPath
from turnserver.signaling.truth.verdict import IceFailure, Side, judge

__all__ = ["diagnose", "fresh_ice", "give_ice", "inside", "note_stat", "other", "push_ice", "report_paths"]

REFRESH: Final = 0.75
JITTER: Final = 0.05
"""The share of the credentials' lifetime after which new ones are pushed, and the random deviation from it."""

LONGEST_TOOK: Final = 600.0
"""Seconds that a connection can have taken, whatever a client says."""

SHORTEST: Final = 5.0
"""Minimum number of seconds between two pushes, also for very short lifetimes."""


def inside(state: HubState, session: Session) -> tuple[Room, Member]:
    """The session's room, and the session's member there. Raises `Denial` (not_joined)."""
    found = state.member_of(session)
    if found is None:
        raise Denial(SignalCode.NOT_JOINED, "join a room first")
    return found


def other(room: Room, member: Member, to: str) -> Member:
    """Another member of the room. Raises `Denial` (no_such_peer), also if the id exists in another room."""
    target = room.members.get(to)
    if target is None or target is member:
        raise Denial(SignalCode.NO_SUCH_PEER, "no participant with this id is in the room", path="to")
    return target


# ICE servers


def fresh_ice(state: HubState, member: Member, now: Now) -> Ice:
    """Mint new credentials for a member, and schedule the next ones."""
    ice = state.mint(member.session, member.user_id, now)
    share = REFRESH + JITTER * (2 * state.fraction() - 1)
    wait = max((ice.exp - now.wall) * share, SHORTEST)
    state.deadlines.set(Timer(Due.ICE, member.id), now.mono + wait)
    return ice


def push_ice(state: HubState, session: Session, why: str, now: Now) -> None:
    """Push new credentials to a member without a request."""
    found = state.member_of(session)
    if found is not None:
        state.send(session, IceUpdate(ice=fresh_ice(state, found[1], now), why=why), Delivery.NEWS)


@handles(IceGet)
def give_ice(state: HubState, session: Session, message: IceGet, heard: Heard) -> IceUpdate:
    """`ice_get`: also allowed outside a room, for the check before a call."""
    found = state.member_of(session)
    if found is not None:
        ice = fresh_ice(state, found[1], heard.now)
    else:
        ice = state.mint(session, state.user_id(session, LOBBY), heard.now)
    return IceUpdate(re=message.id, ice=ice, why=message.why or "refresh")


# Paths


@handles(Stat)
def note_stat(state: HubState, session: Session, message: Stat, heard: Heard) -> None:
    """`stat`: stored for the pair. A report about a peer that has just left is ignored without an error."""
    room, member = inside(state, session)
    target = room.members.get(message.to)
    if target is None or target is member:
        if message.id is not None:
            other(room, member, message.to)
        return
    _note_connected(state, room, member, target, message)
    member.stats[target.id] = message
    state.relays.reported(member.user_id, target.user_id, message.path, heard.now)


def _note_connected(state: HubState, room: Room, member: Member, target: Member, message: Stat) -> None:
    """The first report of either end with the time that it took to connect is a fact: the client's word."""
    if message.took is not None and room.times(member.id, target.id):
        seconds = min(max(float(message.took) / 1000, 0.0), LONGEST_TOOK)
        state.fact(PairConnected(room.id, member.id, target.id, seconds))


def report_paths(state: HubState, room: Room) -> None:
    """Tell every member of a room with a socket which of its paths have changed. Through an SFU there are none."""
    members = list(room.members.values())
    meshed = room.routing.mode == "mesh" or room.routing.changing
    entries: dict[str, list[PathEntry]] = {member.id: [] for member in members}
    paths: Counter[PathKind] = Counter()
    for index, a in enumerate(members):
        for b in members[index + 1 :] if meshed else ():
            pair = state.relays.pair(a.user_id, b.user_id)
            path = _direct(pair, a, b)
            paths[path] += 1
            entries[a.id].append(_entry(b, pair._replace(path=path), "a"))
            entries[b.id].append(_entry(a, pair._replace(path=path), "b"))
    room.paths = paths
    for member in members:
        found = tuple(sorted(entries[member.id], key=lambda entry: entry.id))
        if member.session.connection is not None and found != member.paths:
            member.paths = found
            state.send(member.session, Paths(list=found))


def _direct(pair: PairPath, a: Member, b: Member) -> PathKind:
    """The kind of a path that no relay of this server carries, from the reports of the two clients."""
    reports = (a.stats.get(b.id), b.stats.get(a.id))
    said = pair.path == "unknown" and any(stat is not None and stat.path == "direct" for stat in reports)
    return "direct" if said else pair.path


def _entry(peer: Member, pair: PairPath, end: Literal["a", "b"]) -> PathEntry:
    tx, rx = (pair.bytes_ab, pair.bytes_ba) if end == "a" else (pair.bytes_ba, pair.bytes_ab)
    return PathEntry(id=peer.id, path=pair.path, proto=pair.proto, by=_whose(pair, end), tx=tx, rx=rx)


def _whose(pair: PairPath, end: str) -> Literal["you", "peer", "both"] | None:
    if pair.by is None or pair.by == "both":
        return pair.by
    return "you" if pair.by == end else "peer"


# Diagnosis


@handles(Diag)
def diagnose(state: HubState, session: Session, message: Diag, heard: Heard) -> DiagVerdict:
    """`diag`: one sentence about the pair, from the reports of both ends and from the relay's data."""
    room, member = inside(state, session)
    target = other(room, member, message.to)
    member.diags[target.id] = message
    pair = state.relays.pair(member.user_id, target.user_id)
    verdict = judge(_side(state, member, target), _side(state, target, member), pair)
    state.fact(VerdictGiven(room.id, member.id, target.id, str(verdict.code)))
    return DiagVerdict(
        re=message.id,
        to=target.id,
        verdict=str(verdict.code),
        text=verdict.text[:1024],
        case=verdict.case,
        tried=verdict.tried or None,
    )


def _side(state: HubState, member: Member, target: Member) -> Side:
    diag = member.diags.get(target.id)
    facts = state.relays.facts(member.user_id)
    connected = member.session.connection is not None
    announced = frozenset(member.announced.get(target.id, ()))
    if diag is None:
        heard = frozenset(target.announced.get(member.id, ()))
        return Side(local=announced, remote=heard, facts=facts, connected=connected, reported=False)
    return Side(
        local=frozenset(diag.cands.local) | announced,
        remote=frozenset(diag.cands.remote),
        states=diag.states,
        errors=tuple(IceFailure(error.code, error.url) for error in diag.errors),
        facts=facts,
        connected=connected,
    )
