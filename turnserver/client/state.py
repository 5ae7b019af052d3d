"""The states of a client's session, its change events, and the time limits of the session and of its connections."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from turnserver.client.errors import SignalError
from turnserver.signaling.protocol.base import ServerMessage

__all__ = ["ClientState", "FrameHandler", "PairState", "PairTiming", "StateChange", "StateHandler", "Timing"]

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


class PairState(StrEnum):
    """The state of what one participant's media come through, as seen from here."""

    CONNECTING = "connecting"
    CONNECTED = "connected"
    RECONNECTING = "reconnecting"
    FAILED = "failed"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class PairTiming:
    """Times of a connection with a participant, in seconds, and numbers of attempts."""

    offer_wait: float = 2.0
    """For the other side's offer, until we make one ourselves (signaling §1)."""

    connect: float = 20.0
    """From the first description to a connection."""

    fresh_ice: float = 5.0
    """For fresh credentials before a rebuild; after it the old ones are used."""

    rebuilds: int = 3
    """Rebuilds in a row until we give up (signaling §3)."""

    look: float = 1.0
    """Between two looks whether anything comes over an established connection."""

    misses: int = 5
    """Looks in a row without anything until it is rebuilt; the page of calls restarts ICE after as long."""
