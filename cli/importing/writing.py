"""From a plan to a configuration file in YAML, with comments, and to files with secrets."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from cli.importing.outcome import Entry, FoundSecret, Plan, Spell, spelled
from turnserver.errors import StartupError
from turnserver.text import one_line

__all__ = ["render", "write_new", "write_secrets"]

_ORDER: Final = (
    "realm",
    "software",
    "listeners",
    "tls",
    "alternate_servers",
    "relay",
    "auth",
    "peers",
    "stun",
    "limits",
)
_WIDE: Final = 10_000


class _Plain(yaml.SafeDumper):
    """Values are written out each time: the loader takes no aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def render(plan: Plan, source: str, original: str, directory: Path | None) -> str:
    """The configuration. ``source`` is the name of the file of ``original`` (the other server) for the comment.

    ``directory`` is where the secrets are, None if that is the folder of the configuration itself.
    """

    def spell(secret: FoundSecret) -> Any:
        file = {"file": secret.file if directory is None else str(directory / secret.file)}
        return {"key": file} if secret.hashed else file

    lines = [
        f"## A configuration of meshturn, made from {one_line(source)} of {original}.",
        "## `meshturn check -c FILE` shows what it does; `meshturn config example` prints every option.",
    ]
    roots = list(dict.fromkeys(entry.path[0] for entry in plan.entries))
    roots.sort(key=lambda root: _ORDER.index(root) if root in _ORDER else len(_ORDER))
    for root in roots:
        lines.append("")
        lines += _block([entry for entry in plan.entries if entry.path[0] == root], 0, original, spell)
    if not roots:
        lines.append("{}")
    return "\n".join(lines) + "\n"


def _block(entries: Sequence[Entry], depth: int, original: str, spell: Spell) -> list[str]:
    """The lines of entries whose paths agree up to ``depth``, and there, too."""
    indent = "  " * depth
    entry = entries[0]
    if len(entry.path) == depth + 1:
        lines = [f"{indent}## {_comment(entry, original)}"] if entry.sources else []
        return lines + _option(entry.path[-1], spelled(entry.value, spell), indent)
    lines = [f"{indent}{_flow(entry.path[depth])}:"]
    for name in dict.fromkeys(each.path[depth + 1] for each in entries):
        lines += _block([each for each in entries if each.path[depth + 1] == name], depth + 1, original, spell)
    return lines


def _option(name: str, value: Any, indent: str) -> list[str]:
    """The lines of one option: a list of mappings has an item a line."""
    if isinstance(value, list) and any(isinstance(item, dict) for item in value):
        return [f"{indent}{_flow(name)}:", *(f"{indent}  - {_flow(item)}" for item in value)]
    return [f"{indent}{_flow(name)}: {_flow(value)}"]


def _flow(value: Any) -> str:
    """A value in one line."""
    text: str = yaml.dump(value, Dumper=_Plain, default_flow_style=True, sort_keys=False, width=_WIDE)
    return text.removesuffix("\n").removesuffix("\n...")


def _comment(entry: Entry, original: str) -> str:
    """Where an option comes from."""
    names = dict.fromkeys(given.name for given in entry.sources)
    lines = [str(given.line) for given in entry.sources]
    where = f"line {lines[0]}" if len(lines) == 1 else f"lines {', '.join(lines)}"
    return one_line(f"{original}: {', '.join(names)} ({where})")


def write_secrets(secrets: Iterable[FoundSecret], directory: Path) -> list[Path]:
    """Write each secret into a file of its own, which only the user can read; gives the files.

    A file that has the secret already stays. Raises StartupError, before anything is written, if another file has one
    of the names; and if a file cannot be written.
    """
    wanted = [(directory / secret.file, f"{secret.text}\n".encode()) for secret in secrets]
    missing = [(path, content) for path, content in wanted if not _has(path, content)]
    for path, content in missing:
        write_new(path, content)
    return [path for path, _ in wanted]


def _has(path: Path, content: bytes) -> bool:
    """Whether a file is there with this content. Raises StartupError if it has another one."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise StartupError(f"{one_line(str(path))} cannot be read: {error.strerror}.", _HINT) from error
    with open(descriptor, "rb") as file:
        same = file.read(len(content) + 1) == content and not os.fstat(file.fileno()).st_mode & 0o077
    if not same:
        raise StartupError(f"{one_line(str(path))} is there already, and is not overwritten.", _HINT)
    return True


_HINT: Final = "Name another folder with --secrets DIRECTORY, or move the file away."


def write_new(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Write a file that must not be there yet. Raises StartupError if it is, or cannot be written."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
        with open(descriptor, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(content)
    except FileExistsError as error:
        raise StartupError(f"{one_line(str(path))} is there already, and is not overwritten.") from error
    except OSError as error:
        raise StartupError(f"{one_line(str(path))} cannot be written: {error.strerror}.") from error
