"""The observer that keeps what it was told: for tests, and for a look at what has just happened."""

from collections import deque
from typing import Final, NamedTuple

from turnserver.core.events import Event
from turnserver.core.types import Counters
from turnserver.observers.base import RoomFact

__all__ = ["Recorded", "Recorder"]

KEPT: Final = 1000
"""Events kept; older ones are forgotten first."""


class Recorded(NamedTuple):
    """One event, with the counters that it came with."""

    event: Event | RoomFact
    counters: Counters | None


class Recorder:
    """Keeps the last ``kept`` events in ``events``, the oldest first."""

    def __init__(self, kept: int = KEPT) -> None:
        self.events: deque[Recorded] = deque(maxlen=kept)

    def on_event(self, event: Event | RoomFact, counters: Counters | None) -> None:
        """Keep it."""
        self.events.append(Recorded(event, counters))
