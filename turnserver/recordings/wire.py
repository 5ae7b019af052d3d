"""What goes through the pipes of a recorder process: media and facts to it, requests and its outcome from it.

To the process go messages as `turnserver.framing` has them; what comes back are lines of JSON. Both ends are this
program, but a pipe may end in the middle of anything.
"""

import json
import struct
from collections.abc import Iterator
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from turnserver.framing import FrameError, FrameReader, encode, head

__all__ = [
    "Begun",
    "Ended",
    "Lost",
    "MediaPacket",
    "RecorderMessage",
    "RecordingClosed",
    "Related",
    "Started",
    "WireReader",
    "packet_head",
    "read_line",
    "write_line",
    "write_message",
]


class Started(NamedTuple):
    """The first message: where and what to record. ``now`` is monotonic seconds, ``wall`` the same in Unix seconds.

    ``most`` and ``reserve`` are bytes: of the recording at most, and free on the disk at least.
    """

    directory: str
    room: str
    now: float
    wall: float
    most: int
    reserve: int


class Begun(NamedTuple):
    """A track begins; see `turnserver.media.recording.RecordingSink`."""

    number: int
    peer: str
    name: str
    source: str
    codec: str


class MediaPacket(NamedTuple):
    """An RTP packet of a track."""

    number: int
    now: float
    data: bytes


class Related(NamedTuple):
    """The publisher's clock at a timestamp."""

    number: int
    ntp: int
    timestamp: int


class Ended(NamedTuple):
    """A track has ended."""

    number: int


class Lost(NamedTuple):
    """So many packets were left out, since the process was too slow."""

    packets: int


class RecordingClosed(NamedTuple):
    """The recording ends."""

    why: str


RecorderMessage: TypeAlias = Started | Begun | MediaPacket | Related | Ended | Lost | RecordingClosed

_PACKET: Final = struct.Struct("!Hd")
_RELATED: Final = struct.Struct("!HQI")
_MEDIA: Final = 0
_RELATION: Final = 1
_OTHERS: Final[dict[int, type[Any]]] = {2: Started, 3: Begun, 4: Ended, 5: Lost, 6: RecordingClosed}
_KINDS: Final = {kind: number for number, kind in _OTHERS.items()}

MOST: Final = 1 << 17
"""Bytes of a message at most: a datagram has 65,535."""


def write_message(message: RecorderMessage) -> bytes:
    """A message as it goes through the pipe."""
    match message:
        case MediaPacket(number, now, data):
            return packet_head(number, now, len(data)) + data
        case Related(number, ntp, timestamp):
            return encode(_RELATION, _RELATED.pack(number, ntp, timestamp))
        case _:
            return encode(_KINDS[type(message)], json.dumps(list(message)).encode())


def packet_head(number: int, now: float, size: int) -> bytes:
    """What goes before a packet of so many bytes, which needs no copy then: see `MediaPacket`."""
    return head(_MEDIA, _PACKET.size + size) + _PACKET.pack(number, now)


class WireReader:
    """Takes bytes of the pipe as they come, and gives whole messages."""

    def __init__(self) -> None:
        self._frames = FrameReader(MOST)

    def feed(self, data: bytes) -> Iterator[RecorderMessage]:
        """The messages that are complete now. Raises ValueError for what is none."""
        try:
            for kind, body in self._frames.feed(data):
                yield _read(kind, body)
        except FrameError as error:
            raise ValueError(str(error)) from error


def _read(kind: int, body: bytes) -> RecorderMessage:
    try:
        if kind == _MEDIA:
            number, now = _PACKET.unpack_from(body)
            return MediaPacket(number, now, body[_PACKET.size :])
        if kind == _RELATION:
            return Related(*_RELATED.unpack(body))
        made: RecorderMessage = _OTHERS[kind](*json.loads(body))
    except (struct.error, KeyError, TypeError) as error:
        raise ValueError(f"not a message: {error}") from error
    return made


RecorderRequest: TypeAlias = (
    tuple[Literal["keyframe"], int] | tuple[Literal["ready"], int] | tuple[Literal["failed"], str]
)
"""What a recorder says: a keyframe of that track, please; it has begun; it has given up, and why."""


def write_line(request: RecorderRequest) -> bytes:
    """What the recorder says, as it goes through the pipe."""
    return json.dumps(request).encode() + b"\n"


def read_line(line: bytes) -> tuple[str, int | str] | None:
    """What the recorder says; None for what it cannot have said."""
    try:
        what, value = json.loads(line)
    except (ValueError, TypeError):
        return None
    return (what, value) if isinstance(what, str) and isinstance(value, int | str) else None
