"""What is lost on the way, and how it comes again: packets that are kept, numbers that are asked for, and RTX.

Of each stream that comes in the last packets are kept, and all receivers that have lost one are served from there
(RFC 4585 §6.2.1). They get it as RTX (RFC 4588), a stream of its own: a sequence number that is sent twice would be
refused as a replay. What is missing of a stream that comes in is asked for in the same way.
"""

from collections import OrderedDict
from typing import Final

from turnserver.media.rtp import Header, PacketMemory, read_header

__all__ = ["LARGEST_KEPT", "MOST_KEPT", "MOST_MISSING", "LossDetector", "PacketCache", "original", "rtx"]

MOST_KEPT: Final = 512
"""Packets that are kept of a stream, a power of two: more than a second at 4 Mbit/s. Later a receiver has asked for a
keyframe, or shows the next one."""

LARGEST_KEPT: Final = 1_600
"""Bytes of a packet that is kept: more does not fit into an Ethernet frame. This bounds the memory of all."""

MOST_MISSING: Final = 256
"""Numbers of a stream that are asked for at a time. A NACK for all of them fits into a datagram, and where so much is
lost a keyframe is the shorter way."""

MOST_TRIES: Final = 8
"""Times that a number is asked for, and"""

PATIENCE: Final = 1.5
"""seconds after which it is given up: a picture that is so late is of no use in a call."""

REORDERING: Final = 0.01
"""Seconds that an overtaken packet has to come by itself."""

INITIAL_ROUND_TRIP: Final = 0.1
"""Seconds that a repetition has to come before it is asked for again, as long as nothing better is known."""

_OLD: Final = 0x4000
"""Numbers by which a packet may be late. One that is further behind is the first of a stream that begins anew."""

_LEAST_ROUND_TRIP: Final = 0.02
_MOST_ROUND_TRIP: Final = 0.5
"""Bounds in seconds: no question in each pass, and at least three before a number is given up."""


_WEIGHT: Final = 0.25
"""Share of the newest round trip in what is known of it."""


class PacketCache:
    """The last `MOST_KEPT` packets of a stream, by sequence number."""

    __slots__ = ("_newest", "_numbers", "_packets")

    def __init__(self) -> None:
        self._newest: int | None = None
        # A ring of places that are there from the beginning: half the time of a dictionary that forgets its oldest.
        self._numbers = [-1] * MOST_KEPT
        self._packets = [b""] * MOST_KEPT

    def put(self, sequence: int, packet: bytes) -> None:
        """Keep a packet, in the place of the one `MOST_KEPT` numbers before; not if it is too large, or if
        it is so late that a newer one has its place."""
        newest = self._newest
        behind = 0 if newest is None else newest - sequence & 0xFFFF
        if MOST_KEPT <= behind < _OLD or len(packet) > LARGEST_KEPT:
            return
        if not 0 < behind < MOST_KEPT:
            self._newest = sequence
        at = sequence % MOST_KEPT
        self._numbers[at] = sequence
        self._packets[at] = packet

    def clear(self) -> None:
        """Forget all packets."""
        self._newest = None
        self._numbers = [-1] * MOST_KEPT
        self._packets = [b""] * MOST_KEPT

    def get(self, sequence: int) -> bytes | None:
        """The packet with this number; None if it is not kept, or not any more."""
        at = sequence % MOST_KEPT
        return self._packets[at] if self._numbers[at] == sequence else None


class _Missing:
    """A number that has not come: when it was missed, when to ask for it, how often that was done; in seconds."""

    __slots__ = ("ask_at", "asked", "since", "tries")

    def __init__(self, since: float) -> None:
        self.since = self.asked = since
        self.ask_at = since + REORDERING
        self.tries = 0


class LossDetector:
    """Which numbers of a stream are missing, and when to ask for them.

    ``round_trip`` is how long a repetition takes, in seconds: as long as those that came after one request. ``lost``
    counts numbers that were missed, ``recovered`` those that came after all, ``given_up`` those that are not asked for
    any more.
    """

    __slots__ = ("_missing", "_newest", "given_up", "lost", "recovered", "round_trip")

    def __init__(self) -> None:
        self.round_trip = INITIAL_ROUND_TRIP
        self.lost = self.recovered = self.given_up = 0
        self._newest: int | None = None
        self._missing: OrderedDict[int, _Missing] = OrderedDict()

    def __len__(self) -> int:
        return len(self._missing)

    def received(self, number: int, now: float) -> None:
        """A packet has come; its number is one of those that do not begin again."""
        newest = self._newest
        if newest is None or number == newest + 1:
            self._newest = number
        elif number > newest:
            self._miss(newest + 1, number, now)
            self._newest = number
        elif (missing := self._missing.pop(number, None)) is not None:
            self.recovered += 1
            if missing.tries == 1:  # after several requests it is not known which of them it answers
                self.round_trip += (now - missing.asked - self.round_trip) * _WEIGHT

    def _miss(self, first: int, behind: int, now: float) -> None:
        self.lost += behind - first
        start = max(first, behind - MOST_MISSING)
        self.given_up += start - first
        for number in range(start, behind):
            self._missing[number] = _Missing(now)
        while len(self._missing) > MOST_MISSING:
            self._missing.popitem(last=False)
            self.given_up += 1

    def due(self, now: float) -> list[int]:
        """The numbers to ask for now, in their order. They are due again after a round trip."""
        asked: list[int] = []
        over: list[int] = []
        wait = min(max(self.round_trip, _LEAST_ROUND_TRIP), _MOST_ROUND_TRIP)
        for number, missing in self._missing.items():
            if missing.ask_at > now:
                continue
            if missing.tries == MOST_TRIES or now - missing.since > PATIENCE:
                over.append(number)
                continue
            missing.tries += 1
            missing.asked, missing.ask_at = now, now + wait
            asked.append(number)
        for number in over:
            del self._missing[number]
        self.given_up += len(over)
        return asked


def rtx(packet: bytearray, *, ssrc: int, payload_type: int, sequence: int, original: int) -> bytearray:
    """Make a packet a retransmission of itself (RFC 4588 §4), in place: it is two bytes longer, and returned.

    ``original`` is the sequence number that the receiver has missed. Raises ValueError if it is no RTP packet.
    """
    header = read_header(packet, len(packet))
    if header is None:
        raise ValueError("only an RTP packet can be sent again")
    packet[header.payload : header.payload] = original.to_bytes(2)
    packet[1] = packet[1] & 0x80 | payload_type
    packet[2:4] = sequence.to_bytes(2)
    packet[8:12] = ssrc.to_bytes(4)
    return packet


def original(
    packet: PacketMemory, size: int, header: Header, *, ssrc: int, payload_type: int
) -> tuple[bytearray, Header] | None:
    """The packet that an RTX packet of ``size`` bytes repeats (RFC 4588 §4), under ``ssrc``; None for padding."""
    if header.end - header.payload <= 2:
        return None
    whole = bytearray(packet[: header.payload]) + packet[header.payload + 2 : size]
    whole[1] = whole[1] & 0x80 | payload_type
    whole[2:4] = packet[header.payload : header.payload + 2]
    whole[8:12] = ssrc.to_bytes(4)
    read = read_header(whole, len(whole))
    return None if read is None else (whole, read)
