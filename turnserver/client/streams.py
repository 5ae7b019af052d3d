"""What comes from one participant, as tracks that go on for as long as it is in the room.

The connection that a picture comes through may be built again, or be another one because the room has changed between
a mesh and an SFU. Frames of the next one have other time stamps: these are moved, so that time goes on.
"""

import asyncio
from collections.abc import Mapping
from typing import Final

from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError
from av import AudioFrame, VideoFrame
from av.frame import Frame

from turnserver.signaling.protocol.fields import MediaSource

__all__ = ["KINDS", "IncomingTrack", "Incomings", "source_named"]

KINDS: Final[Mapping[MediaSource, str]] = {
    "audio": "audio",
    "camera": "video",
    "screen": "video",
    "screen_audio": "audio",
}
"""What a track of a source carries."""

_SOURCES: Final[Mapping[tuple[str, bool], MediaSource]] = {
    (kind, source.startswith("screen")): source for source, kind in KINDS.items()
}

_QUEUE: Final = 16
"""Frames that wait for who reads a track; the oldest is dropped for a new one."""

_STEPS: Final = {"audio": 960, "video": 6000}
"""Ticks between a frame and the next one where nothing is known of it: 20 ms of sound, and a fifteenth of a second."""

_LONGEST: Final = {"audio": 10 * 48_000, "video": 10 * 90_000}
"""Ticks of a pause that is believed, ten seconds. After it, or backwards, the clock at the other end is another one."""


def source_named(kind: str, *, screen: bool) -> MediaSource:
    """What sound or picture (``audio``, ``video``) is: of a shared screen, or of microphone and camera."""
    return _SOURCES[kind, screen]


class IncomingTrack(MediaStreamTrack):
    """Sound or picture of one participant. It goes on when connections are renewed, and ends when somebody leaves.

    Frames wait here only for a moment: who does not read misses some.
    """

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self._frames: asyncio.Queue[Frame | None] = asyncio.Queue(_QUEUE)

    def put(self, frame: Frame | None) -> None:
        """The next frame; None ends the track."""
        if self._frames.full():
            self._frames.get_nowait()
        self._frames.put_nowait(frame)

    async def recv(self) -> Frame:
        """The oldest frame that waits. Raises `MediaStreamError` when the track has ended."""
        if self.readyState != "live":
            raise MediaStreamError
        frame = await self._frames.get()
        if frame is None:
            self.stop()
            raise MediaStreamError
        return frame


class _Clock:
    """The time stamps of one source, in the ticks of its frames."""

    def __init__(self, kind: str) -> None:
        self._origin: object = None
        self._step = _STEPS[kind]
        self._longest = _LONGEST[kind]
        self._raw = self._moved = self._offset = 0

    def move(self, frame: Frame, origin: object) -> None:
        """Give a frame of the connection ``origin`` its place after the frame before."""
        raw = frame.pts or 0
        if origin is not self._origin or not 0 < raw - self._raw <= self._longest:
            if self._origin is not None:
                self._offset = self._moved + self._step - raw
            self._origin = origin
        else:
            self._step = raw - self._raw
        self._raw, self._moved = raw, raw + self._offset
        frame.pts = self._moved


class Incomings:
    """The tracks of one participant, by source."""

    def __init__(self) -> None:
        self._tracks: dict[MediaSource, IncomingTrack] = {}
        self._clocks: dict[MediaSource, _Clock] = {}
        self._closed = False

    def track(self, source: MediaSource) -> IncomingTrack:
        """The track of a source: the same one every time, whether anything comes yet or not."""
        if (found := self._tracks.get(source)) is None:
            found = self._tracks[source] = IncomingTrack(KINDS[source])
            if self._closed:
                found.stop()
        return found

    def take(self, source: MediaSource, origin: object, frame: Frame) -> bool:
        """A frame of the connection ``origin``. Returns False for one that is no sound or picture of that source."""
        kind = KINDS[source]
        if not isinstance(frame, AudioFrame if kind == "audio" else VideoFrame):
            return False
        if source not in self._clocks:
            self._clocks[source] = _Clock(kind)
        self._clocks[source].move(frame, origin)
        if (track := self._tracks.get(source)) is not None and track.readyState == "live":
            track.put(frame)
        return True

    def close(self) -> None:
        """Nothing more comes."""
        self._closed = True
        for track in self._tracks.values():
            track.put(None)
