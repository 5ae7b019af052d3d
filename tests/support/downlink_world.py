"""A participant behind a simulated downlink: a queue that drains at a rate, a delay, and loss by chance.

The server's side is what runs in life, from the publisher's packets to SRTP; the receiver is a browser's behaviour in
small: it decrypts, asks for what is missing, and reports. Time passes in the simulation only, and chance has a seed.
"""

import heapq
import random
from collections.abc import Callable
from itertools import count
from typing import Final

from aiortc.rate import RemoteBitrateEstimator

from stun.address import Address
from tests.support.media_peer import MediaClient, connection
from tests.support.media_world import Encoder, entropy, header_of
from turnserver.media.cache import LossDetector
from turnserver.media.connection import Rtcp
from turnserver.media.forwarder import SEND_TIME
from turnserver.media.negotiation import ABS_SEND_TIME, AUDIO_LEVEL, FORMATS, PublishedMedia, SubscribedMedia
from turnserver.media.publisher import Publisher
from turnserver.media.room import MediaPeer, MediaRoom
from turnserver.media.rtcp import (
    Nack,
    Packet,
    Pli,
    ReceiverReport,
    Remb,
    ReportBlock,
    SenderReport,
    read_compound,
    write,
)
from turnserver.media.rtp import Header, Unwrapper, build_packet, find_extension
from turnserver.media.sdp import RtpStream
from turnserver.media.subscriber import Subscriber

__all__ = ["Downlink", "Viewer", "Watched"]

IDS: Final = {AUDIO_LEVEL: 13, ABS_SEND_TIME: 12}
"""The publisher's ids of header extensions."""

FRAMES: Final = 15
"""Pictures in a second."""

LEAST_WAIT: Final = 0.001
"""Seconds that a deadline waits at least, as in the edge."""

_HEADERS: Final = 28
"""Bytes of IPv4 and UDP around a datagram."""


class Downlink:
    """What a packet goes through. ``bits`` a second leave its queue, which takes ``queue`` seconds of that."""

    def __init__(self, seed: int = 1) -> None:
        self.bits: float | None = None
        self.queue = 0.6
        self.loss = 0.0
        self.delay = 0.02
        self.offered = self.dropped = 0
        """Bytes that were sent into it, and of these what its queue had no room for."""
        self._free = 0.0
        self._chance = random.Random(seed)

    def arrival(self, size: int, now: float) -> float | None:
        """When a datagram sent now arrives; None if it is lost."""
        self.offered += size
        leaves = now
        if self.bits is not None:
            begins = max(self._free, now)
            if begins - now > self.queue:
                self.dropped += size
                return None
            leaves = self._free = begins + size * 8 / self.bits
        if self._chance.random() < self.loss:
            return None
        return leaves + self.delay

    def waits(self, now: float) -> float:
        """Seconds that a datagram sent now would wait."""
        return max(self._free - now, 0.0)


