"""Why two people in a room do not hear each other: one code, and one sentence for readers who are not engineers.

Both ends report what they have seen (candidate types, states, ``icecandidateerror``), and the server has its own data
on their relays. If they disagree, the server is believed about its relays and the client about its network.
`judge` tries these rules in order; the first that applies gives the verdict:

====================== ==============================================================================================
code                   when
====================== ==============================================================================================
media_flows            both ends are connected, or a relay carries both ways and not both ends have failed
peer_gap               one of the two has no signaling socket now
no_candidates          an end has gathered nothing at all, and had no error either
peer_denied            the peer ACL refused one end's relay the relayed address of the other end
turn_401 turn_quota    an end without a relay was refused one: credentials wrong or expired, quota reached,
turn_full              server full
relay_ended            an end had a relay, which has ended
turn_unreachable       an end without a relay was not refused one; it reports that a TURN server is unreachable
still_trying           no end has failed yet
both_symmetric_no_turn neither has a relay or tried to get one; both know their public addresses
no_relay_candidate     neither has a relay; the reason is unknown
peer_denied            one has no relay, and the other end's relay was refused its address
one_relay              one has a relay, the other has not; the reason is unknown
udp_blocked            both have relays, and reach them over TCP or TLS only
unknown                anything else
====================== ==============================================================================================

At most `MAX_ERRORS` of the errors that a client reports are read.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from stun.address import Address
from stun.constants import ErrorCode
from turnserver.signaling.truth.relays import UNKNOWN_PATH, PairPath
from turnserver.signaling.truth.sentences import Verdict, VerdictCode, say
from turnserver.signaling.truth.userfacts import NO_FACTS, RefusalFact, UserFacts

__all__ = ["IceFailure", "Side", "Verdict", "VerdictCode", "judge"]

MAX_ERRORS: Final = 64

UNREACHABLE: Final = 701
"""W3C WebRTC §4.8.2: no host candidate can reach the server."""

_CONNECTED: Final = frozenset({"connected", "completed"})
_FAILED: Final = frozenset({"failed", "closed", "lost"})
_TRYING: Final = frozenset({"new", "checking", "connecting"})
_BETWEEN: Final = frozenset({"disconnected", "reconnecting"})
_STATES: Final = _CONNECTED | _FAILED | _TRYING | _BETWEEN
"""The states of RTCPeerConnection, of its ICE transport, and of this project's clients."""


class IceFailure(NamedTuple):
    """An ``icecandidateerror``: a STUN error code or 701 (unreachable), and the server's URL if known."""

    code: int
    url: str = ""


@dataclass(frozen=True, slots=True)
class Side:
    """One end of the pair: its own report, and the server's data on it."""

    local: frozenset[str] = frozenset()
    """Types of the candidates that it has gathered; for an end without a report, of those relayed by signaling."""
    remote: frozenset[str] = frozenset()
    """Types of the candidates that it has received from the other end."""
    states: tuple[str, ...] = ()
    """States of its connection, the latest last."""
    errors: tuple[IceFailure, ...] = ()
    facts: UserFacts = NO_FACTS
    connected: bool = True
    """Whether it has a signaling socket now."""
    reported: bool = True
    """Whether it has sent a `diag` for this pair lately."""


def judge(a: Side, b: Side, path: PairPath = UNKNOWN_PATH) -> Verdict:
    """Return why ``a``, who asks, and ``b`` do not hear each other; ``path`` is `RelayView.pair` of the two."""
    case = _Case(_SideFacts(a, a.local | b.remote), _SideFacts(b, b.local | a.remote), path)
    for rule in _RULES:
        verdict = rule(case)
        if verdict is not None:
            return verdict
    return say(VerdictCode.UNKNOWN, "nothing")


_NO_LETTERS: Final = re.compile("[^a-z]+")

_Cause = Literal["expired", "401", "quota", "full", "revoked", "ended", "unreachable"]


