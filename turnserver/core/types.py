"""The types that every part of the server shares: clocks, 5-tuples, relays, routes, counters.

They are plain values without behaviour, so that core, relay and transports share them without importing one another.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from types import MappingProxyType
from typing import Literal, NamedTuple, NewType

from stun.address import Address
from stun.constants import TransportProtocol

__all__ = [
    "AllocationKind",
    "AllocationView",
    "ClientTransport",
    "CoreTotals",
    "Counters",
    "DefaultFamily",
    "FiveTuple",
    "IpAddress",
    "IpNetwork",
    "Now",
    "OnRemoval",
    "PeerRefusal",
    "PortRange",
    "PortsView",
    "RelayFailure",
    "RelayFamily",
    "RelayId",
    "Route",
    "TlsMode",
    "TransportTraits",
]

RelayId = NewType("RelayId", int)
"""Identifies one relay socket; never reused in the same process."""

IpAddress = IPv4Address | IPv6Address
IpNetwork = IPv4Network | IPv6Network

DefaultFamily = Literal["auto", "ipv4", "ipv6"]
"""The family of a relay when a client asks for none: IPv4 where there is an address of it, or always this one."""

TlsMode = bool | Literal["auto"]
"""Whether the clients of a listener use TLS; ``auto``: each as it likes, told by its first byte."""

RelayFamily = Literal["ipv4", "ipv6", "dual"]
"""The family of an allocation's relay; ``dual`` has one of each (RFC 8656 §7.2)."""

PeerRefusal = Literal["error", "swallow"]
"""What becomes of a permission or a channel for a refused peer: the client gets 403, or success and nothing comes
through."""

OnRemoval = Literal["end", "expire", "keep"]
"""What becomes of an allocation whose credential has been removed from the configuration: it ends at once, lives until
its present expiry with nothing new, or goes on as if nothing had happened."""


@dataclass(frozen=True, slots=True)
class TransportTraits:
    """The properties of a client transport that matter to the rest of the server."""

    label: str
    """Its name in logs and messages."""
    port_space: TransportProtocol
    """Whether its listeners use UDP or TCP ports."""
    secure: bool = False
    """Whether it runs over TLS or DTLS."""
    connected: bool = False
    """The client has a connection, which is part of the 5-tuple; the allocation ends with it (RFC 8656 §3.1)."""
    stream: bool = False
    """The connection is one of TCP: it has a socket of its own, and may come through a proxy."""
    padded: bool = False
    """ChannelData to the client is padded to four bytes: it must be on streams (RFC 8656 §12.5), and may be over DTLS,
    where pion needs it, which reads records as it does a stream."""
    proven: bool = False
    """The client's address cannot be forged, because a handshake has proven it."""
    tcp_relays: bool = False
    """Clients can ask for TCP relays and data connections (RFC 6062 §4.1)."""


class ClientTransport(Enum):
    """How a client reaches the server (RFC 8656 §3.1); a new one is one line."""

    UDP = TransportTraits("udp", TransportProtocol.UDP)
    TCP = TransportTraits(
        "tcp", TransportProtocol.TCP, connected=True, stream=True, padded=True, proven=True, tcp_relays=True
    )
    TLS = TransportTraits(
        "tls",
        TransportProtocol.TCP,
        secure=True,
        connected=True,
        stream=True,
        padded=True,
        proven=True,
        tcp_relays=True,
    )
    DTLS = TransportTraits("dtls", TransportProtocol.UDP, secure=True, connected=True, padded=True, proven=True)

    def __init__(self, traits: TransportTraits) -> None:
        self.label = traits.label
        self.port_space = traits.port_space
        self.secure = traits.secure
        self.connected = traits.connected
        self.stream = traits.stream
        self.padded = traits.padded
        self.proven = traits.proven
        self.tcp_relays = traits.tcp_relays

    @property
    def uri(self) -> tuple[str, str]:
        """The scheme and the ``transport`` of a URI for it (RFC 7065 §3.1)."""
        return ("turns" if self.secure else "turn", self.port_space.name.lower())

    # A 5-tuple is a dictionary key on the packet path, and Enum's own hash is a Python function.
    __hash__ = object.__hash__


