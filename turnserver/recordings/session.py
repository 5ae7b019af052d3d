"""A recording as it is made: tracks become frames, frames get their time, and go to the files of their participants.

Time is an argument here. Sound and camera of a participant are one file, a screen and its sound another. A file has the
streams that it began with: where a picture comes later, or another codec, the next file begins with its first keyframe.
"""

import os
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

from meshturn.root import MeshturnError
from turnserver.media.codecs import CODECS
from turnserver.recordings.frames import Frame, Frames
from turnserver.recordings.manifest import RecordedFile, RecordedStream, Recording
from turnserver.recordings.ordering import Arrived, Ordering
from turnserver.recordings.part import Part, PartError, PartRefused
from turnserver.recordings.timeline import PeerClock, TrackClock
from turnserver.recordings.wire import (
    Begun,
    Ended,
    Lost,
    MediaPacket,
    RecorderMessage,
    RecordingClosed,
    Related,
    Started,
)

__all__ = ["KEYFRAME_AGAIN", "PATIENCE", "RecordingSession", "SessionEnd"]

PATIENCE: Final = 2.5
"""Seconds for which a file waits for the first keyframe of a picture that has been announced."""

MOST_PENDING: Final = 16 << 20
"""Bytes that wait for a file to begin."""

KEYFRAME_AGAIN: Final = 1.0
"""Seconds between two requests for a keyframe of a picture that cannot go on."""

CHECK_INTERVAL: Final = 1.0
"""Seconds between two looks at what is free on the disk."""

MOST_FILES: Final = 10_000
"""Files of one recording."""

MOST_REFUSED: Final = 10
"""Beginnings of a picture that are none, after which its track is recorded no more."""

_LATE: Final = 10.0
"""Seconds that something may seem to have been taken before it came."""

_WEBM: Final = frozenset({"opus", "vp8", "vp9", "av1"})


class SessionEnd(MeshturnError):
    """The recording cannot go on; ``end`` is a word for the manifest, and the text a sentence."""

    def __init__(self, end: str, text: str) -> None:
        super().__init__(text)
        self.end = end


class _Track:
    def __init__(self, begun: Begun, group: "_Group", clock: TrackClock) -> None:
        self.number = begun.number
        self.source = begun.source
        self.codec = begun.codec
        self.kind: Literal["audio", "video"] = CODECS[begun.codec].kind
        self.group = group
        self.clock = clock
        self.ordering = Ordering(self.kind)
        self.frames = Frames(begun.codec)
        self.asked = float("-inf")
        self.refused = 0


class _Group:
    """What goes into one file after another: the camera and the sound of a participant, or a screen."""

    def __init__(self, number: int, peer: str, name: str, kind: str) -> None:
        self.number = number
        self.peer = peer
        self.name = name
        self.kind = kind
        self.tracks: dict[int, _Track] = {}
        self.part: Part | None = None
        self.file: RecordedFile | None = None
        self.parts = 0
        self.codecs: dict[str, str] = {}
        """The codecs of the present part, by kind."""
        self.pending: list[tuple[float, _Track, Frame]] = []
        self.pending_bytes = 0
        self.missed = {"audio": 0, "video": 0}
        """Frames of tracks that have ended, and of earlier parts (those count below zero), which were left out."""
        self.renew = False
        """Whether the next file is to begin with the next keyframe."""


