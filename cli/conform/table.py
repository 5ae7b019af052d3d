"""The table of rules: what docs/conformance.md says, and what the checks of ``meshturn conform`` are named after."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any, Final

__all__ = ["CheckRow", "Demand", "RuleRow", "RuleSection", "checks", "sections"]

_FILE: Final = Path(__file__).with_name("rules.toml")


class Demand(StrEnum):
    """How much an RFC demands of a server."""

    MUST = "MUST"
    SHOULD = "SHOULD"
    CHOICE = "choice"
    """Servers may differ; it is shown, and is never a failure of the server."""


@dataclass(frozen=True, slots=True)
class CheckRow:
    """One check: its name, the level, the RFC's section, what is right in a sentence, and the rule it belongs to."""

    name: str
    level: Demand
    rfc: str
    right: str
    rule: str


@dataclass(frozen=True, slots=True)
class RuleRow:
    """What is so, the code that does it, the tests that prove it, and the checks that see it from outside."""

    rfc: str
    what: str
    code: tuple[str, ...]
    tests: tuple[str, ...]
    checks: tuple[CheckRow, ...]


@dataclass(frozen=True, slots=True)
class RuleSection:
    """A rule, or the rules of one RFC."""

    title: str
    text: str
    rows: tuple[RuleRow, ...]

    @property
    def number(self) -> int | None:
        """The number of the rule; None for a section about an RFC."""
        return int(self.title[5:].partition(":")[0]) if self.title.startswith("Rule ") else None


@cache
def sections() -> tuple[RuleSection, ...]:
    """All sections, in the document's order."""
    with _FILE.open("rb") as stream:
        return tuple(_section(each) for each in tomllib.load(stream)["section"])


@cache
def checks() -> Mapping[str, CheckRow]:
    """Every check by its name, in the document's order. Raises ValueError if two have one name."""
    found: dict[str, CheckRow] = {}
    for section in sections():
        for row in section.rows:
            for check in row.checks:
                if check.name in found:
                    raise ValueError(f"two checks have the name {check.name}")
                found[check.name] = check
    return found


def _section(entry: Mapping[str, Any]) -> RuleSection:
    return RuleSection(entry["title"], entry["text"], tuple(_row(each, entry["title"]) for each in entry["row"]))


def _row(entry: Mapping[str, Any], rule: str) -> RuleRow:
    found = tuple(
        CheckRow(name, Demand(level), rfc, right, rule) for name, level, rfc, right in entry.get("checks", ())
    )
    return RuleRow(entry["rfc"], entry["what"], tuple(entry["code"]), tuple(entry["tests"]), found)
