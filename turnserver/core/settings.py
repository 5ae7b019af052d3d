"""The settings that the core reads, as protocols that the configuration's sections satisfy, and its fixed bounds.

`turnserver.config.Config` satisfies them and has the defaults.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, Self

from stun.address import Address
from stun.constants import CHANNEL_MAX, CHANNEL_MAX_RFC5766
from turnserver.core.types import DefaultFamily, IpAddress, IpNetwork, OnRemoval, PeerRefusal, PortRange

__all__ = [
    "AuthOptions",
    "CoreBounds",
    "CoreLimits",
    "CoreSettings",
    "DiscoverySocket",
    "MediaSocket",
    "OwnAddresses",
    "PeerOptions",
    "RelayAddress",
    "RelayOptions",
    "StunOptions",
    "last_channel",
]


class CoreLimits(Protocol):
    """The options of ``limits`` for the core. Lifetimes are in seconds, the reflection budget in bytes."""

    @property
    def allocations(self) -> int:
        """Allocations at once in this process; 508 beyond it."""

    @property
    def allocations_per_user(self) -> int:
        """Allocations of one user at once; 486 beyond it."""

    @property
    def permissions_per_allocation(self) -> int:
        """Beyond it, 508."""

    @property
    def channels_per_allocation(self) -> int:
        """Beyond it, 508."""

    @property
    def default_lifetime(self) -> int:
        """RFC 8656 §7.2: granted when LIFETIME is missing; also the shortest that is granted."""

    @property
    def max_lifetime(self) -> int:
        """The longest that is granted."""

    @property
    def reflection_burst(self) -> int:
        """Bytes by which unauthenticated answers to one prefix may exceed the requests from it, at once."""

    @property
    def reflection_rate(self) -> int:
        """Bytes that the budget regains per second."""

    @property
    def pending_lookups(self) -> int:
        """Credential look-ups under way at once; 500 beyond it."""

    @property
    def tcp_connections_per_allocation(self) -> int:
        """Connections with peers, in whatever state, of one TCP allocation; 508 beyond it."""


class RelayOptions(Protocol):
    """The options of ``relay`` for addresses and channels."""

    @property
    def addresses(self) -> Sequence[IpAddress]:
        """The addresses that relays are bound on; if empty, those of the listeners."""

    @property
    def external(self) -> Mapping[IpAddress, IpAddress]:
        """From the server's own addresses to their public ones, behind 1:1 NAT."""

    @property
    def default_family(self) -> DefaultFamily:
        """The family of a relay when the request names none; ``auto``: IPv4 where there is an address of it."""

    @property
    def ports(self) -> PortRange:
        """The ports to relay from."""

    @property
    def tcp(self) -> bool:
        """Offer TCP relays (RFC 6062)."""

    @property
    def legacy_channels(self) -> bool:
        """Accept also the channel numbers that RFC 5766 allowed and RFC 8656 §12 reserves."""

    @property
    def mobility(self) -> bool:
        """Give tickets to clients that ask for them, and let them move their allocations (RFC 8016)."""


class PeerOptions(Protocol):
    """What ``peers`` says."""

    @property
    def allow(self) -> Sequence[IpNetwork]:
        """Networks allowed although they are not public."""

    @property
    def deny(self) -> Sequence[IpNetwork]:
        """Networks refused in any case."""

    @property
    def refusal(self) -> PeerRefusal:
        """What a client gets that wants a permission or a channel for a refused peer."""

    @property
    def strict_permissions(self) -> bool:
        """As RFC 8656 §12 says: a channel does not keep its peer's permission alive."""


class AuthOptions(Protocol):
    """The options of ``auth`` for requests."""

    @property
    def strict_expiry(self) -> bool:
        """Refuse to Refresh with a credential that has expired."""

    @property
    def on_removal(self) -> OnRemoval:
        """What becomes of allocations whose credential has been removed from the configuration."""


class StunOptions(Protocol):
    """The options of ``stun``."""

    @property
    def classic(self) -> bool:
        """Answer Binding requests of RFC 3489, which have no magic cookie."""


class CoreSettings(Protocol):
    """The part of the configuration that the core reads."""

    @property
    def realm(self) -> str:
        """The realm of challenges (RFC 8489 §14.9)."""

    @property
    def software(self) -> str:
        """The SOFTWARE of authenticated answers; empty sends none."""

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
    def stun(self) -> StunOptions:
        """Binding."""

    @property
    def limits(self) -> CoreLimits:
        """The limits."""


