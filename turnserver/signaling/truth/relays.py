"""Relay truth: which pairs of participants are relayed, over which transport, and how many bytes, from server tables.

Every connection of a pair makes its own allocations, all under its owner's user id, and announces their relayed
addresses to the other end only, through this server. So (owner, receiver, relayed address) ties an allocation to
exactly one pair, even behind one NAT; an address that is not the sender's own ties nothing. The traffic of a tied
allocation is measured (`turnserver.signaling.truth.traffic`); if none carries, the clients' reports count.

If both ends use a relay, every byte passes two of our relays, and is counted once: per interval the greater of what
one side's relays sent and what the other's received.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple, Protocol

from stun.address import Address
from stun.constants import ErrorCode, Method
from turnserver.core.events import (
    AllocationEnded,
    AllocationMoved,
    AllocationOpened,
    Event,
    PeerRefused,
    RequestRefused,
)
from turnserver.core.types import AllocationView, Counters, FiveTuple, Now
from turnserver.signaling.protocol.fields import RELAY_TRANSPORTS, PathKind, RelayTransport
from turnserver.signaling.truth.traffic import Traffic
from turnserver.signaling.truth.userfacts import NO_FACTS, FactBook, RefusalFact, UserFacts, proto_of

__all__ = [
    "NO_FACTS",
    "UNKNOWN_PATH",
    "NoRelays",
    "PairPath",
    "RefusalFact",
    "RelayTable",
    "RelayView",
    "UserFacts",
]

MAX_ALLOCATIONS: Final = 65_536
"""Allocations known at once; far more than the ports of one address."""

MAX_PAIRS: Final = 32_768
"""Pairs known at once, a thousand rooms of eight; the least recently updated is forgotten first."""

MAX_CLAIMS: Final = 64
"""Relayed addresses of one user that are tied to a pair; the latest count. As many as allocations by default."""

MAX_CLAIMANTS: Final = 16_384
"""Users that have announced anything."""

MAX_NAME: Final = 128
"""Characters kept of a user id in an unauthenticated request; ours are about 21."""

REPORT_LIFE: Final = 90.0
"""Seconds for which a client's report of its path counts: it reports every 10, and may be away for 60."""

MOVED_LATELY: Final = 30.0
"""Seconds within which a relay that a client reports as used must have carried at least ICE checks."""

SAME_TIME: Final = 1.0
"""Seconds within which times count as equal: those of one snapshot, or of a report and a measurement."""


class PairPath(NamedTuple):
    """What the server knows of the path between two users, ``a`` and ``b`` in the order of the question.

    ``proto`` is how the client reaches the relay that carries (of two relays: the one further from plain UDP); ``by``
    says whose relay that is. ``bytes_ab`` and ``bytes_ba`` are payload bytes that relays carried from a to b and back,
    counted once even where both ends use a relay. ``relayed`` are the relayed addresses that carry.
    """

    path: PathKind = "unknown"
    proto: RelayTransport | None = None
    by: Literal["a", "b", "both"] | None = None
    bytes_ab: int = 0
    bytes_ba: int = 0
    relayed: tuple[Address, ...] = ()


UNKNOWN_PATH: Final = PairPath()


class RelayView(Protocol):
    """The hub's interface to the relays; user ids are those of TURN, ``<room hash>.<peer id>``."""

    def pair(self, a: str, b: str) -> PairPath:
        """The path between two users, as of the last snapshot."""

    def facts(self, user_id: str) -> UserFacts:
        """What the relay has seen of a user."""

    def candidates(self, sender: str, receiver: str, addresses: Iterable[Address]) -> None:
        """``sender`` announced these relay candidates to ``receiver`` (`turnserver.signaling.protocol.candidates`)."""

    def reported(self, sender: str, receiver: str, path: PathKind, now: Now) -> None:
        """``sender`` says in a `stat` which path its connection with ``receiver`` takes."""

    def forget(self, user_id: str) -> None:
        """The user will not return: drop what is known of it and of its pairs."""


class NoRelays:
    """A view of no relays at all: every path is unknown."""

    def pair(self, a: str, b: str) -> PairPath:
        """Unknown."""
        return UNKNOWN_PATH

    def facts(self, user_id: str) -> UserFacts:
        """Nothing."""
        return NO_FACTS

    def candidates(self, sender: str, receiver: str, addresses: Iterable[Address]) -> None:
        """Ignored."""

    def reported(self, sender: str, receiver: str, path: PathKind, now: Now) -> None:
        """Ignored."""

    def forget(self, user_id: str) -> None:
        """Does nothing: nothing is stored."""


_PairKey = tuple[str, str]
"""The two user ids in order."""


