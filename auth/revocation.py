"""Users whose credentials no longer count, although the secret that made them still does.

A time-limited credential proves itself: nobody keeps a list of those that were issued, so one cannot be crossed out.
What can be done is to remember for a while whom not to let in again. The core checks every credential against this
table, whichever source it came from and however late.
"""

from auth.types import Credential

__all__ = ["MAX_REVOKED", "RevokedUsers"]

MAX_REVOKED = 10_000
"""Users that are remembered at most."""


class RevokedUsers:
    """A bounded table of user ids, each with the moment until which it is revoked (Unix time, seconds).

    When it is full, those that would have been forgotten first go first.
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
            # A tenth at a time, so that a flood of users does not cost a search for each.
            doomed = sorted(self._until, key=self._until.__getitem__)[: max(1, self._limit // 10)]
            for each in doomed:
                del self._until[each]

    def is_revoked(self, user_id: str, wall: float) -> bool:
        """Whether a user is revoked at ``wall`` (Unix time, seconds)."""
        return self.until(user_id, wall) is not None

    def until(self, user_id: str, wall: float) -> float | None:
        """Until when a user is revoked; None for one that is not, or not any more."""
        until = self._until.get(user_id)
        if until is not None and until <= wall:
            del self._until[user_id]
            return None
        return until

    def revokes(self, credential: Credential, wall: float) -> bool:
        """Whether a credential does not count at ``wall``, because its user is revoked.

        Of a revoked user, a credential that expires after the revocation ends was made after it, and counts: whoever
        comes back is given a new one and can use it at once. One without expiry counts again when the revocation ends.
        """
        until = self.until(credential.user_id, wall)
        return until is not None and (credential.expires_at is None or credential.expires_at <= until)
