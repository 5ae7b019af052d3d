"""One track on its way to one receiver: a single continuous RTP stream, whichever layer it comes from.

The receiver sees one SSRC with consecutive sequence numbers, although layers have their own SSRCs, numbers and
timestamps, and frames of temporal layers are left out. The numbers of what is sent are those of what came in, less a
*shift*. A switch to another stream and every packet that is left out change the shift and begin an *era*. Eras are kept
for a while, so that packets which come late, and those which the receiver asks for again, get their right numbers.

Nothing that was sent is kept here: what is asked for again (NACK) is taken from the cache of the stream that it came
from, which all receivers share, and rewritten once more. It is sent as RTX (RFC 4588) with numbers of its own.

A switch happens on a keyframe only. The timestamps go on by the publisher's clock where its sender reports tell how the
streams' timestamps relate (RFC 3550 §6.4.1), else by the time that has passed.
"""

import struct
from bisect import bisect_right
from collections import deque
from typing import Final, NamedTuple, Protocol

from turnserver.media.cache import PacketCache, rtx
from turnserver.media.codecs import Codec, Descriptor, Shift
from turnserver.media.layers import EVERY_FRAME
from turnserver.media.negotiation import ABS_SEND_TIME, EXTENSION_IDS
from turnserver.media.repair import LEAST_PAUSE
from turnserver.media.rtcp import SenderReport
from turnserver.media.rtp import Header, build_packet, find_extension, read_header, seq_delta

__all__ = [
    "MOST_PADDING",
    "SEND_TIME",
    "ArrivedPacket",
    "Forwarder",
    "ForwarderOwner",
    "LayerStream",
    "StreamIdentity",
    "send_time",
    "stamp",
]

SEND_TIME: Final = EXTENSION_IDS[ABS_SEND_TIME]
"""The id of abs-send-time in what is sent."""

ERAS: Final = 256
"""Eras that are kept. Leaving out every other frame makes fifteen in a second; a NACK is about the last second."""

MOST_PADDING: Final = 255
"""Bytes of padding in one packet (RFC 3550 §5.1)."""

MARK_INTERVAL: Final = 0.1
"""Seconds between two packets of which the time of sending is kept,"""

MARKS: Final = 64
"""and how many these are: six seconds, more than a queue is long."""

REPEATS: Final = 512
"""Packets of which the time of the last repetition is kept."""

_CREDIT_SHARE: Final = 0.5
"""Bytes of repetitions for each byte sent. More than every third packet lost is no loss that repeating heals."""

_MOST_CREDIT: Final = 200_000
"""Bytes of repetitions at once: a lost keyframe of a large screen."""

_DOUBTFUL: Final = 1.0
"""Seconds by which the sender reports of two streams may disagree with the clock here: more, and they are wrong."""

_REST: Final = struct.Struct("!BHII").pack_into
"""What is behind the first byte: marker and payload type, sequence number, timestamp, SSRC (RFC 3550 §5.1)."""


def stamp(packet: bytearray | memoryview, header: Header, now: float) -> None:
    """Write the time of sending into a packet that has room for it (abs-send-time).

    Receivers estimate their downlink from it.
    """
    found = find_extension(packet, header, SEND_TIME) if header.extension else None
    if found is not None and found[1] == 3:
        packet[found[0] : found[0] + 3] = send_time(now)


def send_time(now: float) -> bytes:
    """Seconds in 6.18 bits, as abs-send-time has them."""
    return (int(now * 262144) & 0xFFFFFF).to_bytes(3, "big")


class ForwarderOwner(Protocol):
    """The receiver that a forwarder is for: `turnserver.media.subscriber.Subscriber`."""

    def send(self, packet: bytearray, *, audio: bool) -> None:
        """Send a packet that a forwarder has made, in memory that is used again after the call."""

    def relate(self, forwarder: "Forwarder", report: SenderReport, now: float) -> None:
        """Send the publisher's report about the stream that a forwarder takes from."""


