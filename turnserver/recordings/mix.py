"""One film of a recording: everybody in a gallery, and all voices.

Pictures are decoded, scaled and put side by side, sound is added up; then both are encoded. What the film is called
decides its form: WebM (VP8, Opus) or MP4 (H.264, AAC). The film appears under its name when it is complete.
"""

import os
from array import array
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import av

from meshturn.root import MeshturnError
from turnserver.recordings.gallery import GalleryTile, fit, gallery
from turnserver.recordings.manifest import RecordedFile, Recording, read_manifest
from turnserver.recordings.part import PYAV_ERRORS
from turnserver.recordings.tracks import RATE, RecordedPicture, RecordedSound, length_of

if TYPE_CHECKING:
    from turnserver.recordings.labels import Label, Labels

__all__ = ["FORMS", "MixError", "MixOptions", "mix"]

FORMS: Final = {".webm": ("webm", "libvpx", "libopus"), ".mp4": ("mp4", "libx264", "aac")}
"""Container and encoders, by the end of a film's name."""

_SPEED: Final = {
    # Threads of libvpx wait for one another without sleeping: on a machine that is busy, one of them is faster.
    "libvpx": {"deadline": "realtime", "cpu-used": "6", "crf": "20", "threads": "1"},
    "libx264": {"preset": "veryfast", "crf": "23"},
}

_BITS: Final = 0.12
"""Bits of a pixel of each picture: 1.7 Mbit/s at 1280×720 and 15 in a second."""

_DARK: Final = (24, 128, 128)
"""What is behind the pictures, in luminance and colours."""

MOST_SECONDS: Final = 7 * 86_400
"""Seconds of a film: what is longer has been damaged."""

_GREY: Final = 128
"""A colour that is none."""

_GAP: Final = 1.0
"""Seconds between two files of one participant for which the tile is kept."""

_LOUDEST: Final = 32_767

_RELEASE: Final = 0.02
"""How much of the loudness comes back with every block of 20 ms."""


class MixError(MeshturnError):
    """A film cannot be made; the text is one sentence."""


class MixOptions(NamedTuple):
    """The size of the film in pixels, and its pictures in a second.

    ``names`` says whether names are shown, which needs Pillow, and ``font`` is the file of the font for them.
    """

    width: int = 1280
    height: int = 720
    rate: int = 15
    names: bool = True
    font: Path | None = None


class _Spot:
    """The files of one participant, or of one screen: one after the other in one tile."""

    def __init__(self, directory: Path, files: Sequence[RecordedFile]) -> None:
        self._directory = directory
        self._files = sorted(files, key=lambda file: file.offset)
        self._track: RecordedPicture | None = None
        self._scaled: tuple[Any, GalleryTile, Any] | None = None

    @property
    def begins(self) -> float:
        """When it is first there."""
        return self._files[0].offset

    @property
    def name(self) -> str:
        """What its participant is called."""
        file = self._files[0]
        return f"{file.name} (screen)" if file.kind == "screen" and file.name.strip() else file.name

    @property
    def number(self) -> str:
        """What its present file is called, which is the place of the participant in the recording."""
        return Path(self._files[0].file).stem

    def is_there(self, time: float) -> bool:
        """Whether it has a tile."""
        before = [file for file in self._files if file.offset <= time]
        if not before:
            return False
        after = self._files[len(before)].offset if len(before) < len(self._files) else float("inf")
        return time < _end(before[-1]) or after - _end(before[-1]) < _GAP

    def picture(self, time: float) -> Any:
        """What it shows."""
        while len(self._files) > 1 and self._files[1].offset <= time:
            del self._files[0]
            self._leave()
        if self._track is None:
            file = self._files[0]
            self._track = RecordedPicture(self._directory / file.file, file.offset, lasts=file.kind == "screen")
        return self._track.at(time)

    def scaled(self, frame: Any, place: GalleryTile) -> Any:
        """A picture in the size of its place; it is often the same as the one before."""
        if self._scaled is None or self._scaled[0] is not frame or self._scaled[1] != place:
            made = frame.reformat(width=place.width, height=place.height, format="yuv420p")
            self._scaled = (frame, place, made)
        return self._scaled[2]

    def close(self) -> None:
        """Read no more."""
        self._leave()

    def _leave(self) -> None:
        if self._track is not None:
            self._track.close()
        self._track = None


