"""The last hour of a server in a ring of samples, for operators without Prometheus. Pure: the time is an argument."""

from collections import deque
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from turnserver.core.types import Now
from turnserver.snapshot import Snapshot
from turnserver.telemetry.overview import relayed

__all__ = ["INTERVAL", "SAMPLES", "History"]

INTERVAL: Final = 10.0
"""Seconds between two samples."""

SAMPLES: Final = 360
"""Samples that are kept: those of an hour."""


class _Totals(NamedTuple):
    """Counters at one moment; the next sample has the differences."""

    mono: float
    bytes_to_peers: int
    bytes_to_client: int
    refused: int
    dropped: int
    late: float
    beats: int


class _Measured(NamedTuple):
    """What has happened since the sample before. Rates are in bit/s, the lag in seconds."""

    bits_to_peers: float | None = None
    bits_to_client: float | None = None
    refused: int | None = None
    dropped: int | None = None
    loop_lag: float | None = None


_COLUMNS: Final = ("at", "allocations", "rooms", "participants", *_Measured._fields)
"""What a sample has, in this order."""


@dataclass(slots=True)
class History:
    """The ring: at most `SAMPLES` samples, so its memory is bounded however long the server runs."""

    _samples: deque[tuple[float | None, ...]] = field(default_factory=lambda: deque(maxlen=SAMPLES))
    _before: _Totals | None = None

    def add(self, snapshot: Snapshot, now: Now) -> None:
        """Take a sample of a snapshot, which needs no details. One at the time of the last one, or before, is none."""
        carried, figures = relayed(snapshot), snapshot.figures
        present = _Totals(
            now.mono,
            carried.bytes_to_peers,
            carried.bytes_to_client,
            sum(figures.happened.denied.values()),
            carried.dropped + sum(view.counters.dropped for view in snapshot.listeners),
            figures.loop_lag.total,
            figures.loop_lag.count,
        )
        before = self._before
        if before is not None and present.mono <= before.mono:
            return
        self._before = present
        rooms = figures.rooms
        measured = _Measured() if before is None else _between(before, present)
        participants, limits = rooms.connected + rooms.away, snapshot.limits
        self._samples.append((now.wall, limits.allocations.used, limits.rooms.used, participants, *measured))

    def columns(self) -> dict[str, Any]:
        """The samples as ``GET /v1/history`` answers them: one list for each number, the oldest first."""
        return {
            "interval": INTERVAL,
            **{name: [sample[at] for sample in self._samples] for at, name in enumerate(_COLUMNS)},
        }


def _between(before: _Totals, now: _Totals) -> _Measured:
    """Rates and counts between two samples. A counter of a listener that has gone may be smaller; that counts as 0."""
    seconds, beats = now.mono - before.mono, now.beats - before.beats
    return _Measured(
        max(now.bytes_to_peers - before.bytes_to_peers, 0) * 8 / seconds,
        max(now.bytes_to_client - before.bytes_to_client, 0) * 8 / seconds,
        max(now.refused - before.refused, 0),
        max(now.dropped - before.dropped, 0),
        max(now.late - before.late, 0.0) / beats if beats > 0 else None,
    )
