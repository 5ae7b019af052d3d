"""How a NAT maps (RFC 5780 §4.3; RFC 4787 §4.1): by a server with two addresses, or by several servers."""

from collections.abc import Iterable, Sequence
from itertools import combinations

from stun.address import Address
from stun.client.nat.findings import Behavior, Dependence
from stun.client.nat.steps import Ask, Asks, Outcome, Script

__all__ = ["compare_servers", "mapping_test"]

_INDEPENDENT = Dependence.ENDPOINT_INDEPENDENT
_ADDRESS = Dependence.ADDRESS_DEPENDENT
_BOTH = Dependence.ADDRESS_AND_PORT_DEPENDENT


def mapping_test(socket: int, primary: Address, other: Address, first: Address) -> Script[Behavior]:
    """Tests II and III of RFC 5780 §4.3. ``first`` is the mapped address of test I, from the same socket."""
    (second,) = yield Asks((Ask(socket, Address(other.ip, primary.port)),))
    if second.mapped is None:
        return Behavior((), _silent(second))
    if second.mapped == first:
        return Behavior((_INDEPENDENT,))
    (third,) = yield Asks((Ask(socket, other),))
    if third.mapped is None:
        return Behavior((_ADDRESS, _BOTH), _silent(third))
    return Behavior((_ADDRESS if third.mapped == second.mapped else _BOTH,))


def compare_servers(seen: Iterable[tuple[Address, Address]]) -> Behavior:
    """What plain servers tell: pairs of a server's address and the address that it sees the client as.

    All are answers to one socket. Two servers with different IP addresses are tests I and II of RFC 5780 §4.3; test III
    needs two ports of one address.
    """
    pairs = list(combinations(dict(seen).items(), 2))
    same_ip = [a[1] == b[1] for a, b in pairs if a[0].ip == b[0].ip]
    other_ip = [a[1] == b[1] for a, b in pairs if a[0].ip != b[0].ip]
    possible = set(Dependence)
    if any(other_ip):
        possible -= {_ADDRESS, _BOTH}
    if other_ip and not all(other_ip):
        possible -= {_INDEPENDENT}
    if any(same_ip):
        possible -= {_BOTH}
    if same_ip and not all(same_ip):
        possible -= {_INDEPENDENT, _ADDRESS}
    if not possible:
        return Behavior((), "the servers contradict each other: the NAT has changed its behavior during the test")
    if len(possible) == 1:
        return Behavior(_in_order(possible))
    return Behavior(_in_order(possible) if pairs else (), _what_is_missing(bool(other_ip), bool(same_ip)))


def _in_order(possible: set[Dependence]) -> tuple[Dependence, ...]:
    return tuple(each for each in Dependence if each in possible)


def _what_is_missing(other_ip: bool, same_ip: bool) -> str:
    """Which server would decide it."""
    if not other_ip and not same_ip:
        return "one server without RFC 5780 sees one mapping only: name a second server at another address"
    if not other_ip:
        return "all servers have one address: name a server at another address"
    return "to tell these apart takes a server that answers on two ports of one address, as RFC 5780 asks"


def _silent(outcome: Outcome) -> str:
    found: Sequence[str] = [f"the server's other address {outcome.ask.to} did not answer"]
    if outcome.error is not None:
        found = [f"the server's other address {outcome.ask.to} answered with the error {outcome.error}"]
    return ": ".join([*found, outcome.why] if outcome.why else found)
