"""`ClientCore`: a TURN client, frames and the time in, frames and events out (RFC 8656, RFC 6062).

Every method that takes ``now`` may produce frames and events: call `ClientCore.frames` and `ClientCore.events` after
it. `ClientCore.deadline` is when to call `ClientCore.expire` if nothing else happens. A request is a
`stun.client.requests.ClientRequest`, which has its outcome once there is a `RequestDone` event for it.

`stun.client.requests` has requests and their authentication, `stun.client.holdings` the state at the server and its
expiry, and this module connects the two.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeVar

from stun import channeldata
from stun.address import Address
from stun.attributes import (
    ADDITIONAL_ADDRESS_FAMILY,
    CHANNEL_NUMBER,
    CONNECTION_ID,
    DATA,
    DONT_FRAGMENT,
    EVEN_PORT,
    ICMP,
    LIFETIME,
    MOBILITY_TICKET,
    REGISTRY,
    REQUESTED_ADDRESS_FAMILY,
    REQUESTED_TRANSPORT,
    RESERVATION_TOKEN,
    XOR_PEER_ADDRESS,
    AttributeType,
)
from stun.client.answers import (
    read_allocation,
    read_connection,
    read_constant,
    read_lifetime,
    read_mapped,
    read_message,
    read_nothing,
)
from stun.client.authentication import AuthSession, Login
from stun.client.confirmation import Confirmation, nobody
from stun.client.errors import ClientError, InvalidAnswer, NoAllocation, NotPermitted
from stun.client.events import (
    AllocationGrant,
    ClientEvent,
    ConnectionAttempt,
    PeerData,
    PeerError,
    RequestDone,
)
from stun.client.holdings import RETRY_AFTER, HeldChannel, Holdings
from stun.client.outcomes import code, error_of, retry, sent_at, succeeded, ticket_of
from stun.client.requests import Attribute, ClientRequest, Entropy, FinalResponse, RequestOptions, Requests
from stun.constants import (
    CHANNEL_MAX_RFC5766,
    TRANSACTION_ID_LENGTH,
    AddressFamily,
    ErrorCode,
    MessageClass,
    Method,
    TransportProtocol,
)
from stun.demux import CHANNEL_BITS, KIND_BITS
from stun.errors import MalformedMessage
from stun.message import Message, MessageBuilder

__all__ = ["ClientCore", "ClientOptions"]

T = TypeVar("T")

PERMISSIONS_AT_ONCE: Final = 32
"""Addresses in one CreatePermission: 768 bytes at most, so that it fits every path's MTU."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientOptions(RequestOptions):
    """Options of a client, in addition to those of its requests.

    ``automatic`` renews allocation, permissions and channels in time, and keeps NAT bindings on the path to the server
    alive: over UDP, after ``keepalive`` seconds without anything sent, by a Binding indication (None: never).
    ``check_permissions`` refuses to send to peers without a permission and drops data from them (RFC 8656 §11.4).
    ``queue`` is how many datagrams are kept for `ClientCore.events`; the newest are dropped.
    """

    automatic: bool = True
    keepalive: float | None = 20.0
    check_permissions: bool = True
    queue: int = 1024


