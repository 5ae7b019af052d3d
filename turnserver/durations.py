"""Times as people write them: ``90``, ``15m``, ``1h30m``, ``1d``, ``2w``; in files, variables and options alike."""

import re
from typing import Final

__all__ = ["PATTERN", "read_duration", "spell_duration"]

_UNITS: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}

PATTERN: Final = "(?:[0-9]{1,9}[smhdw]){1,5}|[0-9]{1,9}"
"""What is a duration, as a regular expression (for JSON Schema, too): whole seconds, or numbers with their units."""

_DURATION: Final = re.compile(PATTERN, re.ASCII)
_PART: Final = re.compile("([0-9]+)([smhdw]?)", re.ASCII)


def read_duration(text: str) -> int:
    """The whole seconds of a duration. Raises ValueError for what is none."""
    if not _DURATION.fullmatch(text):
        raise ValueError("a duration is a number of seconds, or numbers with s, m, h, d or w")
    return sum(int(number) * _UNITS[unit] for number, unit in _PART.findall(text))


def spell_duration(seconds: int) -> str:
    """The same as text, in the largest unit that it is a whole number of."""
    for unit in ("d", "h", "m"):
        if seconds and seconds % _UNITS[unit] == 0:
            return f"{seconds // _UNITS[unit]}{unit}"
    return f"{seconds}s"