class LayerStream(Protocol):
    """What a forwarder takes from: `turnserver.media.track.IncomingStream`."""

    rid: str
    cache: PacketCache
    waiting: list["Forwarder"]

    @property
    def bitrate(self) -> float:
        """Bit/s with all temporal layers."""

    def captured(self, timestamp: int) -> float | None:
        """Seconds on the publisher's clock at which this timestamp was taken; None if that is not known."""


class ArrivedPacket(NamedTuple):
    """A packet that has come in.

    ``memory`` is a copy, in which each forwarder makes its packet in turn. ``number`` is its number in 64 bits;
    ``descriptor`` is there for video, and says what its payload is.
    """

    memory: bytearray
    size: int
    header: Header
    number: int
    descriptor: Descriptor | None


class StreamIdentity(NamedTuple):
    """What the description of the receiver's connection says about a stream; ``rtx_ssrc`` is 0 without RTX."""

    ssrc: int
    payload_type: int
    rtx_ssrc: int = 0
    rtx_payload_type: int = 0


class _Era(NamedTuple):
    """From ``first`` on (as sent), numbers are those that came in from ``stream``, less ``shift``."""

    first: int
    shift: int
    stream: LayerStream
    ts_shift: int
    pictures: Shift | None


class Forwarder:
    """See the module. ``owner`` is the receiver. Its numbers begin with six ``random`` bytes (RFC 3550 §5.1)."""

    __slots__ = (
        "_credit",
        "_credited",
        "_eras",
        "_firsts",
        "_last_timestamp",
        "_marked",
        "_marks",
        "_newest",
        "_repeated",
        "_rewriter",
        "_rtx_next",
        "_sent_at",
        "_shift",
        "_ts_shift",
        "bytes",
        "codec",
        "identity",
        "last",
        "nacked",
        "owner",
        "packets",
        "repeated",
        "stream",
        "temporal",
        "wanted_temporal",
    )

    def __init__(self, owner: ForwarderOwner, codec: Codec, identity: StreamIdentity, random: bytes) -> None:
        self.owner = owner
        self.codec = codec
        self.identity = identity
        self.stream: LayerStream | None = None
        """What it is taken from; None while it is paused."""
        sequence = int.from_bytes(random[:2], "big") >> 1
        self.last = sequence + 0x10000
        """The highest number sent, in 64 bits; none is sent below."""
        self.temporal = self.wanted_temporal = EVERY_FRAME
        """The highest temporal layer that is let through, now and as soon as the receiver can take it."""
        self.packets = self.bytes = self.nacked = self.repeated = 0
        self._rewriter = codec.rewriter() if codec.rewriter is not None else None
        self._eras: list[_Era] = []
        self._firsts: list[int] = []
        self._newest = 0
        self._shift = 0
        self._ts_shift = 0
        self._last_timestamp = int.from_bytes(random[2:6], "big")
        self._sent_at: float | None = None
        self._marks: deque[tuple[int, float]] = deque(maxlen=MARKS)
        self._marked = float("-inf")
        self._rtx_next = self._last_timestamp & 0x7FFF
        self._repeated: dict[int, float] = {}
        self._credit = float(_MOST_CREDIT) / 4
        self._credited = 0

    # The way of packets

    def begin(self, stream: LayerStream, arrival: ArrivedPacket, now: float) -> None:
        """Take packets of ``stream`` from this one on."""
        index, timestamp = arrival.number, arrival.header.timestamp
        self.stream = stream
        self._newest = index - 1
        self._shift = index - (self.last + 1)
        self._ts_shift = (timestamp - self._continued(stream, timestamp, now)) & 0xFFFFFFFF
        if self._rewriter is not None and arrival.descriptor is not None:
            self._rewriter.switch(arrival.descriptor)
        self.temporal = self.wanted_temporal
        self._remember(self.last + 1)

    def pause(self) -> None:
        """Send nothing until `begin`."""
        self.stream = None
        self.temporal = EVERY_FRAME

    def forward(self, arrival: ArrivedPacket, now: float) -> bytearray | None:
        """The packet as the receiver is to get it; None if it is left out.

        It lies in the memory that came, in which the next forwarder makes another one: all of them write the same
        fields, whatever is there.
        """
        packet, size, header, index, descriptor = arrival
        if descriptor is not None:
            if self.temporal != self.wanted_temporal and descriptor.begins:
                self._change_temporal(descriptor)
            if descriptor.temporal > self.temporal:
                return self._leave_out(index, descriptor)
        if index > self._newest:
            self._newest = index
            self.last = number = index - self._shift
            if now - self._marked >= MARK_INTERVAL:
                self._marked = now
                self._marks.append((number, now))
            self._last_timestamp = timestamp = header.timestamp - self._ts_shift & 0xFFFFFFFF
            self._sent_at = now
            pictures = None
        else:
            era = self._era_of(index)
            if era is None:
                return None
            number, pictures = index - era.shift, era.pictures
            timestamp = header.timestamp - era.ts_shift & 0xFFFFFFFF
        identity, rewriter = self.identity, self._rewriter
        _REST(packet, 1, header.marker << 7 | identity.payload_type, number & 0xFFFF, timestamp, identity.ssrc)
        if rewriter is not None and descriptor is not None:
            rewriter.rewrite(packet, descriptor, pictures)
        self.packets += 1
        self.bytes += size
        return packet

    def _leave_out(self, index: int, descriptor: Descriptor) -> bytearray | None:
        """A packet above the temporal limit: an empty one takes its place if its number was kept free for it."""
        if index > self._newest:
            if self._rewriter is not None:
                self._rewriter.drop(descriptor)
            self._shift += 1
            self._newest = index  # numbers between, which have not come, keep their place: they may still come
            self._remember(index - self._shift + 1)
            return None
        era = self._era_of(index)
        return None if era is None else self._padding_packet(index - era.shift, self._last_timestamp)

    def _change_temporal(self, descriptor: Descriptor) -> None:
        """Down at once; up where a frame needs none of those that were left out. A frame begins."""
        wanted = self.wanted_temporal
        if wanted < self.temporal or descriptor.keyframe:
            self.temporal = wanted
        elif descriptor.sync and descriptor.temporal <= wanted:
            self.temporal = max(self.temporal, descriptor.temporal)

    def _padding_packet(self, number: int, timestamp: int) -> bytearray:
        identity = self.identity
        return build_packet(
            payload_type=identity.payload_type,
            sequence=number & 0xFFFF,
            timestamp=timestamp,
            ssrc=identity.ssrc,
            padding=1,
        )

    # Numbers

    def _remember(self, first: int) -> None:
        if self.stream is None:
            return
        pictures = None if self._rewriter is None else self._rewriter.shift
        era = _Era(first, self._shift, self.stream, self._ts_shift, pictures)
        if self._firsts and self._firsts[-1] == first:
            self._eras[-1] = era
            return
        self._eras.append(era)
        self._firsts.append(first)
        if len(self._eras) > ERAS:
            del self._eras[: ERAS // 4], self._firsts[: ERAS // 4]

    def _era_of(self, index: int) -> _Era | None:
        """The era that a late packet of the present stream belongs to; None if it is older than all of them."""
        for era in reversed(self._eras):
            if era.stream is not self.stream:
                return None
            if index - era.shift >= era.first:
                return era
        return None

    def _continued(self, stream: LayerStream, timestamp: int, now: float) -> int:
        """The timestamp to send in place of ``timestamp``, the first of another stream."""
        if self._sent_at is None:
            return self._last_timestamp
        rate = self.codec.clock_rate
        ahead = (now - self._sent_at) * rate
        before = self._eras[-1].stream if self._eras else None
        if before is stream:
            return timestamp - self._ts_shift & 0xFFFFFFFF
        then = None if before is None else before.captured(self._last_timestamp + self._ts_shift & 0xFFFFFFFF)
        captured = stream.captured(timestamp)
        if then is not None and captured is not None and abs(captured - then - (now - self._sent_at)) < _DOUBTFUL:
            ahead = (captured - then) * rate
        return self._last_timestamp + max(int(ahead), 1) & 0xFFFFFFFF

    # What the receiver asks for again

    def repeat(self, sequence: int, now: float, pause: float = LEAST_PAUSE) -> bytearray | None:
        """The packet with a number that the receiver has not got, as RTX; None if it cannot be had again.

        ``pause`` are seconds before the same packet is sent once more: NACKs for it cross with it that long.
        """
        self.nacked += 1
        number = self.last + seq_delta(sequence, self.last)
        at = bisect_right(self._firsts, number) - 1
        if number > self.last or at < 0 or now - self._repeated.get(number, float("-inf")) < pause:
            return None
        era = self._eras[at]
        kept = era.stream.cache.get(number + era.shift & 0xFFFF)
        if kept is None or not self._may_repeat(len(kept)):
            return None
        out = self._rewritten(kept, number, era)
        if out is None:
            return None
        self._credit -= len(kept)
        self._repeated.pop(number, None)
        self._repeated[number] = now
        if len(self._repeated) > REPEATS:
            del self._repeated[next(iter(self._repeated))]
        self.repeated += 1
        return self._as_rtx(out, number, now)

    def _may_repeat(self, size: int) -> bool:
        """Whether there is credit for so many bytes. It grows with what is sent, and that is counted only here."""
        self._credit = min(self._credit + (self.bytes - self._credited) * _CREDIT_SHARE, _MOST_CREDIT)
        self._credited = self.bytes
        return self._credit >= size

    def _rewritten(self, kept: bytes, number: int, era: _Era) -> bytearray | None:
        header = read_header(kept, len(kept))
        if header is None:
            return None
        out = bytearray(kept)
        kind = header.marker << 7 | self.identity.payload_type
        _REST(out, 1, kind, number & 0xFFFF, header.timestamp - era.ts_shift & 0xFFFFFFFF, self.identity.ssrc)
        if self._rewriter is not None:
            descriptor = self.codec.read(out, header)
            if descriptor is not None:
                self._rewriter.rewrite(out, descriptor, era.pictures)
        return out

    def _as_rtx(self, packet: bytearray, number: int, now: float) -> bytearray | None:
        identity = self.identity
        if not identity.rtx_ssrc:
            return None  # the same number twice would use the same keystream twice
        header = read_header(packet, len(packet))
        if header is not None:
            stamp(packet, header, now)
        self._rtx_next = self._rtx_next + 1 & 0xFFFF
        return rtx(
            packet,
            ssrc=identity.rtx_ssrc,
            payload_type=identity.rtx_payload_type,
            sequence=self._rtx_next,
            original=number & 0xFFFF,
        )

    def overdue(self, highest: int, now: float) -> float:
        """Seconds for which the oldest packet has been on the way whose number is above the highest one received."""
        number = self.last + seq_delta(highest, self.last)
        return next((now - sent for marked, sent in self._marks if marked > number), 0.0)

    def probe(self, now: float) -> bytearray | None:
        """A packet that tells the receiver nothing new, to try how much its downlink carries; None without RTX."""
        if not self.identity.rtx_ssrc:
            return None
        if self._eras:
            era = self._eras[-1]
            kept = era.stream.cache.get(self.last + era.shift & 0xFFFF)
            out = None if kept is None else self._rewritten(kept, self.last, era)
            if out is not None:
                return self._as_rtx(out, self.last, now)
        self._rtx_next = self._rtx_next + 1 & 0xFFFF
        return build_packet(
            payload_type=self.identity.rtx_payload_type,
            sequence=self._rtx_next,
            timestamp=self._last_timestamp,
            ssrc=self.identity.rtx_ssrc,
            padding=MOST_PADDING,
            extensions={SEND_TIME: send_time(now)},
        )

    # Reports

    def sender_report(self, report: SenderReport) -> SenderReport | None:
        """The publisher's report about the present stream, in this receiver's numbers; None before the first packet."""
        if self._sent_at is None:
            return None
        return SenderReport(
            sender=self.identity.ssrc,
            ntp=report.ntp,
            timestamp=report.timestamp - self._ts_shift & 0xFFFFFFFF,
            packets=self.packets & 0xFFFFFFFF,
            octets=self.bytes & 0xFFFFFFFF,
            blocks=(),
        )
