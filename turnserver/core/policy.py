"""Which peers a client may reach: the peer ACL (RFC 8656 §21.2.2, §21.4), on canonical addresses.

There is one function, `PeerPolicy.refusal`, for every way to a peer: CreatePermission, ChannelBind, Send, TCP
connections in both directions, and everything that exists when the list is replaced. In this order:

1. an address and port that this server itself listens on is refused in any case, however the address is written;
2. a network in ``deny`` is refused;
3. the unspecified address is refused in any case: it is no destination (RFC 1122 §3.2.1.3, RFC 4291 §2.5.2), and the
   system takes it for this host;
4. a network in ``allow`` is allowed, even if it is refused by default;
5. the server's own relay addresses are allowed where a live relay stands (two clients behind symmetric NATs meet relay
   to relay) or the SFU, for clients without UDP, and refused on any other port: it belongs to something else on this
   host;
6. networks that are not public are refused (`turnserver.core.special_purpose`), all others are allowed.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address

from stun.address import Address
from turnserver.core.settings import CoreSettings, OwnAddresses
from turnserver.core.special_purpose import special_purpose
from turnserver.core.types import IpAddress, IpNetwork
from turnserver.reasons import Reason

__all__ = ["PeerPolicy", "canonical", "cause_of", "packed_canonical"]

_OWN_LISTENER = "own listener"
_OWN_ADDRESS = "own address, not a relay port"
_DENY = "deny "
_DEFAULT_DENY = "default deny "
"""How rules are named; after the last two comes the network."""

_MAPPED = bytes(10) + b"\xff\xff"
_COMPATIBLE = bytes(12)
_NOT_COMPATIBLE = (bytes(16), bytes(15) + b"\x01")
"""``::`` and ``::1`` look like IPv4-compatible addresses and are not."""
_NAT64 = b"\x00\x64\xff\x9b" + bytes(8)
_LOCAL_NAT64 = b"\x00\x64\xff\x9b\x00\x01"
_SIIT = bytes(8) + b"\xff\xff\x00\x00"
_6TO4 = b"\x20\x02"


@lru_cache(maxsize=4096)
def packed_canonical(ip: bytes) -> bytes:
    """The address that packets to ``ip`` (packed) reach: ::ffff:0:0/96, ::/96 and 64:ff9b::/96 are unwrapped."""
    if len(ip) == 16 and ip[:12] in (_MAPPED, _COMPATIBLE, _NAT64) and ip not in _NOT_COMPATIBLE:
        return ip[12:]
    return ip


def canonical(ip: bytes) -> IPv4Address | IPv6Address:
    """`packed_canonical` as an address, which can be looked for in networks."""
    return ip_address(packed_canonical(ip))


@lru_cache(maxsize=4096)
def _spellings(ip: bytes) -> tuple[IpAddress, ...]:
    """The addresses that packets to ``ip`` (packed) may reach: the canonical one, and IPv4 ones behind a translator.

    These are SIIT (RFC 2765), 6to4 (RFC 3056) and local NAT64 (RFC 8215). They are refused by default, but a network
    that is allowed may contain them.
    """
    address = canonical(ip)
    if len(ip) == 16:
        if ip[:12] == _SIIT or ip[:6] == _LOCAL_NAT64:
            return address, IPv4Address(ip[12:])
        if ip[:2] == _6TO4:
            return address, IPv4Address(ip[2:6])
    return (address,)


@dataclass(frozen=True, slots=True)
class PeerPolicy:
    """The peer ACL as values. Build it with `PeerPolicy.build`; an empty ACL refuses what is not public."""

    allow: tuple[IpNetwork, ...] = ()
    deny: tuple[IpNetwork, ...] = ()
    listeners: frozenset[tuple[IpAddress, int]] = frozenset()
    wildcards: frozenset[tuple[int, int]] = frozenset()
    """Listeners on the unspecified address, by IP version and port: they listen on every local address."""
    relays: frozenset[IpAddress] = frozenset()
    own: frozenset[IpAddress] = frozenset()

    @classmethod
    def build(
        cls,
        *,
        allow: Iterable[IpNetwork] = (),
        deny: Iterable[IpNetwork] = (),
        listeners: Iterable[Address] = (),
        relays: Iterable[bytes] = (),
        local: Iterable[bytes] = (),
    ) -> "PeerPolicy":
        """Make a policy; ``listeners`` are the server's own addresses, ``relays`` its relay addresses (packed).

        ``local`` are all addresses of this host (packed): a listener on the unspecified address is reached by each.
        """
        listening = frozenset((canonical(address.ip), address.port) for address in listeners)
        relaying = frozenset(canonical(ip) for ip in relays)
        everywhere = [(address, port) for address, port in listening if address.is_unspecified]
        wildcards = {(address.version, port) for address, port in everywhere}
        wildcards |= {(4, port) for address, port in everywhere if address.version == 6}  # unless IPV6_V6ONLY is set
        return cls(
            allow=tuple(allow),
            deny=tuple(deny),
            listeners=listening,
            wildcards=frozenset(wildcards),
            relays=relaying,
            own=relaying | {address for address, _ in listening} | {canonical(ip) for ip in local},
        )

    @classmethod
    def of(cls, settings: CoreSettings, own: OwnAddresses) -> "PeerPolicy":
        """The policy of a configuration, with the server's real own addresses.

        Behind 1:1 NAT, a listener is also reached by the public address of the address that it listens on.
        """
        public = {canonical(private.packed): shown.packed for private, shown in settings.relay.external.items()}
        public |= {canonical(relay.bound): relay.external for relay in (*own.former, *own.relays)}
        mapped = [(public.get(canonical(listener.ip)), listener.port) for listener in own.listeners]
        return cls.build(
            allow=settings.peers.allow,
            deny=settings.peers.deny,
            listeners=[*own.listeners, *(Address(ip, port) for ip, port in mapped if ip is not None)],
            relays=[ip for relay in (*own.relays, *own.former) for ip in (relay.bound, relay.external)],
            local=own.local,
        )

    def refusal(self, ip: bytes, port: int | None = None, *, relayed: bool = False) -> str | None:
        """Why the peer ``ip`` (packed) is refused, naming the rule; None if it is allowed.

        Without ``port`` (a permission is for an address and all its ports) only rules for every port count. ``relayed``
        says that a live relay of this server, or its SFU, stands at that address and port.
        """
        address = canonical(ip)
        if port is not None and any(self._listens(spelled, port) for spelled in _spellings(ip)):
            return _OWN_LISTENER
        network = _match(address, self.deny)
        if network is not None:
            return f"{_DENY}{network}"
        if address.is_unspecified:
            return f"{_DEFAULT_DENY}{'0.0.0.0/8' if address.version == 4 else '::/128'}"
        if _match(address, self.allow) is not None:
            return None
        if address in self.relays:
            return None if port is None or relayed else _OWN_ADDRESS
        special = special_purpose(address)
        return None if special is None or special.reachable else f"{_DEFAULT_DENY}{special.network}"

    def depends_on_port(self, ip: bytes) -> bool:
        """True if `refusal` may differ by port: the server's own addresses."""
        spellings = _spellings(ip)
        return any(address in self.own or (bool(self.wildcards) and address.is_loopback) for address in spellings)

    def _listens(self, address: IpAddress, port: int) -> bool:
        """Whether a listener of this server is reached at an address and port."""
        if (address, port) in self.listeners:
            return True
        local = address in self.own or address.is_loopback or address.is_unspecified
        return local and (address.version, port) in self.wildcards


def cause_of(rule: str) -> Reason:
    """The cause of a refusal by a rule, as `PeerPolicy.refusal` names it."""
    if rule.startswith(_DENY):
        return Reason.PEER_DENIED
    own = {_OWN_LISTENER: Reason.PEER_OWN_LISTENER, _OWN_ADDRESS: Reason.PEER_OWN_ADDRESS}
    return own.get(rule, Reason.PEER_NOT_PUBLIC)


def _match(address: IPv4Address | IPv6Address, networks: Iterable[IpNetwork]) -> IpNetwork | None:
    for network in networks:
        if network.version == address.version and address in network:
            return network
    return None
