"""What servers and clients tell: plain values, in order. Text in events of servers is hostile: clients choose it.

Relays
: `Event` is any of those that observers hear about relays: `AllocationOpened`, `RequestRefused` and so on.

Rooms
: `Fact` is any of those that observers hear about rooms: `PeerJoined`, `VerdictGiven` and so on.

Clients
: `ClientEvent` is any of those that a `meshturn.ClientCore` gives, and a `meshturn.TurnClient` tells ``on_event``.
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
    AllocationOpened,
    AllocationRefreshed,
    AnswerWithheld,
    EndReason,
    Event,
    LookupFailed,
    PeerConnectionEnded,
    PeerConnectionOpened,
    PeerRefused,
    RequestRefused,
)
from turnserver.core.types import (
    Counters,
)
from turnserver.signaling.rooms.facts import (
    CandidatesSeen,
    ClientRefused,
    Fact,
    Kicked,
    LeaveReason,
    PeerJoined,
    PeerLeft,
    PeerLost,
    PeerReturned,
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
    "Kicked",
    "LeaveReason",
    "LookupFailed",
    "PeerConnectionEnded",
    "PeerConnectionOpened",
    "PeerData",
    "PeerError",
    "PeerJoined",
    "PeerLeft",
    "PeerLost",
    "PeerRefused",
    "PeerReturned",
    "PermissionLost",
    "RequestDone",
    "RequestRefused",
    "RoomClosed",
    "RoomOpened",
    "SessionEnded",
    "SessionOpened",
    "VerdictGiven",
]
