"""Users whose credentials are revoked, although the secret that made them is still valid.

A time-limited credential proves itself: there is no list of issued ones to remove it from. Instead, revoked users are
remembered for a while. The core checks every credential against this table, from any source and at any time.
"""

from auth.types import Credential

__all__ = ["MAX_REVOKED", "RevokedUsers"]

MAX_REVOKED = 10_000
"""The most users remembered."""


class RevokedUsers:
    """A bounded table of user ids, each with the end of its revocation (Unix time, seconds).

    When it is full, those whose revocation ends first are forgotten first.
    """

    __slots__ = ("_limit", "_until")

    def __init__(self, limit: int = MAX_REVOKED) -> None:
        self._limit = limit
        self._until: dict[str, float] = {}

    def __len__(self) -> int:
        """How many are remembered."""
        return len(self._until)

    def revoke(self, user_id: str, until: float) -> None:
        """Revoke a user until ``until``: the expiry of the last credential that was made for it, or later."""
        self._until[user_id] = max(until, self._until.get(user_id, until))
        if len(self._until) > self._limit:
            # A tenth at a time, so that a flood of users does not cost one search each.
            doomed = sorted(self._until, key=self._until.__getitem__)[: max(1, self._limit // 10)]
            for each in doomed:
                del self._until[each]

    def until(self, user_id: str, wall: float) -> float | None:
        """Until when a user is revoked; None for a user that is not at ``wall`` (both Unix time, seconds)."""
        until = self._until.get(user_id)
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
