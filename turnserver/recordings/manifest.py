"""What is in a recording: ``manifest.json`` in its directory, which is replaced whole whenever something changes."""

import contextlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from meshturn.root import MeshturnError

__all__ = ["MANIFEST", "ManifestError", "RecordedFile", "RecordedStream", "Recording", "read_manifest"]

MANIFEST: Final = "manifest.json"

VERSION: Final = 1

_MOST: Final = 16 << 20
"""Bytes of a manifest that is read."""


_NONE: Final = (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError)
"""What reading raises where something else than a manifest is read."""


class ManifestError(MeshturnError):
    """A directory is no recording, or its manifest cannot be read; the text is one sentence."""


@dataclass
class RecordedStream:
    """A stream of a file: ``source`` is what was sent, ``missed`` are frames that could not be put together."""

    source: str
    codec: str
    frames: int = 0
    missed: int = 0
    width: int = 0
    height: int = 0


@dataclass
class RecordedFile:
    """A file: of whom, when it begins in seconds of the recording, and its length; that is None while it is written."""

    file: str
    peer: str
    name: str
    kind: str
    """``camera``, with the microphone, or ``screen``, with its sound."""
    offset: float
    duration: float | None = None
    size: int = 0
    streams: list[RecordedStream] = field(default_factory=list)


@dataclass
class Recording:
    """A recording. Times are ISO 8601 in UTC; ``end`` says why it ended: None if it goes on, or was interrupted."""

    room: str
    started: str
    duration: float | None = None
    end: str | None = None
    detail: str = ""
    lost: int = 0
    """Packets that were left out, since they could not be written fast enough."""
    files: list[RecordedFile] = field(default_factory=list)

    def write(self, directory: Path) -> None:
        """Replace the manifest. Raises OSError."""
        text = json.dumps({"version": VERSION, **asdict(self)}, indent=2, ensure_ascii=False)
        fresh = directory / f"{MANIFEST}.new"
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            with open(os.open(fresh, flags, 0o600), "w", encoding="utf-8", errors="backslashreplace") as file:
                file.write(text)
            fresh.replace(directory / MANIFEST)
        except OSError:
            with contextlib.suppress(OSError):
                fresh.unlink()  # half of it, where the disk is full
            raise

    @property
    def begun(self) -> datetime:
        """When it began."""
        return datetime.fromisoformat(self.started).astimezone(UTC)


def read_manifest(directory: Path) -> Recording:
    """The manifest of a recording's directory. Raises `ManifestError`."""
    path = directory / MANIFEST
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:  # a pipe has no end
            raw = file.read(_MOST + 1) or b""
    except OSError as error:
        raise ManifestError(f"{path} cannot be read: {error.strerror}.") from error
    try:
        if len(raw) > _MOST:
            raise ValueError("too long")
        return _recording(json.loads(raw))
    except _NONE as error:
        raise ManifestError(f"{path} is not the manifest of a recording.") from error


def _recording(read: Mapping[str, Any]) -> Recording:
    if read["version"] != VERSION:
        raise ValueError("another version")
    made = Recording(
        room=str(read["room"]),
        started=str(read["started"]),
        duration=_seconds(read["duration"]),
        end=None if read["end"] is None else str(read["end"]),
        detail=str(read.get("detail", "")),
        lost=int(read.get("lost", 0)),
        files=[_file(each) for each in read["files"]],
    )
    made.begun  # noqa: B018  raises for what is no time
    return made


def _file(read: Mapping[str, Any]) -> RecordedFile:
    name = str(read["file"])
    if not name or name != Path(name).name or name.startswith("."):
        raise ValueError("a file that is elsewhere")
    offset = _seconds(read["offset"])
    return RecordedFile(
        file=name,
        peer=str(read["peer"]),
        name=str(read["name"]),
        kind=str(read["kind"]),
        offset=0.0 if offset is None else offset,
        duration=_seconds(read["duration"]),
        size=int(read["size"]),
        streams=[_stream(each) for each in read["streams"]],
    )


def _stream(read: Mapping[str, Any]) -> RecordedStream:
    counts = {name: int(read.get(name, 0)) for name in ("frames", "missed", "width", "height")}
    return RecordedStream(str(read["source"]), str(read["codec"]), **counts)


def _seconds(value: Any) -> float | None:
    if value is None:
        return None
    seconds = float(value)
    if not 0 <= seconds < 1e9:
        raise ValueError("no time")
    return seconds
