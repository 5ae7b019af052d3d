"""What the exit codes of ``meshturn`` mean; scripts rely on them, so they never change meaning."""

from enum import IntEnum

__all__ = ["ExitCode"]


class ExitCode(IntEnum):
    """The exit codes of every command."""

    OK = 0
    """It did what it was asked to; for a server: it was told to stop and stopped."""

    FAILED = 1
    """It ran, and the answer is no: a probe failed."""

    USAGE = 2
    """The command line or the configuration is wrong; running it again changes nothing."""

    CANNOT_START = 3
    """The machine is in the way: a port in use, an address that is not local, a directory not writable."""

    INTERRUPTED = 130
    """Stopped by Ctrl-C before it was done (128 + SIGINT, as shells count it)."""
