"""Who starts the recorder processes: what is refused, and a process that does not keep up."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.recorded import manifest_of, recorder_pids
from tests.support.sfu_people import until
from turnserver.media.recording import RecordingRefused, RoomRecording
from turnserver.media.rtp import build_packet
from turnserver.recordings import owner
from turnserver.recordings.owner import MOST_AT_ONCE, RecordingOptions, Recordings

pytestmark = pytest.mark.process


class Ended(RoomRecording):
    def __init__(self) -> None:
        self.why: list[str] = []
        super().__init__(os.urandom, 0.0, self.why.append)


@pytest.fixture
async def recordings(tmp_path: Path) -> AsyncIterator[Recordings]:
    made = Recordings(RecordingOptions(tmp_path / "r", 1 << 30, 0))
    yield made
    made.stop()
    await until(lambda: not recorder_pids())


async def test_what_cannot_begin_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RecordingRefused, match=r"media\.recordings is not set"):
        Recordings(RecordingOptions(None, 1, 1)).open("r", Ended())
    (tmp_path / "file").touch()
    with pytest.raises(RecordingRefused, match="cannot begin: "):
        Recordings(RecordingOptions(tmp_path / "file", 1, 1)).open("r", Ended())
    monkeypatch.setattr(owner, "has_pyav", lambda: False)
    with pytest.raises(RecordingRefused, match=r"recording needs PyAV: pip install 'meshturn\[media\]'"):
        Recordings(RecordingOptions(tmp_path, 1, 1)).open("r", Ended())


async def test_recordings_at_once_are_bounded(recordings: Recordings, monkeypatch: pytest.MonkeyPatch) -> None:
    assert MOST_AT_ONCE > 2
    monkeypatch.setattr(owner, "MOST_AT_ONCE", 2)
    sinks = [recordings.open("r", Ended()) for _ in range(2)]
    with pytest.raises(RecordingRefused, match="2 recordings are being made"):
        recordings.open("r", Ended())
    sinks[0].close("stopped")
    await until(lambda: recordings.running == 1)
    sinks.append(recordings.open("r", Ended()))


async def test_a_process_that_hangs_loses_packets_and_delays_nothing(
    recordings: Recordings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits is bounded, and the manifest says how much was lost."""
    monkeypatch.setattr(owner, "MOST_WAITING", 200_000)
    recording = Ended()
    sink = recordings.open("r", recording)
    sink.begin(1, "ann", "Ann", "audio", "opus")
    await until(lambda: bool(manifest_of(tmp_path / "r")))
    (pid,) = recorder_pids()
    os.kill(pid, signal.SIGSTOP)
    try:
        for number in range(2000):
            packet = build_packet(payload_type=96, sequence=number, timestamp=number * 960, ssrc=1, payload=bytes(500))
            sink.packet(1, packet, number * 0.02)
            packet[:] = bytes(len(packet))  # the caller goes on with its memory
            if number % 50 == 0:
                await asyncio.sleep(0)
        assert recordings._running.copy().pop()._bytes < 300_000
    finally:
        os.kill(pid, signal.SIGCONT)
    sink.close("stopped")
    await until(lambda: bool(manifest_of(tmp_path / "r").get("end")))
    manifest = manifest_of(tmp_path / "r")
    assert manifest["lost"] + manifest["files"][0]["streams"][0]["frames"] == 2000
    assert manifest["lost"] > 1000
    await until(lambda: recordings.running == 0)
    assert not recorder_pids()


async def test_a_process_that_is_killed_is_told_once(recordings: Recordings, tmp_path: Path) -> None:
    recording = Ended()
    sink = recordings.open("r", recording)
    await until(lambda: bool(manifest_of(tmp_path / "r")))
    (pid,) = recorder_pids()
    os.kill(pid, signal.SIGKILL)
    await until(lambda: recordings.running == 0)
    assert recording.why == ["the recorder has ended by itself"]
    sink.begin(1, "ann", "Ann", "audio", "opus")
    sink.close("failed")


async def test_no_secret_of_the_environment_reaches_the_recorder(
    recordings: Recordings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even where the server runs in a program of somebody else's."""
    monkeypatch.setenv("MESHTURN_AUTH__SHARED_SECRETS", "hush")
    monkeypatch.setenv("DATABASE_PASSWORD", "hush")
    recordings.open("r", Ended()).close("stopped")
    (pid,) = recorder_pids()
    variables = Path(f"/proc/{pid}/environ").read_bytes()  # noqa: ASYNC240
    assert b"hush" not in variables
    assert b"PYTHONPATH=" in variables
    await until(lambda: manifest_of(tmp_path / "r").get("end") == "stopped")
