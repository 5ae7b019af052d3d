"""Repeats failed operations that must not be lost, with growing pauses, for some minutes."""

from collections.abc import Hashable
from typing import Final, Generic, TypeVar

from turnserver.deadlines import Deadlines

__all__ = ["TRIES", "Retries"]

FIRST_PAUSE: Final = 1.0
"""Seconds before the second try; each pause after that is twice as long."""

TRIES: Final = 9
"""Tries in all, over some four minutes; after that, the failure is taken to be permanent."""

_Thing = TypeVar("_Thing", bound=Hashable)


class Retries(Generic[_Thing]):
    """Operations to try again, and when. Pure: ``mono`` is the monotonic time, in seconds."""

    def __init__(self) -> None:
        self._deadlines: Deadlines[_Thing] = Deadlines()
        self._tries: dict[_Thing, int] = {}

    def __len__(self) -> int:
        """The number of operations."""
        return len(self._tries)

    def failed(self, thing: _Thing, mono: float) -> bool:
        """Count a failed try, and schedule the next one; False if it was the last one."""
        tries = self._tries[thing] = self._tries.get(thing, 0) + 1
        if tries >= TRIES:
            self.done(thing)
            return False
        self._deadlines.set(thing, mono + FIRST_PAUSE * 2 ** (tries - 1))
        return True

    def done(self, thing: _Thing) -> None:
        """Remove an operation that has succeeded, or is no longer needed."""
        if self._tries.pop(thing, None) is not None:
            self._deadlines.remove(thing)

    def next(self) -> float | None:
        """The time of the next try; None if there is none."""
        return self._deadlines.next()

    def due(self, mono: float) -> list[_Thing]:
        """The operations to try now; the caller reports each as failed or done."""
        return list(self._deadlines.due(mono))
