"""YAML as plain values with the line of each, from unchecked text.

Read as YAML 1.2's core schema reads it: ``true`` and ``false`` are the only switches, ``1:30`` and ``0777`` are
texts, not numbers. Anchors, aliases and tags are refused: a configuration does not need them, and aliases can expand a
small file to a huge value. Sizes, depth and the number of values are bounded, so reading ends in bounded time.
"""

import re
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from yaml.reader import ReaderError

from turnserver.config.context import KeyPath
from turnserver.errors import Problem

__all__ = ["MAX_DEPTH", "MAX_VALUES", "Document", "dotted", "parse"]

MAX_DEPTH = 16
"""Mappings and lists within one another; the schema has five."""

MAX_VALUES = 25_000
"""Values and keys in one document."""

_NO_ALIASES = "values written out: no anchors (&) and aliases (*); a text that starts with one needs quotes"
_NO_TAGS = "values without tags (!); a text that starts with one needs quotes"
_SYNTAX = "YAML: `key: value` lines, indented with spaces; texts with special characters in quotes"

_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLEAN = {text: text.lower() == "true" for text in ("true", "True", "TRUE", "false", "False", "FALSE")}
_INTEGER = re.compile(r"[-+]?[0-9]{1,18}", re.ASCII)
_LEADING_ZERO = re.compile(r"[-+]?0[0-9]", re.ASCII)
_FLOAT = re.compile(r"[-+]?[0-9]{1,18}\.[0-9]{0,18}", re.ASCII)
_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
_QUOTED = re.compile(r"'([^']*)'")


@dataclass(slots=True)
class Document:
    """The content of a text: ``data`` in plain values (None if it is empty or cannot be read), with lines."""

    data: Any = None
    lines: dict[KeyPath, int] = field(default_factory=dict)
    """The line of every key and list item, from 1."""
    problems: list[Problem] = field(default_factory=list)

    def line_of(self, path: KeyPath) -> int:
        """Return the line of a path, or of the nearest thing around it that has one; 0 if there is none."""
        for end in range(len(path), 0, -1):
            if path[:end] in self.lines:
                return self.lines[path[:end]]
        return 0 if path else self.lines.get((), 0)


def dotted(path: KeyPath) -> str:
    """Return a path as people write it: ``listeners[1].port``; keys with odd characters in quotes, long ones cut."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
            continue
        shown = part if _PLAIN_KEY.fullmatch(part) else repr(part if len(part) <= 64 else part[:64] + "…")
        text += f".{shown}" if text else shown
    return text


def parse(text: str) -> Document:
    """Read one YAML document. Never raises; ``problems`` has the errors, without quoting the text."""
    document = Document()
    loader = None
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is not None:
            document.data = _Builder(document).build(node, (), _line(node))
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        allowed = error.allowed if isinstance(error, _RefusedError) else _SYNTAX
        document.problems.append(Problem("", line, _without_quotations(error.problem or "broken YAML"), allowed))
    except ReaderError as error:
        position = error.position if isinstance(error.position, int) else 0
        line = text[:position].count("\n") + 1
        document.problems.append(Problem("", line, "a control character", "text without control characters"))
    except (ValueError, OverflowError, yaml.YAMLError) as error:
        # PyYAML does not check that an escape like \UFFFFFFFF is a character; chr() does, and raises its own errors.
        document.problems.append(Problem("", 0, f"broken YAML ({type(error).__name__})", _SYNTAX))
    finally:
        if loader is not None:
            loader.dispose()
    return document


def _without_quotations(message: str) -> str:
    """Drop what a parser's message quotes from the text: it may be a secret."""
    return _QUOTED.sub(lambda match: match[0] if len(match[1]) <= 2 or match[1][:1] == "<" else "'…'", message)


class _RefusedError(yaml.MarkedYAMLError):
    """Valid YAML that is refused here."""

    def __init__(self, problem: str, allowed: str, mark: Any) -> None:
        self.allowed = allowed
        super().__init__(problem=problem, problem_mark=mark)


class _Loader(yaml.SafeLoader):
    """Composes nodes; refuses aliases, tags, too much depth and too many values before they cost anything."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0
        self._values = 0

    def compose_node(self, parent: Node | None, index: int) -> Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if getattr(event, "anchor", None) is not None:  # an alias has its anchor's name there, too
            raise _RefusedError("an anchor or an alias", _NO_ALIASES, event.start_mark)
        if getattr(event, "tag", None) is not None:
            raise _RefusedError("a tag", _NO_TAGS, event.start_mark)
        self._depth += 1
        self._values += 1
        if self._depth > MAX_DEPTH:
            raise _RefusedError("values that are nested too deeply", f"at most {MAX_DEPTH} levels", event.start_mark)
        if self._values > MAX_VALUES:
            raise _RefusedError("too many values", f"at most {MAX_VALUES} keys and values", event.start_mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


class _Builder:
    """Makes plain values of nodes, noting lines and duplicate keys."""

    def __init__(self, document: Document) -> None:
        self._document = document

    def build(self, node: Node, path: KeyPath, line: int) -> Any:
        self._document.lines.setdefault(path, line)
        if isinstance(node, MappingNode):
            return self._mapping(node, path)
        if isinstance(node, SequenceNode):
            return [self.build(item, (*path, index), _line(item)) for index, item in enumerate(node.value)]
        return _scalar(node) if isinstance(node, ScalarNode) else None

    def _mapping(self, node: MappingNode, path: KeyPath) -> dict[Hashable, Any]:
        built: dict[Hashable, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, ScalarNode):
                self._problem(path, key_node, "a list or a mapping as a key", "a text as a key")
                continue
            key = key_node.value
            place = (*path, key)
            if key in built:
                self._problem(
                    place, key_node, f"the same key again (first on line {self._document.lines[place]})", "it once"
                )
                continue
            built[key] = self.build(value_node, place, _line(key_node))
        return built

    def _problem(self, path: KeyPath, node: Node, found: str, allowed: str) -> None:
        self._document.problems.append(Problem(dotted(path), _line(node), found, allowed))


def _line(node: Node) -> int:
    return int(node.start_mark.line) + 1


def _scalar(node: ScalarNode) -> str | int | float | bool | None:
    """Resolve a scalar by YAML 1.2's core schema; quoted ones are texts."""
    text: str = node.value
    if node.style is not None:
        return text
    if text in _NULL:
        return None
    if text in _BOOLEAN:
        return _BOOLEAN[text]
    if _LEADING_ZERO.match(text):
        return text
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _FLOAT.fullmatch(text) else text
