"""What a server is doing, as plain values of one moment; `turnserver.server.Server.snapshot` makes them.

Everything here is frozen and stays as it is, however the server goes on. Texts that came from clients are hostile.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from stun.address import Address
from stun.constants import TransportProtocol
from turnserver.core.settings import RelayAddress
from turnserver.core.types import AllocationView, ClientTransport, Counters
from turnserver.signaling.rooms.views import RoomView
from turnserver.transports.base import TransportCounters

__all__ = ["DatapathView", "LimitsView", "ListenerView", "Snapshot", "Usage"]

_NO_FRAMES = TransportCounters()
_NO_PACKETS = Counters()


@dataclass(frozen=True, slots=True)
class ListenerView:
    """One socket that clients come in by.

    ``kind`` is its word in the configuration (``listeners[].transport``), ``transport`` what it is to TURN clients.
    ``address`` is the one that is bound. ``connections`` are those that speak TURN now. ``local`` listeners have no
    socket: nobody comes in there from outside the process.
    """

    kind: str
    transport: ClientTransport
    address: Address
    connections: int = 0
    counters: TransportCounters = _NO_FRAMES
    local: bool = False


@dataclass(frozen=True, slots=True)
class DatapathView:
    """What moves relayed packets, with the relays that it has open and what it has carried since the start.

    ``protocol`` is that between the server and peers: UDP, or TCP (RFC 6062).
    """

    name: str
    protocol: TransportProtocol
    relays: int = 0
    counters: Counters = _NO_PACKETS


@dataclass(frozen=True, slots=True)
class Usage:
    """How many of something there are now, and how many there may be."""

    used: int
    allowed: int


@dataclass(frozen=True, slots=True)
class LimitsView:
    """What the server's limits leave.

    ``allocations`` counts those too that are about to open. ``connections`` are those of clients, whatever they speak.
    ``pending_lookups`` are requests that wait for a credential. ``allocations_per_user`` is what one user may hold, and
    ``users`` what each user who holds any holds now, by user id.
    """

    allocations: Usage
    pending_lookups: Usage
    connections: Usage
    rooms: Usage
    allocations_per_user: int = 0
    users: Mapping[str, int] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A server at one moment.

    ``running`` is false before the start and after the stop; then nothing is listened on and nothing is relayed.
    ``started_at`` is Unix time, ``uptime`` in seconds. ``relays`` are the addresses that relays are bound on, and those
    that clients are told. ``faults`` counts the exceptions that nobody foresaw, by the part of the server that
    they came out of.
    """

    running: bool
    started_at: float | None
    uptime: float
    limits: LimitsView
    listeners: tuple[ListenerView, ...] = ()
    relays: tuple[RelayAddress, ...] = ()
    datapaths: tuple[DatapathView, ...] = ()
    allocations: tuple[AllocationView, ...] = field(default=(), repr=False)
    rooms: tuple[RoomView, ...] = field(default=(), repr=False)
    faults: Mapping[str, int] = field(default_factory=dict)
    failed_lookups: int = 0
    """Requests that got 500 since the start, because no credential source could answer."""

    @property
    def listening(self) -> tuple[tuple[ClientTransport, Address], ...]:
        """What can be reached from outside: transport and address of each listener, ports as bound."""
        return tuple((each.transport, each.address) for each in self.listeners if not each.local)
