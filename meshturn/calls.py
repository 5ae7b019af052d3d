"""Take part in calls from Python, with aiortc. Importing this module needs ``pip install 'meshturn[call]'``.

``docs/python-client.md`` says how the classes work together: a `SignalClient` is the session with the server, a
`MeshClient` the room, and a `MediaPlan` says what is sent to each participant and what is done with received media. A
session sends and receives the classes in `client_messages` and `server_messages`.
"""

from turnserver.client import ClientState, SignalClient, SignalError, StateChange, Timing
from turnserver.client.events import Diagnosis, MeshEvent, ServerPath
from turnserver.client.media import Echo, Listen, MediaPlan, Received, ScreenTrack, TestMedia
from turnserver.client.mesh import MeshClient
from turnserver.client.pair import Pair, PairReport, PairState
from turnserver.client.sfu import SfuConnections
from turnserver.client.state import PairTiming
from turnserver.signaling.protocol import client_messages, server_messages
from turnserver.signaling.protocol.base import UNNUMBERED
from turnserver.signaling.protocol.fields import ShownTile

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
    "ScreenTrack",
    "ServerPath",
    "SfuConnections",
    "ShownTile",
    "SignalClient",
    "SignalError",
    "StateChange",
    "TestMedia",
    "Timing",
    "client_messages",
    "server_messages",
]
