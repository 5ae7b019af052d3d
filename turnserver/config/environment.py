"""Options from environment variables: ``MESHTURN_RELAY__PORTS=50000-50999`` is ``ports`` in ``relay``."""

import difflib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from turnserver.config.context import KeyPath
from turnserver.config.document import parse
from turnserver.config.models import Config, Section
from turnserver.errors import Problem

__all__ = ["OTHER_VARIABLES", "PREFIX", "Overlay", "did_you_mean", "overlay", "unknown_variables", "variables"]

PREFIX = "MESHTURN_"
"""What the names of our variables start with."""

OTHER_VARIABLES = frozenset({"MESHTURN_CONFIG", "MESHTURN_PASSWORD", "MESHTURN_STATE_DIR"})
"""Variables with our prefix that are options of commands, not of the configuration."""

_LONGEST_COMPARED = 64


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


def unknown_variables(environ: Mapping[str, str], used: Collection[str]) -> list[Problem]:
    """Return a problem for each variable with our prefix that names no option; ``used`` hold secrets."""
    known = variables()
    return [
        Problem(name, 0, "an unknown environment variable", _allowed_variable(name, known))
        for name in sorted(environ)
        if name.startswith(PREFIX) and name not in known and name not in OTHER_VARIABLES and name not in used
    ]


def _allowed_variable(name: str, known: Collection[str]) -> str:
    return f"{PREFIX}SECTION__OPTION for the options of the reference{did_you_mean(name, [*known, *OTHER_VARIABLES])}"


def did_you_mean(word: str, known: Collection[str]) -> str:
    """Return `` (did you mean …?)`` with the nearest known word, or nothing."""
    if len(word) > _LONGEST_COMPARED:
        return ""
    near = difflib.get_close_matches(word, known, n=1)
    return f" (did you mean {near[0]}?)" if near else ""
