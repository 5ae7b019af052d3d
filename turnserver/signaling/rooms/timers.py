"""The hub's deadlines: one heap, one owner. Moving a deadline later, or dropping it, is a dictionary write."""

from heapq import heapify, heappop, heappush

__all__ = ["TimerKey", "Timers"]

TimerKey = tuple[str, str]
"""What is due, and whose."""

_SLACK = 256


class Timers:
    """Moments on the monotonic clock by key; a key has one deadline."""

    def __init__(self) -> None:
        self._when: dict[TimerKey, float] = {}
        self._heap: list[tuple[float, TimerKey]] = []

    def __len__(self) -> int:
        return len(self._when)

    def __contains__(self, key: TimerKey) -> bool:
        return key in self._when

    def set(self, key: TimerKey, when: float) -> None:
        """Put the deadline of ``key`` at ``when``, wherever it was."""
        self._when[key] = when
        heappush(self._heap, (when, key))
        if len(self._heap) > 2 * len(self._when) + _SLACK:
            self._heap = [(moment, name) for name, moment in self._when.items()]
            heapify(self._heap)

    def drop(self, key: TimerKey) -> None:
        """``key`` has no deadline any more."""
        self._when.pop(key, None)

    def next(self) -> float | None:
        """The nearest deadline."""
        self._clean()
        return self._heap[0][0] if self._heap else None

    def due(self, mono: float) -> TimerKey | None:
        """Take one key whose time has come; None when there is none left."""
        self._clean()
        if not self._heap or self._heap[0][0] > mono:
            return None
        _, key = heappop(self._heap)
        del self._when[key]
        return key

    def _clean(self) -> None:
        while self._heap and self._when.get(self._heap[0][1]) != self._heap[0][0]:
            heappop(self._heap)
