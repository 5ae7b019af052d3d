"""Recordings of calls on real sockets: aiortc sends, a process writes, ffprobe reads."""

import asyncio
import os
import shutil
import signal
import statistics
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.recorded import FlashingPerson, beeps, flashes, manifest_of, packets_of, probe, recorder_pids
from tests.support.sfu_people import deliver, until
from tests.support.tools import require_tool
from turnserver.config.media import MediaConfig
from turnserver.core.settings import OwnAddresses, RelayAddress
from turnserver.core.types import PortRange
from turnserver.faults import Faults
from turnserver.sfu import Sfu
from turnserver.signaling.rooms.media_port import MediaEvent, SfuRecorded, SfuUnrecorded

LOOPBACK = OwnAddresses((RelayAddress(bytes((127, 0, 0, 1)), bytes((127, 0, 0, 1))),))

FRAMES = 100
"""Frames of a picture at 15 in a second: seven seconds, if the machine is not busy."""


class Recorded:
    """A call in an SFU whose recordings go to a directory."""

    def __init__(self, directory: Path, processes: int = 0, **options: Any) -> None:
        self.directory = directory
        self.faults = Faults()
        self.events: list[MediaEvent] = []
        self.people: dict[str, FlashingPerson] = {}
        self.sfu = Sfu(
            MediaConfig(**{"processes": processes, "recordings": directory, "recordings_reserve": 0, **options}),
            PortRange(49152, 65535),
            lambda: LOOPBACK,
            report=self.report,
            changed=lambda _: None,
            faults=self.faults,
            clock=time.monotonic,
        )

    def report(self, event: MediaEvent) -> None:
        self.events.append(event)
        deliver(event, self.people.values())

    async def join(self, *names: str) -> None:
        if not self.people:
            self.sfu.open("r", 1)
        for name in names:
            self.people[name] = FlashingPerson(self.sfu, "r", name)
            await self.people[name].join()

    async def record(self, frames: int = FRAMES) -> None:
        """Record until everybody has sent so many frames since."""
        self.sfu.record("r", True)
        await until(lambda: SfuRecorded("r") in self.events)
        before = {person: person.picture.sent for person in self.people.values()}
        await until(lambda: all(person.picture.sent - sent >= frames for person, sent in before.items()))

    async def close(self) -> None:
        for person in self.people.values():
            await person.close()
        self.sfu.stop()
        assert dict(self.faults.counts) == {}


@pytest.fixture
async def call(tmp_path: Path) -> AsyncIterator[Recorded]:
    require_tool("ffprobe")
    made = Recorded(tmp_path / "recordings")
    yield made
    await made.close()


async def ended(call: Recorded) -> dict[str, Any]:
    """The manifest, once it is complete."""
    await until(lambda: bool(manifest_of(call.directory).get("end")))
    return manifest_of(call.directory)


async def test_a_recording_has_all_that_was_sent(call: Recorded) -> None:
    """Codecs, size, length and nearly all frames; flash and beep are together; and the files are nobody else's."""
    await call.join("ann", "bob")
    await until(lambda: call.people["bob"].frames["video", "ann"] > 5)
    begun = time.monotonic()
    await call.record()
    lasted = time.monotonic() - begun
    call.sfu.record("r", False)
    manifest = await ended(call)
    assert call.events[-1] == SfuUnrecorded("r", "")
    assert (manifest["room"], manifest["end"], manifest["lost"]) == ("r", "stopped", 0)
    assert manifest["duration"] == pytest.approx(lasted, abs=0.5)
    assert {(each["peer"], each["name"], each["kind"]) for each in manifest["files"]} == {
        ("ann", "Ann", "camera"),
        ("bob", "Bob", "camera"),
    }
    (directory,) = call.directory.iterdir()
    assert call.directory.stat().st_mode & 0o777 == directory.stat().st_mode & 0o777 == 0o700
    for each in manifest["files"]:
        path = directory / each["file"]
        assert path.stat().st_mode & 0o777 == 0o600
        found = probe(path)
        streams = {stream["codec_type"]: stream for stream in found["streams"]}
        assert found["errors"] == ""
        assert streams["audio"]["codec_name"] == "opus"
        picture = streams["video"]
        assert (picture["codec_name"], picture["width"], picture["height"]) == ("vp8", 160, 96)
        # The picture begins with its first keyframe, a round trip and an encoder's whim after the sound.
        assert float(found["format"]["duration"]) == pytest.approx(lasted, abs=0.5)
        assert float(found["format"]["duration"]) == pytest.approx(each["duration"], abs=0.1)
        assert int(picture["nb_read_frames"]) >= 0.95 * FRAMES
        assert {stream["source"]: stream["codec"] for stream in each["streams"]} == {"audio": "opus", "camera": "vp8"}
        lit, heard = flashes(path), beeps(path)
        apart = [min(abs(flash - beep) for beep in heard) for flash in lit]
        assert len(apart) >= 3
        assert statistics.median(apart) < 0.1


