"""Counters, rates and budgets of streams, and the views of rooms for statistics."""

from typing import Any, Final, NamedTuple

__all__ = [
    "Budget",
    "ForwardingView",
    "LayerView",
    "MediaPeerView",
    "MediaRoomView",
    "RateMeter",
    "TrackView",
    "room_as_json",
]

_SHORTEST: Final = 0.4
"""Seconds between two samples: over less, a single frame makes the difference."""

_WEIGHT: Final = 0.5
"""Share of the newest sample in a rate: two or three seconds decide, as they do in a receiver's estimate."""


class RateMeter:
    """The rate of a counter of bytes, in bit/s, from samples of it."""

    __slots__ = ("_at", "_bytes", "bitrate", "newest")

    def __init__(self) -> None:
        self._at: float | None = None
        self._bytes = 0
        self.bitrate = 0.0
        """The rate of the last seconds; 0 until there have been two samples."""
        self.newest = 0.0
        """The rate between the last two samples."""

    def sample(self, total: int, now: float) -> float:
        """Take the counter's value; returns the rate. Samples that come too soon are left out."""
        if self._at is None:
            self._at, self._bytes = now, total
            return self.bitrate
        elapsed = now - self._at
        if elapsed < _SHORTEST:
            return self.bitrate
        fresh = self.newest = (total - self._bytes) * 8 / elapsed
        self.bitrate = fresh if not self.bitrate else self.bitrate + (fresh - self.bitrate) * _WEIGHT
        if not fresh and self.bitrate < 1000:
            self.bitrate = 0.0
        self._at, self._bytes = now, total
        return self.bitrate


class Budget:
    """How much of something may be done: ``most`` at once, and ``rate`` in a second."""

    __slots__ = ("_at", "_left", "most", "rate")

    def __init__(self, most: float, rate: float) -> None:
        self.most = most
        self.rate = rate
        self._left = most
        self._at = float("-inf")

    def left(self, now: float) -> float:
        """What may be done now."""
        if now > self._at:
            self._left = min(self._left + (now - self._at) * self.rate, self.most)
            self._at = now
        return self._left

    def take(self, amount: float, now: float) -> bool:
        """Do so much, if it may be done: whether that is so."""
        if self.left(now) < amount:
            return False
        self._left -= amount
        return True


class LayerView(NamedTuple):
    """One stream of a track: ``rid`` is empty without simulcast, ``height`` 0 while it is not known."""

    rid: str
    bitrate: float
    height: int
    packets: int
    lost: int
    nacks: int
    """Packets that the publisher was asked to send again."""
    plis: int
    """Keyframes that it was asked for."""


class TrackView(NamedTuple):
    """What a participant sends of one source."""

    source: str
    codec: str
    muted: bool
    layers: tuple[LayerView, ...]


class ForwardingView(NamedTuple):
    """One picture or voice that a participant is sent; ``rid`` is None while it is paused."""

    peer: str
    source: str
    rid: str | None
    temporal: int
    packets: int
    nacked: int
    """Packets that the receiver asked for again."""
    repeated: int
    """Packets of these that it was sent again."""


class MediaPeerView(NamedTuple):
    """A participant: what it sends and is sent. ``estimate`` is what its downlink is believed to carry, in bit/s."""

    peer: str
    publishing: bool
    subscribing: bool
    estimate: float
    sending: float
    """Bit/s that it is sent, with padding."""
    tracks: tuple[TrackView, ...]
    forwarded: tuple[ForwardingView, ...]


class MediaRoomView(NamedTuple):
    """A room in the engine; ``packets_in`` and ``packets_out`` are RTP packets."""

    room: str
    epoch: int
    speaker: str | None
    packets_in: int
    packets_out: int
    peers: tuple[MediaPeerView, ...]


def room_as_json(room: MediaRoomView) -> dict[str, Any]:
    """The view of a room for programs: objects with the same names, rates in whole bit/s."""
    return {
        "epoch": room.epoch,
        "speaker": room.speaker,
        "packets_in": room.packets_in,
        "packets_out": room.packets_out,
        "peers": [
            {
                "id": peer.peer,
                "publishing": peer.publishing,
                "subscribing": peer.subscribing,
                "estimate": round(peer.estimate),
                "sending": round(peer.sending),
                "tracks": [
                    {
                        "source": track.source,
                        "codec": track.codec,
                        "muted": track.muted,
                        "layers": [layer._asdict() | {"bitrate": round(layer.bitrate)} for layer in track.layers],
                    }
                    for track in peer.tracks
                ],
                "forwarded": [each._asdict() for each in peer.forwarded],
            }
            for peer in room.peers
        ],
    }
