"""What the core reads of the configuration, as protocols that its sections satisfy; and what no configuration says.

`turnserver.config.Config` is such a configuration, and has the defaults; the core itself knows of no other.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from stun.address import Address
from turnserver.core.types import IpAddress, IpNetwork, PortRange

__all__ = [
    "AuthOptions",
    "CoreBounds",
    "CoreLimits",
    "CoreSettings",
    "OwnAddresses",
    "PeerOptions",
    "RelayAddress",
    "RelayOptions",
]


class CoreLimits(Protocol):
    """What ``limits`` says of the core. Lifetimes are in seconds, the reflection budget in bytes."""

    @property
    def allocations(self) -> int:
        """Held at once in this process; 508 beyond it."""

    @property
    def allocations_per_user(self) -> int:
        """Of these, those of one user; 486 beyond it."""

    @property
    def permissions_per_allocation(self) -> int:
        """Beyond it, 508."""

    @property
    def channels_per_allocation(self) -> int:
        """Beyond it, 508."""

    @property
    def default_lifetime(self) -> int:
        """RFC 8656 §7.2: granted when LIFETIME is missing, and never less."""

    @property
    def max_lifetime(self) -> int:
        """The longest that is granted."""

    @property
    def reflection_burst(self) -> int:
        """By which unauthenticated answers to one prefix may exceed what came from it, at once."""

    @property
    def reflection_rate(self) -> int:
        """What that budget regains per second."""

    @property
    def pending_lookups(self) -> int:
        """Credential look-ups under way at once; 500 beyond it."""

    @property
    def tcp_connections_per_allocation(self) -> int:
        """Connections with peers, in whatever state, of one TCP allocation; 508 beyond it."""


class RelayOptions(Protocol):
    """What ``relay`` says of addresses and channels."""

    @property
    def addresses(self) -> Sequence[IpAddress]:
        """Where relays are bound; without any, where the listeners are."""

    @property
    def external(self) -> Mapping[IpAddress, IpAddress]:
        """From the server's own addresses to their public ones, behind 1:1 NAT."""

    @property
    def ports(self) -> PortRange:
        """The ports to relay from."""

    @property
    def legacy_channels(self) -> bool:
        """Accept the channel numbers, too, that RFC 8656 §12 reserves and RFC 5766 allowed."""


class PeerOptions(Protocol):
    """What ``peers`` says."""

    @property
    def allow(self) -> Sequence[IpNetwork]:
        """Allowed although they are not public."""

    @property
    def deny(self) -> Sequence[IpNetwork]:
        """Refused in any case."""

    @property
    def strict_permissions(self) -> bool:
        """The letter of RFC 8656 §12: a channel does not keep its peer's permission alive."""


class AuthOptions(Protocol):
    """What ``auth`` says of requests."""

    @property
    def strict_expiry(self) -> bool:
        """Refuse to Refresh with a credential that has expired."""


class CoreSettings(Protocol):
    """The configuration, as far as the core reads it."""

    @property
    def realm(self) -> str:
        """What clients are asked for credentials in."""

    @property
    def software(self) -> str:
        """Sent in authenticated answers only; empty sends none."""

    @property
    def alternate_servers(self) -> Sequence[Address]:
        """Where new allocations are sent instead (300 Try Alternate), one per family; empty accepts them here."""

    @property
    def relay(self) -> RelayOptions:
        """Addresses and channels."""

    @property
    def peers(self) -> PeerOptions:
        """Which peers may be reached."""

    @property
    def auth(self) -> AuthOptions:
        """Requests."""

    @property
    def limits(self) -> CoreLimits:
        """How much of everything."""


@dataclass(frozen=True, slots=True)
class CoreBounds:
    """What the protocol asks for, and no configuration changes; times in seconds."""

    permission_lifetime: int = 300
    """RFC 8656 §9."""
    channel_lifetime: int = 600
    """RFC 8656 §12."""
    reservation_lifetime: int = 30
    """RFC 8656 §7.2: at least 30 seconds."""
    retransmission_lifetime: int = 40
    """RFC 8656 §7.2: a client retransmits for up to 39.5 seconds."""
    lookups_per_address: int = 64
    """Of the pending look-ups, those for one client: an IPv4 address or an IPv6 /64. One stranger cannot take all."""
    lookup_timeout: int = 5
    """A look-up unanswered for so long is answered with 500."""
    opening_timeout: int = 10
    """An Allocate whose relays are not open by then goes on without them; 508 if it has none. Before the client, which
    asks for 39.5 seconds (RFC 8489 §6.2.1), has given up."""
    connect_timeout: int = 30
    """RFC 6062 §5.2: at least 30 seconds for a peer to take a connection; 447 after it."""
    connection_bind_timeout: int = 30
    """RFC 6062 §5.2, §5.3: a peer connection that the client has not claimed by then is closed."""


@dataclass(frozen=True, slots=True)
class RelayAddress:
    """An address that relays are bound on, and the one that clients are told (another behind 1:1 NAT); both packed."""

    bound: bytes
    external: bytes


@dataclass(frozen=True, slots=True)
class OwnAddresses:
    """Where the server really is: the addresses that relays are bound on, and those that are listened on."""

    relays: tuple[RelayAddress, ...]
    listeners: tuple[Address, ...] = ()

    @classmethod
    def of(
        cls, relay: RelayOptions, listeners: Sequence[Address], reachable: Sequence[Address] | None = None
    ) -> "OwnAddresses":
        """Relays are bound as configured or, if nothing is, on the listeners' own addresses.

        Those are the ``reachable`` ones, if it is said which ones are; loopback only if there is no other.
        """
        external = {private.packed: public.packed for private, public in relay.external.items()}
        bound = [address.packed for address in relay.addresses]
        if not bound:
            own = list(dict.fromkeys(address.ip for address in reachable or listeners))
            bound = [ip for ip in own if not Address(ip, 0).is_loopback] or own
        return cls(tuple(RelayAddress(ip, external.get(ip, ip)) for ip in bound), tuple(listeners))
