"""What the relay has seen of each user: allocations made and refused, peers denied, bytes. All tables are bounded.

There are two tables. One has users that have authenticated at least once. The other has unproven requests: those with a
user's name and without its password, which anybody can send. They are worth reporting, but a flood of them must not
displace the facts about authenticated users.
"""

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple, TypeVar

from stun.address import Address
from turnserver.core.types import ClientTransport, FiveTuple
from turnserver.signaling.protocol.fields import RELAY_TRANSPORTS, RelayTransport

__all__ = ["NO_FACTS", "FactBook", "RefusalFact", "UserFacts", "proto_of"]

MAX_USERS: Final = 16_384
"""Maximum number of users with facts; the least recently updated one is dropped first."""

MAX_RUMOURS: Final = 4_096
"""Maximum number of users with unproven requests only."""

MAX_PER_USER: Final = 16
"""Kinds of refusals, denied peers and client addresses kept per user: the latest ones."""

_PROTOS: Final[Mapping[ClientTransport, RelayTransport]] = {
    kind: name
    for kind in ClientTransport
    for name in RELAY_TRANSPORTS
    if name == (kind.label if kind.label in RELAY_TRANSPORTS else kind.port_space.name.lower())
}
"""The name of each client transport in the protocol: its label, or the protocol beneath, which is UDP for DTLS."""


def proto_of(client: FiveTuple) -> RelayTransport:
    """How a client reaches the server."""
    return _PROTOS[client.transport]


class RefusalFact(NamedTuple):
    """Error answers of one kind to one user: how many, and when the last one was (Unix time)."""

    code: int
    reason: str
    proto: RelayTransport
    times: int
    at: float
    proven: bool
    """True if the request was authenticated; others can be sent by anybody under any name."""


class UserFacts(NamedTuple):
    """What the relay has seen of one user id; the default is an unknown user."""

    heard: bool = False
    """Whether any request has named this user, whatever its result."""
    live: int = 0
    opened: int = 0
    ended: int = 0
    protos: tuple[RelayTransport, ...] = ()
    """How the live allocations are reached; when there are none, how the last one was."""
    relayed: tuple[Address, ...] = ()
    """Relayed addresses of live allocations, as clients are told them."""
    clients: tuple[bytes, ...] = ()
    """Packed IP addresses that the user's allocations came from, as the server sees them."""
    denied: tuple[Address, ...] = ()
    """Peers that the peer ACL refused to this user's allocations."""
    refusals: tuple[RefusalFact, ...] = ()
    opened_at: float | None = None
    """When the last allocation was opened (Unix time)."""
    end_reason: str = ""
    """Why the last allocation ended (`turnserver.core.events.EndReason`)."""
    bytes_up: int = 0
    bytes_down: int = 0


NO_FACTS: Final = UserFacts()

_RefusalKey = tuple[int, str, RelayTransport, bool]


class _User:
    __slots__ = (
        "bytes_down",
        "bytes_up",
        "clients",
        "denied",
        "end_reason",
        "ended",
        "last_proto",
        "live",
        "opened",
        "opened_at",
        "refusals",
    )

    def __init__(self) -> None:
        self.live: dict[FiveTuple, tuple[Address, ...]] = {}
        self.opened = 0
        self.ended = 0
        self.last_proto: RelayTransport | None = None
        self.opened_at: float | None = None
        self.end_reason = ""
        self.bytes_up = 0
        self.bytes_down = 0
        self.clients: dict[bytes, None] = {}
        self.denied: dict[Address, None] = {}
        self.refusals: dict[_RefusalKey, RefusalFact] = {}


