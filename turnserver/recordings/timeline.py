"""When things were: the timestamps of all tracks on the one clock of the recording.

A timestamp tells when something was taken, on the clock of its stream. Sender reports tie the streams of a participant
to that participant's clock (RFC 3550 §6.4.1), which keeps a picture with its sound. How that clock stands to the one of
the recording is told by arrivals: what has come fastest tells best. What is known gets better with time. It is followed
slowly, so that nothing jumps.
"""

from collections import deque
from typing import Final

from turnserver.media.rtp import Unwrapper

__all__ = ["PeerClock", "TrackClock"]

WINDOW: Final = 10.0
"""Seconds of which the fastest arrival counts, and those before: clocks drift apart by a millisecond in that time."""

DOUBTFUL: Final = 1.0
"""Seconds by which sender reports may contradict the arrivals: more, and they are wrong."""

SLEW: Final = 0.04
"""Share of the passing time by which a clock is corrected,"""

EARLY: Final = 10.0
"""and seconds for which it may be by more, since little is known then:"""

EARLY_SLEW: Final = 0.2

JUMP: Final = 2.0
"""Seconds of error that are corrected at once: a stream that has begun anew, or a computer that has slept."""


class _Fastest:
    """The least of the values of the last one or two windows."""

    __slots__ = ("_windows",)

    def __init__(self) -> None:
        self._windows: deque[tuple[float, float]] = deque(maxlen=2)

    def add(self, value: float, now: float) -> None:
        """A value at a time."""
        if not self._windows or now - self._windows[-1][0] >= WINDOW:
            self._windows.append((now, value))
        elif value < self._windows[-1][1]:
            self._windows[-1] = (self._windows[-1][0], value)

    @property
    def least(self) -> float | None:
        """The least one; None before the first."""
        return min((value for _, value in self._windows), default=None)


class PeerClock:
    """How far the recording's clock is ahead of a participant's, in seconds."""

    def __init__(self) -> None:
        self._fastest = _Fastest()

    def heard(self, taken: float, now: float) -> None:
        """What was taken at ``taken`` on the participant's clock has arrived."""
        self._fastest.add(now - taken, now)

    @property
    def ahead(self) -> float | None:
        """None as long as nothing has told it."""
        return self._fastest.least


class TrackClock:
    """The timestamps of one track, of ``rate`` units a second, as seconds of the recording's clock."""

    def __init__(self, peer: PeerClock, rate: int) -> None:
        self._peer = peer
        self._rate = rate
        self._unwrapper = Unwrapper(32)
        self._fastest = _Fastest()
        self._taken = _Fastest()
        """Seconds of the participant's clock at timestamp 0; a report that was made late tells more than that."""
        self._begun: float | None = None
        self._offset: float | None = None
        self._before = 0.0

    def heard(self, timestamp: int, now: float) -> None:
        """A packet has arrived."""
        seconds = self._unwrapper.unwrap(timestamp) / self._rate
        self._fastest.add(now - seconds, now)
        taken = self._taken.least
        if taken is not None:
            self._peer.heard(taken + seconds, now)

    def relate(self, ntp: int, timestamp: int) -> None:
        """A sender report: ``ntp`` is in 1/2**32 s."""
        clock = ntp / (1 << 32)
        self._taken.add(clock - self._unwrapper.unwrap(timestamp) / self._rate, clock)

    def time(self, timestamp: int) -> float:
        """When that was, in seconds of the recording's clock; call it in the order of timestamps."""
        seconds = self._unwrapper.unwrap(timestamp) / self._rate
        wanted = self._wanted()
        if self._offset is None or abs(wanted - self._offset) > JUMP:
            self._offset, self._begun = wanted, seconds
        else:
            is_early = self._begun is not None and seconds - self._begun < EARLY
            most = max(seconds - self._before, 0.0) * (EARLY_SLEW if is_early else SLEW)
            self._offset += min(max(wanted - self._offset, -most), most)
        self._before = seconds
        return seconds + self._offset

    def _wanted(self) -> float:
        """The offset from the timestamps to the clock, as well as it is known."""
        arrivals = self._fastest.least
        if arrivals is None:
            return 0.0
        ahead, taken = self._peer.ahead, self._taken.least
        if taken is not None and ahead is not None and abs(taken + ahead - arrivals) < DOUBTFUL:
            return taken + ahead
        return arrivals
