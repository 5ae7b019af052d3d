"""The limit of open files of this process, and what of it is left for clients (`turnserver.descriptors`).

Nothing here changes the limit; that is the program's to do (`turnserver.process` does it for the command line).
"""

import os
import sys
from typing import Final

from turnserver.config import Config
from turnserver.descriptors import UNLIMITED

if sys.platform != "win32":
    import resource

__all__ = ["attainable_files", "client_files", "file_limit", "files_needed", "open_files"]

_SPARE: Final = 256
"""Descriptors for everything but relays and connections: listeners, log, certificates, credential hook, event loop."""

_SPARE_SHARE: Final = 8
"""The part of a small limit that is kept for those, at most: an eighth."""

_TYPICAL: Final = 32
"""Open files of a server at its start, where the system does not tell."""


def file_limit() -> int:
    """How many files this process may have open at once now: the soft RLIMIT_NOFILE."""
    if sys.platform == "win32":
        return UNLIMITED
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return UNLIMITED if soft == resource.RLIM_INFINITY else soft


def attainable_files() -> int:
    """How many it may allow itself: the hard RLIMIT_NOFILE, up to which ``meshturn serve`` raises the soft one."""
    if sys.platform == "win32":
        return UNLIMITED
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return UNLIMITED if hard == resource.RLIM_INFINITY else hard


def open_files() -> int:
    """How many files this process has open."""
    for folder in ("/proc/self/fd", "/dev/fd"):
        try:
            return len(os.listdir(folder)) - 1  # without the one that reads the folder
        except OSError:
            continue
    return _TYPICAL


def client_files(limit: int, opened: int) -> int:
    """Of a limit, the descriptors for clients: without those that are open at the start, and a reserve."""
    if limit >= UNLIMITED:
        return UNLIMITED
    return max(limit - opened - min(_SPARE, limit // _SPARE_SHARE), 0)


def files_needed(config: Config) -> int:
    """The open files that a server with this configuration may need, so that its own limits decide and not the system.

    One user may hold two thirds of what is free, so half as many again as there may be allocations.
    """
    connections = config.limits.connections if config.has_streams else 0
    return config.limits.allocations * 3 // 2 + connections + _SPARE