class _SideFacts:
    """A side, with the conclusions drawn from it."""

    def __init__(self, side: Side, types: frozenset[str]) -> None:
        self.side = side
        self.facts = side.facts
        self.types = types
        self.state = _latest(side.states)
        self.errors = side.errors[:MAX_ERRORS]
        self.has_relay = self._has_relay()
        self.cause = None if self.has_relay else self._cause()

    def _has_relay(self) -> bool:
        """Whether it has a relay for this pair: by its candidates, unless the server's data contradicts them.

        A user's facts cover all of its pairs, so a relay that the client does not report belongs to another pair. The
        relay of a user unknown to this server belongs to another server.
        """
        if not self.side.reported and not self.types:
            return self.facts.live > 0
        return "relay" in self.types and (self.facts.live > 0 or not self.facts.heard)

    @property
    def silent(self) -> bool:
        """True if neither the client nor the server has any data on it."""
        return not self.side.reported and not self.types and not self.facts.heard

    @property
    def gathered_nothing(self) -> bool:
        """True if it reports no candidate, and no error that would explain more."""
        return self.side.reported and not self.side.local and not self.errors and not self.facts.heard

    @property
    def behind_udp_block(self) -> bool:
        """True if it reaches all of its relays over TCP or TLS."""
        return bool(self.facts.protos) and "udp" not in self.facts.protos

    @property
    def tried(self) -> tuple[str, ...]:
        """The transports over which it could not reach TURN, as far as its errors name them."""
        failed = [failure.url for failure in self.errors if failure.code == UNREACHABLE]
        return tuple(dict.fromkeys(proto for url in failed for proto in _transport_of(url)))

    @property
    def says_unreachable(self) -> bool:
        return any(failure.code == UNREACHABLE and _is_turn(failure.url) for failure in self.errors)

    def _cause(self) -> _Cause | None:
        """Why it has no relay: the last refusal, else the client's errors, else an ended or unreachable relay."""
        causes = [_refusal_cause(fact) for fact in sorted(self._refusals(), key=lambda fact: -fact.at)]
        causes += [_CAUSES.get(failure.code) for failure in self.errors if _is_turn(failure.url)]
        known = [cause for cause in causes if cause is not None]
        if known:
            return known[0]
        if self.facts.opened and not self.facts.live:
            return "revoked" if self.facts.end_reason == "revoked" else "ended"
        return "unreachable" if self.says_unreachable else None

    def _refusals(self) -> Iterator[RefusalFact]:
        """Refusals since the last success. An unproven one is ignored if the client reports only other errors."""
        since = self.facts.opened_at
        codes = {failure.code for failure in self.errors}
        for fact in self.facts.refusals:
            believed = fact.proven or not codes or fact.code in codes
            if believed and (since is None or fact.at >= since):
                yield fact


class _Case(NamedTuple):
    a: _SideFacts
    b: _SideFacts
    path: PairPath

    @property
    def ends(self) -> tuple[_SideFacts, _SideFacts]:
        return self.a, self.b

    def who(self, test: Callable[[_SideFacts], bool]) -> "_Who | None":
        """The ends that pass a test."""
        of_a, of_b = test(self.a), test(self.b)
        return "both" if of_a and of_b else "you" if of_a else "they" if of_b else None


_Who = Literal["you", "they", "both"]
_Rule = Callable[[_Case], Verdict | None]

_CAUSES: Final[dict[int, _Cause]] = {
    ErrorCode.UNAUTHENTICATED: "401",
    ErrorCode.FORBIDDEN: "401",
    ErrorCode.WRONG_CREDENTIALS: "401",
    ErrorCode.ALLOCATION_QUOTA_REACHED: "quota",
    ErrorCode.SERVER_ERROR: "full",
    ErrorCode.INSUFFICIENT_CAPACITY: "full",
}


def _refusal_cause(fact: RefusalFact) -> _Cause | None:
    """A correct password that is refused with 401 has expired (docs/conformance.md, rule 24)."""
    if fact.code == ErrorCode.UNAUTHENTICATED and fact.proven:
        return "expired"
    return _CAUSES.get(fact.code)


def _latest(states: Sequence[str]) -> str:
    """The last known state, in any spelling: ``connected``, ``ice:checking``, ``Failed``."""
    for state in reversed(states):
        for word in reversed(_NO_LETTERS.split(state[:64].lower())):
            if word in _STATES:
                return word
    return ""


