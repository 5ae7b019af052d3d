"""``meshturn recordings``: the recordings in a directory, and one film of each."""

import importlib.util
import logging
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from cli.exit_codes import ExitCode
from cli.options import config_option, json_option
from turnserver.errors import StartupError
from turnserver.recordings.manifest import MANIFEST, ManifestError, Recording, read_manifest
from turnserver.text import amount, one_line

__all__ = ["list_recordings", "mix", "recordings"]

_SHORTEST = 64
_LARGEST = 3840


@click.group()
def recordings() -> None:
    """List the recordings of rooms, and make films of them."""


@recordings.command("list")
@click.argument("directory", required=False, type=click.Path(path_type=Path, file_okay=False))
@config_option
@json_option
def list_recordings(directory: Path | None, config_path: Path | None, as_json: bool) -> None:
    """List the recordings in DIRECTORY, or in media.recordings of the configuration (-c): the newest first.

    Exit code 0: listed, even if there are none; 1: the directory cannot be read; 2: the command line is wrong.
    """
    found, broken = _found(_directory(directory, config_path))
    if as_json:
        from cli.console import emit_json  # noqa: PLC0415  keeps --help quick

        emit_json({"recordings": [_json(path, each) for path, each in found]})
    else:
        _show(found)
    for why in broken:
        _complain(why)


@recordings.command()
@click.argument("recording", type=click.Path(path_type=Path, file_okay=False, exists=True))
@click.option(
    "-o",
    "--output",
    required=True,
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The film: a name that ends with .webm (VP8, Opus) or .mp4 (H.264, AAC).",
)
@click.option(
    "--size",
    default="1280x720",
    show_default=True,
    metavar="WIDTHxHEIGHT",
    callback=lambda *given: _size(given[2]),
    help="Its size in pixels.",
)
@click.option("--rate", type=click.IntRange(1, 60), default=15, show_default=True, help="Pictures in a second.")
@click.option("--no-names", is_flag=True, help="Leave out what people are called, which is in their pictures else.")
@click.option(
    "--font",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="A font for the names: TrueType or OpenType. Without it, one of this machine that has their letters.",
)
@click.option("--force", is_flag=True, help="Replace a file that is there.")
@json_option
def mix(  # noqa: PLR0917  click passes them by name
    recording: Path,
    output: Path,
    size: tuple[int, int],
    rate: int,
    no_names: bool,
    font: Path | None,
    force: bool,
    as_json: bool,
) -> None:
    """Make one film of RECORDING, a directory as `meshturn recordings list` shows it.

    Everybody who is there at the time is in a gallery with their name, screens as well, and all voices are heard.
    Ctrl-C ends it, and leaves nothing behind.

    Needs PyAV, and Pillow for the names: pip install 'meshturn[media]'.

    Exit code 0: the film is complete; 1: it cannot be made; 2: the command line is wrong; 3: PyAV or Pillow is missing.
    """
    if importlib.util.find_spec("av") is None:
        raise StartupError("A film needs PyAV, which is not installed.", "pip install 'meshturn[media]'")
    if not no_names and importlib.util.find_spec("PIL") is None:
        raise StartupError(
            "The names in a film need Pillow, which is not installed.", "pip install 'meshturn[media]', or --no-names"
        )
    from turnserver.recordings.mix import FORMS, MixError, MixOptions  # noqa: PLC0415  needs PyAV
    from turnserver.recordings.mix import mix as make  # noqa: PLC0415

    if output.suffix.lower() not in FORMS:
        raise click.BadParameter(f"the name ends with {' or '.join(FORMS)}", param_hint="--output")
    if output.exists() and not force:
        raise click.BadParameter(
            f"{one_line(str(output))} is there already; --force replaces it", param_hint="--output"
        )
    try:
        seconds = _with_progress(
            lambda tell: make(recording, output, MixOptions(*size, rate, not no_names, font), tell)
        )
    except (MixError, ManifestError) as error:
        _complain(str(error))
        raise click.exceptions.Exit(ExitCode.FAILED) from error
    from cli.console import emit_json, out_console, say  # noqa: PLC0415

    if as_json:
        emit_json({"file": str(output), "duration": round(seconds, 3), "bytes": output.stat().st_size})
    else:
        say(out_console(), f"{one_line(str(output))}: {_length(seconds)}, {amount(output.stat().st_size)}.")


