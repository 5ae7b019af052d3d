"""Draining: a server takes nothing new, and the program around it waits until nothing is left."""

import asyncio
from collections.abc import Callable
from typing import Final

from turnserver.core.events import Event
from turnserver.core.types import Counters, Now
from turnserver.observers.base import RoomFact

__all__ = ["Drain"]

LOOK: Final = 1.0
"""Seconds after which it looks without an event: not everything that ends has one."""

SETTLE: Final = 0.2
"""Seconds between the end of the last call and that of the drain, in which the last answers are sent."""


class Drain:
    """The drain of one server; an observer of it, because an event may be the end of the last call."""

    def __init__(self, clock: Callable[[], Now]) -> None:
        self._clock = clock
        self._begun = asyncio.Event()
        self._changed = asyncio.Event()
        self._ends = 0.0
        self.until: float | None = None
        """When it is over at the latest (Unix time); None before it has begun."""

    @property
    def begun(self) -> bool:
        """Whether it has begun."""
        return self._begun.is_set()

    def begin(self, timeout: float) -> None:
        """Begin, for ``timeout`` seconds at most. Calling it again does nothing."""
        if not self.begun:
            now = self._clock()
            self._ends, self.until = now.mono + timeout, now.wall + timeout
            self._begun.set()

    def on_event(self, event: Event | RoomFact, counters: Counters | None) -> None:
        """Something has happened: look again."""
        self._changed.set()

    async def over(self, is_empty: Callable[[], bool]) -> bool:
        """Wait until the drain has begun, and then until ``is_empty``: True. False if its time is over before that."""
        await self._begun.wait()
        while not is_empty():
            left = self._ends - self._clock().mono
            if left <= 0:
                return False
            self._changed.clear()
            try:
                async with asyncio.timeout(min(left, LOOK)):
                    await self._changed.wait()
            except TimeoutError:
                continue
        await asyncio.sleep(SETTLE)
        return True
