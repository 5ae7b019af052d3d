"""Peer ACLs of coturn and eturnal.

Both let clients reach every peer but those on loopback, unless the file says otherwise, and what they allow counts more
than what they deny. Here networks that are not public are closed without being listed, and what is denied counts more.
So ``peers.deny`` is what they deny without what they allow, as far as it is public, and ``peers.allow`` what they allow
that is not public.
"""

from collections.abc import Iterable, Sequence
from ipaddress import ip_network
from typing import Final, NamedTuple

from cli.importing.coturn_file import boolean
from cli.importing.networks import closed_by_default, networks, without
from cli.importing.options import Options
from cli.importing.outcome import Given, Plan
from turnserver.core.types import IpNetwork

__all__ = ["PRIVATE", "Range", "coturn_peers", "take_acl"]

PRIVATE: Final = tuple(map(ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")))
"""The private networks, which other servers leave open."""

_LOOPBACK: Final = tuple(map(ip_network, ("127.0.0.0/8", "::1/128")))
_CLOSED: Final = "networks that are not public are refused unless peers.allow has them"


class Range(NamedTuple):
    """An item of an ACL, and the networks that it stands for."""

    given: Given
    networks: Sequence[IpNetwork]


def coturn_peers(options: Options) -> None:
    """``peers.allow`` and ``peers.deny`` of coturn's options."""
    allowed, denied = _ranges(options, "allowed-peer-ip"), _ranges(options, "denied-peer-ip")
    loopback = options.last("allow-loopback-peers")
    if loopback is not None and boolean(loopback, options.plan):
        # Loopback is not on coturn's list of what counts more than what it denies.
        open_ones = without(_LOOPBACK, [network for item in denied for network in item.networks])
        if open_ones:
            allowed.append(Range(loopback, open_ones))
        else:
            options.plan.same(loopback, "denied-peer-ip has loopback, which counts")
    take_acl(options.plan, allowed, denied, Given(0, "denied-peer-ip"))


def take_acl(plan: Plan, allowed: Sequence[Range], denied: Sequence[Range], nothing: Given) -> None:
    """``peers`` of what another server allows and denies; ``nothing`` stands for what the file does not say."""
    holes = [network for item in allowed for network in item.networks]
    allow = _take(plan, "allow", [_with(item, filter(_closed, item.networks)) for item in allowed])
    deny = [
        _with(item, (each for each in without(item.networks, holes) if not closed_by_default(each))) for item in denied
    ]
    _take(plan, "deny", deny)
    closed = [network for item in denied for network in item.networks] + allow
    left = [str(network) for network in PRIVATE if without([network], closed)]
    if left:
        advice = (
            f"clients could reach hosts in {', '.join(left)}, here they cannot: if yours have to, peers.allow takes "
            "the network"
        )
        plan.refuse(nothing, advice)


def _take(plan: Plan, name: str, items: Sequence[Range]) -> list[IpNetwork]:
    """Set one of the two lists from items without what is so by default; gives the networks in it."""
    found = list(dict.fromkeys(network for item in items for network in item.networks))
    sources = []
    for item in items:
        if item.networks:
            sources.append(item.given)
        else:
            plan.same(item.given, _CLOSED if name == "deny" else "public peers are allowed")
    if found:
        plan.take(("peers", name), [str(network) for network in found], *dict.fromkeys(sources))
    return found


def _with(item: Range, left: Iterable[IpNetwork]) -> Range:
    return item._replace(networks=tuple(left))


def _closed(network: IpNetwork) -> bool:
    """Whether a network is closed, in part at least, unless it is listed."""
    return closed_by_default(network) or any(
        other.version == network.version and other.overlaps(network) for other in PRIVATE
    )


def _ranges(options: Options, name: str) -> list[Range]:
    """The networks of each line of coturn's."""
    found: list[Range] = []
    for given in options.all(name):
        these = networks(given.value)
        if these is None:
            options.plan.wrong(given, "no address and no range", "ADDRESS or FIRST-LAST")
        elif "/" in given.value and name == "allowed-peer-ip":
            advice = "coturn takes no network in this notation, and ignores the line; peers.allow does"
            options.plan.refuse(given, advice)
        else:
            found.append(Range(given, these))
    return found
