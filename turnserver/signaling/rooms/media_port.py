"""The seam between rooms and a media engine (an SFU): what rooms ask of it, and what it reports.

Rooms know nothing of media, and an engine knows nothing of clients: the composition of the server joins the two. Rooms
call the methods of a `MediaPort`; each returns at once and never fails, and its outcome comes later as a `MediaEvent`
through `Hub.media`, never from inside of a call. An event about a room, an epoch, a participant or a connection that
has ended in the meantime is late, and ignored; an engine ignores late calls in the same way.

Of each participant the engine has two connections. Through the *publish* connection it receives: the participant
offers, and names the connection. Through the *subscribe* connection it sends: the engine offers, and names the
connection. A name is of whoever offers first, and stays for all later offers of that connection, so that a name that is
new means that the connection before it is gone.

In the engine's offers, a media stream has the id of the participant who sends it (microphone and camera), or that id
with ``.screen`` after it (screen, and its sound). Descriptions have at most `MAX_SDP` characters either way.
"""

from collections.abc import Mapping, Sequence
from typing import Final, Literal, NamedTuple, Protocol, TypeAlias

from turnserver.signaling.protocol.fields import MediaSource

__all__ = [
    "SFU",
    "MediaEvent",
    "MediaPort",
    "MediaSide",
    "MediaSource",
    "SfuAnswered",
    "SfuConnected",
    "SfuFailed",
    "SfuGone",
    "SfuLayers",
    "SfuOffered",
    "SfuRecorded",
    "SfuSpeaker",
    "SfuUnrecorded",
    "Tile",
]

SFU: Final = "sfu"
"""The peer id of the engine in `desc` and `cand`: no participant has one that is so short."""

MediaSide: TypeAlias = Literal["publish", "subscribe"]
"""Which of a participant's two connections: the one through which it sends, or the one through which it receives."""


class Tile(NamedTuple):
    """How one picture is shown by one receiver: ``height`` in pixels, 0 if it is not seen and need not be sent.

    A ``pinned`` picture has precedence over all others, and does not count for ``last``.
    """

    peer: str
    source: Literal["camera", "screen"]
    height: int
    pinned: bool = False


class MediaPort(Protocol):
    """What rooms ask of a media engine. Peer ids and room ids are those of the protocol; texts are untrusted."""

    def open(self, room: str, epoch: int) -> None:
        """A room is to go through the engine from now on. A later call with another ``epoch`` begins it afresh.

        Reported later: `SfuGone`, if the engine cannot have the room or has lost it.
        """

    def close(self, room: str) -> None:
        """The room no longer goes through the engine: all connections of its participants end."""

    def join(self, room: str, peer: str, name: str) -> None:
        """A participant of the room may have connections; ``name`` is what people call it."""

    def leave(self, room: str, peer: str) -> None:
        """The participant has left or was removed: its connections end at once."""

    def offer(self, room: str, peer: str, pc: str, sdp: str, sources: Mapping[str, MediaSource]) -> None:
        """An offer of the publish connection ``pc``; ``sources`` says what its media sections carry, by ``mid``.

        A section that is not named is audio or camera, by its kind. Reported later: `SfuAnswered`, or `SfuFailed`.
        """

    def answer(self, room: str, peer: str, pc: str, sdp: str) -> None:
        """The participant's answer to `SfuOffered`."""

    def candidates(self, room: str, peer: str, pc: str, lines: Sequence[str]) -> None:
        """Candidates of the participant for one of the two connections, as ``candidate:`` lines (RFC 8839 §5.1)."""

    def reset(self, room: str, peer: str) -> None:
        """The participant has lost its subscribe connection: offer another one, with another name."""

    def choose(self, room: str, peer: str, last: int | None, others: int, tiles: Sequence[Tile]) -> None:
        """What a participant wants to receive. It replaces what was chosen before; sound is always sent.

        At most ``last`` pictures are sent, those of who spoke last (None: no limit). ``tiles`` are in the order of
        their importance, and ``others`` is the height of pictures that have no tile.
        """

    def mute(self, room: str, peer: str, source: MediaSource, on: bool) -> None:
        """Do not forward what the participant sends of that source, or do so again."""

    def record(self, room: str, on: bool) -> None:
        """Record all that participants send, or do so no more. Reported later: `SfuRecorded`, `SfuUnrecorded`.

        A recording ends with the room in the engine, without a report.
        """


class SfuAnswered(NamedTuple):
    """The engine's answer to an offer of the publish connection ``pc``. It has the engine's candidates."""

    room: str
    peer: str
    pc: str
    sdp: str


class SfuOffered(NamedTuple):
    """The engine offers the subscribe connection ``pc``, or offers it again because what it sends has changed.

    The engine has one offer at a time without an answer.
    """

    room: str
    peer: str
    pc: str
    sdp: str


class SfuConnected(NamedTuple):
    """A connection stands: ICE and DTLS are through."""

    room: str
    peer: str
    side: MediaSide


class SfuFailed(NamedTuple):
    """A connection could not be established, or is lost. ``why`` is one sentence for the log.

    The participant may offer again. A subscribe connection that has failed is offered again by the engine.
    """

    room: str
    peer: str
    side: MediaSide
    why: str


class SfuSpeaker(NamedTuple):
    """Who speaks now; None if nobody has spoken for a while. At most one change a second."""

    room: str
    peer: str | None


class SfuLayers(NamedTuple):
    """Which layers of a picture anybody takes, by their ``rid``: the participant need not send the others.

    Without simulcast, ``rids`` is ``("",)`` if the picture is taken. It is empty if nobody takes the picture.
    """

    room: str
    peer: str
    source: Literal["camera", "screen"]
    rids: tuple[str, ...]


class SfuRecorded(NamedTuple):
    """The room is recorded from now on."""

    room: str


class SfuUnrecorded(NamedTuple):
    """The room is not recorded, or not any more. ``why`` is one sentence, empty if that was asked for."""

    room: str
    why: str


class SfuGone(NamedTuple):
    """The engine has lost the room of that epoch with all connections, or cannot have it. ``why`` is for the log."""

    room: str
    epoch: int
    why: str


MediaEvent: TypeAlias = (
    SfuAnswered | SfuOffered | SfuConnected | SfuFailed | SfuSpeaker | SfuLayers | SfuRecorded | SfuUnrecorded | SfuGone
)
