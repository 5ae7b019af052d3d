"""What a media engine reports: answers, offers, and what has happened in its rooms."""

from typing import Literal, NamedTuple, TypeAlias

__all__ = [
    "AnswerReady",
    "ConnectionSide",
    "LayersWanted",
    "MediaFact",
    "OfferReady",
    "RecordingBegan",
    "RecordingEnded",
    "RoomLost",
    "SideConnected",
    "SideFailed",
    "SpeakerChanged",
    "TrackSource",
]

ConnectionSide: TypeAlias = Literal["publish", "subscribe"]
"""Which of a participant's two connections: the one through which it sends, or the one through which it receives."""

TrackSource: TypeAlias = Literal["audio", "camera", "screen", "screen_audio"]
"""What a participant sends."""


class AnswerReady(NamedTuple):
    """The answer to an offer of the publish connection ``pc``, with the engine's candidates."""

    room: str
    peer: str
    pc: str
    sdp: str


class OfferReady(NamedTuple):
    """An offer of the subscribe connection ``pc``. There is one at a time without an answer."""

    room: str
    peer: str
    pc: str
    sdp: str


class SideConnected(NamedTuple):
    """A connection stands: ICE and DTLS are through."""

    room: str
    peer: str
    side: ConnectionSide


class SideFailed(NamedTuple):
    """A connection could not be established, or is lost; ``why`` is one sentence for the log."""

    room: str
    peer: str
    side: ConnectionSide
    why: str


class SpeakerChanged(NamedTuple):
    """Who speaks now; None if nobody has spoken for a while."""

    room: str
    peer: str | None


class LayersWanted(NamedTuple):
    """Which layers of a picture anybody takes, by their ``rid``: ``("",)`` without simulcast, empty for none."""

    room: str
    peer: str
    source: Literal["camera", "screen"]
    rids: tuple[str, ...]


class RecordingBegan(NamedTuple):
    """The room is recorded from now on."""

    room: str


class RecordingEnded(NamedTuple):
    """The room is not recorded, or not any more; ``why`` is one sentence, empty if that was asked for."""

    room: str
    why: str


class RoomLost(NamedTuple):
    """The engine has lost a room with all of its connections, or cannot have it; ``why`` is for the log."""

    room: str
    epoch: int
    why: str


MediaFact: TypeAlias = (
    AnswerReady
    | OfferReady
    | SideConnected
    | SideFailed
    | SpeakerChanged
    | LayersWanted
    | RecordingBegan
    | RecordingEnded
    | RoomLost
)