class RecordingSession:
    """See the module. ``ask`` asks for a keyframe of a track."""

    def __init__(self, started: Started, ask: Callable[[int], None]) -> None:
        self._directory = Path(started.directory)
        self._start = started.now
        self._most = started.most
        self._reserve = started.reserve
        self._ask = ask
        begun = datetime.fromtimestamp(started.wall, UTC)
        self.recording = Recording(started.room, begun.isoformat(timespec="milliseconds"))
        self._tracks: dict[int, _Track] = {}
        self._groups: dict[tuple[str, str], _Group] = {}
        self._clocks: dict[str, PeerClock] = {}
        self._written = 0
        self._checked = float("-inf")
        self._save()

    def take(self, message: RecorderMessage) -> None:
        """A message. Raises `SessionEnd`."""
        match message:
            case MediaPacket(number, now, data):
                track = self._tracks.get(number)
                if track is not None:
                    self._arrived(track, track.ordering.push(data, now))
            case Related(number, ntp, timestamp):
                track = self._tracks.get(number)
                if track is not None:
                    track.clock.relate(ntp, timestamp)
            case Begun():
                self._begin(message)
            case Ended(number):
                self._end(number)
            case Lost(packets):
                self.recording.lost += packets
            case RecordingClosed(why):
                raise SessionEnd(why, "")
            case Started():
                raise ValueError("it has started before")

    def tick(self, now: float) -> None:
        """Time has passed. Raises `SessionEnd`."""
        for track in list(self._tracks.values()):
            self._arrived(track, track.ordering.due(now))
            wanted = track.frames.waits or (track.kind == "video" and track.group.renew)
            if wanted and now - track.asked >= KEYFRAME_AGAIN:
                track.asked = now
                self._ask(track.number)
        for group in self._groups.values():
            if group.pending and self._may_open(group, now):
                self._open(group)
        if now - self._checked >= CHECK_INTERVAL:
            self._checked = now
            self._check()

    def finish(self, end: str, detail: str, now: float) -> None:
        """End all files and the manifest, as far as there is room for it."""
        for track in list(self._tracks.values()):
            try:
                self._drain(track)
            except SessionEnd:
                break
        for group in self._groups.values():
            try:
                if group.pending:
                    self._open(group)
                self._close(group)
            except SessionEnd:
                continue
        self.recording.end, self.recording.detail = end, detail
        self.recording.duration = round(max(now - self._start, 0.0), 3)
        try:
            self.recording.write(self._directory)
        except OSError:
            return  # the one before stays, and says that it was interrupted

    # Tracks

    def _begin(self, begun: Begun) -> None:
        if begun.codec not in CODECS or begun.number in self._tracks:
            return
        kind = "screen" if begun.source.startswith("screen") else "camera"
        group = self._groups.get((begun.peer, kind))
        if group is None:
            number = 1 + len({peer for peer, _ in self._groups} - {begun.peer})
            known = [each.number for (peer, _), each in self._groups.items() if peer == begun.peer]
            group = _Group(known[0] if known else number, begun.peer, begun.name, kind)
            self._groups[begun.peer, kind] = group
        group.name = begun.name
        peer = self._clocks.setdefault(begun.peer, PeerClock())
        track = _Track(begun, group, TrackClock(peer, CODECS[begun.codec].clock_rate))
        self._tracks[begun.number] = group.tracks[begun.number] = track

    def _end(self, number: int) -> None:
        track = self._tracks.get(number)
        if track is None:
            return
        self._drain(track)
        group = track.group
        del self._tracks[number], group.tracks[number]
        group.missed[track.kind] += track.frames.missed
        if not group.tracks:
            if group.pending:
                self._open(group)
            self._close(group)

    def _drain(self, track: _Track) -> None:
        for arrived in track.ordering.flush():
            self._frames(track, track.frames.push(arrived))

    # Frames

    def _arrived(self, track: _Track, arrivals: Iterable[Arrived]) -> None:
        """Packets in their order."""
        for arrived in arrivals:
            track.clock.heard(arrived.header.timestamp, arrived.now)
            self._frames(track, track.frames.push(arrived))

    def _frames(self, track: _Track, frames: Iterable[Frame]) -> None:
        group = track.group
        for frame in frames:
            came = frame.now - self._start
            time = max(min(track.clock.time(frame.timestamp) - self._start, came + 1.0), came - _LATE, 0.0)
            part = group.part
            if part is not None and (group.renew or group.codecs.get(track.kind) != track.codec):
                if track.kind == "video" and frame.keyframe:
                    self._close(group)
                    part = None
                elif group.codecs.get(track.kind) != track.codec:
                    group.renew = True  # a file cannot begin in the middle of a picture
                    continue
            if part is None:
                group.pending.append((time, track, frame))
                group.pending_bytes += len(frame.data)
                if self._may_open(group, frame.now):
                    self._open(group)
            else:
                self._write(group, time, track, frame)

    def _may_open(self, group: _Group, now: float) -> bool:
        """Whether all that has been announced is there, or has been waited for."""
        first = group.pending[0][2].now
        if now - first >= PATIENCE or group.pending_bytes >= MOST_PENDING:
            return True
        there = {track.number for _, track, _ in group.pending}
        return all(track.number in there for track in group.tracks.values() if track.kind == "video")

    def _open(self, group: _Group) -> None:
        pending, group.pending, group.pending_bytes = sorted(group.pending, key=lambda each: each[0]), [], 0
        group.renew = False
        first = next(((track, frame) for _, track, frame in pending if track.kind == "video"), None)
        audio = group.kind == "camera" or any(
            track.kind == "audio" for track in (*group.tracks.values(), *(each[1] for each in pending))
        )
        codecs = {"audio": "opus"} if audio else {}
        if first is not None:
            codecs["video"] = first[0].codec
        is_webm = _WEBM.issuperset(codecs.values())
        group.parts += 1
        part = "" if group.parts == 1 else f"-{group.parts}"
        screen = "-screen" if group.kind == "screen" else ""
        name = f"p{group.number}{screen}{part}.{'webm' if is_webm else 'mkv'}"
        if len(self.recording.files) >= MOST_FILES:
            raise SessionEnd("files", f"the recording has {MOST_FILES} files")
        try:
            group.part = Part(
                self._directory / name,
                webm=is_webm,
                audio=audio,
                video=None if first is None else (first[0].codec, first[1].data),
                written=self._count,
            )
        except PartError as error:
            raise SessionEnd("disk", f"{name} cannot be written: {error}") from error
        except PartRefused as error:
            group.parts -= 1
            if first is None:
                raise SessionEnd("fault", f"{name} cannot be made: {error}") from error
            self._refuse(first[0], pending)
            return
        group.codecs = codecs
        group.file = RecordedFile(name, group.peer, group.name, group.kind, round(pending[0][0], 3))
        sources = {"audio": "audio", "video": "camera"}
        if group.kind == "screen":
            sources = {"audio": "screen_audio", "video": "screen"}
        group.file.streams = [
            RecordedStream(
                sources[kind],
                codec,
                width=group.part.width if kind == "video" else 0,
                height=group.part.height if kind == "video" else 0,
            )
            for kind, codec in codecs.items()
        ]
        self.recording.files.append(group.file)
        self._save()
        for time, track, frame in pending:
            if group.codecs.get(track.kind) == track.codec:
                self._write(group, time, track, frame)

    def _refuse(self, track: _Track, pending: list[tuple[float, _Track, Frame]]) -> None:
        """A picture that is none costs its sender that picture, and nobody else anything."""
        group = track.group
        rest = [each for each in pending if each[1] is not track]
        track.frames.missed += len(pending) - len(rest)
        track.frames.waits = True
        track.refused += 1
        if track.refused >= MOST_REFUSED and self._tracks.pop(track.number, None) is not None:
            del group.tracks[track.number]
            group.missed[track.kind] += track.frames.missed
        group.pending, group.pending_bytes = rest, sum(len(frame.data) for _, _, frame in rest)
        if rest:
            self._open(group)

    def _write(self, group: _Group, time: float, track: _Track, frame: Frame) -> None:
        if group.part is None or group.file is None:
            return
        try:
            group.part.write(track.kind, time - group.file.offset, frame.data, keyframe=frame.keyframe)
        except PartRefused:
            track.frames.missed += 1
            track.frames.waits = track.kind == "video"
        except PartError as error:
            raise SessionEnd("disk", f"{group.file.file} cannot be written: {error}") from error

    def _close(self, group: _Group) -> None:
        part, file = group.part, group.file
        if part is None or file is None:
            return
        group.part = group.file = None
        file.duration = round(part.duration, 3)
        for stream in file.streams:
            kind = CODECS[stream.codec].kind
            stream.frames = part.frames[kind]
            here = sum(track.frames.missed for track in group.tracks.values() if track.kind == kind)
            stream.missed = group.missed[kind] + here
            group.missed[kind] = -here
        try:
            part.close()
        except PartRefused:
            pass  # it has no index, and what is in it plays
        except PartError as error:
            raise SessionEnd("disk", f"{file.file} cannot be written: {error}") from error
        finally:
            file.size = part.size
        self._save()

    # The disk

    def _count(self, size: int) -> None:
        self._written += size

    def _check(self) -> None:
        if self._written > self._most:
            raise SessionEnd("size", "the recording has reached media.recordings_size")
        try:
            free = os.statvfs(self._directory)
        except OSError as error:
            raise SessionEnd("disk", f"{self._directory} cannot be used: {error.strerror}") from error
        if free.f_bavail * free.f_frsize < self._reserve:
            raise SessionEnd("disk", "the disk is almost full")

    def _save(self) -> None:
        try:
            self.recording.write(self._directory)
        except OSError as error:
            raise SessionEnd("disk", f"the manifest cannot be written: {error.strerror}") from error
