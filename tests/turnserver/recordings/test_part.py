"""One file of a recording."""

from pathlib import Path

import av
import pytest

from turnserver.recordings.part import Part, PartError, PartRefused

SILENCE = b"\xfc\xff\xfe"


def part(path: Path, written: list[int]) -> Part:
    return Part(path, webm=True, audio=True, video=None, written=written.append)


def test_times_go_on_and_every_byte_is_counted(tmp_path: Path) -> None:
    written: list[int] = []
    made = part(tmp_path / "a.webm", written)
    for time in (0.0, 0.02, 0.02, 0.01, -1.0, 0.5):
        made.write("audio", time, SILENCE, keyframe=True)
    made.close()
    assert made.size == sum(written) == (tmp_path / "a.webm").stat().st_size
    assert (made.frames["audio"], made.duration, made.has("audio"), made.has("video")) == (6, 0.5, True, False)
    with av.open(str(tmp_path / "a.webm")) as container:
        times = [packet.pts for packet in container.demux(audio=0) if packet.pts is not None]
    assert times == sorted(set(times))
    assert len(times) == 6


def test_a_second_of_it_is_on_the_disk_before_it_ends(tmp_path: Path) -> None:
    """What a killed process leaves behind: nothing has been closed."""
    made = part(tmp_path / "a.webm", [])
    for number in range(500):
        made.write("audio", number * 0.02, SILENCE, keyframe=True)
    copy = tmp_path / "copy.webm"
    copy.write_bytes((tmp_path / "a.webm").read_bytes())
    with av.open(str(copy)) as container:
        last = max(packet.pts for packet in container.demux(audio=0) if packet.pts is not None)
    assert last >= 8000
    made.close()


def test_nothing_is_written_over_and_no_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "a.webm").write_bytes(b"mine")
    (tmp_path / "b.webm").symlink_to(tmp_path / "elsewhere")
    for name in ("a.webm", "b.webm", "nowhere/c.webm"):
        with pytest.raises(PartError):
            part(tmp_path / name, [])
    assert (tmp_path / "a.webm").read_bytes() == b"mine"
    assert not (tmp_path / "elsewhere").exists()


def test_a_keyframe_that_is_none_is_refused_and_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(PartRefused):
        Part(tmp_path / "a.mkv", webm=False, audio=False, video=("h264", b"nonsense"), written=lambda _: None)
    assert list(tmp_path.iterdir()) == []
