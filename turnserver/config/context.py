"""What validation needs besides the values, and what it collects on the way."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from pydantic import ValidationInfo
from pydantic_core import PydanticCustomError

__all__ = ["Context", "Finding", "KeyPath", "refuse", "report", "warn"]

KeyPath = tuple[str | int, ...]
"""The way from the root of a configuration to a value: keys and list indices."""


@dataclass(frozen=True, slots=True)
class Finding:
    """An error at a path; the loader adds the line and makes a ``Problem`` of it."""

    path: KeyPath
    found: str
    allowed: str


@dataclass(slots=True)
class Context:
    """Handed through pydantic to every validator."""

    directory: Path = field(default_factory=Path)
    """What ``{file: PATH}`` is relative to."""
    environ: Mapping[str, str] = field(default_factory=dict)
    """Where ``{env: NAME}`` looks."""
    findings: list[Finding] = field(default_factory=list)
    """Errors from checks of several values together; one value's error does not hide another's."""
    warnings: list[str] = field(default_factory=list)
    """Sentences about values that are valid but should be changed."""
    own_credentials: bool = False
    """Whether the program has a credential source of its own: what ``auth`` says is not used for relaying then."""
    strict: bool = False
    """Whether a certificate's file that cannot be read is an error. A server starts without it, and says so."""
    variables: set[str] = field(default_factory=set)
    """The environment variables that secrets were taken from."""


def refuse(found: str, allowed: str, at: KeyPath = ()) -> NoReturn:
    """Raise our kind of validation error; ``at`` is the path below the value that is being validated."""
    raise PydanticCustomError(
        "refused",
        "found {found}; allowed: {allowed}",
        {"found": found, "allowed": allowed, "at": at},
    )


def report(info: ValidationInfo, section: str, finding: Finding) -> None:
    """Note an error within a section and go on; outside the loader, where errors are not collected, raise it."""
    if isinstance(info.context, Context):
        info.context.findings.append(Finding((section, *finding.path), finding.found, finding.allowed))
    else:
        refuse(finding.found, finding.allowed, finding.path)


def warn(info: ValidationInfo, sentence: str) -> None:
    """Note a warning; outside the loader it is lost."""
    if isinstance(info.context, Context):
        info.context.warnings.append(sentence)
