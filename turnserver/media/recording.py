"""The recording of a room: one more receiver, which takes the best picture of everybody and shows it to nobody.

What it gets are the packets that other receivers get: decrypted, in one continuous stream for each track whatever layer
they come from, and with what was lost sent again. They go to a `RecordingSink`, which has a process of its own behind
it. What nobody else takes is asked for as long as there is a recording, and a picture begins with a keyframe.
"""

from collections.abc import Callable
from typing import Final, Protocol

from meshturn.root import MeshturnError
from turnserver.media.facts import TrackSource
from turnserver.media.forwarder import Forwarder, StreamIdentity
from turnserver.media.layers import EVERY_FRAME, ladder
from turnserver.media.rtcp import SenderReport
from turnserver.media.track import PublishedTrack

__all__ = ["MOST_RECORDED", "RecorderPort", "RecordingRefused", "RecordingSink", "RoomRecording"]

MOST_RECORDED: Final = 4000
"""Tracks of one recording, with those that have ended: participants come and go for hours."""

_PAYLOAD_TYPE: Final = 96
"""Payload type of what is recorded: a track has one codec."""


class RecordingRefused(MeshturnError):
    """A recording cannot begin; the text is one sentence that says why."""


class RecordingSink(Protocol):
    """Takes what is recorded. Tracks have numbers; ``now`` is monotonic seconds. Nothing here waits or raises."""

    def begin(self, number: int, peer: str, name: str, source: TrackSource, codec: str) -> None:
        """A track; ``name`` is what people call the participant, which is untrusted."""

    def packet(self, number: int, packet: bytearray, now: float) -> None:
        """An RTP packet of a track, in memory that is used again after the call."""

    def relate(self, number: int, ntp: int, timestamp: int) -> None:
        """The time of the publisher's clock at a timestamp (RFC 3550 §6.4.1); tracks of one peer have one clock."""

    def end(self, number: int) -> None:
        """A track has ended."""

    def close(self, why: str) -> None:
        """The recording ends; ``why`` is a word: ``stopped``, ``room_closed``, ``failed``, ``server_stopped``."""


class RecorderPort(Protocol):
    """Makes the sinks of recordings: `turnserver.recordings.owner.Recordings`."""

    def open(self, room: str, recording: "RoomRecording") -> RecordingSink:
        """Begin a recording, which is told what becomes of it. Raises `RecordingRefused`."""


class _Recorded:
    """A track that is recorded: the number that it has, and what forwards it."""

    __slots__ = ("forwarder", "is_related", "number", "owner", "track")

    def __init__(self, owner: "RoomRecording", number: int, track: PublishedTrack, random: bytes) -> None:
        self.owner = owner
        self.number = number
        self.track = track
        self.forwarder = Forwarder(self, track.codec, StreamIdentity(number, _PAYLOAD_TYPE), random)
        self.is_related = False

    def send(self, packet: bytearray, *, audio: bool) -> None:
        """See `turnserver.media.forwarder.ForwarderOwner`."""
        if not self.is_related:  # reports of before are of use, too: the next one may be seconds away
            self.is_related = True
            for stream in self.track.streams.values():
                if stream is self.forwarder.stream and stream.report is not None:
                    self.relate(self.forwarder, stream.report, self.owner.now)
        self.owner.sink.packet(self.number, packet, self.owner.now)

    def relate(self, forwarder: Forwarder, report: SenderReport, now: float) -> None:
        """See `turnserver.media.forwarder.ForwarderOwner`."""
        own = forwarder.sender_report(report)
        if own is not None:
            self.owner.sink.relate(self.number, own.ntp, own.timestamp)


class RoomRecording:
    """See the module. ``ended`` is called once when the recorder has given up, with one sentence that says why."""

    def __init__(self, entropy: Callable[[int], bytes], now: float, ended: Callable[[str], None]) -> None:
        self.now = now
        """When what comes now has come."""
        self.sink: RecordingSink
        """Set by whoever begins the recording."""
        self._entropy = entropy
        self._ended = ended
        self._tracks: dict[int, _Recorded] = {}
        self._numbers = 0

    # What the room tells

    def add(self, track: PublishedTrack, name: str) -> None:
        """Somebody publishes a track; it begins with the next `allocate`."""
        if self._numbers >= MOST_RECORDED:
            return
        self._numbers += 1
        made = _Recorded(self, self._numbers, track, self._entropy(6))
        self._tracks[made.number] = made
        self.sink.begin(made.number, track.peer, name, track.source, track.codec.name)

    def remove(self, track: PublishedTrack) -> None:
        """A track has ended."""
        for number, recorded in list(self._tracks.items()):
            if recorded.track is track:
                track.release(recorded.forwarder)
                del self._tracks[number]
                self.sink.end(number)

    def allocate(self, now: float) -> None:
        """Take the sound of everybody, and the best of the pictures that can be had."""
        for recorded in self._tracks.values():
            track, forwarder = recorded.track, recorded.forwarder
            if track.kind == "audio":
                if forwarder not in track.targets:
                    track.take(forwarder, track.layers[0], now)
                continue
            rungs = ladder(track.rates(now))
            rid = track.layers[rungs[-1].stream] if rungs else track.layers[0]
            forwarder.wanted_temporal = EVERY_FRAME
            track.take(forwarder, rid, now)

    def close(self, why: str) -> None:
        """The recording ends; see `RecordingSink.close`."""
        for recorded in self._tracks.values():
            recorded.track.release(recorded.forwarder)
        self._tracks.clear()
        self.sink.close(why)

    # What the recorder tells

    def keyframe(self, number: int) -> None:
        """The recorder cannot go on with a picture: its publisher is asked for a keyframe."""
        recorded = self._tracks.get(number)
        stream = None if recorded is None else recorded.forwarder.stream
        if recorded is not None and stream is not None and recorded.forwarder not in stream.waiting:
            stream.waiting.append(recorded.forwarder)

    def failed(self, why: str) -> None:
        """The recorder has given up."""
        self._ended(why)
