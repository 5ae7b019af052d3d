"""The manifest of a recording: written whole, and read with suspicion."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from turnserver.recordings.manifest import (
    MANIFEST,
    ManifestError,
    RecordedFile,
    RecordedStream,
    Recording,
    read_manifest,
)


def made() -> Recording:
    streams = [RecordedStream("audio", "opus", 5), RecordedStream("camera", "vp8", 7, 1, 320, 180)]
    file = RecordedFile("p1.webm", "peer", "Zoë\n", "camera", 0.5, 2.5, 1234, streams)
    return Recording("room", "2026-01-02T03:04:05.678+00:00", 3.0, "stopped", "", 2, [file])


def test_what_is_written_is_read(tmp_path: Path) -> None:
    made().write(tmp_path)
    assert read_manifest(tmp_path) == made()
    assert (tmp_path / MANIFEST).stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [MANIFEST]
    assert made().begun.isoformat() == "2026-01-02T03:04:05.678000+00:00"


def test_a_directory_without_one(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="cannot be read: No such file"):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"started": "yesterday"},
        {"duration": -1},
        {"duration": "nan"},
        {"files": 3},
        {"files": [{"file": "../p1.webm"}]},
        {"files": [None]},
        {"started": None},
    ],
)
def test_what_is_none_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    made().write(tmp_path)
    path = tmp_path / MANIFEST
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(ManifestError, match="is not the manifest of a recording"):
        read_manifest(tmp_path)


@pytest.mark.parametrize("name", ["../p1.webm", "/etc/passwd", ".p1", "", "a/b"])
def test_files_are_in_the_directory(tmp_path: Path, name: str) -> None:
    recording = made()
    recording.files[0].file = name
    recording.write(tmp_path)
    with pytest.raises(ManifestError):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[" * 100_000,
        "null",
        "\x00" * 4096,
        '{"version": 1}',
        '{"version": 1, "room": "r", "started": "0001-01-01T00:00:00+23:59", "duration": 1, "end": null, "files": []}',
        '{"version": 1, "room": "r", "started": "2026-01-02", "duration": 1, "end": null, "lost": 1e999, "files": []}',
        '{"version": 1, "room": "r", "started": "2026-01-02", "duration": NaN, "end": null, "files": []}',
    ],
    ids=range(9),
)
def test_what_is_damaged_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / MANIFEST).write_text(text)
    with pytest.raises(ManifestError, match="is not the manifest of a recording"):
        read_manifest(tmp_path)


def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    os.mkfifo(tmp_path / "a" / MANIFEST)
    (tmp_path / "b" / MANIFEST).mkdir(parents=True)
    for name in "ab":
        with pytest.raises(ManifestError):
            read_manifest(tmp_path / name)


def test_a_name_that_is_no_text_is_written(tmp_path: Path) -> None:
    recording = made()
    recording.files[0].name = "Ann\ud800"
    recording.write(tmp_path)
    assert read_manifest(tmp_path).files[0].name == "Ann\ud800"


def test_half_a_manifest_is_not_left(tmp_path: Path) -> None:
    """The one before stays."""
    made().write(tmp_path)
    (tmp_path / f"{MANIFEST}.new").symlink_to("/dev/full")
    with pytest.raises(OSError, match="symbolic"):
        made().write(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [MANIFEST]
    assert read_manifest(tmp_path) == made()
