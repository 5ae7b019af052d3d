"""What has to be done in the end, and could not be: it is tried again, less and less often, for some minutes."""

from collections.abc import Hashable
from typing import Final, Generic, TypeVar

from turnserver.deadlines import Deadlines

__all__ = ["TRIES", "Retries"]

FIRST_PAUSE: Final = 1.0
"""Seconds before the second try; each pause after that is twice as long."""

TRIES: Final = 9
"""After so many, some four minutes in all, whatever is broken is taken to be broken for good."""

_Thing = TypeVar("_Thing", bound=Hashable)


class Retries(Generic[_Thing]):
    """Things to try again, and when. Pure: ``mono`` is the monotonic time, in seconds."""

    def __init__(self) -> None:
        self._deadlines: Deadlines[_Thing] = Deadlines()
        self._tries: dict[_Thing, int] = {}

    def __len__(self) -> int:
        """How many there are."""
        return len(self._tries)

    def failed(self, thing: _Thing, mono: float) -> bool:
        """Count a try that failed, and put down when to try again; False when that was the last one."""
        tries = self._tries[thing] = self._tries.get(thing, 0) + 1
        if tries >= TRIES:
            self.done(thing)
            return False
        self._deadlines.set(thing, mono + FIRST_PAUSE * 2 ** (tries - 1))
        return True

    def done(self, thing: _Thing) -> None:
        """It has been done, or is not wanted any more."""
        if self._tries.pop(thing, None) is not None:
            self._deadlines.remove(thing)

    def next(self) -> float | None:
        """When the next thing is to be tried; None when there is nothing."""
        return self._deadlines.next()

    def due(self, mono: float) -> list[_Thing]:
        """What is to be tried now; each is to be reported as failed or done."""
        return list(self._deadlines.due(mono))
