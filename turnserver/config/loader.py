"""From a file and the environment to a configuration, or to a list of all errors in them."""

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from turnserver.config.auth import SharedSecretConfig
from turnserver.config.context import Context, Finding, KeyPath
from turnserver.config.document import MAX_DEPTH, Document, dotted, parse
from turnserver.config.environment import Overlay, did_you_mean, overlay, unknown_variables
from turnserver.config.models import CertificateConfig, Config, Listener, Section
from turnserver.config.values import kind_of, rule_in
from turnserver.errors import ConfigError, Problem

__all__ = ["MAX_FILE_BYTES", "MAX_PROBLEMS", "Loaded", "load", "load_mapping"]

MAX_FILE_BYTES = 2**20
"""The largest configuration file that is read."""

MAX_PROBLEMS = 100
"""The largest number of reported problems; a file with more is probably not a configuration."""

_MOST_VALUES = 1_000_000
"""Values that a program may give: many users, but not a value that refers to itself in many places."""

_ITEM_SECTIONS: dict[str, type[Section]] = {
    "listeners": Listener,
    "certificates": CertificateConfig,
    "shared_secrets": SharedSecretConfig,
}


class Loaded(NamedTuple):
    """A configuration, where it came from, and warnings."""

    config: Config
    source: str
    warnings: tuple[str, ...]


@dataclass(slots=True)
class _Reading:
    """One reading: the document, the environment over it, and what validation collects."""

    source: str
    document: Document
    overlay: Overlay
    context: Context

    def problem(self, finding: Finding) -> Problem:
        """Add the line, or the variable that the value came from."""
        path = self._existing(finding.path)
        variable = self.overlay.origin_of(path)
        if variable is not None:
            return Problem(dotted(path), 0, f"{finding.found} (from {variable})", finding.allowed)
        return Problem(dotted(path), self.document.line_of(path), finding.found, finding.allowed)

    def _existing(self, path: KeyPath) -> KeyPath:
        """Drop the ``secret`` that a shared secret by itself does not have in the file."""
        if path[:2] == ("auth", "shared_secrets") and path[3:] == ("secret",) and path not in self.document.lines:
            return path[:3]
        return path


def load(path: Path | None, environ: Mapping[str, str] = MappingProxyType({}), *, strict: bool = False) -> Loaded:
    """Read a configuration file (None: defaults only) and replace options by the variables of ``environ``.

    The environment of the process is used only if it is passed. With ``strict``, the files of certificates have to be
    there; a server starts without them, since its other listeners need none.

    Raises ConfigError with every problem: the file's, the environment's, and every value's. Problems do not quote
    values that may be secrets. Ends in bounded time: the file is at most 1 MiB, and special files are not waited for.
    """
    text, mode, problems = _read_file(path) if path is not None else ("", 0, [])
    document = parse(text) if not problems else Document()
    problems += document.problems
    data = {} if document.data is None else document.data
    if not isinstance(data, dict):
        problems.append(Problem("", document.line_of(()), kind_of(data), "a mapping of options, or nothing"))
        data = {}
    directory = path.absolute().parent if path is not None else Path.cwd()
    over = overlay(data, environ)
    source = str(path) if path is not None else "environment"
    reading = _Reading(source, document, over, Context(directory=directory, environ=environ, strict=strict))
    config = _validate(reading, problems)
    unknown = unknown_variables(environ, reading.context.variables)
    problems += over.problems + unknown.problems
    reading.context.warnings += unknown.warnings
    if problems or config is None:
        raise ConfigError(source, _in_order(problems))
    if mode & stat.S_IROTH and _has_literal_secrets(document.data):
        reading.context.warnings.append(f"Everybody on this host can read {source}, and there are secrets in it.")
    return Loaded(config, source, tuple(reading.context.warnings))


def load_mapping(options: Mapping[str, Any], source: str = "configuration", *, own_credentials: bool = False) -> Loaded:
    """Validate a mapping of options, as if it had been read from a file.

    With ``own_credentials`` the program has a credential source of its own, so there is no warning about a missing one.

    Raises ConfigError with every problem. The environment is not read: ``{env: NAME}`` finds nothing. Relative
    paths start at the working directory.
    """
    data = _plain(options, source)
    reading = _Reading(
        source, Document(), Overlay(data), Context(directory=Path.cwd(), own_credentials=own_credentials)
    )
    problems: list[Problem] = []
    config = _validate(reading, problems)
    if problems or config is None:
        raise ConfigError(source, _in_order(problems))
    return Loaded(config, source, tuple(reading.context.warnings))


