"""Quotas of allocations, by user and in total. Counted before the socket opens, and released exactly once."""

from collections.abc import Mapping
from enum import Enum

__all__ = ["Quota", "QuotaVerdict"]


class QuotaVerdict(Enum):
    """The result of asking for one more allocation."""

    GRANTED = "granted"
    USER_FULL = "user-full"
    SERVER_FULL = "server-full"


class Quota:
    """Counts allocations by user and in total (RFC 8656 §7.2: 486 and 508)."""

    def __init__(self, per_user: int, total: int) -> None:
        self._per_user = per_user
        self._limit = total
        self._users: dict[str, int] = {}
        self._total = 0

    @property
    def total(self) -> int:
        """Allocations counted now."""
        return self._total

    @property
    def users(self) -> Mapping[str, int]:
        """Allocations counted for each user now; users without any are not in it. A copy."""
        return dict(self._users)

    def limit(self, per_user: int, total: int) -> None:
        """Replace the limits; users who hold more than the new limits keep their allocations."""
        self._per_user = per_user
        self._limit = total

    def take(self, user_id: str) -> QuotaVerdict:
        """Count one more for ``user_id`` unless that would pass a limit."""
        held = self._users.get(user_id, 0)
        if held >= self._per_user:
            return QuotaVerdict.USER_FULL
        if self._total >= self._limit:
            return QuotaVerdict.SERVER_FULL
        self._users[user_id] = held + 1
        self._total += 1
        return QuotaVerdict.GRANTED

    def give_back(self, user_id: str) -> None:
        """Count one less for ``user_id``. Raises KeyError when none was taken, which is a bug in the caller."""
        held = self._users[user_id]
        if held == 1:
            del self._users[user_id]
        else:
            self._users[user_id] = held - 1
        self._total -= 1
