"""Bounded sets whose keys expire: bans, and used tokens. They are bounded because any client can add to them."""

from collections.abc import Hashable
from math import inf
from typing import Generic, TypeVar

__all__ = ["ExpiringSet"]

_Key = TypeVar("_Key", bound=Hashable)


class ExpiringSet(Generic[_Key]):
    """Keys with an expiry time each. With more than ``size`` keys, the one added first is dropped.

    The cost of adding does not depend on the number of keys. Times are seconds on a clock of the caller's choice.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._ends: dict[_Key, float] = {}
        self._earliest = inf
        """No key expires before this time."""

    def __len__(self) -> int:
        return len(self._ends)

    def has(self, key: _Key, time: float) -> bool:
        """True if ``key`` has not expired at ``time``."""
        return time < self._ends.get(key, -inf)

    def add(self, key: _Key, time: float, end: float) -> None:
        """Add ``key`` at ``time`` with the expiry ``end``. A later expiry that it already has is kept."""
        if self.has(key, time):
            self._ends[key] = max(self._ends[key], end)
            return
        self._ends.pop(key, None)
        if len(self._ends) >= self._size:
            del self._ends[next(iter(self._ends))]
        self._ends[key] = end
        self._earliest = min(self._earliest, end)

    def is_full(self, time: float) -> bool:
        """True if adding a key would drop one that has not expired."""
        if len(self._ends) >= self._size and time >= self._earliest:
            self._ends = {key: end for key, end in self._ends.items() if time < end}
            self._earliest = min(self._ends.values(), default=inf)
        return len(self._ends) >= self._size
