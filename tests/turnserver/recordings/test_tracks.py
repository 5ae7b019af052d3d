"""The pictures and the sound of files, by the time of the recording."""

import os
from pathlib import Path

import pytest

from tests.support.recorded_files import Somebody, make_recording
from turnserver.recordings import tracks
from turnserver.recordings.tracks import RATE, RecordedPicture, RecordedSound, length_of


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return make_recording(tmp_path / "r", [Somebody("ann", 100, 500, 2.0, 3.0)]) / "p1.webm"


def test_a_picture_is_there_from_its_beginning_on(file: Path) -> None:
    track = RecordedPicture(file, 2.0, lasts=False)
    assert track.at(1.9) is None
    first = track.at(2.01)
    assert first is not None
    assert track.at(2.03) is first, "the next one is not due"
    assert track.at(2.5) is not first
    assert track.at(5.0) is not None
    assert track.at(6.5) is None, "a camera that has sent nothing for so long is off"
    screen = RecordedPicture(file, 2.0, lasts=True)
    assert screen.at(60.0) is not None
    track.close()
    screen.close()


def test_sound_is_where_it_belongs(file: Path) -> None:
    track = RecordedSound(file, 2.0)
    assert track.take(0, 960) is None
    around = track.take(2 * RATE - 4800, 9600)
    assert around is not None
    assert not any(around[:9000])
    assert max(around[-4800:]) > 5000
    assert track.take(round(2.5 * RATE), 960) is not None
    assert track.take(10 * RATE, 960) is None
    track.close()


def test_what_cannot_be_read_is_empty(tmp_path: Path, file: Path) -> None:
    (tmp_path / "bad").write_bytes(b"\x1a\x45\xdf\xa3" + bytes(range(256)) * 20)
    for path in (tmp_path / "bad", tmp_path / "none"):
        assert RecordedPicture(path, 0.0, lasts=True).at(1.0) is None
        assert RecordedSound(path, 0.0).take(0, 960) is None
        assert length_of(path) == 0.0
    assert length_of(file) == pytest.approx(1.0, abs=0.1)
    half = tmp_path / "half.webm"
    half.write_bytes(file.read_bytes()[: file.stat().st_size * 2 // 3])
    assert RecordedSound(half, 0.0).take(0, 960) is not None


def test_what_is_no_recorded_file_is_not_read(tmp_path: Path) -> None:
    """A playlist would have files and addresses read that it names; and a pipe has no end."""
    film = make_recording(tmp_path / "r", [Somebody("ann", 100, 500, 0.0, 1.0)]) / "p1.webm"
    (tmp_path / "list.webm").write_text(f"ffconcat version 1.0\nfile {film}\n")
    (tmp_path / "hls.webm").write_text(f"#EXTM3U\n#EXTINF:1,\nfile://{film}\n#EXT-X-ENDLIST\n")
    os.mkfifo(tmp_path / "pipe.webm")
    (tmp_path / "folder.webm").mkdir()
    for name in ("list", "hls", "pipe", "folder", "none"):
        path = tmp_path / f"{name}.webm"
        assert length_of(path) == 0.0
        assert RecordedPicture(path, 0.0, lasts=True).at(1.0) is None
        assert RecordedSound(path, 0.0).take(0, 960) is None
    assert length_of(film) > 0.5


def test_a_picture_that_is_too_large_is_left_out(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A participant may send one of 16,383 by 16,383 pixels."""
    monkeypatch.setattr(tracks, "MOST_PIXELS", 100)
    assert RecordedPicture(file, 0.0, lasts=True).at(0.5) is None
