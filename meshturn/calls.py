"""Take part in calls from Python, on aiortc: ``pip install 'meshturn[call]'``, which importing this module takes.

``docs/python-client.md`` says how they work together: a `SignalClient` is the session with the server, a `MeshClient`
the room, and a `MediaPlan` says what each participant is sent and what is done with what comes in.
"""

from turnserver.client import ClientState, SignalClient, SignalError, StateChange, Timing
from turnserver.client.media import Echo, Listen, MediaPlan, Received, TestMedia
from turnserver.client.mesh import MeshClient, MeshEvent, ServerPath, Verdict
from turnserver.client.pair import Pair, PairReport, PairState, PairTiming

__all__ = [
    "ClientState",
    "Echo",
    "Listen",
    "MediaPlan",
    "MeshClient",
    "MeshEvent",
    "Pair",
    "PairReport",
    "PairState",
    "PairTiming",
    "Received",
    "ServerPath",
    "SignalClient",
    "SignalError",
    "StateChange",
    "TestMedia",
    "Timing",
    "Verdict",
]
