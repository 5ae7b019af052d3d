"""``meshturn recordings``: what is listed, the film, and what is refused."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import av
import pytest

from cli.exit_codes import ExitCode
from tests.support.recorded_files import FOUR, make_recording

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    (tmp_path / "all").mkdir()
    return make_recording(tmp_path / "all" / "20260102-030405-0a0b0c0d", FOUR[:2])


def test_recordings_are_listed(run: Run, recording: Path, tmp_path: Path) -> None:
    make_recording(recording.parent / "cut", FOUR[:1], interrupted=True)
    (recording.parent / "nothing").mkdir()
    result = run("recordings", "list", recording.parent)
    assert result.returncode == 0
    assert "20260102-030405-0a0b0c0d" in result.stdout
    assert "standup" in result.stdout
    assert "2026-01-02 03:04:05 UTC" in result.stdout
    assert "0:04" in result.stdout
    assert "was interrupted" in result.stdout
    assert "nothing/manifest.json cannot be read" in result.stderr
    found = {
        each["path"]: each
        for each in json.loads(run("recordings", "list", "--json", recording.parent).stdout)["recordings"]
    }
    whole = found[str(recording)]
    assert (whole["room"], whole["duration"], whole["end"], whole["participants"]) == ("standup", 4.0, "stopped", 2)
    assert whole["bytes"] == sum((recording / name).stat().st_size for name in whole["files"])
    assert found[str(recording.parent / "cut")]["end"] is None
    conf = tmp_path / "meshturn.yml"
    conf.write_text(f"media: {{recordings: {recording.parent}}}\n")
    assert run("recordings", "list", "-c", conf).stdout == result.stdout


def test_where_nothing_is(run: Run, tmp_path: Path) -> None:
    assert run("recordings", "list", tmp_path / "none").stdout == "There are no recordings.\n"
    assert run("recordings", "list").returncode == ExitCode.USAGE
    (tmp_path / "meshturn.yml").write_text("realm: example.org\n")
    result = run("recordings", "list", "-c", tmp_path / "meshturn.yml")
    assert (result.returncode, "no media.recordings" in result.stderr) == (ExitCode.USAGE, True)


def test_a_film_is_made(run: Run, recording: Path, tmp_path: Path) -> None:
    film = tmp_path / "film.mp4"
    result = run("recordings", "mix", recording, "-o", film, "--size", "320x180", "--rate", "10")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith(f"{film}: 0:04, ")
    with av.open(str(film)) as container:
        assert (container.streams.video[0].width, container.streams.video[0].average_rate) == (320, 10)
    again = run("recordings", "mix", recording, "-o", film, "--size", "320x180")
    assert (again.returncode, "--force replaces it" in again.stderr) == (ExitCode.USAGE, True)
    told = run("recordings", "mix", recording, "-o", film, "--size", "64x64", "--rate", "5", "--force", "--json")
    said = json.loads(told.stdout)
    assert (said["file"], said["bytes"]) == (str(film), film.stat().st_size)


@pytest.mark.parametrize(
    "arguments",
    [
        ["-o", "a.avi"],
        ["-o", "a.webm", "--size", "big"],
        ["-o", "a.webm", "--size", "321x180"],
        ["-o", "a.webm", "--size", "9x9"],
        [],
    ],
)
def test_a_wrong_command_line(run: Run, recording: Path, arguments: list[str]) -> None:
    result = run("recordings", "mix", recording, *arguments)
    assert result.returncode == ExitCode.USAGE
    assert "Traceback" not in result.stderr


def test_what_is_no_recording(run: Run, tmp_path: Path) -> None:
    result = run("recordings", "mix", tmp_path, "-o", tmp_path / "a.webm")
    assert result.returncode == ExitCode.FAILED
    assert "manifest.json cannot be read" in result.stderr


def test_without_pyav_one_sentence_says_what_to_install(processes: None, tmp_path: Path, recording: Path) -> None:
    code = "import sys; sys.modules['av'] = None; from meshturn.__main__ import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "recordings", "mix", str(recording), "-o", str(tmp_path / "a.webm")],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == ExitCode.CANNOT_START
    assert "pip install 'meshturn[media]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_interrupt_leaves_no_half_film(processes: None, tmp_path: Path, recording: Path) -> None:
    film = tmp_path / "a.webm"
    arguments = ["recordings", "mix", str(recording), "-o", str(film), "--size", "3840x2160", "--rate", "60"]
    child = subprocess.Popen([sys.executable, "-m", "meshturn", *arguments], stderr=subprocess.PIPE)
    until = time.monotonic() + 120
    while not (tmp_path / ".a.webm.unfinished").exists() and child.poll() is None and time.monotonic() < until:
        time.sleep(0.05)
    os.kill(child.pid, signal.SIGINT)
    _, errors = child.communicate(timeout=120)
    assert child.returncode not in {0, None}
    assert b"Traceback" not in errors
    assert [path.name for path in tmp_path.iterdir()] == ["all"]
