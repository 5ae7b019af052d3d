"""Who is shown to whom: a receiver's constraints, the speakers and the pictures there are, made into an order.

The model is Jitsi's. A receiver says how many pictures it wants at most (last-N), which ones are pinned, and how high
the tile of each is; a tile that is not seen has the height 0. Pinned pictures come first and are not counted, then
shared screens, then whoever has spoken last, then the others in the order in which they came.
"""

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Final, NamedTuple

__all__ = ["OTHER", "PINNED", "SCREEN", "SPEAKER", "Picture", "ReceiverConstraints", "Showing", "Wish", "choose"]

MAX_WISHES: Final = 200
"""Sources that one receiver's constraints may name: cameras and screens of twice the largest room."""

DEFAULT_HEIGHT: Final = 360
"""Pixels of a tile whose height the receiver has not told."""

PINNED: Final = 3
SCREEN: Final = 2
SPEAKER: Final = 1
OTHER: Final = 0
"""Priorities. The bandwidth goes to higher ones first; between equal ones it is shared."""


class Wish(NamedTuple):
    """How a receiver shows one picture: ``height`` in pixels, 0 if it is not seen; a pinned one comes first."""

    source: str
    height: int
    pinned: bool = False


class ReceiverConstraints:
    """What one receiver wants to be sent: at most ``last`` pictures (None: no limit), besides those that are pinned.

    ``wishes`` are in the order of their importance; ``others`` is the height of pictures that are not among them.
    """

    __slots__ = ("last", "others", "ranks", "wishes")

    def __init__(self, last: int | None = None, others: int = DEFAULT_HEIGHT, wishes: Iterable[Wish] = ()) -> None:
        self.last = last
        self.others = others
        self.wishes: dict[str, Wish] = {wish.source: wish for wish in islice(wishes, MAX_WISHES)}
        self.ranks = {source: rank for rank, source in enumerate(self.wishes)}


class Picture(NamedTuple):
    """A video source: its name (its stream's id), who sends it, and whether it is a screen."""

    source: str
    peer: str
    screen: bool = False


class Showing(NamedTuple):
    """A picture that a receiver is to be sent: at most this high, in pixels, and with which priority."""

    source: str
    height: int
    priority: int


def choose(pictures: Iterable[Picture], wanted: ReceiverConstraints, speakers: Sequence[str]) -> list[Showing]:
    """The pictures to send, the most important first. ``speakers`` are peers, the present one first."""
    recent = {peer: rank for rank, peer in enumerate(speakers)}
    pinned: list[tuple[int, Showing]] = []
    others: list[tuple[tuple[bool, int, int], Showing]] = []
    for picture in pictures:
        wish = wanted.wishes.get(picture.source)
        height = wanted.others if wish is None else wish.height
        if height <= 0:
            continue
        rank = wanted.ranks.get(picture.source, MAX_WISHES)
        if wish is not None and wish.pinned:
            pinned.append((rank, Showing(picture.source, height, PINNED)))
            continue
        spoke = recent.get(picture.peer, len(recent))
        priority = SCREEN if picture.screen else SPEAKER if spoke == 0 and recent else OTHER
        others.append(((not picture.screen, spoke, rank), Showing(picture.source, height, priority)))
    pinned.sort(key=lambda entry: entry[0])
    others.sort(key=lambda entry: entry[0])
    chosen = [shown for _, shown in others]
    return [shown for _, shown in pinned] + (chosen if wanted.last is None else chosen[: max(wanted.last, 0)])
