"""The states of a client's session, its change events, and its time limits."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from turnserver.client.errors import SignalError
from turnserver.signaling.protocol.base import ServerMessage

__all__ = ["ClientState", "FrameHandler", "StateChange", "StateHandler", "Timing"]

FrameHandler = Callable[[ServerMessage], None]


class ClientState(StrEnum):
    """The state of a client."""

    NEW = "new"
    OPEN = "open"
    RECONNECTING = "reconnecting"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class StateChange:
    """A change of the session's state.

    ``fresh`` is set when a new session has replaced a lost one: its room has to be entered again. ``unseated`` is set
    when the same session goes on in no room: somebody else has its seat there. ``reason`` is set when the session has
    ended or the connection is lost.
    """

    state: ClientState
    fresh: bool = False
    unseated: bool = False
    reason: SignalError | None = None


StateHandler = Callable[[StateChange], None]


@dataclass(frozen=True, slots=True)
class Timing:
    """Time limits, in seconds."""

    connect: float = 10.0
    """A connection, up to the answer to hello."""

    answer: float = 30.0
    """An answer, including all reconnects in between."""

    silence: float = 2.5
    """Heartbeats of the server without a frame until a connection counts as lost."""
