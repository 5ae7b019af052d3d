"""What a participant publishes: a track with one stream for each simulcast layer, and who gets which of them.

A stream counts what it has received, for reception reports; it notices what is missing and has it sent again (NACK);
and it asks for keyframes while somebody waits for one. It keeps the last packets, from which all receivers are served
that have lost one. What arrives is rewritten once for all receivers (the ids of header extensions are the same in all
of our offers), then for each in turn, where it lies.
"""

from collections.abc import Collection, Sequence
from typing import Final

from turnserver.media.cache import LossDetector, PacketCache
from turnserver.media.codecs import Codec
from turnserver.media.facts import TrackSource
from turnserver.media.forwarder import ArrivedPacket, Forwarder
from turnserver.media.layers import MAX_TEMPORAL, Quality, StreamRates, ladder
from turnserver.media.rtcp import ReportBlock, SenderReport
from turnserver.media.rtp import Header, Unwrapper
from turnserver.media.stats import Budget, LayerView, RateMeter, TrackView

__all__ = ["AUDIO_BITRATE", "KEYFRAME_AGAIN", "IncomingStream", "PublishedTrack"]

KEYFRAME_AGAIN: Final = 0.4
"""Seconds between two requests for a keyframe of one stream: an encoder needs a round trip and a frame or two."""

ALIVE: Final = 2.0
"""Seconds after its last packet for which a stream counts as being there. A screen that stands still sends a frame a
second."""

PATIENCE: Final = 4.0
"""Seconds for which a stream that has been asked for may be without a packet before it counts as not to be had."""

IDLE: Final = 1.5
"""Seconds for which a layer is still asked for when nobody takes it any more."""

AUDIO_BITRATE: Final = 256_000
"""Bit/s of sound that are forwarded of one track, with the headers of the network. Sound is never paused to make room
for anything, so there has to be an end to it; browsers send a tenth of that, and music in stereo half."""

AUDIO_BURST: Final = 1.0
"""Seconds of that which may come at once: what a publisher's network has held back."""

_HEADERS: Final = 48
"""Bytes of IPv4, UDP and SRTP around a packet, which count where packets are small."""


