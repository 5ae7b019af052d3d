"""The publish connection of a participant: which packet belongs to which track, and what the publisher is told.

A packet is told apart by its SSRC. Where the description does not name it, as with simulcast, its first packets carry
the ids of the media section and of the layer (RFC 9143 §9.2, RFC 8852). Nothing is guessed: a packet that cannot be
told is dropped, and so is one with a payload type that was not agreed on. Retransmissions (RFC 4588) become the packets
that they repeat.

The publisher is told what has arrived when (transport-wide feedback, for its own estimate of its uplink), what is
missing, from which picture on somebody waits, and statistics.
"""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from turnserver.media.cache import original
from turnserver.media.codecs import CODECS
from turnserver.media.facts import TrackSource
from turnserver.media.forwarder import stamp
from turnserver.media.negotiation import (
    AUDIO_LEVEL,
    EXTENSION_IDS,
    MID,
    REPAIRED_RID,
    RID,
    TRANSPORT_CC,
    PublishedMedia,
)
from turnserver.media.rtcp import Nack, Packet, Pli, ReceiverReport, Remb, SenderReport, TransportFeedback
from turnserver.media.rtp import Header, Unwrapper, find_extension, renumber_extensions
from turnserver.media.track import IncomingStream, PublishedTrack

__all__ = ["MOST_TRACKS", "Publisher"]

MOST_TRACKS: Final = 8
"""Tracks of a participant: microphone, camera, screen and its sound, and some that have ended before."""

MOST_ROUTES: Final = 64
"""SSRCs that are told apart between two descriptions: three layers of two pictures with RTX are twelve, and a browser
that begins anew brings others. An SSRC whose place another one has taken counts, and is not taken again."""

FEEDBACK_INTERVAL: Final = 0.1
"""Seconds between two transport-wide reports (draft-holmer-rmcat-transport-wide-cc-extensions-01 §3)."""

REPORT_INTERVAL: Final = 1.0
"""Seconds between two receiver reports: what browsers send for video."""

MOST_ARRIVALS: Final = 2000
"""Arrivals of one report: a tenth of a second at 200 Mbit/s."""

UPLINK: Final = 2_500_000.0
"""Bit/s that a publisher without transport-wide feedback is told that it may send: three layers of a camera. Its
losses, which receiver reports tell, slow it down before."""

OUR_SSRC: Final = 1
"""The SSRC of whoever sends nothing, in reports (as libwebrtc has it)."""


class _Route(NamedTuple):
    """Where packets of an SSRC go; ``repeats`` says that they are RTX."""

    track: PublishedTrack
    stream: IncomingStream
    repeats: bool


class _Section(NamedTuple):
    """A media section with its track; ``mapping`` are our ids of header extensions by the publisher's, 0 for none."""

    media: PublishedMedia
    track: PublishedTrack
    mapping: bytes


