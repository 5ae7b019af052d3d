"""Facts already past, for logs, metrics and audit; one frozen class each. Text in them is hostile: escape on output."""

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
    RELAY_FAILED = "relay-failed"
    """Its relays could not be kept open: a fault of the server's, or of the system's."""


class AllocationOpened(NamedTuple):
    """An Allocate succeeded; ``protocol`` is that between the server and peers."""

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
    """An allocation is gone; ``duration`` in seconds. ``relays`` are those that it had to the end."""

    client: FiveTuple
    username: str
    user_id: str
    relays: tuple[RelayId, ...]
    reason: EndReason
    duration: float


class RequestRefused(NamedTuple):
    """A request got an error answer. 401 and 438 are part of every healthy start; the rest deserve a look.

    ``username`` is what the request said, which anybody can say; ``user_id`` is empty unless it has proven it.
    """

    client: FiveTuple
    method: int
    code: int
    reason: str
    username: str
    user_id: str = ""


class LookupFailed(NamedTuple):
    """Nobody could say whose a request is, so it was answered with 500; ``reason`` says what is wrong with the source.

    ``username`` is what the request said; empty if it said a USERHASH.
    """

    client: FiveTuple
    username: str
    reason: str


class PeerRefused(NamedTuple):
    """The peer ACL said no (403); ``rule`` names the network or reason. Browsers ask for private peers all the time."""

    client: FiveTuple
    peer: Address
    rule: str


class AnswerWithheld(NamedTuple):
    """An unauthenticated answer was not sent, because its source prefix has used up its reflection budget."""

    client: FiveTuple


class PeerConnectionOpened(NamedTuple):
    """A TCP relay and a peer are connected (RFC 6062); ``inbound`` if it was the peer that connected."""

    client: FiveTuple
    user_id: str
    peer: Address
    connection: int
    inbound: bool


class PeerConnectionEnded(NamedTuple):
    """A peer connection is gone, whoever closed it; ``duration`` in seconds, ``bound`` if it ever carried data."""

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
    | LookupFailed
    | PeerRefused
    | AnswerWithheld
    | PeerConnectionOpened
    | PeerConnectionEnded
)
