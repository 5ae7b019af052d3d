"""Take part in calls from Python, on aiortc: ``pip install 'meshturn[call]'``, which importing this module takes.

``docs/python-client.md`` says how they work together: a `SignalClient` is the session with the server, a `MeshClient`
the room, and a `MediaPlan` says what each participant is sent and what is done with what comes in. What a session
sends and gets are the classes in `client_messages` and `server_messages`.
"""

from turnserver.client import ClientState, SignalClient, SignalError, StateChange, Timing
from turnserver.client.media import Echo, Listen, MediaPlan, Received, TestMedia
from turnserver.client.mesh import Diagnosis, MeshClient, MeshEvent, ServerPath
from turnserver.client.pair import Pair, PairReport, PairState, PairTiming
from turnserver.signaling.protocol import client_messages, server_messages
from turnserver.signaling.protocol.base import UNNUMBERED

__all__ = [
    "UNNUMBERED",
    "ClientState",
    "Diagnosis",
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
    "client_messages",
    "server_messages",
]