class _Heard:
    """One stream as its receiver counts it (RFC 3550 appendix A.3)."""

    def __init__(self) -> None:
        self.unwrapper = Unwrapper()
        self.first = self.highest = -1
        self.received = 0
        self.numbers: set[int] = set()
        self.losses = LossDetector()
        self.report = (0, 0.0)
        self._before = (0, 0)

    def take(self, sequence: int, now: float) -> None:
        number = self.unwrapper.unwrap(sequence)
        self.first = number if self.first < 0 else self.first
        self.highest = max(self.highest, number)
        self.received += 1
        self.numbers.add(number)
        self.losses.received(number, now)

    def repaired(self, sequence: int, now: float) -> None:
        number = self.unwrapper.unwrap(sequence)
        self.numbers.add(number)
        self.losses.received(number, now)

    def block(self, ssrc: int, now: float) -> ReportBlock:
        expected, received = self.highest - self.first + 1, self.received
        span, got = expected - self._before[0], received - self._before[1]
        self._before = (expected, received)
        lost = max(span - got, 0)
        middle, at = self.report
        return ReportBlock(
            ssrc,
            min(lost * 256 // span, 255) if span > 0 else 0,
            max(expected - received, 0),
            self.highest & 0xFFFFFFFF,
            0,
            middle,
            int((now - at) * 65536) if middle else 0,
        )


class Viewer:
    """The receiving side of a browser; ``send`` takes its compound packets."""

    def __init__(self, subscriber: Subscriber, send: Callable[[bytes], None]) -> None:
        self.video: dict[int, _Heard] = {}
        self.audio: dict[int, _Heard] = {}
        self.repeated = 0
        self._subscriber = subscriber
        self._send = send
        self._estimator = RemoteBitrateEstimator()
        self._remb = 0
        self._told = 0
        self._told_at = 0.0

    def rtp(self, packet: bytes, header: Header, now: float) -> None:
        """Take a packet."""
        slots = self._subscriber.slots
        slot = next((s for s in slots if header.ssrc in {s.stream.ssrc, s.stream.rtx}), None)
        if slot is None:
            return
        if slot.kind == "audio":
            self.audio.setdefault(header.ssrc, _Heard()).take(header.sequence, now)
            return
        at = find_extension(packet, header, SEND_TIME)
        if at is not None:
            self._arrived(int.from_bytes(packet[at[0] : at[0] + 3]), len(packet), header.ssrc, now)
        if header.ssrc == slot.stream.ssrc:
            self.video.setdefault(header.ssrc, _Heard()).take(header.sequence, now)
        elif header.end - header.payload > 2:
            self.repeated += 1
            original = int.from_bytes(packet[header.payload : header.payload + 2])
            if slot.stream.ssrc in self.video:
                self.video[slot.stream.ssrc].repaired(original, now)

    def rtcp(self, packets: list[Packet], now: float) -> None:
        """Take reports of the server."""
        for packet in packets:
            if isinstance(packet, SenderReport):
                heard = self.video.get(packet.sender) or self.audio.get(packet.sender)
                if heard is not None:
                    heard.report = (packet.ntp >> 16 & 0xFFFFFFFF, now)

    def _arrived(self, sent: int, size: int, ssrc: int, now: float) -> None:
        found = self._estimator.add(int(now * 1000), sent, size, ssrc)
        if found is not None:
            self._remb = found[0]
            if now - self._told_at >= 1.0 or self._remb < self._told * 0.97:
                self._told, self._told_at = self._remb, now
                self._send(write([ReceiverReport(1), Remb(1, self._remb, ())]))

    def ask(self, now: float) -> None:
        """Ask for what is missing."""
        for ssrc, heard in self.video.items():
            missing = heard.losses.due(now)
            if missing:
                self._send(write([ReceiverReport(1), Nack(1, ssrc, [number & 0xFFFF for number in missing])]))
            if heard.losses.given_up:
                heard.losses.given_up = 0
                self._send(write([ReceiverReport(1), Pli(1, ssrc)]))

    def report(self, now: float) -> None:
        """Say what has arrived."""
        heard = {**self.video, **self.audio}
        if heard:
            self._send(write([ReceiverReport(1, tuple(each.block(ssrc, now) for ssrc, each in heard.items()))]))


class Watched:
    """Alice sends sound and a picture in two sizes, and Bob watches behind ``link``. `run` lets time pass."""

    def __init__(self, *, low: float = 120_000.0, high: float = 500_000.0, speaks: bool = True, seed: int = 1) -> None:
        self.now = 100.0
        self.link = Downlink(seed)
        self.extra = 0.0
        """Bit/s of somebody else through the same link."""
        self.speaks = speaks
        self._consent = 0.0
        self._counted = (0, 0)
        self._order = count()
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self.story: list[tuple[float, str | None, float, float]] = []
        """Twice a second: when, the layer that he is sent, the estimate, and bit/s that go into the link."""
        self.room = MediaRoom("r", 1, self.now, lambda fact: None)
        self.pc = connection(now=self.now)
        self.client = MediaClient(self.pc, Address.parse("192.0.2.1", 1000))
        self.client.meet()
        self.client.connect(self.now)
        self.alice, self.bob = (self.room.peers.setdefault(name, MediaPeer(name, name)) for name in ("alice", "bob"))
        self.publisher = self.alice.publisher = Publisher("alice", self.now)
        self.subscriber = Subscriber("bob", self.pc, entropy)
        self.room.subscribe(self.bob, self.subscriber)
        self.encoders = {"l": Encoder(600, height=180), "h": Encoder(700, height=360)}
        self.rates = {"l": low, "h": high}
        for encoder in self.encoders.values():
            encoder.extensions = {IDS[ABS_SEND_TIME]: bytes(3)}
        self._sound = 0
        self._chance = random.Random(seed + 1)
        streams = (RtpStream(600, 601), RtpStream(700, 701))
        sections = [
            PublishedMedia("0", "audio", FORMATS["opus"], None, IDS, (), (RtpStream(500),), "s", "a", True),
            PublishedMedia("1", "video", FORMATS["vp8"], 97, IDS, ("l", "h"), streams, "s", "v", True),
        ]
        self.room.publish(self.alice, *self.publisher.describe(sections, {}, self.now))
        offered = self.subscriber.offer()
        self.subscriber.answered([SubscribedMedia(o.mid, o.active, True, self._taken()) for o in offered])
        self.subscriber.connect(self.now)
        self.viewer = Viewer(self.subscriber, self._back)
        self._sent = 0
        for interval, task in (
            (0.025, self._tick),
            (1 / FRAMES, self._frame),
            (0.02, self._voice),
            (1.0, self._sender_reports),
            (0.02, lambda: self.viewer.ask(self.now)),
            (1.0, lambda: self.viewer.report(self.now)),
            (0.5, self._note),
            (0.01, self._somebody_else),
        ):
            self._every(interval, task)

    def _taken(self) -> dict[str, int]:
        return {ABS_SEND_TIME: SEND_TIME}

    # Time

    def at(self, when: float, task: Callable[[], None]) -> None:
        """Do something at a time."""
        heapq.heappush(self._events, (when, next(self._order), task))

    def _every(self, interval: float, task: Callable[[], None]) -> None:
        def again() -> None:
            task()
            self.at(self.now + interval, again)

        self.at(self.now + interval * (0.5 + self._chance.random() / 2), again)

    def run(self, seconds: float) -> None:
        """Let time pass."""
        end = self.now + seconds
        while True:
            due = self.pc.deadline
            if due is not None and due <= min(self._events[0][0], end):
                self.now = max(self.now + LEAST_WAIT, due)
                self.pc.expire(self.now)
            elif self._events[0][0] > end:
                break
            else:
                self.now, _, task = heapq.heappop(self._events)
                self.pc.wire.now = self.now
                task()
            self._flush()
        self.now = end

    # The server

    def _flush(self) -> None:
        for datagram, _ in self.pc.wire.take():
            arrival = self.link.arrival(len(datagram) + _HEADERS, self.now)
            if arrival is not None:
                self.at(arrival, lambda data=bytes(datagram): self._arrive(data))

    def _arrive(self, data: bytes) -> None:
        self.client.take(data, self.now)
        for packet in self.client.rtp:
            self.viewer.rtp(packet, header_of(packet), self.now)
        for packet in self.client.rtcp:
            self.viewer.rtcp(read_compound(packet), self.now)
        self.client.rtp.clear()
        self.client.rtcp.clear()

    def _back(self, compound: bytes) -> None:
        assert self.client.sender is not None
        protected = self.client.sender.protect_rtcp(compound)
        assert protected is not None
        self.at(self.now + self.link.delay, lambda: self._reported(protected))

    def _reported(self, protected: bytes) -> None:
        self.client.put(protected, self.now)
        events, self.pc.events = self.pc.events, []
        for event in events:
            if isinstance(event, Rtcp):
                self.room.requests(self.bob, event.packets, self.now)

    def _tick(self) -> None:
        if self.now >= self.room.due:
            self.room.tick(self.now)
        if self.now >= self._consent:
            self._consent = self.now + 5.0
            self.client.put(self.client.check(nominate=True), self.now)

    # The publisher

    def _give(self, packet: bytearray) -> None:
        self.room.packet(self.alice, packet, len(packet), header_of(packet), self.now)

    def _frame(self) -> None:
        (track,) = (each for each in self.publisher.tracks.values() if each.kind == "video")
        for rid, encoder in self.encoders.items():
            stream = track.streams.get(rid)
            key = stream is not None and stream.needs_keyframe(self.now)
            size = self.rates[rid] / 8 / FRAMES * self._chance.uniform(0.7, 1.3) * (4 if key else 1)
            packets = max(1, round(size / 1100))
            for packet in encoder.frame(key=key, packets=packets, size=int(size / packets) - 40):
                self._give(packet)

    def _voice(self) -> None:
        if not self.speaks:
            return
        self._sound += 1
        self._give(
            build_packet(
                payload_type=FORMATS["opus"].payload_type,
                sequence=self._sound & 0xFFFF,
                timestamp=self._sound * 960,
                ssrc=500,
                payload=bytes(60),
                extensions={IDS[AUDIO_LEVEL]: bytes([0x9E]), IDS[ABS_SEND_TIME]: bytes(3)},
            )
        )

    def _sender_reports(self) -> None:
        ntp = int(self.now * (1 << 32))
        reports = [SenderReport(e.ssrc, ntp, e.timestamp & 0xFFFFFFFF, 1, 1) for e in self.encoders.values()]
        reports.append(SenderReport(500, ntp, self._sound * 960, 1, 1))
        self.room.reports(self.alice, reports, self.now)

    # What is seen

    def _somebody_else(self) -> None:
        if self.extra:
            self.link.arrival(int(self.extra / 8 * 0.01), self.now)

    @property
    def rid(self) -> str | None:
        """The layer that Bob is sent."""
        return next(each.rid for each in self.subscriber.views() if each.source == "camera")

    def _note(self) -> None:
        offered, self._sent = self.link.offered - self._sent, self.link.offered
        estimate = self.subscriber.estimator.bitrate(self.now)
        self.story.append((round(self.now - 100, 1), self.rid, estimate, offered * 16))

    def forget(self) -> None:
        """Count the sound anew."""
        (heard,) = self.viewer.audio.values()
        self._counted = heard.highest - heard.first + 1, heard.received

    def missing(self) -> float:
        """Share of the sound that has not arrived."""
        (heard,) = self.viewer.audio.values()
        expected, received = heard.highest - heard.first + 1 - self._counted[0], heard.received - self._counted[1]
        return 1 - received / expected
