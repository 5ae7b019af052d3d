"""A griffe extension for the reference: links from names in docstrings to the public API.

Docstrings name things by the module that defines them, in backticks: `turnserver.errors.ConfigError`, or `ConfigError`
for short. Readers import them from `meshturn`. So on the site such a name becomes a link to
`meshturn.errors.ConfigError`, if it is part of the public API. Other names stay unchanged. The two colons before a code
block become one, because the site uses Markdown.
"""

import inspect
import re
from types import ModuleType
from typing import Any

import griffe

import meshturn

__all__ = ["PublicNames"]

NAME = re.compile(r"(?<![`\[])`([A-Za-z_][\w.]*)`(?!`)")


class PublicNames(griffe.Extension):
    """Links names of the public API in docstrings."""

    def __init__(self) -> None:
        super().__init__()
        self._found = dict(_public_names())

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Replace the names in a docstring; griffe calls it for every module, class, function and attribute."""
        if obj.docstring is not None:
            text = re.sub(r"::(?=\n\n)", ":", obj.docstring.value)
            obj.docstring.value = NAME.sub(lambda match: self._linked(match[1], obj), text)

    def _linked(self, name: str, obj: griffe.Object) -> str:
        """A link for the longest public prefix of the name, with the rest if it is a method or a property."""
        head, rest = name, ""
        while head not in self._found and "." in head:
            head, _, last = head.rpartition(".")
            rest = f".{last}{rest}"
        if head not in self._found:
            return f"`{name}`"
        path, value = self._found[head]
        inner = getattr(value, rest[1:], None) if rest else None
        if rest and (inner is None or not (inspect.isfunction(inner) or isinstance(inner, property))):
            return f"`{name}`"
        short = path.rpartition(".")[2]
        return f"[`{short}{rest}`][{path}{rest}]"


def _public_names() -> list[tuple[str, tuple[str, object]]]:
    """Every public class and function with its public path, by its short name and by that of its defining module."""
    found: list[tuple[str, tuple[str, object]]] = []
    for name in meshturn.__all__:
        value = getattr(meshturn, name)
        if isinstance(value, ModuleType):
            inner = [(each, getattr(value, each)) for each in value.__all__]
            found += [entry for each in inner for entry in _entries(f"meshturn.{name}.{each[0]}", each[1])]
        else:
            found += _entries(f"meshturn.{name}", value)
    return found


def _entries(path: str, value: object) -> list[tuple[str, tuple[str, object]]]:
    if not inspect.isclass(value) and not inspect.isfunction(value):
        return []
    return [(name, (path, value)) for name in (value.__name__, f"{value.__module__}.{value.__qualname__}")]
