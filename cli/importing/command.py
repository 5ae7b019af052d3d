"""``meshturn import``: a configuration of coturn or eturnal becomes one of meshturn."""

import os
import stat
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from turnserver.errors import ConfigError, Problem

if TYPE_CHECKING:
    from cli.importing.outcome import Plan, Remark

__all__ = ["import_", "read_text"]

_MOST: Final = 2**20
"""Bytes of the largest file that is read, as of meshturn's own configuration."""

_ALLOWED: Final = f"a file with text in UTF-8, of at most {_MOST // 2**20} MiB"


@click.group(name="import")
def import_() -> None:
    """Make a configuration of one of coturn or eturnal.

    The new configuration is printed, with a comment for each option. On standard error there are three lists: what was
    taken, what is so without being set, and what cannot be expressed, with what to do. Secrets go into files of their
    own. No name is resolved, and nothing is connected to.
    """


def _options(command: Callable[..., None]) -> Callable[..., None]:
    for decorate in (
        click.option(
            "-o",
            "--output",
            metavar="FILE",
            type=click.Path(path_type=Path, dir_okay=False),
            help="Write the configuration to this file, which must not be there yet.  [default: standard output]",
        ),
        click.option(
            "--secrets",
            metavar="DIRECTORY",
            type=click.Path(path_type=Path, file_okay=False, exists=True),
            help="Where files with secrets are written.  [default: beside the configuration, or this folder]",
        ),
        click.argument("file", type=click.Path(path_type=Path)),
    ):
        command = decorate(command)
    return command


@import_.command()
@_options
def coturn(file: Path, output: Path | None, secrets: Path | None) -> None:
    """Import a turnserver.conf.

    The file is read as coturn 4.6 reads it. Each of its options is in one of the three lists.
    """
    from cli.importing.coturn import import_coturn  # noqa: PLC0415  keeps --help quick

    _run(import_coturn, "coturn", file, output, secrets)


@import_.command()
@_options
def eturnal(file: Path, output: Path | None, secrets: Path | None) -> None:
    """Import an eturnal.yml."""
    from cli.importing.eturnal import import_eturnal  # noqa: PLC0415

    _run(import_eturnal, "eturnal", file, output, secrets)


def _run(
    convert: "Callable[[str], Plan]", original: str, file: Path, output: Path | None, secrets: Path | None
) -> None:
    from cli.importing.writing import render, write_new, write_secrets  # noqa: PLC0415

    plan = convert(read_text(file))
    if plan.problems:
        raise ConfigError(str(file), plan.problems)
    beside = output.absolute().parent if output is not None else Path.cwd()
    directory = beside if secrets is None else secrets.absolute()
    own = None if directory.resolve() == beside.resolve() else directory
    text = render(plan, file.name, original, own)
    written = write_secrets(plan.secrets, directory)
    _judge(text, beside)
    if output is None:
        click.echo(text, nl=False)
    else:
        write_new(output, text.encode(), 0o644)
    _report(plan, written, output)


def _judge(text: str, directory: Path) -> None:
    """Have the loader read what is printed. Raises ConfigError if it does not take it, which is a bug."""
    import tempfile  # noqa: PLC0415

    from turnserver.config import load  # noqa: PLC0415

    descriptor, name = tempfile.mkstemp(prefix=".meshturn-", suffix=".yml", dir=directory)
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        load(Path(name))
    finally:
        os.unlink(name)


def _report(plan: "Plan", written: Sequence[Path], output: Path | None) -> None:
    """The three lists, on standard error."""
    import logging  # noqa: PLC0415

    from cli.console import error_console, say, title  # noqa: PLC0415

    console = error_console(logging.INFO)
    lists: Sequence[tuple[str, Sequence[Remark]]] = (
        ("Taken", plan.taken),
        ("Already so", plan.already),
        ("Cannot be expressed, or is different", plan.cannot),
    )
    for heading, notes in lists:
        title(console, f"{heading} ({len(notes)})")
        for line in _lines(notes):
            say(console, f"  {line}")
    if written:
        title(console, "Secrets")
        for path in written:
            say(console, f"  {path}")
    if output is not None:
        title(console, f"Written: {output}")


def _lines(notes: "Sequence[Remark]") -> list[str]:
    """A line for each option and what is said of it, in the order of the file; what is in no line comes last."""
    found: dict[tuple[str, str], list[int]] = {}
    for note in sorted(notes, key=lambda each: (each.line == 0, each.line)):
        found.setdefault((note.option, note.text), []).append(note.line)
    return [f"{_where(numbers)}: {option}: {text}" for (option, text), numbers in found.items()]


def _where(numbers: "Sequence[int]") -> str:
    if not numbers[0]:
        return "not set"
    listed = ", ".join(map(str, dict.fromkeys(numbers)))
    return f"lines {listed}" if "," in listed else f"line {listed}"


def read_text(path: Path) -> str:
    """The text of a file. Raises ConfigError if it cannot be read, is too large, or is no text; waits for no pipe."""
    source = str(path)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as stream:
            regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
            data = stream.read(_MOST + 1) if regular else b""
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or "not a path"
        raise ConfigError(source, [Problem("", 0, reason.lower(), _ALLOWED)]) from error
    if not regular or len(data) > _MOST:
        found = "a larger file" if regular else "not a regular file"
        raise ConfigError(source, [Problem("", 0, found, _ALLOWED)])
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise ConfigError(source, [Problem("", line, "bytes that are not UTF-8", _ALLOWED)]) from error
