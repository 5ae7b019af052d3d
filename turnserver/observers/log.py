"""The observer that writes the log: lines for events of the relay and facts about rooms."""

import logging
import time
from collections.abc import Callable
from typing import Final, cast, get_args

from stun.address import Address
from turnserver.core.events import (
    AllocationEnded,
    AnswerWithheld,
    EndReason,
    Event,
    LoginFailed,
    LoginsFailing,
    LookupFailed,
    PeerRefused,
    RequestRefused,
)
from turnserver.core.types import Counters
from turnserver.lines import FREQUENT, RARE, Allowance, Lines
from turnserver.observers import relay_lines
from turnserver.observers.base import RoomFact
from turnserver.observers.room_lines import Journal

__all__ = ["LogObserver"]

_RELAY_EVENTS: Final = frozenset(get_args(Event))
_OF_STRANGERS: Final = frozenset({RequestRefused, AnswerWithheld, LookupFailed, LoginFailed, LoginsFailing})
"""Events that clients can cause without a credential."""

_FLOODS: Final = Allowance(burst=1, rate=0.1, total_burst=20, total_rate=1)
"""For lines about floods from forged sources: a line for each network, and the number of withheld answers after it."""

_REPEATED: Final = Allowance(burst=0, rate=0, total_burst=0, total_rate=0)
"""For what an allocation is refused again: only the number."""

_relay_logger = logging.getLogger("meshturn.turn")
_rooms_logger = logging.getLogger("meshturn.signaling")


class LogObserver:
    """Writes to the loggers ``meshturn.turn`` and ``meshturn.signaling``; ``clock`` gives monotonic seconds.

    The number of lines is limited: to a few for clients without a credential, and to some hundreds in a burst for
    others. Suppressed lines are counted, and the count is logged (`turnserver.lines`). Allocations that the end of the
    server ends have a line each, because it is the only record of their use, and no client can cause it.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._journal = Journal()
        self._strangers = Lines(_relay_logger, RARE, clock)
        self._withheld = Lines(_relay_logger, _FLOODS, clock)
        self._clients = Lines(_relay_logger, FREQUENT, clock)
        self._repeated = Lines(_relay_logger, _REPEATED, clock)
        self._rooms = Lines(_rooms_logger, FREQUENT, clock)

    def on_event(self, event: Event | RoomFact, counters: Counters | None) -> None:
        """Write the line of one event, if its level is on."""
        if type(event) in _RELAY_EVENTS:
            happened = cast(Event, event)
            if relay_lines.is_detail(happened) and not _relay_logger.isEnabledFor(logging.DEBUG):
                return
            level, message, fields = relay_lines.line_of(happened, counters)
            if type(event) is AllocationEnded and event.reason is EndReason.SHUTDOWN:
                _relay_logger.log(level, message, extra={"fields": fields})
                return
            rare = type(event) in _OF_STRANGERS and level > logging.DEBUG
            lines = self._strangers if rare else self._clients
            source: Address | str = happened.client.address
            if type(event) is AnswerWithheld:
                lines = self._withheld
            elif type(event) is RequestRefused and event.cause in relay_lines.PEER_CAUSES:
                return  # a PeerRefused says more
            elif type(event) is PeerRefused and event.times > 1:
                lines, source = self._repeated, f"{event.client.address}, peer {event.peer.host}"
            reason = str(event.cause) if type(event) is RequestRefused or type(event) is LoginFailed else ""
            lines.write(level, message, fields, source, reason=reason)
            return
        line = self._journal.line(cast(RoomFact, event), self._clock())
        if line is not None:
            self._rooms.write(line.level, line.message, line.fields)
