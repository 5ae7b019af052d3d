"""Where commands write: answers to standard output, everything else to standard error.

Rich is used without its markup and emoji codes, and every string that did not come from our own source goes through
`turnserver.text.printable` first.
"""

import contextlib
import io
import json
import logging
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, TextIO

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from turnserver.journal import is_journal, prefix
from turnserver.text import printable

__all__ = ["emit_json", "error_console", "facts", "hint", "kept_output", "out_console", "say", "title"]


_WIDE: Final = 10_000
"""Columns of output that no terminal shows: a program that reads it wants whole lines."""


class _ErrorConsole(Console):
    """Loses what standard error does not accept: a reader that is gone, or a full disk, must not end a server.

    ``mark`` is in front of every line.
    """

    def __init__(self, mark: str, **options: Any) -> None:
        super().__init__(**options)
        self._mark = mark

    def print(self, *objects: Any, **options: Any) -> None:
        marked = (self._mark, *objects) if self._mark else objects
        with contextlib.suppress(OSError):
            super().print(*marked, **{"sep": "", **options})

    def on_broken_pipe(self) -> None:
        """Do nothing; Rich ends the process here."""


def out_console() -> Console:
    """A console on standard output as it is now (tests and callers may have replaced it)."""
    return Console(markup=False, emoji=False, highlight=False, soft_wrap=True, width=_width(sys.stdout))


def error_console(level: int = logging.INFO) -> Console:
    """The same on standard error; text that cannot be written there is lost.

    If that is the systemd journal, lines have the priority of ``level``, a level of Python's log.
    """
    mark = prefix(level) if is_journal(sys.stderr, os.environ) else ""
    width = _width(sys.stderr)
    return _ErrorConsole(mark, stderr=True, markup=False, emoji=False, highlight=False, soft_wrap=True, width=width)


def _width(stream: TextIO | None) -> int | None:
    """Columns for a stream; None for those of its terminal."""
    return None if stream is not None and stream.isatty() else _WIDE


def emit_json(value: Mapping[str, Any] | Sequence[Any], *, indent: int | None = 2) -> None:
    """Write one JSON document; ASCII only, so that nothing in it can control a terminal."""
    if sys.stdout is not None:  # it is None if the descriptor was closed at the start
        sys.stdout.write(json.dumps(value, indent=indent, ensure_ascii=True) + "\n")
        sys.stdout.flush()


class _Kept(io.StringIO):
    """Text formatted for ``stream``: in colour if that is a terminal, and so on."""

    def __init__(self, stream: TextIO | None) -> None:
        super().__init__()
        self._stream = stream

    def isatty(self) -> bool:
        return self._stream is not None and self._stream.isatty()

    def fileno(self) -> int:
        return super().fileno() if self._stream is None else self._stream.fileno()


@contextlib.contextmanager
def kept_output() -> Iterator[io.StringIO]:
    """Collect the output written in this context, so that it can be written later where blocking does no harm."""
    with contextlib.redirect_stdout(_Kept(sys.stdout)) as kept:
        yield kept


def say(console: Console, sentence: str, style: str = "") -> None:
    """Write one line of text; markup in it has no effect."""
    console.print(Text(printable(sentence), style=style))


def title(console: Console, text: str) -> None:
    """Write a heading, with an empty line before it."""
    console.print()
    say(console, text, "bold")


def hint(console: Console, text: str) -> None:
    """Write a hint for the line before."""
    say(console, f"Hint: {text}", "cyan")


def facts(console: Console, rows: Sequence[tuple[str, str]]) -> None:
    """Write names and values in two columns; long values are not broken, so that they can be copied."""
    shown = [(printable(name), printable(value)) for name, value in rows]
    width = max((cell_len(name) for name, _ in shown), default=0)
    for name, value in shown:
        gap = " " * (width - cell_len(name) + 2)
        console.print(Text.assemble("  ", (name, "dim"), gap, value))
