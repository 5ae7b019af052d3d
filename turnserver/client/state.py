"""What a client's session can be in, what it tells of that, and how long things may take."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from turnserver.client.errors import SignalError
from turnserver.signaling.protocol.base import ServerMessage

__all__ = ["ClientState", "FrameHandler", "StateChange", "StateHandler", "Timing"]

FrameHandler = Callable[[ServerMessage], None]


class ClientState(StrEnum):
    """Where a client stands."""

    NEW = "new"
    OPEN = "open"
    RECONNECTING = "reconnecting"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class StateChange:
    """What has become of the session.

    ``fresh`` is set when a new session has taken the place of a lost one: whatever the old one was in has to be
    entered again. ``reason`` is set when it is over, or the connection lost.
    """

    state: ClientState
    fresh: bool = False
    reason: SignalError | None = None


StateHandler = Callable[[StateChange], None]


@dataclass(frozen=True, slots=True)
class Timing:
    """How long things may take, in seconds."""

    connect: float = 10.0
    """A connection, up to the answer to hello."""

    answer: float = 30.0
    """An answer, with all coming back in between."""

    silence: float = 2.5
    """Heartbeats of the server without a frame until a connection counts as lost."""
