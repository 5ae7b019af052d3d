"""Users whose credentials are revoked, although the secret that made them is still valid.

A time-limited credential proves itself: there is no list of issued ones to remove it from. Instead, revoked users are
remembered for a while. The core checks every credential against this table, from any source and at any time.

Some users are revoked because they were sent away (a *kick*: by a host, a ban, an administrator), most because they
left. Anybody can leave as often as they like, so a leave never makes the table forget a kick.
"""

from collections.abc import Callable
from heapq import heapify, heappop, heappush
from typing import Final

from auth.types import Credential

__all__ = ["MAX_REVOKED", "MIN_REVOKED", "RevokedUsers", "revocations_needed"]

MIN_REVOKED: Final = 65_536
"""Users remembered at least, and without another limit."""

MAX_REVOKED: Final = 400_000
"""The most users remembered, some 100 MB."""

LEAVES_PER_SECOND: Final = 100
"""The rate of revocations for which the table is made: two thousand rooms of three people, each for a minute."""

_ENDED_AT_ONCE: Final = 64
"""Revocations that have ended and are removed in one call, so that no call takes long."""


def revocations_needed(lifetime: float) -> int:
    """How many users to remember when credentials are valid for ``lifetime`` seconds, within the bounds above."""
    return round(min(max(MIN_REVOKED, LEAVES_PER_SECOND * lifetime), MAX_REVOKED))


class RevokedUsers:
    """A bounded table of user ids, each with the end of its revocation (Unix time, seconds).

    When it is full, a leave is forgotten, the one that ends first; only when there are no leaves, a kick. ``forgot`` is
    then called, with True if it was a kick: until its end, that user's credentials are accepted again.
    """

    __slots__ = ("_ends", "_forgot", "_limit", "_until")

    def __init__(self, limit: int = MIN_REVOKED, forgot: Callable[[bool], None] = lambda kicked: None) -> None:
        self._limit = limit
        self._forgot = forgot
        self._until: dict[str, tuple[float, bool]] = {}
        """The end of each revocation, and whether it is a kick."""
        self._ends: tuple[list[tuple[float, str]], list[tuple[float, str]]] = ([], [])
        """Heaps of the ends of leaves and of kicks. An entry that differs from ``_until`` has been replaced."""

    def __len__(self) -> int:
        """How many are remembered."""
        return len(self._until)

    @property
    def limit(self) -> int:
        """The most users remembered."""
        return self._limit

    def grow(self, limit: int) -> None:
        """Remember up to ``limit`` users from now on; a lower limit than the present one changes nothing."""
        self._limit = max(limit, self._limit)

    def revoke(self, user_id: str, until: float, wall: float = 0.0, *, kicked: bool = True) -> None:
        """Revoke a user from ``wall`` until ``until``: the expiry of the last credential made for it, or later.

        Not ``kicked`` is a user who has left. A later end, and a kick, of the same user are kept.
        """
        known, was_kicked = self._until.get(user_id, (until, False))
        entry = max(until, known), kicked or was_kicked
        if self._until.get(user_id) != entry:
            self._until[user_id] = entry
            self._set_end(user_id, *entry)
        self._remove_ended(wall)
        self._make_room(wall)

    def until(self, user_id: str, wall: float) -> float | None:
        """Until when a user is revoked; None for a user that is not at ``wall`` (both Unix time, seconds)."""
        until, _ = self._until.get(user_id, (None, False))
        if until is not None and until <= wall:
            del self._until[user_id]
            return None
        return until

    def revokes(self, credential: Credential, wall: float) -> bool:
        """Whether a credential does not count at ``wall``, because its user is revoked.

        A credential of a revoked user that expires after the end of the revocation was issued later, and counts: a
        user who gets a new one can use it at once. A credential without expiry counts again when the revocation ends.
        """
        until = self.until(credential.user_id, wall)
        return until is not None and (credential.expires_at is None or credential.expires_at <= until)

    def _set_end(self, user_id: str, until: float, kicked: bool) -> None:
        ends = self._ends[kicked]
        heappush(ends, (until, user_id))
        if len(ends) > 2 * len(self._until) + _ENDED_AT_ONCE:
            # Most have been replaced by later ends of the same users.
            ends[:] = [(end, user) for end, user in ends if self._until.get(user) == (end, kicked)]
            heapify(ends)

    def _remove_ended(self, wall: float) -> None:
        for kicked in (False, True):
            ends = self._ends[kicked]
            for _ in range(_ENDED_AT_ONCE):
                if not ends or ends[0][0] > wall:
                    break
                self._remove_first(kicked)

    def _remove_first(self, kicked: bool) -> float | None:
        """Remove the entry that ends first, and return its end; None if it had been replaced."""
        until, user = heappop(self._ends[kicked])
        if self._until.get(user) != (until, kicked):
            return None
        del self._until[user]
        return until

    def _make_room(self, wall: float) -> None:
        while len(self._until) > self._limit:
            kicked = not self._ends[False]
            end = self._remove_first(kicked)
            if end is not None and end > wall:
                self._forgot(kicked)
