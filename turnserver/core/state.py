"""The core's state: every table, the output queues, and the operations that keep the tables in agreement.

Handlers decide, and this module changes the state. An operation here changes all tables concerned, sets the deadlines
and queues the commands. No handler can therefore leave a route without a channel, a port without an owner, or a quota
that is never given back.

Rules: docs/conformance.md.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass

from auth.nonce import NonceIssuer
from auth.revocation import RevokedUsers
from auth.source import CredentialSource
from auth.types import Credential
from stun.address import Address
from stun.attributes import AddressErrorValue
from stun.constants import AddressFamily, TransportProtocol
from turnserver.core.addresses import AddressChoice, RelayAddresses
from turnserver.core.allocation import Allocation, AllocationState, Channel, Relay, RelayState, Reservation
from turnserver.core.commands import (
    AddRoute,
    AllowPeer,
    CloseClient,
    CloseRelay,
    Command,
    ForbidPeer,
    OpenRelay,
    RemoveRoute,
    SendToClient,
)
from turnserver.core.deadlines import DeadlineKey, DeadlineKind
from turnserver.core.discovery import Discovery
from turnserver.core.events import AllocationEnded, AnswerWithheld, EndReason, Event
from turnserver.core.logins import FailedLogins
from turnserver.core.moves import Moves
from turnserver.core.own_relays import OwnRelays, Ways
from turnserver.core.policy import PeerPolicy
from turnserver.core.ports import RelayPorts
from turnserver.core.quota import Quota
from turnserver.core.reflection import ReflectionBudget
from turnserver.core.request import Request
from turnserver.core.retransmissions import Retransmissions, TransactionKey
from turnserver.core.settings import CoreBounds, CoreSettings, OwnAddresses, RelayAddress, last_channel
from turnserver.core.tcp_connections import TcpConnections
from turnserver.core.tickets import TicketSeal
from turnserver.core.types import FiveTuple, Now, RelayFailure, RelayId, Route
from turnserver.deadlines import Deadlines
from turnserver.descriptors import Descriptors

__all__ = ["CoreState", "RelayOpening", "Slot"]

MAX_ATTEMPTS = 32
"""Ports tried for one relay before 508: other programs may hold some of the range."""


@dataclass(slots=True, eq=False)
class Slot:
    """One relayed transport address that an Allocate waits for; ``mate`` has the next port and will be reserved."""

    family: AddressFamily
    addresses: list[RelayAddress]
    even: bool = False
    pair: bool = False
    attempts: int = MAX_ATTEMPTS
    relay: Relay | None = None
    mate: Relay | None = None
    failed: bool = False
    failure: RelayFailure = RelayFailure.PORT
    """Why the last attempt failed."""

    @property
    def settled(self) -> bool:
        """True once the relay has opened, or has finally failed."""
        if self.failed:
            return True
        wanted = (self.relay, self.mate) if self.pair else (self.relay,)
        return all(relay is not None and relay.state is RelayState.OPEN for relay in wanted)


@dataclass(slots=True, eq=False)
class RelayOpening:
    """An Allocate between its checks and its answer (RFC 8656 §7.2)."""

    request: Request
    allocation: Allocation
    lifetime: int
    slots: list[Slot]
    errors: list[AddressErrorValue]


class CoreState:
    """The state of the core; see the module's docstring."""

    def __init__(
        self,
        settings: CoreSettings,
        own: OwnAddresses,
        credentials: CredentialSource,
        nonces: NonceIssuer,
        entropy: Callable[[int], bytes],
        *,
        revoked: RevokedUsers,
        bounds: CoreBounds,
        descriptors: Descriptors,
    ) -> None:
        limits = settings.limits
        self.settings = settings
        self.draining = False
        """Whether new allocations are refused because the server is about to stop."""
        self.own = own
        self.bounds = bounds
        self.descriptors = descriptors
        self.policy = PeerPolicy.of(settings, own)
        self.last_channel = last_channel(settings)
        self.credentials = credentials
        self.revoked = revoked
        self.nonces = nonces
        self.entropy = entropy
        self.addresses = RelayAddresses(own.relays, settings.relay.ports, media=own.media)
        self.choice = AddressChoice(own.relays)
        self.discovery = Discovery(own.discovery)
        self.ports: dict[tuple[bytes, TransportProtocol], RelayPorts] = {}
        self._add_ports()
        self.quota = Quota(limits.allocations_per_user, limits.allocations)
        self.logins = FailedLogins()
        self.odd_expiry = False
        """Whether an expiry in milliseconds has been reported."""
        self.swallowed = 0
        """Datagrams of clients to peers that are refused without their being told."""
        self.reflection = ReflectionBudget(limits.reflection_burst, limits.reflection_rate)
        self.deadlines: Deadlines[DeadlineKey] = Deadlines()
        self.retransmissions = Retransmissions()
        self.allocations: dict[FiveTuple, Allocation] = {}
        self.by_relay: dict[RelayId, tuple[Allocation, Relay]] = {}
        self.own_relays = OwnRelays()
        self.own_relays.use_media(own.media)
        self._channels_to: Ways[tuple[int, int]] = Ways(TransportProtocol.UDP)
        """The channels bound to the server's own addresses, by the allocation's serial and the channel's number."""
        self.by_serial: dict[int, Allocation] = {}
        self.by_user: dict[str, set[Allocation]] = {}
        self.unchecked: dict[int, None] = {}
        """The allocations, by serial number, about which the present peer ACL is still to be asked."""
        self.reservations: dict[bytes, Reservation] = {}
        self._by_reserved: dict[RelayId, Reservation] = {}
        self._reserved: dict[str, int] = {}
        self.openings: dict[int, RelayOpening] = {}
        self.opening_relays: dict[RelayId, tuple[RelayOpening, Slot]] = {}
        self.tcp = TcpConnections(self)
        self.moves = Moves(self, TicketSeal(settings.realm, entropy))
        self.commands: list[Command] = []
        self.events: list[Event] = []
        self._relay_serial = 0
        self._allocation_serial = 0

    def use(self, settings: CoreSettings) -> None:
        """Use other settings from now on; those of relay addresses and ports must not change."""
        limits = settings.limits
        self.settings = settings
        self.last_channel = last_channel(settings)
        self.quota.limit(limits.allocations_per_user, limits.allocations)
        self.reflection.limit(limits.reflection_burst, limits.reflection_rate)

    def use_own(self, own: OwnAddresses) -> None:
        """Use other addresses of the server from now on; relays that are open stay, and keep the names that they have.

        The ports of an address that has gone are kept for relays that have some. Channels to an SFU that is gone end.
        """
        held = {RelayAddress(relay.bound.ip, relay.advertised.ip) for relay in self._open_relays()}
        gone = self.own.media_places - own.media_places
        self.own = own.holding(held)
        self.addresses = RelayAddresses(own.relays, self.settings.relay.ports, self.own.former, own.media)
        self.own_relays.use_media(own.media)
        self._end_channels([channel for address in gone for channel in self._channels_to.at(address)])
        self.choice = AddressChoice(own.relays)
        self.discovery = Discovery(own.discovery)
        used = {relay.bound for relay in (*own.relays, *self.own.former)}
        used.update(
            relay.bound for opening in self.openings.values() for slot in opening.slots for relay in slot.addresses
        )
        self.ports = {key: ports for key, ports in self.ports.items() if key[0] in used}
        self._add_ports()

    def _open_relays(self) -> Iterator[Relay]:
        """Every relay that has a port."""
        yield from (relay for _, relay in self.by_relay.values())
        yield from (reservation.relay for reservation in self.reservations.values())
        for opening in self.openings.values():
            for slot in opening.slots:
                yield from (relay for relay in (slot.relay, slot.mate) if relay is not None)

    def _add_ports(self) -> None:
        for relay in self.own.relays:
            for protocol in (TransportProtocol.UDP, TransportProtocol.TCP):
                if (relay.bound, protocol) not in self.ports:
                    self.ports[relay.bound, protocol] = RelayPorts(self.settings.relay.ports, self.entropy)

    # Output

    def command(self, command: Command) -> None:
        """Queue something for the shell to do."""
        self.commands.append(command)

    def event(self, event: Event) -> None:
        """Queue a fact."""
        self.events.append(event)

    def send(self, client: FiveTuple, frame: bytes) -> None:
        """Queue one frame for a client."""
        self.commands.append(SendToClient(client, frame))

    # Allocations

    def allocation(self, client: FiveTuple) -> Allocation | None:
        """The allocation of a 5-tuple, in any state, and that which is moving there."""
        return self.allocations.get(client) or self.moves.by_client.get(client)

    def live(self, client: FiveTuple) -> Allocation | None:
        """The allocation of a 5-tuple if it can carry data."""
        allocation = self.allocations.get(client) or self.moves.by_client.get(client)
        return allocation if allocation is not None and allocation.state is AllocationState.LIVE else None

    def live_allocations(self, user_ids: Collection[str] | None = None) -> list[Allocation]:
        """The live allocations of these users, or all; oldest first."""
        if user_ids is None:
            found = list(self.allocations.values())
        else:
            found = [allocation for user_id in set(user_ids) for allocation in self.by_user.get(user_id, ())]
            found.sort(key=lambda allocation: allocation.serial)
        return [allocation for allocation in found if allocation.state is AllocationState.LIVE]

    def new_allocation(
        self,
        client: FiveTuple,
        credential: Credential,
        now: Now,
        protocol: TransportProtocol = TransportProtocol.UDP,
    ) -> Allocation:
        """Add an allocation that is about to open; its quota has been taken."""
        self._allocation_serial += 1
        allocation = Allocation(self._allocation_serial, client, credential, now.mono, protocol=protocol)
        self.allocations[client] = allocation
        self.by_serial[allocation.serial] = allocation
        self.by_user.setdefault(credential.user_id, set()).add(allocation)
        if client.transport.stream:
            self.descriptors.claim(credential.user_id)
        return allocation

    def end_allocation(self, allocation: Allocation, reason: EndReason, now: Now) -> None:
        """Remove an allocation from every table, close its relays, give its quota back, and queue the event."""
        relays = tuple(relay.id for relay in allocation.relays)
        was_live = allocation.state is AllocationState.LIVE
        for number in list(allocation.channels):
            self.unbind_channel(allocation, number)
        for ip in list(allocation.permissions):
            self._forget_permission(allocation, ip)
        for relay in list(allocation.relays):
            self.drop_relay(allocation, relay, now)
        opening = self.end_opening(allocation)
        for slot in opening.slots if opening is not None else ():
            self.drop_mate(slot, now)
        self.moves.cancel(allocation)
        credential = allocation.credential
        del self.allocations[allocation.client]
        del self.by_serial[allocation.serial]
        mates = self.by_user[credential.user_id]
        mates.remove(allocation)
        if not mates:
            del self.by_user[credential.user_id]
        self.quota.give_back(credential.user_id)
        if allocation.client.transport.stream:
            self.descriptors.disclaim(credential.user_id)
        if was_live:
            duration = now.mono - allocation.created
            refusals, swallowed = allocation.refusals, allocation.swallowed
            self.event(
                AllocationEnded(
                    allocation.client,
                    credential.username,
                    credential.user_id,
                    relays,
                    reason,
                    duration,
                    refusals,
                    swallowed,
                )
            )

    def turn_out(self, allocation: Allocation, reason: EndReason, now: Now) -> None:
        """End an allocation against its client's will, and close its connection; also one to which it is moving."""
        ends = [end for end in (allocation.client, allocation.moving) if end is not None and end.transport.connected]
        self.end_allocation(allocation, reason, now)
        for end in ends:
            self.command(CloseClient(end))

    def route_to(self, allocation: Allocation, client: FiveTuple) -> None:
        """Make ``client`` the client's end of an allocation, also for the routes of its channels (RFC 8016 §3.2.2)."""
        led = [channel for channel in allocation.channels.values() if not channel.swallows]
        for channel in led:
            relay = self._relay_of(allocation, channel.peer.ip)
            if relay is not None:
                self.command(RemoveRoute(allocation.client, channel.number, relay.id))
        allocation.client = client
        for channel in led:
            relay = self._relay_of(allocation, channel.peer.ip)
            if relay is not None and channel.peer.ip in allocation.permissions:
                self._route(allocation, relay, channel)

    def client_left(self, client: FiveTuple, allocation: Allocation, now: Now) -> None:
        """A former client's end is gone; the allocation lives on."""
        self.tcp.client_gone(client, allocation, now)

    def begin_opening(self, opening: RelayOpening, now: Now) -> None:
        """Add an Allocate whose relays are being opened, with a deadline."""
        serial = opening.allocation.serial
        self.openings[serial] = opening
        until = now.mono + self.bounds.opening_timeout
        self.deadlines.set(DeadlineKey(DeadlineKind.OPENING, serial, None), until)

    def end_opening(self, allocation: Allocation) -> RelayOpening | None:
        """Remove and return the Allocate that opens an allocation; None if it has been answered."""
        self.deadlines.remove(DeadlineKey(DeadlineKind.OPENING, allocation.serial, None))
        return self.openings.pop(allocation.serial, None)

    # Relays

    def new_relay(
        self, address: RelayAddress, port: int, protocol: TransportProtocol = TransportProtocol.UDP, *, holder: str = ""
    ) -> Relay:
        """Open a relay of a user on a port that has been taken for it; there is a descriptor for it."""
        self._relay_serial += 1
        bound, advertised = Address(address.bound, port), Address(address.external, port)
        relay = Relay(RelayId(self._relay_serial), bound, advertised, protocol=protocol, holder=holder)
        self.descriptors.take(holder)
        self.command(OpenRelay(relay.id, relay.bound, protocol))
        return relay

    def attach_relay(self, allocation: Allocation, relay: Relay) -> None:
        """Make a relay part of an allocation."""
        allocation.relays.append(relay)
        self.by_relay[relay.id] = (allocation, relay)

    def go_live(self, allocation: Allocation) -> None:
        """An allocation can carry data, and its relays are peers that others may have (rule 16)."""
        allocation.state = AllocationState.LIVE
        for relay in allocation.relays:
            self.own_relays.add(relay)

    def set_relay_expiry(self, allocation: Allocation, relay: Relay, expires: float) -> None:
        """Set the expiry of a relay (RFC 8656 §8.2)."""
        relay.expires = expires
        self.deadlines.set(DeadlineKey(DeadlineKind.RELAY, allocation.serial, relay.id), expires)

    def drop_relay(self, allocation: Allocation, relay: Relay, now: Now) -> None:
        """Close one relay of an allocation, and end permissions, channels and connections of its family."""
        size = len(relay.bound.ip)
        for channel in [channel for channel in allocation.channels.values() if len(channel.peer.ip) == size]:
            self.unbind_channel(allocation, channel.number)
        for ip in [ip for ip in allocation.permissions if len(ip) == size]:
            self._forget_permission(allocation, ip)
        allocation.relays.remove(relay)
        del self.by_relay[relay.id]
        self.opening_relays.pop(relay.id, None)
        self.deadlines.remove(DeadlineKey(DeadlineKind.RELAY, allocation.serial, relay.id))
        self.close_relay(relay, now)  # before its connections, so that no peer connects while they are closed
        for connection in self.tcp.of(allocation, relay):
            self.tcp.close(connection, now)
        self._end_ways_to(relay, now)

    def _end_ways_to(self, relay: Relay, now: Now) -> None:
        """A relay has ended: whatever else gets its port must not be reached by those who were allowed to reach it."""
        self.own_relays.remove(relay)
        self._end_channels(self._channels_to.to(relay))
        self.tcp.close_ways_to(relay, now)

    def _end_channels(self, channels: Iterable[tuple[int, int]]) -> None:
        """End those of these channels that lead to what is refused now."""
        for serial, number in channels:
            allocation = self.by_serial[serial]  # of which all channels go before it does
            if self.refusal(allocation.channels[number].peer, TransportProtocol.UDP):
                self.unbind_channel(allocation, number)

    def lose_relay(self, relay_id: RelayId, now: Now) -> None:
        """An open relay has failed: an allocation ends with its last relay, a reservation with its only one.

        The connection of a client that has one is closed; a datagram client gets 437 for its next request.
        """
        allocation, relay = self.by_relay.get(relay_id, (None, None))
        if allocation is not None and relay is not None:
            if len(allocation.relays) > 1:
                self.drop_relay(allocation, relay, now)
                return
            self.turn_out(allocation, EndReason.RELAY_FAILED, now)
        reservation = self._by_reserved.get(relay_id)
        if reservation is not None:
            self.redeem(reservation.token, reservation.user_id)
            self.close_relay(reservation.relay, now)

    def has_relay(self, relay_id: RelayId) -> bool:
        """Whether a relay is still needed by an allocation, a reservation or an opening."""
        if relay_id in self.by_relay or relay_id in self.opening_relays or relay_id in self._by_reserved:
            return True
        mates = [slot.mate for opening in self.openings.values() for slot in opening.slots if slot.mate is not None]
        return any(relay.id == relay_id for relay in mates)

    def drop_mate(self, slot: Slot, now: Now) -> None:
        """Close the relay that a slot was to reserve, if it has one."""
        if slot.mate is not None:
            self.opening_relays.pop(slot.mate.id, None)
            self.close_relay(slot.mate, now)
            slot.mate = None

    def close_relay(self, relay: Relay, now: Now) -> None:
        """Close a relay's socket, unless it never opened, and free its port."""
        if relay.state is not RelayState.FAILED:
            self.command(CloseRelay(relay.id, relay.protocol))
        self.ports[relay.bound.ip, relay.protocol].give_back(relay.bound.port, now)
        self.descriptors.give_back(relay.holder)

    # Reservations

    def reserve(self, relay: Relay, user_id: str, now: Now) -> bytes:
        """Hold an open relay for ``user_id``; returns the RESERVATION-TOKEN."""
        token = self.entropy(8)
        while token in self.reservations:
            token = self.entropy(8)
        self.reservations[token] = self._by_reserved[relay.id] = Reservation(token, relay, user_id)
        self._reserved[user_id] = self.reserved_by(user_id) + 1
        until = now.mono + self.bounds.reservation_lifetime
        self.deadlines.set(DeadlineKey(DeadlineKind.RESERVATION, 0, token), until)
        return token

    def redeem(self, token: bytes, user_id: str) -> Relay | None:
        """The relay behind a token, once; None if it is unknown, expired or another user's."""
        reservation = self.reservations.get(token)
        if reservation is None or reservation.user_id != user_id:
            return None
        self._forget_reservation(reservation)
        self.deadlines.remove(DeadlineKey(DeadlineKind.RESERVATION, 0, token))
        return reservation.relay

    def reserved_by(self, user_id: str) -> int:
        """How many relays are held for a user."""
        return self._reserved.get(user_id, 0)

    def reservation_expired(self, token: bytes, now: Now) -> None:
        """A reserved relay was not redeemed in time."""
        reservation = self.reservations[token]
        self._forget_reservation(reservation)
        self.close_relay(reservation.relay, now)

    def _forget_reservation(self, reservation: Reservation) -> None:
        del self.reservations[reservation.token]
        del self._by_reserved[reservation.relay.id]
        left = self._reserved.pop(reservation.user_id) - 1
        if left:
            self._reserved[reservation.user_id] = left

    # Permissions and channels

    def refusal(self, peer: Address, protocol: TransportProtocol | None) -> str | None:
        """Why the peer ACL refuses a peer, naming the rule; None if it may be reached with ``protocol``.

        Without a protocol only the address counts, as for a permission. Behind 1:1 NAT, both the address that the
        client uses and that on the wire must be allowed.
        """
        wire = self.addresses.to_wire(peer)
        for address in (peer,) if wire == peer else (peer, wire):
            port = None if protocol is None else address.port
            relayed = protocol is not None and self.own_relays.stands(address, protocol)
            refusal = self.policy.refusal(address.ip, port, relayed=relayed)
            if refusal is not None:
                return refusal
        return None

    def permit(self, allocation: Allocation, relay: Relay, ip: bytes, until: float) -> None:
        """Install or refresh a permission (RFC 8656 §9); a refresh never shortens one."""
        until = max(until, allocation.permissions.get(ip, 0.0))
        allocation.permissions[ip] = until
        self.deadlines.set(DeadlineKey(DeadlineKind.PERMISSION, allocation.serial, ip), until)
        self._tell_permission(allocation, relay, ip)
        if self.settings.peers.strict_permissions:
            for channel in allocation.channels.values():
                if channel.peer.ip == ip and not channel.swallows:
                    self._route(allocation, relay, channel)

    def forbid(self, allocation: Allocation, ip: bytes) -> None:
        """End a permission before its expiry, and the channels to that address with it, but for those to nowhere."""
        for channel in [each for each in allocation.channels.values() if each.peer.ip == ip and not each.swallows]:
            self.unbind_channel(allocation, channel.number)
        self.lapse(allocation, ip)

    def lapse(self, allocation: Allocation, ip: bytes) -> None:
        """A permission has expired; channels to that address stay bound (RFC 8656 §12)."""
        relay = self._relay_of(allocation, ip)
        self._forget_permission(allocation, ip)
        if relay is not None:
            self._tell_permission(allocation, relay, ip)

    def bind_channel(self, allocation: Allocation, relay: Relay, number: int, peer: Address, now: Now) -> None:
        """Bind a channel or refresh it, and the permission with it (RFC 8656 §12.2).

        Unless the strict switch is on, a channel keeps its peer's permission alive until its own expiry (rule 14).
        """
        bounds = self.bounds
        channel = self._bound(allocation, number, peer, now)
        expires = channel.expires
        channel.swallows = False
        if self.policy.depends_on_port(peer.ip):
            self._channels_to.add(peer, (allocation.serial, number))
        if self.settings.peers.strict_permissions:
            self.permit(allocation, relay, peer.ip, now.mono + bounds.permission_lifetime)
        else:
            self.permit(allocation, relay, peer.ip, expires)
            self._route(allocation, relay, channel)

    def bind_to_nothing(self, allocation: Allocation, number: int, peer: Address, now: Now) -> None:
        """Bind a channel, or refresh it, that leads nowhere: the peer is refused, and the client is not told."""
        channel = self._bound(allocation, number, peer, now)
        if not channel.swallows:
            self._unroute(allocation, channel)
            channel.swallows = True

    def swallow(self, allocation: Allocation) -> None:
        """Count a datagram of the client that goes nowhere."""
        allocation.swallowed += 1
        self.swallowed += 1

    def _bound(self, allocation: Allocation, number: int, peer: Address, now: Now) -> Channel:
        """A channel, bound for its lifetime from now on; a new one leads nowhere yet."""
        expires = now.mono + self.bounds.channel_lifetime
        channel = allocation.channels.get(number)
        if channel is None:
            channel = Channel(number, peer, expires, swallows=True)
            allocation.bind(channel)
        channel.expires = expires
        self.deadlines.set(DeadlineKey(DeadlineKind.CHANNEL, allocation.serial, number), expires)
        return channel

    def unbind_channel(self, allocation: Allocation, number: int) -> None:
        """End a channel binding and its route."""
        channel = allocation.unbind(number)
        if channel is None:
            return
        self.deadlines.remove(DeadlineKey(DeadlineKind.CHANNEL, allocation.serial, number))
        if not channel.swallows:
            self._unroute(allocation, channel)

    def _unroute(self, allocation: Allocation, channel: Channel) -> None:
        """A channel leads nowhere any more."""
        self._channels_to.remove(channel.peer, (allocation.serial, channel.number))
        relay = self._relay_of(allocation, channel.peer.ip)
        if relay is not None:
            self.command(RemoveRoute(allocation.client, channel.number, relay.id))

    def _route(self, allocation: Allocation, relay: Relay, channel: Channel) -> None:
        expires = min(channel.expires, allocation.permissions[channel.peer.ip])
        peer = self.addresses.to_wire(channel.peer)
        self.command(AddRoute(Route(allocation.client, channel.number, relay.id, peer, expires)))

    def _relay_of(self, allocation: Allocation, ip: bytes) -> Relay | None:
        return allocation.relay_for(AddressFamily.IPV4 if len(ip) == 4 else AddressFamily.IPV6)

    def _tell_permission(self, allocation: Allocation, relay: Relay, ip: bytes) -> None:
        """Tell the datapath until when datagrams may come from the address on the wire that ``ip`` stands for.

        Two permissions can be for the same address on the wire. TCP relays check each connection (RFC 6062 §5.3).
        """
        if relay.protocol is not TransportProtocol.UDP:
            return
        until = max(allocation.permissions.get(name, 0.0) for name in self.addresses.aliases(ip))
        wire = self.addresses.wire_ip(ip)
        self.command(AllowPeer(relay.id, wire, until) if until else ForbidPeer(relay.id, wire))

    def _forget_permission(self, allocation: Allocation, ip: bytes) -> None:
        if allocation.permissions.pop(ip, None) is not None:
            self.deadlines.remove(DeadlineKey(DeadlineKind.PERMISSION, allocation.serial, ip))

    # Answers

    def answer(self, request: Request, frame: bytes, way: FiveTuple | None = None) -> bool:
        """Send an answer; to an address that may be forged, only within the reflection budget. False if withheld.

        ``way`` is another socket of the server's, or another port of the client's, to send it from and to (RFC 5780).
        """
        client = request.client
        if request.credential is None and not client.transport.proven:
            if not self.reflection.spend(client.address.ip, request.size, len(frame), request.now):
                self.event(AnswerWithheld(client))
                return False
        self.send(way or client, frame)
        return True

    def keep_answer(self, key: TransactionKey, answer: bytes, now: Now) -> None:
        """Keep an answer for as long as its client may retransmit the request."""
        for forgotten in self.retransmissions.keep(key, answer):
            self.deadlines.remove(DeadlineKey(DeadlineKind.RETRANSMISSION, 0, forgotten))
        until = now.mono + self.bounds.retransmission_lifetime
        self.deadlines.set(DeadlineKey(DeadlineKind.RETRANSMISSION, 0, key), until)