def _plain(options: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Mappings with texts as keys, and lists, as a file would give them; single values stay what they are.

    Raises ConfigError for what no file could be: too many values, or too many levels. A value that contains itself has
    both, and would never end.
    """
    left = _MOST_VALUES

    def copied(value: Any, depth: int) -> Any:
        nonlocal left
        is_mapping = isinstance(value, Mapping)
        if not (is_mapping or isinstance(value, list) or type(value) is tuple):
            return value
        left -= len(value)
        if depth == 0 or left < 0:
            found = "too many values" if depth else "values that are nested too deeply"
            allowed = f"at most {MAX_DEPTH} levels and {_MOST_VALUES} values, and none that contains itself"
            raise ConfigError(source, [Problem("", 0, found, allowed)])
        if is_mapping:
            return {str(key): copied(item, depth - 1) for key, item in value.items()}
        return [copied(item, depth - 1) for item in value]

    plain: dict[str, Any] = copied(options, MAX_DEPTH)
    return plain


def _has_literal_secrets(data: Any) -> bool:
    """Whether a secret is written in the file itself. ``data`` is the file's, unchecked where variables replace it."""
    auth, signaling = _mapping(data, "auth"), _mapping(data, "signaling")
    secrets = [signaling.get("key"), _mapping(auth, "hook").get("secret"), *_mapping(auth, "users").values()]
    secrets += [*_mapping(signaling, "api_keys").values(), *_mapping(signaling, "admin_keys").values()]
    shared = auth.get("shared_secrets")
    for item in shared if isinstance(shared, list) else ():
        secrets.append(item.get("secret") if isinstance(item, dict) else item)
    return any(isinstance(secret, str) for secret in secrets)


def _mapping(data: Any, key: str) -> dict[Any, Any]:
    value = data.get(key) if isinstance(data, dict) else None
    return value if isinstance(value, dict) else {}


def _read_file(path: Path) -> tuple[str, int, list[Problem]]:
    """Return the text and the mode of a file, or the reason why it cannot be read."""
    allowed = f"a readable YAML file of at most {MAX_FILE_BYTES // 2**20} MiB"
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as stream:
            mode = os.fstat(descriptor).st_mode
            data = stream.read(MAX_FILE_BYTES + 1) if stat.S_ISREG(mode) else None
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or "not a path"
        return "", 0, [Problem("", 0, reason.lower(), allowed)]
    if data is None:
        return "", 0, [Problem("", 0, "not a regular file", allowed)]
    if len(data) > MAX_FILE_BYTES:
        return "", 0, [Problem("", 0, "a larger file", allowed)]
    try:
        return data.decode("utf-8-sig"), mode, []
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        return "", 0, [Problem("", line, "bytes that are not UTF-8", "text in UTF-8")]


def _validate(reading: _Reading, problems: list[Problem]) -> Config | None:
    config = None
    # Unknown keys are reported separately, so that they do not prevent a section's other checks.
    data = _known_part(Config, reading.overlay.data, (), reading.context.findings)
    try:
        config = Config.model_validate(data, context=reading.context)
    except ValidationError as error:
        problems += [reading.problem(_finding(detail)) for detail in error.errors(include_url=False)]
    problems += [reading.problem(finding) for finding in reading.context.findings]
    return config


def _known_part(kind: Any, value: Any, path: KeyPath, findings: list[Finding]) -> Any:
    """Return a value without the keys that the sections in it do not know, and note these in ``findings``."""
    if kind in (tuple[Listener, ...], tuple[CertificateConfig, ...]) and isinstance(value, list):
        item_kind = get_args(kind)[0]
        return [_known_part(item_kind, item, (*path, index), findings) for index, item in enumerate(value)]
    if not (isinstance(kind, type) and issubclass(kind, Section) and isinstance(value, dict)):
        return value
    fields = kind.model_fields
    for key in value:
        if key not in fields:
            hint = did_you_mean(key, fields) if len(findings) < MAX_PROBLEMS else ""
            findings.append(Finding((*path, key), "an unknown key", f"one of {', '.join(fields)}{hint}"))
    return {
        key: _known_part(fields[key].annotation, inner, (*path, key), findings)
        for key, inner in value.items()
        if key in fields
    }


def _finding(error: ErrorDetails) -> Finding:
    """Translate one of pydantic's errors."""
    path: KeyPath = tuple(part for part in error["loc"] if part != "[key]")
    context = error.get("ctx", {})
    if error["type"] == "refused":
        return Finding((*path, *context["at"]), context["found"], context["allowed"])
    if error["type"] == "missing":
        return Finding(path, "nothing", _allowed_at(path))
    return Finding(path, kind_of(error["input"]), error["msg"])


def _section_at(path: KeyPath) -> type[BaseModel]:
    """Return the section that a path leads to; only sections have keys that can be unknown or missing."""
    section: type[BaseModel] = Config
    for part in path:
        if isinstance(part, int):
            continue
        annotation = section.model_fields[part].annotation
        section = annotation if isinstance(annotation, type) else _ITEM_SECTIONS[part]
    return section


def _allowed_at(path: KeyPath) -> str:
    rule = rule_in(_section_at(path[:-1]).model_fields[str(path[-1])].metadata)
    return rule.allowed if rule is not None else "a value"


def _in_order(problems: list[Problem]) -> list[Problem]:
    """Sort by line, those without one last, and keep a readable number."""
    ordered = sorted(dict.fromkeys(problems), key=lambda problem: (problem.line == 0, problem.line))
    if len(ordered) <= MAX_PROBLEMS:
        return ordered
    more = Problem("", 0, f"{len(ordered) - MAX_PROBLEMS} more problems", "a configuration of meshturn")
    return [*ordered[:MAX_PROBLEMS], more]
