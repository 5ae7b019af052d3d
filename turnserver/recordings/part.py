"""One file of a recording, which PyAV writes: the sound and the picture of a participant, or of a screen.

It is Matroska (WebM, where its codecs are), and is complete up to about a second ago at any time: what is left of a
process that was killed plays. Its time begins at 0; when that was is in the manifest.
"""

import io
import os
import struct
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import av

from meshturn.root import MeshturnError
from turnserver.recordings.frames import picture_size

__all__ = ["PYAV_ERRORS", "Part", "PartError", "PartFile", "PartRefused"]

PYAV_ERRORS: Final = (av.error.FFmpegError, OSError, ValueError)
"""What PyAV raises."""

_MILLISECONDS: Final = Fraction(1, 1000)

_CLUSTER: Final = "900"
"""Milliseconds of a cluster; the last one is lost with a process that is killed."""

_INTERLEAVED: Final = "500000"
"""Microseconds for which a stream is waited for by the others: a picture may be off for an hour."""

_SAMPLE_RATE: Final = 48_000

_IVF: Final = {"vp8": b"VP80", "vp9": b"VP90"}


class PartError(MeshturnError):
    """A file cannot be written, or not any more."""

    def __init__(self, error: OSError) -> None:
        super().__init__(error.strerror or str(error))


class PartRefused(MeshturnError):
    """What came cannot be put into a file: whoever sent it has made it so, and the disk is as it was."""


class PartFile(io.RawIOBase):
    """The file beneath the muxer: it counts, and keeps the first error, which PyAV would not tell as it is.

    After an error nothing is written any more; the muxer is let believe that it is.
    """

    def __init__(self, path: Path, written: Callable[[int], None]) -> None:
        super().__init__()
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        self._file = open(os.open(path, flags, 0o600), "r+b", buffering=0)  # noqa: SIM115  closed with this one
        self._written = written
        self.size = 0
        self.error: OSError | None = None

    def write(self, data: Any) -> int:
        """Write all, or remember why not."""
        view = memoryview(data).cast("B")
        total = len(view)
        if self.error is not None:
            return total
        try:
            while view:
                done = self._file.write(view) or 0
                view = view[done:]
        except OSError as error:
            self.error = error
            return total
        at = self._file.tell()
        self._written(max(at - self.size, 0))
        self.size = max(self.size, at)
        return total

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """See `io.IOBase`."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """See `io.IOBase`."""
        return self._file.tell()

    def writable(self) -> bool:
        """See `io.IOBase`."""
        return True

    def seekable(self) -> bool:
        """See `io.IOBase`."""
        return True

    def close(self) -> None:
        """See `io.IOBase`."""
        if not self.closed:
            self._file.close()
        super().close()


class Part:
    """See the module. ``video`` is a codec with its first keyframe; ``written`` is told of bytes as they are written.

    Raises `PartError`, as every method does, and `PartRefused`, as `write` does; there is no file then.
    """

    def __init__(
        self, path: Path, *, webm: bool, audio: bool, video: tuple[str, bytes] | None, written: Callable[[int], None]
    ) -> None:
        self.path = path
        self.width = self.height = 0
        self.frames = {"audio": 0, "video": 0}
        """Frames by kind."""
        self.duration = 0.0
        """Seconds."""
        self._streams: dict[str, Any] = {}
        self._last: dict[str, int] = {}
        try:
            self._file = PartFile(path, written)
        except OSError as error:
            raise PartError(error) from error
        try:
            self._open("webm" if webm else "matroska", audio, video)
        except PYAV_ERRORS as error:
            self._file.close()
            if self._file.error is None:
                path.unlink(missing_ok=True)
            raise self._why(error) from error

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self._file.size

    def has(self, kind: str) -> bool:
        """Whether it has such a stream."""
        return kind in self._streams

    def write(self, kind: str, time: float, data: bytes, *, keyframe: bool) -> None:
        """A frame at ``time`` seconds of the file."""
        stream = self._streams[kind]
        at = max(round(time * 1000), 0, self._last.get(kind, -1) + 1)
        self._last[kind] = at
        self.duration = max(self.duration, at / 1000)
        packet = av.Packet(data)
        packet.stream = stream
        packet.pts = packet.dts = at
        packet.time_base = _MILLISECONDS
        packet.is_keyframe = keyframe
        try:
            self._container.mux_one(packet)
        except PYAV_ERRORS as error:
            raise self._why(error) from error
        if self._file.error is not None:
            raise PartError(self._file.error)
        self.frames[kind] += 1

    def close(self) -> None:
        """End the file, with its length and an index."""
        try:
            self._container.close()
        except PYAV_ERRORS as error:
            raise self._why(error) from error
        finally:
            self._file.close()
        if self._file.error is not None:
            raise PartError(self._file.error)

    def _open(self, form: str, audio: bool, video: tuple[str, bytes] | None) -> None:
        options = {"cluster_time_limit": _CLUSTER, "flush_packets": "1", "max_interleave_delta": _INTERLEAVED}
        self._container: Any = av.open(self._file, "w", format=form, container_options=options)
        if video is not None:
            with av.open(io.BytesIO(_alone(*video)), format=_form_of(video[0])) as source:
                (template, *_) = source.streams.video
                stream = self._container.add_stream_from_template(template, opaque=True)
                self.width, self.height = template.codec_context.width, template.codec_context.height
            stream.time_base = _MILLISECONDS
            self._streams["video"] = stream
        if audio:
            sound = self._container.add_stream("libopus", rate=_SAMPLE_RATE)
            sound.layout = "stereo"
            self._streams["audio"] = sound
        self._container.start_encoding()

    def _why(self, error: Exception) -> PartError | PartRefused:
        """What the file said, rather than what the muxer makes of it; the muxer itself complains of what came."""
        if self._file.error is not None:
            return PartError(self._file.error)
        return PartRefused(str(error))


def _form_of(codec: str) -> str:
    return {"h264": "h264", "av1": "obu"}.get(codec, "ivf")


def _alone(codec: str, keyframe: bytes) -> bytes:
    """A keyframe as a whole file, from which a muxer can be told what comes."""
    if codec == "av1":
        return b"\x12\0" + keyframe  # a temporal delimiter first
    if codec == "h264":
        return keyframe
    width, height = picture_size(codec, keyframe)
    head = struct.pack("<4sHH4sHHIIII", b"DKIF", 0, 32, _IVF[codec], width, height, 1000, 1, 1, 0)
    return head + struct.pack("<IQ", len(keyframe), 0) + keyframe
