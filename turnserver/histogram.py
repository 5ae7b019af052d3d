"""A histogram: how many values there were up to each of a few bounds, and their sum. Pure."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

__all__ = ["Histogram", "HistogramView"]


@dataclass(frozen=True, slots=True)
class HistogramView:
    """A histogram at one moment.

    ``counts`` has one number more than ``bounds``: how many values are at most each bound, and how many there are.
    """

    bounds: tuple[float, ...] = ()
    counts: tuple[int, ...] = (0,)
    total: float = 0.0
    """The sum of all values."""

    @property
    def count(self) -> int:
        """How many values there are."""
        return self.counts[-1]


class Histogram:
    """Counts values; ``bounds`` ascend, and belong to the bucket below them."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(self._bounds) + 1)
        self._total = 0.0

    def add(self, value: float) -> None:
        """Count a value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._total += value

    def view(self) -> HistogramView:
        """The histogram as it is now."""
        return HistogramView(self._bounds, tuple(accumulate(self._counts)), self._total)
