"""The kinds of the core's deadlines. One `turnserver.deadlines.Deadlines` holds them all."""

from enum import IntEnum
from typing import NamedTuple

__all__ = ["DeadlineKey", "DeadlineKind"]


class DeadlineKind(IntEnum):
    """What a deadline is for."""

    RELAY = 1
    PERMISSION = 2
    CHANNEL = 3
    RESERVATION = 4
    RETRANSMISSION = 5
    LOOKUP = 6
    CONNECTION = 7
    OPENING = 8


class DeadlineKey(NamedTuple):
    """Names a deadline: its kind, the number of the allocation (or 0), and what expires."""

    kind: DeadlineKind
    owner: int
    item: object
