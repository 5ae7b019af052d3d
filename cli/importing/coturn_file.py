"""``turnserver.conf`` as coturn reads it: one option a line, with or without a value.

These are coturn's rules, and not those of other files that look alike. A comment is a line that begins with ``#``;
what follows a value on its line belongs to the value. Spaces, tabs and equals signs separate name and value, as many as
there are; later ones belong to the value. A value in double quotes is what is between them. Options have their long
names, and may be repeated.
"""

import re
from typing import Final

from cli.importing.outcome import Given, Plan

__all__ = ["MAX_LINE", "boolean", "number", "read_coturn"]

MAX_LINE: Final = 1023
"""Bytes of the longest line that coturn takes in one piece."""

_SEPARATOR: Final = re.compile(r"[ =\t]+")
_SPACE: Final = " \t\n\r\v\f"
_NUMBER: Final = re.compile(r"[0-9]{1,18}", re.ASCII)


def read_coturn(text: str, plan: Plan) -> list[Given]:
    """The options of a file in their order; ``plan`` takes the errors."""
    found: list[Given] = []
    for number, raw in enumerate(text.split("\n"), 1):
        line = raw.lstrip(" \t\r").rstrip(_SPACE)
        if not line or line.startswith("#"):
            continue
        name, value = _split(line)
        given = Given(number, name, value)
        if "\0" in line:
            plan.wrong(given._replace(name=""), "a line with a NUL character", "text")
        elif len(line.encode()) > MAX_LINE:
            plan.wrong(given._replace(name=""), "a line that coturn would cut", f"at most {MAX_LINE} bytes")
        else:
            found.append(given)
    return found


def _split(line: str) -> tuple[str, str]:
    """Name and value of a line without spaces around it; the value is empty for a flag."""
    name, *rest = _SEPARATOR.split(line, maxsplit=1)
    value = rest[0] if rest else ""
    if value.startswith('"'):
        value = value[1:].rstrip(_SPACE)
        value = value.removesuffix('"')
    return name, value


def boolean(given: Given, plan: Plan) -> bool:
    """Whether a flag is set: coturn looks at the first character of its value, and at ``on`` and ``off``."""
    value = given.value.lower()
    if not value or value[0] in "yt123456789" or value.startswith("on"):
        return True
    if value[0] in "0nf" or value.startswith("of"):
        return False
    plan.wrong(given, "neither yes nor no", "nothing, yes or no, 1 or 0")
    return False


def number(given: Given, plan: Plan, default: int | None = None) -> int:
    """The number of an option; ``default`` is that of an option without a value, None if it needs one."""
    if not given.value and default is not None:
        return default
    if not _NUMBER.fullmatch(given.value):
        plan.wrong(given, "no number", "a whole number")
        return 0
    return int(given.value)
