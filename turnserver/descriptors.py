"""The budget of file descriptors: how many the clients of a process may take, in total and one user. Pure.

Counted are the sockets of relays (TCP relays included), connections with peers (RFC 6062) and the connections of
clients. At the edge new work is refused, and what stands goes on: a process without descriptors could not even accept
the connections that it has to close.

One user may hold at most twice as many as are still free: two thirds, if nobody else has any, and less the fewer are
left. So no number of greedy users takes the last one from a user who has none. (Shared buffers of switches are divided
like this: Choudhury and Hahne, "Dynamic Queue Length Thresholds", 1998.) Connections of clients, which strangers can
make, are half of the budget at most. One with an allocation, and the data connection of a peer (RFC 6062), are their
user's as well. For a data connection that has yet to come, one descriptor is set aside.
"""

import sys
from collections.abc import Mapping
from typing import Final

from turnserver.reasons import Reason

__all__ = ["UNLIMITED", "Descriptors"]

UNLIMITED: Final = sys.maxsize
"""The total of a process without a limit."""

_GREED: Final = 2
"""How many times what is still free one user may hold."""


class Descriptors:
    """Counts descriptors; ``total`` may be replaced, and what exceeds it then is kept until it is given back."""

    def __init__(self, total: int = UNLIMITED) -> None:
        self.total = total
        self._used = 0
        self._ahead = 0
        self._users: dict[str, int] = {}

    @property
    def used(self) -> int:
        """Descriptors taken now."""
        return self._used

    @property
    def free(self) -> int:
        """Descriptors that can be taken now."""
        return max(self.total - self._used, 0)

    @property
    def most_connections(self) -> int:
        """How many connections clients may have."""
        return self.total // 2

    @property
    def users(self) -> Mapping[str, int]:
        """What each user holds now, or has set aside; users without any are not in it. A copy."""
        return dict(self._users)

    @property
    def ahead(self) -> int:
        """Descriptors that are set aside for data connections."""
        return self._ahead

    def shortage(self, user_id: str, count: int = 1, *, claimed: int = 0, ahead: int = 0) -> Reason | None:
        """Why a user cannot have ``count`` more; None if the user can.

        In addition to them, ``claimed`` connections of clients are to become the user's, and ``ahead`` to be set aside.
        """
        if not count:
            return None
        left = max(self.free - self._ahead, 0)
        if count + ahead > left:
            return Reason.NO_DESCRIPTORS
        if self._users.get(user_id, 0) + count + claimed + ahead > _GREED * left:
            return Reason.USER_DESCRIPTORS
        return None

    def take(self, user_id: str | None = None) -> None:
        """Count one more, for a user or (None) for the connection of a client; the caller has asked for room before."""
        self._used += 1
        if user_id is not None:
            self.claim(user_id)

    def give_back(self, user_id: str | None = None) -> None:
        """Count one less. Raises KeyError when the user has none, which is a bug in the caller."""
        if user_id is not None:
            self.disclaim(user_id)
        self._used -= 1

    def claim(self, user_id: str, *, ahead: bool = False) -> None:
        """The connection of a client, which is counted already, is a user's; or (``ahead``) one that will come."""
        self._users[user_id] = self._users.get(user_id, 0) + 1
        self._ahead += ahead

    def arrived(self) -> None:
        """One that was set aside for has come."""
        self._ahead -= 1

    def disclaim(self, user_id: str, *, ahead: bool = False) -> None:
        """The connection of a client is not the user's any more, or (``ahead``) will not come. Raises KeyError."""
        held = self._users[user_id] - 1
        if held:
            self._users[user_id] = held
        else:
            del self._users[user_id]
        self._ahead -= ahead
