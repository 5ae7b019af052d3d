"""Packets in their order: those that have come late are put in their place, and what is lost is waited for.

The SFU asks for what is missing of a picture, and it comes a round trip later. Nobody listens to a recording while it
is made, so there is more time than in a call.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

from turnserver.media.rtp import Header, Unwrapper, read_header

__all__ = ["MOST_WAITING", "PATIENCE", "Arrived", "Ordering"]

PATIENCE: Final = {"audio": 0.3, "video": 1.6}
"""Seconds for which a missing packet is waited for. The SFU asks for a picture's for 1.5 s, and not for sound."""

MOST_WAITING: Final = 2048
"""Packets that wait for another one: four seconds of a large picture."""

_STRANGE: Final = 10_000
"""Numbers by which a packet may be ahead: more, and the stream has begun anew."""


class Arrived(NamedTuple):
    """A packet in its place; ``lost`` are the packets between it and the one before."""

    packet: bytes
    header: Header
    now: float
    lost: int


class Ordering:
    """The packets of one track; see the module."""

    def __init__(self, kind: str) -> None:
        self._patience = PATIENCE[kind]
        self._unwrapper = Unwrapper(16)
        self._next: int | None = None
        self._waiting: dict[int, Arrived] = {}

    def push(self, packet: bytes, now: float) -> Iterator[Arrived]:
        """A packet has come; those whose turn it is."""
        header = read_header(packet, len(packet))
        if header is None:
            return
        number = self._unwrapper.unwrap(header.sequence)
        if self._next is None:
            self._next = number
        elif number - self._next > _STRANGE:
            yield from self.flush()
            self._next = number
        if number >= self._next:
            self._waiting.setdefault(number, Arrived(packet, header, now, 0))
        yield from self.due(now)

    def due(self, now: float) -> Iterator[Arrived]:
        """The packets whose turn it is, now that time has passed."""
        while self._waiting and self._next is not None:
            found = self._waiting.pop(self._next, None)
            if found is not None:
                self._next += 1
                yield found
                continue
            first = min(self._waiting)
            oldest = min(each.now for each in self._waiting.values())
            if now - oldest < self._patience and len(self._waiting) < MOST_WAITING:
                return
            lost, self._next = first - self._next, first + 1
            yield self._waiting.pop(first)._replace(lost=lost)

    def flush(self) -> Iterator[Arrived]:
        """All that waits: nothing more comes."""
        for number in sorted(self._waiting):
            lost = 0 if self._next is None else number - self._next
            self._next = number + 1
            yield self._waiting[number]._replace(lost=lost)
        self._waiting.clear()