class _Canvas:
    """The picture of the film."""

    def __init__(self, width: int, height: int) -> None:
        self._sizes = ((width, height), (width // 2, height // 2), (width // 2, height // 2))
        self._planes = [bytearray(wide * high) for wide, high in self._sizes]
        self._width, self._height = width, height

    def clear(self) -> None:
        """Nothing is on it."""
        for plane, value in zip(self._planes, _DARK, strict=True):
            plane[:] = bytes((value,)) * len(plane)

    def put(self, frame: Any, place: GalleryTile) -> None:
        """A picture that has the size of its place."""
        for number, plane in enumerate(frame.planes):
            half = 1 if number else 0
            x, y, wide, high = (value >> half for value in place)
            canvas, stride = self._planes[number], self._sizes[number][0]
            source, step = memoryview(plane), plane.line_size
            for row in range(high):
                at = (y + row) * stride + x
                canvas[at : at + wide] = source[row * step : row * step + wide]

    def stamp(self, label: "Label", place: GalleryTile) -> None:
        """A strip with a name, in the lower left of a tile."""
        stride = self._width
        x, y = place.x, place.y + place.height - label.height
        for row in range(label.height):
            at = (y + row) * stride + x
            self._planes[0][at : at + label.width] = label.luminance[row * label.width : (row + 1) * label.width]
        wide, grey = label.width // 2, bytes((_GREY,)) * (label.width // 2)
        for plane in self._planes[1:]:
            for row in range(y // 2, (y + label.height) // 2):
                at = row * (stride // 2) + x // 2
                plane[at : at + wide] = grey

    def frame(self) -> Any:
        """It as a picture for an encoder."""
        made = av.VideoFrame(self._width, self._height, "yuv420p")
        for plane, content, (wide, high) in zip(made.planes, self._planes, self._sizes, strict=True):
            if plane.line_size == wide:
                plane.update(bytes(content))
            else:
                gap = bytes(plane.line_size - wide)
                plane.update(b"".join(content[row * wide : (row + 1) * wide] + gap for row in range(high)))
        return made


def mix(
    directory: Path, output: Path, options: MixOptions, progress: Callable[[float, float], None] = lambda *_: None
) -> float:
    """Make a film of a recording; its length in seconds. ``progress`` is told the seconds that are done, and of all.

    Raises `MixError`, and `turnserver.recordings.manifest.ManifestError`; nothing is left behind then, nor by any other
    exception.
    """
    form = FORMS.get(output.suffix.lower())
    if form is None:
        raise MixError(f"The name of a film ends with {' or '.join(FORMS)}, not {output.suffix or output.name}.")
    recording = read_manifest(directory)
    files = _readable(directory, recording)
    if not files:
        raise MixError(f"There is nothing to see or to hear in {directory}.")
    if max(map(_end, files)) > MOST_SECONDS:
        raise MixError(f"{directory} is said to be longer than {MOST_SECONDS // 86_400} days.")
    if any(_is_same(directory / file.file, output) for file in recording.files):
        raise MixError(f"{output} is a part of the recording.")
    unfinished = output.with_name(f".{output.name}.unfinished")
    try:
        with open(os.open(unfinished, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600), "r+b") as file:
            length = _Film(directory, files, options).write(file, form, progress)
        unfinished.replace(output)
    except PYAV_ERRORS as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise MixError(f"{output} cannot be written: {reason}.") from error
    finally:
        unfinished.unlink(missing_ok=True)
    return length


def _readable(directory: Path, recording: Recording) -> list[RecordedFile]:
    """The files that are there, with their lengths also where nobody has noted them."""
    found = []
    for file in recording.files:
        if file.duration is None:
            file.duration = length_of(directory / file.file)
        if file.duration > 0 and (directory / file.file).is_file():
            found.append(file)
    return found


def _is_same(one: Path, other: Path) -> bool:
    """Whether two paths are one file that is there."""
    try:
        return one.samefile(other)
    except OSError:
        return False


def _end(file: RecordedFile) -> float:
    return file.offset + (file.duration or 0.0)


def _labels(options: MixOptions) -> "Labels":
    from turnserver.recordings.labels import FontError, Labels  # noqa: PLC0415  needs Pillow

    try:
        return Labels(options.height, options.font)
    except FontError as error:
        raise MixError(str(error)) from error


class _Film:
    def __init__(self, directory: Path, files: Sequence[RecordedFile], options: MixOptions) -> None:
        by_spot: dict[tuple[str, str], list[RecordedFile]] = {}
        for file in files:
            by_spot.setdefault((file.peer, file.kind), []).append(file)
        self._spots = sorted((_Spot(directory, each) for each in by_spot.values()), key=lambda spot: spot.begins)
        self._sounds = [(file, directory / file.file) for file in sorted(files, key=lambda file: file.offset)]
        self._open: list[tuple[RecordedFile, RecordedSound]] = []
        self._options = options
        self._length = max(map(_end, files))
        self._canvas = _Canvas(options.width, options.height)
        self._labels = _labels(options) if options.names else None
        self._limiter = _Limiter()

    def write(self, file: Any, form: tuple[str, str, str], progress: Callable[[float, float], None]) -> float:
        """Write the film; its length in seconds."""
        container_form, video_codec, audio_codec = form
        width, height, rate = self._options[:3]
        try:
            with av.open(file, "w", format=container_form) as container:
                video: Any = container.add_stream(video_codec, rate=rate, options=_SPEED[video_codec])
                video.width, video.height, video.pix_fmt = width, height, "yuv420p"
                video.bit_rate = int(width * height * rate * _BITS)
                audio: Any = container.add_stream(audio_codec, rate=RATE)
                audio.layout = "stereo"
                block = 960
                heard = 0
                for number in range(max(round(self._length * rate), 1)):
                    time = number / rate
                    frame = self._picture(time)
                    frame.pts, frame.time_base = number, Fraction(1, rate)
                    container.mux(video.encode(frame))
                    while heard < (time + 1 / rate) * RATE:
                        container.mux(audio.encode(self._sound(heard, block)))
                        heard += block
                    progress(min(time + 1 / rate, self._length), self._length)
                for stream in (video, audio):
                    container.mux(stream.encode(None))
        finally:
            for spot in self._spots:
                spot.close()
            for _, sound in self._open:
                sound.close()
        return self._length

    def _picture(self, time: float) -> Any:
        there = [spot for spot in self._spots if spot.is_there(time)]
        self._canvas.clear()
        for spot, place in zip(there, gallery(len(there), self._options.width, self._options.height), strict=True):
            frame = spot.picture(time)
            if frame is not None:
                inner = fit(frame.width, frame.height, place)
                self._canvas.put(spot.scaled(frame, inner), inner)
            if self._labels is not None:
                label = self._labels.label(spot.name, spot.number, place.width, place.height)
                if label is not None:
                    self._canvas.stamp(label, place)
        return self._canvas.frame()

    def _sound(self, position: int, count: int) -> Any:
        """All voices from a position on; where they are too loud together, all become lower."""
        while self._sounds and self._sounds[0][0].offset * RATE < position + count:
            file, path = self._sounds.pop(0)
            self._open.append((file, RecordedSound(path, file.offset)))
        voices: list[array[int]] = []
        for file, sound in list(self._open):
            samples = sound.take(position, count)
            if samples is not None:
                voices.append(samples)
            elif (_end(file) + _GAP) * RATE < position:
                sound.close()
                self._open.remove((file, sound))
        frame = av.AudioFrame(format="s16", layout="stereo", samples=count)
        frame.planes[0].update(self._limiter.added(voices, count))
        frame.pts, frame.sample_rate, frame.time_base = position, RATE, Fraction(1, RATE)
        return frame


class _Limiter:
    """Adds voices up. Where they are too loud together all become lower, at once, and louder again little by little."""

    def __init__(self) -> None:
        self._gain = 1.0

    def added(self, voices: Sequence["array[int]"], count: int) -> bytes:
        """The sum, of which no sample is too large."""
        if not voices:
            self._gain = min(self._gain + _RELEASE, 1.0)
            return bytes(4 * count)
        total = list(voices[0]) if len(voices) == 1 else list(map(sum, zip(*voices, strict=True)))
        high, low = max(total), min(total)
        loudest = max(high, -low, 1)
        self._gain = min(self._gain + _RELEASE, 1.0, _LOUDEST / loudest)
        if self._gain < 1.0:
            gain = self._gain
            total = [int(sample * gain) for sample in total]
        return array("h", total).tobytes()
