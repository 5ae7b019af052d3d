"""The subscribe connection of a participant: what it is offered, what it is sent, and how much of it.

The connection has a media section for each track that others publish. Sections keep their place for good, so one whose
track has ended becomes inactive, and is used again by a later track of the same kind, if possible of the same codec,
once the participant has answered that; one that was never offered is used again at once. Offers are bounded: a track
that finds no section free waits for one, and sound does not wait for pictures. There is one offer at a time without an
answer; what changes meanwhile is in the next one.

All sound is sent. Of the pictures, `turnserver.media.router` says which are shown, and `turnserver.media.allocation`
which quality of each the downlink carries. Its estimate comes from the participant's reports; where a better quality
waits for a higher estimate, packets that are of no use otherwise try for it.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Final, Protocol

from turnserver.media.allocation import PAUSED, Allocator, PictureDemand, cost
from turnserver.media.bandwidth import DownlinkEstimator, Prober, RembEstimator
from turnserver.media.codecs import CODECS
from turnserver.media.forwarder import Forwarder, StreamIdentity
from turnserver.media.layers import EVERY_FRAME, Quality, best_for, ladder
from turnserver.media.negotiation import FORMATS, RTX_TYPES, OfferedMedia, SubscribedMedia
from turnserver.media.repair import Repair
from turnserver.media.router import Picture, ReceiverConstraints, choose
from turnserver.media.rtcp import Fir, Nack, Packet, Pli, ReceiverReport, Remb, SenderReport, SourceDescription, write
from turnserver.media.sdp import RtpStream
from turnserver.media.stats import Budget, ForwardingView, RateMeter
from turnserver.media.track import PublishedTrack

__all__ = ["MOST_SECTIONS", "Ladders", "MediaSink", "SubscribedSlot", "Subscriber"]

MOST_SECTIONS: Final = 76
"""Media sections: sound and a picture of 29 others, and screens of a third of them. More would not fit into the 56 KiB
of a description in signaling."""

_PICTURES: Final = 42
"""Sections of these that are for pictures; the others are for sound."""

PROBE_STEP: Final = 0.025
"""Seconds between two rounds of trial packets: less, and they would leave in bursts."""

SETTLING: Final = 0.1
"""Seconds from the end of a handshake here until something is sent. The other side has yet to receive the last flight
of it, and to say where its streams go: a keyframe before that would be lost."""

MOST_TRIED: Final = 10_000_000.0
"""Bit/s up to which trials go, for all that is sent together: what its publishers claim that it costs is no reason for
more, and so many pictures cover any screen."""

MOST_REPEATS: Final = 200
"""Packets that are looked for at once when a receiver asks for them again, and"""

REPEATS_PER_SECOND: Final = 1_000
"""in a second: every packet of 10 Mbit/s. A datagram can ask for thousands, and a receiver send thousands of these."""

KEYFRAMES: Final = 3
"""Keyframes of a picture that a receiver may ask for at once, and"""

KEYFRAME_INTERVAL: Final = 3.0
"""seconds for each further one: all others get them too, and they are ten times as large as other frames."""

_PACE: Final = 2.5
"""How much faster than the downlink's estimate a burst of video may leave: keyframes are not to come late."""

_AUDIO_BITRATE: Final = 32_000.0
"""Bit/s of a voice: somebody who is silent may begin to speak at any moment."""

_MOST_AUDIO: Final = 512_000.0
"""Bit/s of sound that pictures make room for: a dozen voices at once, or two with music. More is noise, and whoever
makes it does not get the others' pictures paused everywhere."""


Ladders = dict[PublishedTrack, list[Quality]]
"""The qualities of tracks at one time: the same for all of their receivers, of whom there may be thirty."""


class MediaSink(Protocol):
    """The connection of a receiver, as far as it is needed here; see `turnserver.media.connection.PeerConnection`."""

    def send_rtp(self, packet: bytearray, size: int, *, audio: bool = False) -> bool:
        """Send an RTP packet of ``size`` bytes, which stays the caller's."""

    def send_rtcp(self, packet: bytes) -> bool:
        """Send a compound RTCP packet."""

    def pace(self, bits: float) -> None:
        """How much video may leave in a second, in bits."""

    def purge(self, ssrcs: Collection[int]) -> None:
        """Drop what waits of these streams."""


