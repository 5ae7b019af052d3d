"""Bounded sets whose keys expire: bans, and used tokens. They are bounded because any client can add to them."""

from collections.abc import Hashable
from math import inf
from typing import Generic, TypeVar

from turnserver.deadlines import Deadlines

__all__ = ["ExpiringSet", "FairSet"]

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


class FairSet(Generic[_Key]):
    """Keys with an owner and an expiry time each. With more than ``size`` keys, the owner of most loses its oldest.

    So an owner who adds without end takes nothing from those who have fewer. The cost of adding does not depend on the
    number of keys. Times are seconds on a clock of the caller's choice.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._ends: Deadlines[_Key] = Deadlines()
        self._owner: dict[_Key, str] = {}
        self._keys: dict[str, dict[_Key, None]] = {}
        """Every owner's keys, the oldest first."""
        self._by_count: dict[int, dict[str, None]] = {}
        """Owners by the number of their keys."""
        self._most = 0

    def __len__(self) -> int:
        return len(self._owner)

    def has(self, key: _Key, time: float) -> bool:
        """True if ``key`` has not expired at ``time``."""
        end = self._ends.get(key)
        return end is not None and time < end

    def add(self, key: _Key, owner: str, time: float, end: float) -> None:
        """Add ``key`` at ``time`` with the expiry ``end``. A later expiry and an owner that it already has are kept."""
        for expired in self._ends.due(time):
            self._drop(expired)
        known = self._ends.get(key)
        if known is None:
            if len(self._owner) >= self._size:
                self._make_room()
            self._owner[key] = owner
            keys = self._keys.setdefault(owner, {})
            keys[key] = None
            self._recount(owner, len(keys) - 1)
        self._ends.set(key, end if known is None else max(end, known))

    def _make_room(self) -> None:
        owner = next(iter(self._by_count[self._most]))
        oldest = next(iter(self._keys[owner]))
        self._ends.remove(oldest)
        self._drop(oldest)

    def _drop(self, key: _Key) -> None:
        owner = self._owner.pop(key)
        keys = self._keys[owner]
        del keys[key]
        self._recount(owner, len(keys) + 1)
        if not keys:
            del self._keys[owner]

    def _recount(self, owner: str, before: int) -> None:
        """The number of an owner's keys has changed by one."""
        count = len(self._keys[owner])
        if before:
            same = self._by_count[before]
            del same[owner]
            if not same:
                del self._by_count[before]
        if count:
            self._by_count.setdefault(count, {})[owner] = None
        if count > self._most or self._most not in self._by_count:
            self._most = count
