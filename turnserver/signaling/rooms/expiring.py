"""Sets whose members leave by themselves: bans, and tokens that have been used. Bounded, for strangers fill them."""

from collections.abc import Hashable
from math import inf
from typing import Generic, TypeVar

__all__ = ["ExpiringSet"]

_Key = TypeVar("_Key", bound=Hashable)


class ExpiringSet(Generic[_Key]):
    """Keys, each with the moment at which it leaves; of more than ``size``, the one added first is dropped.

    Adding takes the same time however many there are. Moments are seconds on a clock of the caller's choice.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._ends: dict[_Key, float] = {}
        self._earliest = inf
        """Nothing leaves before that."""

    def __len__(self) -> int:
        return len(self._ends)

    def has(self, key: _Key, time: float) -> bool:
        """True if ``key`` is in the set at ``time``."""
        return time < self._ends.get(key, -inf)

    def add(self, key: _Key, time: float, end: float) -> None:
        """Put ``key`` in at ``time``, until ``end``; a later end that it had stays."""
        if self.has(key, time):
            self._ends[key] = max(self._ends[key], end)
            return
        self._ends.pop(key, None)
        if len(self._ends) >= self._size:
            del self._ends[next(iter(self._ends))]
        self._ends[key] = end
        self._earliest = min(self._earliest, end)

    def is_full(self, time: float) -> bool:
        """True if another key would push out one that has not left yet."""
        if len(self._ends) >= self._size and time >= self._earliest:
            self._ends = {key: end for key, end in self._ends.items() if time < end}
            self._earliest = min(self._ends.values(), default=inf)
        return len(self._ends) >= self._size
