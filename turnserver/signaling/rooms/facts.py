"""The hub's output: commands for the edge, and facts for the log and the relay table. Text in them is untrusted."""

from typing import Literal, NamedTuple, TypeAlias

from stun.address import Address
from turnserver.signaling.protocol.errors import SignalCode

__all__ = [
    "CandidatesSeen",
    "ClientRefused",
    "Close",
    "Fact",
    "HubCommand",
    "InvitationMade",
    "Kicked",
    "LeaveReason",
    "MediaLost",
    "MessageRefused",
    "ModeChanged",
    "PairConnected",
    "PeerJoined",
    "PeerLeft",
    "PeerLost",
    "PeerReturned",
    "RecordingChanged",
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
    """A frame can be taken for that socket."""

    cid: int


class Close(NamedTuple):
    """Close that socket once all frames that `Hub.take` still returns for it have been sent."""

    cid: int
    code: int
    reason: str


class Revoke(NamedTuple):
    """End that user's allocations, and refuse new ones with its credentials until the given Unix time.

    ``kicked`` if it was sent away; otherwise it has left.
    """

    user_id: str
    until: float
    kicked: bool = False


HubCommand: TypeAlias = Wake | Close | Revoke


class SessionOpened(NamedTuple):
    """A session has opened; ``peer`` is its peer id in rooms, ``client`` the program's description of itself."""

    peer: str
    address: str
    subject: str
    client: str


class SessionEnded(NamedTuple):
    """A session has ended; ``reason`` is a `LeaveReason`."""

    peer: str
    reason: LeaveReason


class ClientRefused(NamedTuple):
    """A client was refused and disconnected."""

    address: str
    code: SignalCode
    msg: str


class MessageRefused(NamedTuple):
    """A message of a client was refused, and its connection goes on; ``room`` is the one to join or be in, if any."""

    address: str
    code: SignalCode
    msg: str
    room: str
    peer: str


class RoomOpened(NamedTuple):
    """The first participant has joined a room."""

    room: str


class RoomClosed(NamedTuple):
    """The last participant has left a room, or the room was closed; ``duration`` in seconds."""

    room: str
    duration: float


class PeerJoined(NamedTuple):
    """A participant has joined a room."""

    room: str
    peer: str
    user_id: str
    name: str
    role: str


class PeerLeft(NamedTuple):
    """A participant has left a room."""

    room: str
    peer: str
    user_id: str
    reason: LeaveReason


class PeerLost(NamedTuple):
    """A participant has lost its socket; it may resume."""

    room: str
    peer: str


class PeerReturned(NamedTuple):
    """A participant has resumed. ``complete`` is False if it had missed too many frames."""

    room: str
    peer: str
    complete: bool


class Kicked(NamedTuple):
    """A host, or an administrator (``by`` is empty), has removed a participant."""

    room: str
    peer: str
    by: str
    reason: str
    banned: bool


class InvitationMade(NamedTuple):
    """A host (``by``) has got a token for others, valid until ``expires`` (Unix time) for ``uses`` sessions."""

    room: str
    by: str
    expires: int
    uses: int


class CandidatesSeen(NamedTuple):
    """``sender`` has sent these relayed transport addresses to ``receiver`` (both TURN user ids)."""

    room: str
    sender: str
    receiver: str
    addresses: tuple[Address, ...]


class ModeChanged(NamedTuple):
    """The media of a room go another way: `mesh` or `sfu`; with ``changing``, the way before is kept for a while."""

    room: str
    mode: str
    epoch: int
    changing: bool
    why: str


class RecordingChanged(NamedTuple):
    """The server records a room, as ``by`` wanted (an operator where that is empty), or does so no more, and why."""

    room: str
    on: bool
    by: str
    why: str


class MediaLost(NamedTuple):
    """The SFU has lost a room, or one connection of a participant (``peer``). ``why`` is the engine's reason."""

    room: str
    peer: str
    why: str


class PairConnected(NamedTuple):
    """``peer`` says for the first time how long its connection with ``to`` took, in seconds; once for each pair."""

    room: str
    peer: str
    to: str
    seconds: float


class VerdictGiven(NamedTuple):
    """The answer to a request to diagnose a failed call."""

    room: str
    peer: str
    to: str
    verdict: str


Fact: TypeAlias = (
    SessionOpened
    | SessionEnded
    | ClientRefused
    | MessageRefused
    | RoomOpened
    | RoomClosed
    | PeerJoined
    | PeerLeft
    | PeerLost
    | PeerReturned
    | Kicked
    | InvitationMade
    | CandidatesSeen
    | ModeChanged
    | RecordingChanged
    | MediaLost
    | PairConnected
    | VerdictGiven
)
