"""Which sockets serve NAT behavior discovery (RFC 5780), from the listeners that are open and the host's addresses.

A client that is told of an address which does not answer takes its own NAT for one that filters, so each family is
offered whole or not at all.
"""

from collections.abc import Callable, Iterable, Mapping

from stun.address import Address
from stun.constants import AddressFamily
from turnserver.core.settings import DiscoverySocket
from turnserver.relay_advice import is_private

__all__ = ["discovery_sockets"]

_WORDS = {AddressFamily.IPV4: "IPv4", AddressFamily.IPV6: "IPv6"}


def discovery_sockets(
    wanted: Iterable[Address],
    listeners: Mapping[Address, int],
    present: Iterable[bytes],
    public: Callable[[bytes], bytes],
) -> tuple[tuple[DiscoverySocket, ...], dict[str, str]]:
    """The sockets of the families that can be offered, and why the others are not, by the name of the family.

    ``wanted`` are all that the configuration asks for, ``listeners`` the numbers of those that are open, ``present``
    the addresses (packed) among them that this host has now. ``public`` gives the address that clients are told.
    """
    found: list[DiscoverySocket] = []
    reasons: dict[str, str] = {}
    here = frozenset(present)
    sockets = list(wanted)
    for family in dict.fromkeys(each.family for each in sockets):
        group = [each for each in sockets if each.family is family]
        reason = _obstacle(group, listeners, here, public)
        if reason:
            reasons[_WORDS[family]] = reason
        else:
            found += [DiscoverySocket(at, Address(public(at.ip), at.port), listeners[at]) for at in group]
    return tuple(found), reasons


def _obstacle(
    group: list[Address], listeners: Mapping[Address, int], here: frozenset[bytes], public: Callable[[bytes], bytes]
) -> str:
    """Why these sockets of one family cannot be offered; empty if they can."""
    told = {each.ip: public(each.ip) for each in group}
    for ip in told:
        if ip not in here:
            return f"{Address(ip, 0).host} is no address of this host now"
    for each in group:
        if each not in listeners:
            return f"{each} is not open"
    hosts = [Address(ip, 0).host for ip in told]
    if len({*told.values()}) < len(told):
        return f"relay.external gives {' and '.join(hosts)} the same public address"
    translated = any(ip != shown for ip, shown in told.items())
    for ip, shown in told.items():
        if translated and ip == shown and is_private(ip):
            return f"relay.external has no public address for {Address(ip, 0).host}"
    return ""
