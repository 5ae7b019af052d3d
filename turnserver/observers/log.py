"""The observer that writes the log: a line for each event of the relay and each fact about rooms that deserves one."""

import logging
import time
from collections.abc import Callable
from typing import Final, cast, get_args

from turnserver.core.events import Event
from turnserver.core.types import Counters
from turnserver.observers import relay_lines
from turnserver.observers.base import RoomFact
from turnserver.observers.room_lines import Journal, Line

__all__ = ["LogObserver"]

_RELAY_EVENTS: Final = frozenset(get_args(Event))

_relay_logger = logging.getLogger("meshturn.turn")
_rooms_logger = logging.getLogger("meshturn.signaling")


class LogObserver:
    """Writes to the loggers ``meshturn.turn`` and ``meshturn.signaling``; ``clock`` gives monotonic seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._journal = Journal()

    def on_event(self, event: Event | RoomFact, counters: Counters | None) -> None:
        """Write the line of one event, if its level is on."""
        if type(event) in _RELAY_EVENTS:
            _write(_relay_logger, relay_lines.line_of(cast(Event, event), counters))
            return
        line = self._journal.line(cast(RoomFact, event), self._clock())
        if line is not None:
            _write(_rooms_logger, line)


def _write(logger: logging.Logger, line: Line) -> None:
    if logger.isEnabledFor(line.level):
        logger.log(line.level, line.message, extra={"fields": line.fields})
