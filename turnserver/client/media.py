"""Sound and picture for the Python client: a test tone, a moving picture, an echo, and meters for what comes in.

The tone is 997 Hz, a prime, so that no round frequency and no harmonic of the mains is mistaken for it. The code is
plain Python on PyAV's frames. This module needs aiortc (``pip install 'meshturn[call]'``).
"""

import array
import asyncio
import fractions
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError
from av import AudioFrame, VideoFrame
from av.frame import Frame
from av.packet import Packet

from turnserver.client.streams import source_named
from turnserver.signaling.protocol.fields import MediaSource

__all__ = [
    "SAMPLE_RATE",
    "TONE",
    "Echo",
    "EchoTrack",
    "Listen",
    "MediaPlan",
    "PictureTrack",
    "Received",
    "ScreenTrack",
    "TestMedia",
    "ToneTrack",
    "source_of",
    "tone_share",
]

TONE: Final = 997
"""Hertz."""

SAMPLE_RATE: Final = 48_000
"""Samples per second, of what is sent and of what Opus gives."""

_SAMPLES: Final = 960
"""Samples in a frame: 20 ms."""

_LEVEL: Final = 0.25
"""Amplitude as a fraction of full scale: clearly audible, and safe with headphones."""

_VIDEO_CLOCK: Final = 90_000
_MEASURE_EVERY: Final = 10
"""Sound frames per measurement of the tone."""

_ECHO_QUEUE: Final = 8
"""Frames that an echo holds; the oldest is dropped for a new one, which bounds the delay."""


class _Pacer:
    """The times of a steady stream. Missed times are skipped."""

    def __init__(self, interval: float, clock: Callable[[], float], pause: Callable[[float], Awaitable[None]]) -> None:
        self._interval = interval
        self._clock = clock
        self._pause = pause
        self._start: float | None = None
        self._count = -1

    async def next(self) -> int:
        """Wait for the next moment; returns its number."""
        now = self._clock()
        if self._start is None:
            self._start = now
        self._count += 1
        ahead = self._start + self._count * self._interval - now
        if ahead > 0:
            await self._pause(ahead)
        elif ahead < -1.0:
            self._count = int((now - self._start) / self._interval)
        return self._count


def _loop_clock() -> float:
    return asyncio.get_running_loop().time()


def _second_of_tone(frequency: int) -> bytes:
    """One second of tone, which can be repeated without a gap; 16-bit samples as PyAV takes them."""
    step = 2 * math.pi * frequency / SAMPLE_RATE
    loud = 32767 * _LEVEL
    return array.array("h", (round(loud * math.sin(step * index)) for index in range(SAMPLE_RATE))).tobytes()