def last_channel(settings: CoreSettings) -> int:
    """The highest channel number that is accepted (RFC 8656 §12; RFC 5766 allowed more)."""
    return CHANNEL_MAX_RFC5766 if settings.relay.legacy_channels else CHANNEL_MAX


@dataclass(frozen=True, slots=True)
class CoreBounds:
    """Bounds that the protocol sets and no configuration changes; times in seconds."""

    permission_lifetime: int = 300
    """RFC 8656 §9."""
    channel_lifetime: int = 600
    """RFC 8656 §12."""
    reservation_lifetime: int = 30
    """RFC 8656 §7.2: at least 30 seconds."""
    retransmission_lifetime: int = 40
    """RFC 8656 §7.2: a client retransmits for up to 39.5 seconds."""
    lookups_per_address: int = 64
    """Pending look-ups for one client, an IPv4 address or an IPv6 /64, so that one client cannot take all of them."""
    lookup_timeout: int = 5
    """A request whose look-up takes longer is answered with 500."""
    opening_timeout: int = 10
    """An Allocate whose relays are not open by then goes on without them; 508 if it has none. Shorter than the 39.5
    seconds after which a client gives up (RFC 8489 §6.2.1)."""
    connect_timeout: int = 30
    """RFC 6062 §5.2: at least 30 seconds for a peer to accept a connection; 447 after it."""
    connection_bind_timeout: int = 30
    """RFC 6062 §5.2, §5.3: a peer connection without a ConnectionBind by then is closed."""


@dataclass(frozen=True, slots=True)
class RelayAddress:
    """The address that relays are bound on and the advertised one (different behind 1:1 NAT); both packed."""

    bound: bytes
    external: bytes


@dataclass(frozen=True, slots=True)
class DiscoverySocket:
    """A UDP socket for behavior discovery (RFC 5780): its address, the one that clients are told, and its listener."""

    bound: Address
    public: Address
    listener: int


@dataclass(frozen=True, slots=True)
class MediaSocket:
    """A UDP socket of the server's SFU: the address that it is bound to, and the one that clients are told."""

    bound: Address
    public: Address


@dataclass(frozen=True, slots=True)
class OwnAddresses:
    """The server's real addresses: those that relays are bound on, and those of the listeners.

    ``former`` are pairs that are not in ``relays`` any more, but have relays that are still open.
    ``local`` are all addresses of the host (packed); needed only if a listener is on the unspecified address.
    ``discovery`` are the sockets that are open for behavior discovery, and ``media`` those of the SFU.
    """

    relays: tuple[RelayAddress, ...]
    listeners: tuple[Address, ...] = ()
    former: tuple[RelayAddress, ...] = ()
    local: tuple[bytes, ...] = ()
    discovery: tuple[DiscoverySocket, ...] = ()
    media: tuple[MediaSocket, ...] = ()

    def holding(self, held: Iterable[RelayAddress]) -> Self:
        """The same, knowing that sockets are open under the pairs ``held``, besides those of the SFU."""
        pairs = {*held, *(RelayAddress(socket.bound.ip, socket.public.ip) for socket in self.media)}
        former = sorted(pairs - set(self.relays), key=lambda relay: (relay.bound, relay.external))
        return replace(self, former=tuple(former))

    @property
    def media_places(self) -> set[Address]:
        """Where the SFU is, by every name."""
        return {each for socket in self.media for each in (socket.bound, socket.public)}

    def public(self, ip: bytes) -> bytes:
        """The address that clients are told instead of one of the host's (packed); the same one without 1:1 NAT."""
        return next((relay.external for relay in self.relays if relay.bound == ip), ip)

    @classmethod
    def of(
        cls, relay: RelayOptions, listeners: Sequence[Address], reachable: Sequence[Address] | None = None
    ) -> "OwnAddresses":
        """Relays are bound on the configured addresses or, without any, on the listeners' own addresses.

        With ``reachable``, only these of the listeners' addresses count. Loopback is used only if there is no other.
        """
        external = {private.packed: public.packed for private, public in relay.external.items()}
        bound = [address.packed for address in relay.addresses]
        if not bound:
            own = list(dict.fromkeys(address.ip for address in reachable or listeners))
            bound = [ip for ip in own if not Address(ip, 0).is_loopback] or own
        return cls(tuple(RelayAddress(ip, external.get(ip, ip)) for ip in bound), tuple(listeners))
