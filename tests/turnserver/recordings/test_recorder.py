"""The recorder process, with its pipes."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from turnserver.media.rtp import build_packet
from turnserver.recordings.manifest import read_manifest
from turnserver.recordings.wire import Begun, MediaPacket, RecordingClosed, Started, write_message

pytestmark = pytest.mark.process


class Recorder:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.child = subprocess.Popen(
            [sys.executable, "-P", "-m", "turnserver.recordings.recorder"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.now = time.monotonic()

    def start(self, *, reserve: int = 0) -> list[object]:
        """Begin, and wait until it has."""
        self.write(write_message(Started(str(self.directory), "r", self.now, 1e9, 1 << 30, reserve)))
        return self.line()

    def write(self, data: bytes) -> None:
        assert self.child.stdin is not None
        self.child.stdin.write(data)
        self.child.stdin.flush()

    def line(self) -> list[object]:
        assert self.child.stdout is not None
        read: list[object] = json.loads(self.child.stdout.readline())
        return read

    def sound(self, packets: int) -> None:
        self.write(write_message(Begun(1, "ann", "Ann", "audio", "opus")))
        for number in range(packets):
            packet = build_packet(
                payload_type=96, sequence=number, timestamp=number * 960, ssrc=1, payload=b"\xfc\xff\xfe"
            )
            self.write(write_message(MediaPacket(1, self.now + number * 0.02, bytes(packet))))

    def end(self) -> int:
        assert self.child.stdin is not None
        self.child.stdin.close()
        return self.child.wait(60)


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[Recorder]:
    made = Recorder(tmp_path)
    yield made
    made.child.kill()
    made.child.wait()
    for pipe in (made.child.stdin, made.child.stdout):
        assert pipe is not None
        pipe.close()


def test_it_ends_when_it_is_told_to(recorder: Recorder) -> None:
    assert recorder.start() == ["ready", 0]
    recorder.sound(100)
    recorder.write(write_message(RecordingClosed("stopped")))
    assert recorder.child.wait(60) == 0
    recording = read_manifest(recorder.directory)
    assert (recording.end, recording.files[0].streams[0].frames) == ("stopped", 100)


def test_signals_of_a_service_are_left_to_whoever_has_started_it(recorder: Recorder) -> None:
    """And an end without a word completes the files."""
    recorder.start()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        recorder.child.send_signal(number)
    recorder.sound(50)
    assert recorder.end() == 0
    recording = read_manifest(recorder.directory)
    assert (recording.end, recording.files[0].streams[0].frames) == ("interrupted", 50)


def test_it_says_why_it_gives_up(recorder: Recorder) -> None:
    recorder.start(reserve=1 << 60)
    assert recorder.line() == ["failed", "the disk is almost full"]
    assert recorder.child.wait(60) == 0
    assert read_manifest(recorder.directory).end == "disk"


@pytest.mark.parametrize("data", [b"", b"\xff" * 9, write_message(RecordingClosed("x"))])
def test_what_is_no_recording_is_none(recorder: Recorder, data: bytes) -> None:
    recorder.write(data)
    assert recorder.end() == 1
    assert list(recorder.directory.iterdir()) == []


def test_nonsense_in_the_middle_completes_the_files(recorder: Recorder) -> None:
    recorder.start()
    recorder.sound(50)
    recorder.write(b"\xff" * 9)
    assert recorder.end() == 0
    assert (read_manifest(recorder.directory).end, len(read_manifest(recorder.directory).files)) == ("fault", 1)