class Publisher:
    """See the module. ``peer`` is the participant."""

    def __init__(self, peer: str, now: float) -> None:
        self.peer = peer
        self.tracks: dict[str, PublishedTrack] = {}
        """By media section (mid)."""
        self.unknown = 0
        """Packets that belong to nothing that was agreed on."""
        self._level: int | None = None
        self._sections: dict[str, _Section] = {}
        self._routes: dict[int, _Route] = {}
        self._retired: set[int] = set()
        """SSRCs in whose place there is another one."""
        self._extensions: dict[str, int] = {}
        self._arrivals: list[tuple[int, float]] = []
        self._wide = Unwrapper(16)
        self._latest = 0
        self._feedback_number = 0
        self._feedback_at = self._report_at = now

    # What was agreed on

    def describe(
        self, sections: Sequence[PublishedMedia], sources: Mapping[str, TrackSource], now: float
    ) -> tuple[list[PublishedTrack], list[PublishedTrack]]:
        """The publisher has offered; returns the tracks that are new, and those that have ended.

        ``sources`` says what the media sections carry, by mid; one that is not named is the microphone or the camera.
        """
        before = dict(self.tracks)
        self._sections.clear()
        self._extensions = {}
        self.tracks = {}
        for media in sections:
            if not media.active or len(self.tracks) >= MOST_TRACKS:
                continue
            self._extensions = {**media.extensions, **self._extensions}
            source = _source(media, sources)
            if any(track.source == source for track in self.tracks.values()):
                continue
            track = before.get(media.mid)
            if track is None or not _same(track, media, source):
                track = PublishedTrack(
                    self.peer, source, CODECS[media.format.encoding], media.mid, layers=media.rids, now=now
                )
            self.tracks[media.mid] = track
            self._sections[media.mid] = _Section(media, track, _mapping(media))
        kept = {id(track) for track in self.tracks.values()}
        self._routes = {ssrc: route for ssrc, route in self._routes.items() if id(route.track) in kept}
        self._retired.clear()
        self._name_streams()
        old = {id(track) for track in before.values()}
        fresh = [track for track in self.tracks.values() if id(track) not in old]
        return fresh, [track for track in before.values() if id(track) not in kept]

    def _name_streams(self) -> None:
        """Streams whose SSRCs the description names; layers are in the order of their rids."""
        for section in self._sections.values():
            media, track = section.media, section.track
            if media.rids and len(media.streams) != len(media.rids):
                continue
            for described, rid in zip(media.streams, track.layers, strict=False):
                stream = track.stream(described.ssrc, rid)
                if stream is None or described.ssrc in self._routes:
                    continue
                self._retire(track)
                self._route(described.ssrc, _Route(track, stream, False))
                if described.rtx is not None:
                    self._route(described.rtx, _Route(track, stream, True))

    # Media

    def receive(self, packet: bytearray | memoryview, size: int, header: Header, now: float) -> int:
        """Take a packet, which is changed, and send it to its receivers; how many were sent."""
        wide = self._extensions.get(TRANSPORT_CC)
        if wide:
            at = find_extension(packet, header, wide)
            if at is not None and at[1] >= 2 and len(self._arrivals) < MOST_ARRIVALS:
                number = packet[at[0]] << 8 | packet[at[0] + 1]
                self._arrivals.append((self._wide.unwrap(number), now))
                self._latest = header.ssrc
        route = self._routes.get(header.ssrc) or self._tell(packet, header)
        section = None if route is None else self._sections.get(route.track.mid)
        if route is None or section is None:
            self.unknown += 1
            return 0
        media = section.media
        if route.repeats:
            if header.payload_type != media.rtx:
                return 0
            again = original(packet, size, header, ssrc=route.stream.ssrc, payload_type=media.format.payload_type)
            if again is None:
                return 0
            packet, header = again
            size = len(packet)
        elif header.payload_type != media.format.payload_type:
            self.unknown += 1
            return 0
        track = route.track
        if track.source == "audio":
            self._level = _level(packet, header, media)
        if header.extension:
            renumber_extensions(packet, header, section.mapping)
            stamp(packet, header, now)
        return track.receive(route.stream, packet, size, header, now)

    def take_level(self) -> int | None:
        """The level of the microphone in the last packet, in dB below the loudest (RFC 6464); None if it has none."""
        level, self._level = self._level, None
        return level

    def _tell(self, packet: bytearray | memoryview, header: Header) -> _Route | None:
        """Tell a new SSRC by the ids in its header, or by a payload type that only one section has."""
        mid = self._text(packet, header, MID) or self._only(header.payload_type)
        section = self._sections.get(mid)
        if section is None or header.ssrc in self._retired or self._is_full:
            return None
        media, track = section.media, section.track
        repeats = header.payload_type == media.rtx
        if not repeats and header.payload_type != media.format.payload_type:
            return None
        rid = self._text(packet, header, REPAIRED_RID if repeats else RID) if media.rids else ""
        if repeats:
            stream = track.streams.get(rid)
        elif media.rids or not media.streams:
            stream = track.stream(header.ssrc, rid)
            self._retire(track)
        else:
            return None  # the description has named its SSRCs, and this is none of them
        return None if stream is None else self._route(header.ssrc, _Route(track, stream, repeats))

    def _only(self, payload_type: int) -> str:
        """The section of a payload type, if only one section has it."""
        found = [
            mid
            for mid, section in self._sections.items()
            if payload_type in {section.media.format.payload_type, section.media.rtx}
        ]
        return found[0] if len(found) == 1 else ""

    def _retire(self, track: PublishedTrack) -> None:
        """Take nothing more under SSRCs of streams that another one has taken the place of."""
        for ssrc, route in list(self._routes.items()):
            if route.track is track and track.streams.get(route.stream.rid) is not route.stream:
                del self._routes[ssrc]
                self._retired.add(ssrc)

    @property
    def _is_full(self) -> bool:
        return len(self._routes) + len(self._retired) >= MOST_ROUTES

    def _route(self, ssrc: int, route: _Route) -> _Route | None:
        if self._is_full:
            return None
        self._routes[ssrc] = route
        return route

    def _text(self, packet: bytearray | memoryview, header: Header, uri: str) -> str:
        number = self._extensions.get(uri)
        at = find_extension(packet, header, number) if number else None
        if at is None:
            return ""
        return bytes(packet[at[0] : at[0] + at[1]]).decode("ascii", "replace")

    # What the publisher is told

    def reports(self, packets: Sequence[Packet], now: float) -> list[tuple[IncomingStream, SenderReport]]:
        """Take RTCP of the publisher; its sender reports with the streams that they are about."""
        found: dict[IncomingStream, SenderReport] = {}  # one a stream: each is sent on to everybody
        for packet in packets:
            if isinstance(packet, SenderReport):
                route = self._routes.get(packet.sender)
                if route is not None and not route.repeats:
                    found[route.stream] = packet
        for stream, report in found.items():
            stream.take_report(report, now)
        return list(found.items())

    def feedback(self, now: float) -> list[Packet]:
        """What the publisher is to be told now."""
        packets: list[Packet] = []
        for track in self.tracks.values():
            for stream in track.streams.values():
                if track.kind == "video":
                    missing = stream.losses.due(now)
                    if missing:
                        stream.nacks += len(missing)
                        packets.append(Nack(OUR_SSRC, stream.ssrc, [index & 0xFFFF for index in missing]))
                    if stream.needs_keyframe(now):
                        packets.append(Pli(OUR_SSRC, stream.ssrc))
        if self._arrivals and now - self._feedback_at >= FEEDBACK_INTERVAL:
            self._feedback_at = now
            packets.append(self._wide_feedback())
        if now - self._report_at >= REPORT_INTERVAL:
            self._report_at = now
            packets += self._reception(now)
        return packets

    def _wide_feedback(self) -> TransportFeedback:
        arrivals, self._arrivals = self._arrivals, []
        number = self._feedback_number
        self._feedback_number = number + 1 & 0xFF
        # A report about an SSRC that is none of the sender's is ignored, although it is about all of them.
        return TransportFeedback.of(OUR_SSRC, self._latest, number, dict(arrivals))

    def _reception(self, now: float) -> list[Packet]:
        streams = [stream for track in self.tracks.values() for stream in track.streams.values()]
        blocks = [block for stream in streams if (block := stream.reception(now)) is not None][:31]
        packets: list[Packet] = [ReceiverReport(OUR_SSRC, tuple(blocks))] if blocks else []
        video = [s.ssrc for track in self.tracks.values() if track.kind == "video" for s in track.streams.values()]
        if video and TRANSPORT_CC not in self._extensions:
            packets.append(Remb(OUR_SSRC, int(UPLINK), tuple(video)))
        return packets


def _source(media: PublishedMedia, sources: Mapping[str, TrackSource]) -> TrackSource:
    named = sources.get(media.mid)
    if media.kind == "audio":
        return named if named in {"audio", "screen_audio"} else "audio"
    return named if named in {"camera", "screen"} else "camera"


def _same(track: PublishedTrack, media: PublishedMedia, source: TrackSource) -> bool:
    """Whether a section still is what it was: the same source in the same codec and layers."""
    return (track.source, track.codec.name, track.layers) == (source, media.format.encoding, media.rids or ("",))


def _mapping(media: PublishedMedia) -> bytes:
    table = bytearray(256)
    for uri, number in media.extensions.items():
        table[number] = EXTENSION_IDS.get(uri, 0)
    return bytes(table)


def _level(packet: bytearray | memoryview, header: Header, media: PublishedMedia) -> int | None:
    number = media.extensions.get(AUDIO_LEVEL)
    at = find_extension(packet, header, number) if number else None
    return None if at is None else packet[at[0]] & 0x7F
