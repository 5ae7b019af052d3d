"""What can go wrong outside the packet path; each error is a sentence for the person who runs the server."""

__all__ = ["ConfigError", "DatapathError", "Problem", "ServerError", "StartupError", "UnknownNameError"]

from typing import NamedTuple

from meshturn.root import MeshturnError


class ServerError(MeshturnError):
    """The root of the server's own errors: the text of each is a sentence for the person who runs it."""


class Problem(NamedTuple):
    """One thing wrong with a configuration: the key, the line (0 without one), what was found and what is allowed."""

    key: str
    line: int
    found: str
    allowed: str

    def __str__(self) -> str:
        """All of it in one line."""
        where = [f"line {self.line}"] if self.line else []
        what = [f"found {self.found}"] if self.found else []
        what += [f"allowed: {self.allowed}"] if self.allowed else []
        return ": ".join([*where, *([self.key] if self.key else []), "; ".join(what)])


class ConfigError(ServerError):
    """The configuration cannot be used; carries every problem found, not just the first, and has a line for each."""

    def __init__(self, source: str, problems: list[Problem]) -> None:
        self.source = source
        self.problems = problems
        super().__init__("\n  ".join([f"{source}: {len(problems)} problem(s)", *map(str, problems)]))


class StartupError(ServerError):
    """The server cannot start; ``hint`` says what to do about it."""

    def __init__(self, message: str, hint: str = "") -> None:
        self.hint = hint
        super().__init__(message)


class DatapathError(ServerError):
    """A relay socket could not be opened; the core tries another port, then answers 508."""


class UnknownNameError(ServerError):
    """Nothing is registered under a name; the text lists the names there are."""
