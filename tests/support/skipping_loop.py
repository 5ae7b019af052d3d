"""An event loop with real sockets whose clock can be put forward: what is due then comes at once."""

import asyncio
import time
from collections.abc import Callable

from turnserver.core.types import Now

__all__ = ["SkippingLoop"]

PATIENCE = 20.0
"""Seconds of real time that a test waits for what must come: a limit for failures."""


class SkippingLoop(asyncio.SelectorEventLoop):
    """Its time is the real one, and ``offset`` seconds more."""

    offset = 0.0

    def time(self) -> float:
        """Monotonic seconds."""
        return super().time() + self.offset

    def now(self) -> Now:
        """Both clocks."""
        return Now(self.time(), time.time() + self.offset)

    async def turns(self, count: int) -> None:
        """Let the loop turn so many times: what has been sent over loopback is there, and is dealt with."""
        for _ in range(count):
            await asyncio.sleep(0)

    async def skip(self, seconds: float) -> None:
        """Put the clock forward, in steps in which everything that is due can follow from what was due before."""
        end = self.time() + seconds
        while (left := end - self.time()) > 0:
            self.offset += min(left, 20.0)
            await self.turns(4)

    async def until(self, condition: Callable[[], object], what: str) -> None:
        """Let the loop turn until something is so; an AssertionError that says ``what`` if it never is."""
        late = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < late, f"never: {what}"
            await asyncio.sleep(0)
