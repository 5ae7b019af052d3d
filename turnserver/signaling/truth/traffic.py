"""Does an allocation carry a call, or only the checks that ICE makes? A meter over its counters.

A relay that a call does not use still carries ICE checks. While ICE looks for a path it sends a check every 20 to 50 ms
over all candidate pairs together, of about 100 bytes, answered with 64; once a path is chosen, a pair is checked every
few seconds (RFC 7675: consent). Possible checks are therefore subtracted first: up to `CHECKS` packets per second and
direction, of up to `CHECK_SIZE` bytes each. The rest fills a leaky bucket. A relay carries from the time its bucket is
full until it is almost empty. A pause in speech thus does not change the answer, and a call that took another path is
noticed within 15 seconds.
"""

from typing import Final

from turnserver.core.types import Counters

__all__ = ["Traffic"]

CHECKS: Final = 25.0
"""Packets per second and direction that checks may be: at most one each 48 ms of a browser's own, and some answers."""

CHECK_BURST: Final = 50.0
"""As many of them at once: what two seconds allow."""

CHECK_SIZE: Final = 120
"""Bytes of a packet, at most, that a check accounts for."""

LEAK: Final = 500.0
"""Bytes per second; the faintest sound (Opus silence, 50 packets a second) leaves more than that."""

CARRIES_AT: Final = 4_096.0
IDLE_AT: Final = 1_024.0
FULL: Final = 8_192.0

_PACE: Final = 3.0
"""Seconds over which the pace is smoothed."""


class Traffic:
    """The meter of one allocation. Times are on the monotonic clock, in seconds."""

    __slots__ = (
        "_allowance_down",
        "_allowance_up",
        "_at",
        "_idle",
        "_level",
        "busy_at",
        "carries",
        "moved_at",
        "pace",
        "seen",
    )

    def __init__(self, seen: Counters, now: float) -> None:
        self.seen = seen
        """The counters as of the last update."""
        self.carries = False
        """Whether it carries more than checks."""
        self.busy_at = float("-inf")
        """When it last turned out to have carried more than checks and the leak."""
        self.moved_at = float("-inf")
        """When it last turned out to have carried anything."""
        self.pace = 0.0
        """Bytes per second in both directions, smoothed."""
        self._level = 0.0
        self._idle = True
        self._at = now
        self._allowance_up = CHECK_BURST
        self._allowance_down = CHECK_BURST

    @property
    def both_ways(self) -> bool:
        """Whether anything ever came back. What is never answered is not a path."""
        return self.seen.bytes_to_peers > 0 and self.seen.bytes_to_client > 0

    def update(self, counters: Counters, now: float) -> tuple[int, int]:
        """Take new counters; gives the bytes since the last ones, towards peers and from them.

        Counters that have fallen (one half of a dual allocation has gone with its own) count as no growth.
        """
        before, self.seen = self.seen, counters
        elapsed = max(0.0, now - self._at)
        self._at = max(now, self._at)
        if self._idle and counters == before:
            self.pace = 0.0
            return 0, 0  # most allocations, at most times
        up = max(0, counters.bytes_to_peers - before.bytes_to_peers)
        down = max(0, counters.bytes_to_client - before.bytes_to_client)
        packets_up = max(0, counters.packets_to_peers - before.packets_to_peers)
        packets_down = max(0, counters.packets_to_client - before.packets_to_client)
        checks_up = min(packets_up, self._allowance_up + CHECKS * elapsed)
        checks_down = min(packets_down, self._allowance_down + CHECKS * elapsed)
        self._allowance_up = min(CHECK_BURST, self._allowance_up + CHECKS * elapsed - checks_up)
        self._allowance_down = min(CHECK_BURST, self._allowance_down + CHECKS * elapsed - checks_down)
        self._idle = not up and not down and self._allowance_up == self._allowance_down == CHECK_BURST
        payload = max(_beyond(up, packets_up, checks_up), _beyond(down, packets_down, checks_down))
        self._note(up + down, payload, elapsed, now)
        return up, down

    def _note(self, moved: int, payload: float, elapsed: float, now: float) -> None:
        if moved:
            self.moved_at = now
        if payload > LEAK * elapsed:
            self.busy_at = now
        share = elapsed / (elapsed + _PACE)
        self.pace += (moved / elapsed - self.pace) * share if elapsed else 0.0
        self._level = min(FULL, max(0.0, self._level + payload - LEAK * elapsed))
        self._idle = self._idle and self._level == 0.0
        if self._level >= CARRIES_AT:
            self.carries = self.both_ways
        elif self._level <= IDLE_AT:
            self.carries = False


def _beyond(size: int, packets: int, checks: float) -> float:
    """Bytes beyond those that checks account for. A stream has no packets, and nobody sends checks over RFC 6062."""
    return size - checks * min(CHECK_SIZE, size / packets) if packets else float(size)