class ClientCore:
    """One client 5-tuple, with at most one allocation.

    ``entropy(n)`` gives n random bytes; ``now`` is seconds on the caller's monotonic clock; ``reliable`` is for streams
    (no retransmissions, ChannelData padded). ``allocation`` is what the server has granted, None without an
    allocation.
    """

    def __init__(
        self,
        entropy: Entropy,
        *,
        login: Login | None = None,
        reliable: bool = False,
        options: ClientOptions | None = None,
    ) -> None:
        self.options = options or ClientOptions()
        self.reliable = reliable
        self.dropped = 0
        """Number of datagrams from peers that were dropped because the queue was full."""
        self._entropy = entropy
        self._requests = Requests(entropy, login=login, reliable=reliable, options=self.options)
        self._holdings = Holdings(renewing=self.options.automatic)
        self._purposes: dict[ClientRequest[Any], Callable[[float], None]] = {}
        self._internal: set[ClientRequest[Any]] = set()
        self._frames: list[bytes] = []
        self._events: list[ClientEvent] = []
        self._queued = 0
        self._lifetime: int | None = None
        self._last_sent = 0.0
        self._confirmation = Confirmation()

    @property
    def allocation(self) -> AllocationGrant | None:
        """The present allocation as the server has granted it; None without one."""
        return self._holdings.allocation

    @property
    def session(self) -> AuthSession | None:
        """The session of the server's last challenge; None before the first one."""
        return self._requests.session

    @property
    def transmissions(self) -> int:
        """Number of requests sent, retransmissions included."""
        return self._requests.transmissions

    # Requests

    def request(
        self, method: int, attributes: Sequence[Attribute], now: float, *, authenticated: bool = True
    ) -> ClientRequest[Message]:
        """Begin any request, and do not use its answer: for tools that examine a server, and for tests."""
        request = self._requests.begin(method, attributes, now, read=read_message, authenticated=authenticated)
        self._settle(now)
        return request

    def binding(self, now: float) -> ClientRequest[Address]:
        """Ask for the server-reflexive address (RFC 8489 §2), without credentials."""
        request = self._requests.begin(Method.BINDING, (), now, read=read_mapped, authenticated=False)
        self._settle(now)
        return request

    def allocate(
        self,
        now: float,
        *,
        protocol: TransportProtocol = TransportProtocol.UDP,
        family: AddressFamily | None = None,
        additional_family: AddressFamily | None = None,
        even_port: bool | None = None,
        reservation: bytes | None = None,
        lifetime: int | None = None,
        dont_fragment: bool = False,
        mobile: bool = False,
    ) -> ClientRequest[AllocationGrant]:
        """Allocate a relay (RFC 8656 §7.1, RFC 6062 §4.1); without ``family`` the server chooses.

        ``even_port`` asks for an even port, True for the next one to be reserved, too; ``reservation`` is the token of
        such a port. ``lifetime`` is in seconds, here and in later renewals. ``dont_fragment`` asks whether the server
        can set DF. ``mobile`` asks for a ticket, with which the allocation can `move`; a server that forbids it says
        405, and one that does not know it gives none.
        """
        wanted: list[Attribute] = [(REQUESTED_TRANSPORT, int(protocol))]
        optional: list[tuple[AttributeType[Any], Any]] = [
            (REQUESTED_ADDRESS_FAMILY, family),
            (ADDITIONAL_ADDRESS_FAMILY, additional_family),
            (EVEN_PORT, even_port),
            (RESERVATION_TOKEN, reservation),
            (LIFETIME, lifetime),
            (DONT_FRAGMENT, dont_fragment or None),
            (MOBILITY_TICKET, b"" if mobile else None),
        ]
        wanted += [(spec, value) for spec, value in optional if value is not None]
        families = {each for each in (family, additional_family) if each is not None}
        if additional_family is not None and family is None:
            families.add(AddressFamily.IPV4)  # RFC 8656 §7.2: the first of a dual allocation
        return self._begin(
            Method.ALLOCATE,
            wanted,
            now,
            partial(read_allocation, protocol, families),
            partial(self._allocated, lifetime),
        )

    def refresh(self, now: float, lifetime: int | None = None) -> ClientRequest[int]:
        """Refresh the allocation, or delete it with 0; the lifetime granted, in seconds (RFC 8656 §8)."""
        wanted: list[Attribute] = [] if lifetime is None else [(LIFETIME, lifetime)]
        return self._begin(Method.REFRESH, wanted, now, read_lifetime, partial(self._refreshed, lifetime))

    def move(self, former: "ClientCore", now: float) -> ClientRequest[int]:
        """Take the allocation of ``former`` over to this 5-tuple, permissions and channels included (RFC 8016 §3.2.1).

        Until that is done, ``former`` goes on as before; then it has no allocation any more. The lifetime granted, in
        seconds. Raises `NoAllocation` if there is no ticket.
        """
        ticket = former._holdings.ticket
        if ticket is None:
            raise NoAllocation("There is no allocation that can be moved: it was not made with mobile=True.")
        self._requests.session = self._requests.session or former.session
        self._lifetime = former._lifetime
        wanted: list[Attribute] = [(MOBILITY_TICKET, ticket)]
        wanted += [] if self._lifetime is None else [(LIFETIME, self._lifetime)]
        return self._begin(Method.REFRESH, wanted, now, read_lifetime, partial(self._moved, former))

    def create_permission(self, peers: Iterable[Address], now: float) -> ClientRequest[None]:
        """Permit the addresses of some peers; their ports do not matter (RFC 8656 §10)."""
        ips = tuple(dict.fromkeys(peer.ip for peer in peers))
        wanted = [(XOR_PEER_ADDRESS, Address(ip, 0)) for ip in ips]
        return self._begin(Method.CREATE_PERMISSION, wanted, now, read_nothing, partial(self._permitted, ips))

    def bind_channel(self, peer: Address, now: float, number: int | None = None) -> ClientRequest[int]:
        """Bind a channel to a peer, or bind it again, which permits its address, too (RFC 8656 §12); its number.

        Raises ValueError for an invalid number or one of another peer, `NoAllocation` when no number is left.
        """
        channel = self._holdings.reserve(peer, number, now)
        wanted: list[Attribute] = [(CHANNEL_NUMBER, channel.number), (XOR_PEER_ADDRESS, peer)]
        request = self._begin(
            Method.CHANNEL_BIND, wanted, now, partial(read_constant, channel.number), partial(self._bound, channel)
        )
        channel.pending = True
        return request

    def connect(self, peer: Address, now: float) -> ClientRequest[int]:
        """Have the server connect to a peer over TCP; the CONNECTION-ID (RFC 6062 §4.3)."""
        return self._begin(Method.CONNECT, [(XOR_PEER_ADDRESS, peer)], now, read_connection, self._answered)

    def bind_connection(self, connection: int, now: float) -> ClientRequest[None]:
        """Make this new 5-tuple the data connection of a peer connection (RFC 6062 §4.3); its frames end here."""
        return self._begin(Method.CONNECTION_BIND, [(CONNECTION_ID, connection)], now, read_nothing, self._answered)

    def cancel(self, request: ClientRequest[Any], now: float) -> None:
        """Cancel a request; its effects at the server remain."""
        self._requests.cancel(request)
        self._settle(now)

    def forget(self, peer: Address, now: float) -> None:
        """Stop renewing the channel and the permission of a peer; they expire, because no request deletes them."""
        self._holdings.forget(peer, now)

    # Data

    def send(self, peer: Address, data: bytes, now: float, *, dont_fragment: bool = False) -> None:
        """Send a datagram to a peer: as ChannelData where a channel is bound, in a Send indication otherwise.

        Raises `NoAllocation` without an allocation, `NotPermitted` without a permission, and
        `stun.errors.EncodeError` for data that is too long.
        """
        allocation = self._holdings.allocation
        if allocation is None or allocation.protocol != TransportProtocol.UDP:
            raise NoAllocation("There is no allocation that relays datagrams.")
        number = None if dont_fragment else self._holdings.channel_to(peer, now)
        if number is not None:
            self.send_channel(number, data, now)
        elif self.options.check_permissions and not self._holdings.is_permitted(peer.ip, now):
            raise NotPermitted(f"There is no permission for {peer.host}: the server would drop what is sent there.")
        else:
            self.send_indication(peer, data, now, dont_fragment=dont_fragment)

    def send_indication(self, peer: Address, data: bytes, now: float, *, dont_fragment: bool = False) -> None:
        """Send a datagram in a Send indication (RFC 8656 §11.1), whatever the client knows about the peer."""
        builder = self._indication(Method.SEND).add(XOR_PEER_ADDRESS, peer).add(DATA, data)
        if dont_fragment:
            builder.add(DONT_FRAGMENT, True)
        self._send(builder.build(), now)

    def send_channel(self, number: int, data: bytes, now: float) -> None:
        """Send a datagram as ChannelData (RFC 8656 §12.5), whatever the client knows about the channel."""
        self._send((channeldata.encode_padded if self.reliable else channeldata.encode)(number, data), now)

    # Inputs

    def receive(self, frame: bytes, now: float) -> None:
        """Process one frame from the server; never raises for its content."""
        try:
            if frame and frame[0] & KIND_BITS == CHANNEL_BITS:
                self._channel_data(frame, now)
                return
            message = Message.decode(frame)
            if message.message_class is MessageClass.INDICATION:
                self._indicated(message, now)
            elif message.message_class is not MessageClass.REQUEST and self._requests.receive(message, now):
                self._settle(now)
        except MalformedMessage as error:
            self._requests.malformed(error)

    def expire(self, now: float) -> None:
        """Handle everything that is due at ``now``: retransmissions, timeouts, expiries and renewals."""
        self._requests.expire(now)
        self._settle(now)
        self._events += self._holdings.lapse(now)
        self._confirm(now)
        if self.options.automatic and self._holdings.allocation is not None:
            self._renew(now)
            if self._keepalive_due() <= now:
                self._send(self._indication(Method.BINDING).fingerprint().build(), now)

    def unreachable(self, error: ClientError, now: float) -> None:
        """The server is unreachable: that is the outcome of every pending request. The state at the server remains.

        A connection that has ended is `lost`.
        """
        self._requests.fail_all(error)
        self._settle(now)

    def lost(self, error: ClientError, now: float) -> None:
        """The connection to the server has ended, and the allocation with it (RFC 8656 §3.1)."""
        self._events += self._holdings.lost(error)
        self.unreachable(error, now)

    # Outputs

    def frames(self) -> list[bytes]:
        """Hand over, in order, what to send to the server."""
        frames, self._frames = self._frames, []
        return frames

    def events(self) -> list[ClientEvent]:
        """Hand over, in order, what has happened."""
        events, self._events = self._events, []
        self._queued = 0
        return events

    def deadline(self) -> float | None:
        """When `expire` must be called; None while nothing has a deadline."""
        moments = [self._requests.deadline(), self._holdings.deadline(), self._confirmation.deadline()]
        if self.options.automatic and self._holdings.allocation is not None:
            moments.append(self._keepalive_due())
        return min((moment for moment in moments if moment is not None and moment < float("inf")), default=None)

    # Inside: requests

    def _begin(
        self,
        method: int,
        attributes: Sequence[Attribute],
        now: float,
        read: Callable[[Message], T],
        purpose: Callable[[ClientRequest[T], float], object],
    ) -> ClientRequest[T]:
        """Begin a request of the caller; ``purpose`` is called when it is done, unless the allocation has changed."""
        request = self._requests.begin(method, attributes, now, read=read)
        self._purposes[request] = partial(self._done, self._holdings.generation, purpose, request)
        self._settle(now)
        return request

    def _settle(self, now: float) -> None:
        """Collect the requests' frames to send, and handle those that are done."""
        frames = self._requests.frames()
        if frames:
            self._frames += frames
            self._last_sent = now
        for request in self._requests.finished():
            purpose = self._purposes.pop(request, None)
            if purpose is not None:
                purpose(now)
            if request in self._internal:
                self._internal.discard(request)
            else:
                self._events.append(RequestDone(request))

    def _done(
        self,
        generation: int,
        purpose: Callable[[ClientRequest[T], float], object],
        request: ClientRequest[T],
        now: float,
    ) -> None:
        if generation == self._holdings.generation:
            purpose(request, now)

    def _allocated(self, lifetime: int | None, request: ClientRequest[AllocationGrant], now: float) -> None:
        if isinstance(request.outcome, InvalidAnswer):
            # RFC 8656 §7.3: an allocation that cannot be used has to be deleted.
            self._internally(Method.REFRESH, [(LIFETIME, 0)], now, read_nothing, self._answered)
        elif succeeded(request):
            self._lifetime = lifetime
            self._holdings.opened(request.result(), sent_at(request, now), ticket_of(request))

    def _moved(self, former: "ClientCore", request: ClientRequest[int], now: float) -> None:
        if succeeded(request):
            self._holdings, former._holdings = former._holdings, former._holdings.successor()
            self._holdings.moved()
            self._refreshed(None, request, now)
            if self.options.automatic:
                self._confirmation.begin(now)
                self._confirm(now)
        else:
            former._answered(request, now)

    def _confirm(self, now: float) -> None:
        """The server sends here once it has had data from here (RFC 8016 §3.2.2): these, which are for nobody."""
        allocation = self._holdings.allocation
        if allocation is None or allocation.protocol != TransportProtocol.UDP:
            self._confirmation.end()
        elif self._confirmation.due(now):
            self.send_indication(nobody(allocation.address.family), b"", now)

    def _refreshed(self, lifetime: int | None, request: ClientRequest[int], now: float) -> None:
        if succeeded(request):
            granted = request.result()
            if granted:
                self._holdings.refreshed(granted, sent_at(request, now), ticket_of(request))
            else:
                self._holdings.closed()
        elif lifetime == 0 and code(request) == ErrorCode.ALLOCATION_MISMATCH:
            self._holdings.closed()
        else:
            self._answered(request, now)

    def _permitted(self, ips: tuple[bytes, ...], request: ClientRequest[None], now: float) -> None:
        if self._holdings.allocation is not None and succeeded(request):
            for ip in ips:
                self._holdings.permitted(ip, sent_at(request, now))
        else:
            self._answered(request, now)

    def _bound(self, channel: HeldChannel, request: ClientRequest[int], now: float) -> None:
        channel.pending = False
        if succeeded(request):
            self._holdings.bound(channel, sent_at(request, now))
        elif not self._answered(request, now):
            refused = isinstance(request.outcome, FinalResponse)
            if channel.until <= now or refused:
                self._events += self._holdings.unbound(channel, now, error_of(request), known=refused)
            else:
                channel.renew = now + RETRY_AFTER
                self._holdings.changed()

    def _answered(self, request: ClientRequest[Any], now: float) -> bool:
        """True if the server says that there is no allocation, which is then lost (RFC 8656 §8.3 and elsewhere)."""
        if code(request) != ErrorCode.ALLOCATION_MISMATCH:
            return False
        self._events += self._holdings.lost(error_of(request))
        return True

    # Inside: renewal

    def _renew(self, now: float) -> None:
        holdings = self._holdings
        if holdings.life.is_due(now) and len(self._requests) >= self.options.limit:
            holdings.life.renew = now + RETRY_AFTER
        elif holdings.life.is_due(now):
            holdings.life.pending = True
            wanted: list[Attribute] = [] if self._lifetime is None else [(LIFETIME, self._lifetime)]
            self._internally(Method.REFRESH, wanted, now, read_lifetime, self._life_renewed)
        due = holdings.due_permissions(now)
        for at in range(0, len(due), PERMISSIONS_AT_ONCE):
            self._renew_permissions(tuple(due[at : at + PERMISSIONS_AT_ONCE]), now)
        for channel in holdings.due_channels(now):
            if not self._has_room():
                channel.renew = now + RETRY_AFTER
                continue
            channel.pending = True
            wanted = [(CHANNEL_NUMBER, channel.number), (XOR_PEER_ADDRESS, channel.peer)]
            self._internally(
                Method.CHANNEL_BIND, wanted, now, partial(read_constant, channel.number), partial(self._bound, channel)
            )
        holdings.changed()

    def _renew_permissions(self, ips: tuple[bytes, ...], now: float) -> None:
        for ip in ips:
            self._holdings.permissions[ip].pending = True
        if not self._has_room():
            self._put_off(ips, now)
            return
        wanted = [(XOR_PEER_ADDRESS, Address(ip, 0)) for ip in ips]
        self._internally(Method.CREATE_PERMISSION, wanted, now, read_nothing, partial(self._permissions_renewed, ips))

    def _internally(
        self,
        method: int,
        attributes: Sequence[Attribute],
        now: float,
        read: Callable[[Message], T],
        purpose: Callable[[ClientRequest[T], float], object],
    ) -> None:
        """Begin a request of the client itself, without an event when it is done."""
        request = self._requests.begin(method, attributes, now, read=read)
        self._purposes[request] = partial(self._done, self._holdings.generation, purpose, request)
        self._internal.add(request)
        self._settle(now)

    def _life_renewed(self, request: ClientRequest[int], now: float) -> None:
        self._holdings.life.pending = False
        if succeeded(request):
            self._refreshed(None, request, now)
        elif not self._answered(request, now):
            self._holdings.trouble = error_of(request)
            self._holdings.life.renew = now + retry(request)
            self._holdings.changed()

    def _permissions_renewed(self, ips: tuple[bytes, ...], request: ClientRequest[None], now: float) -> None:
        """One request permits all or none (RFC 8656 §10.2): when it is refused, each is requested separately."""
        held = [ip for ip in ips if ip in self._holdings.permissions]
        if succeeded(request):
            for ip in held:
                self._holdings.permitted(ip, sent_at(request, now))
        elif self._answered(request, now):
            return
        elif not isinstance(request.outcome, FinalResponse):
            self._put_off(held, now)
        elif len(ips) > 1:
            for ip in held:
                self._renew_permissions((ip,), now)
        else:
            for ip in held:
                self._events += self._holdings.forbidden(ip, error_of(request))

    def _put_off(self, ips: Iterable[bytes], now: float) -> None:
        for ip in ips:
            held = self._holdings.permissions[ip]
            held.pending, held.renew = False, now + RETRY_AFTER
        self._holdings.changed()

    def _has_room(self) -> bool:
        """Renewals of permissions and channels leave half of the concurrent requests to the caller."""
        return len(self._requests) < max(1, self.options.limit // 2)

    def _keepalive_due(self) -> float:
        if self.options.keepalive is None or self.reliable:
            return float("inf")
        return self._last_sent + self.options.keepalive

    # Inside: data

    def _indication(self, method: Method) -> MessageBuilder:
        return MessageBuilder(method, MessageClass.INDICATION, self._entropy(TRANSACTION_ID_LENGTH))

    def _send(self, frame: bytes, now: float) -> None:
        self._frames.append(frame)
        self._last_sent = now

    def _channel_data(self, frame: bytes, now: float) -> None:
        """RFC 8656 §12.6: data on a channel that is not bound is dropped."""
        number, data = channeldata.decode(frame, CHANNEL_MAX_RFC5766)
        peer = self._holdings.peer_of(number, now)
        if peer is not None:
            self._queue(PeerData(peer, bytes(data), number))

    def _indicated(self, message: Message, now: float) -> None:
        """RFC 8656 §11.4, §11.6, RFC 6062 §4.4: indications that are incomplete or not understood are dropped."""
        peer = message.first(XOR_PEER_ADDRESS)
        if peer is None or message.unknown_required(REGISTRY):
            return
        if message.method == Method.CONNECTION_ATTEMPT:
            number = message.first(CONNECTION_ID)
            if number is not None:
                self._queue(ConnectionAttempt(peer, number))
            return
        if message.method != Method.DATA:
            return
        if self.options.check_permissions and not self._holdings.is_permitted(peer.ip, now):
            return
        icmp, data = message.first(ICMP), message.first(DATA)
        if icmp is not None:
            self._queue(PeerError(peer, icmp))
        elif data is not None:
            self._queue(PeerData(peer, data))

    def _queue(self, event: PeerData | PeerError | ConnectionAttempt) -> None:
        self._confirmation.end()
        if self._queued >= self.options.queue:
            self.dropped += 1
            return
        self._queued += 1
        self._events.append(event)
