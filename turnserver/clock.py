"""The machine's clocks, the default where no others are given."""

import time

from turnserver.core.types import Now

__all__ = ["system_clock"]


def system_clock() -> Now:
    """Both clocks, now."""
    return Now(time.monotonic(), time.time())
