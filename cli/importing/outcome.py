"""What becomes of a configuration of another server: options of meshturn, secrets, and three lists for people."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from turnserver.config.document import dotted
from turnserver.config.loader import load_mapping
from turnserver.errors import ConfigError, Problem

__all__ = ["Entry", "FoundSecret", "Given", "Plan", "Remark", "Spell", "spelled", "tree"]


Spell = Callable[["FoundSecret"], Any]
"""How a secret is written in a configuration."""


class Given(NamedTuple):
    """An option as a file has it. ``value`` is empty for a flag; ``line`` is 0 for what is in no line."""

    line: int
    name: str
    value: str = ""


class Remark(NamedTuple):
    """An item of one of the lists: the option, its line (0 if it is in none), and what becomes of it."""

    line: int
    option: str
    text: str


class FoundSecret(NamedTuple):
    """A secret, and the name of the file that it belongs into. ``hashed``: it is a key and not a password."""

    file: str
    text: str
    hashed: bool = False


@dataclass(slots=True)
class Entry:
    """An option of meshturn: its path, its value (which may contain `FoundSecret`), and where it comes from."""

    path: tuple[str, ...]
    value: Any
    sources: tuple[Given, ...]


@dataclass(slots=True)
class Plan:
    """The options of meshturn, and what is said about those of the other server, each of which is in one list."""

    entries: list[Entry] = field(default_factory=list)
    taken: list[Remark] = field(default_factory=list)
    already: list[Remark] = field(default_factory=list)
    cannot: list[Remark] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    """What is wrong with the file itself."""

    def take(self, path: tuple[str, ...], value: Any, *sources: Given) -> None:
        """Set an option of meshturn."""
        self.entries.append(Entry(path, value, sources))
        self.taken += [Remark(given.line, given.name, dotted(path)) for given in sources]

    def same(self, given: Given, why: str) -> None:
        """Note that meshturn does what an option asks for, without being told."""
        self.already.append(Remark(given.line, given.name, why))

    def refuse(self, given: Given, advice: str) -> None:
        """Note that an option cannot be expressed, and what to do."""
        self.cannot.append(Remark(given.line, given.name, advice))

    def wrong(self, given: Given, found: str, allowed: str) -> None:
        """Note an error of the file; ``found`` must not quote a secret."""
        self.problems.append(Problem(given.name, given.line, found, allowed))

    @property
    def secrets(self) -> tuple[FoundSecret, ...]:
        """Every secret in the options."""
        return tuple(found for entry in self.entries for found in _secrets_in(entry.value))

    def settle(self) -> None:
        """Have the loader judge the options, and note those that it refuses as what cannot be expressed.

        So what is left is a valid configuration. Raises ConfigError if it is not one all the same.
        """
        while True:
            try:
                load_mapping(tree(self.entries, _inline))
            except ConfigError as error:
                refused = [(entry, problem) for entry in self.entries if (problem := _problem_of(entry, error))]
                if not refused:
                    raise
            else:
                return
            for entry, problem in refused:
                self._give_up(entry, problem)

    def _give_up(self, entry: Entry, problem: Problem) -> None:
        self.entries.remove(entry)
        option = dotted(entry.path)
        text = f"{option}: found {problem.found}; allowed: {problem.allowed}"
        for given in entry.sources or (Given(0, option),):
            self.taken = [note for note in self.taken if note != Remark(given.line, given.name, option)]
            self.cannot.append(Remark(given.line, given.name, text))


def _problem_of(entry: Entry, error: ConfigError) -> Problem | None:
    """The first problem that is about an entry."""
    path = dotted(entry.path)
    for problem in error.problems:
        rest = problem.key.removeprefix(path)
        if problem.key.startswith(path) and rest[:1] in {"", ".", "["}:
            return problem
    return None


def _secrets_in(value: Any) -> list[FoundSecret]:
    if isinstance(value, FoundSecret):
        return [value]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [found for each in inner for found in _secrets_in(each)]


def _inline(secret: FoundSecret) -> Any:
    """A secret in the configuration itself, for the loader only."""
    return {"key": secret.text} if secret.hashed else secret.text


def tree(entries: list[Entry], spell: Spell) -> dict[str, Any]:
    """The options as nested mappings; ``spell`` makes a value of each secret."""
    root: dict[str, Any] = {}
    for entry in entries:
        inner = root
        for part in entry.path[:-1]:
            inner = inner.setdefault(part, {})
        inner[entry.path[-1]] = spelled(entry.value, spell)
    return root


def spelled(value: Any, spell: Spell) -> Any:
    """A value with every secret in it replaced by what ``spell`` makes of it."""
    if isinstance(value, FoundSecret):
        return spell(value)
    if isinstance(value, dict):
        return {key: spelled(inner, spell) for key, inner in value.items()}
    return [spelled(inner, spell) for inner in value] if isinstance(value, list) else value