def _with_progress(work: Any) -> float:
    """Do the work, with a bar where somebody looks."""
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn  # noqa: PLC0415

    from cli.console import error_console  # noqa: PLC0415

    console = error_console()
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("The film is made", total=None)
        made: float = work(lambda done, total: bar.update(task, completed=done, total=total))
    return made


def _size(text: str) -> tuple[int, int]:
    """Width and height, both even."""
    width, _, height = text.lower().partition("x")
    if not (width.isascii() and width.isdigit() and height.isascii() and height.isdigit()):
        raise click.BadParameter("two numbers with an x between them: 1280x720")
    size = int(width), int(height)
    if any(each % 2 or not _SHORTEST <= each <= _LARGEST for each in size):
        raise click.BadParameter(f"even numbers from {_SHORTEST} to {_LARGEST}")
    return size


def _directory(given: Path | None, config_path: Path | None) -> Path:
    if given is not None:
        return given
    if config_path is None:
        raise click.UsageError("Which directory? Give it, or the configuration that names it (-c FILE).")
    from cli.loading import load_config  # noqa: PLC0415

    named = load_config(config_path, os.environ).config.media.recordings
    if named is None:
        raise click.UsageError("The configuration has no media.recordings: nothing is recorded.")
    return named


def _found(directory: Path) -> tuple[list[tuple[Path, Recording]], list[str]]:
    """The recordings, and why others cannot be read."""
    found, broken = [], []
    try:
        paths = [path for path in directory.iterdir() if path.is_dir()]
        if (directory / MANIFEST).exists():
            paths.append(directory)
    except FileNotFoundError:
        return [], []
    except OSError as error:
        _complain(f"{one_line(str(directory))} cannot be read: {error.strerror}.")
        raise click.exceptions.Exit(ExitCode.FAILED) from error
    for path in paths:
        try:
            found.append((path, read_manifest(path)))
        except ManifestError as error:
            broken.append(str(error))
    return sorted(found, key=lambda each: each[1].begun, reverse=True), broken


def _json(path: Path, recording: Recording) -> dict[str, Any]:
    return {
        "path": str(path),
        "room": recording.room,
        "started": recording.started,
        "duration": recording.duration,
        "end": recording.end,
        "bytes": _bytes(path, recording),
        "participants": len({file.peer for file in recording.files}),
        "files": [file.file for file in recording.files],
    }


def _show(found: list[tuple[Path, Recording]]) -> None:
    from rich import box  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    from cli.console import out_console, say  # noqa: PLC0415

    if not found:
        say(out_console(), "There are no recordings.")
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for column in ("recording", "room", "began", "length", "people", "size", "end"):
        table.add_column(column, overflow="fold")
    for path, recording in found:
        length = "–" if recording.duration is None else _length(recording.duration)
        began = recording.begun.strftime("%Y-%m-%d %H:%M:%S UTC")
        people = str(len({file.peer for file in recording.files}))
        row = (path.name, recording.room, began, length, people, amount(_bytes(path, recording)), _end(recording))
        table.add_row(*(Text(one_line(text)) for text in row))
    out_console().print(table)


def _end(recording: Recording) -> str:
    if recording.end is not None:
        return recording.end.replace("_", " ")
    age = (datetime.now(UTC) - recording.begun).total_seconds()
    return "goes on, or was interrupted" if age < 7 * 86400 else "was interrupted"


def _bytes(path: Path, recording: Recording) -> int:
    """What the files have now, which is more than is noted while they are written."""
    total = 0
    for file in recording.files:
        try:
            total += (path / file.file).stat().st_size
        except OSError:
            continue
    return total


def _length(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _complain(sentence: str) -> None:
    from cli.console import error_console, say  # noqa: PLC0415

    say(error_console(logging.ERROR), f"Error: {one_line(sentence)}", "bold red")
