"""Which peers a client may reach: the peer ACL (RFC 8656 §21.2.2, §21.4), on canonical addresses.

There is one function, `PeerPolicy.refusal`, for every way to a peer: CreatePermission, ChannelBind, Send, TCP
connections in both directions, and everything that exists when the list is replaced. In this order:

1. an address and port that this server itself listens on is refused in any case;
2. a network in ``deny`` is refused;
3. a network in ``allow`` is allowed, even if it is refused by default;
4. the server's own relay addresses are allowed on relay ports (two clients behind symmetric NATs meet relay to relay),
   and refused on any other port;
5. networks that are not public are refused, all others are allowed.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from stun.address import Address
from turnserver.core.settings import CoreSettings, OwnAddresses
from turnserver.core.types import IpNetwork, PortRange

__all__ = ["DEFAULT_DENY", "PeerPolicy", "canonical"]

DEFAULT_DENY: tuple[IpNetwork, ...] = tuple(
    ip_network(text)
    for text in (
        "0.0.0.0/8",  # this network, RFC 791
        "10.0.0.0/8",  # private, RFC 1918
        "100.64.0.0/10",  # carrier-grade NAT, RFC 6598
        "127.0.0.0/8",  # loopback, RFC 1122
        "169.254.0.0/16",  # link-local and cloud metadata, RFC 3927
        "172.16.0.0/12",  # private, RFC 1918
        "192.0.0.0/24",  # protocol assignments, RFC 6890
        "192.0.2.0/24",  # documentation, RFC 5737
        "192.168.0.0/16",  # private, RFC 1918
        "198.18.0.0/15",  # benchmarking, RFC 2544
        "198.51.100.0/24",  # documentation, RFC 5737
        "203.0.113.0/24",  # documentation, RFC 5737
        "224.0.0.0/4",  # multicast, RFC 5771
        "240.0.0.0/4",  # reserved and broadcast, RFC 1112
        "::/128",  # unspecified, RFC 4291
        "::1/128",  # loopback, RFC 4291
        "64:ff9b:1::/48",  # local-use translation, RFC 8215
        "2001::/32",  # Teredo, RFC 4380: wraps an IPv4 address of the client's choice
        "2002::/16",  # 6to4, RFC 3056: the same
        "fc00::/7",  # unique local, RFC 4193
        "fe80::/10",  # link-local, RFC 4291
        "fec0::/10",  # site-local, RFC 3879
        "ff00::/8",  # multicast, RFC 4291
    )
)

_EVERY_PORT = PortRange(0, 65535)

_MAPPED = bytes(10) + b"\xff\xff"
_COMPATIBLE = bytes(12)
_NOT_COMPATIBLE = (bytes(16), bytes(15) + b"\x01")
"""``::`` and ``::1`` look like IPv4-compatible addresses and are not."""
_NAT64 = b"\x00\x64\xff\x9b" + bytes(8)


@lru_cache(maxsize=4096)
def canonical(ip: bytes) -> IPv4Address | IPv6Address:
    """The address that packets to ``ip`` (packed) reach: ::ffff:0:0/96, ::/96 and 64:ff9b::/96 are unwrapped."""
    if len(ip) == 16 and ip[:12] in (_MAPPED, _COMPATIBLE, _NAT64) and ip not in _NOT_COMPATIBLE:
        return IPv4Address(ip[12:])
    return ip_address(ip)


@dataclass(frozen=True, slots=True)
class PeerPolicy:
    """The peer ACL as values. Build it with `PeerPolicy.build`; an empty ACL refuses what is not public."""

    allow: tuple[IpNetwork, ...] = ()
    deny: tuple[IpNetwork, ...] = ()
    listeners: frozenset[tuple[IPv4Address | IPv6Address, int]] = frozenset()
    relays: frozenset[IPv4Address | IPv6Address] = frozenset()
    own: frozenset[IPv4Address | IPv6Address] = frozenset()
    ports: PortRange = _EVERY_PORT

    @classmethod
    def build(
        cls,
        *,
        allow: Iterable[IpNetwork] = (),
        deny: Iterable[IpNetwork] = (),
        listeners: Iterable[Address] = (),
        relays: Iterable[bytes] = (),
        ports: PortRange = _EVERY_PORT,
    ) -> "PeerPolicy":
        """Make a policy; ``listeners`` are the server's own addresses, ``relays`` its relay addresses (packed).

        Relay addresses are allowed on ``ports``, by default on all.
        """
        listening = frozenset((canonical(address.ip), address.port) for address in listeners)
        relaying = frozenset(canonical(ip) for ip in relays)
        return cls(
            allow=tuple(allow),
            deny=tuple(deny),
            listeners=listening,
            relays=relaying,
            own=relaying | {address for address, _ in listening},
            ports=ports,
        )

    @classmethod
    def of(cls, settings: CoreSettings, own: OwnAddresses) -> "PeerPolicy":
        """The policy of a configuration, with the server's real own addresses."""
        return cls.build(
            allow=settings.peers.allow,
            deny=settings.peers.deny,
            listeners=own.listeners,
            relays=[ip for relay in (*own.relays, *own.former) for ip in (relay.bound, relay.external)],
            ports=settings.relay.ports,
        )

    def refusal(self, ip: bytes, port: int | None = None) -> str | None:
        """Why the peer ``ip`` (packed) is refused, naming the rule; None if it is allowed.

        Without ``port`` (a permission is for an address and all its ports) only rules for every port count.
        """
        address = canonical(ip)
        if port is not None and (address, port) in self.listeners:
            return "own listener"
        network = _match(address, self.deny)
        if network is not None:
            return f"deny {network}"
        if _match(address, self.allow) is not None:
            return None
        if address in self.relays:
            return None if port is None or port in self.ports else "own address, not a relay port"
        network = _match(address, DEFAULT_DENY)
        return None if network is None else f"default deny {network}"

    def depends_on_port(self, ip: bytes) -> bool:
        """True if `refusal` may differ by port: the server's own addresses."""
        return canonical(ip) in self.own


def _match(address: IPv4Address | IPv6Address, networks: Iterable[IpNetwork]) -> IpNetwork | None:
    for network in networks:
        if network.version == address.version and address in network:
            return network
    return None
