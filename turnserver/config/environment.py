"""Options from environment variables: ``MESHTURN_RELAY__PORTS=50000-50999`` is ``ports`` in ``relay``."""

import difflib
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from pydantic import BaseModel

from turnserver.config.context import KeyPath
from turnserver.config.document import parse
from turnserver.config.models import Config, Section
from turnserver.errors import Problem

__all__ = [
    "OTHER_VARIABLES",
    "PREFIX",
    "Overlay",
    "Unknown",
    "did_you_mean",
    "overlay",
    "unknown_variables",
    "variables",
]

PREFIX = "MESHTURN_"
"""What the names of our variables start with."""

OTHER_VARIABLES = frozenset(
    {"MESHTURN_CONFIG", "MESHTURN_FROM_KEY", "MESHTURN_PASSWORD", "MESHTURN_STATE_DIR", "MESHTURN_TOKEN"}
)
"""Variables with our prefix that are options of commands, not of the configuration."""

_LONGEST_COMPARED = 64
_COMPARED = 5
"""Known words, the nearest first, that a mistyped one is compared with."""

_MOST_WARNINGS = 20
"""Unknown variables that have a warning each; the environment can be large, and nobody reads more."""

_URL = r"(?:tcp|udp|sctp)://\S+"
_HOST = r"[0-9A-Fa-f.:]+"
_LINKS: Final = tuple(
    (re.compile(PREFIX + r"(?:[A-Z0-9_]+_)?" + name, re.ASCII), re.compile(value, re.ASCII))
    for name, value in (
        ("SERVICE_HOST", _HOST),
        ("SERVICE_PORT(?:_[A-Z0-9_]+)?", r"[0-9]+"),
        ("PORT", _URL),
        ("PORT_[0-9]+_(?:TCP|UDP|SCTP)", _URL),
        ("PORT_[0-9]+_(?:TCP|UDP|SCTP)_PROTO", r"tcp|udp|sctp"),
        ("PORT_[0-9]+_(?:TCP|UDP|SCTP)_PORT(?:_START|_END)?", r"[0-9]+"),
        ("PORT_[0-9]+_(?:TCP|UDP|SCTP)_ADDR", _HOST),
        ("PORT_[0-9]+_(?:TCP|UDP|SCTP)_(?:START|END)", _URL),
        ("NAME", r"/\S+"),
        ("ENV_.+", r"(?s:.*)"),
    )
)
"""What Kubernetes sets in every pod for a Service, and Docker for a linked container, whose name starts with ours."""


@dataclass(slots=True)
class Overlay:
    """A configuration with options replaced by environment variables, and the variable of each such value."""

    data: dict[str, Any]
    origins: dict[KeyPath, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def origin_of(self, path: KeyPath) -> str | None:
        """Return the variable that set the value at a path, or something around it."""
        for end in range(len(path), 0, -1):
            if path[:end] in self.origins:
                return self.origins[path[:end]]
        return None


def variables() -> dict[str, tuple[str, ...]]:
    """Return every variable that is an option, with the path of the option; sections before what is in them."""
    return {PREFIX + "__".join(path).upper(): path for path in sorted(_paths(Config, ()), key=len)}


def _paths(section: type[BaseModel], prefix: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    for name, info in section.model_fields.items():
        yield (*prefix, name)
        if isinstance(info.annotation, type) and issubclass(info.annotation, Section):
            yield from _paths(info.annotation, (*prefix, name))


def overlay(data: Mapping[str, Any], environ: Mapping[str, str]) -> Overlay:
    """Copy plain values and replace options by variables; each variable replaces one option as a whole.

    An empty variable is ignored, because shell scripts leave variables empty that they have no value for."""
    result = Overlay(dict(data))
    for name, path in variables().items():
        if not environ.get(name, "").strip():
            continue
        document = parse(environ[name])
        result.problems += [problem._replace(key=name, line=0) for problem in document.problems]
        if not document.problems:
            _put(result.data, path, document.data)
            result.origins[path] = name
    return result


def _put(data: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    for key in path[:-1]:
        inner = data.get(key)
        data[key] = dict(inner) if isinstance(inner, Mapping) else {}
        data = data[key]
    data[path[-1]] = value


class Unknown(NamedTuple):
    """Variables with our prefix that name no option: those that only we can be meant by, and sentences for the rest."""

    problems: list[Problem]
    warnings: list[str]


def unknown_variables(environ: Mapping[str, str], used: Collection[str]) -> Unknown:
    """Find the variables with our prefix that name no option; ``used`` hold secrets.

    Two underscores between parts are our own way of writing, so such a variable is a mistyped option, an error. Others
    also write to the environment, so a name without is a warning. Links to services of our name are neither.
    """
    known = variables()
    unknown = [
        name
        for name in sorted(environ)
        if name.startswith(PREFIX) and not (name in known or name in OTHER_VARIABLES or name in used)
    ]
    unknown = [name for name in unknown if not _is_link(name, environ[name])]
    foreign = [name for name in unknown if "__" not in name]
    problems = [
        Problem(name, 0, "an unknown environment variable", _allowed_variable(name, known))
        for name in unknown
        if "__" in name
    ]
    warnings = [
        f"The environment variable {name[:_LONGEST_COMPARED]} is not an option of meshturn and is ignored"
        f"{did_you_mean(name, [*known, *OTHER_VARIABLES])}."
        for name in foreign[:_MOST_WARNINGS]
    ]
    more = len(foreign) - len(warnings)
    return Unknown(problems, [*warnings, f"{more} more environment variables are ignored."] if more else warnings)


def _is_link(name: str, value: str) -> bool:
    """Whether a container platform has set a variable, and no person: told by its name and its value."""
    return any(names.fullmatch(name) and values.fullmatch(value) for names, values in _LINKS)


def _allowed_variable(name: str, known: Collection[str]) -> str:
    return f"{PREFIX}SECTION__OPTION for the options of the reference{did_you_mean(name, [*known, *OTHER_VARIABLES])}"


def did_you_mean(word: str, known: Collection[str]) -> str:
    """Return `` (did you mean …?)`` with the nearest known word, or nothing.

    Of words that share as many letters with it, one with exactly its letters is the nearest: two were swapped.
    """
    if len(word) > _LONGEST_COMPARED:
        return ""
    near = difflib.get_close_matches(word, known, n=_COMPARED)
    letters = sorted(word)
    best = min(near, key=lambda other: sorted(other) != letters, default="")
    return f" (did you mean {best}?)" if best else ""
