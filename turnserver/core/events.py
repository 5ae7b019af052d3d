"""What has happened, for logs, metrics and audit; one frozen class each. Text in events is untrusted: escape it."""

from typing import NamedTuple

from stun.address import Address
from stun.constants import TransportProtocol
from turnserver.core.types import FiveTuple, RelayId
from turnserver.reasons import Reason

__all__ = [
    "AllocationEnded",
    "AllocationMoved",
    "AllocationOpened",
    "AllocationRefreshed",
    "AnswerWithheld",
    "EndReason",
    "Event",
    "LoginFailed",
    "LoginsFailing",
    "LookupFailed",
    "OddExpiry",
    "PeerConnectionEnded",
    "PeerConnectionOpened",
    "PeerConnectionRefused",
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


class AllocationMoved(NamedTuple):
    """A client has taken its allocation along (RFC 8016): ``client`` is its 5-tuple from now on, and was ``former``.

    Its relays, permissions and channels are the same. The Refresh that led to it is an `AllocationRefreshed`, and the
    client has sent its first data since.
    """

    client: FiveTuple
    former: FiveTuple
    username: str
    user_id: str
    relays: tuple[RelayId, ...]


class AllocationEnded(NamedTuple):
    """An allocation has ended; ``duration`` in seconds. ``relays`` are those that it had at its end.

    ``refusals`` is how often the peer ACL refused it a peer. ``swallowed`` counts the client's datagrams to such peers,
    if it was not told (``peers.refusal: swallow``); those from such peers are in the relay's ``dropped``.
    """

    client: FiveTuple
    username: str
    user_id: str
    relays: tuple[RelayId, ...]
    reason: EndReason
    duration: float
    refusals: int = 0
    swallowed: int = 0


class RequestRefused(NamedTuple):
    """A request got an error answer. 401 and 438 occur in every normal session; other codes deserve a look.

    ``reason`` is the phrase in the answer. ``cause`` is always the real one, and ``detail`` what it is about.
    ``username`` is the claim of the request, not verified; ``user_id`` is empty unless the request was authenticated.
    ``claimed_id`` is the id of the user that the claim means, if a source knows it, and not verified either.
    """

    client: FiveTuple
    method: int
    code: int
    cause: Reason
    reason: str
    username: str
    user_id: str = ""
    claimed_id: str = ""
    detail: str = ""


class LoginFailed(NamedTuple):
    """A credential was refused, the first one of that name from that source in ten minutes; ``why`` is for operators.

    ``username`` is the claim of the request; empty if it carried USERHASH. ``claimed_id`` is the id of the user that it
    means, if a source knows it. ``client`` is not forged: it has a connection or has returned a nonce. Every refusal is
    also a `RequestRefused`, unless it was not answered: then it is an `AnswerWithheld`.
    """

    client: FiveTuple
    username: str
    cause: Reason
    why: str
    claimed_id: str = ""


class LoginsFailing(NamedTuple):
    """Many credentials were refused within ``seconds``: somebody guesses, or a program has an old password.

    Once in ten minutes for a source, with the name and the reason of its latest failure; ``of_user`` once for a user
    who is refused to several ``sources`` (at most 16 are counted), the latest of which is ``client``.
    """

    client: FiveTuple
    username: str
    cause: Reason
    why: str
    failures: int
    seconds: float
    sources: int
    of_user: bool
    claimed_id: str = ""


class LookupFailed(NamedTuple):
    """The credential source failed, so a request was answered with 500; ``reason`` says what is wrong with the source.

    ``username`` is the claim of the request; empty if it carried USERHASH.
    """

    client: FiveTuple
    username: str
    reason: str
    cause: Reason = Reason.SOURCE_UNAVAILABLE


class OddExpiry(NamedTuple):
    """A credential expires so late that its time must be in milliseconds: as seconds, it never does. Told once.

    The back end forgot to divide by 1000 (``Date.now()``). The credential is accepted.
    """

    client: FiveTuple
    username: str
    user_id: str
    expires_at: float


class PeerRefused(NamedTuple):
    """The peer ACL refused a peer; ``rule`` names the network or reason. Browsers often ask for private peers.

    ``times`` is how often this allocation has been refused this address. With `Reason.PEER_SWALLOWED` the client was
    not told (``peers.refusal: swallow``); otherwise the answer is 403, and also a `RequestRefused` with this ``cause``.
    """

    client: FiveTuple
    peer: Address
    cause: Reason
    rule: str
    user_id: str = ""
    times: int = 1


class AnswerWithheld(NamedTuple):
    """An unauthenticated answer was not sent.

    Its source has used up its reflection budget, or has failed to log in too often.
    """

    client: FiveTuple
    cause: Reason = Reason.REFLECTION_BUDGET


class PeerConnectionOpened(NamedTuple):
    """A TCP relay and a peer are connected (RFC 6062); ``inbound`` if the peer connected."""

    client: FiveTuple
    user_id: str
    peer: Address
    connection: int
    inbound: bool


class PeerConnectionRefused(NamedTuple):
    """A peer that has a permission connected to a TCP relay (RFC 6062), and there was no room for its connection."""

    client: FiveTuple
    user_id: str
    peer: Address
    cause: Reason


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
    | AllocationMoved
    | AllocationEnded
    | RequestRefused
    | LoginFailed
    | LoginsFailing
    | LookupFailed
    | OddExpiry
    | PeerRefused
    | AnswerWithheld
    | PeerConnectionOpened
    | PeerConnectionRefused
    | PeerConnectionEnded
)
