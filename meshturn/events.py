"""The events of servers and clients: plain values, in order. Text in a server's events is untrusted: clients choose it.

Relays
: `Event` is the union of the events about relays that observers get: `AllocationOpened`, `RequestRefused` and so on.

Rooms
: `Fact` is the union of the events about rooms that observers get: `PeerJoined`, `VerdictGiven` and so on.

Refusals
: `Reason` is the cause of a refusal: a stable code, which is also in the log, with what it means and what to do.

Clients
: `ClientEvent` is the union of the events that a `meshturn.ClientCore` returns, and a `meshturn.TurnClient` passes to
  ``on_event``.
"""

from stun.client.events import (
    AllocationGrant,
    AllocationLost,
    ChannelLost,
    ClientEvent,
    ConnectionAttempt,
    PeerData,
    PeerError,
    PermissionLost,
    RequestDone,
)
from turnserver.core.events import (
    AllocationEnded,
    AllocationMoved,
    AllocationOpened,
    AllocationRefreshed,
    AnswerWithheld,
    EndReason,
    Event,
    LoginFailed,
    LoginsFailing,
    LookupFailed,
    OddExpiry,
    PeerConnectionEnded,
    PeerConnectionOpened,
    PeerConnectionRefused,
    PeerRefused,
    RequestRefused,
)
from turnserver.core.types import (
    Counters,
)
from turnserver.reasons import Reason
from turnserver.signaling.rooms.facts import (
    CandidatesSeen,
    ClientRefused,
    Fact,
    InvitationMade,
    Kicked,
    LeaveReason,
    MediaLost,
    MessageRefused,
    ModeChanged,
    PairConnected,
    PeerJoined,
    PeerLeft,
    PeerLost,
    PeerReturned,
    RecordingChanged,
    RoomClosed,
    RoomOpened,
    SessionEnded,
    SessionOpened,
    VerdictGiven,
)

__all__ = [
    "AllocationEnded",
    "AllocationGrant",
    "AllocationLost",
    "AllocationMoved",
    "AllocationOpened",
    "AllocationRefreshed",
    "AnswerWithheld",
    "CandidatesSeen",
    "ChannelLost",
    "ClientEvent",
    "ClientRefused",
    "ConnectionAttempt",
    "Counters",
    "EndReason",
    "Event",
    "Fact",
    "InvitationMade",
    "Kicked",
    "LeaveReason",
    "LoginFailed",
    "LoginsFailing",
    "LookupFailed",
    "MediaLost",
    "MessageRefused",
    "ModeChanged",
    "OddExpiry",
    "PairConnected",
    "PeerConnectionEnded",
    "PeerConnectionOpened",
    "PeerConnectionRefused",
    "PeerData",
    "PeerError",
    "PeerJoined",
    "PeerLeft",
    "PeerLost",
    "PeerRefused",
    "PeerReturned",
    "PermissionLost",
    "Reason",
    "RecordingChanged",
    "RequestDone",
    "RequestRefused",
    "RoomClosed",
    "RoomOpened",
    "SessionEnded",
    "SessionOpened",
    "VerdictGiven",
]
