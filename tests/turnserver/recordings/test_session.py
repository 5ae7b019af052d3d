"""A recording as it is made, of packets of real encoders: parts, losses, codecs, and a disk that has no room."""

import resource
from collections.abc import Iterator
from pathlib import Path

import av
import pytest

from tests.support.media_packets import encoded
from turnserver.media.rtp import build_packet
from turnserver.recordings.manifest import Recording, read_manifest
from turnserver.recordings.session import PATIENCE, RecordingSession, SessionEnd
from turnserver.recordings.wire import Begun, Ended, Lost, MediaPacket, RecordingClosed, Related, Started

SILENCE = b"\xfc\xff\xfe"
"""20 ms of Opus, stereo."""


class World:
    """A recording with a clock; tracks have one encoder each."""

    def __init__(self, directory: Path, *, most: int = 1 << 30, reserve: int = 0) -> None:
        self.directory = directory
        self.now = 100.0
        self.asked: list[int] = []
        self.session = RecordingSession(Started(str(directory), "r", self.now, 1e9, most, reserve), self.asked.append)
        self.sound = 0

    def begin(self, number: int, peer: str, source: str, codec: str) -> None:
        self.session.take(Begun(number, peer, f"Dr. {peer}/../\n", source, codec))

    def picture(self, number: int, packets: list[bytes], *, sound: int | None = None) -> None:
        """All packets of an encoder of 15 pictures in a second, with the sound of another track."""
        for packet in packets:
            self.session.take(MediaPacket(number, self.now, packet))
            if packet[1] & 0x80:
                self.pass_time(1 / 15, sound)

    def pass_time(self, seconds: float, sound: int | None = None) -> None:
        for _ in range(max(round(seconds * 50), 1)):
            self.now += 0.02
            if sound is not None:
                self.sound += 1
                packet = build_packet(
                    payload_type=96,
                    sequence=self.sound & 0xFFFF,
                    timestamp=self.sound * 960,
                    ssrc=1,
                    payload=SILENCE,
                )
                self.session.take(MediaPacket(sound, self.now, bytes(packet)))
            self.session.tick(self.now)

    def finish(self) -> Recording:
        self.session.finish("stopped", "", self.now)
        return read_manifest(self.directory)

    def streams(self, name: str) -> dict[str, int]:
        """How many packets each stream of a file has, by codec."""
        with av.open(str(self.directory / name)) as container:
            found = {stream.codec_context.name: 0 for stream in container.streams}
            for packet in container.demux():
                found[packet.stream.codec_context.name] += packet.size > 0
        return found


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_sound_and_camera_are_one_file_and_a_screen_another(world: World) -> None:
    world.begin(1, "ann", "audio", "opus")
    world.begin(2, "ann", "camera", "vp8")
    world.begin(3, "ann", "screen", "vp8")
    world.picture(2, encoded("libvpx"), sound=1)
    world.picture(3, encoded("libvpx", size=(320, 240)), sound=1)
    recording = world.finish()
    camera, screen = recording.files
    assert (camera.file, camera.kind, camera.peer, camera.name) == ("p1.webm", "camera", "ann", "Dr. ann/../\n")
    assert (screen.file, screen.kind) == ("p1-screen.webm", "screen")
    assert world.streams("p1.webm") == {"opus": world.sound, "vp8": 12}
    assert world.streams("p1-screen.webm") == {"vp8": 12}
    assert [(each.source, each.width, each.height, each.frames) for each in (*camera.streams, *screen.streams)] == [
        ("audio", 0, 0, world.sound),
        ("camera", 160, 120, 12),
        ("screen", 320, 240, 12),
    ]
    assert screen.offset == pytest.approx(0.8, abs=0.1)
    assert recording.duration == pytest.approx(1.6, abs=0.2)


@pytest.mark.parametrize(
    ("codec", "encoder", "suffix"),
    [("vp9", "libvpx-vp9", "webm"), ("h264", "libx264", "mkv"), ("av1", "libsvtav1", "webm")],
)
def test_other_codecs(world: World, codec: str, encoder: str, suffix: str) -> None:
    world.begin(1, "ann", "audio", "opus")
    world.begin(2, "ann", "camera", codec)
    world.picture(2, encoded(encoder), sound=1)
    (file,) = world.finish().files
    assert file.file == f"p1.{suffix}"
    with av.open(str(world.directory / file.file)) as container:
        pictures = list(container.decode(video=0))
        assert (len(pictures), pictures[0].width, pictures[0].height) == (12, 160, 120)


