"""A media engine that does nothing by itself: it writes down what rooms ask of it, and says what a test lets it say."""

from collections.abc import Mapping, Sequence
from typing import Any, get_args

from turnserver.signaling.protocol.fields import MediaSource
from turnserver.signaling.rooms.media_port import MediaEvent, MediaPort, Tile

__all__ = ["MEDIA_EVENTS", "ScriptedMedia"]

MEDIA_EVENTS: dict[str, Any] = {kind.__name__: kind for kind in get_args(MediaEvent)}
"""What engines report, by name."""


class ScriptedMedia(MediaPort):
    """What was asked of it, in order: the method, and the arguments."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []

    def take(self) -> list[tuple[Any, ...]]:
        """Return and clear what was asked."""
        found, self.asked = self.asked, []
        return found

    def open(self, room: str, epoch: int) -> None:
        self.asked.append(("open", room, epoch))

    def close(self, room: str) -> None:
        self.asked.append(("close", room))

    def join(self, room: str, peer: str, name: str) -> None:
        self.asked.append(("join", room, peer, name))

    def leave(self, room: str, peer: str) -> None:
        self.asked.append(("leave", room, peer))

    def offer(self, room: str, peer: str, pc: str, sdp: str, sources: Mapping[str, MediaSource]) -> None:
        self.asked.append(("offer", room, peer, pc, sdp, dict(sources)))

    def answer(self, room: str, peer: str, pc: str, sdp: str) -> None:
        self.asked.append(("answer", room, peer, pc, sdp))

    def candidates(self, room: str, peer: str, pc: str, lines: Sequence[str]) -> None:
        self.asked.append(("candidates", room, peer, pc, list(lines)))

    def reset(self, room: str, peer: str) -> None:
        self.asked.append(("reset", room, peer))

    def choose(self, room: str, peer: str, last: int | None, others: int, tiles: Sequence[Tile]) -> None:
        self.asked.append(("choose", room, peer, last, others, list(tiles)))

    def mute(self, room: str, peer: str, source: MediaSource, on: bool) -> None:
        self.asked.append(("mute", room, peer, source, on))

    def record(self, room: str, on: bool) -> None:
        self.asked.append(("record", room, on))
