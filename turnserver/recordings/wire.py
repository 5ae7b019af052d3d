"""What goes through the pipes of a recorder process: media and facts to it, requests and its outcome from it.

To the process go messages with a head of a length and a kind; what comes back are lines of JSON. Both ends are this
program, but a pipe may end in the middle of anything.
"""

import json
import struct
from collections.abc import Iterator
from typing import Any, Final, Literal, NamedTuple, TypeAlias

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

_HEAD: Final = struct.Struct("!IB")
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
            return _HEAD.pack(_PACKET.size + len(data), _MEDIA) + _PACKET.pack(number, now) + data
        case Related(number, ntp, timestamp):
            return _HEAD.pack(_RELATED.size, _RELATION) + _RELATED.pack(number, ntp, timestamp)
        case _:
            body = json.dumps(list(message)).encode()
            return _HEAD.pack(len(body), _KINDS[type(message)]) + body


class WireReader:
    """Takes bytes of the pipe as they come, and gives whole messages."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def feed(self, data: bytes) -> Iterator[RecorderMessage]:
        """The messages that are complete now. Raises ValueError for what is none."""
        self._bytes += data
        at = 0
        whole = memoryview(bytes(self._bytes))
        while len(whole) - at >= _HEAD.size:
            size, kind = _HEAD.unpack_from(whole, at)
            if size > MOST:
                raise ValueError("a message that is too long")
            if len(whole) - at - _HEAD.size < size:
                break
            at += _HEAD.size
            yield _read(kind, whole[at : at + size])
            at += size
        del self._bytes[:at]


def _read(kind: int, body: memoryview) -> RecorderMessage:
    try:
        if kind == _MEDIA:
            number, now = _PACKET.unpack_from(body)
            return MediaPacket(number, now, bytes(body[_PACKET.size :]))
        if kind == _RELATION:
            return Related(*_RELATED.unpack(body))
        made: RecorderMessage = _OTHERS[kind](*json.loads(bytes(body)))
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
