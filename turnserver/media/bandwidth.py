"""How much a receiver's downlink carries: an estimate from what the receiver reports, and when to try for more.

Two reports count. REMB (draft-alvestrand-rmcat-remb) is the receiver's own estimate from the delays of packets, which
need a time of sending (``abs-send-time``). Loss is in every receiver report (RFC 3550 §6.4); a link that drops packets
without a queue shows in it alone. A little loss at random says nothing about the bandwidth, and is retransmitted.

A receiver's estimate follows what it is sent, up to about one and a half times of it. So more than that has to be
tried: `Prober` says how many bits to add, and ends the trial as soon as the estimate falls.
"""

from typing import Final, Protocol

__all__ = ["INITIAL_BITRATE", "DownlinkEstimator", "Prober", "RembEstimator"]

INITIAL_BITRATE: Final = 1_000_000.0
"""Bit/s that a downlink is taken to carry until its receiver has reported: the lowest layers of a few people."""

LOWEST_BITRATE: Final = 30_000.0
"""Bit/s below which no estimate falls: one voice, which is sent in any case."""

HIGHEST_BITRATE: Final = 100_000_000.0
"""Bit/s above which an estimate is not believed: a room has no use for more, and a wrong report no effect."""

STALE: Final = 10.0
"""Seconds after which a REMB counts no more. Browsers send one about every second."""

_LOSS_OF_CONGESTION: Final = 0.10
"""Share of lost packets above which the downlink is taken to be full (draft-ietf-rmcat-gcc-02 §6)."""

_LOSS_OF_CHANCE: Final = 0.02
"""Share of lost packets up to which the bound of loss is raised again (the same)."""

_RAISE: Final = 1.08
"""Factor by which a report without loss raises that bound; reports come about every second."""

_BETWEEN_CUTS: Final = 0.3
"""Seconds between two cuts for loss: the reports of several streams tell of the same loss."""


class DownlinkEstimator(Protocol):
    """What every way of estimating a downlink has in common."""

    @property
    def reported(self) -> bool:
        """Whether the receiver has ever reported what it can take."""

    def remb(self, bitrate: float, now: float) -> None:
        """The receiver's own estimate, in bit/s."""

    def loss(self, fraction: float, sending: float, now: float) -> None:
        """A receiver report: the share of packets lost since the last, and the bit/s that are being sent."""

    def bitrate(self, now: float) -> float:
        """The estimate, in bit/s."""


class RembEstimator:
    """The smaller of the receiver's own estimate and of what its losses allow."""

    __slots__ = ("_bound", "_cut", "_remb", "_remb_at")

    def __init__(self) -> None:
        self._remb = 0.0
        self._remb_at = float("-inf")
        self._bound = HIGHEST_BITRATE
        self._cut = float("-inf")

    @property
    def reported(self) -> bool:
        """Whether there has been a REMB."""
        return self._remb > 0

    def remb(self, bitrate: float, now: float) -> None:
        """Take a REMB."""
        self._remb = min(max(bitrate, LOWEST_BITRATE), HIGHEST_BITRATE)
        self._remb_at = now

    def loss(self, fraction: float, sending: float, now: float) -> None:
        """Take the loss of a receiver report: much of it cuts the bound, next to none raises it."""
        if fraction > _LOSS_OF_CONGESTION:
            if now - self._cut >= _BETWEEN_CUTS:
                self._cut = now
                self._bound = max(min(self._bound, sending) * (1 - fraction / 2), LOWEST_BITRATE)
        elif fraction <= _LOSS_OF_CHANCE:
            self._bound = min(self._bound * _RAISE, HIGHEST_BITRATE)

    def bitrate(self, now: float) -> float:
        """The estimate, in bit/s; `INITIAL_BITRATE` until there is a report."""
        if self._remb and now - self._remb_at <= STALE:
            return min(self._remb, self._bound)
        return min(max(self._remb, INITIAL_BITRATE), self._bound)


class Prober:
    """When to send more than there is to send, and how much, to find out whether the downlink carries it.

    A trial goes on while the estimate grows, or at least does not fall, for at most `LONGEST` seconds. One that made
    the estimate fall doubles the time until the next; one that helped makes it short again.
    """

    LONGEST: Final = 6.0
    """Seconds of a trial: an estimate that has not grown in this time will not."""

    SOONEST: Final = 2.0
    """Seconds from the end of a trial that helped to the next one."""

    LATEST: Final = 8.0
    """Seconds to the next trial after trials in vain. A downlink that has become good is found out within this."""

    OVERSHOOT: Final = 1.25
    """How far above the estimate a trial sends. An estimate grows to 1.5 times of what is received."""

    FALLEN: Final = 0.93
    """Share of the highest estimate of a trial below which the trial has failed."""

    __slots__ = ("_began", "_floor", "_next", "_peak", "_wait")

    def __init__(self) -> None:
        self._began: float | None = None
        self._next = float("-inf")
        self._wait = self.SOONEST
        self._floor = self._peak = 0.0

    @property
    def active(self) -> bool:
        """Whether a trial goes on."""
        return self._began is not None

    def padding(self, estimate: float, sending: float, wanted: float, now: float) -> float:
        """Bit/s to add now to the ``sending`` that are sent, so that ``wanted`` can be reached; 0 for none."""
        if wanted <= estimate:
            if self._began is not None:
                self._end(now, helped=True)
            return 0.0
        if self._began is None:
            if now < self._next:
                return 0.0
            self._began, self._floor, self._peak = now, estimate, estimate
        self._peak = max(self._peak, estimate)
        if estimate < self._peak * self.FALLEN:
            self._end(now, helped=False)
            return 0.0
        if now - self._began > self.LONGEST:
            self._end(now, helped=self._peak > self._floor * 1.1)
            return 0.0
        return max(min(estimate * self.OVERSHOOT, wanted) - sending, 0.0)

    def congested(self, now: float) -> None:
        """The downlink has just been found too small: no trial for a while."""
        if self._began is not None:
            self._end(now, helped=False)
        self._next = max(self._next, now + self._wait)

    def _end(self, now: float, *, helped: bool) -> None:
        self._began = None
        self._wait = self.SOONEST if helped else min(self._wait * 2, self.LATEST)
        self._next = now + self._wait
