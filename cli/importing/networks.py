"""Addresses and networks of other servers' files; a name is never resolved."""

from collections.abc import Iterable, Sequence
from ipaddress import ip_address, ip_network, summarize_address_range

from turnserver.core.special_purpose import DEFAULT_DENY
from turnserver.core.types import IpAddress, IpNetwork

__all__ = ["address", "closed_by_default", "endpoint", "networks", "without"]


def address(text: str) -> IpAddress | None:
    """An address; None for anything else, such as a name."""
    try:
        return ip_address(text)
    except ValueError:
        return None


def endpoint(text: str, port: int) -> tuple[IpAddress, int] | None:
    """``ADDRESS:PORT``, ``[ADDRESS]:PORT`` or an address alone, which has the default ``port``; None for others."""
    host, colon, last = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif text.startswith("[") and text.endswith("]"):
        host, colon = text[1:-1], ""
    elif not colon or ":" in host:
        host, colon = text, ""
    found = address(host)
    if found is None or (colon and not (last.isascii() and last.isdecimal() and 0 < int(last[:6]) <= 65535)):
        return None
    return found, int(last) if colon else port


def networks(text: str) -> list[IpNetwork] | None:
    """The networks of an address, of ``FIRST-LAST``, or of a network in CIDR notation; None for anything else."""
    first, dash, last = (part.strip() for part in text.partition("-"))
    try:
        if not dash:
            return [ip_network(text, strict=False)]
        return list(summarize_address_range(ip_address(first), ip_address(last)))
    except (TypeError, ValueError):
        return None


def closed_by_default(network: IpNetwork) -> bool:
    """Whether all of a network is refused to peers without being listed."""
    return any(row.version == network.version and network.subnet_of(row) for row in DEFAULT_DENY)  # type: ignore[arg-type]


def without(outer: Sequence[IpNetwork], inner: Iterable[IpNetwork]) -> list[IpNetwork]:
    """The networks ``outer`` without those in ``inner``."""
    left = list(outer)
    for hole in inner:
        cut: list[IpNetwork] = []
        for network in left:
            if network.version != hole.version or not network.overlaps(hole):
                cut.append(network)
            elif hole.subnet_of(network) and hole != network:  # type: ignore[arg-type]
                cut += network.address_exclude(hole)  # type: ignore[arg-type]
        left = cut
    return left
