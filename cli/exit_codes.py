"""The exit codes of ``meshturn``; scripts rely on them, so their meaning never changes."""

from enum import IntEnum

__all__ = ["ExitCode"]


class ExitCode(IntEnum):
    """The exit codes of every command."""

    OK = 0
    """Success; for a server: it was stopped by a signal."""

    FAILED = 1
    """The command ran, and the result is negative: a probe failed."""

    USAGE = 2
    """The command line or the configuration is wrong; running it again changes nothing."""

    CANNOT_START = 3
    """The machine does not allow it: a port in use, an address that is not local, a directory not writable, a disk or a
    standard output that is full."""

    DEVIATES = 4
    """The command ran, and what an RFC recommends is not so: a SHOULD failed, and no MUST."""

    INTERRUPTED = 130
    """Stopped by Ctrl-C before it was done (128 + SIGINT, as shells count it)."""