@dataclass(slots=True, eq=False)
class _TiedAllocation:
    client: FiveTuple
    user_id: str
    relayed: tuple[Address, ...]
    traffic: Traffic
    key: _PairKey | None = None
    """The pair that it is tied to."""
    up: int = 0
    """Bytes towards peers not credited to a pair yet..."""
    down: int = 0
    """...and bytes from them."""


class _PathReport(NamedTuple):
    path: PathKind
    at: float


@dataclass(slots=True, eq=False)
class _PairEnd:
    """One end of a pair: its allocations, its report, and the bytes carried since the last settlement."""

    allocations: dict[FiveTuple, _TiedAllocation] = field(default_factory=dict)
    report: _PathReport | None = None
    up: int = 0
    down: int = 0


@dataclass(slots=True, eq=False)
class _PairTraffic:
    """Two ends in the order of their user ids, and the bytes settled from the first to the second and back."""

    first: _PairEnd = field(default_factory=_PairEnd)
    second: _PairEnd = field(default_factory=_PairEnd)
    forth: int = 0
    back: int = 0

    def unsettled(self) -> tuple[int, int]:
        """Count each byte once: with two relays, what one end's relays sent to peers is what the other's received."""
        return max(self.first.up, self.second.down), max(self.second.up, self.first.down)

    def settle(self) -> None:
        """Close an interval."""
        forth, back = self.unsettled()
        self.forth += forth
        self.back += back
        for end in (self.first, self.second):
            end.up = end.down = 0

    def allocations(self) -> list[_TiedAllocation]:
        """The allocations of both ends."""
        return [*self.first.allocations.values(), *self.second.allocations.values()]


