"""What a check finds: its grade, what is wrong in a sentence, and the frames that show it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from cli.conform.decoded import decoded
from cli.conform.table import CheckRow, Demand

__all__ = ["ConformReport", "Exchange", "FrameLog", "Grade", "Graded", "Untestable", "Wrong"]

_MOST: Final = 400
"""Frames kept of one check."""

_LONGEST: Final = 4096
"""Bytes kept of one frame."""


class Grade(StrEnum):
    """What became of a check."""

    PASSED = "passed"
    FAILED = "failed"
    UNTESTED = "not tested"
    BROKEN = "broken"
    """The check itself has raised an exception: a fault of the kit."""


class Wrong(Exception):
    """The server does not do what is right; the message says what it does, in a sentence."""


class Untestable(Exception):
    """It cannot be seen here; the message says why, in a sentence."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """One frame, sent or received: ``way`` is an arrow and who it is with."""

    way: str
    frame: bytes
    size: int

    @classmethod
    def of(cls, way: str, frame: bytes) -> "Exchange":
        """An entry for a frame, which is cut if it is long."""
        return cls(way, frame[:_LONGEST], len(frame))

    @property
    def text(self) -> str:
        """The frame in words."""
        if "peer" in self.way:
            return f"{self.size} bytes of a peer"
        return decoded(self.frame) if self.size == len(self.frame) else f"{self.size} bytes, cut here"

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {"way": self.way, "hex": self.frame.hex(), "decoded": self.text}


@dataclass(slots=True)
class Graded:
    """The result of one check on one transport: ``sentence`` says what came, or why nothing could be seen."""

    check: CheckRow
    target: str
    mode: str
    grade: Grade
    sentence: str = ""
    exchanges: Sequence[Exchange] = ()
    seconds: float = 0.0

    @property
    def name(self) -> str:
        """The check's name, with the kind of integrity if it was run with several."""
        return f"{self.check.name}[{self.mode}]" if self.mode else self.check.name

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "check": self.check.name,
            "integrity": self.mode or None,
            "target": self.target,
            "rule": self.check.rule,
            "rfc": self.check.rfc,
            "level": str(self.check.level),
            "verdict": str(self.grade),
            "right": self.check.right,
            "found": self.sentence or None,
            "seconds": round(self.seconds, 4),
            "exchanges": [each.as_json() for each in self.exchanges],
        }


@dataclass(slots=True)
class FrameLog:
    """The frames of one check, in order; the first ones, if there are very many."""

    exchanges: list[Exchange] = field(default_factory=list)

    def note(self, way: str, frame: bytes) -> None:
        """Add a frame."""
        if len(self.exchanges) < _MOST:
            self.exchanges.append(Exchange.of(way, frame))


@dataclass(slots=True)
class ConformReport:
    """All that was found."""

    findings: list[Graded] = field(default_factory=list)
    troubles: list[tuple[str, str]] = field(default_factory=list)
    """Targets that could not be reached, each with a sentence."""
    software: str = ""

    def count(self, grade: Grade, level: Demand | None = None) -> int:
        """How many findings there are of a grade, and of a level."""
        return self._count(lambda each: each.grade is grade and level in (None, each.check.level))

    @property
    def failures(self) -> list[Graded]:
        """What is wrong, the gravest first."""
        order = list(Demand)
        failed = (each for each in self.findings if each.grade in (Grade.FAILED, Grade.BROKEN))
        return sorted(failed, key=lambda each: order.index(each.check.level))

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "software": self.software or None,
            "unreachable": [{"target": target, "why": why} for target, why in self.troubles],
            "counts": {str(verdict): self.count(verdict) for verdict in Grade},
            "failed": {str(level): self.count(Grade.FAILED, level) for level in Demand},
            "findings": [each.as_json() for each in self.findings],
        }

    def _count(self, counts: Callable[[Graded], bool]) -> int:
        return sum(map(counts, self.findings))
