"""How much a receiver's downlink carries: an estimate from what the receiver reports, and when to try for more.

Two reports count. REMB (draft-alvestrand-rmcat-remb) is the receiver's own estimate from the delays of packets, which
need a time of sending (``abs-send-time``). It is low for other reasons, too: it follows what is sent, up to about one
and a half times of it, and it falls when the receiver's machine is busy. So it counts only once there is *evidence* in
a receiver report (RFC 3550 §6.4): many packets are missing, or those that have been sent for a while have not arrived.
After that, each report without evidence raises the estimate again, as far as it has been tried. Only much loss is
evidence enough to send less than the smallest pictures, and not less than what has arrived in spite of it: a downlink
that is too full delivers what it carries.

More than what is sent has to be tried for: `Prober` says how many bits to add, and ends the trial as soon as the
estimate falls. A little loss at random says nothing about the bandwidth, and is retransmitted.
"""

from typing import Final, Protocol

__all__ = ["INITIAL_BITRATE", "DownlinkEstimator", "Prober", "RembEstimator"]

INITIAL_BITRATE: Final = 2_500_000.0
"""Bit/s that a downlink is taken to carry until its receiver reports that it does not: the lowest layers of a dozen
people, or one picture at its best. A slower downlink is known as such after a second."""

LOWEST_BITRATE: Final = 30_000.0
"""Bit/s below which no estimate falls: one voice, which is sent in any case."""

HIGHEST_BITRATE: Final = 100_000_000.0
"""Bit/s above which an estimate is not believed: a room has no use for more, and a wrong report no effect."""

STALE: Final = 10.0
"""Seconds after which a REMB counts no more. Browsers send one about every second."""

_FULL: Final = 0.9
"""Share of what is sent below which a receiver's estimate says that the downlink is full."""

_SLIGHT: Final = 100_000.0
"""Bit/s up to which nothing that is sent can fill a downlink: an estimate from so little swings widely."""

_LATE: Final = 0.3
"""Seconds on the way, with the report's way back, that are a queue. A way around the earth takes less."""

_FRESH: Final = 3.0
"""Seconds for which evidence counts: reports come about every second, and one may be lost."""

_LOSS_OF_CONGESTION: Final = 0.10
"""Share of lost packets above which the downlink is taken to be full (draft-ietf-rmcat-gcc-02 §6), if two reports one
after the other say so: a report is about some dozens of packets, and so many of them are missing by chance at times."""

_HEAVY_LOSS: Final = 0.25
"""Share of lost packets that is no chance, but for a single report."""

_SETTLING: Final = 2.0
"""Seconds after going down because of losses until that is done again: reports still tell of what was sent before."""

_LOSS_OF_CHANCE: Final = 0.02
"""Share of lost packets up to which nothing is missing that matters (the same). In between nothing changes: such loss
may be chance, and what is lost is sent again."""

_ARRIVED: Final = 0.9
"""Share that counts of what has arrived in spite of much loss: it is measured at another time than the loss."""

_RAISE: Final = 1.08
"""Factor by which a report without evidence raises the estimate (the same, §5.5)."""

_TRIED: Final = 1.5
"""How far above what is sent that goes: a downlink that has not been tried is not known."""

_BETWEEN: Final = 0.5
"""Seconds between two reports that count: those of several streams tell of the same."""


class DownlinkEstimator(Protocol):
    """What every way of estimating a downlink has in common."""

    @property
    def reported(self) -> bool:
        """Whether the receiver has ever reported what it can take."""

    def remb(self, bitrate: float, sending: float, now: float) -> None:
        """The receiver's own estimate, and what it is being sent, in bit/s."""

    def report(self, lost: float, late: float, sending: float, now: float) -> None:
        """A receiver report: the share of packets lost, since when the oldest one that has not arrived has been on the
        way (seconds), and the bit/s that are being sent.
        """

    def bitrate(self, now: float) -> float:
        """The estimate, in bit/s."""

    @property
    def least(self) -> float:
        """What the downlink carries even if the estimate is lower, in bit/s: only loss has a say in it."""


class RembEstimator:
    """By the receiver's own estimate, where its reports have evidence for it; see the module."""

    __slots__ = (
        "_arrived",
        "_evidence",
        "_floor",
        "_lost",
        "_lowered",
        "_remb",
        "_remb_at",
        "_reported",
        "least",
    )

    def __init__(self) -> None:
        self._remb = 0.0
        self._remb_at = float("-inf")
        self._floor = INITIAL_BITRATE
        self.least = INITIAL_BITRATE
        self._arrived = self._lost = 0.0
        self._evidence = self._reported = self._lowered = float("-inf")

    @property
    def reported(self) -> bool:
        """Whether there has been a REMB."""
        return self._remb > 0

    def remb(self, bitrate: float, sending: float, now: float) -> None:
        """Take a REMB."""
        self._remb = min(max(bitrate, LOWEST_BITRATE), HIGHEST_BITRATE)
        self._remb_at = now
        if now - self._evidence <= _FRESH and self._is_low(sending):
            self._floor = self._low(now)

    def report(self, lost: float, late: float, sending: float, now: float) -> None:
        """Take a receiver report. Much loss is evidence enough, even if the receiver's estimate is high."""
        if now - self._reported < _BETWEEN:
            return
        full = lost > _HEAVY_LOSS or min(lost, self._lost) > _LOSS_OF_CONGESTION
        self._lost = lost
        if sending > _SLIGHT and full and now - self._lowered >= _SETTLING:
            self._lowered = now
            carried = max(min(self.least, sending) * (1 - lost / 2), LOWEST_BITRATE)
            self._arrived = min(carried, sending * (1 - lost) * _ARRIVED)
            self.least = min(carried, self._low(now)) if self._remb and self._is_low(sending) else carried
            self._floor = min(self._floor, self.least)
            self._remb = min(self._remb, carried)
        elif lost <= _LOSS_OF_CHANCE and self.least < INITIAL_BITRATE:
            self.least = max(self.least, min(self.least * _RAISE, sending * _TRIED))
        if full or late > _LATE:
            self._evidence = now
            if self._remb and self._is_low(sending):
                self._floor = min(self._floor, self._low(now))
        elif lost <= _LOSS_OF_CHANCE and self._floor < INITIAL_BITRATE:
            self._floor = max(self._floor, min(self._floor * _RAISE, sending * _TRIED))
        self._reported = now

    def bitrate(self, now: float) -> float:
        """The estimate, in bit/s; at least `INITIAL_BITRATE` until the downlink has been found full."""
        return max(self._remb, self._floor) if now - self._remb_at <= STALE else max(self._floor, LOWEST_BITRATE)

    def _low(self, now: float) -> float:
        """A low REMB, or what has just arrived in spite of much loss if that is more."""
        return max(self._remb, self._arrived) if now - self._lowered <= _FRESH else self._remb

    def _is_low(self, sending: float) -> bool:
        return sending > _SLIGHT and self._remb < sending * _FULL


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
