"""Networks that are not the public Internet: the IANA special-purpose address registries (RFC 6890), and multicast.

The rows are those of https://www.iana.org/assignments/iana-ipv4-special-registry and iana-ipv6-special-registry,
without those that another row of the same kind contains, and the networks that these registries do not list because
they are no unicast addresses, not in use any more, or one provider's own.
"""

from ipaddress import ip_network
from typing import NamedTuple

from turnserver.core.types import IpAddress, IpNetwork

__all__ = ["DEFAULT_DENY", "SPECIAL_PURPOSE", "SpecialPurpose", "special_purpose"]


class SpecialPurpose(NamedTuple):
    """One row; ``reachable`` if the registry says that the network is globally reachable.

    ``rfc`` is empty for what no RFC has reserved.
    """

    network: IpNetwork
    name: str
    rfc: str
    reachable: bool = False


SPECIAL_PURPOSE: tuple[SpecialPurpose, ...] = tuple(
    SpecialPurpose(ip_network(network), name, rfc, reachable=reachable)
    for network, name, rfc, reachable in (
        ("0.0.0.0/8", "this network", "RFC 791", False),
        ("10.0.0.0/8", "private use", "RFC 1918", False),
        ("100.64.0.0/10", "carrier-grade NAT", "RFC 6598", False),
        ("127.0.0.0/8", "loopback", "RFC 1122", False),
        # In no registry: within Azure it is the platform of the very host, with its agents' settings and certificates.
        ("168.63.129.16/32", "Azure's platform services", "", False),
        ("169.254.0.0/16", "link-local, and cloud metadata", "RFC 3927", False),
        ("172.16.0.0/12", "private use", "RFC 1918", False),
        # Two of its addresses are reachable: the anycast services PCP and TURN of the network that one is in.
        ("192.0.0.0/24", "IETF protocol assignments", "RFC 6890", False),
        ("192.0.2.0/24", "documentation", "RFC 5737", False),
        ("192.31.196.0/24", "AS112", "RFC 7535", True),
        ("192.52.193.0/24", "AMT", "RFC 7450", True),
        ("192.88.99.0/24", "6to4 relay anycast, deprecated", "RFC 7526", False),
        ("192.168.0.0/16", "private use", "RFC 1918", False),
        ("192.175.48.0/24", "AS112, direct delegation", "RFC 7534", True),
        ("198.18.0.0/15", "benchmarking", "RFC 2544", False),
        ("198.51.100.0/24", "documentation", "RFC 5737", False),
        ("203.0.113.0/24", "documentation", "RFC 5737", False),
        ("224.0.0.0/4", "multicast", "RFC 5771", False),
        ("240.0.0.0/4", "reserved, and limited broadcast", "RFC 1112, RFC 919", False),
        ("::/128", "unspecified", "RFC 4291", False),
        ("::1/128", "loopback", "RFC 4291", False),
        # ::/96, ::ffff:0:0/96 and 64:ff9b::/96 are judged by the IPv4 address that they contain.
        ("::ffff:0:0:0/96", "IPv4-translated (SIIT)", "RFC 2765", False),
        ("64:ff9b:1::/48", "local-use IPv4/IPv6 translation", "RFC 8215", False),
        ("100::/64", "discard-only", "RFC 6666", False),
        ("100:0:0:1::/64", "dummy prefix", "RFC 9780", False),
        ("2001::/23", "IETF protocol assignments", "RFC 2928", False),
        ("2001::/32", "Teredo: wraps an IPv4 address of the client's choice", "RFC 4380", False),
        ("2001:2::/48", "benchmarking", "RFC 5180", False),
        ("2001:3::/32", "AMT", "RFC 7450", True),
        ("2001:4:112::/48", "AS112", "RFC 7535", True),
        ("2001:10::/28", "ORCHID, deprecated", "RFC 4843", False),
        ("2001:20::/28", "ORCHIDv2", "RFC 7343", True),
        ("2001:30::/28", "drone remote identification", "RFC 9374", True),
        ("2001:db8::/32", "documentation", "RFC 3849", False),
        ("2002::/16", "6to4: wraps an IPv4 address of the client's choice", "RFC 3056", False),
        ("2620:4f:8000::/48", "AS112, direct delegation", "RFC 7534", True),
        ("3fff::/20", "documentation", "RFC 9637", False),
        ("5f00::/16", "segment routing (SRv6) identifiers", "RFC 9602", False),
        ("fc00::/7", "unique local", "RFC 4193", False),
        ("fe80::/10", "link-local", "RFC 4291", False),
        ("fec0::/10", "site-local, deprecated", "RFC 3879", False),
        ("ff00::/8", "multicast", "RFC 4291", False),
    )
)

DEFAULT_DENY: tuple[IpNetwork, ...] = tuple(row.network for row in SPECIAL_PURPOSE if not row.reachable)
"""The networks in which there are no peers unless the operator allows them."""

_BY_SIZE = sorted(SPECIAL_PURPOSE, key=lambda row: row.network.prefixlen, reverse=True)


def special_purpose(address: IpAddress) -> SpecialPurpose | None:
    """The smallest network of the table that an address is in; None for an ordinary public address."""
    for row in _BY_SIZE:
        if row.network.version == address.version and address in row.network:
            return row
    return None
