"""`TurnCore`: inputs in, commands and events out (RFC 8656; `docs/architecture.md` has the picture).

Every input first expires what is due at its ``now`` or, if that is too much for one input, what the input concerns
(`turnserver.core.backlog`), so no handler ever sees an expired permission or channel. Then the message is dispatched by
class and method, and its answer, if any, and the commands for the shell are queued. ``commands()`` and ``events()``
hand the queues over; ``deadline()`` says when `TurnCore.expire` must be called if there is no other input.

Rules: docs/conformance.md.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from auth.nonce import NonceIssuer, SecurityFeatures
from auth.revocation import RevokedUsers
from auth.source import CredentialSource
from auth.types import Credential, LateAnswer
from stun import attributes
from stun.address import Address
from stun.attributes import IcmpValue
from stun.classic import decode_binding
from stun.constants import MessageClass, Method
from stun.demux import is_stun
from stun.errors import MalformedMessage
from stun.message import Message
from turnserver.core.allocation import Allocation, AllocationState, view_of
from turnserver.core.answers import refuse
from turnserver.core.authenticate import authenticate
from turnserver.core.backlog import Backlog
from turnserver.core.census import count_allocations, count_ports
from turnserver.core.commands import CloseClient, Command
from turnserver.core.deadlines import DeadlineKey, DeadlineKind
from turnserver.core.errors import LookupPending, Refusal, Silence, SourceUnavailable
from turnserver.core.events import EndReason, Event, LookupFailed
from turnserver.core.handlers import allocate, binding, channel, indication, permission, refresh, tcp
from turnserver.core.lookups import Lookups
from turnserver.core.policy import PeerPolicy
from turnserver.core.request import Request
from turnserver.core.settings import CoreBounds, CoreSettings, OwnAddresses
from turnserver.core.state import CoreState
from turnserver.core.types import (
    AllocationKind,
    AllocationView,
    CoreTotals,
    FiveTuple,
    Now,
    PortsView,
    RelayFailure,
    RelayId,
)
from turnserver.core.understood import not_understood
from turnserver.descriptors import Descriptors
from turnserver.reasons import Reason

__all__ = ["TurnCore"]

_NAMED = 4
"""Unknown attributes that the log names."""


@dataclass(frozen=True, slots=True)
class _Handler:
    run: Callable[[CoreState, Request], None]
    authenticated: bool = True


_HANDLERS: dict[int, _Handler] = {
    Method.BINDING: _Handler(binding.handle, authenticated=False),
    Method.ALLOCATE: _Handler(allocate.handle),
    Method.REFRESH: _Handler(refresh.handle),
    Method.CREATE_PERMISSION: _Handler(permission.handle),
    Method.CHANNEL_BIND: _Handler(channel.handle),
    Method.CONNECT: _Handler(tcp.connect),
    Method.CONNECTION_BIND: _Handler(tcp.bind),
}


class TurnCore:
    """A TURN server without sockets, clocks or randomness of its own.

    ``credentials`` is the source that decides who may relay. ``revoked`` are users whose credentials do not count,
    whatever source has them; `revoke` adds to them. ``descriptors`` is the budget for the sockets of relays
    and of connections with peers; without it there is no limit.
    """

    def __init__(
        self,
        settings: CoreSettings,
        own: OwnAddresses,
        credentials: CredentialSource,
        nonces: NonceIssuer,
        entropy: Callable[[int], bytes],
        *,
        revoked: RevokedUsers | None = None,
        bounds: CoreBounds | None = None,
        descriptors: Descriptors | None = None,
    ) -> None:
        bounds = bounds or CoreBounds()
        revoked = RevokedUsers() if revoked is None else revoked
        descriptors = Descriptors() if descriptors is None else descriptors
        self.state = CoreState(
            settings, own, credentials, nonces, entropy, revoked=revoked, bounds=bounds, descriptors=descriptors
        )
        self._lookups = Lookups(settings, bounds, self.state.deadlines, self.state.command)
        self._failed_lookups = 0
        self._faults: list[Exception] = []
        self._backlog = Backlog(self.state, self._expired, self._faulted)

    # Inputs

    def client_frame(self, client: FiveTuple, frame: bytes, now: Now) -> None:
        """One whole frame from a client: STUN, or ChannelData without a route (RFC 7983 demultiplexing)."""
        self._begin(now, client)
        try:
            if is_stun(frame):
                self._message(client, Message.decode(frame), len(frame), now)
            else:
                channel.channel_data(self.state, client, frame, now)
        except MalformedMessage:
            self._perhaps_classic(client, frame, now)

    def peer_datagram(self, relay: RelayId, peer: Address, data: bytes, now: Now) -> None:
        """A datagram without a route came to a relay from ``peer`` (its address on the wire)."""
        self._begin(now, relay=relay)
        indication.peer_datagram(self.state, relay, peer, data)

    def peer_icmp(self, relay: RelayId, peer: Address, value: IcmpValue, now: Now) -> None:
        """An ICMP error came back for something that a relay sent to ``peer``."""
        self._begin(now, relay=relay)
        indication.peer_icmp(self.state, relay, peer, value)

    def client_gone(self, client: FiveTuple, now: Now) -> None:
        """A client's connection has ended, and its allocation with it (RFC 8656 §3.1), unless that is moving."""
        self._begin(now, client)
        self._lookups.cancel_client(client)
        allocation = self.state.allocation(client)
        if allocation is None:
            self.state.tcp.client_gone(client, None, now)
        elif not self._end_gone(client, allocation, now):
            self.state.tcp.client_gone(client, allocation, now)
            self.state.end_allocation(allocation, EndReason.CLIENT_GONE, now)

    def relay_opened(self, relay: RelayId, now: Now) -> bool:
        """`OpenRelay` succeeded. False if that was too late; the caller then closes the relay."""
        self._begin(now, relay=relay)
        allocate.relay_opened(self.state, relay, now)
        return self.state.has_relay(relay)

    def relay_failed(self, relay: RelayId, now: Now, failure: RelayFailure = RelayFailure.PORT) -> None:
        """`OpenRelay` failed, or an open relay was lost, which ends everything that depends on it.

        ``failure`` says whether another port or another address is worth trying.
        """
        self._begin(now, relay=relay)
        allocate.relay_failed(self.state, relay, failure, now)

    def peer_connected(self, connection: int, now: Now) -> None:
        """`ConnectPeer` succeeded."""
        self._begin(now, connection=connection)
        tcp.peer_connected(self.state, connection, now)

    def peer_failed(self, connection: int, now: Now, cause: Reason = Reason.PEER_UNREACHABLE) -> None:
        """`ConnectPeer` failed: 447, or 508 if the cause is this server's own (`Reason.RELAY_SOCKET`)."""
        self._begin(now, connection=connection)
        tcp.peer_failed(self.state, connection, now, cause)

    def peer_accepted(self, relay: RelayId, peer: Address, now: Now) -> int | None:
        """A peer has connected to a TCP relay; returns the connection's number, or None: then the caller closes it."""
        self._begin(now, relay=relay)
        return tcp.peer_accepted(self.state, relay, peer, now)

    def peer_gone(self, connection: int, now: Now) -> None:
        """A connection has ended, and both of its ends are closed. An unknown number is ignored."""
        self._begin(now, connection=connection)
        tcp.peer_gone(self.state, connection, now)

    def credential_found(self, ticket: int, answer: LateAnswer, now: Now) -> None:
        """The answer to `FindCredential`: the user's credentials, none for an unknown one, or `Unavailable`.

        The answer is judged at ``now``: credentials that have expired or been revoked meanwhile do not count. An answer
        after the deadline, or for a ticket that is not open any more, is ignored.
        """
        self._begin(now, ticket=ticket)
        request = self._lookups.answered(ticket)
        if request is not None:
            request.now = now
            self._request(request, answer)

    def revoke(self, user_id: str, now: Now, until: float | None = None) -> int:
        """End every allocation of a user; returns their number. Stream connections are closed too.

        If they are very many, the last ones are ended in later slices, but count as gone at once.

        With ``until`` (Unix time, seconds), only credentials of the user that expire later count from now on
        (`auth.revocation.RevokedUsers`). Without it, the user may come back at once.
        """
        self._begin(now)
        if until is not None:
            self.state.revoked.revoke(user_id, until, now.wall)
        allocations = [each for each in self.state.by_user.get(user_id, ()) if not self._backlog.is_ending(each)]
        self._backlog.end(allocations, self._revoke, now)
        return len(allocations)

    def drain(self, now: Now) -> None:
        """Refuse new allocations from now on: 300 where an alternate server is known for the client's family, else 508.

        Existing ones go on, with all that belongs to them.
        """
        self._begin(now)
        self.state.draining = True

    def shut_down(self, clients: Sequence[FiveTuple], now: Now) -> None:
        """End the allocations of these clients, because the server stops; a client without one is ignored."""
        self._begin(now)
        for client in clients:
            try:
                if self._backlog.behind:
                    self._backlog.settle(now, client)
                self._shut_down(client, now)
            except Exception as error:  # the others end, too
                self._faults.append(error)

    def credentials_in_use(self) -> dict[Credential, bool]:
        """Every credential that an allocation was created with, and whether it has been removed since."""
        return {each.credential: each.credential_removed for each in self.state.allocations.values()}

    def credential_removed(self, credential: Credential, now: Now) -> int:
        """The configuration does not have this credential any more; returns the number of its live allocations.

        They end at once, run out, or go on (``auth.on_removal``).
        """
        self._begin(now)
        found = self._allocations_of(credential)
        live = sum(allocation.state is AllocationState.LIVE for allocation in found)
        for allocation in found:
            allocation.credential_removed = True
        if self.state.settings.auth.on_removal == "end":
            self._backlog.end(found, self._remove, now)
        return live

    def credential_restored(self, credential: Credential, now: Now) -> None:
        """The configuration has this credential again."""
        self._begin(now)
        for allocation in self._allocations_of(credential):
            allocation.credential_removed = False

    def use(self, settings: CoreSettings, now: Now) -> None:
        """Use other settings from now on, and end what exists and is forbidden by them.

        The realm and the relay addresses must not change. Other relay ports are ignored: those that relays have taken
        from the first range stay theirs.
        """
        self.state.use(settings)
        self._lookups.settings = settings
        self.replace_policy(PeerPolicy.of(settings, self.state.own), now)

    def use_own(self, own: OwnAddresses, now: Now) -> None:
        """Use other addresses of the server from now on, and end what the peer ACL forbids with them (rule 16).

        Relays that are open stay, under the addresses that their clients have been given.
        """
        self._begin(now)
        self.state.use_own(own)
        self.replace_policy(PeerPolicy.of(self.state.settings, self.state.own), now)

    def listener_gone(self, listener: int, now: Now) -> None:
        """A listener is closed: its clients cannot come back to their allocations, so these end."""
        self._begin(now)
        state = self.state
        self._lookups.cancel_listener(listener)
        for client in [client for client in state.tcp.by_client if client.listener == listener]:
            state.tcp.client_gone(client, None, now)
        for each in [*state.moves.by_client.values()]:
            for end in (each.moving, each.client):
                if end is not None and end.listener == listener:
                    self._end_gone(end, each, now)
        stranded = [each for each in state.allocations.values() if each.client.listener == listener]
        self._backlog.end([each for each in stranded if not self._backlog.is_ending(each)], self._strand, now)

    def replace_policy(self, policy: PeerPolicy, now: Now) -> None:
        """Use another peer ACL, and end the permissions and connections that it forbids (rule 16).

        If they are many, this takes several slices. Until it is done, data in the core is checked one by one.
        """
        self._begin(now)
        if policy != self.state.policy:
            self.state.policy = policy
            self._backlog.recheck(now)

    def replace_credentials(self, credentials: CredentialSource, now: Now) -> None:
        """Use another credential source from now on, also for the requests that wait for the old one.

        Existing allocations keep the credential that created them. New nonces announce username anonymity (RFC 8489
        §9.2.1) exactly if the new source can be searched by hash.
        """
        self._begin(now)
        before, self.state.credentials = self.state.credentials, credentials
        if credentials is before:
            return
        if before.anonymous != credentials.anonymous:
            others = self.state.nonces.features & ~SecurityFeatures.USERNAME_ANONYMITY
            own = SecurityFeatures.USERNAME_ANONYMITY if credentials.anonymous else SecurityFeatures.NONE
            self.state.nonces = self.state.nonces.announcing(others | own)
        for request in self._lookups.cancel_all():
            request.now = now
            self._request(request, None)

    # Outputs

    @property
    def credentials(self) -> CredentialSource:
        """The current credential source, which the shell asks on `FindCredential`."""
        return self.state.credentials

    def commands(self) -> list[Command]:
        """Hand over, in order, what the shell must do."""
        queue, self.state.commands = self.state.commands, []
        return queue

    def events(self) -> list[Event]:
        """Hand over, in order, what has happened."""
        queue, self.state.events = self.state.events, []
        return queue

    def faults(self) -> list[Exception]:
        """Hand over the exceptions caught in the core; each cost one request, answered with 500, or one deadline."""
        queue, self._faults = self._faults, []
        return queue

    @property
    def clients(self) -> list[FiveTuple]:
        """All clients with an allocation, also one that is being opened."""
        return list(self.state.allocations)

    @property
    def is_empty(self) -> bool:
        """Whether there is no allocation, not even one that is being opened."""
        return not self.state.allocations

    def allocations(self, user_ids: Collection[str] | None = None) -> list[AllocationView]:
        """The live allocations of these users, or all; without counters, which only the shell has.

        The cost is proportional to the allocations of these users, not to all allocations.
        """
        live = self.state.live_allocations(user_ids)
        return [view_of(allocation) for allocation in live if not self._backlog.is_ending(allocation)]

    def totals(self) -> CoreTotals:
        """The current number of everything that has a limit."""
        state = self.state
        return CoreTotals(
            state.quota.total,
            len(self._lookups),
            self._failed_lookups,
            state.quota.users,
            failed_logins=state.logins.total,
            unanswered_logins=state.logins.unanswered,
            withheld_answers=state.reflection.withheld,
            swallowed_datagrams=state.swallowed,
            moves=state.moves.total,
        )

    def kinds(self) -> Mapping[AllocationKind, int]:
        """The number of live allocations of each kind; cheap also for very many."""
        return count_allocations(self.state)

    def ports(self) -> tuple[PortsView, ...]:
        """The relay ports of each address and protocol."""
        return count_ports(self.state)

    def has_channels(self, client: FiveTuple) -> bool:
        """Whether a client has channels bound."""
        allocation = self.state.allocations.get(client)
        return allocation is not None and bool(allocation.channels)

    # Time

    def deadline(self) -> float | None:
        """The monotonic time, in seconds, at which `expire` must be called; None while nothing can expire.

        It is 0, and `is_behind` is true, while there is more to do than the last slice could.
        """
        return self._backlog.deadline()

    @property
    def is_behind(self) -> bool:
        """Whether something that should have been done by now waits for its slice."""
        return self._backlog.behind

    def expire(self, now: Now, budget: int | None = None) -> bool:
        """End what is due at ``now``: everything, or one slice of ``budget`` steps; returns whether there is more.

        A step is one deadline, or one command. What is due counts as gone for every look-up, although it still waits
        for its slice. A fault is recorded, and costs only its own step.
        """
        return self._backlog.run(now, budget)

    # Inside

    def _shut_down(self, client: FiveTuple, now: Now) -> None:
        allocation = self.state.allocation(client)
        if allocation is None:
            return
        opening = self.state.openings.get(allocation.serial)
        self.state.end_allocation(allocation, EndReason.SHUTDOWN, now)
        if opening is not None:
            refuse(self.state, opening.request, Refusal(Reason.DRAINING, "the server is about to stop"))

    def _begin(
        self,
        now: Now,
        client: FiveTuple | None = None,
        *,
        relay: RelayId | None = None,
        connection: int | None = None,
        ticket: int | None = None,
    ) -> None:
        """Begin to handle an input: end what is due or, if that is too much, what concerns this input."""
        backlog = self._backlog
        if not backlog.advance(now):
            return
        backlog.settle(now, client, relay)
        if connection is not None:
            backlog.settle_key(DeadlineKind.CONNECTION, connection, now)
        if ticket is not None:
            backlog.settle_key(DeadlineKind.LOOKUP, ticket, now)

    def _settle_request(self, request: Request) -> None:
        """While there is a backlog: end what a request may name or need, and should not find any more."""
        backlog, message, now = self._backlog, request.message, request.now
        backlog.settle_key(DeadlineKind.RETRANSMISSION, request.transaction, now)
        if message.method == Method.ALLOCATE:
            backlog.make_room(now)
            token: bytes | None = message.first(attributes.RESERVATION_TOKEN)
            backlog.settle_key(DeadlineKind.RESERVATION, token, now)
        elif message.method == Method.CONNECTION_BIND:
            number: int | None = message.first(attributes.CONNECTION_ID)
            backlog.settle_key(DeadlineKind.CONNECTION, number, now)
        elif (moving := self.state.moves.meant(message)) is not None:
            backlog.settle(now, moving.client)

    def _end_gone(self, client: FiveTuple, allocation: Allocation, now: Now) -> bool:
        """One of two ends of an allocation that is moving is gone, and the other one is its client's (RFC 8016 §3.2.2).

        False if there is no other one.
        """
        if client == allocation.moving:
            self.state.client_left(client, allocation, now)
            self.state.moves.cancel(allocation)
            return True
        if allocation.moving is not None:
            self.state.moves.complete(allocation, now)
            return True
        return False

    def _allocations_of(self, credential: Credential) -> list[Allocation]:
        """Those that were created with a credential and do not wait to be ended, the oldest first."""
        mates = self.state.by_user.get(credential.user_id, ())
        found = [each for each in mates if each.credential == credential and not self._backlog.is_ending(each)]
        return sorted(found, key=lambda each: each.serial)

    def _revoke(self, allocation: Allocation, now: Now) -> None:
        self._dismiss(allocation, EndReason.REVOKED, now)

    def _remove(self, allocation: Allocation, now: Now) -> None:
        self._dismiss(allocation, EndReason.CREDENTIAL_REMOVED, now)

    def _strand(self, allocation: Allocation, now: Now) -> None:
        self.state.tcp.client_gone(allocation.client, allocation, now)
        self.state.end_allocation(allocation, EndReason.LISTENER_CLOSED, now)

    def _dismiss(self, allocation: Allocation, reason: EndReason, now: Now) -> None:
        """End an allocation against its client's will; a waiting Allocate gets 401, a stream is closed."""
        opening = self.state.openings.get(allocation.serial)
        if opening is None:
            self.state.turn_out(allocation, reason, now)
            return
        self.state.end_allocation(allocation, reason, now)
        opening.request.now = now
        cause = Reason.REVOKED if reason is EndReason.REVOKED else Reason.CREDENTIAL_REMOVED
        refuse(self.state, opening.request, Refusal(cause, challenge=True))
        if allocation.client.transport.connected:
            self.state.command(CloseClient(allocation.client))

    def _message(self, client: FiveTuple, message: Message, size: int, now: Now) -> None:
        """RFC 8489 §6.3: by class. Responses, and methods not allowed for their class, are dropped."""
        if message.message_class == MessageClass.REQUEST:
            self._request(Request(client, message, size, now), None)
        elif message.message_class == MessageClass.INDICATION and message.method == Method.SEND:
            if not not_understood(message):
                indication.send(self.state, client, message, now)

    def _perhaps_classic(self, client: FiveTuple, frame: bytes, now: Now) -> None:
        """A Binding request of RFC 3489, which clients send over UDP only; anything else is dropped."""
        if client.transport.proven or not self.state.settings.stun.classic:
            return
        message = decode_binding(bytes(frame))
        if message is not None:
            self._request(Request(client, message, len(frame), now, classic=True), None)

    def _request(self, request: Request, found: LateAnswer | None) -> None:
        handler = _HANDLERS.get(request.message.method)
        if handler is None:
            return
        if self._backlog.behind:
            with suppress(MalformedMessage):  # refused below, where it can be answered
                self._settle_request(request)
        kept = self.state.retransmissions.find(request.transaction)
        if kept is not None:
            self.state.send(request.client, kept)
            return
        try:
            self._authenticated(handler, request, found)
        except SourceUnavailable as unavailable:
            self._unavailable(request, unavailable)
        except Refusal as refusal:
            refuse(self.state, request, refusal)
        except MalformedMessage:
            # The frame is well-formed but the value of an attribute is not, which can be answered.
            refuse(self.state, request, Refusal(Reason.MALFORMED_ATTRIBUTE))
        except Silence:
            return
        except Exception as error:
            self._faults.append(error)
            refuse(self.state, request, Refusal(Reason.FAULT))

    def _authenticated(self, handler: _Handler, request: Request, found: LateAnswer | None) -> None:
        try:
            self._checked(handler, request, found)
        except LookupPending as pending:
            self._lookups.park(request, pending)

    def _unavailable(self, request: Request, unavailable: SourceUnavailable) -> None:
        """RFC 8489 §14.8: "the server has suffered a temporary error; the client should try again" → 500."""
        self._failed_lookups += 1
        reason, cause = unavailable.reason, unavailable.cause
        self.state.event(LookupFailed(request.client, request.username, reason, cause))
        refuse(self.state, request, Refusal(cause))

    def _checked(self, handler: _Handler, request: Request, found: LateAnswer | None) -> None:
        """RFC 8489 §6.3: authentication first, then unknown attributes, then the method itself."""
        if handler.authenticated:
            authenticate(self.state, request, found)
        unknown = not_understood(request.message, discovers=self.state.discovery.place(request.client) is not None)
        if unknown:
            numbers = ", ".join(f"{number:#06x}" for number in unknown[:_NAMED])
            raise Refusal(Reason.UNKNOWN_ATTRIBUTE, numbers, unknown=unknown)
        try:
            handler.run(self.state, request)
        except Refusal as refusal:
            if not self._backlog.behind or refusal.cause is not Reason.USER_QUOTA:
                raise
            self._backlog.settle_user(request.user.user_id, request.now)
            handler.run(self.state, request)
        if request.client in self.state.tcp.by_client:
            self._lookups.cancel_client(request.client)  # the connection does not carry STUN any more

    def _faulted(self, error: Exception) -> None:
        self._faults.append(error)

    def _expired(self, key: DeadlineKey, now: Now) -> None:
        state, item = self.state, key.item
        allocation = state.by_serial.get(key.owner)
        if key.kind is DeadlineKind.RELAY and allocation is not None:
            self._relay_expired(key, now)
        elif key.kind is DeadlineKind.PERMISSION and allocation is not None and isinstance(item, bytes):
            state.lapse(allocation, item)
        elif key.kind is DeadlineKind.CHANNEL and allocation is not None and isinstance(item, int):
            state.unbind_channel(allocation, item)
        elif key.kind is DeadlineKind.RESERVATION and isinstance(item, bytes):
            state.reservation_expired(item, now)
        elif key.kind is DeadlineKind.RETRANSMISSION and isinstance(item, tuple):
            state.retransmissions.forget(item)
        elif key.kind is DeadlineKind.CONNECTION and isinstance(item, int):
            state.tcp.expired(item, now)
        elif key.kind is DeadlineKind.OPENING:
            allocate.expired(state, key.owner, now)
        elif key.kind is DeadlineKind.LOOKUP and isinstance(item, int):
            self._lookup_expired(item, now)

    def _lookup_expired(self, ticket: int, now: Now) -> None:
        request = self._lookups.cancel(ticket)
        if request is not None:
            request.now = now
            timeout = self.state.bounds.lookup_timeout
            self._unavailable(
                request, SourceUnavailable(f"the credential source has not answered within {timeout} seconds")
            )

    def _relay_expired(self, key: DeadlineKey, now: Now) -> None:
        """RFC 8656 §3.2: an allocation ends with the last of its relays, and with both if both are due."""
        allocation = self.state.by_serial[key.owner]
        if all(relay.expires <= now.mono for relay in allocation.relays):
            self.state.end_allocation(allocation, EndReason.EXPIRED, now)
            return
        for relay in [relay for relay in allocation.relays if relay.id == key.item]:
            self.state.drop_relay(allocation, relay, now)