def _is_turn(url: str) -> bool:
    """Firefox gives no URL. Such an error comes from a TURN server, because STUN servers do not answer with errors."""
    return not url.lower().startswith(("stun:", "stuns:"))


def _transport_of(url: str) -> Iterator[str]:
    lowered = url.lower()
    if lowered.startswith("turns:"):
        yield "TLS"
    elif lowered.startswith("turn:"):
        yield "TCP" if "transport=tcp" in lowered else "UDP"


# The rules, in the order of the module's table


def _flows(case: _Case) -> Verdict | None:
    if all(end.state in _CONNECTED for end in case.ends):
        return say(VerdictCode.MEDIA_FLOWS, "connected")
    carried = case.path.path == "relay" and case.path.bytes_ab > 0 and case.path.bytes_ba > 0
    if carried and not all(end.state in _FAILED for end in case.ends):
        return say(VerdictCode.MEDIA_FLOWS, "relayed")
    return None


def _gap(case: _Case) -> Verdict | None:
    who = case.who(lambda end: not end.side.connected)
    return None if who is None else say(VerdictCode.PEER_GAP, who)


def _nothing_gathered(case: _Case) -> Verdict | None:
    who = case.who(lambda end: end.gathered_nothing)
    return None if who is None else say(VerdictCode.NO_CANDIDATES, who)


def _relay_denied(case: _Case) -> Verdict | None:
    for end, other in ((case.a, case.b), (case.b, case.a)):
        relayed = other.facts.relayed
        if not {*relayed, *(Address(address.ip, 0) for address in relayed)}.isdisjoint(end.facts.denied):
            return say(VerdictCode.PEER_DENIED, "relays")
    return None


def _cause(cause: _Cause, code: VerdictCode) -> _Rule:
    def rule(case: _Case) -> Verdict | None:
        who = case.who(lambda end: end.cause == cause)
        return None if who is None else say(code, f"{cause}, {who}", tried=_tried(case, who))

    return rule


def _trying(case: _Case) -> Verdict | None:
    if case.b.silent:
        return say(VerdictCode.STILL_TRYING, "no answer")
    if case.a.state in _TRYING and case.b.state not in _FAILED:
        return say(VerdictCode.STILL_TRYING, "trying")
    return None


def _no_turn(case: _Case) -> Verdict | None:
    if case.a.has_relay or case.b.has_relay:
        return None
    if all("srflx" in end.types and not end.facts.heard for end in case.ends):
        return say(VerdictCode.BOTH_SYMMETRIC_NO_TURN, "both")
    return say(VerdictCode.NO_RELAY_CANDIDATE, "both")


def _one_relay(case: _Case) -> Verdict | None:
    who = case.who(lambda end: not end.has_relay)
    if who is None:
        return None
    without, having = (case.a, case.b) if who == "you" else (case.b, case.a)
    if {peer.ip for peer in having.facts.denied} & set(without.facts.clients):
        return say(VerdictCode.PEER_DENIED, who)
    return say(VerdictCode.ONE_RELAY, who)


def _udp_blocked(case: _Case) -> Verdict | None:
    who = case.who(lambda end: end.behind_udp_block)
    return None if who is None else say(VerdictCode.UDP_BLOCKED, who)


_RULES: Final[tuple[_Rule, ...]] = (
    _flows,
    _gap,
    _nothing_gathered,
    _relay_denied,
    _cause("expired", VerdictCode.TURN_401),
    _cause("401", VerdictCode.TURN_401),
    _cause("quota", VerdictCode.TURN_QUOTA),
    _cause("full", VerdictCode.TURN_FULL),
    _cause("revoked", VerdictCode.RELAY_ENDED),
    _cause("ended", VerdictCode.RELAY_ENDED),
    _cause("unreachable", VerdictCode.TURN_UNREACHABLE),
    _trying,
    _no_turn,
    _one_relay,
    _udp_blocked,
)


def _tried(case: _Case, who: _Who) -> tuple[str, ...]:
    ends = {"you": (case.a,), "they": (case.b,), "both": case.ends}[who]
    names = {name for end in ends for name in end.tried}
    return tuple(name for name in ("UDP", "TCP", "TLS") if name in names)