def test_a_picture_that_comes_later_begins_another_file(world: World) -> None:
    """The first has only sound, since the camera was off when its time was over."""
    world.begin(1, "ann", "audio", "opus")
    world.begin(2, "ann", "camera", "vp8")
    world.pass_time(PATIENCE + 1.0, sound=1)
    before = world.sound
    world.picture(2, encoded("libvpx"), sound=1)
    first, second = world.finish().files
    assert (first.file, second.file) == ("p1.webm", "p1-2.webm")
    assert world.streams("p1.webm")["opus"] == pytest.approx(before, abs=5)
    assert world.streams("p1-2.webm")["vp8"] == 12
    assert first.offset + (first.duration or 0) == pytest.approx(second.offset, abs=0.05)


def test_another_codec_or_sound_for_a_screen_begins_another_file(world: World) -> None:
    world.begin(1, "ann", "screen", "vp8")
    world.picture(1, encoded("libvpx"))
    world.begin(2, "ann", "screen_audio", "opus")
    world.pass_time(0.5, sound=2)
    assert world.asked[-1] == 1, "the new file needs a keyframe to begin with"
    world.session.take(Ended(1))
    world.begin(3, "ann", "screen", "vp9")
    world.picture(3, encoded("libvpx-vp9"), sound=2)
    first, second = world.finish().files
    assert (first.file, second.file) == ("p1-screen.webm", "p1-screen-2.webm")
    assert world.streams(first.file) == {"vp8": 12}
    assert world.streams(second.file)["vp9"] == 12


def test_a_picture_of_another_size_stays_in_its_file(world: World) -> None:
    """As when the layer changes: the forwarder makes one stream of both."""
    world.begin(1, "ann", "camera", "vp8")
    small, large = encoded("libvpx"), encoded("libvpx", size=(320, 240))
    last, first = small[-1], large[0]
    by = int.from_bytes(last[2:4]) + 1 - int.from_bytes(first[2:4])
    ticks = int.from_bytes(last[4:8]) + 6000 - int.from_bytes(first[4:8])
    moved = [
        packet[:2]
        + (int.from_bytes(packet[2:4]) + by & 0xFFFF).to_bytes(2)
        + (int.from_bytes(packet[4:8]) + ticks & 0xFFFFFFFF).to_bytes(4)
        + packet[8:]
        for packet in large
    ]
    world.picture(1, small + moved)
    (file,) = world.finish().files
    with av.open(str(world.directory / file.file)) as container:
        sizes = [(each.width, each.height) for each in container.decode(video=0)]
    assert sizes == [(160, 120)] * 12 + [(320, 240)] * 12


def test_lost_packets_cost_frames_and_ask_for_a_keyframe(world: World) -> None:
    world.begin(1, "ann", "camera", "vp8")
    packets = encoded("libvpx", frames=7)
    last = [n for n, packet in enumerate(packets) if packet[1] & 0x80]
    del packets[last[2] + 1 : last[3] + 1]
    world.picture(1, packets)
    world.pass_time(3.0)
    assert set(world.asked) == {1}
    world.session.take(Lost(5))
    recording = world.finish()
    (stream,) = [each for each in recording.files[0].streams if each.source == "camera"]
    assert stream.frames == world.streams("p1.webm")["vp8"] == 3
    assert stream.missed == 3
    assert recording.lost == 5


def test_the_end_is_told_by_the_message_by_size_and_by_the_disk(tmp_path: Path) -> None:
    with pytest.raises(SessionEnd) as told:
        World(tmp_path).session.take(RecordingClosed("stopped"))
    assert told.value.end == "stopped"
    small = World(tmp_path, most=10)
    small.begin(1, "ann", "camera", "vp8")
    with pytest.raises(SessionEnd, match="recordings_size") as told:
        small.picture(1, encoded("libvpx", frames=60))
    assert told.value.end == "size"
    with pytest.raises(SessionEnd, match="almost full") as told:
        World(tmp_path, reserve=1 << 60).pass_time(0.1)
    assert told.value.end == "disk"


