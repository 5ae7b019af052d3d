"""A second opinion on the core: what the clients have been told, and what follows from it.

The oracle never looks inside the core. It reads the requests that went in and the answers that came out, remembers
which allocations, permissions and channels a client has been told it has, and until when; from that alone it says
which answers are right, what may be relayed, and what the shell must have open. Checks that refuse a request are a
*set* of reasons here, so that only the order that an RFC fixes is asked of the core.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from auth.nonce import NonceIssuer, NonceStatus
from auth.types import Credential
from stun import attributes as a
from stun.address import Address
from stun.attributes import AttributeType
from stun.constants import ErrorCode, MessageClass, Method, PasswordAlgorithm
from stun.errors import MalformedMessage
from stun.integrity import verify, verify_sha256
from stun.message import Message
from tests.support.core_cast import (
    BOUND,
    BY_HASH,
    DENIED_IPS,
    LISTENER_IPS,
    NEVER_IPS,
    OWN_IPS,
    PRIVATE_IPS,
    REAL,
    Account,
    Setup,
)
from tests.support.core_world import RELAY, RELAY6, SERVER
from turnserver.core.types import ClientTransport, FiveTuple, Now

__all__ = ["METHODS", "OFFERED", "SUCCESS", "Key", "Oracle", "Reservation", "Told", "Verdict", "unknown_in"]

SUCCESS: Final = 0
"""Stands for a success response wherever an error code could."""

_UNDERSTOOD: Final = frozenset(
    {0x0001, 0x0006, 0x0008, 0x0009, 0x000A, 0x000C, 0x000D, 0x0012, 0x0013, 0x0014, 0x0015}
    | {0x0016, 0x0017, 0x0018, 0x0019, 0x001A, 0x001C, 0x001D, 0x001E, 0x0020, 0x0022}
)
"""Comprehension-required attributes of RFC 8489 and RFC 8656 that a TURN server over UDP acts on, or may see."""


def unknown_in(message: Message) -> tuple[int, ...]:
    """What gets 420. A CHANGE-REQUEST without flags (4 and 2) asks for nothing, so it is as if it were not there.

    Raises `MalformedMessage` if that is not four bytes.
    """
    unknown = message.unknown_required(_UNDERSTOOD)
    changes = [raw.value for raw in message.meaningful if raw.type == 0x0003]
    if changes and len(changes[0]) != 4:
        raise MalformedMessage("CHANGE-REQUEST is four bytes")
    absent = changes and not changes[0][3] & 6
    return tuple(number for number in unknown if number != 0x0003 or not absent)


OFFERED: Final = (a.AlgorithmValue(PasswordAlgorithm.SHA256), a.AlgorithmValue(PasswordAlgorithm.MD5))
METHODS: Final = frozenset(
    {Method.BINDING, Method.ALLOCATE, Method.REFRESH, Method.CREATE_PERMISSION, Method.CHANNEL_BIND}
)

Key = tuple[FiveTuple, bytes]


# What clients have been told


@dataclass(eq=False)
class Told:
    """An allocation as its client knows it. Relays by the size of their address: advertised address and expiry."""

    account: Account
    relays: dict[int, tuple[Address, float]] = field(default_factory=dict)
    permissions: dict[bytes, float] = field(default_factory=dict)
    channels: dict[int, tuple[Address, float]] = field(default_factory=dict)
    dead: set[int] = field(default_factory=set)
    """The channels that lead nowhere, because their peers are refused and the client is not told."""
    mobile: bool = False
    moving: FiveTuple | None = None
    """From where its client has used a ticket, and has not sent data yet."""
    has_moved: bool = False
    answered: Key | None = None
    """The last Refresh with a ticket."""
    issued: int = 0
    spent: int = 0
    """Tickets: how many there have been, and up to which they cannot be used any more."""

    def drop_family(self, size: int) -> None:
        """A relay has gone, and all that its family had."""
        del self.relays[size]
        self.permissions = {ip: until for ip, until in self.permissions.items() if len(ip) != size}
        self.channels = {number: bound for number, bound in self.channels.items() if len(bound[0].ip) != size}


@dataclass(frozen=True)
class Reservation:
    """A relay behind a RESERVATION-TOKEN."""

    relayed: Address
    user_id: str
    until: float


@dataclass(frozen=True)
class Issued:
    """A ticket: whose it is, which one, and its end in milliseconds."""

    told: Told
    number: int
    until: int


@dataclass(frozen=True)
class Verdict:
    """Which answers to a request are right. ``key`` and ``kind`` are those of its integrity, if it is genuine."""

    codes: frozenset[int]
    account: Account | None = None
    key: bytes | None = None
    kind: AttributeType[bytes] | None = None
    lookup: bool = False
    """It cannot be said before the source has been asked."""


def _only(*codes: int) -> Verdict:
    return Verdict(frozenset(codes))


class Oracle:
    """See the module's text."""

    def __init__(self, setup: Setup, nonces: NonceIssuer) -> None:
        self.setup = setup
        self.nonces = nonces
        self.policy = "default"
        self.allocations: dict[FiveTuple, Told] = {}
        self.opening: dict[FiveTuple, tuple[bytes, Account]] = {}
        self.reservations: dict[bytes, Reservation] = {}
        self.kept: dict[Key, tuple[bytes, float]] = {}
        self.banned: set[str] = set()
        self.tickets: dict[bytes, Issued] = {}

    # Who is where

    def told_of(self, client: FiveTuple) -> Told | None:
        """The allocation that requests and data from a client are about: its own, or one that is moving to it."""
        moving = next((told for told in self.allocations.values() if told.moving == client), None)
        return self.allocations.get(client) or moving

    def home_of(self, told: Told) -> FiveTuple | None:
        """Where the server sends what comes from peers; None for an allocation that has ended."""
        return next((client for client, other in self.allocations.items() if other is told), None)

    def data_on(self, client: FiveTuple) -> None:
        """Data has come from a client: what is moving there has arrived (RFC 8016 §3.2.2)."""
        told = self.told_of(client)
        if told is not None and told.moving == client:
            self._arrived(told, client)

    def _arrived(self, told: Told, client: FiveTuple) -> None:
        home = self.home_of(told)
        assert home is not None
        del self.allocations[home]
        self.allocations[client] = told
        told.moving, told.has_moved = None, True

    def _ticket(self, told: Told, answer: Message) -> None:
        """RFC 8016 §3.1.2, §3.2.2: a success response for a mobile allocation has a ticket that was never seen."""
        ticket = answer.first(a.MOBILITY_TICKET)
        assert (ticket is not None) == (told.mobile and bool(told.relays))
        if ticket is not None:
            assert ticket not in self.tickets
            told.issued += 1
            until = max(expires for _, expires in told.relays.values())
            self.tickets[ticket] = Issued(told, told.issued, round(until * 1000))

    # Time

    def turn_to(self, now: Now) -> None:
        """Forget all that has run out; a channel that is bound again is judged again."""
        self.reservations = {token: held for token, held in self.reservations.items() if held.until > now.mono}
        self.kept = {key: kept for key, kept in self.kept.items() if kept[1] > now.mono}
        for client, told in list(self.allocations.items()):
            for size, (_, expires) in list(told.relays.items()):
                if expires <= now.mono:
                    told.drop_family(size)
            if not told.relays:
                del self.allocations[client]
            told.permissions = {ip: until for ip, until in told.permissions.items() if until > now.mono}
            told.channels = {number: bound for number, bound in told.channels.items() if bound[1] > now.mono}
        self.end_ways()

    # Addresses

    def to_wire(self, peer: Address) -> Address:
        """Where a peer that a client names is reached."""
        hairpin = self.setup.mapped and peer.ip == RELAY and peer.port in self.setup.ports
        return Address(BOUND, peer.port) if hairpin else peer

    def to_client(self, wire: Address) -> Address:
        """How a client knows a peer that a datagram came from."""
        hairpin = self.setup.mapped and wire.ip == BOUND and wire.port in self.setup.ports
        return Address(RELAY, wire.port) if hairpin else wire

    def wire_ip(self, ip: bytes) -> bytes:
        """Where datagrams come from that a permission for ``ip`` lets in."""
        return BOUND if self.setup.mapped and ip == RELAY else ip

    def is_own(self, ip: bytes) -> bool:
        """True for the server's own addresses, where it depends on the port."""
        return ip in OWN_IPS or (self.setup.mapped and ip == BOUND)

    def forbidden(self, peer: Address, *, with_port: bool) -> bool:
        """Rule 16 for the peers that there are, written down by hand."""
        ip = peer.ip
        if with_port and peer.port == SERVER.port and ip in LISTENER_IPS:
            return True
        if ip in PRIVATE_IPS or ip == BOUND:
            if self.policy == "allow":
                return False
            if ip != BOUND or not self.setup.mapped:
                return True
        if self.is_own(ip):
            return with_port and not self.is_relay(peer)
        return ip in NEVER_IPS or (self.policy == "deny" and ip in DENIED_IPS)

    def is_relay(self, peer: Address) -> bool:
        """True where a live relay of somebody's stands."""
        name = self.to_client(peer).canonical()
        return any(name == relayed for told in self.allocations.values() for relayed, _ in told.relays.values())

    def end_ways(self) -> None:
        """A relay that has ended takes the channels to it along, unless the ACL allows its address and every port."""
        for told in self.allocations.values():
            told.channels = {
                number: bound
                for number, bound in told.channels.items()
                if number in told.dead or not (self.is_own(bound[0].ip) and self.forbidden(bound[0], with_port=True))
            }

    def may_send(self, told: Told, peer: Address) -> bool:
        """True if a live permission, and the ACL where it depends on the port, let a datagram through."""
        return peer.ip in told.permissions and not (self.is_own(peer.ip) and self.forbidden(peer, with_port=True))

    # Which answer is right

    def judge(
        self, client: FiveTuple, message: Message, now: Now, found: Sequence[Credential] | None = None
    ) -> Verdict:
        """What a request deserves; ``found`` is what the source has said about it, once it has been asked."""
        if message.method == Method.BINDING:
            try:
                return _only(ErrorCode.UNKNOWN_ATTRIBUTE if unknown_in(message) else SUCCESS)
            except MalformedMessage:
                return _only(ErrorCode.BAD_REQUEST)
        try:
            verdict = self._authenticate(client, message, now, found)
        except MalformedMessage:
            return _only(ErrorCode.BAD_REQUEST)
        if verdict.codes or verdict.account is None:
            return verdict
        codes = self._codes(client, message, now, verdict.account)
        return Verdict(frozenset(codes or {SUCCESS}), verdict.account, verdict.key, verdict.kind)

    def _authenticate(
        self, client: FiveTuple, message: Message, now: Now, found: Sequence[Credential] | None
    ) -> Verdict:
        """RFC 8489 §9.2.4, in its order."""
        kinds = (a.MESSAGE_INTEGRITY_SHA256, a.MESSAGE_INTEGRITY)
        kind = next((kind for kind in kinds if message.has(kind)), None)
        if kind is None:
            return _only(ErrorCode.UNAUTHENTICATED)
        name, digest = message.first(a.USERNAME), message.first(a.USERHASH)
        nonce = message.first(a.NONCE)
        if (name is None and digest is None) or nonce is None or message.first(a.REALM) is None:
            return _only(ErrorCode.BAD_REQUEST)
        chosen, offered = message.first(a.PASSWORD_ALGORITHM), message.first(a.PASSWORD_ALGORITHMS)
        told_features = nonce[:13] == b"obMatJos2gAAA"
        if not told_features:
            chosen, offered = None, None
        if (chosen is None) != (offered is None) or (offered is not None and offered != OFFERED):
            return _only(ErrorCode.BAD_REQUEST)
        if chosen is not None and chosen not in OFFERED:
            return _only(ErrorCode.BAD_REQUEST)
        account = REAL.get(name) if name is not None else BY_HASH.get(digest or b"")
        fresh = self.nonces.check(nonce, client.address.pack(), now.wall) is NonceStatus.VALID
        if (
            account is not None
            and account.slow
            and found is None
            and not self._remembered(client, account, name, self._meant(message))
        ):
            if fresh:
                return Verdict(frozenset(), lookup=True)
            return _only(ErrorCode.STALE_NONCE)
        if account is None or found == () or account.user_id in self.banned:
            return _only(ErrorCode.UNAUTHENTICATED)
        key = account.keys[PasswordAlgorithm.MD5 if chosen is None else chosen.number]
        genuine = verify_sha256(message, key) if kind is a.MESSAGE_INTEGRITY_SHA256 else verify(message, key)
        if not genuine:
            return _only(ErrorCode.UNAUTHENTICATED)
        if not fresh:
            return _only(ErrorCode.STALE_NONCE)
        return Verdict(frozenset(), account, key, kind)

    def _meant(self, message: Message) -> Told | None:
        """The allocation that a ticket names, whatever else is wrong with it."""
        ticket = message.first(a.MOBILITY_TICKET) if message.method == Method.REFRESH else None
        issued = self.tickets.get(ticket) if ticket is not None else None
        return issued.told if issued is not None and self.home_of(issued.told) is not None else None

    def _remembered(self, client: FiveTuple, account: Account, name: str | None, told: Told | None) -> bool:
        """True if the client's allocation was made by this account, so that nobody need be asked."""
        told, opening = told or self.told_of(client), self.opening.get(client)
        held = told.account if told is not None else opening[1] if opening is not None else None
        return held is not None and held.username == account.username == name

    def _codes(self, client: FiveTuple, message: Message, now: Now, account: Account) -> set[int]:
        try:
            if unknown_in(message):
                return {ErrorCode.UNKNOWN_ATTRIBUTE}
        except MalformedMessage:
            return {ErrorCode.BAD_REQUEST}
        read = _Reader(message)
        told = self.told_of(client)
        if message.method == Method.REFRESH and message.has(a.MOBILITY_TICKET):
            return self._move(read, client, now, account) | read.codes
        if message.method == Method.ALLOCATE:
            if told is not None or client in self.opening:
                return {ErrorCode.ALLOCATION_MISMATCH}
            return self._allocate(read, now, account) | read.codes
        if told is None:
            return {ErrorCode.ALLOCATION_MISMATCH}
        if told.account.username != account.username:
            return {ErrorCode.WRONG_CREDENTIALS}
        match message.method:
            case Method.REFRESH:
                codes = self._refresh(read, told)
            case Method.CREATE_PERMISSION:
                codes = self._permission(read, told)
            case _:
                codes = self._channel(read, told)
        return codes | read.codes

    def _allocate(self, read: "_Reader", now: Now, account: Account) -> set[int]:
        """RFC 8656 §7.2."""
        codes = set[int]()
        has = read.message.has
        if account.expires_at is not None and account.expires_at <= now.wall:
            codes.add(ErrorCode.UNAUTHENTICATED)
        transport = read.first(a.REQUESTED_TRANSPORT)
        if transport != 17:
            codes.add(ErrorCode.BAD_REQUEST if transport is None else ErrorCode.UNSUPPORTED_TRANSPORT_PROTOCOL)
        token = read.first(a.RESERVATION_TOKEN)
        held = self.reservations.get(token) if token is not None else None
        if token is not None:
            if has(a.EVEN_PORT) or has(a.REQUESTED_ADDRESS_FAMILY) or has(a.ADDITIONAL_ADDRESS_FAMILY):
                codes.add(ErrorCode.BAD_REQUEST)
            if held is None or held.user_id != account.user_id:
                codes.add(ErrorCode.INSUFFICIENT_CAPACITY)
        family, additional = read.first(a.REQUESTED_ADDRESS_FAMILY), read.first(a.ADDITIONAL_ADDRESS_FAMILY)
        if additional is not None and (additional != 2 or has(a.REQUESTED_ADDRESS_FAMILY) or read.first(a.EVEN_PORT)):
            codes.add(ErrorCode.BAD_REQUEST)
        if family is not None and family not in ({1, 2} if self.setup.dual else {1}):
            codes.add(ErrorCode.ADDRESS_FAMILY_NOT_SUPPORTED)
        read.first(a.EVEN_PORT)
        read.first(a.LIFETIME)
        ticket = read.first(a.MOBILITY_TICKET)
        if ticket is not None and not self.setup.mobility:
            codes.add(ErrorCode.MOBILITY_FORBIDDEN)
        if ticket:
            codes.add(ErrorCode.BAD_REQUEST)
        holders = [told.account for told in self.allocations.values()] + [held for _, held in self.opening.values()]
        if sum(holder.user_id == account.user_id for holder in holders) >= self.setup.limits.allocations_per_user:
            codes.add(ErrorCode.ALLOCATION_QUOTA_REACHED)
        reserved = sum(held.user_id == account.user_id for held in self.reservations.values())
        if read.first(a.EVEN_PORT) and reserved >= self.setup.limits.allocations_per_user:
            codes.add(ErrorCode.ALLOCATION_QUOTA_REACHED)
        if len(holders) >= self.setup.limits.allocations:
            codes.add(ErrorCode.INSUFFICIENT_CAPACITY)
        return codes

    def _move(self, read: "_Reader", client: FiveTuple, now: Now, account: Account) -> set[int]:
        """RFC 8016 §3.2.2."""
        issued = self.tickets.get(read.first(a.MOBILITY_TICKET))
        if not self.setup.mobility:
            return {ErrorCode.MOBILITY_FORBIDDEN}
        if issued is None:
            return {ErrorCode.BAD_REQUEST}
        told, home = issued.told, self.home_of(issued.told)
        if home is None:
            return {ErrorCode.ALLOCATION_MISMATCH}
        codes = self._refresh(read, told)
        if issued.number <= told.spent or issued.until <= now.mono * 1000 or client == (told.moving or home):
            codes.add(ErrorCode.BAD_REQUEST)
        if told.account.username != account.username:
            codes.add(ErrorCode.WRONG_CREDENTIALS)
        if self.told_of(client) not in (None, told) or client in self.opening:
            codes.add(ErrorCode.ALLOCATION_MISMATCH)
        return codes

    def _refresh(self, read: "_Reader", told: Told) -> set[int]:
        """RFC 8656 §8.2."""
        family = read.first(a.REQUESTED_ADDRESS_FAMILY)
        read.first(a.LIFETIME)
        wanted = {None: None, 1: 4, 2: 16}.get(family, 0)
        return {ErrorCode.PEER_ADDRESS_FAMILY_MISMATCH} if wanted is not None and wanted not in told.relays else set()

    def _permission(self, read: "_Reader", told: Told) -> set[int]:
        """RFC 8656 §10.2, rule 15."""
        codes = set[int]()
        peers = read.all(a.XOR_PEER_ADDRESS)
        if not peers:
            codes.add(ErrorCode.BAD_REQUEST)
        if any(len(peer.ip) not in told.relays for peer in peers):
            codes.add(ErrorCode.PEER_ADDRESS_FAMILY_MISMATCH)
        allowed = [peer for peer in peers if not self.forbidden(peer, with_port=False)]
        if len(allowed) < len(peers) and not self.setup.swallow:
            codes.add(ErrorCode.FORBIDDEN)
        limit = self.setup.limits.permissions_per_allocation
        if len(told.permissions.keys() | {peer.ip for peer in allowed}) > limit:
            codes.add(ErrorCode.INSUFFICIENT_CAPACITY)
        return codes

    def _channel(self, read: "_Reader", told: Told) -> set[int]:
        """RFC 8656 §12.2, rule 17."""
        codes = set[int]()
        number, peer = read.first(a.CHANNEL_NUMBER), read.first(a.XOR_PEER_ADDRESS)
        if number is None or peer is None or not 0x4000 <= number <= 0x4FFF:
            return {ErrorCode.BAD_REQUEST}
        new = number not in told.channels and all(bound != peer for bound, _ in told.channels.values())
        if not new and told.channels.get(number, (None, 0.0))[0] != peer:
            codes.add(ErrorCode.BAD_REQUEST)
        if len(peer.ip) not in told.relays:
            codes.add(ErrorCode.PEER_ADDRESS_FAMILY_MISMATCH)
        refused = self.forbidden(peer, with_port=True)
        if refused and not self.setup.swallow:
            codes.add(ErrorCode.FORBIDDEN)
        limits = self.setup.limits
        crowded = peer.ip not in told.permissions and len(told.permissions) >= limits.permissions_per_allocation
        crowded = crowded and not (refused and self.setup.swallow)
        if crowded or (new and len(told.channels) >= limits.channels_per_allocation):
            codes.add(ErrorCode.INSUFFICIENT_CAPACITY)
        return codes

    # What an answer says

    def succeed(self, client: FiveTuple, request: Message, answer: Message, account: Account, now: Now) -> None:
        """A success response has come: believe it, after checking that it says what it must."""
        match request.method:
            case Method.ALLOCATE:
                self._allocated(client, request, answer, account, now)
            case Method.REFRESH:
                self._refreshed(client, request, answer, now)
            case Method.CREATE_PERMISSION:
                for peer in request.all(a.XOR_PEER_ADDRESS):
                    if not self.forbidden(peer, with_port=False):
                        self._permit(client, peer.ip, now.mono + 300)
            case Method.CHANNEL_BIND:
                number, bound = request.first(a.CHANNEL_NUMBER), request.first(a.XOR_PEER_ADDRESS)
                assert number is not None
                assert bound is not None
                told = self.told_of(client)
                assert told is not None
                told.channels[number] = (bound, now.mono + 600)
                told.dead.discard(number)
                if self.forbidden(bound, with_port=True):
                    told.dead.add(number)
                else:
                    self._permit(client, bound.ip, now.mono + (300 if self.setup.strict else 600))

    def _permit(self, client: FiveTuple, ip: bytes, until: float) -> None:
        told = self.told_of(client)
        assert told is not None
        permissions = told.permissions
        permissions[ip] = max(until, permissions.get(ip, 0.0))

    def _allocated(self, client: FiveTuple, request: Message, answer: Message, account: Account, now: Now) -> None:
        lifetime, relayed = _granted(request, answer), answer.all(a.XOR_RELAYED_ADDRESS)
        told = Told(account, {len(address.ip): (address, now.mono + lifetime) for address in relayed})
        assert len(told.relays) == len(relayed) > 0
        assert all(address.port in self.setup.ports and address.ip in {RELAY, RELAY6} for address in relayed)
        token, even = request.first(a.RESERVATION_TOKEN), request.first(a.EVEN_PORT)
        if token is None:
            self._check_families(request, answer, set(told.relays))
        else:
            assert [self.reservations.pop(token).relayed] == relayed
        assert even is None or all(address.port % 2 == 0 for address in relayed)
        reserved = answer.first(a.RESERVATION_TOKEN)
        assert (reserved is not None) == (even is True), "RESERVATION-TOKEN goes with EVEN-PORT's R bit"
        if reserved is not None:
            above = Address(relayed[0].ip, relayed[0].port + 1)
            self.reservations[reserved] = Reservation(above, account.user_id, now.mono + 30)
        assert answer.first(a.XOR_MAPPED_ADDRESS) == client.address.canonical()
        self.opening.pop(client, None)
        self.allocations[client] = told
        told.mobile = request.has(a.MOBILITY_TICKET)
        self._ticket(told, answer)

    def _check_families(self, request: Message, answer: Message, got: set[int]) -> None:
        """RFC 8656 §7.2: what was asked for, or half of it with the reason for the other half."""
        wanted = {2: {16}}.get(request.first(a.REQUESTED_ADDRESS_FAMILY) or 1, {4})
        if request.has(a.ADDITIONAL_ADDRESS_FAMILY):
            wanted = {4, 16}
        missing = {4 if error.family == 1 else 16 for error in answer.all(a.ADDRESS_ERROR_CODE)}
        assert got | missing == wanted
        assert not got & missing
        assert not missing or wanted == {4, 16}

    def _refreshed(self, client: FiveTuple, request: Message, answer: Message, now: Now) -> None:
        told, lifetime = self._meant(request) or self.told_of(client), _granted(request, answer)
        assert told is not None
        home = self.home_of(told)
        assert home is not None
        if request.has(a.MOBILITY_TICKET):
            told.spent = told.issued
            told.moving = None if client == home else client
        family = request.first(a.REQUESTED_ADDRESS_FAMILY)
        for size in [{1: 4, 2: 16}[family]] if family is not None else list(told.relays):
            if lifetime == 0:
                told.drop_family(size)
            else:
                told.relays[size] = (told.relays[size][0], now.mono + lifetime)
        if not told.relays:
            del self.allocations[home]
        self._ticket(told, answer)
        self.end_ways()

    def is_kept(self, request: Message, answer: Message) -> bool:
        """True for answers that a retransmission must get again: an Allocate, and a Refresh that deleted (rule 10).

        A Refresh with a ticket is another one (RFC 8016 §3.2.2).
        """
        if answer.message_class != MessageClass.SUCCESS or request.method not in {Method.ALLOCATE, Method.REFRESH}:
            return False
        again = answer.first(a.LIFETIME) == 0 or request.has(a.MOBILITY_TICKET)
        return request.method == Method.ALLOCATE or again

    def keep(self, request: Message, key: Key, answer: bytes, now: Now) -> None:
        """An answer is kept; that to a Refresh with a ticket in place of the one before."""
        told = self._meant(request)
        if told is not None:
            if told.answered is not None:
                self.kept.pop(told.answered, None)
            told.answered = key
        self.kept[key] = answer, now.mono + 40

    # Ends that no answer tells of

    def gone(self, client: FiveTuple) -> None:
        """A connection has ended: an allocation that is moving is where the other end is."""
        told = self.told_of(client)
        if told is not None and told.moving == client:
            told.moving = None
        elif told is not None and told.moving is not None:
            self._arrived(told, told.moving)
        else:
            self.allocations.pop(client, None)
        self.opening.pop(client, None)
        self.end_ways()

    def revoked(self, user_id: str, *, for_good: bool) -> set[FiveTuple]:
        """A user's allocations have ended; gives their clients. ``for_good`` if the user cannot come back."""
        if for_good:
            self.banned.add(user_id)
        held = {client for client, told in self.allocations.items() if told.account.user_id == user_id}
        held |= {client for client, (_, account) in self.opening.items() if account.user_id == user_id}
        moving = {told.moving for client, told in self.allocations.items() if client in held}
        for client in held:
            self.allocations.pop(client, None)
            self.opening.pop(client, None)
        self.end_ways()
        return held | {client for client in moving if client is not None}

    def replaced(self, policy: str) -> None:
        """Another ACL: permissions and channels that it forbids have ended (rule 16)."""
        self.policy = policy
        for told in self.allocations.values():
            lost = {ip for ip in told.permissions if self.forbidden(Address(ip, 0), with_port=False)}
            told.permissions = {ip: until for ip, until in told.permissions.items() if ip not in lost}
            told.channels = {
                number: (peer, until)
                for number, (peer, until) in told.channels.items()
                if number in told.dead or (peer.ip not in lost and not self.forbidden(peer, with_port=True))
            }

    def stranger(self, client: FiveTuple, verdict: Verdict) -> bool:
        """True if the answer goes to an address that has proven nothing."""
        return client.transport is ClientTransport.UDP and (verdict.key is None or verdict.codes <= {401, 438})


def _granted(request: Message, answer: Message) -> int:
    """LIFETIME of an answer, which must follow from the one asked for (rule 11)."""
    asked, granted = request.first(a.LIFETIME), answer.first(a.LIFETIME)
    assert granted is not None
    if asked == 0 and request.method == Method.REFRESH:
        assert granted == 0
    else:
        assert granted == max(600, min(600 if asked is None else asked, 3600))
    return granted


class _Reader:
    """Reads attributes; an unreadable one is a reason for 400 and counts as absent."""

    def __init__(self, message: Message) -> None:
        self.message = message
        self.codes = set[int]()

    def first(self, spec: AttributeType[Any]) -> Any:
        try:
            return self.message.first(spec)
        except MalformedMessage:
            self.codes.add(ErrorCode.BAD_REQUEST)
            return None

    def all(self, spec: AttributeType[Any]) -> list[Any]:
        try:
            return self.message.all(spec)
        except MalformedMessage:
            self.codes.add(ErrorCode.BAD_REQUEST)
            return []
