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
from tests.support.recorded_files import FOUR, make_recording, strip_of

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


def test_what_else_is_in_the_directory(run: Run, recording: Path) -> None:
    """Damaged, half written, foreign: one sentence for each that may have been a recording; the others are listed."""
    damaged = {
        "cut": (recording / "manifest.json").read_bytes()[:100],
        "deep": b"[" * 100_000,
        "binary": bytes(range(256)),
        "old": json.dumps(
            {"version": 1, "room": "r", "started": "0001-01-01T00:00+23:59", "duration": 1, "end": None, "files": []}
        ).encode(),
    }
    for name, content in damaged.items():
        (recording.parent / name).mkdir()
        (recording.parent / name / "manifest.json").write_bytes(content)
    (recording.parent / "pipe").mkdir()
    os.mkfifo(recording.parent / "pipe" / "manifest.json")
    (recording.parent / "notes.txt").write_text("foreign")
    (recording.parent / "loop").symlink_to("loop")
    strange = Path(os.fsdecode(bytes(recording.parent) + b"/\xff\x1b[31m"))
    strange.mkdir()
    read = json.loads((recording / "manifest.json").read_text())
    read["room"], read["files"][0]["file"] = "\ud800\u202e\x1b", "gone.webm"
    (strange / "manifest.json").write_text(json.dumps(read))
    result = run("recordings", "list", recording.parent)
    assert (result.returncode, "Traceback" in result.stderr) == (0, False)
    assert "20260102-030405-0a0b0c0d" in result.stdout
    assert "\x1b" not in result.stdout + result.stderr
    for name in (*damaged, "pipe"):
        assert f"{name}/manifest.json is not the manifest of a recording" in " ".join(result.stderr.split())
    assert "notes.txt" not in result.stderr
    as_json = run("recordings", "list", "--json", recording.parent)
    assert as_json.returncode == 0
    assert len(json.loads(as_json.stdout)["recordings"]) == 2
    film = run("recordings", "mix", recording.parent / "cut", "-o", recording.parent / "a.webm")
    assert (film.returncode, "is not the manifest" in film.stderr) == (ExitCode.FAILED, True)


def test_names_are_in_the_film_or_not(run: Run, recording: Path, tmp_path: Path) -> None:
    (tmp_path / "font.ttf").write_bytes(bytes(100))
    small = ("--size", "320x180", "--rate", "2")
    result = run("recordings", "mix", recording, "-o", tmp_path / "a.webm", *small, "--font", tmp_path / "font.ttf")
    assert (result.returncode, "is no font that can be used" in result.stderr) == (ExitCode.FAILED, True)
    result = run("recordings", "mix", recording, "-o", tmp_path / "a.webm", *small, "--font", tmp_path / "none.ttf")
    assert result.returncode == ExitCode.USAGE
    for name, options in (("a.webm", ()), ("b.webm", ("--no-names",))):
        assert run("recordings", "mix", recording, "-o", tmp_path / name, *small, *options).returncode == 0
    assert max(strip_of(tmp_path / "a.webm", 2.0, 0)) > 180
    assert max(strip_of(tmp_path / "b.webm", 2.0, 0)) < 80


@pytest.mark.parametrize("library", ["av", "PIL"])
def test_a_library_that_is_missing(processes: None, tmp_path: Path, recording: Path, library: str) -> None:
    """One sentence says what to install; without names, a film needs no Pillow."""
    code = (
        "import importlib.util as u, sys\n"
        f"find, sys.modules[{library!r}] = u.find_spec, None\n"
        f"u.find_spec = lambda name, *rest: None if name == {library!r} else find(name, *rest)\n"
        "from meshturn.__main__ import main\nmain()"
    )
    film = tmp_path / "a.webm"
    command = [sys.executable, "-c", code, "recordings", "mix", str(recording), "-o", str(film), "--size", "64x64"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == ExitCode.CANNOT_START
    assert "pip install 'meshturn[media]'" in done.stderr
    assert "Traceback" not in done.stderr
    done = subprocess.run([*command, "--no-names"], check=False, capture_output=True, text=True, timeout=120)
    assert (done.returncode == 0) == film.exists() == (library == "PIL")


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
