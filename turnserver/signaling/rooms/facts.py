"""What comes out of the hub: commands for the edge, and facts for the log and the relay table. Text is hostile."""

from typing import Literal, NamedTuple, TypeAlias

from stun.address import Address
from turnserver.signaling.protocol.errors import SignalCode

__all__ = [
    "CandidatesSeen",
    "ClientRefused",
    "Close",
    "Fact",
    "HubCommand",
    "Kicked",
    "LeaveReason",
    "PeerJoined",
    "PeerLeft",
    "PeerLost",
    "PeerReturned",
    "Revoke",
    "RoomClosed",
    "RoomOpened",
    "SessionEnded",
    "SessionOpened",
    "VerdictGiven",
    "Wake",
]

LeaveReason: TypeAlias = Literal["left", "timeout", "kicked", "replaced", "moved"]


class Wake(NamedTuple):
    """There is something to take for that socket."""

    cid: int


class Close(NamedTuple):
    """Close that socket, after what `Hub.take` still gives for it."""

    cid: int
    code: int
    reason: str


class Revoke(NamedTuple):
    """End that user's allocations, and let none be made with its credentials until then (Unix time)."""

    user_id: str
    until: float


HubCommand: TypeAlias = Wake | Close | Revoke


class SessionOpened(NamedTuple):
    """Somebody has said hello; ``peer`` is the peer id it will have in rooms, ``client`` what it says it is."""

    peer: str
    address: str
    subject: str
    client: str


class SessionEnded(NamedTuple):
    """A session is over; ``reason`` is a `LeaveReason`."""

    peer: str
    reason: LeaveReason


class ClientRefused(NamedTuple):
    """A client was told no and sent away."""

    address: str
    code: SignalCode
    msg: str


class RoomOpened(NamedTuple):
    """The first one came in."""

    room: str


class RoomClosed(NamedTuple):
    """The last one went out, or the room was closed; ``duration`` in seconds."""

    room: str
    duration: float


class PeerJoined(NamedTuple):
    """Somebody came into a room."""

    room: str
    peer: str
    user_id: str
    name: str
    role: str


class PeerLeft(NamedTuple):
    """Somebody is out of a room."""

    room: str
    peer: str
    user_id: str
    reason: LeaveReason


class PeerLost(NamedTuple):
    """A participant's socket is gone; it may come back."""

    room: str
    peer: str


class PeerReturned(NamedTuple):
    """It came back. ``complete`` is False if too much had been missed."""

    room: str
    peer: str
    complete: bool


class Kicked(NamedTuple):
    """A host or an administrator (``by`` is empty) has sent somebody away."""

    room: str
    peer: str
    by: str
    reason: str
    banned: bool


class CandidatesSeen(NamedTuple):
    """``sender`` has told ``receiver`` (TURN user ids) of these relayed addresses."""

    room: str
    sender: str
    receiver: str
    addresses: tuple[Address, ...]


class VerdictGiven(NamedTuple):
    """A call fails, and this is what we said of it."""

    room: str
    peer: str
    to: str
    verdict: str


Fact: TypeAlias = (
    SessionOpened
    | SessionEnded
    | ClientRefused
    | RoomOpened
    | RoomClosed
    | PeerJoined
    | PeerLeft
    | PeerLost
    | PeerReturned
    | Kicked
    | CandidatesSeen
    | VerdictGiven
)
