"""A heap of deadlines with one owner, for sans-IO code, which has no timers.

Moving a deadline later, as every refresh does, costs one dictionary write: the heap keeps the earlier entry and
corrects it when it comes up. Removing one costs one dictionary delete.
"""

from collections.abc import Hashable, Iterator
from heapq import heapify, heappop, heappush
from typing import Final, Generic, TypeVar

__all__ = ["Deadlines"]

_Key = TypeVar("_Key", bound=Hashable)

_SLACK: Final = 1024
"""Stale heap entries allowed, in addition to the number of live ones, before the heap is rebuilt."""


class Deadlines(Generic[_Key]):
    """Deadlines on the monotonic clock, in seconds, by key; a key has one deadline. Removal is lazy."""

    def __init__(self) -> None:
        self._when: dict[_Key, float] = {}
        self._heap: list[tuple[float, int, _Key]] = []
        self._scheduled: dict[_Key, float] = {}
        self._serial = 0

    def __len__(self) -> int:
        return len(self._when)

    def __contains__(self, key: _Key) -> bool:
        return key in self._when

    def set(self, key: _Key, when: float) -> None:
        """Set or move the deadline of ``key`` to ``when``."""
        self._when[key] = when
        scheduled = self._scheduled.get(key)
        if scheduled is None or when < scheduled:
            self._push(key, when)
            self._trim()

    def get(self, key: _Key) -> float | None:
        """When ``key`` is due; None without a deadline."""
        return self._when.get(key)

    def remove(self, key: _Key) -> None:
        """Forget the deadline of ``key``, if it has one."""
        self._when.pop(key, None)
        self._trim()

    def next(self) -> float | None:
        """The earliest time at which `due` may return a key; None when there is no deadline."""
        self._settle()
        return self._heap[0][0] if self._heap else None

    def due(self, mono: float) -> Iterator[_Key]:
        """Remove and return, earliest first, every key whose deadline is at or before ``mono``."""
        while True:
            self._settle()
            if not self._heap or self._heap[0][0] > mono:
                return
            key = self._heap[0][2]
            del self._when[key]
            yield key

    def _push(self, key: _Key, when: float) -> None:
        self._serial += 1
        self._scheduled[key] = when
        heappush(self._heap, (when, self._serial, key))

    def _trim(self) -> None:
        """Remove stale entries from the heap: an entry for an hour, removed at once, must not stay for the hour."""
        if len(self._heap) <= 2 * len(self._when) + _SLACK:
            return
        self._heap.clear()
        self._scheduled.clear()
        for key, when in self._when.items():
            self._serial += 1
            self._heap.append((when, self._serial, key))
        heapify(self._heap)
        self._scheduled.update(self._when)

    def _settle(self) -> None:
        """Correct the top of the heap: drop removed entries, and put back those moved later."""
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
