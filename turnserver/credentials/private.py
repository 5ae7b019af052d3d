"""Tests whether an address belongs to this host or to a private network."""

from ipaddress import IPv4Address, IPv6Address

__all__ = ["is_private"]


def is_private(address: IPv4Address | IPv6Address) -> bool:
    """Whether packets to an address do not cross the public Internet: loopback, private, link-local, shared (RFC 6598).

    An IPv4-mapped address is treated as the IPv4 address.
    """
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    judged = address if mapped is None else mapped
    return not (judged.is_global or judged.is_multicast or judged.is_unspecified)
