"""What a film is made of: the pictures and the sound of a recording's files, by the time of the recording.

Files are decoded as the film goes on, so that hours of them need no memory. One that cannot be read, or not to its end,
gives what can be had.
"""

from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import av

from turnserver.recordings.part import PYAV_ERRORS

__all__ = ["RATE", "RecordedPicture", "RecordedSound", "length_of"]

RATE: Final = 48_000
"""Samples in a second; there are two channels."""

MOST_PIXELS: Final = 8192 * 4352
"""Pixels of a picture that is decoded: a participant may send any number, each of which needs memory."""

_STALE: Final = 3.0
"""Seconds after which a camera that sends nothing counts as turned off."""

_JITTER: Final = RATE // 20
"""Samples by which sound may be beside its time before it is put there: less is inaudible, a gap in it is not."""

_MOST_AHEAD: Final = 10 * RATE
"""Samples that are decoded in advance at most."""


def length_of(path: Path) -> float:
    """Seconds of a file that was not completed; 0 if it cannot be read."""
    last = 0.0
    try:
        with _opened(path) as container:
            for packet in container.demux():
                if packet.pts is not None and packet.time_base is not None:
                    last = max(last, float(packet.pts * packet.time_base))
    except PYAV_ERRORS:
        pass  # what has been read counts
    return last


class RecordedPicture:
    """The picture of one file; ask for times that do not decrease. ``lasts`` says that it stays while nothing comes."""

    def __init__(self, path: Path, offset: float, *, lasts: bool) -> None:
        self._frames = _decoded(path, "video")
        self._offset = offset
        self._lasts = lasts
        self._shown: Any = None
        self._next: Any = next(self._frames, None)

    def at(self, time: float) -> Any:
        """The picture at that second of the recording, an `av.VideoFrame`; None if there is none."""
        while self._next is not None and self._time(self._next) <= time:
            self._shown, self._next = self._next, next(self._frames, None)
        if self._shown is None or (not self._lasts and time - self._time(self._shown) > _STALE):
            return None
        return self._shown

    def close(self) -> None:
        """Read no more of the file."""
        self._frames.close()  # type: ignore[attr-defined]

    def _time(self, frame: Any) -> float:
        return self._offset + float(frame.pts * frame.time_base)


class RecordedSound:
    """The sound of one file; ask for positions that do not decrease."""

    def __init__(self, path: Path, offset: float) -> None:
        self._frames = _decoded(path, "audio")
        self._resampler = av.AudioResampler(format="s16", layout="stereo", rate=RATE)
        self._offset = offset
        self._samples = array("h")
        self._start = 0
        """The position of the first of the samples."""
        self._over = False

    def take(self, position: int, count: int) -> "array[int] | None":
        """So many samples of both channels, from a position (in samples since the recording began); None: silence."""
        while not self._over and self._end < position + count:
            self._decode()
        if self._start >= position + count or self._end <= position:
            self._forget(position + count)
            return None
        made = array("h", bytes(4 * count))
        first = max(position, self._start)
        behind = min(position + count, self._end)
        part = self._samples[2 * (first - self._start) : 2 * (behind - self._start)]
        made[2 * (first - position) : 2 * (behind - position)] = part
        self._forget(position + count)
        return made

    def close(self) -> None:
        """Read no more of the file."""
        self._frames.close()  # type: ignore[attr-defined]

    @property
    def _end(self) -> int:
        return self._start + len(self._samples) // 2

    def _forget(self, position: int) -> None:
        """What is before that position is not asked for any more."""
        gone = min(max(position - self._start, 0), len(self._samples) // 2)
        if gone:
            del self._samples[: 2 * gone]
            self._start += gone

    def _decode(self) -> None:
        frame = next(self._frames, None)
        if frame is None:
            self._over = True
            return
        at = round((self._offset + float(frame.pts * frame.time_base)) * RATE)
        try:
            pieces = self._resampler.resample(frame)
        except PYAV_ERRORS:
            return
        for piece in pieces:
            self._append(at, bytes(piece.planes[0])[: piece.samples * 4])
            at = self._end

    def _append(self, at: int, data: bytes) -> None:
        if not self._samples:
            self._start = at if abs(at - self._start) > _JITTER or not self._start else self._start
        elif at - self._end > _JITTER:
            self._samples.extend(array("h", bytes(4 * min(at - self._end, _MOST_AHEAD))))
        self._samples.frombytes(data)


def _opened(path: Path) -> Any:
    """A file, which is of the form that recordings have: others may name files and addresses to be read."""
    if not path.is_file():
        raise FileNotFoundError(str(path))
    return av.open(f"file:{path}", format="matroska")


def _decoded(path: Path, kind: str) -> Iterator[Any]:
    """The frames of a file that can be decoded."""
    try:
        with _opened(path) as container:
            stream: Any = next((each for each in container.streams if each.type == kind), None)
            if stream is None:
                return
            stream.codec_context.options = {"max_pixels": str(MOST_PIXELS)}
            for packet in container.demux(stream):
                frames: Sequence[Any]
                try:
                    frames = packet.decode()
                except PYAV_ERRORS:
                    continue  # of one packet
                yield from (frame for frame in frames if frame.pts is not None)
    except PYAV_ERRORS:
        return
