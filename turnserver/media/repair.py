"""How much a receiver is sent again (RTX, RFC 4588), and how soon the same packet once more.

What is sent again goes through the same downlink as everything else. Where that is full, most of what is missing has
been dropped by its queue, and repeating all of it keeps the queue full: so repetitions have a share of the estimate,
and no more. A packet that was sent again cannot have been missed once more before a round trip is over; requests that
come earlier are about the packet before. The round trip includes the queue, and is known from receiver reports
(RFC 3550 §6.4.1).
"""

from typing import Final

from turnserver.media.rtcp import ReportBlock, SenderReport

__all__ = ["LEAST_PAUSE", "MOST_PAUSE", "Repair"]

LEAST_PAUSE: Final = 0.03
"""Seconds from a repetition to the next one of the same packet, as long as no round trip is known, and at least."""

MOST_PAUSE: Final = 1.0
"""Seconds of the longest such pause, whatever a receiver reports: a picture that is later is of no use."""

SHARE: Final = 0.25
"""Share of the estimate for repetitions: where more than every fifth packet is lost, the estimate is wrong."""

BURST: Final = 0.5
"""Seconds of that share that may be sent at once: some lost keyframes."""

LEAST: Final = 3_000
"""Bytes that may be sent again at once, however low the estimate is: two packets."""

QUEUED: Final = 0.2
"""Seconds by which a round trip is longer where there is a queue on the way."""

_LONGER: Final = 0.02
"""How fast the shortest round trip follows a longer one: after a minute that is the way, and no queue."""

_MOST_REPORTS: Final = 256
"""Sender reports of which the time of sending is kept: a report of each of 60 streams is answered within seconds."""

_PROMPTLY: Final = 0.8
"""Share of a round trip after which a request is believed: round trips differ, and receivers wait for one."""

_WEIGHT: Final = 0.25
"""Share of the newest round trip in a falling one. A longer one counts at once: the queue is there now."""

_MOST_ROUND_TRIP: Final = 4.0
"""Seconds above which a round trip is not believed."""


class Repair:
    """The repetitions of one receiver; see the module."""

    __slots__ = ("_at", "_left", "_rate", "_sent", "_shortest", "round_trip")

    def __init__(self, estimate: float) -> None:
        self.round_trip = 0.0
        """Seconds of the way there and back, with what waits in queues; 0 while it is not known."""
        self._shortest = 0.0
        self._rate = estimate / 8 * SHARE
        self._left = self._most
        self._at = float("-inf")
        self._sent: dict[tuple[int, int], float] = {}

    @property
    def _most(self) -> float:
        return max(self._rate * BURST, LEAST)

    def limit(self, estimate: float, now: float) -> None:
        """The downlink is believed to carry so many bit/s from now on; a lower estimate takes what was saved up."""
        self._refill(now)
        self._rate = estimate / 8 * SHARE
        self._left = min(self._left, self._most)

    def allows(self, now: float) -> bool:
        """Whether something may be sent again now."""
        self._refill(now)
        return self._left > 0

    def spend(self, size: int) -> None:
        """So many bytes are sent again."""
        self._left -= size

    def _refill(self, now: float) -> None:
        if now > self._at:
            self._left = min(self._left + (now - self._at) * self._rate, self._most)
            self._at = now

    @property
    def pause(self) -> float:
        """Seconds from a repetition until the same packet may be repeated again."""
        return min(max(self.round_trip * _PROMPTLY, LEAST_PAUSE), MOST_PAUSE)

    def reported(self, report: SenderReport, now: float) -> None:
        """A sender report goes to the receiver."""
        self._sent[report.sender, report.ntp >> 16 & 0xFFFFFFFF] = now
        if len(self._sent) > _MOST_REPORTS:
            del self._sent[next(iter(self._sent))]

    def answered(self, block: ReportBlock, now: float) -> None:
        """The receiver says which sender report it has got last, and how long ago."""
        sent = self._sent.get((block.ssrc, block.last_report)) if block.last_report else None
        if sent is None:
            return
        round_trip = now - sent - block.delay / 65536
        if 0 <= round_trip <= _MOST_ROUND_TRIP:
            fallen = self.round_trip + (round_trip - self.round_trip) * _WEIGHT
            self.round_trip = max(round_trip, fallen)
            rising = self._shortest + (round_trip - self._shortest) * _LONGER
            self._shortest = min(round_trip, rising) if self._shortest else round_trip

    @property
    def queued(self) -> bool:
        """Whether a queue is on the way: the round trip is much longer than it was."""
        return self.round_trip - self._shortest > QUEUED
