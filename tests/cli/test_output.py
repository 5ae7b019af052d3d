"""Standard output that takes no more: a failure of its own, in one line."""

import contextlib
import io
import json
import os
import sys
from collections.abc import Iterator
from typing import TextIO

import pytest

from cli.exit_codes import ExitCode
from cli.main import run
from cli.output import WatchedOutput


@pytest.fixture(params=[False, True], ids=["buffered", "unbuffered"])
def full(request: pytest.FixtureRequest) -> Iterator[TextIO]:
    """The device that is always full, for standard output."""
    stream = io.TextIOWrapper(io.FileIO("/dev/full", "w"), encoding="utf-8", write_through=request.param)
    yield stream
    with contextlib.suppress(OSError):
        stream.close()


COMMANDS = [
    ["--help"],
    ["--version"],
    ["config", "example"],
    ["config", "schema"],
    ["check"],
    ["check", "--json"],
    ["probe", "stun:127.0.0.1:1", "--timeout", "0.1"],
    ["probe", "--help"],
]


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_a_full_standard_output_is_exit_code_3(
    arguments: list[str], full: TextIO, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Kind: an answer that is lost, and a traceback instead of a sentence."""
    monkeypatch.setattr(sys, "argv", ["meshturn", *arguments])
    monkeypatch.setattr(sys, "stdout", full)
    with pytest.raises(SystemExit) as caught:
        run()
    assert caught.value.code == ExitCode.CANNOT_START
    said = capsys.readouterr().err.splitlines()
    assert said[-1] == "Error: Standard output cannot be written to: No space left on device."
    assert all(line.startswith("Warning: ") for line in said[:-1])
    assert sys.stdout is full
    full.flush()  # nothing is left that Python would try to write at its end


@pytest.mark.parametrize("arguments", [["check"], ["config", "schema"]], ids=" ".join)
def test_a_reader_that_has_seen_enough_is_no_failure(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As in ``meshturn config schema | head -1``."""
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w", encoding="utf-8") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        monkeypatch.setattr(sys, "argv", ["meshturn", *arguments])
        with pytest.raises(SystemExit) as caught:
            run()
        monkeypatch.undo()
        stream.flush()
    assert caught.value.code in {ExitCode.OK, ExitCode.FAILED}
    assert "Error" not in capsys.readouterr().err


def test_without_a_standard_output_there_is_none_to_watch(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "argv", ["meshturn", "check", "--json"])
    with pytest.raises(SystemExit) as caught:
        run()
    assert caught.value.code == ExitCode.OK
    assert capsys.readouterr().err == ""


def test_an_error_of_another_file_is_not_taken_for_one_of_standard_output(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("cli.main.meshturn.main", broken)
    before = sys.stdout
    with pytest.raises(OSError, match="No space"):
        run()
    assert sys.stdout is before


def test_everything_else_is_as_the_stream_has_it(tmp_path) -> None:
    with (tmp_path / "output").open("w", encoding="utf-8") as stream:
        watched = WatchedOutput(stream)
        assert (watched.encoding, watched.fileno(), watched.isatty()) == ("utf-8", stream.fileno(), False)
        assert watched.write(json.dumps({})) == 2
        assert watched.give_back() is stream
        assert watched.failure is None
    assert (tmp_path / "output").read_text() == "{}"