@pytest.fixture
def largest() -> Iterator[None]:
    """Files of this process may have 100,000 bytes; the system refuses more as it does on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_what_cannot_be_written_ends_it_and_what_was_written_plays(tmp_path: Path, largest: None) -> None:
    world = World(tmp_path)
    world.begin(1, "ann", "camera", "vp8")
    with pytest.raises(SessionEnd, match=r"p1\.webm cannot be written: File too large") as told:
        world.picture(1, encoded("libvpx", frames=300))
    assert told.value.end == "disk"
    world.session.finish(told.value.end, str(told.value), world.now)
    assert read_manifest(tmp_path).end == "disk"
    assert world.streams("p1.webm")["vp8"] > 0


def test_hostile_numbers_and_times(world: World) -> None:
    """Tracks that nobody knows, twice the same, another codec; times before and behind all bounds."""
    world.session.take(MediaPacket(9, world.now, b"x" * 20))
    world.session.take(Related(9, 1, 1))
    world.session.take(Ended(9))
    world.begin(1, "ann", "camera", "theora")
    world.begin(2, "ann", "audio", "opus")
    world.begin(2, "bob", "camera", "vp8")
    for number, timestamp in enumerate((5, 0xFFFFFFF0, 1 << 31, 7, 1 << 30)):
        packet = build_packet(
            payload_type=96, sequence=number, timestamp=timestamp & 0xFFFFFFFF, ssrc=1, payload=SILENCE
        )
        world.session.take(MediaPacket(2, world.now, bytes(packet)))
        world.session.take(Related(2, (1 << 64) - 1 if number % 2 else 0, timestamp & 0xFFFFFFFF))
        world.pass_time(0.1)
    (file,) = world.finish().files
    assert (file.peer, file.streams[0].frames) == ("ann", 5)
    assert file.duration is not None
    assert file.duration < 15


NONSENSE = {
    "vp8": b"\x10\x10\x00\x00\x9d\x01\x2a\x00\x00\x00\x00",
    "vp9": b"\x0c\x82\x49\x83\x42\x00\xff\xff\xff\xff",
    "h264": b"\x67\x42\xe0\x1f\x96\x54",
    "av1": b"\x18\x0a\x0b\x00\x00\x00",
}
"""What a packet may say is a keyframe."""


@pytest.mark.parametrize("codec", sorted(NONSENSE))
def test_a_picture_that_is_none_costs_nobody_else_anything(world: World, codec: str) -> None:
    """One participant could end the recording of all: the muxer refuses the file. Its sound is recorded, too."""
    world.begin(1, "ann", "camera", codec)
    world.begin(2, "ann", "audio", "opus")
    world.begin(3, "bob", "camera", "vp8")
    for number, packet in enumerate(encoded("libvpx", frames=60)):
        world.session.take(MediaPacket(3, world.now, packet))
        made = build_packet(
            payload_type=96, sequence=number, timestamp=number * 6000, ssrc=2, payload=NONSENSE[codec], marker=True
        )
        world.session.take(MediaPacket(1, world.now, bytes(made)))
        if packet[1] & 0x80:
            world.pass_time(1 / 15, 2)
    recording = world.finish()
    found = {file.peer: file for file in recording.files}
    assert recording.end == "stopped"
    assert {path.name for path in world.directory.iterdir()} == {"manifest.json", *(f.file for f in recording.files)}
    assert world.streams(found["bob"].file)["vp8"] == 60
    assert {stream.codec for stream in found["ann"].streams} == {"opus"}


def test_a_picture_that_becomes_one(world: World) -> None:
    """The recorder asks for a keyframe, and goes on with it in the next file."""
    world.begin(1, "ann", "camera", "vp8")
    bad = build_packet(payload_type=96, sequence=0, timestamp=0, ssrc=2, payload=NONSENSE["vp8"], marker=True)
    packets = encoded("libvpx", frames=20)
    first = int.from_bytes(packets[0][2:4], "big")
    bad[2:4] = (first - 1 & 0xFFFF).to_bytes(2, "big")
    world.picture(1, [bytes(bad), *packets])
    recording = world.finish()
    assert [file.file for file in recording.files] == ["p1.webm"]
    assert world.streams("p1.webm")["vp8"] == 20
    assert recording.files[0].streams[-1].missed == 1
