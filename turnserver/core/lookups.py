"""Requests that wait for a credential: bounded in number, each with a deadline.

A request for which the credential source has no immediate answer is held here under a ticket, and `FindCredential` is
queued. The request is released by the answer, by its deadline, by the end of its client, or when the source is
replaced; in the last three cases `CancelLookup` tells the shell that the answer is not needed. Retransmissions of a
request that is held are dropped.
"""

from collections import Counter
from collections.abc import Callable

from turnserver.core.commands import CancelLookup, Command, FindCredential
from turnserver.core.deadlines import DeadlineKey, DeadlineKind
from turnserver.core.errors import LookupPending, SourceUnavailable
from turnserver.core.request import Request
from turnserver.core.retransmissions import TransactionKey
from turnserver.core.settings import CoreBounds, CoreSettings
from turnserver.core.types import FiveTuple
from turnserver.deadlines import Deadlines
from turnserver.reasons import Reason
from turnserver.throttle import packed_prefix

__all__ = ["Lookups"]


class Lookups:
    """The table of requests that wait; ``command`` queues a command for the shell. ``settings`` may be replaced."""

    def __init__(
        self,
        settings: CoreSettings,
        bounds: CoreBounds,
        deadlines: Deadlines[DeadlineKey],
        command: Callable[[Command], None],
    ) -> None:
        self.settings = settings
        self._bounds = bounds
        self._deadlines = deadlines
        self._command = command
        self._ticket = 0
        self._parked: dict[int, Request] = {}
        self._waiting: set[TransactionKey] = set()
        self._per_address: Counter[bytes] = Counter()

    def __len__(self) -> int:
        """How many requests wait."""
        return len(self._parked)

    def park(self, request: Request, pending: LookupPending) -> None:
        """Hold a request and queue `FindCredential`. A retransmission of a held request is dropped.

        Raises `SourceUnavailable` if too many are held, in total or for this client's address.
        """
        key = request.transaction
        if key in self._waiting:
            return
        prefix = _prefix(request)
        if len(self._parked) >= self.settings.limits.pending_lookups:
            raise SourceUnavailable("too many look-ups are pending", Reason.LOOKUPS_FULL)
        if self._per_address[prefix] >= self._bounds.lookups_per_address:
            raise SourceUnavailable("too many look-ups are pending for this address", Reason.LOOKUPS_FULL)
        self._ticket += 1
        self._parked[self._ticket] = request
        self._waiting.add(key)
        self._per_address[prefix] += 1
        self._deadlines.set(_deadline(self._ticket), request.now.mono + self._bounds.lookup_timeout)
        self._command(FindCredential(self._ticket, pending.username, pending.userhash, self.settings.realm))

    def answered(self, ticket: int) -> Request | None:
        """Release the request that an answer is for; None if it is not held any more."""
        request = self._parked.pop(ticket, None)
        if request is not None:
            self._waiting.discard(request.transaction)
            self._deadlines.remove(_deadline(ticket))
            self._leave(_prefix(request))
        return request

    def cancel(self, ticket: int) -> Request | None:
        """Release a request without an answer."""
        request = self.answered(ticket)
        if request is not None:
            self._command(CancelLookup(ticket))
        return request

    def cancel_client(self, client: FiveTuple) -> None:
        """Forget the requests of a client that cannot be answered any more."""
        for ticket in [ticket for ticket, request in self._parked.items() if request.client == client]:
            self.cancel(ticket)

    def cancel_listener(self, listener: int) -> None:
        """Forget the requests of all clients of a listener, which cannot be answered any more."""
        for ticket in [ticket for ticket, request in self._parked.items() if request.client.listener == listener]:
            self.cancel(ticket)

    def cancel_all(self) -> list[Request]:
        """Release every request, the oldest first."""
        tickets = list(self._parked)
        return [request for ticket in tickets if (request := self.cancel(ticket)) is not None]

    def _leave(self, prefix: bytes) -> None:
        self._per_address[prefix] -= 1
        if not self._per_address[prefix]:
            del self._per_address[prefix]


def _prefix(request: Request) -> bytes:
    return packed_prefix(request.client.address.ip)


def _deadline(ticket: int) -> DeadlineKey:
    return DeadlineKey(DeadlineKind.LOOKUP, 0, ticket)
