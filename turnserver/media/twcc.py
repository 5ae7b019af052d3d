"""Transport-wide feedback: when each packet of a connection has arrived (draft-holmer-rmcat-transport-wide-cc-01).

The sender numbers all packets of a connection, whatever their streams are, and estimates from the arrivals how much
the path carries. A feedback lists consecutive numbers: what has not arrived, and for the others the time since the
arrival before, in ticks of 250 µs.
"""

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

__all__ = [
    "MOST_ARRIVALS",
    "MOST_NUMBERS",
    "MOST_READ",
    "TransportFeedback",
    "covered",
    "read_feedback",
    "write_feedback",
]

MOST_NUMBERS: Final = 1_400
"""Numbers that one feedback covers, and"""

MOST_ARRIVALS: Final = 300
"""arrivals in it: at worst 400 and 600 bytes, so that it fits into a datagram."""

MOST_READ: Final = 8_192
"""Numbers that are read of one feedback, and of all in one compound packet: two bytes say that 8,191 packets are
missing, and 64 such feedbacks fit into a datagram."""

_TICKS: Final = 4_000
"""Ticks in a second."""

_REFERENCE: Final = 256
"""Ticks in the unit of the reference time, 64 ms."""

_MISSING, _SMALL, _LARGE = range(3)
"""The statuses of a number; how many bytes its delta has is the same."""

_ONE_BIT: Final = 14
_TWO_BITS: Final = 7
"""Statuses in a chunk with one or two bits for each."""

_LONGEST_RUN: Final = 0x1FFF


@dataclass(frozen=True, slots=True)
class TransportFeedback:
    """What has arrived from ``first`` on, the 16 bits of a number.

    ``reference`` is a time of the receiver's own, in 64 ms; ``deltas`` has for each number the ticks of 250 µs since
    the arrival before, None for a missing one. Feedbacks are numbered by ``count``, which has eight bits.
    """

    sender: int
    media: int
    count: int
    first: int
    reference: int
    deltas: tuple[int | None, ...]

    @classmethod
    def of(cls, sender: int, media: int, count: int, arrivals: Mapping[int, float]) -> "TransportFeedback":
        """The feedback for these arrivals, seconds by number; of numbers in more than 16 bits, so that their order is
        clear. What one feedback has no room for is left out. Raises ValueError without arrivals.
        """
        found = next(cls.several(sender, media, count, arrivals), None)
        if found is None:
            raise ValueError("a feedback is about arrivals")
        return found

    @classmethod
    def several(
        cls, sender: int, media: int, count: int, arrivals: Mapping[int, float]
    ) -> Iterator["TransportFeedback"]:
        """As many feedbacks as these arrivals need."""
        numbers = sorted(arrivals)
        at = 0
        while at < len(numbers):
            first = numbers[at]
            before = int(arrivals[first] * _TICKS) // _REFERENCE * _REFERENCE
            reference = (before // _REFERENCE + 0x800000 & 0xFFFFFF) - 0x800000
            deltas: list[int | None] = []
            for number in numbers[at : at + MOST_ARRIVALS]:
                ticks = int(arrivals[number] * _TICKS)
                if number - first >= MOST_NUMBERS or not -0x8000 <= ticks - before <= 0x7FFF:
                    break
                deltas += [None] * (number - first - len(deltas))
                deltas.append(ticks - before)
                before = ticks
                at += 1
            yield cls(sender, media, count & 0xFF, first & 0xFFFF, reference, tuple(deltas))
            count += 1

    @property
    def arrivals(self) -> Iterator[tuple[int, float | None]]:
        """The 16 bits of each number with its arrival, in seconds of the receiver's own clock; None: it is missing."""
        ticks = self.reference * _REFERENCE
        for place, delta in enumerate(self.deltas):
            if delta is None:
                yield self.first + place & 0xFFFF, None
            else:
                ticks += delta
                yield self.first + place & 0xFFFF, ticks / _TICKS


def covered(body: bytes) -> int:
    """How many numbers a feedback says that it is about; see `read_feedback`."""
    return int.from_bytes(body[2:4])


def read_feedback(sender: int, media: int, body: bytes) -> TransportFeedback | None:
    """The feedback whose part behind the two SSRCs is ``body``; None if it is malformed, or longer than `MOST_READ`."""
    if len(body) < 8:
        return None
    first, statuses, time = struct.unpack_from("!HHI", body)
    if not 0 < statuses <= MOST_READ:
        return None
    at = 8
    symbols: list[int] = []
    while len(symbols) < statuses:
        if at + 2 > len(body):
            return None
        symbols += _symbols(body[at] << 8 | body[at + 1])
        at += 2
    deltas: list[int | None] = []
    for symbol in symbols[:statuses]:
        if symbol == _MISSING:
            deltas.append(None)
            continue
        if symbol > _LARGE or at + symbol > len(body):
            return None
        deltas.append(int.from_bytes(body[at : at + symbol], signed=symbol == _LARGE))
        at += symbol
    reference = (time >> 8) - (time >> 31 << 24)
    return TransportFeedback(sender, media, time & 0xFF, first, reference, tuple(deltas))


def _symbols(chunk: int) -> list[int]:
    if not chunk & 0x8000:
        return [chunk >> 13] * (chunk & _LONGEST_RUN)
    if chunk & 0x4000:
        return [chunk >> shift & 3 for shift in range(12, -1, -2)]
    return [chunk >> shift & 1 for shift in range(13, -1, -1)]


def write_feedback(feedback: TransportFeedback) -> bytes:
    """What is behind the two SSRCs. Raises ValueError or struct.error for what cannot be said."""
    symbols = [_MISSING if d is None else _SMALL if 0 <= d <= 0xFF else _LARGE for d in feedback.deltas]
    deltas = b"".join(
        delta.to_bytes(symbol, signed=symbol == _LARGE)
        for delta, symbol in zip(feedback.deltas, symbols, strict=True)
        if delta is not None
    )
    chunks = list(_chunks(symbols))
    if not -0x800000 <= feedback.reference <= 0x7FFFFF or not 0 <= feedback.count <= 0xFF:
        raise ValueError("a reference time has 24 bits, and a count has eight")
    time = (feedback.reference & 0xFFFFFF) << 8 | feedback.count
    return struct.pack(f"!HHI{len(chunks)}H", feedback.first, len(symbols), time, *chunks) + deltas


def _chunks(symbols: Sequence[int]) -> Iterator[int]:
    """The statuses as chunks of 16 bits: runs where they are longer than what a chunk could say one by one."""
    at = 0
    while at < len(symbols):
        symbol = symbols[at]
        run = 1
        while run < _LONGEST_RUN and symbols[at + run : at + run + 1] == [symbol]:
            run += 1
        single = symbols[at : at + _ONE_BIT]
        if _LARGE in single:
            places, bits, kind = _TWO_BITS, 2, 0xC000
        else:
            places, bits, kind = _ONE_BIT, 1, 0x8000
        if run >= min(places, len(symbols) - at):
            yield symbol << 13 | run
            at += run
        else:
            chunk = 0
            for place in range(places):
                chunk = chunk << bits | (symbols[at + place] if at + place < len(symbols) else 0)
            yield kind | chunk
            at += places
