"""Names in a film: readable, in one line, and no name makes a film fail."""

import shutil
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.recorded_files import Somebody, make_recording, strip_of
from turnserver.recordings import labels
from turnserver.recordings.labels import FontError, Label, Labels, shown_name
from turnserver.recordings.mix import MixError, MixOptions, mix

pytestmark = pytest.mark.process  # fontconfig may be asked

SMALL = MixOptions(320, 180, 15)


def drawn(label: Label | None) -> int:
    """How many pixels of a strip are letters."""
    assert label is not None
    assert len(label.luminance) == label.width * label.height
    assert label.width % 2 == label.height % 2 == 0
    return sum(each > 128 for each in label.luminance)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Ann", "Ann"),
        ("  Ann\n\tMay\x00 ", "Ann May"),
        ("\u202egnp.exe\u202c", "gnp.exe"),
        ("\u2066Ann\u2069\u200b\ufeff", "Ann"),
        ("a\u2028b\u2029c\u0085d\u00a0e", "a b c d e"),
        ("Z" + "\u0335" * 99 + "y", "Z\u0335\u0335y"),
        ("\ud800\ue000\U000fffff", ""),
        ("José", "José"),
        ("x" * 5000, "x" * 120),
        ("", ""),
    ],
)
def test_what_is_left_of_a_name(name: str, shown: str) -> None:
    assert shown_name(name) == shown


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=200), st.integers(2, 1280), st.integers(2, 720))
def test_no_name_makes_a_film_fail(name: str, width: int, height: int) -> None:
    label = MADE.label(name, "p1", width, height)
    assert label is None or (label.width <= width and label.height <= height // 3)


MADE = Labels(720)


@pytest.mark.parametrize("name", ["", "\n\x00", "\u202e", "\ud800", "\U0010ffff" * 9, "👩‍👩‍👧" * 40, "!!!"])
def test_a_name_of_nothing_has_another_word_in_its_place(name: str) -> None:
    label, instead = MADE.label(name, "p17", 640, 360), MADE.label("", "p17", 640, 360)
    assert drawn(label) > 20
    if name != "!!!":
        assert label == instead


def test_a_long_name_fits_into_its_tile() -> None:
    short, long, longest = (MADE.label("W" * count, "p1", 320, 240) for count in (3, 30, 100_000))
    assert drawn(short) < drawn(long)
    assert long is not None
    assert long.width <= 320
    assert longest is not None
    assert longest.width <= 320


def test_letters_can_be_read_at_720_lines() -> None:
    """Two columns have letters of 30 pixels, six of 17; a tile that is too small for a name has none."""
    sizes = [MADE.label("Ann", "p1", 1280 // each, 720 // each) for each in (1, 2, 6)]
    assert [label is not None for label in sizes] == [True, True, True]
    heights = [0 if label is None else label.height for label in sizes]
    assert heights[0] == heights[1] >= 36
    assert heights[2] >= 16
    assert MADE.label("Ann", "p1", 40, 20) is None


def test_letters_that_no_font_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without fontconfig and the usual fonts there is the one of Pillow, which is of English."""
    monkeypatch.setattr(labels, "_known", lambda _: iter(()))
    made = Labels(720)
    instead = made.label("", "p1", 640, 360)
    assert made.label("Ann", "p1", 640, 360) != instead
    assert made.label("é", "p1", 640, 360) == made.label("e", "p1", 640, 360)
    assert made.label("Жan", "p1", 640, 360) == made.label("?an", "p1", 640, 360)
    for nothing in ("Ж", "你好", "Иван Иванов", "\U0001f600"):
        assert made.label(nothing, "p1", 640, 360) == instead


@pytest.mark.parametrize("name", ["Иван", "Ωμέγα", "José", "Łukasz", "שלום", "عمر", "Nguyễn"])
def test_the_font_of_this_machine_that_has_the_letters(name: str) -> None:
    if shutil.which("fc-match") is None or labels._by_fontconfig(name) is None:
        pytest.skip("no fontconfig, or it knows no font")
    face = Labels(720)._face_for(name)
    assert face.path
    if labels._lacks(name, face):
        pytest.skip("no font of this machine has these letters")
    assert MADE.label(name, "p1", 640, 360) != MADE.label("", "p1", 640, 360)
    assert MADE.label(name, "p1", 640, 360) != MADE.label("?" * len(name), "p1", 640, 360)


def test_a_fontconfig_that_says_nonsense(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for number, words in enumerate(("exit 1", "echo", "echo /etc/passwd; echo 0", "echo x; echo y", "kill -9 $$")):
        folder = tmp_path / str(number)
        folder.mkdir()
        program = folder / "fc-match"
        program.write_text(f"#!/bin/sh\n{words}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
        assert drawn(Labels(720).label("Ann \u4f60", "p1", 640, 360)) > 20


def test_a_font_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "font.ttf").write_bytes(b"\0" * 5000)
    for path in (tmp_path / "font.ttf", tmp_path / "none.ttf"):
        with pytest.raises(FontError, match="is no font that can be used"):
            Labels(720, path)
    recording = make_recording(tmp_path / "r", [Somebody("ann", 60, 400, 0.0, 1.0)])
    with pytest.raises(MixError, match="is no font that can be used"):
        mix(recording, tmp_path / "a.webm", SMALL._replace(font=tmp_path / "font.ttf"))
    assert {path.name for path in tmp_path.iterdir()} == {"r", "font.ttf"}


def test_a_film_has_the_names_in_its_tiles(tmp_path: Path) -> None:
    """Light letters on a dark strip in the lower left of each tile; the rest is picture."""
    people = [Somebody("ann", 120, 400, 0.0, 1.0), Somebody("\u202e\x00" * 40, 120, 700, 0.0, 1.0)]
    recording = make_recording(tmp_path / "r", people)
    mix(recording, tmp_path / "a.webm", MixOptions(640, 360, 5))
    for column in range(2):
        strip = strip_of(tmp_path / "a.webm", 0.6, column)
        assert min(strip) < 50
        assert max(strip) > 180
    mix(recording, tmp_path / "b.webm", MixOptions(640, 360, 5, names=False))
    for column in range(2):
        assert max(strip_of(tmp_path / "b.webm", 0.6, column)) < 60


def test_without_names_nothing_but_pyav_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "turnserver.recordings.labels", None)
    recording = make_recording(tmp_path / "r", [Somebody("ann", 60, 400, 0.0, 1.0)])
    assert mix(recording, tmp_path / "a.webm", SMALL._replace(names=False)) > 0