class FactBook:
    """Facts by user id; see the module docstring."""

    def __init__(self) -> None:
        self._users: dict[str, _User] = {}
        self._rumours: dict[str, dict[_RefusalKey, RefusalFact]] = {}

    def __len__(self) -> int:
        """Number of entries: authenticated users, and users with unproven requests only."""
        return len(self._users) + len(self._rumours)

    def opened(self, user_id: str, client: FiveTuple, relayed: tuple[Address, ...], wall: float) -> None:
        """An allocation was opened, or one that was missed has been found."""
        user = self._user(user_id)
        user.opened += 1
        user.opened_at = wall
        user.live[client] = relayed
        user.last_proto = proto_of(client)
        _remember(user.clients, client.address.canonical().ip, None)

    def changed(self, user_id: str, client: FiveTuple, relayed: tuple[Address, ...]) -> None:
        """One half of a dual allocation has ended (RFC 8656 §8.2)."""
        user = self._users.get(user_id)
        if user is not None and client in user.live:
            user.live[client] = relayed

    def moved(self, user_id: str, former: FiveTuple, client: FiveTuple) -> None:
        """An allocation's client is somewhere else now (RFC 8016)."""
        user = self._users.get(user_id)
        if user is not None and former in user.live:
            user.live[client] = user.live.pop(former)
            user.last_proto = proto_of(client)
            _remember(user.clients, client.address.canonical().ip, None)

    def ended(self, user_id: str, client: FiveTuple, reason: str) -> None:
        """An allocation has ended."""
        user = self._users.get(user_id)
        if user is not None and user.live.pop(client, None) is not None:
            user.ended += 1
            user.end_reason = reason

    def carried(self, user_id: str, up: int, down: int) -> None:
        """Allocations of a user have carried so many bytes more, towards peers and from them."""
        user = self._users.get(user_id)
        if user is not None:
            user.bytes_up += up
            user.bytes_down += down

    def denied(self, user_id: str, peer: Address) -> None:
        """The peer ACL has refused a peer to a user's allocation."""
        user = self._users.get(user_id)
        if user is not None:
            _remember(user.denied, peer, None)

    def refused(
        self, user_id: str, code: int, reason: str, proto: RelayTransport, wall: float, *, proven: bool
    ) -> None:
        """A request was refused; ``proven`` if it carried the user's password."""
        book = self._user(user_id).refusals if proven else _renew(self._rumours, user_id, MAX_RUMOURS, dict)
        key = (code, reason, proto, proven)
        before = book.get(key)
        times = 1 if before is None else before.times + 1
        _remember(book, key, RefusalFact(code, reason, proto, times, wall, proven))

    def forget(self, user_id: str) -> None:
        """Drop everything about a user."""
        self._users.pop(user_id, None)
        self._rumours.pop(user_id, None)

    def facts(self, user_id: str) -> UserFacts:
        """The present facts about a user."""
        user = self._users.get(user_id)
        rumours = tuple(self._rumours.get(user_id, {}).values())
        if user is None:
            return UserFacts(heard=True, refusals=rumours) if rumours else NO_FACTS
        protos = dict.fromkeys(proto_of(client) for client in user.live)
        if not protos and user.last_proto is not None:
            protos = {user.last_proto: None}
        return UserFacts(
            heard=True,
            live=len(user.live),
            opened=user.opened,
            ended=user.ended,
            protos=tuple(protos),
            relayed=tuple(address for relayed in user.live.values() for address in relayed),
            clients=tuple(user.clients),
            denied=tuple(user.denied),
            refusals=tuple(user.refusals.values()) + rumours,
            opened_at=user.opened_at,
            end_reason=user.end_reason,
            bytes_up=user.bytes_up,
            bytes_down=user.bytes_down,
        )

    def _user(self, user_id: str) -> _User:
        return _renew(self._users, user_id, MAX_USERS, _User)


_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


def _renew(book: dict[str, _Value], user_id: str, limit: int, make: Callable[[], _Value]) -> _Value:
    """A user's entry, created if missing and put last. Over the limit, the least recently updated one is dropped."""
    entry = book.pop(user_id, None)
    if entry is None:
        entry = make()
        if len(book) >= limit:
            del book[next(iter(book))]
    book[user_id] = entry
    return entry


def _remember(book: dict[_Key, _Value], key: _Key, value: _Value) -> None:
    """Add as the latest; the oldest is dropped if there are too many."""
    book.pop(key, None)
    if len(book) >= MAX_PER_USER:
        del book[next(iter(book))]
    book[key] = value
