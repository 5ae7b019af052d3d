"""The machine's clocks, for whoever is not given others."""

import time

from turnserver.core.types import Now

__all__ = ["system_clock"]


def system_clock() -> Now:
    """Both clocks, now."""
    return Now(time.monotonic(), time.time())
