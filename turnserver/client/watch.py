"""Whether anything comes from the other side while ICE says that the connection stands.

ICE itself notices a dead path after 30 s only (RFC 7675 §5.1), and a live one may lead to an address that takes nothing
but checks. So media and data are counted: when none come, the other side is made to send something, and when that does
not come either, the connection is dead. This module has no clock: who looks at equal intervals gives it what has come.
"""

from collections.abc import Callable
from typing import Final

__all__ = ["Watch"]

_LONGEST: Final = 60
"""Looks without anything after which a connection counts as dead, at most: a minute at one look a second."""


class Watch:
    """The looks at one participant's connections, of which there is one after the other.

    A connection is dead after ``misses`` looks in a row without anything. Each time that a new one has not helped,
    there are twice as many, up to a minute's worth. Once something has come at more looks than ``misses``, they are
    so many again.
    """

    def __init__(self, misses: int) -> None:
        self._least = misses
        self._patience = misses
        self._received = -1
        self._missed = 0
        self._heard = 0

    def begin(self) -> None:
        """There is a new connection."""
        self._received = -1
        self._missed = self._heard = 0

    def look(self, received: int, *, able: bool, probe: Callable[[], bool]) -> bool:
        """Whether the connection is dead, over which ``received`` bytes of media and data have come so far.

        ``able`` is whether something can be done about that now; otherwise the look does not count. ``probe`` makes the
        other side send something, and returns False if nothing need come from it: nor does the look count then.
        """
        if received != self._received:
            self._received = received
            self._missed = 0
            self._heard += 1
            if self._heard > self._least:
                self._patience = self._least
            return False
        if not able:
            return False
        self._heard = 0
        self._missed = self._missed + 1 if probe() else 0
        if self._missed < self._patience:
            return False
        self._missed = 0
        self._patience = min(self._patience * 2, _LONGEST)
        return True
