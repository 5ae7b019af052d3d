"""Allocations that move to another 5-tuple of their client (RFC 8016): tickets, and the time between two 5-tuples.

States of a mobile allocation::

    AT HOME ──Refresh with a ticket, from another 5-tuple──► MOVING ──first data on the new one──► AT HOME, there
                                                               ├──the old connection has ended───► AT HOME, there
                                                               ├──the new connection has ended───► AT HOME
                                                               └──a ticket from the old 5-tuple──► AT HOME

While an allocation is moving, requests on both 5-tuples are about it. Data are sent to the old one, and accepted from
it, until the client uses the new one (§3.2.2). Permissions, channels, relays and quota stay as they are all the time.

Tickets are numbered. One that is used spends itself and all earlier ones, so the allocation remembers a single number,
and one answer for retransmissions.
"""

from typing import Protocol

from stun.attributes import MOBILITY_TICKET
from stun.constants import Method
from stun.message import Message
from turnserver.core.allocation import Allocation
from turnserver.core.commands import CloseClient, Command, KeepClient
from turnserver.core.deadlines import DeadlineKey, DeadlineKind
from turnserver.core.events import AllocationMoved, Event
from turnserver.core.retransmissions import Retransmissions, TransactionKey
from turnserver.core.settings import CoreSettings
from turnserver.core.tickets import Ticket, TicketSeal
from turnserver.core.types import FiveTuple, Now
from turnserver.deadlines import Deadlines
from turnserver.descriptors import Descriptors

__all__ = ["MoveHost", "Moves"]


class MoveHost(Protocol):
    """What moves need from the rest of the state; `turnserver.core.state.CoreState` has it."""

    settings: CoreSettings
    descriptors: Descriptors
    allocations: dict[FiveTuple, Allocation]
    by_serial: dict[int, Allocation]
    deadlines: Deadlines[DeadlineKey]
    retransmissions: Retransmissions

    def command(self, command: Command) -> None:
        """Queue something for the shell to do."""

    def event(self, event: Event) -> None:
        """Queue a fact."""

    def keep_answer(self, key: TransactionKey, answer: bytes, now: Now) -> None:
        """Keep an answer for as long as its client may retransmit the request."""

    def route_to(self, allocation: Allocation, client: FiveTuple) -> None:
        """Make ``client`` the client's end of an allocation, also for the routes of its channels."""

    def client_left(self, client: FiveTuple, allocation: Allocation, now: Now) -> None:
        """A former client's end is gone; the allocation lives on."""


class Moves:
    """The tickets of all allocations, and the new 5-tuples of those that are moving."""

    def __init__(self, host: MoveHost, seal: TicketSeal) -> None:
        self._host = host
        self._seal = seal
        self.by_client: dict[FiveTuple, Allocation] = {}
        """By the new 5-tuple. Several are never kept for one allocation."""
        self.total = 0
        """Moves that have been completed."""

    def issue(self, allocation: Allocation) -> bytes:
        """Another ticket for a mobile allocation, which can be used until its present expiry."""
        allocation.tickets += 1
        expires = max(relay.expires for relay in allocation.relays)
        return self._seal.seal(Ticket(allocation.serial, allocation.tickets, round(expires * 1000)))

    def opened(self, sealed: bytes) -> Ticket | None:
        """What is in a ticket; None for one that this server has not made."""
        return self._seal.open(sealed)

    def meant(self, message: Message) -> Allocation | None:
        """The allocation that a Refresh with a ticket is about, whether or not the ticket can still be used."""
        sealed = message.first(MOBILITY_TICKET) if message.method == Method.REFRESH else None
        ticket = self._seal.open(sealed) if sealed is not None and self._host.settings.relay.mobility else None
        return None if ticket is None else self._host.by_serial.get(ticket.serial)

    def begin(self, allocation: Allocation, client: FiveTuple) -> None:
        """A ticket was used on ``client``: the allocation is moving there, or stays if that is where it is."""
        allocation.spent = allocation.tickets
        self.cancel(allocation)
        if client == allocation.client:
            return
        allocation.moving = client
        self.by_client[client] = allocation
        if client.transport.stream:
            self._host.descriptors.claim(allocation.credential.user_id)
        self._host.command(KeepClient(client, True))

    def keep_answer(self, allocation: Allocation, key: TransactionKey, answer: bytes, now: Now) -> None:
        """Keep the answer to a Refresh with a ticket for retransmissions (§3.2.2), and forget the one before.

        Whoever uses a newer ticket has had that answer.
        """
        former, allocation.answered = allocation.answered, key
        if former is not None:
            self._host.retransmissions.forget(former)
            self._host.deadlines.remove(DeadlineKey(DeadlineKind.RETRANSMISSION, 0, former))
        self._host.keep_answer(key, answer, now)

    def cancel(self, allocation: Allocation) -> FiveTuple | None:
        """An allocation that is moving stays where it is, or ends; returns the new 5-tuple, None if there was none."""
        client = self._take(allocation)
        if client is not None:
            if client.transport.stream:
                self._host.descriptors.disclaim(allocation.credential.user_id)
            self._host.command(KeepClient(client, False))
        return client

    def data_on(self, client: FiveTuple, now: Now) -> None:
        """A Send indication or ChannelData has come on a new 5-tuple: the allocation has moved (§3.2.2)."""
        allocation = self.by_client.get(client)
        if allocation is not None:
            self.complete(allocation, now)

    def complete(self, allocation: Allocation, now: Now) -> None:
        """An allocation that is moving has arrived: its old 5-tuple is not its client's any more."""
        client, former = self._take(allocation), allocation.client
        if client is None:
            return
        host, credential = self._host, allocation.credential
        host.client_left(former, allocation, now)
        del host.allocations[former]
        host.allocations[client] = allocation
        host.route_to(allocation, client)
        host.command(KeepClient(former, False))
        if former.transport.stream:
            host.descriptors.disclaim(credential.user_id)
        if former.transport.connected:
            host.command(CloseClient(former))
        self.total += 1
        relays = tuple(relay.id for relay in allocation.relays)
        host.event(AllocationMoved(client, former, credential.username, credential.user_id, relays))

    def _take(self, allocation: Allocation) -> FiveTuple | None:
        client, allocation.moving = allocation.moving, None
        if client is not None:
            del self.by_client[client]
        return client