class RelayFailure(Enum):
    """Why a relay socket could not be opened, which says what else is worth trying."""

    PORT = "port"
    """Only the port is unusable (somebody else has it): another one is tried."""
    ADDRESS = "address"
    """No port of the address can be bound, because the system does not have it (any more): another address is tried."""
    SYSTEM = "system"
    """The system has no descriptor or no memory left, or forbids it: nothing else is tried."""
    TIMEOUT = "timeout"
    """The datapath has not reported in time."""


class Now(NamedTuple):
    """Both clocks at one moment, in seconds.

    ``mono`` never goes backwards and times every deadline; ``wall`` is Unix time and is used only for the expiry of
    credentials and nonces.
    """

    mono: float
    wall: float


class FiveTuple(NamedTuple):
    """Identifies a client to the server (RFC 8656 §2.2, §3.2): the two addresses and the transport between them.

    ``address`` is the client's transport address as the server sees it, ``server`` the server's transport address.
    ``listener`` is the index of the listener that the client came in by, and ``serial`` numbers the connections of a
    listener with connections (0 for UDP), so that a new connection from an old address is never taken for the old one.
    """

    transport: ClientTransport
    address: Address
    server: Address
    listener: int
    serial: int = 0


@dataclass(frozen=True, slots=True)
class PortRange:
    """Ports from ``first`` to ``last``, both included."""

    first: int
    last: int

    def __contains__(self, port: object) -> bool:
        """Whether a port is one of them."""
        return isinstance(port, int) and self.first <= port <= self.last

    def __str__(self) -> str:
        """Return ``first-last``."""
        return f"{self.first}-{self.last}"


class Route(NamedTuple):
    """One channel binding for the datapath: ``client`` + ``channel`` ⇄ ``relay`` + ``peer``.

    ``peer`` is the address on the wire (a hairpinned external address has been mapped already). ``expires`` is on the
    monotonic clock, in seconds; a datapath stops forwarding then, even without a call.
    """

    client: FiveTuple
    channel: int
    relay: RelayId
    peer: Address
    expires: float


class Counters(NamedTuple):
    """What one relay has carried, in whole packets and payload bytes.

    ``dropped`` counts both directions, and what the kernel dropped because the receive buffer was full.
    """

    packets_to_peers: int = 0
    bytes_to_peers: int = 0
    packets_to_client: int = 0
    bytes_to_client: int = 0
    dropped: int = 0


class CoreTotals(NamedTuple):
    """How much the core holds now; ``allocations`` includes those that are about to open.

    ``users`` are the allocations held by each user. ``failed_lookups`` is a sum since the start: requests that got 500
    because no credential source could answer. So are ``failed_logins``, wrong credentials from proven addresses, and
    ``unanswered_logins``, those of them that got no answer because there were too many, and ``withheld_answers``, for
    which a source had no reflection budget, and ``swallowed_datagrams``, what clients sent to peers that are refused
    (``peers.refusal: swallow``), and ``moves``, allocations that clients have taken along (RFC 8016).
    """

    allocations: int = 0
    pending_lookups: int = 0
    failed_lookups: int = 0
    users: Mapping[str, int] = MappingProxyType({})
    failed_logins: int = 0
    unanswered_logins: int = 0
    withheld_answers: int = 0
    swallowed_datagrams: int = 0
    moves: int = 0


class AllocationView(NamedTuple):
    """A live allocation as it is at one moment.

    ``relayed`` are its relayed transport addresses as advertised (two for a dual allocation). ``peers`` are those that
    it may send to: for a permission the address with port 0 (RFC 8656 §9), for a channel the address and port.
    ``counters`` are the sums over its relays. ``expires`` and ``created`` are on the monotonic clock.
    """

    client: FiveTuple
    username: str
    user_id: str
    relayed: tuple[Address, ...]
    peers: tuple[Address, ...]
    counters: Counters
    expires: float
    created: float = 0.0
    relays: tuple[RelayId, ...] = ()
    protocol: TransportProtocol = TransportProtocol.UDP


class AllocationKind(NamedTuple):
    """What allocations are counted by: ``transport`` is between client and server, ``protocol`` to peers."""

    transport: ClientTransport
    family: RelayFamily
    protocol: TransportProtocol


class PortsView(NamedTuple):
    """The relay ports of one address (packed) and protocol: how many are taken, of how many."""

    bound: bytes
    protocol: TransportProtocol
    used: int
    allowed: int
