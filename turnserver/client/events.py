"""What a room tells a program that is in it, and what the program may ask for, as plain values."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from turnserver.signaling.protocol.base import ServerMessage
from turnserver.signaling.protocol.client_messages import Operation
from turnserver.signaling.protocol.server_messages import (
    Draining,
    Knock,
    Mute,
    Paths,
    PeerBack,
    PeerGap,
    PeerJoin,
    PeerLeave,
    PeerMsg,
    PeerUpdate,
    RoomUpdate,
    Speaker,
)

__all__ = ["KINDS_OF_EVENTS", "Diagnosis", "MeshEvent", "MeshHandler", "Operation", "ServerPath"]


@dataclass(frozen=True, slots=True)
class ServerPath:
    """The path of a pair according to the server's table of relays."""

    path: str
    """``relay``, ``direct`` or ``unknown``."""
    proto: str | None
    """The transport to the relay: ``udp``, ``tcp``, ``tls``."""
    by: str | None
    """Which end has the relay: ``you``, ``peer``, ``both``."""
    sent: int
    """Bytes relayed from us to the other side."""
    received: int


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The server's diagnosis of a pair without a connection."""

    code: str
    text: str


@dataclass(frozen=True, slots=True)
class MeshEvent:
    """Something that happened in the room.

    ``kind`` is one of

    - ``joined``: this client is in the room, or has received a new snapshot of it;
    - ``peer``: a participant joined or changed; ``left``: a participant left;
    - ``data``: data arrived over the data channel; ``message``: a message arrived through the server;
    - ``paths``: the server reports changed paths; ``room``: the room's lock, size, spotlight, mode or
      recording changed;
    - ``sfu``: the connections with the SFU are in another state, or something went wrong with them (`MeshClient.sfu`);
      ``speaker``: somebody else speaks, as the SFU hears it, or nobody (then ``peer`` is empty);
    - ``mute``: a host asks to mute; ``waiting``: a host has to admit this client; ``knock``: this client is a host, and
      a participant waits to be admitted;
    - ``draining``: the server is about to stop (`MeshClient.closes_at`); the room goes on until then;
    - ``signaling``: the connection with the server was lost or resumed; ``ended``: the session is over.
    """

    kind: str
    peer: str = ""
    data: str | bytes = ""
    message: ServerMessage | None = None
    """The server's message, if one caused the event."""


MeshHandler = Callable[[MeshEvent], None]

KINDS_OF_EVENTS: Final[Mapping[type[ServerMessage], str]] = MappingProxyType(
    {
        PeerJoin: "peer",
        PeerUpdate: "peer",
        PeerGap: "peer",
        PeerBack: "peer",
        PeerLeave: "left",
        PeerMsg: "message",
        Paths: "paths",
        RoomUpdate: "room",
        Speaker: "speaker",
        Draining: "draining",
        Mute: "mute",
        Knock: "knock",
    }
)
"""What is told of messages of the server, by their type."""
