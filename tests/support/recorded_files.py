"""Recordings that nobody has sent: each participant has a colour and a tone, and is there for a while."""

import math
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av

from turnserver.recordings.manifest import RecordedFile, RecordedStream, Recording
from turnserver.recordings.part import Part

__all__ = ["FOUR", "Somebody", "brightness", "make_recording", "strip_of", "tone_in"]

RATE = 48_000


class Somebody(NamedTuple):
    """A participant: luminance of the picture, tone in Hz, and from when to when, in seconds."""

    name: str
    light: int
    tone: int
    begins: float
    ends: float
    kind: str = "camera"
    size: tuple[int, int] = (160, 90)


FOUR = (
    Somebody("ann", 60, 400, 0.0, 4.0),
    Somebody("bob", 110, 700, 0.0, 4.0),
    Somebody("cid", 160, 1100, 1.0, 4.0),
    Somebody("dan", 210, 1700, 1.0, 4.0),
)


def _frames(codec: str, who: Somebody) -> list[tuple[float, bytes, bool]]:
    """Encoded frames with their times in the file."""
    context: Any = av.CodecContext.create("libvpx" if codec == "vp8" else "libopus", "w")
    made = []
    lasts = who.ends - who.begins
    if codec == "vp8":
        context.width, context.height, context.pix_fmt = *who.size, "yuv420p"
        context.time_base = Fraction(1, 15)
        context.options = {"deadline": "realtime", "cpu-used": "8", "threads": "1"}
        inputs: list[Any] = []
        for number in range(round(lasts * 15)):
            frame = av.VideoFrame(*who.size, "yuv420p")
            for plane, value in zip(frame.planes, (who.light, 128, 128), strict=True):
                plane.update(bytes((value,)) * plane.buffer_size)
            frame.pts, frame.time_base = number, Fraction(1, 15)
            inputs.append(frame)
    else:
        context.sample_rate, context.layout, context.format = RATE, "mono", "s16"
        inputs = []
        for start in range(0, round(lasts * RATE), 960):
            samples = b"".join(
                int(12_000 * math.sin(2 * math.pi * who.tone * at / RATE)).to_bytes(2, "little", signed=True)
                for at in range(start, start + 960)
            )
            sound = av.AudioFrame(format="s16", layout="mono", samples=960)
            sound.planes[0].update(samples)
            sound.pts, sound.sample_rate, sound.time_base = start, RATE, Fraction(1, RATE)
            inputs.append(sound)
    for each in (*inputs, None):
        for packet in context.encode(each):
            at = max(float(packet.pts * packet.time_base), 0.0)
            made.append((at, bytes(packet), packet.is_keyframe))
    return made


def make_recording(directory: Path, people: Sequence[Somebody] = FOUR, *, interrupted: bool = False) -> Path:
    """A recording of them; an interrupted one has a manifest that knows no lengths."""
    directory.mkdir()
    recording = Recording("standup", "2026-01-02T03:04:05.000+00:00")
    for number, who in enumerate(people, 1):
        pictures, sounds = _frames("vp8", who), _frames("opus", who)
        name = f"p{number}.webm"
        part = Part(directory / name, webm=True, audio=True, video=("vp8", pictures[0][1]), written=lambda _: None)
        merged = [("video", *each) for each in pictures] + [("audio", *each) for each in sounds]
        for kind, at, data, keyframe in sorted(merged, key=lambda each: each[1]):
            part.write(kind, at, data, keyframe=keyframe)
        part.close()
        streams = [RecordedStream("audio", "opus"), RecordedStream("camera", "vp8")]
        lasts = None if interrupted else part.duration
        recording.files.append(
            RecordedFile(name, who.name, who.name.title(), who.kind, who.begins, lasts, part.size, streams)
        )
    if not interrupted:
        recording.duration, recording.end = max(who.ends for who in people), "stopped"
    recording.write(directory)
    return directory


def brightness(film: Path, time: float, columns: int = 2, rows: int = 2) -> list[int]:
    """The luminance in the middle of each tile of a film at a time, row by row."""
    with av.open(str(film)) as container:
        for frame in container.decode(video=0):
            if frame.time is not None and frame.time >= time:
                plane = frame.planes[0]
                data = memoryview(plane)
                return [
                    data[
                        (2 * row + 1) * frame.height // (2 * rows) * plane.line_size
                        + (2 * column + 1) * frame.width // (2 * columns)
                    ]
                    for row in range(rows)
                    for column in range(columns)
                ]
    raise AssertionError("the film is shorter")


def strip_of(film: Path, time: float, column: int, columns: int = 2) -> bytes:
    """The luminance of the lower left of a tile, 60 by 16 pixels, in a film of one row."""
    with av.open(str(film)) as container:
        for frame in container.decode(video=0):
            if frame.time is not None and frame.time >= time:
                plane, left = frame.planes[0], column * frame.width // columns
                rows = range(frame.height - 16, frame.height)
                return b"".join(bytes(plane)[row * plane.line_size + left :][:60] for row in rows)
    raise AssertionError("the film is shorter")


def tone_in(film: Path, tone: int, begin: float, end: float) -> float:
    """How loud a tone is in a part of a film: its amplitude, by Goertzel's algorithm."""
    resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE)
    samples: list[int] = []
    with av.open(str(film)) as container:
        for frame in container.decode(audio=0):
            at = frame.time or 0.0
            for each in resampler.resample(frame):
                if begin <= at < end:
                    samples += memoryview(bytes(each.planes[0])[: each.samples * 2]).cast("h").tolist()
    factor = 2 * math.cos(2 * math.pi * tone / RATE)
    before = last = 0.0
    for sample in samples:
        before, last = last, sample + factor * last - before
    power = before * before + last * last - factor * before * last
    return 2 * math.sqrt(max(power, 0.0)) / max(len(samples), 1)
