"""What is written, and where."""

import errno
import io
import json
import logging
import os
from pathlib import Path

import pytest
from rich.table import Table
from rich.text import Text

from cli.console import emit_json, error_console, facts, hint, kept_output, out_console, say, title
from cli.failures import show_failure
from turnserver.errors import ConfigError, Problem

EVIL = "\x1b[2J[bold]:boom:\u202e"
SHOWN = "\\x1b[2J[bold]:boom:\\u202e"


def test_text_is_never_markup(capsys: pytest.CaptureFixture[str]) -> None:
    """Rule 24: whatever a text holds, it is shown as it is spelled."""
    console = out_console()
    say(console, EVIL)
    title(console, EVIL)
    hint(console, EVIL)
    facts(console, [(EVIL, EVIL)])
    captured = capsys.readouterr()
    assert captured.err == ""
    assert [line.strip() for line in captured.out.splitlines()] == [
        SHOWN,
        "",
        SHOWN,
        f"Hint: {SHOWN}",
        f"{SHOWN}  {SHOWN}",
    ]


def test_long_values_stay_on_one_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A command to copy is one line, however narrow the terminal is."""
    monkeypatch.setenv("COLUMNS", "40")
    say(out_console(), "word " * 50)
    facts(out_console(), [("name", "x" * 300)])
    assert [len(line.rstrip()) for line in capsys.readouterr().out.splitlines()] == [249, 308]


def test_tables_are_not_cut_for_a_program_that_reads_them(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kind: a width that nobody has. There is no terminal here, and a line of 80 columns would break every ``grep``."""
    monkeypatch.setenv("COLUMNS", "80")
    table = Table.grid()
    table.add_row(Text("x" * 300), Text("word " * 60))
    for console in (out_console(), error_console()):
        console.print(table)
    captured = capsys.readouterr()
    assert [len(text.splitlines()) for text in captured] == [1, 1]
    assert captured.out.startswith("x" * 300 + "word word")


def test_a_terminal_has_its_own_width(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr("sys.stdout", Terminal())
    assert out_console().width == 40


def test_errors_in_the_journal_have_a_priority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kind: a log whose lines are all of one importance to who reads it."""
    with (tmp_path / "journal").open("w", encoding="utf-8") as stream:
        facts_of = os.fstat(stream.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{facts_of.st_dev}:{facts_of.st_ino}")
        monkeypatch.setattr("sys.stderr", stream)
        show_failure(ConfigError("m.yml", [Problem("realm", 3, "a list", "a text")]))
        say(error_console(logging.WARNING), "Warning: late.")
        say(error_console(), "joined")
    lines = (tmp_path / "journal").read_text("utf-8").splitlines()
    assert [line[:3] for line in lines] == ["<3>"] * 4 + ["<4>", "<6>"]
    assert lines[-2] == "<4>Warning: late."


def test_errors_go_elsewhere(capsys: pytest.CaptureFixture[str]) -> None:
    """Standard output is for answers only."""
    say(error_console(), "Error: no.")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "Error: no.\n")


def test_json_is_ascii(capsys: pytest.CaptureFixture[str]) -> None:
    """Rule 24: JSON on a terminal cannot steer it either."""
    emit_json({"evil": EVIL}, indent=None)
    written = capsys.readouterr().out
    assert written.isascii()
    assert "\x1b" not in written
    assert written.count("\n") == 1
    assert json.loads(written) == {"evil": EVIL}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_kept_output_looks_as_it_would(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """In colour for a terminal, without for a file; and it is written nowhere."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    with kept_output() as plain:
        title(out_console(), "Heading")
    assert plain.getvalue() == "\nHeading\n"
    terminal = Terminal()
    monkeypatch.setattr("sys.stdout", terminal)
    with kept_output() as coloured:
        title(out_console(), "Heading")
        emit_json({"a": 1})
    assert "\x1b[1mHeading\x1b[0m" in coloured.getvalue()
    assert coloured.getvalue().endswith("}\n")
    assert terminal.getvalue() == ""
    assert capsys.readouterr().out == ""


class Gone(io.StringIO):
    """A stream that takes nothing."""

    def __init__(self, error: OSError) -> None:
        super().__init__()
        self.error = error

    def write(self, text: str) -> int:
        raise self.error


@pytest.mark.parametrize("error", [BrokenPipeError(), OSError(errno.ENOSPC, "no space")], ids=["no reader", "full"])
def test_an_error_that_cannot_be_written_is_lost(error: OSError, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command goes on, and its exit code says what there is to say."""
    monkeypatch.setattr("sys.stderr", Gone(error))
    say(error_console(), "Warning: nobody hears this.")
    hint(error_console(), "Nor this.")


def test_without_a_standard_output_nothing_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """As after ``>&-``."""
    monkeypatch.setattr("sys.stdout", None)
    emit_json({"a": 1})
    with kept_output() as kept:
        say(out_console(), "Ready.")
        emit_json({"a": 1}, indent=None)
    assert kept.getvalue() == 'Ready.\n{"a": 1}\n'