class ToneTrack(MediaStreamTrack):
    """A sine of ``frequency`` hertz, 48 kHz mono."""

    kind = "audio"

    def __init__(
        self,
        frequency: int = TONE,
        *,
        clock: Callable[[], float] = _loop_clock,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        super().__init__()
        second = _second_of_tone(frequency)
        self._sound = second + second[: 2 * _SAMPLES]
        self._pacer = _Pacer(_SAMPLES / SAMPLE_RATE, clock, pause)

    async def recv(self) -> AudioFrame:
        """The next 20 ms, when it is time for them."""
        if self.readyState != "live":
            raise MediaStreamError
        position = await self._pacer.next() * _SAMPLES
        start = 2 * (position % SAMPLE_RATE)
        frame = AudioFrame(format="s16", layout="mono", samples=_SAMPLES)
        frame.planes[0].update(_padded(self._sound[start : start + 2 * _SAMPLES], frame.planes[0].buffer_size))
        frame.sample_rate = SAMPLE_RATE
        frame.time_base = fractions.Fraction(1, SAMPLE_RATE)
        frame.pts = position
        return frame


class PictureTrack(MediaStreamTrack):
    """A grey ramp that moves to the left over changing colours, so that every frame differs from the previous one."""

    kind = "video"

    def __init__(
        self,
        width: int = 320,
        height: int = 180,
        rate: int = 15,
        *,
        clock: Callable[[], float] = _loop_clock,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        super().__init__()
        self.width, self.height, self.rate = width, height, rate
        ramp = bytes(16 + 219 * column // width for column in range(width))
        self._ramp = ramp + ramp
        self._pacer = _Pacer(1 / rate, clock, pause)

    async def recv(self) -> VideoFrame:
        """The next picture, when it is time for it."""
        if self.readyState != "live":
            raise MediaStreamError
        number = await self._pacer.next()
        frame = VideoFrame(self.width, self.height, "yuv420p")
        shift = 4 * number % self.width
        luma, blue, red = frame.planes
        row = self._ramp[shift : shift + self.width]
        luma.update(_padded(row, luma.line_size) * self.height)
        blue.update(bytes([64 + number % 128]) * blue.buffer_size)
        red.update(bytes([192 - number % 128]) * red.buffer_size)
        frame.time_base = fractions.Fraction(1, _VIDEO_CLOCK)
        frame.pts = number * _VIDEO_CLOCK // self.rate
        return frame


class EchoTrack(MediaStreamTrack):
    """Plays the frames that are put into it, and waits while there are none."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self._frames: asyncio.Queue[Frame] = asyncio.Queue(_ECHO_QUEUE)

    def put(self, frame: Frame) -> None:
        """The next frame to play; a full queue loses its oldest."""
        if self._frames.full():
            self._frames.get_nowait()
        self._frames.put_nowait(frame)

    async def recv(self) -> Frame:
        """The oldest frame."""
        if self.readyState != "live":
            raise MediaStreamError
        return await self._frames.get()


class ScreenTrack(MediaStreamTrack):
    """Another track, as that of a shared screen: its picture, or its sound."""

    def __init__(self, track: MediaStreamTrack) -> None:
        super().__init__()
        self.kind = track.kind
        self._track = track

    async def recv(self) -> "Frame | Packet[Any]":
        """The next frame of the other track."""
        if self.readyState != "live":
            raise MediaStreamError
        return await self._track.recv()

    def stop(self) -> None:
        """End both."""
        super().stop()
        self._track.stop()


def source_of(track: MediaStreamTrack) -> MediaSource:
    """What a track of a plan is: of a shared screen if it is a `ScreenTrack`, else microphone or camera."""
    return source_named(track.kind, screen=isinstance(track, ScreenTrack))


@dataclass(slots=True)
class Received:
    """The media received from one participant, over all connections with it."""

    audio: int = 0
    """Audio frames of 20 ms."""
    video: int = 0
    """Video frames."""
    width: int = 0
    height: int = 0
    tone: float = 0.0
    """The share of the sound's power, 0–1, that is at 997 Hz, when last measured."""
    loudness: float = 0.0
    """Root mean square of the sound, of full scale, when last measured."""

    def take(self, frame: Frame) -> None:
        """Count a frame, and measure the tone in some of the audio frames."""
        if isinstance(frame, VideoFrame):
            self.video += 1
            self.width, self.height = frame.width, frame.height
        elif isinstance(frame, AudioFrame):
            if self.audio % _MEASURE_EVERY == 0:
                self.loudness, self.tone = tone_share(frame)
            self.audio += 1


class MediaPlan(Protocol):
    """The media to send to one participant, and the handling of the media received from it."""

    def outgoing(self) -> list[MediaStreamTrack]:
        """Tracks for a new connection: sound and a picture, and a screen's (`ScreenTrack`); one of each at most."""

    def incoming(self, frame: Frame) -> None:
        """Handle a received frame."""


class Listen:
    """Send nothing."""

    def outgoing(self) -> list[MediaStreamTrack]:
        """No tracks."""
        return []

    def incoming(self, frame: Frame) -> None:
        """Ignore the frame, which has been counted."""


class TestMedia(Listen):
    """Send a tone and a moving picture; with ``screen``, another one of that width, height and rate as a screen."""

    __test__ = False

    def __init__(
        self,
        width: int = 320,
        height: int = 180,
        rate: int = 15,
        frequency: int = TONE,
        *,
        screen: tuple[int, int, int] | None = None,
    ) -> None:
        self._picture = (width, height, rate)
        self._frequency = frequency
        self._screen = screen

    def outgoing(self) -> list[MediaStreamTrack]:
        """A tone and one or two pictures."""
        screens = [] if self._screen is None else [ScreenTrack(PictureTrack(*self._screen))]
        return [ToneTrack(self._frequency), PictureTrack(*self._picture), *screens]


class Echo:
    """Send received media back."""

    def __init__(self) -> None:
        self._tracks: dict[str, EchoTrack] = {}

    def outgoing(self) -> list[MediaStreamTrack]:
        """Tracks that play the frames received from now on."""
        self._tracks = {kind: EchoTrack(kind) for kind in ("audio", "video")}
        return list(self._tracks.values())

    def incoming(self, frame: Frame) -> None:
        """Send the frame back."""
        track = self._tracks.get("video" if isinstance(frame, VideoFrame) else "audio")
        if track is not None:
            track.put(frame)


def tone_share(frame: AudioFrame, frequency: float = TONE) -> tuple[float, float]:
    """The loudness of 16-bit sound (RMS of full scale), and the share of its power at a frequency (Goertzel's filter).

    Only the first channel counts. Silence has no tone in it.
    """
    if frame.format.name != "s16" or frame.samples == 0:
        return 0.0, 0.0
    channels = len(frame.layout.channels)
    samples = array.array("h", bytes(frame.planes[0])[: 2 * channels * frame.samples])[::channels]
    power = sum(sample * sample for sample in samples) / len(samples)
    if power < 1.0:
        return 0.0, 0.0
    factor = 2 * math.cos(2 * math.pi * frequency / frame.sample_rate)
    last = before = 0.0
    for sample in samples:
        last, before = sample + factor * last - before, last
    tone = 2 * (last * last + before * before - factor * last * before) / len(samples) ** 2
    return math.sqrt(power) / 32768, min(tone / power, 1.0)


def _padded(row: bytes, size: int) -> bytes:
    return row + bytes(size - len(row))
