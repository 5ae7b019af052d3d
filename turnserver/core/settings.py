"""What the core needs to know of the configuration, as plain values; the worker derives it from `turnserver.config`."""

from dataclasses import dataclass, field

from stun.address import Address
from stun.constants import CHANNEL_MAX
from turnserver.core.policy import PeerPolicy

__all__ = ["CoreSettings", "Limits", "PortRange", "RelayAddress"]


@dataclass(frozen=True, slots=True)
class RelayAddress:
    """An address that relays are bound on, and the one that clients are told (another behind 1:1 NAT); both packed."""

    bound: bytes
    external: bytes


@dataclass(frozen=True, slots=True)
class PortRange:
    """The relay ports, both ends included (RFC 8656 §7.2 recommends 49152–65535)."""

    first: int = 49152
    last: int = 65535

    def __contains__(self, port: object) -> bool:
        return isinstance(port, int) and self.first <= port <= self.last


@dataclass(frozen=True, slots=True)
class Limits:
    """Every bound of the core. Lifetimes are in seconds, the reflection budget in bytes and bytes per second."""

    allocations: int = 12_000
    """Held at once in this process; the socket table of a process is finite (508 beyond it)."""
    allocations_per_user: int = 64
    """A browser in a 4-person call makes up to a dozen; 486 beyond it."""
    permissions_per_allocation: int = 256
    channels_per_allocation: int = 256
    default_lifetime: int = 600
    """RFC 8656 §7.2: granted when LIFETIME is missing, and never less."""
    max_lifetime: int = 3600
    permission_lifetime: int = 300
    """RFC 8656 §9: fixed by the protocol."""
    channel_lifetime: int = 600
    """RFC 8656 §12: fixed by the protocol."""
    reservation_lifetime: int = 30
    """RFC 8656 §7.2: at least 30 seconds."""
    retransmission_lifetime: int = 40
    """RFC 8656 §7.2: a client retransmits for up to 39.5 seconds."""
    reflection_burst: int = 65_536
    """Bytes by which unauthenticated answers to one prefix may exceed what came from it, at once..."""
    reflection_rate: int = 4_096
    """...and what the budget regains per second."""
    pending_lookups: int = 1_024
    """Credential look-ups under way at once; 500 beyond it."""
    lookups_per_address: int = 64
    """Of these, look-ups for one client: an IPv4 address or an IPv6 /64. One stranger cannot take all of them."""
    lookup_timeout: int = 5
    """A look-up unanswered for so long is answered with 500."""
    opening_timeout: int = 10
    """An Allocate whose relays are not open by then goes on without them; 508 if it has none. Before the client, which
    asks for 39.5 seconds (RFC 8489 §6.2.1), has given up."""
    tcp_connections_per_allocation: int = 32
    """Connections with peers, in whatever state, of one TCP allocation; 508 beyond it."""
    connect_timeout: int = 30
    """RFC 6062 §5.2: at least 30 seconds for a peer to take a connection; 447 after it."""
    connection_bind_timeout: int = 30
    """RFC 6062 §5.2, §5.3: a peer connection that the client has not claimed by then is closed."""


@dataclass(frozen=True, slots=True)
class CoreSettings:
    """The whole of the core's configuration."""

    realm: str
    relays: tuple[RelayAddress, ...]
    software: str = ""
    """Sent in authenticated answers only; empty sends none."""
    ports: PortRange = field(default_factory=PortRange)
    policy: PeerPolicy = field(default_factory=PeerPolicy)
    limits: Limits = field(default_factory=Limits)
    strict_permissions: bool = False
    """The letter of RFC 8656 §12: a channel does not keep its peer's permission alive."""
    strict_expiry: bool = False
    """Refuse to Refresh with a credential that has expired."""
    last_channel: int = CHANNEL_MAX
    """The highest channel number; `CHANNEL_MAX_RFC5766` also accepts the range that RFC 8656 §12 reserves."""
    alternate: tuple[Address, ...] = ()
    """Where new allocations are sent instead (300 Try Alternate); empty accepts them here."""
