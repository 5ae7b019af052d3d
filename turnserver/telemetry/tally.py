"""Counts what happens: an observer that is always there, and costs one addition for each event.

Events are neither packets nor frames: relayed data makes none. Nothing that a client chooses becomes a key here, so the
number of keys is bounded by the reasons, codes and transports that there are.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from stun.constants import Method
from turnserver.core.events import (
    AllocationEnded,
    AllocationOpened,
    AnswerWithheld,
    EndReason,
    Event,
    PeerConnectionOpened,
    PeerConnectionRefused,
    PeerRefused,
    RequestRefused,
)
from turnserver.core.types import AllocationKind, ClientTransport, Counters, RelayFamily
from turnserver.histogram import Histogram, HistogramView
from turnserver.reasons import Reason
from turnserver.signaling.protocol.errors import SignalCode
from turnserver.signaling.rooms.facts import (
    ClientRefused,
    Fact,
    MessageRefused,
    PairConnected,
    PeerJoined,
    RoomOpened,
    VerdictGiven,
)

__all__ = ["CHALLENGES", "Tally", "TallyView"]

CHALLENGES: Final = frozenset({Reason.NO_CREDENTIALS, Reason.STALE_NONCE, Reason.FOREIGN_NONCE})
"""Refusals that belong to every start and every long session: the client repeats its request and gets what it wants."""

CONNECT_TIMES: Final = (0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 30.0, 60.0)
"""Bounds of the histogram of the times to connect, in seconds."""

_IPV4_BYTES: Final = 4


@dataclass(frozen=True, slots=True)
class TallyView:
    """What has happened since the start.

    ``challenged`` and ``denied`` are Allocates without an allocation, by the client's transport: those that only have
    to be repeated (`CHALLENGES`), and those that were refused. ``refusals`` are the error answers to requests of every
    method, by code and reason. ``withheld`` are answers that were not sent, by the reason.
    """

    opened: Mapping[AllocationKind, int] = field(default_factory=dict)
    challenged: Mapping[ClientTransport, int] = field(default_factory=dict)
    denied: Mapping[ClientTransport, int] = field(default_factory=dict)
    ended: Mapping[EndReason, int] = field(default_factory=dict)
    refusals: Mapping[tuple[int, Reason], int] = field(default_factory=dict)
    withheld: Mapping[Reason, int] = field(default_factory=dict)
    peers_refused: Mapping[Reason, int] = field(default_factory=dict)
    peer_connections: int = 0
    peer_connections_refused: Mapping[Reason, int] = field(default_factory=dict)
    rooms_opened: int = 0
    joined: int = 0
    signaling_refusals: Mapping[SignalCode, int] = field(default_factory=dict)
    verdicts: Mapping[str, int] = field(default_factory=dict)
    connect_times: HistogramView = field(default_factory=lambda: Histogram(CONNECT_TIMES).view())


class Tally:
    """The observer; `view` copies its counters."""

    def __init__(self) -> None:
        self._opened: Counter[AllocationKind] = Counter()
        self._challenged: Counter[ClientTransport] = Counter()
        self._denied: Counter[ClientTransport] = Counter()
        self._ended: Counter[EndReason] = Counter()
        self._refusals: Counter[tuple[int, Reason]] = Counter()
        self._withheld: Counter[Reason] = Counter()
        self._peers_refused: Counter[Reason] = Counter()
        self._peer_connections = 0
        self._peer_connections_refused: Counter[Reason] = Counter()
        self._rooms_opened = 0
        self._joined = 0
        self._signaling_refusals: Counter[SignalCode] = Counter()
        self._verdicts: Counter[str] = Counter()
        self._connect_times = Histogram(CONNECT_TIMES)
        self._counted: Mapping[type, Callable[[Any], None]] = {
            AllocationOpened: self._open,
            AllocationEnded: self._end,
            RequestRefused: self._refuse,
            AnswerWithheld: self._withhold,
            PeerRefused: self._refuse_peer,
            PeerConnectionOpened: self._open_connection,
            PeerConnectionRefused: self._refuse_connection,
            RoomOpened: self._open_room,
            PeerJoined: self._join,
            ClientRefused: self._refuse_signaling,
            MessageRefused: self._refuse_signaling,
            VerdictGiven: self._judge,
            PairConnected: self._connect,
        }

    def on_event(self, event: Event | Fact, counters: Counters | None) -> None:
        """Count an event; most kinds are not counted here."""
        count = self._counted.get(type(event))
        if count is not None:
            count(event)

    def view(self) -> TallyView:
        """The counters as they are now."""
        return TallyView(
            opened=dict(self._opened),
            challenged=dict(self._challenged),
            denied=dict(self._denied),
            ended=dict(self._ended),
            refusals=dict(self._refusals),
            withheld=dict(self._withheld),
            peers_refused=dict(self._peers_refused),
            peer_connections=self._peer_connections,
            peer_connections_refused=dict(self._peer_connections_refused),
            rooms_opened=self._rooms_opened,
            joined=self._joined,
            signaling_refusals=dict(self._signaling_refusals),
            verdicts=dict(self._verdicts),
            connect_times=self._connect_times.view(),
        )

    # The events

    def _open(self, event: AllocationOpened) -> None:
        sizes = {len(address.ip) for address in event.relayed}
        family: RelayFamily = "dual" if len(sizes) > 1 else "ipv4" if _IPV4_BYTES in sizes else "ipv6"
        self._opened[AllocationKind(event.client.transport, family, event.protocol)] += 1

    def _end(self, event: AllocationEnded) -> None:
        self._ended[event.reason] += 1

    def _refuse(self, event: RequestRefused) -> None:
        self._refusals[event.code, event.cause] += 1
        if event.method == Method.ALLOCATE:
            (self._challenged if event.cause in CHALLENGES else self._denied)[event.client.transport] += 1

    def _withhold(self, event: AnswerWithheld) -> None:
        self._withheld[event.cause] += 1

    def _refuse_peer(self, event: PeerRefused) -> None:
        self._peers_refused[event.cause] += 1

    def _open_connection(self, event: PeerConnectionOpened) -> None:
        self._peer_connections += 1

    def _refuse_connection(self, event: PeerConnectionRefused) -> None:
        self._peer_connections_refused[event.cause] += 1

    def _open_room(self, event: RoomOpened) -> None:
        self._rooms_opened += 1

    def _join(self, event: PeerJoined) -> None:
        self._joined += 1

    def _refuse_signaling(self, event: ClientRefused | MessageRefused) -> None:
        self._signaling_refusals[event.code] += 1

    def _judge(self, event: VerdictGiven) -> None:
        self._verdicts[event.verdict] += 1

    def _connect(self, event: PairConnected) -> None:
        self._connect_times.add(event.seconds)
