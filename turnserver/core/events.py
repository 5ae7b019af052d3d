"""What has happened, for logs, metrics and audit; one frozen class each. Text in events is untrusted: escape it."""

from typing import NamedTuple

from stun.address import Address
from stun.constants import TransportProtocol
from turnserver.core.types import FiveTuple, RelayId

__all__ = [
    "AllocationEnded",
    "AllocationOpened",
    "AllocationRefreshed",
    "AnswerWithheld",
    "EndReason",
    "Event",
    "LoginFailed",
    "LoginsFailing",
    "LookupFailed",
    "PeerConnectionEnded",
    "PeerConnectionOpened",
    "PeerRefused",
    "RequestRefused",
]

from enum import StrEnum


class EndReason(StrEnum):
    """Why an allocation ended."""

    EXPIRED = "expired"
    DELETED = "deleted"
    CLIENT_GONE = "client-gone"
    REVOKED = "revoked"
    SHUTDOWN = "shutdown"
    """The server was stopped."""
    LISTENER_CLOSED = "listener-closed"
    """The address of the listener that the client uses has gone from this machine."""
    CREDENTIAL_REMOVED = "credential-removed"
    """The configuration does not know the user any more, and says that this ends allocations."""
    RELAY_FAILED = "relay-failed"
    """Its relays could not be kept open: a fault of the server or of the system."""


class AllocationOpened(NamedTuple):
    """An Allocate succeeded; ``protocol`` is the one between the server and peers."""

    client: FiveTuple
    username: str
    user_id: str
    relays: tuple[RelayId, ...]
    relayed: tuple[Address, ...]
    lifetime: int
    protocol: TransportProtocol = TransportProtocol.UDP


class AllocationRefreshed(NamedTuple):
    """A Refresh succeeded and the allocation lives on."""

    client: FiveTuple
    user_id: str
    lifetime: int


class AllocationEnded(NamedTuple):
    """An allocation has ended; ``duration`` in seconds. ``relays`` are those that it had at its end."""

    client: FiveTuple
    username: str
    user_id: str
    relays: tuple[RelayId, ...]
    reason: EndReason
    duration: float


class RequestRefused(NamedTuple):
    """A request got an error answer. 401 and 438 occur in every normal session; other codes deserve a look.

    ``username`` is the claim of the request, not verified; ``user_id`` is empty unless the request was authenticated.
    """

    client: FiveTuple
    method: int
    code: int
    reason: str
    username: str
    user_id: str = ""


class LoginFailed(NamedTuple):
    """A credential was refused, the first one of that name from that source in ten minutes; ``why`` is for operators.

    ``username`` is the claim of the request; empty if it carried USERHASH. ``client`` is not forged: it has a
    connection or has returned a nonce. Every refusal is also a `RequestRefused`, unless it was not answered.
    """

    client: FiveTuple
    username: str
    why: str


class LoginsFailing(NamedTuple):
    """Many credentials were refused within ``seconds``: somebody guesses, or a program has an old password.

    Once in ten minutes for a source, with the name and the reason of its latest failure; ``of_user`` once for a user
    who is refused to several ``sources`` (at most 16 are counted), the latest of which is ``client``.
    """

    client: FiveTuple
    username: str
    why: str
    failures: int
    seconds: float
    sources: int
    of_user: bool


class LookupFailed(NamedTuple):
    """The credential source failed, so a request was answered with 500; ``reason`` says what is wrong with the source.

    ``username`` is the claim of the request; empty if it carried USERHASH.
    """

    client: FiveTuple
    username: str
    reason: str


class PeerRefused(NamedTuple):
    """The peer ACL refused a peer (403); ``rule`` names the network or reason. Browsers often ask for private peers."""

    client: FiveTuple
    peer: Address
    rule: str


class AnswerWithheld(NamedTuple):
    """An unauthenticated answer was not sent, because its source has used up its reflection budget."""

    client: FiveTuple


class PeerConnectionOpened(NamedTuple):
    """A TCP relay and a peer are connected (RFC 6062); ``inbound`` if the peer connected."""

    client: FiveTuple
    user_id: str
    peer: Address
    connection: int
    inbound: bool


class PeerConnectionEnded(NamedTuple):
    """A peer connection has ended, for any reason; ``duration`` in seconds, ``bound`` if it was ever bound."""

    client: FiveTuple
    user_id: str
    peer: Address
    connection: int
    bound: bool
    duration: float


Event = (
    AllocationOpened
    | AllocationRefreshed
    | AllocationEnded
    | RequestRefused
    | LoginFailed
    | LoginsFailing
    | LookupFailed
    | PeerRefused
    | AnswerWithheld
    | PeerConnectionOpened
    | PeerConnectionEnded
)
