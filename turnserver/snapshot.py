"""The state of a server at one moment, as plain values; `turnserver.server.Server.snapshot` makes them.

Everything here is frozen: later changes of the server do not alter it. Text from clients is untrusted.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from stun.address import Address
from stun.constants import TransportProtocol
from turnserver.core.settings import RelayAddress
from turnserver.core.types import AllocationKind, AllocationView, ClientTransport, Counters, PortsView
from turnserver.histogram import HistogramView
from turnserver.losses import Drops, Losses
from turnserver.media.stats import MediaRoomView
from turnserver.reasons import Reason
from turnserver.signaling.rooms.views import RoomsView, RoomView
from turnserver.telemetry.tally import TallyView
from turnserver.transports.base import TransportCounters

__all__ = [
    "CertificateView",
    "DatapathView",
    "Figures",
    "LimitsView",
    "ListenerView",
    "LogView",
    "MediaView",
    "Snapshot",
    "Usage",
]

_NO_FRAMES = TransportCounters()
_NO_PACKETS = Counters()
_NO_LOSSES = Losses()
_NO_DROPS = Drops()


@dataclass(frozen=True, slots=True)
class ListenerView:
    """One listener.

    ``kind`` is its name in the configuration (``listeners[].transport``), ``transport`` its transport for TURN clients;
    with ``tls: auto`` there are several, and ``transports`` has all. ``address`` is the one that is bound.
    ``connections`` are those that speak TURN now. ``local`` listeners have no socket: only the process itself can use
    them. ``receive_buffer`` are the bytes that the system has granted for datagrams that wait; 0 if the listener has no
    such buffer. ``losses`` says what this host has lost: a part of what the counters have as dropped.
    """

    kind: str
    transport: ClientTransport
    address: Address
    connections: int = 0
    counters: TransportCounters = _NO_FRAMES
    local: bool = False
    receive_buffer: int = 0
    losses: Losses = _NO_LOSSES
    more_transports: tuple[ClientTransport, ...] = ()
    refused: Mapping[Reason, int] = field(default_factory=dict)
    """Connections, handshakes and datagrams of other protocols that were refused since the start, by the reason."""

    @property
    def transports(self) -> tuple[ClientTransport, ...]:
        """All transports of its TURN clients."""
        return (self.transport, *self.more_transports)


@dataclass(frozen=True, slots=True)
class DatapathView:
    """A datapath, with its open relays and its counters since the start.

    ``protocol`` is that between the server and peers: UDP, or TCP (RFC 6062). ``losses`` says what this host has lost,
    some seconds ago: a part of what the counters have as dropped.
    """

    name: str
    protocol: TransportProtocol
    relays: int = 0
    counters: Counters = _NO_PACKETS
    losses: Losses = _NO_LOSSES
    drops: Drops = _NO_DROPS
    """The parts of what the counters have as dropped, by the cause; zeros if the datapath does not say."""


@dataclass(frozen=True, slots=True)
class MediaView:
    """The SFU. ``addresses`` is where clients send media to; none before a room has first gone through it.

    ``rooms`` are those that go through it now, with streams, layers, estimates of downlinks, and what was asked for
    again. ``cpu_per_packet`` is the CPU time of a packet that has come in or gone out, in seconds, over the time
    between the last two snapshots that were a second apart; None while it is not known, and where the SFU shares the
    server's process or the system does not tell.
    """

    addresses: tuple[Address, ...] = ()
    rooms: tuple[MediaRoomView, ...] = field(default=(), repr=False)
    cpu_per_packet: float | None = None

    @property
    def packets_in(self) -> int:
        """RTP packets of the present rooms that have come in."""
        return sum(room.packets_in for room in self.rooms)

    @property
    def packets_out(self) -> int:
        """RTP packets of the present rooms that have gone out."""
        return sum(room.packets_out for room in self.rooms)


@dataclass(frozen=True, slots=True)
class Usage:
    """A current number and its limit."""

    used: int
    allowed: int


@dataclass(frozen=True, slots=True)
class LimitsView:
    """How far the server's limits are used.

    ``allocations`` includes those that are being opened. ``connections`` are those of clients, with any protocol.
    ``pending_lookups`` are requests that wait for a credential. ``allocations_per_user`` is what one user may hold, and
    ``users`` what each user who holds any holds now, by user id. ``revocations`` are the users whose credentials are
    refused, most of them because they have left a room. ``descriptors`` are the file descriptors of relays, connections
    with peers and connections of clients: what the process's limit of open files leaves for these.
    """

    allocations: Usage
    pending_lookups: Usage
    connections: Usage
    rooms: Usage
    allocations_per_user: int = 0
    users: Mapping[str, int] = field(default_factory=dict, repr=False)
    descriptors: Usage = Usage(0, 0)
    revocations: Usage = Usage(0, 0)


@dataclass(frozen=True, slots=True)
class CertificateView:
    """A certificate in use: its file, and the first and the last moment at which it is valid (Unix time)."""

    file: str
    not_before: float
    not_after: float


@dataclass(frozen=True, slots=True)
class LogView:
    """Lines of this process's log since the start that were not written: ``dropped`` because standard error did not
    take them, ``withheld`` because there were too many of a kind.
    """

    dropped: int = 0
    withheld: int = 0


@dataclass(frozen=True, slots=True)
class Figures:
    """What only metrics show: sums and counts. See `turnserver.telemetry` for what each means.

    ``allocations`` are the live ones by kind, ``happened`` is what has happened since the start, and ``loop_lag`` by
    how much timers were late, in seconds.
    """

    allocations: Mapping[AllocationKind, int] = field(default_factory=dict)
    ports: tuple[PortsView, ...] = ()
    certificates: tuple[CertificateView, ...] = ()
    rooms: RoomsView = field(default_factory=RoomsView)
    happened: TallyView = field(default_factory=TallyView)
    loop_lag: HistogramView = field(default_factory=HistogramView)
    log: LogView = field(default_factory=LogView)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A server at one moment.

    ``running`` is false before the start and after the stop; then there are no listeners and no relays.
    ``started_at`` is Unix time, ``uptime`` in seconds. ``relays`` are the addresses that relays are bound on, and those
    that clients are told. ``faults`` counts unexpected exceptions, by the part of the server that raised them.
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
    media: MediaView | None = None
    """The SFU; None where rooms are meshes only (``signaling.mode``)."""
    faults: Mapping[str, int] = field(default_factory=dict)
    draining: bool = False
    """Whether nothing new is taken, because the server is about to stop (`turnserver.server.Server.drain`)."""
    failed_lookups: int = 0
    """Requests that got 500 since the start, because no credential source could answer."""
    evicted_connections: int = 0
    """Idle connections of clients that were closed since the start to make room for others."""
    failed_logins: int = 0
    """Wrong credentials since the start, from addresses that are not forged."""
    unanswered_logins: int = 0
    """Those of them that got no answer, because there were too many."""
    withheld_answers: int = 0
    """Answers without a credential, over UDP, that were withheld: their sources had no reflection budget left."""
    swallowed_datagrams: int = 0
    """Datagrams of clients since the start to refused peers that they believe to be allowed (``peers.refusal``)."""
    figures: Figures = field(default_factory=Figures, repr=False)
    """Numbers for metrics, that cost little however many allocations there are."""
    moved_allocations: int = 0
    """How often since the start a client has taken its allocation along (``relay.mobility``)."""

    @property
    def listening(self) -> tuple[tuple[ClientTransport, Address], ...]:
        """Transport and bound address of each listener that has a socket; one for each of its transports."""
        return tuple((kind, each.address) for each in self.listeners if not each.local for kind in each.transports)