class IncomingStream:
    """One SSRC: a layer of a track. ``rid`` is empty without simulcast."""

    __slots__ = (
        "_expected_before",
        "_jitter",
        "_received_before",
        "_transit",
        "arrived",
        "base",
        "bitrate",
        "bitrates",
        "bytes",
        "cache",
        "codec",
        "forwarders",
        "height",
        "highest",
        "keyframe_asked",
        "losses",
        "meters",
        "nacks",
        "packets",
        "plis",
        "report",
        "report_at",
        "rid",
        "ssrc",
        "temporal_bytes",
        "unwrapper",
        "waiting",
    )

    def __init__(self, ssrc: int, rid: str, codec: Codec) -> None:
        self.ssrc = ssrc
        self.rid = rid
        self.codec = codec
        self.forwarders: list[Forwarder] = []
        """Receivers that get it."""
        self.waiting: list[Forwarder] = []
        """Receivers that are to get it from its next keyframe on."""
        self.cache = PacketCache()
        self.losses = LossDetector()
        self.unwrapper = Unwrapper(16)
        self.highest: int | None = None
        self.base = 0
        self.packets = self.bytes = self.nacks = self.plis = 0
        self.temporal_bytes = [0] * MAX_TEMPORAL
        self.meters = [RateMeter() for _ in range(MAX_TEMPORAL)]
        self.bitrate = 0.0
        """Bit/s with all temporal layers."""
        self.bitrates: tuple[float, ...] = (0.0,)
        """Bit/s up to each temporal layer that it has."""
        self.height = 0
        self.arrived: float | None = None
        self.keyframe_asked: float | None = None
        self.report: SenderReport | None = None
        self.report_at = 0.0
        self._transit: float | None = None
        self._jitter = 0.0
        self._expected_before = self._received_before = 0

    def receive(self, header: Header, size: int, now: float) -> int:
        """Count a packet; returns its number in 64 bits, or -1 if it has been here before."""
        index = self.unwrapper.unwrap(header.sequence)
        highest = self.highest
        if highest is None:
            self.highest = self.base = index
        elif index > highest:
            self.highest = index
        elif self.cache.get(header.sequence) is not None:
            return -1
        self.packets += 1
        self.bytes += size
        self.arrived = now
        transit = now * self.codec.clock_rate - header.timestamp
        if self._transit is not None:
            change = abs(transit - self._transit)
            if change < self.codec.clock_rate * 10:
                self._jitter += (change - self._jitter) / 16
        self._transit = transit
        return index

    def take_report(self, report: SenderReport, now: float) -> None:
        """The publisher's sender report: how its timestamps relate to its clock."""
        self.report, self.report_at = report, now

    def captured(self, timestamp: int) -> float | None:
        """Seconds on the publisher's clock at which this timestamp was taken; None without a sender report."""
        report = self.report
        if report is None:
            return None
        ahead = ((timestamp - report.timestamp + 0x80000000) & 0xFFFFFFFF) - 0x80000000
        return report.ntp / (1 << 32) + ahead / self.codec.clock_rate

    def reception(self, now: float) -> ReportBlock | None:
        """The block of a receiver report about it (RFC 3550 §6.4.1, appendix A.3); None before its first packet."""
        if self.highest is None:
            return None
        expected = self.highest - self.base + 1
        lost = max(expected - self.packets, 0)
        expected_now, received_now = expected - self._expected_before, self.packets - self._received_before
        self._expected_before, self._received_before = expected, self.packets
        missing = expected_now - received_now
        fraction = 0 if expected_now <= 0 or missing <= 0 else min(missing * 256 // expected_now, 255)
        last, delay = 0, 0
        if self.report is not None:
            last = self.report.ntp >> 16 & 0xFFFFFFFF
            # The time of a report is when its datagram came, which may be after the tick that was due began.
            delay = min(max(int((now - self.report_at) * 65536), 0), 0xFFFFFFFF)
        return ReportBlock(
            ssrc=self.ssrc,
            fraction_lost=fraction,
            packets_lost=min(lost, 0x7FFFFF),
            highest_sequence=self.highest & 0xFFFFFFFF,
            jitter=int(self._jitter) & 0xFFFFFFFF,
            last_report=last,
            delay=delay,
        )

    def is_alive(self, now: float) -> bool:
        """Whether it arrives."""
        return self.arrived is not None and now - self.arrived < ALIVE

    def needs_keyframe(self, now: float) -> bool:
        """Whether to ask for a keyframe now: somebody waits for one, and it has not been asked for just before."""
        if not self.waiting or (self.keyframe_asked is not None and now - self.keyframe_asked < KEYFRAME_AGAIN):
            return False
        self.keyframe_asked = now
        self.plis += 1
        return True

    def sample(self, now: float) -> None:
        """Measure the rates. One that does not arrive keeps those that it had: it would have them again."""
        if not self.is_alive(now):
            return
        total, sums = 0.0, []
        for meter, count in zip(self.meters, self.temporal_bytes, strict=True):
            meter.sample(count, now)
            total += meter.bitrate
            sums.append(total)
        while len(sums) > 1 and sums[-1] == sums[-2]:
            sums.pop()
        self.bitrate, self.bitrates = total, tuple(sums)


class PublishedTrack:
    """What one participant sends of one source, as ``layers``: the rids of its streams, the smallest picture first.

    Without simulcast there is one layer, whose rid is empty.
    """

    def __init__(
        self, peer: str, source: TrackSource, codec: Codec, mid: str, *, layers: Sequence[str] = (), now: float
    ) -> None:
        self.peer = peer
        self.source: TrackSource = source
        self.codec = codec
        self.mid = mid
        self.layers = tuple(layers) or ("",)
        self.muted = False
        """Whether it is muted at the server."""
        self.streams: dict[str, IncomingStream] = {}
        """The streams that have arrived, by rid."""
        self.targets: dict[Forwarder, str] = {}
        """Which layer each receiver is to get, by rid."""
        self.asked: dict[str, float] = dict.fromkeys(self.layers, now)
        """The layers that the publisher is asked to send, and since when."""
        self.surplus = 0
        """Packets of sound beyond `AUDIO_BITRATE`, which are not forwarded."""
        self._idle: dict[str, float] = {}
        self._sound = Budget(AUDIO_BITRATE / 8 * AUDIO_BURST, AUDIO_BITRATE / 8)

    @property
    def kind(self) -> str:
        """``audio`` or ``video``."""
        return self.codec.kind

    @property
    def name(self) -> str:
        """Its media stream's id: the peer, with ``.screen`` for a screen and its sound."""
        return f"{self.peer}.screen" if self.source.startswith("screen") else self.peer

    def stream(self, ssrc: int, rid: str) -> IncomingStream | None:
        """The stream of a layer, with a new SSRC if that has changed; None for a layer that was not negotiated."""
        if rid not in self.layers:
            return None
        known = self.streams.get(rid)
        if known is not None and known.ssrc == ssrc:
            return known
        fresh = self.streams[rid] = IncomingStream(ssrc, rid, self.codec)
        if known is not None:
            for forwarder in known.forwarders:
                forwarder.pause()
            fresh.waiting = list(dict.fromkeys(known.waiting + known.forwarders))
            known.waiting, known.forwarders = [], []
            known.cache.clear()  # receivers remember the stream, not what they could ask for of it
            fresh.height = known.height
        fresh.waiting += [f for f, target in self.targets.items() if target == rid and f not in fresh.waiting]
        return fresh

    def receive(
        self, stream: IncomingStream, packet: bytearray | memoryview, size: int, header: Header, now: float
    ) -> int:
        """Take a packet whose header extensions have our ids, and send it to its receivers; how many were sent."""
        index = stream.receive(header, size, now)
        if index < 0:
            return 0
        codec = self.codec
        audio = codec.kind == "audio"
        descriptor = None
        if not audio:
            if header.end > header.payload:
                descriptor = codec.read(packet, header)
                if descriptor is None:
                    return 0
                stream.temporal_bytes[min(descriptor.temporal, MAX_TEMPORAL - 1)] += size
                if descriptor.height:
                    stream.height = descriptor.height
            stream.cache.put(header.sequence, bytes(packet[:size]))
            stream.losses.received(index, now)
        elif self._allows(size, now):
            stream.temporal_bytes[0] += size
        else:
            return 0
        if self.muted or not (stream.forwarders or stream.waiting):
            return 0
        arrival = ArrivedPacket(bytearray(packet[:size]), size, header, index, descriptor)
        if stream.waiting and (audio or (descriptor is not None and descriptor.keyframe)):
            self._switch(stream, arrival, now)
        sent = 0
        for forwarder in stream.forwarders:
            out = forwarder.forward(arrival, now)
            if out is not None:
                forwarder.owner.send(out, audio=audio)
                sent += 1
        return sent

    def _allows(self, size: int, now: float) -> bool:
        """Whether a packet of sound is within `AUDIO_BITRATE`; takes it off the credit if so."""
        if self._sound.take(size + _HEADERS, now):
            return True
        self.surplus += 1
        return False

    def take(self, forwarder: Forwarder, rid: str, now: float) -> None:
        """A receiver is to get this layer from its next keyframe on, and goes on with what it has until then.

        If it has nothing and the layer does not arrive, it gets the best one below in the meantime.
        """
        self.targets[forwarder] = rid
        places = {rid}
        wanted = self.streams.get(rid)
        if forwarder.stream is None and (wanted is None or not wanted.is_alive(now)):
            order = (*self.layers[: self.layers.index(rid)][::-1], *self.layers)
            places.update([layer for layer in order if self._is_alive(layer, now)][:1])
        for stream in self.streams.values():
            waits = forwarder in stream.waiting
            if stream.rid in places and stream is not forwarder.stream:
                if not waits:
                    stream.waiting.append(forwarder)
            elif waits and stream is not forwarder.stream:
                stream.waiting.remove(forwarder)

    def release(self, forwarder: Forwarder) -> None:
        """A receiver is to get nothing."""
        self.targets.pop(forwarder, None)
        for stream in self.streams.values():
            if forwarder in stream.waiting:
                stream.waiting.remove(forwarder)
            if forwarder in stream.forwarders:
                stream.forwarders.remove(forwarder)
        forwarder.pause()

    def rates(self, now: float) -> list[StreamRates]:
        """What the allocation knows of its layers.

        One that does not arrive although it is asked for cannot be had; but if none arrives, the smallest may come.
        """
        known = []
        for rid in self.layers:
            stream = self.streams.get(rid)
            asked = self.asked.get(rid)
            available = self._is_alive(rid, now) or asked is None or now - asked < PATIENCE
            known.append(
                StreamRates((), 0, available)
                if stream is None
                else StreamRates(stream.bitrates, stream.height, available)
            )
        if not any(layer.available for layer in known):
            known[0] = known[0]._replace(available=True)
        return known

    def qualities(self, now: float) -> list[Quality]:
        """The ladder of all of its layers, as if each could be had."""
        return ladder([rates._replace(available=True) for rates in self.rates(now)])

    def ask(self, invited: Collection[str], now: float) -> tuple[str, ...] | None:
        """Which layers the publisher is to send from now on; None if that has not changed.

        Those are the ones that somebody gets or is to get, and those ``invited`` that are asked for and have not come:
        a browser begins with the smallest picture, and adds the others when its uplink carries them. What nobody takes
        is asked for a little longer, since receivers often come back to it.
        """
        needed = set(self.targets.values())
        needed.update(stream.rid for stream in self.streams.values() if stream.forwarders)
        needed.update(rid for rid in invited if rid in self.asked and not self._is_alive(rid, now))
        changed = False
        for rid in self.layers:
            if rid in needed:
                self._idle.pop(rid, None)
                if rid not in self.asked:
                    self.asked[rid] = now
                    changed = True
            elif rid in self.asked and now - self._idle.setdefault(rid, now) >= IDLE:
                del self.asked[rid], self._idle[rid]
                changed = True
        return tuple(rid for rid in self.layers if rid in self.asked) if changed else None

    def _is_alive(self, rid: str, now: float) -> bool:
        stream = self.streams.get(rid)
        return stream is not None and stream.is_alive(now)

    def mute(self, on: bool) -> None:
        """Forward nothing, or go on; receivers of a picture then wait for a keyframe."""
        if self.muted and not on:
            for stream in self.streams.values():
                for forwarder in stream.forwarders:
                    forwarder.pause()  # else it would seem to have what it waits for
                stream.waiting += stream.forwarders
                stream.forwarders = []
        self.muted = on

    def view(self) -> TrackView:
        """What statistics say of it."""
        layers = [
            LayerView(
                stream.rid,
                stream.bitrate,
                stream.height,
                stream.packets,
                stream.losses.lost,
                stream.nacks,
                stream.plis,
            )
            for stream in self.streams.values()
        ]
        return TrackView(self.source, self.codec.name, self.muted, tuple(layers))

    def _switch(self, stream: IncomingStream, arrival: ArrivedPacket, now: float) -> None:
        """A keyframe of a stream begins: whoever has waited for it gets it from here on."""
        waiting, stream.waiting = stream.waiting, []
        for forwarder in waiting:
            if self.targets.get(forwarder) not in {stream.rid, None} and forwarder.stream is not None:
                continue  # it stood in for the one that is wanted, and something else was there before it
            for before in self.streams.values():
                if forwarder in before.forwarders:
                    before.forwarders.remove(forwarder)
            forwarder.begin(stream, arrival, now)
            stream.forwarders.append(forwarder)