async def test_what_is_left_of_a_killed_recorder_plays(call: Recorded) -> None:
    """All but the last second; the call goes on, and the room is told."""
    await call.join("ann", "bob")
    await until(lambda: call.people["bob"].frames["video", "ann"] > 5)
    begun = time.monotonic()
    await call.record()
    (pid,) = recorder_pids()
    lasted = time.monotonic() - begun
    os.kill(pid, signal.SIGKILL)
    await until(lambda: SfuUnrecorded("r", "the recorder has ended by itself") in call.events)
    manifest = manifest_of(call.directory)
    assert (manifest["end"], manifest["duration"]) == (None, None)
    (directory,) = call.directory.iterdir()
    assert len(manifest["files"]) == 2
    for each in manifest["files"]:
        path = directory / each["file"]
        found = probe(path)
        assert {stream["codec_name"] for stream in found["streams"]} == {"opus", "vp8"}
        times = packets_of(path, "video")
        assert len(times) >= 0.7 * FRAMES
        assert times[-1] == pytest.approx(lasted, abs=2.5)
    seen = call.people["bob"].frames["video", "ann"]
    await until(lambda: call.people["bob"].frames["video", "ann"] > seen + 5)
    await until(lambda: not recorder_pids())


async def test_the_files_are_completed_when_the_server_ends(call: Recorded) -> None:
    await call.join("ann")
    await call.record(30)
    call.sfu.stop()
    manifest = await ended(call)
    assert manifest["end"] == "server_stopped"
    (directory,) = call.directory.iterdir()
    (each,) = manifest["files"]
    assert float(probe(directory / each["file"])["format"]["duration"]) == pytest.approx(each["duration"], abs=0.1)


