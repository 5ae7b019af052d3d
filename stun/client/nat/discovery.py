"""All tests of a NAT in their order (RFC 5780 §4.5): first those that other traffic could spoil.

Every test has sockets of its own, since the result of one may depend on what another has sent (§4.1). Only the mapping
test goes on with the socket of the first.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from ipaddress import ip_address
from itertools import count

from stun.address import Address
from stun.client.nat.filtering import filtering_test
from stun.client.nat.findings import Behavior, Dependence, Findings, Lifetime, ServerSeen, Trial
from stun.client.nat.fragments import fragments_test
from stun.client.nat.hairpin import hairpinning_test
from stun.client.nat.lifetime import search_lifetime
from stun.client.nat.mapping import compare_servers, mapping_test
from stun.client.nat.steps import Ask, Asks, BindingAnswer, Outcome, Script, Together

__all__ = ["MAX_SERVERS", "SILENCES", "DiscoveryPlan", "discover", "unfit_other"]

MAX_SERVERS = 8
"""Servers that are asked; more would tell nothing new."""

SILENCES = 5
"""At most so many answers are waited for in vain, one after the other: without a search for lifetimes."""

_NO_FILTERING_TEST = "no server offers RFC 5780: only one with a second address can send from where nobody has sent to"
_ONLY_UDP = "over TCP a server may not open a connection to the client (RFC 5780 §3)"


class _Socket(IntEnum):
    """Which socket is for what; those for lifetimes follow."""

    MAPPING = 0
    OTHER_ADDRESS = 1
    OTHER_PORT = 2
    HAIRPIN = 3
    HAIRPIN_PEER = 4
    LARGE = 5
    SMALL = 6
    FILTERING = 7
    CONTROL = 8
    LIFETIME = 9


@dataclass(frozen=True, slots=True)
class DiscoveryPlan:
    """What to find out, and by which servers.

    ``local`` gives the address of a socket by its number; it may raise, and that ends everything. ``mtu`` is that of
    the interface. ``lifetime`` is how far to search for the lifetime of bindings, in seconds; None for no search.
    """

    servers: Sequence[Address]
    local: Callable[[int], Address]
    reliable: bool = False
    mtu: int = 1500
    lifetime: float | None = None


def discover(plan: DiscoveryPlan) -> Script[Findings]:
    """Find out what can be found out over one transport and family."""
    servers = tuple(dict.fromkeys(plan.servers))[:MAX_SERVERS]
    outcomes: tuple[Outcome, ...] = yield Asks(tuple(Ask(_Socket.MAPPING, server) for server in servers))
    seen = tuple(_seen(outcome) for outcome in outcomes)
    found = Findings(seen)
    usable = [server for server in seen if server.mapped is not None]
    if not usable:
        return found
    best = next((server for server in usable if server.other is not None), usable[0])
    found.asked, found.local, found.mapped = best, plan.local(_Socket.MAPPING), best.mapped
    found.rewriting = _rewriting([outcome.heard for outcome in outcomes if outcome.ok and outcome.heard is not None])
    yield from _filtering(plan, found, best)
    yield from _mapping(found, best, usable)
    yield from _further(plan, found, best)
    return found


def _filtering(plan: DiscoveryPlan, found: Findings, best: ServerSeen) -> Script[None]:
    if plan.reliable:
        found.filtering = Behavior((), _ONLY_UDP)
    elif best.other is None:
        found.filtering = Behavior((), best.why or _NO_FILTERING_TEST)
    else:
        sockets = (_Socket.OTHER_ADDRESS, _Socket.OTHER_PORT, _Socket.FILTERING)
        found.filtering = yield from filtering_test(sockets, best.address, best.other)


def _mapping(found: Findings, best: ServerSeen, usable: Sequence[ServerSeen]) -> Script[None]:
    if not found.translated:
        found.mapping = Behavior((Dependence.ENDPOINT_INDEPENDENT,))
    elif best.other is not None and best.mapped is not None:
        found.mapping = yield from mapping_test(_Socket.MAPPING, best.address, best.other, best.mapped)
    if not found.mapping.possible:
        other = found.mapping.why
        found.mapping = compare_servers((each.address, each.mapped) for each in usable if each.mapped is not None)
        if other and not found.mapping.possible:
            found.mapping = Behavior((), other)


def _further(plan: DiscoveryPlan, found: Findings, best: ServerSeen) -> Script[None]:
    """The rest may wait for what does not come, so it does so at the same time."""
    scripts = (_hairpinning(plan, found, best), _fragments(plan, found, best), _lifetime(plan, found, best))
    yield Together(scripts)


def _hairpinning(plan: DiscoveryPlan, found: Findings, best: ServerSeen) -> Script[None]:
    if not found.translated:
        found.hairpinning = Behavior((), "there is no NAT")
    else:
        sockets = (_Socket.HAIRPIN, _Socket.HAIRPIN_PEER)
        found.hairpinning = yield from hairpinning_test(sockets, best.address, one_way=plan.reliable)


def _fragments(plan: DiscoveryPlan, found: Findings, best: ServerSeen) -> Script[None]:
    if plan.reliable:
        found.fragments = Behavior((), "TCP has no datagrams")
    else:
        found.fragments = yield from fragments_test((_Socket.LARGE, _Socket.SMALL), best.address, plan.mtu)


def _lifetime(plan: DiscoveryPlan, found: Findings, best: ServerSeen) -> Script[None]:
    if plan.reliable:
        found.lifetime = Lifetime(why=_ONLY_UDP)
    elif plan.lifetime is not None:
        fresh = count(_Socket.LIFETIME)
        found.lifetime = yield from search_lifetime(fresh, _Socket.CONTROL, best.address, plan.lifetime)


def _seen(outcome: Outcome) -> ServerSeen:
    """Script I of RFC 5780 §4.3 and §4.4 with one server."""
    address, heard = outcome.ask.to, outcome.heard
    if heard is None:
        times = f"{outcome.transmissions} transmission{'s' if outcome.transmissions != 1 else ''}"
        return ServerSeen(address, why=outcome.why or f"no answer to {times}", useless=outcome.ignored)
    if heard.error is not None:
        why = f"error {heard.error.code}: {heard.error.reason}"
        return ServerSeen(address, software=heard.software, why=why, useless=True)
    why = "" if heard.other is None else unfit_other(address, heard.other)
    return ServerSeen(address, heard.mapped, None if why else heard.other, heard.software, why)


def unfit_other(server: Address, other: Address) -> str:
    """Why an OTHER-ADDRESS is not used; empty if it is fit.

    It has another address and another port (RFC 5780 §6.1, table 1), and is where a stranger may be told to send to.
    """
    names = f"its OTHER-ADDRESS is {other}"
    if other.family is not server.family:
        return f"{names}, which is of another family"
    if other.ip == server.ip or other.port == server.port or not other.port:
        return f"{names}: not another address with another port (RFC 5780 §6.1)"
    mine, its = ip_address(server.ip), ip_address(other.ip)
    if its.is_multicast or its.is_unspecified or (its.is_loopback and not mine.is_loopback):
        return f"{names}, where no server can be"
    if its.is_private and not mine.is_private:
        return f"{names}, which is private: the server is behind NAT and does not know its public addresses"
    return ""


def _rewriting(heard: Sequence[BindingAnswer]) -> Behavior:
    """RFC 5780 §3.6: a generic ALG rewrites MAPPED-ADDRESS, and not what is XORed."""
    both = [each for each in heard if each.plain is not None]
    if not both:
        return Behavior((), "the server sends no MAPPED-ADDRESS beside XOR-MAPPED-ADDRESS")
    return Behavior((Trial.YES if any(each.plain != each.mapped for each in both) else Trial.NO,))
