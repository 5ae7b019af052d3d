"""What all payload descriptors have in common: what a packet is within its picture, and numbers that go on."""

from collections.abc import Callable
from typing import Final, Literal, NamedTuple, Protocol, TypeAlias

from turnserver.media.rtp import Header, PacketMemory

__all__ = [
    "Codec",
    "Descriptor",
    "NumberPlaces",
    "PictureRewriter",
    "Rewriter",
    "Shift",
    "WritableMemory",
    "seen_before",
]


WritableMemory: TypeAlias = bytearray | memoryview

_PICTURES: Final = 1 << 15
"""Picture ids have 15 bits, or the lower 7 of them."""

_SHORT_PICTURES: Final = 1 << 7

_LEVELS: Final = 1 << 8


class NumberPlaces(NamedTuple):
    """Where in a packet the picture id is, whether it has two bytes, and where TL0PICIDX is; 0: there is none."""

    picture: int
    is_wide: bool
    level: int


class Descriptor(NamedTuple):
    """What a packet is within its picture."""

    keyframe: bool
    """It begins a picture that needs none before it. `Forwarder` may change to another stream here."""
    begins: bool
    """It is the first packet of a picture."""
    ends: bool
    """It is the last one."""
    temporal: int
    """The temporal layer, 0 being the one that needs no other."""
    spatial: int
    picture: int | None
    """The picture id as sent, of 7 or 15 bits; None where there is none."""
    sync: bool
    """A receiver of lower temporal layers may go up to this one here."""
    discardable: bool
    """No other picture needs this one."""
    height: int = 0
    """Lines of the picture where the packet says it, 0 otherwise."""
    level: int | None = None
    """TL0PICIDX: the number, of 8 bits, of the last picture of temporal layer 0; None where there is none."""
    places: NumberPlaces | None = None
    """Where the packet has these two numbers; None where there are none, or where they are never changed."""
    payload: int = 0
    """Where in a packet the descriptor ends and the picture begins, where packets have a descriptor of one piece."""


class Shift(NamedTuple):
    """What is taken from the numbers of a packet as it came: from the picture id, and from TL0PICIDX."""

    picture: int
    level: int


class Rewriter(Protocol):
    """Has the pictures that one receiver gets numbered without jumps, whatever stream they are taken from."""

    @property
    def shift(self) -> Shift:
        """What holds from now on. Packets that come late, or are asked for again, need the one of their time."""

    def switch(self, descriptor: Descriptor) -> None:
        """This packet is the first of another stream, or the first after a pause."""

    def drop(self, descriptor: Descriptor) -> None:
        """This packet is left out, and so is its whole picture."""

    def rewrite(self, packet: WritableMemory, descriptor: Descriptor, shift: Shift | None = None) -> None:
        """Renumber a packet in place; ``shift`` is that of its time if it is not the present one."""


class Codec(NamedTuple):
    """How to read the payload of one codec."""

    name: str
    """As in ``a=rtpmap``, in lower case."""
    kind: Literal["audio", "video"]
    clock_rate: int
    """Units of a timestamp in a second."""
    read: Callable[[PacketMemory, Header], Descriptor | None]
    """The descriptor of a packet; None if the payload is no such one. Never raises."""
    rewriter: Callable[[], Rewriter] | None
    """Makes one for a receiver; None where packets have no numbers of their own."""


def seen_before(number: int, newest: int, size: int) -> bool:
    """Whether a number of a ring of ``size`` is the newest one, or behind it."""
    return (newest - number) % size < size // 2


class PictureRewriter:
    """`Rewriter` of codecs with picture ids and TL0PICIDX. ``closes``: no gap remains where pictures are left out."""

    __slots__ = ("_came", "_closes", "_level", "_picture", "_size", "shift")

    def __init__(self, *, closes: bool) -> None:
        self._closes = closes
        self.shift = Shift(0, 0)
        self._picture: int | None = None
        """The newest id that was sent, in 15 bits; None before the first."""
        self._level: int | None = None
        """The newest TL0PICIDX that was sent; None before the first."""
        self._came: int | None = None
        """The newest id of the present stream, sent or left out; None before the first."""
        self._size = _PICTURES
        """How many ids there are in the present stream."""

    def switch(self, descriptor: Descriptor) -> None:
        """See `Rewriter`."""
        picture, level = descriptor.picture or 0, descriptor.level or 0
        self.shift = Shift(
            0 if self._picture is None else (picture - self._picture - 1) % _PICTURES,
            0 if self._level is None else (level - self._level - 1) % _LEVELS,
        )
        self._came = None

    def drop(self, descriptor: Descriptor) -> None:
        """See `Rewriter`."""
        picture = descriptor.picture
        if not self._closes or picture is None:
            return
        if self._came is not None and seen_before(picture, self._came, self._size):
            return
        self._came = picture
        self.shift = Shift((self.shift.picture + 1) % _PICTURES, self.shift.level)

    def rewrite(self, packet: WritableMemory, descriptor: Descriptor, shift: Shift | None = None) -> None:
        """See `Rewriter`."""
        if descriptor.places is None:
            return
        picture_at, is_wide, level_at = descriptor.places
        by_picture, by_level = self.shift if shift is None else shift
        came, level = descriptor.picture, descriptor.level
        if picture_at and came is not None:
            picture = (came - by_picture) % _PICTURES
            if is_wide:
                packet[picture_at] = 0x80 | picture >> 8
                packet[picture_at + 1] = picture & 0xFF
            else:
                packet[picture_at] = picture & 0x7F
            if shift is None and came != self._came:  # not another packet of the same picture
                self._size = _PICTURES if is_wide else _SHORT_PICTURES
                self._advance(came, picture)
        if level_at and level is not None:
            level = (level - by_level) % _LEVELS
            packet[level_at] = level
            before = self._level
            if shift is None and level != before and (before is None or not seen_before(level, before, _LEVELS)):
                self._level = level

    def _advance(self, came: int, sent: int) -> None:
        """Remember the ids of a picture, as it came and as it was sent, if they are the newest."""
        size = self._size
        if self._came is None or not seen_before(came, self._came, size):
            self._came = came
        if self._picture is None:
            self._picture = sent
        elif not seen_before(sent, self._picture, size):
            self._picture = (self._picture + (sent - self._picture) % size) % _PICTURES
