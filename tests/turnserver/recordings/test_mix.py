"""A film of a recording: all pictures, all voices, and nothing left behind when it cannot be made."""

from pathlib import Path

import av
import pytest

from tests.support.recorded_files import FOUR, Somebody, brightness, make_recording, tone_in
from turnserver.recordings.manifest import ManifestError, read_manifest
from turnserver.recordings.mix import MixError, MixOptions, mix

pytestmark = pytest.mark.process  # fontconfig may be asked for a font

SMALL = MixOptions(320, 180, 15)


@pytest.mark.parametrize(
    ("suffix", "codecs"), [("webm", {"vp8", "opus"}), ("mp4", {"h264", "aac"})], ids=["webm", "mp4"]
)
def test_the_film_of_four_has_four_pictures_and_all_voices(tmp_path: Path, suffix: str, codecs: set[str]) -> None:
    recording, film = make_recording(tmp_path / "r"), tmp_path / f"film.{suffix}"
    told: list[tuple[float, float]] = []
    length = mix(recording, film, SMALL, lambda done, total: told.append((done, total)))
    assert length == pytest.approx(4.0, abs=0.2)
    with av.open(str(film)) as container:
        assert {stream.codec_context.codec.canonical_name for stream in container.streams} == codecs
        (video,) = container.streams.video
        assert (video.width, video.height) == (320, 180)
        assert float(container.duration or 0) / 1_000_000 == pytest.approx(4.0, abs=0.5)
    assert brightness(film, 3.0) == [pytest.approx(who.light, abs=12) for who in FOUR]
    assert brightness(film, 0.5, columns=2, rows=1) == [pytest.approx(who.light, abs=12) for who in FOUR[:2]]
    for who in FOUR:
        assert tone_in(film, who.tone, 2.0, 3.5) > 3000
        assert (tone_in(film, who.tone, 0.1, 0.8) > 3000) == (who.begins == 0.0)
    assert tone_in(film, 2500, 2.0, 3.5) < 300
    assert told[-1] == (pytest.approx(length), pytest.approx(length))
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert film.stat().st_mode & 0o777 == 0o600
    assert {path.name for path in tmp_path.iterdir()} == {"r", film.name}


def test_who_goes_leaves_room_and_who_has_no_picture_has_a_dark_tile(tmp_path: Path) -> None:
    people = [Somebody("ann", 200, 400, 0.0, 3.0), Somebody("bob", 120, 700, 0.0, 1.5)]
    recording = make_recording(tmp_path / "r", people)
    mix(recording, tmp_path / "a.webm", SMALL)
    assert brightness(tmp_path / "a.webm", 1.0, 2, 1) == [pytest.approx(200, abs=12), pytest.approx(120, abs=12)]
    assert brightness(tmp_path / "a.webm", 2.7, 1, 1) == [pytest.approx(200, abs=12)]


def test_a_recording_that_was_interrupted(tmp_path: Path) -> None:
    recording = make_recording(tmp_path / "r", FOUR[:2], interrupted=True)
    path = recording / "p2.webm"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert mix(recording, tmp_path / "a.webm", SMALL) == pytest.approx(4.0, abs=0.2)
    assert brightness(tmp_path / "a.webm", 1.0, 2, 1)[0] == pytest.approx(60, abs=12)


def test_voices_together_are_not_clipped(tmp_path: Path) -> None:
    """Six of 12,000 each would be more than twice too loud: a clipped sum has tones that nobody has made."""
    people = [Somebody(f"p{number}", 100, 500, 0.0, 1.0) for number in range(6)]
    mix(make_recording(tmp_path / "r", people), tmp_path / "a.webm", SMALL)
    loud = tone_in(tmp_path / "a.webm", 500, 0.2, 0.8)
    assert 25_000 < loud < 33_500
    assert tone_in(tmp_path / "a.webm", 1500, 0.2, 0.8) < loud / 20


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_end_in_the_middle_leaves_nothing_behind(tmp_path: Path, error: type[BaseException]) -> None:
    recording = make_recording(tmp_path / "r", FOUR[:1])
    (tmp_path / "a.webm").write_bytes(b"the one before")

    def enough(done: float, total: float) -> None:
        if done > 1.0:
            raise error

    with pytest.raises(error):
        mix(recording, tmp_path / "a.webm", SMALL, enough)
    assert (tmp_path / "a.webm").read_bytes() == b"the one before"
    assert {path.name for path in tmp_path.iterdir()} == {"r", "a.webm"}


def test_what_is_no_film(tmp_path: Path) -> None:
    recording = make_recording(tmp_path / "r", FOUR[:1])
    with pytest.raises(MixError, match=r"ends with \.webm or \.mp4, not \.avi"):
        mix(recording, tmp_path / "a.avi", SMALL)
    with pytest.raises(MixError, match="cannot be written: No such file"):
        mix(recording, tmp_path / "no" / "a.webm", SMALL)
    with pytest.raises(ManifestError):
        mix(tmp_path, tmp_path / "a.webm", SMALL)
    (recording / "p1.webm").unlink()
    with pytest.raises(MixError, match="nothing to see or to hear"):
        mix(recording, tmp_path / "a.webm", SMALL)


def test_a_recording_that_would_be_overwritten_or_has_no_end(tmp_path: Path) -> None:
    """A film does not take the place of what it is made of; and a damaged length makes no film of years."""
    recording = make_recording(tmp_path / "r", FOUR[:1])
    before = (recording / "p1.webm").read_bytes()
    with pytest.raises(MixError, match="is a part of the recording"):
        mix(recording, recording / "p1.webm", SMALL)
    assert (recording / "p1.webm").read_bytes() == before
    read = read_manifest(recording)
    read.files[0].offset = 5e8
    read.write(recording)
    with pytest.raises(MixError, match="longer than 7 days"):
        mix(recording, tmp_path / "a.webm", SMALL)
    assert {path.name for path in tmp_path.iterdir()} == {"r"}
