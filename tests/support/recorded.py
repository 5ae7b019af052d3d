"""Participants who are recorded: aiortc with a beep and a flash at the same moments, and what is found in the files."""

import asyncio
import json
import math
import os
import subprocess
import time
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
from aiortc.mediastreams import MediaStreamTrack

from tests.support.sfu_people import SfuPerson
from turnserver.signaling.rooms.media_port import MediaPort

__all__ = [
    "FLASH_EVERY",
    "FlashingPerson",
    "beeps",
    "flashes",
    "manifest_of",
    "packets_of",
    "probe",
    "recorder_pids",
]

FLASH_EVERY = 1.0
"""Seconds from one flash, with its beep, to the next; either takes a fifth of that."""

_RATE = 48_000
_BLOCK = 960


def _lit(seconds: float) -> bool:
    return seconds % FLASH_EVERY < FLASH_EVERY / 5


class _Clocked(MediaStreamTrack):
    """A track whose timestamps are the time since ``begun``, also where the machine is late."""

    def __init__(self, begun: float) -> None:
        super().__init__()
        self._begun = begun
        self._next = 0

    async def _step(self, step: int, rate: int) -> int:
        """Wait for the next moment, and leave out those that are over."""
        passed = int((time.monotonic() - self._begun) * rate)
        if passed > self._next + 3 * step:
            self._next = passed - passed % step
        await asyncio.sleep(max(self._begun + self._next / rate - time.monotonic(), 0))
        at, self._next = self._next, self._next + step
        return at


class _Beeps(_Clocked):
    kind = "audio"

    async def recv(self) -> av.AudioFrame:
        at = await self._step(_BLOCK, _RATE)
        frame = av.AudioFrame(format="s16", layout="mono", samples=_BLOCK)
        samples = bytearray()
        for number in range(at, at + _BLOCK):
            level = 12_000 * math.sin(2 * math.pi * 880 * number / _RATE) if _lit(number / _RATE) else 0
            samples += int(level).to_bytes(2, "little", signed=True)
        frame.planes[0].update(bytes(samples))
        frame.pts, frame.sample_rate, frame.time_base = at, _RATE, Fraction(1, _RATE)
        return frame


class _Flashes(_Clocked):
    kind = "video"

    def __init__(self, begun: float, size: tuple[int, int]) -> None:
        super().__init__(begun)
        self._size = size
        self.sent = 0

    async def recv(self) -> av.VideoFrame:
        at = await self._step(6000, 90_000)
        frame = av.VideoFrame(*self._size, "yuv420p")
        for plane, value in zip(frame.planes, (235 if _lit(at / 90_000) else 16, 128, 128), strict=True):
            plane.update(bytes((value,)) * plane.buffer_size)
        frame.pts, frame.time_base = at, Fraction(1, 90_000)
        self.sent += 1
        return frame


class FlashingPerson(SfuPerson):
    """Publishes a picture that flashes, and a beep with every flash; ``picture.sent`` are the frames until now."""

    def __init__(self, port: MediaPort, room: str, peer: str, size: tuple[int, int] = (160, 96)) -> None:
        super().__init__(port, room, peer)
        self.name = peer.title()
        begun = time.monotonic()
        self.sound, self.picture = _Beeps(begun), _Flashes(begun, size)

    def tracks(self) -> tuple[MediaStreamTrack, MediaStreamTrack]:
        return self.sound, self.picture


def manifest_of(directory: Path) -> dict[str, Any]:
    """The manifest of the only recording beneath a directory; empty as long as there is none."""
    found = list(directory.glob("*/manifest.json"))
    return json.loads(found[0].read_text()) if len(found) == 1 else {}


def recorder_pids() -> list[int]:
    """The recorder processes that this process has started."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parent = int(entry.joinpath("stat").read_text().rpartition(")")[2].split()[1])
            words = entry.joinpath("cmdline").read_bytes().split(b"\0")
        except (OSError, ValueError):
            continue
        if parent == os.getpid() and any(word.endswith(b"recordings.recorder") for word in words):
            found.append(int(entry.name))
    return found


def probe(path: Path) -> dict[str, Any]:
    """What ffprobe says of a file, all of which it has decoded."""
    command = ["ffprobe", "-v", "error", "-count_frames", "-show_streams", "-show_format", "-of", "json", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    return {**json.loads(done.stdout), "errors": done.stderr}


def packets_of(path: Path, kind: str) -> list[float]:
    """The times of a stream's packets, in seconds."""
    with av.open(str(path)) as container:
        return [
            float(packet.pts * packet.time_base)
            for packet in container.demux(next(s for s in container.streams if s.type == kind))
            if packet.pts is not None and packet.time_base is not None
        ]


def flashes(path: Path) -> list[float]:
    """When the picture becomes bright, in seconds of the file."""
    with av.open(str(path)) as container:
        seen = [(frame.time, bytes(frame.planes[0])[0] > 125) for frame in container.decode(video=0)]
    return [at for (_, before), (at, lit) in pairwise(seen) if lit and not before and at is not None]


def _sound(path: Path) -> Iterator[tuple[float, bool]]:
    resampler = av.AudioResampler(format="s16", layout="mono", rate=_RATE)
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            for each in resampler.resample(frame):
                data = memoryview(bytes(each.planes[0])[: each.samples * 2]).cast("h")
                for start in range(0, len(data) - 95, 96):
                    yield (each.time or 0) + start / _RATE, max(map(abs, data[start : start + 96])) > 3000


def beeps(path: Path) -> list[float]:
    """When the sound begins, in seconds of the file: after 100 ms without any."""
    found, quiet = [], 0
    for at, loud in _sound(path):
        if loud and quiet >= 50:
            found.append(at)
        quiet = 0 if loud else quiet + 1
    return found