class SubscribedSlot:
    """A media section: ``track`` is None once it has ended. ``live``: the participant has agreed to take it."""

    __slots__ = ("announced", "encoding", "forwarder", "keyframes", "live", "mid", "offered", "stream", "track")

    def __init__(self, mid: str, encoding: str, stream: RtpStream, forwarder: Forwarder, track: PublishedTrack) -> None:
        self.mid = mid
        self.encoding = encoding
        self.stream = stream
        self.forwarder = forwarder
        self.track: PublishedTrack | None = track
        self.announced = False
        """Whether the participant's last answer was to an offer with this track, or without any after it ended."""
        self.live = False
        self.keyframes = Budget(KEYFRAMES, 1 / KEYFRAME_INTERVAL)
        self.offered = False
        """Whether an offer had the present track, or the last one: if not, its end need not be answered."""

    @property
    def kind(self) -> str:
        """``audio`` or ``video``, which a section keeps."""
        return CODECS[self.encoding].kind


class Subscriber:
    """See the module. ``entropy`` gives random bytes. What it is sent goes to ``sink``."""

    def __init__(self, peer: str, sink: MediaSink, entropy: Callable[[int], bytes]) -> None:
        self.peer = peer
        self.sink = sink
        self.allocated = float("-inf")
        """When its pictures were chosen the last time, in monotonic seconds."""
        self.begins: float | None = None
        """From when on something is sent; None while the connection does not stand."""
        self.slots: list[SubscribedSlot] = []
        self.waiting: list[PublishedTrack] = []
        """Tracks for which there is no section yet."""
        self.constraints = ReceiverConstraints()
        self.estimator: DownlinkEstimator = RembEstimator()
        self.sent = RateMeter()
        self.bytes_out = 0
        """Bytes of all packets sent to it, trials and repetitions included."""
        self._entropy = entropy
        self._allocator = Allocator()
        self._prober = Prober()
        self._repeats = Budget(MOST_REPEATS, REPEATS_PER_SECOND)
        self._repair = Repair(self.estimator.bitrate(float("-inf")))
        self._extra = 0
        """Bytes of trials and repetitions among `bytes_out`, and"""
        self._media = RateMeter()
        """the rate of what is neither: its pace does not grow with what is sent again."""
        self._padding = 0.0
        self._debt = 0.0
        self._padded = float("-inf")
        self._by_ssrc: dict[int, SubscribedSlot] = {}
        self._by_forwarder: dict[Forwarder, SubscribedSlot] = {}
        self._heights: dict[str, int] = {}
        self._dirty = False
        self._pending: list[tuple[SubscribedSlot, PublishedTrack | None]] | None = None

    # Offers and answers

    @property
    def needs_offer(self) -> bool:
        """Whether something has changed that the participant has to be offered, and none waits for an answer."""
        return self._dirty and self._pending is None

    def add(self, track: PublishedTrack) -> None:
        """Somebody publishes a track; it is in the next offer, or in the first one that has a section for it."""
        if not self._place(track):
            self.waiting.append(track)

    def _place(self, track: PublishedTrack) -> bool:
        """Give a track a section; False if none is free."""
        encoding = track.codec.name
        found = self._free(track)
        if found is None:
            limit = MOST_SECTIONS - _PICTURES if track.kind == "audio" else _PICTURES
            if sum(slot.kind == track.kind for slot in self.slots) >= limit:
                return False
        stream = RtpStream(self._fresh_ssrc(), self._fresh_ssrc() if encoding in RTX_TYPES else None)
        identity = StreamIdentity(
            stream.ssrc, FORMATS[encoding].payload_type, stream.rtx or 0, RTX_TYPES.get(encoding, 0)
        )
        forwarder = Forwarder(self, track.codec, identity, self._entropy(6))
        if found is None:
            slot = SubscribedSlot(str(len(self.slots)), encoding, stream, forwarder, track)
            self.slots.append(slot)
        else:
            slot = found
            self._forget(slot)
            slot.encoding, slot.stream, slot.forwarder, slot.track = encoding, stream, forwarder, track
            slot.announced = slot.live = slot.offered = False
        self._by_ssrc[stream.ssrc] = slot
        self._by_forwarder[forwarder] = slot
        self._dirty = True
        return True

    def _free(self, track: PublishedTrack) -> SubscribedSlot | None:
        """The section that a track can have: of its codec before one that changes it (RFC 8829 §5.2.2)."""
        free = [s for s in self.slots if s.track is None and (s.announced or not s.offered) and s.kind == track.kind]
        return next((slot for slot in free if slot.encoding == track.codec.name), free[0] if free else None)

    def _place_waiting(self) -> None:
        """Sections have become free: whoever has waited longest gets them."""
        self.waiting = [track for track in self.waiting if not self._place(track)]

    def remove(self, track: PublishedTrack) -> None:
        """A track has ended."""
        if track in self.waiting:
            self.waiting.remove(track)
            return
        for slot in self.slots:
            if slot.track is track:
                track.release(slot.forwarder)
                self._purge(slot)
                slot.track, slot.live, slot.announced = None, False, False
                self._dirty = True
        self._place_waiting()

    def stop(self, track: PublishedTrack) -> None:
        """A track is muted at the server: what waits of it is not sent any more."""
        for slot in self.slots:
            if slot.track is track:
                self._purge(slot)

    def _purge(self, slot: SubscribedSlot) -> None:
        stream = slot.stream
        self.sink.purge((stream.ssrc,) if stream.rtx is None else (stream.ssrc, stream.rtx))

    def close(self) -> None:
        """The connection is gone: nobody sends to it any more."""
        for slot in self.slots:
            if slot.track is not None:
                slot.track.release(slot.forwarder)
        self.slots = []
        self.waiting = []
        self._by_ssrc.clear()
        self._by_forwarder.clear()
        self._pending = None

    def offer(self) -> list[OfferedMedia]:
        """All media sections, for an offer that is sent now."""
        self._dirty = False
        self._pending = [(slot, slot.track) for slot in self.slots]
        for slot in self.slots:
            slot.offered = slot.offered or slot.track is not None
        return [
            OfferedMedia(
                slot.mid,
                slot.encoding,
                slot.stream,
                "" if slot.track is None else slot.track.name,
                "" if slot.track is None else f"{slot.track.name}.{slot.track.kind}",
                "" if slot.track is None else slot.track.peer,
                active=slot.track is not None,
            )
            for slot in self.slots
        ]

    def answered(self, sections: Sequence[SubscribedMedia]) -> None:
        """The participant has answered the last offer; what it takes begins with the next `allocate`."""
        taken = {section.mid: section for section in sections}
        for slot, track in self._pending or ():
            if slot.track is not track:
                continue  # it has changed since, and is in the next offer
            slot.announced = True
            section = taken.get(slot.mid)
            if track is None or section is None or not section.active or slot.live:
                continue
            slot.live = True
            if not section.rtx:
                slot.forwarder.identity = slot.forwarder.identity._replace(rtx_ssrc=0)
        self._pending = None
        self._place_waiting()

    def _fresh_ssrc(self) -> int:
        while True:
            ssrc = int.from_bytes(self._entropy(4), "big")
            if ssrc > 1 and ssrc not in self._by_ssrc:
                return ssrc

    def _forget(self, slot: SubscribedSlot) -> None:
        self._by_ssrc.pop(slot.stream.ssrc, None)
        self._by_forwarder.pop(slot.forwarder, None)

    # What it gets

    @property
    def connected(self) -> bool:
        """Whether the connection stands."""
        return self.begins is not None

    def connect(self, now: float) -> None:
        """The connection stands."""
        self.begins = now + SETTLING

    def send(self, packet: bytearray, *, audio: bool) -> None:
        """Send a packet that a forwarder has made."""
        self.bytes_out += len(packet)
        self.sink.send_rtp(packet, len(packet), audio=audio)

    def allocate(self, speakers: Sequence[str], now: float, ladders: Ladders | None = None) -> None:
        """Begin the sound of new tracks, and choose the pictures and their qualities anew.

        ``ladders`` has those that were made at the same time for others, and gets the missing ones.
        """
        if self.begins is None or now < self.begins:
            return
        self.allocated = now
        for slot in self.slots:
            track = slot.track
            if slot.live and track is not None and track.kind == "audio" and slot.forwarder not in track.targets:
                track.take(slot.forwarder, track.layers[0], now)
        pictures = {
            slot.track.name: slot
            for slot in self.slots
            if slot.live and slot.track is not None and slot.track.kind == "video"
        }
        tracks = {name: slot.track for name, slot in pictures.items() if slot.track is not None}
        shown = choose(
            [Picture(name, track.peer, track.source == "screen") for name, track in tracks.items()],
            self.constraints,
            speakers,
        )
        self._heights = {each.source: each.height for each in shown}
        demands = []
        ladders = {} if ladders is None else ladders
        for each in shown:
            track = tracks[each.source]
            rungs = ladders.get(track)
            if rungs is None:
                rungs = ladders[track] = ladder(track.rates(now))
            demands.append(PictureDemand(each.source, rungs, best_for(rungs, each.height), each.priority))
        sending = self.sent.sample(self.bytes_out, now)
        estimate = self.estimator.bitrate(now)
        voices, silent = self._voices(now)
        least = max(self.estimator.least, estimate) - voices  # the smallest pictures do not wait for who is silent
        voices += silent
        chosen = self._allocator.allocate(demands, max(estimate - voices, 0.0), now, least=max(least, 0.0))
        if self._allocator.down_at == now:
            self._prober.congested(now)
        self._repair.limit(estimate, now)
        self.sink.pace(max(estimate, self._media.sample(self.bytes_out - self._extra, now)) * _PACE)
        for demand in demands:
            self._apply(pictures[demand.key], demand, chosen[demand.key], now)
        named = {demand.key for demand in demands}
        for name, slot in pictures.items():
            if name not in named:
                tracks[name].release(slot.forwarder)
        self._try(demands, estimate, voices, sending, now)

    def invited(self, track: PublishedTrack, rungs: Sequence[Quality]) -> set[str]:
        """The layers of a track that its tile's height makes sense of; ``rungs`` are its qualities."""
        height = self._heights.get(track.name, 0)
        return {track.layers[rung.stream] for rung in rungs[: best_for(rungs, height) + 1]}

    def _apply(self, slot: SubscribedSlot, demand: PictureDemand, rung: int, now: float) -> None:
        track, forwarder = slot.track, slot.forwarder
        if track is None:
            return
        if rung == PAUSED:
            track.release(forwarder)
            return
        quality = demand.rungs[rung]
        forwarder.wanted_temporal = quality.temporal
        track.take(forwarder, track.layers[quality.stream], now)

    def _voices(self, now: float) -> tuple[float, float]:
        """Bit/s of all sound, and of one more voice if somebody who can be heard is silent."""
        total = silent = 0.0
        for slot in self.slots:
            if slot.live and slot.track is not None and slot.track.kind == "audio" and not slot.track.muted:
                heard = sum(stream.bitrate for stream in slot.track.streams.values() if stream.is_alive(now))
                total += heard
                silent = max(silent, _AUDIO_BITRATE - heard)
        total = min(total, _MOST_AUDIO)
        return total, min(silent, _MOST_AUDIO - total)

    def _try(
        self, demands: Sequence[PictureDemand], estimate: float, voices: float, sending: float, now: float
    ) -> None:
        """Whether more is to be tried for, and how much."""
        wanted = voices + sum(cost(d, d.top) for d in demands)
        useful = sum(cost(d, self._allocator.chosen.get(d.key, PAUSED)) for d in demands)
        if not self.estimator.reported:
            self._padding = 0.0
            return
        own = min(sending, useful + voices) if sending else 0.0
        self._padding = self._prober.padding(estimate, own, min(wanted / Allocator.ROOM, MOST_TRIED), now)

    # Trials

    def padding(self, now: float) -> list[bytearray]:
        """Packets of a trial that are to be sent now."""
        if self._padding <= 0:
            self._debt = 0.0
            self._padded = now
            return []
        elapsed = min(now - self._padded, 2 * PROBE_STEP)
        self._padded = now
        self._debt += self._padding / 8 * max(elapsed, 0.0)
        packets: list[bytearray] = []
        carrier = next((s for s in self.slots if s.live and s.forwarder.stream is not None and s.stream.rtx), None)
        carrier = carrier or next((s for s in self.slots if s.live and s.stream.rtx), None)
        while carrier is not None and self._debt > 0:
            packet = carrier.forwarder.probe(now)
            if packet is None:
                break
            self._debt -= len(packet)
            self._extra += len(packet)
            packets.append(packet)
        return packets

    # What it reports

    def take_reports(self, packets: Iterable[Packet], now: float) -> list[bytearray]:
        """Take RTCP of the participant; what it is to be sent again."""
        again: list[bytearray] = []
        for packet in packets:
            match packet:
                case Nack():
                    slot = self._by_ssrc.get(packet.media)
                    if slot is not None and slot.track is not None:
                        again += self._repeated(slot.forwarder, packet.sequences, now)
                case Pli() | Fir():
                    self._keyframe(packet, now)
                case Remb():
                    self.estimator.remb(packet.bitrate, min(self.sent.bitrate, self.sent.newest), now)
                case SenderReport() | ReceiverReport():
                    self._reception(packet, now)
        return again

    def _repeated(self, forwarder: Forwarder, numbers: Sequence[int], now: float) -> list[bytearray]:
        """What is sent again of the packets that have these numbers: no more than the downlink has room for."""
        found = []
        numbers = numbers[: int(self._repeats.left(now))]
        self._repeats.take(len(numbers), now)
        for place, number in enumerate(numbers):
            if not self._repair.allows(now):
                forwarder.nacked += len(numbers) - place
                break
            packet = forwarder.repeat(number, now, self._repair.pause)
            if packet is not None:
                self._repair.spend(len(packet))
                self._extra += len(packet)
                found.append(packet)
        return found

    def _keyframe(self, packet: Pli | Fir, now: float) -> None:
        """The participant cannot go on without a keyframe: the stream that it gets is asked for one."""
        for ssrc in [packet.media] if isinstance(packet, Pli) else packet.ssrcs:
            slot = self._by_ssrc.get(ssrc)
            stream = None if slot is None else slot.forwarder.stream
            if slot is not None and stream is not None and slot.forwarder not in stream.waiting:
                if not slot.keyframes.take(1, now):
                    continue  # it asks again
                stream.waiting.append(slot.forwarder)

    def _reception(self, report: SenderReport | ReceiverReport, now: float) -> None:
        """What has been lost of the pictures, and what is late."""
        weights = losses = late = 0.0
        for block in report.blocks:
            slot = self._by_ssrc.get(block.ssrc)
            if slot is None or slot.track is None:
                continue
            self._repair.answered(block, now)
            late = max(late, slot.forwarder.overdue(block.highest_sequence & 0xFFFF, now))
            if slot.track.kind == "video":
                stream = slot.forwarder.stream
                weight = 1.0 if stream is None else 1.0 + stream.bitrate
                weights += weight
                losses += weight * block.fraction_lost / 256
        if self._repair.queued:
            self._prober.congested(now)  # a trial would only make the queue longer
        if report.blocks:
            self.estimator.report(losses / weights if weights else 0.0, late, self.sent.bitrate, now)

    def relate(self, forwarder: Forwarder, report: SenderReport, now: float) -> None:
        """Send the publisher's report in the numbers of this receiver, with the canonical name (CNAME)."""
        slot = self._by_forwarder.get(forwarder)
        own = forwarder.sender_report(report)
        if slot is not None and slot.track is not None and own is not None:
            self._repair.reported(own, now)
            self.sink.send_rtcp(write([own, SourceDescription({own.sender: slot.track.peer})]))

    def views(self) -> tuple[ForwardingView, ...]:
        """What statistics say of what it gets."""
        return tuple(
            ForwardingView(
                slot.track.peer,
                slot.track.source,
                None if slot.forwarder.stream is None else slot.forwarder.stream.rid,
                min(slot.forwarder.temporal, EVERY_FRAME),
                slot.forwarder.packets,
                slot.forwarder.nacked,
                slot.forwarder.repeated,
            )
            for slot in self.slots
            if slot.track is not None
        )