@pytest.mark.parametrize(("options", "end"), [({"recordings_reserve": 10_000_000}, "disk"), ({}, "size")])
async def test_a_full_disk_ends_the_recording_and_not_the_call(tmp_path: Path, options: Any, end: str) -> None:
    require_tool("ffprobe")
    call = Recorded(tmp_path / "recordings", **options)
    if end == "size":
        call.sfu._recordings = call.sfu._recordings._replace(most=20_000)
    await call.join("ann", "bob")
    call.sfu.record("r", True)
    manifest = await ended(call)
    assert manifest["end"] == end
    await until(lambda: any(isinstance(event, SfuUnrecorded) for event in call.events))
    (told,) = [event for event in call.events if isinstance(event, SfuUnrecorded)]
    assert told.why == manifest["detail"] != ""
    seen = call.people["bob"].frames["video", "ann"]
    await until(lambda: call.people["bob"].frames["video", "ann"] > seen + 5)
    await call.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system for recordings that is full after 150 kB."""
    directory = tmp_path / "small"
    directory.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=150k,mode=0700", "tmpfs", str(directory)]
    made = subprocess.run(command, capture_output=True, check=False)
    if made.returncode:
        pytest.skip(f"no file system can be made: {made.stderr.decode()}")
    yield directory
    subprocess.run(["umount", "--lazy", str(directory)], check=True)


async def test_a_disk_that_is_really_full_ends_the_recording_and_not_the_call(small_disk: Path) -> None:
    """What the system says is told to all, and what was written plays."""
    require_tool("ffprobe")
    call = Recorded(small_disk / "recordings")
    await call.join("ann", "bob")
    call.sfu.record("r", True)
    await until(lambda: any(isinstance(event, SfuUnrecorded) for event in call.events))
    (told,) = [event for event in call.events if isinstance(event, SfuUnrecorded)]
    assert told.why.endswith("cannot be written: No space left on device")
    seen = call.people["bob"].frames["video", "ann"]
    await until(lambda: call.people["bob"].frames["video", "ann"] > seen + 5)
    await until(lambda: not recorder_pids())
    (directory,) = call.directory.iterdir()
    manifest = manifest_of(call.directory)
    assert {path.name for path in directory.iterdir()} == {
        "manifest.json",
        *(each["file"] for each in manifest["files"]),
    }
    assert any(packets_of(directory / each["file"], "video") for each in manifest["files"])
    await call.close()


async def test_a_directory_that_goes_away_ends_the_recording_and_not_the_call(call: Recorded) -> None:
    await call.join("ann", "bob")
    await call.record(5)
    shutil.rmtree(call.directory)
    await until(lambda: any(isinstance(event, SfuUnrecorded) for event in call.events))
    (told,) = [event for event in call.events if isinstance(event, SfuUnrecorded)]
    assert told.why.endswith("No such file or directory")
    seen = call.people["bob"].frames["video", "ann"]
    await until(lambda: call.people["bob"].frames["video", "ann"] > seen + 5)
    await until(lambda: not recorder_pids())
    call.events.clear()
    await call.record(5)
    assert [each["name"] for each in (await manifest_in(call))["files"]] != []


async def manifest_in(call: Recorded) -> dict[str, Any]:
    """The manifest of the only recording, once it has a file."""
    await until(lambda: bool(manifest_of(call.directory).get("files")))
    return manifest_of(call.directory)


async def test_who_comes_and_goes_has_a_place_in_time(call: Recorded) -> None:
    """Somebody who comes later has a later offset, and a file that is complete when they leave."""
    await call.join("ann")
    await call.record(45)
    await call.join("bob")
    await until(lambda: call.people["bob"].picture.sent > 45)
    call.sfu.leave("r", "bob")
    await until(lambda: any(each["duration"] for each in manifest_of(call.directory)["files"]))
    call.sfu.close("r")
    manifest = await ended(call)
    assert manifest["end"] == "room_closed"
    ann, bob = sorted(manifest["files"], key=lambda each: each["offset"])
    assert (ann["peer"], bob["peer"]) == ("ann", "bob")
    assert bob["offset"] - ann["offset"] > 2
    assert bob["offset"] + bob["duration"] <= manifest["duration"] + 0.2


async def test_without_a_directory_nothing_is_recorded(tmp_path: Path) -> None:
    call = Recorded(tmp_path, recordings=None)
    call.sfu.open("r", 1)
    call.sfu.record("r", True)
    await asyncio.sleep(0)
    await until(lambda: bool(call.events))
    assert call.events == [SfuUnrecorded("r", "this server does not record: media.recordings is not set")]
    await call.close()


async def test_the_engine_of_a_child_process_records_too(tmp_path: Path) -> None:
    """And the recorder completes its files when that process is killed: its input ends."""
    require_tool("ffprobe")
    call = Recorded(tmp_path / "recordings", processes=1)
    await call.join("ann", "bob")
    await call.record(45)
    (pid,) = call.sfu.processes
    os.kill(pid, signal.SIGKILL)
    manifest = await ended(call)
    assert manifest["end"] == "interrupted"
    (directory,) = call.directory.iterdir()
    for each in manifest["files"]:
        assert {stream["codec_name"] for stream in probe(directory / each["file"])["streams"]} == {"opus", "vp8"}
    await call.close()
