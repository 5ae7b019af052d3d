"""One heap of deadlines with one owner: nothing in the core has a timer of its own.

Moving a deadline later, which is what every refresh does, costs one dictionary write: the heap keeps the earlier entry
and puts it right when it comes up. Removing one costs a dictionary delete.
"""

from collections.abc import Iterator
from enum import IntEnum
from heapq import heappop, heappush
from typing import NamedTuple

__all__ = ["DeadlineKey", "DeadlineKind", "Deadlines"]


_SLACK = 1024
"""Entries of the heap that may be dead, beside as many as live, before it is built anew."""


class DeadlineKind(IntEnum):
    """What a deadline is for."""

    RELAY = 1
    PERMISSION = 2
    CHANNEL = 3
    RESERVATION = 4
    RETRANSMISSION = 5
    LOOKUP = 6
    CONNECTION = 7


class DeadlineKey(NamedTuple):
    """Names a deadline: its kind, the number of the allocation (or 0), and the thing itself."""

    kind: DeadlineKind
    owner: int
    item: object


class Deadlines:
    """A heap of moments on the monotonic clock, in seconds, with lazy deletion."""

    def __init__(self) -> None:
        self._when: dict[DeadlineKey, float] = {}
        self._heap: list[tuple[float, int, DeadlineKey]] = []
        self._scheduled: dict[DeadlineKey, float] = {}
        self._serial = 0

    def __len__(self) -> int:
        return len(self._when)

    def set(self, key: DeadlineKey, when: float) -> None:
        """Put the deadline of ``key`` at ``when``, wherever it was."""
        self._when[key] = when
        scheduled = self._scheduled.get(key)
        if scheduled is None or when < scheduled:
            self._push(key, when)

    def get(self, key: DeadlineKey) -> float | None:
        """When ``key`` is due; None without a deadline."""
        return self._when.get(key)

    def remove(self, key: DeadlineKey) -> None:
        """Forget the deadline of ``key``, if it has one."""
        self._when.pop(key, None)
        if len(self._heap) > 2 * len(self._when) + _SLACK:
            self._rebuild()

    def next(self) -> float | None:
        """The earliest moment at which `due` may have something to give; None when there is no deadline."""
        self._settle()
        return self._heap[0][0] if self._heap else None

    def due(self, mono: float) -> Iterator[DeadlineKey]:
        """Remove and give, earliest first, every key whose deadline is at or before ``mono``."""
        while True:
            self._settle()
            if not self._heap or self._heap[0][0] > mono:
                return
            key = self._heap[0][2]
            del self._when[key]
            yield key

    def _push(self, key: DeadlineKey, when: float) -> None:
        self._serial += 1
        self._scheduled[key] = when
        heappush(self._heap, (when, self._serial, key))

    def _rebuild(self) -> None:
        """Rid the heap of what was removed: what lives an hour and is deleted at once must not stay for the hour."""
        self._heap.clear()
        self._scheduled.clear()
        for key, when in self._when.items():
            self._push(key, when)

    def _settle(self) -> None:
        """Bring the top of the heap in line with the truth: drop what was removed, put back what was moved later."""
        while self._heap:
            when, _, key = self._heap[0]
            if self._when.get(key) == when:
                return
            heappop(self._heap)
            if self._scheduled.get(key) != when:
                continue
            del self._scheduled[key]
            actual = self._when.get(key)
            if actual is not None:
                self._push(key, actual)
