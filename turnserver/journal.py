"""The systemd journal: whether a stream is written to it, and the priority of a line (sd-daemon(3))."""

import logging
import os
from collections.abc import Mapping
from typing import Final, TextIO

__all__ = ["is_journal", "prefix", "with_priority"]

_PRIORITIES: Final = (
    (logging.CRITICAL, 2),
    (logging.ERROR, 3),
    (logging.WARNING, 4),
    (logging.INFO, 6),
    (logging.NOTSET, 7),
)
"""From each level of Python's log up, the priority of syslog(3)."""


def is_journal(stream: TextIO | None, environ: Mapping[str, str]) -> bool:
    """Whether ``stream`` is the journal's, as ``JOURNAL_STREAM`` says (systemd.exec(5)).

    Its device and inode are compared, because a program that sends its output elsewhere still has the variable.
    """
    device, _, inode = environ.get("JOURNAL_STREAM", "").partition(":")
    if stream is None or not inode:
        return False
    try:
        facts = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return (device, inode) == (str(facts.st_dev), str(facts.st_ino))


def prefix(level: int) -> str:
    """What the journal reads the priority from, in front of a line of this level of the log."""
    return f"<{next(priority for least, priority in _PRIORITIES if level >= least)}>"


def with_priority(text: str, level: int) -> str:
    """A record of one or more lines, each with its priority: the journal has an entry for each line."""
    mark = prefix(level)
    return mark + text.replace("\n", f"\n{mark}")
