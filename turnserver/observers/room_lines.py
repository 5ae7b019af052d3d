"""The log lines for facts about rooms. Names and reasons in them are untrusted; the log escapes them.

Info lines cover what operators evaluate: who joined, who left and why, and who was refused. Facts that every call
repeats have debug lines. Tokens, keys and session ids never appear here.
"""

import logging
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from turnserver.signaling.protocol.errors import SignalCode
from turnserver.signaling.rooms.facts import (
    CandidatesSeen,
    ClientRefused,
    Fact,
    InvitationMade,
    Kicked,
    MediaLost,
    MessageRefused,
    ModeChanged,
    PairConnected,
    PeerJoined,
    PeerLeft,
    PeerLost,
    PeerReturned,
    RecordingChanged,
    RoomClosed,
    RoomOpened,
    SessionEnded,
    SessionOpened,
    VerdictGiven,
)
from turnserver.throttle import Bucket

__all__ = ["Journal", "Line", "line_of"]

_MESSAGES: Final[Mapping[type[Fact], tuple[int, str]]] = {
    SessionOpened: (logging.DEBUG, "session opened"),
    SessionEnded: (logging.DEBUG, "session ended"),
    ClientRefused: (logging.INFO, "client refused"),
    MessageRefused: (logging.DEBUG, "message refused"),
    RoomOpened: (logging.INFO, "room opened"),
    RoomClosed: (logging.INFO, "room closed"),
    PeerJoined: (logging.INFO, "participant joined"),
    PeerLeft: (logging.INFO, "participant left"),
    PeerLost: (logging.DEBUG, "participant's connection lost"),
    PeerReturned: (logging.DEBUG, "participant is back"),
    Kicked: (logging.INFO, "participant sent away"),
    InvitationMade: (logging.INFO, "invitation made"),
    CandidatesSeen: (logging.DEBUG, "relayed addresses announced"),
    PairConnected: (logging.DEBUG, "participants connected"),
    ModeChanged: (logging.INFO, "media go another way"),
    RecordingChanged: (logging.INFO, "recording of a room"),
    MediaLost: (logging.WARNING, "media engine lost a connection"),
    VerdictGiven: (logging.INFO, "call fails"),
}

_NAMES: Final = {"user_id": "user", "code": "cause", "duration": "seconds", "msg": "why", "addresses": "relayed"}


_ACTIONABLE: Final = frozenset(
    {SignalCode.SERVER_FULL, SignalCode.ROOM_FULL, SignalCode.FORBIDDEN, SignalCode.BANNED, SignalCode.UNSUPPORTED_MODE}
)
"""Refusals that an operator can do something about; others belong to ordinary calls, or to faulty clients."""

_REFUSALS_RATE: Final = 5.0
_REFUSALS_BURST: Final = 50.0
"""Lines about refused clients, per second and in a burst, so that clients without a token cannot fill the disk."""


class Line(NamedTuple):
    """One line of the log."""

    level: int
    message: str
    fields: dict[str, Any]


class Journal:
    """The lines of all facts. Lines of refusals are limited; the next one has the number of suppressed ones."""

    def __init__(self) -> None:
        self._refusals = Bucket(_REFUSALS_RATE, _REFUSALS_BURST, 0.0)
        self._unwritten = 0

    def line(self, fact: Fact, mono: float) -> Line | None:
        """The line of a fact at ``mono`` (seconds); None if it is suppressed."""
        line = line_of(fact)
        if not isinstance(fact, ClientRefused | MessageRefused) or line.level < logging.INFO:
            return line
        if self._refusals.take(mono):
            self._unwritten += 1
            return None
        if self._unwritten:
            line.fields["more"] = self._unwritten
            self._unwritten = 0
        return line


def line_of(fact: Fact) -> Line:
    """The line of a fact; fields without a value are omitted."""
    level, message = _MESSAGES[type(fact)]
    if isinstance(fact, ClientRefused) and fact.code is SignalCode.DRAINING:
        level = logging.DEBUG  # every client is refused then, and the log says once that the server stops
    if isinstance(fact, MessageRefused) and fact.code in _ACTIONABLE:
        level = logging.INFO
    fields = {_NAMES.get(name, name): _plain(value) for name, value in fact._asdict().items()}
    return Line(level, message, {name: value for name, value in fields.items() if value not in ("", False, [])})


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [str(each) for each in value]
    if isinstance(value, float):
        return round(value, 1)
    return value if isinstance(value, bool) else str(value)
