"""The observer that keeps events in memory: for tests, and to inspect recent events."""

from collections import deque
from typing import Final, NamedTuple

from turnserver.core.events import Event
from turnserver.core.types import Counters
from turnserver.observers.base import RoomFact

__all__ = ["Recorded", "Recorder"]

KEPT: Final = 1000
"""Maximum number of events kept; the oldest are dropped first."""


class Recorded(NamedTuple):
    """One event, with its counters."""

    event: Event | RoomFact
    counters: Counters | None


class Recorder:
    """Keeps the last ``kept`` events in ``events``, the oldest first."""

    def __init__(self, kept: int = KEPT) -> None:
        self.events: deque[Recorded] = deque(maxlen=kept)

    def on_event(self, event: Event | RoomFact, counters: Counters | None) -> None:
        """Keep the event."""
        self.events.append(Recorded(event, counters))