class RelayTable:
    """The `RelayView` of a server with relays: fed with the engine's events, with snapshots, and by the hub.

    ``separator`` is between expiry and user in time-limited usernames, and may be replaced. No method raises because of
    a client's message.
    """

    def __init__(self, separator: str) -> None:
        self.separator = separator
        self._book = FactBook()
        self._live: dict[FiveTuple, _TiedAllocation] = {}
        self._of_user: dict[str, set[FiveTuple]] = {}
        self._claims: dict[str, dict[Address, str]] = {}
        self._pairs: dict[_PairKey, _PairTraffic] = {}
        self._pairs_of: dict[str, set[_PairKey]] = {}
        self._mono = 0.0

    # What the engine says

    def event(self, event: Event, counters: Counters | None, now: Now) -> None:
        """Handle an event of the engine; ``counters`` come with `AllocationEnded`."""
        self._mono = max(self._mono, now.mono)
        if isinstance(event, AllocationOpened):
            self._opened(event.client, event.user_id, event.relayed, now)
        elif isinstance(event, AllocationEnded):
            self._ended(event, counters or Counters(), now)
        elif isinstance(event, AllocationMoved):
            self._moved(event)
        elif isinstance(event, RequestRefused):
            self._refused(event, now)
        elif isinstance(event, PeerRefused):
            allocation = self._live.get(event.client)
            if allocation is not None:
                self._book.denied(allocation.user_id, event.peer)

    def snapshot(self, found: Sequence[AllocationView], now: Now) -> None:
        """Take `Engine.allocations`: of everybody or of some, but always of both ends of a pair in one snapshot.

        An allocation that is missing from it has not ended by that; the event says so.
        """
        self._mono = max(self._mono, now.mono)
        touched: set[_PairKey] = set()
        for view in found:
            allocation = self._live.get(view.client)
            if allocation is None or allocation.user_id != view.user_id:
                allocation = self._opened(view.client, view.user_id, view.relayed, now)
            elif allocation.relayed != view.relayed:
                allocation.relayed = view.relayed
                self._book.changed(view.user_id, view.client, view.relayed)
            self._carried(allocation, view.counters, now)
            if allocation.key is not None:
                touched.add(allocation.key)
        for key in touched & self._pairs.keys():
            self._pairs[key].settle()

    def watched(self) -> set[str]:
        """The users to take a snapshot of: those who have allocations and have announced some."""
        return set(self._of_user.keys() & self._claims.keys())

    # What the hub says

    def candidates(self, sender: str, receiver: str, addresses: Iterable[Address]) -> None:
        """``sender`` announced these relay candidates to ``receiver``: its own among them now serve that pair."""
        if sender == receiver:
            return
        claims = self._claims.pop(sender, None)
        if claims is None:
            claims = {}
            if len(self._claims) >= MAX_CLAIMANTS:
                del self._claims[next(iter(self._claims))]
        self._claims[sender] = claims
        announced = set()
        for address in addresses:
            claims.pop(address, None)
            if len(claims) >= MAX_CLAIMS:
                del claims[next(iter(claims))]
            claims[address] = receiver
            announced.add(address)
        for client in self._of_user.get(sender, ()):
            allocation = self._live[client]
            if not announced.isdisjoint(allocation.relayed):
                self._tie(allocation)

    def reported(self, sender: str, receiver: str, path: PathKind, now: Now) -> None:
        """``sender`` says in a `stat` which path its connection with ``receiver`` takes."""
        self._mono = max(self._mono, now.mono)
        if sender == receiver:
            return
        key = _key(sender, receiver)
        self._end(self._pair(key), key, sender).report = _PathReport(path, now.mono)

    def forget(self, user_id: str) -> None:
        """The user will not return: drop what is known of it and of its pairs.

        Allocations that it still has stay known until they end, and can be announced anew.
        """
        for key in list(self._pairs_of.get(user_id, ())):
            other = key[0] if key[1] == user_id else key[1]
            claims = self._claims.get(other, {})
            for address in [address for address, receiver in claims.items() if receiver == user_id]:
                del claims[address]
            self._drop(key)
        self._claims.pop(user_id, None)
        self._book.forget(user_id)

    # What the hub asks

    def facts(self, user_id: str) -> UserFacts:
        """What the relay has seen of a user."""
        return self._book.facts(user_id)

    def pair(self, a: str, b: str) -> PairPath:
        """The path between two users, as of the last snapshot."""
        key = _key(a, b)
        pair = self._pairs.get(key)
        if pair is None:
            return UNKNOWN_PATH
        near, far = (pair.first, pair.second) if a == key[0] else (pair.second, pair.first)
        forth, back = pair.unsettled()
        forth += pair.forth
        back += pair.back
        bytes_ab, bytes_ba = (forth, back) if a == key[0] else (back, forth)
        path, carriers = self._path(pair)
        if not carriers:
            return PairPath(path, bytes_ab=bytes_ab, bytes_ba=bytes_ba)
        by_a = any(carrier.client in near.allocations for carrier in carriers)
        by_b = any(carrier.client in far.allocations for carrier in carriers)
        return PairPath(
            path,
            RELAY_TRANSPORTS[max(RELAY_TRANSPORTS.index(proto_of(carrier.client)) for carrier in carriers)],
            "both" if by_a and by_b else "a" if by_a else "b",
            bytes_ab,
            bytes_ba,
            tuple(address for carrier in carriers for address in carrier.relayed),
        )

    # Inside: paths

    def _path(self, pair: _PairTraffic) -> tuple[PathKind, list[_TiedAllocation]]:
        """Measurements come first, then the clients' reports; a reported relay must have carried something lately."""
        reports = [end.report for end in (pair.first, pair.second) if end.report is not None]
        fresh = [report for report in reports if report.at >= self._mono - REPORT_LIFE]
        says_relay = any(report.path == "relay" for report in fresh)
        says_direct = max((report.at for report in fresh if report.path == "direct"), default=float("-inf"))
        carriers = [allocation for allocation in pair.allocations() if allocation.traffic.carries]
        busy_at = max((carrier.traffic.busy_at for carrier in carriers), default=float("-inf"))
        if carriers and (says_relay or says_direct < busy_at + SAME_TIME):
            return "relay", _best(pair, [c for c in carriers if c.traffic.busy_at >= busy_at - SAME_TIME])
        if says_relay:
            # A silent call: if the two ends disagree, this one is better informed, because a relay at the far end
            # appears as a peer-reflexive candidate (RFC 8445 §7.2.5.3.1).
            moving = [allocation for allocation in pair.allocations() if self._moved_lately(allocation)]
            if moving:
                pace = max(allocation.traffic.pace for allocation in moving)
                return "relay", _best(pair, [m for m in moving if m.traffic.pace * 2 >= pace])
        return "direct" if says_direct > float("-inf") else "unknown", []

    def _moved_lately(self, allocation: _TiedAllocation) -> bool:
        traffic = allocation.traffic
        return traffic.both_ways and traffic.moved_at >= self._mono - MOVED_LATELY

    # Inside: tables

    def _opened(self, client: FiveTuple, user_id: str, relayed: tuple[Address, ...], now: Now) -> _TiedAllocation:
        stale = self._live.get(client)
        if stale is None and len(self._live) >= MAX_ALLOCATIONS:
            stale = next(iter(self._live.values()))
        if stale is not None:
            self._book.ended(stale.user_id, stale.client, "")
            self._remove(stale)
        allocation = _TiedAllocation(client, user_id, relayed, Traffic(Counters(), now.mono))
        self._live[client] = allocation
        self._of_user.setdefault(user_id, set()).add(client)
        self._book.opened(user_id, client, relayed, now.wall)
        self._tie(allocation)
        return allocation

    def _ended(self, event: AllocationEnded, counters: Counters, now: Now) -> None:
        allocation = self._live.get(event.client)
        if allocation is None:
            return
        self._carried(allocation, counters, now)
        self._book.ended(allocation.user_id, event.client, str(event.reason))
        self._remove(allocation)
        claims = self._claims.get(allocation.user_id, {})
        for address in allocation.relayed:
            claims.pop(address, None)  # the port will belong to another user or another pair

    def _moved(self, event: AllocationMoved) -> None:
        """The allocation and its pair are the same; only where its client is has changed (RFC 8016)."""
        allocation = self._live.pop(event.former, None)
        if allocation is None:
            return
        tables: list[dict[FiveTuple, _TiedAllocation]] = [self._live]
        if allocation.key is not None:
            tables.append(self._end(self._pairs[allocation.key], allocation.key, allocation.user_id).allocations)
        for table in tables:
            table.pop(event.former, None)
            table[event.client] = allocation
        allocation.client = event.client
        self._of_user[allocation.user_id].remove(event.former)
        self._of_user[allocation.user_id].add(event.client)
        self._book.moved(allocation.user_id, event.former, event.client)

    def _refused(self, event: RequestRefused, now: Now) -> None:
        """401 without a name and 438 occur in every normal session; other refusals show a user's problem."""
        if event.code == ErrorCode.STALE_NONCE or event.method not in {Method.ALLOCATE, Method.REFRESH}:
            return
        user_id = event.user_id or event.username.partition(self.separator)[2]
        if user_id and (event.user_id or len(user_id) <= MAX_NAME):
            proto = proto_of(event.client)
            self._book.refused(user_id, event.code, event.reason, proto, now.wall, proven=bool(event.user_id))

    def _carried(self, allocation: _TiedAllocation, counters: Counters, now: Now) -> None:
        up, down = allocation.traffic.update(counters, now.mono)
        if not up and not down:
            return
        self._book.carried(allocation.user_id, up, down)
        allocation.up += up
        allocation.down += down
        self._credit(allocation)

    def _credit(self, allocation: _TiedAllocation) -> None:
        """Give a pair what its allocation carried; before it was tied that could only be for the same pair."""
        if allocation.key is None:
            return
        end = self._end(self._pairs[allocation.key], allocation.key, allocation.user_id)
        end.up += allocation.up
        end.down += allocation.down
        allocation.up = allocation.down = 0

    def _tie(self, allocation: _TiedAllocation) -> None:
        """Tie an allocation to the pair that it was announced to; it may have been tied to another before."""
        claims = self._claims.get(allocation.user_id, {})
        receivers = [claims[address] for address in allocation.relayed if address in claims]
        if not receivers:
            return
        key = _key(allocation.user_id, receivers[0])
        if key == allocation.key:
            return
        self._untie(allocation)
        end = self._end(self._pair(key), key, allocation.user_id)
        end.allocations[allocation.client] = allocation
        allocation.key = key
        self._credit(allocation)

    def _untie(self, allocation: _TiedAllocation) -> None:
        if allocation.key is not None:
            end = self._end(self._pairs[allocation.key], allocation.key, allocation.user_id)
            del end.allocations[allocation.client]
            allocation.key = None

    def _remove(self, allocation: _TiedAllocation) -> None:
        self._untie(allocation)
        del self._live[allocation.client]
        mates = self._of_user[allocation.user_id]
        mates.discard(allocation.client)
        if not mates:
            del self._of_user[allocation.user_id]

    def _pair(self, key: _PairKey) -> _PairTraffic:
        """The pair, created if necessary, and marked as the most recently updated."""
        pair = self._pairs.pop(key, None)
        if pair is None:
            if len(self._pairs) >= MAX_PAIRS:
                self._drop(next(iter(self._pairs)))
            pair = _PairTraffic()
            for user_id in key:
                self._pairs_of.setdefault(user_id, set()).add(key)
        self._pairs[key] = pair
        return pair

    def _drop(self, key: _PairKey) -> None:
        for allocation in self._pairs[key].allocations():
            self._untie(allocation)
        del self._pairs[key]
        for user_id in key:
            mates = self._pairs_of[user_id]
            mates.discard(key)
            if not mates:
                del self._pairs_of[user_id]

    @staticmethod
    def _end(pair: _PairTraffic, key: _PairKey, user_id: str) -> _PairEnd:
        return pair.first if key[0] == user_id else pair.second


def _key(a: str, b: str) -> _PairKey:
    return (a, b) if a < b else (b, a)


def _best(pair: _PairTraffic, carriers: list[_TiedAllocation]) -> list[_TiedAllocation]:
    """For each end the allocation that carries the most: a pair has one path at a time."""
    best = []
    for end in (pair.first, pair.second):
        own = [carrier for carrier in carriers if carrier.client in end.allocations]
        if own:
            best.append(max(own, key=lambda carrier: carrier.traffic.pace))
    return best
