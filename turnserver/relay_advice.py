"""What the addresses that a server relays from mean for its clients: sentences for its operator, none if all is well.

The server says them in its log, and ``meshturn check`` as warnings.
"""

from collections.abc import Iterable, Iterator
from ipaddress import ip_address, ip_network
from typing import Final

from stun.address import Address
from turnserver.config import External
from turnserver.core.settings import RelayAddress
from turnserver.core.types import DefaultFamily

__all__ = ["is_private", "relay_advice"]

_FAMILIES: Final = {"ipv4": ("IPv4", 4), "ipv6": ("IPv6", 16)}

_PRIVATE: Final = tuple(
    map(ip_network, ("10.0.0.0/8", "100.64.0.0/10", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"))
)
"""RFC 1918, RFC 6598, RFC 3927, RFC 4193: addresses that hosts behind a NAT have."""


def relay_advice(
    relays: Iterable[RelayAddress],
    default_family: DefaultFamily,
    external: External | None = None,
    *,
    asked: bool = False,
) -> list[str]:
    """What should be changed about these addresses; ``default_family`` and ``external`` are the options of that name.

    ``asked``: the public addresses are not known yet, because a STUN server is still to be asked for them.
    """
    found = list(relays)
    return [
        *([] if asked else _private_addresses(found)),
        *_missing_family(found, default_family),
        *(_unused(found, external) if external is not None and found else ()),
    ]


def _private_addresses(relays: list[RelayAddress]) -> Iterator[str]:
    """Families of which clients are told nothing but private addresses.

    On a host that has public ones, too, clients that reach it by these get them.
    """
    for words, size in _FAMILIES.values():
        told = [relay.external for relay in relays if len(relay.bound) == size]
        private = [Address(ip, 0).host for ip in dict.fromkeys(told) if is_private(ip)]
        if private and all(is_private(ip) or ip_address(ip).is_loopback for ip in told):
            are = "is private" if len(private) == 1 else "are private"
            yield (
                f"The {words} relay address {' and '.join(private)} {are}: peers on other networks cannot send to it. "
                "Behind NAT, give the public address in relay.external (or auto)."
            )


def is_private(ip: bytes) -> bool:
    """Whether an address (packed) is one that hosts behind a NAT have."""
    address = ip_address(ip)
    return any(address in network for network in _PRIVATE)


def _missing_family(relays: list[RelayAddress], default_family: DefaultFamily) -> Iterator[str]:
    sizes = {len(relay.bound) for relay in relays}
    if default_family == "auto" or not sizes:
        return
    words, size = _FAMILIES[default_family]
    if size not in sizes:
        yield (
            f"No relay address is {words}, which relay.default_family asks for: browsers, which ask for no family, get "
            "no relay (440). Use auto."
        )


def _unused(relays: list[RelayAddress], external: External) -> Iterator[str]:
    """Public addresses that no client is told, because nothing is relayed from what they are for."""
    public = external.public
    if public is not None and all(len(relay.bound) != len(public.packed) for relay in relays):
        yield f"relay.external is {public}, and no relay address is IPv{public.version}: no client is told it."
    bound = {relay.bound for relay in relays}
    for own in external:
        if own.packed not in bound:
            yield f"relay.external has a public address for {own}, and nothing is relayed from there."
