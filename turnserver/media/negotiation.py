"""What the SFU agrees on (RFC 8829): the answer to a publisher's offer, and the offer to who watches.

A participant has two connections, so that what others do never disturbs what it sends. On the first it offers its
sound and pictures, and the answer takes of each what can be forwarded to everybody. On the second the SFU offers, with
the same payload types and extension ids for all.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from turnserver.media.sdp import (
    LocalTransport,
    MediaDescription,
    PayloadFormat,
    RtpStream,
    SectionKind,
    SessionDescription,
    write_description,
)

__all__ = [
    "ABS_SEND_TIME",
    "AUDIO_LEVEL",
    "ENCODINGS",
    "EXTENSION_IDS",
    "FORMATS",
    "MID",
    "MOST_LAYERS",
    "REPAIRED_RID",
    "RID",
    "RTX_TYPES",
    "TRANSPORT_CC",
    "OfferedMedia",
    "PublishedMedia",
    "SubscribedMedia",
    "answer_publisher",
    "offer_to_subscriber",
    "read_subscriber",
]

MID: Final = "urn:ietf:params:rtp-hdrext:sdes:mid"
"""RFC 9143 §14."""

RID: Final = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id"
REPAIRED_RID: Final = "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id"
"""RFC 8852 §3."""

AUDIO_LEVEL: Final = "urn:ietf:params:rtp-hdrext:ssrc-audio-level"
"""RFC 6464 §5."""

ABS_SEND_TIME: Final = "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time"
TRANSPORT_CC: Final = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"

EXTENSION_IDS: Final[Mapping[str, int]] = {
    AUDIO_LEVEL: 1,
    ABS_SEND_TIME: 2,
    TRANSPORT_CC: 3,
}
"""The ids on every subscriber's connection."""

ENCODINGS: Final = ("opus", "vp8", "vp9", "h264", "av1")
"""What can be forwarded, the preferred first. Every browser decodes VP8, and needs no licence for it."""

_VIDEO_FEEDBACK: Final = ("goog-remb", "transport-cc", "ccm fir", "nack", "nack pli")
_OPUS_PARAMETERS: Final = "minptime=10;useinbandfec=1;usedtx=1"
"""Wanted of the sender (RFC 7587 §6.1): redundancy against loss, and hardly any packets in silence."""

FORMATS: Final[Mapping[str, PayloadFormat]] = {
    each.encoding: each
    for each in (
        PayloadFormat(111, "opus", 48_000, 2, _OPUS_PARAMETERS),
        PayloadFormat(96, "vp8", 90_000),
        PayloadFormat(98, "vp9", 90_000, 1, "profile-id=0"),
        PayloadFormat(102, "h264", 90_000, 1, "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f"),
        PayloadFormat(45, "av1", 90_000),
    )
}
"""The payload types on every subscriber's connection, by encoding."""

MOST_LAYERS: Final = 4
"""Layers that are taken of one picture. Browsers send three at most, and of each the last packets are kept."""

RTX_TYPES: Final[Mapping[str, int]] = {"vp8": 97, "vp9": 99, "h264": 103, "av1": 46}
"""The payload types of their RTX there."""


@dataclass(frozen=True, slots=True)
class PublishedMedia:
    """What a publisher sends in one media section: payload types, ids and SSRCs are the publisher's.

    ``streams`` is empty when only rids name the streams, as in Chromium's simulcast. ``active``: it sends now.
    """

    mid: str
    kind: SectionKind
    format: PayloadFormat
    rtx: int | None
    extensions: Mapping[str, int]
    rids: tuple[str, ...]
    streams: tuple[RtpStream, ...]
    stream_id: str
    track_id: str
    active: bool


class OfferedMedia(NamedTuple):
    """One media section of the offer to a subscriber. Sections keep their order for good; an ended one is not active.

    ``encoding`` is one of `ENCODINGS`. ``stream`` has SSRCs that are not used otherwise on this connection.
    """

    mid: str
    encoding: str
    stream: RtpStream
    stream_id: str
    track_id: str
    cname: str
    active: bool = True


class SubscribedMedia(NamedTuple):
    """What a subscriber has answered for one section: whether it takes the media, by RTX too, with which extensions."""

    mid: str
    active: bool
    rtx: bool
    extensions: Mapping[str, int]


def answer_publisher(
    offer: SessionDescription,
    transport: LocalTransport,
    *,
    encodings: Sequence[str] = ENCODINGS,
    transport_cc: bool = True,
) -> tuple[str, tuple[PublishedMedia, ...]]:
    """The answer to a publisher, and what it will send. Sections that cannot be forwarded are rejected.

    ``encodings`` are those allowed, the preferred first. ``transport_cc``: it gets transport-wide feedback if it takes
    that, else REMB.
    """
    published = []
    answered = []
    for media in offer.media:
        taken = None if media.rejected else _published(media, encodings, transport_cc)
        if taken is None:
            answered.append(MediaDescription(media.kind, media.mid, "inactive", rejected=True, head=media.head))
            continue
        unwanted = "goog-remb" if TRANSPORT_CC in taken.extensions else "transport-cc"
        extensions = tuple((number, uri) for uri, number in taken.extensions.items())
        answered.append(
            MediaDescription(
                taken.kind,
                taken.mid,
                "recvonly" if taken.active else "inactive",
                tuple(_answered_formats(media, taken, unwanted)),
                extensions,
                taken.rids,
                reduced_size=media.reduced_size,
            )
        )
        published.append(taken)
    return write_description(answered, transport), tuple(published)


def offer_to_subscriber(media: Sequence[OfferedMedia], transport: LocalTransport, *, transport_cc: bool = False) -> str:
    """The offer of what a subscriber may watch and hear."""
    return write_description([_offered(each, transport_cc) for each in media], transport)


def read_subscriber(answer: SessionDescription) -> tuple[SubscribedMedia, ...]:
    """What a subscriber takes, section by section in the order of the offer."""
    taken = []
    for media in answer.media:
        encodings = {each.encoding for each in media.formats}
        active = not media.rejected and media.direction in {"recvonly", "sendrecv"} and bool(encodings & set(ENCODINGS))
        extensions = {uri: number for number, uri in media.extensions}
        taken.append(SubscribedMedia(media.mid, active, "rtx" in encodings, extensions))
    return tuple(taken)


def _published(media: MediaDescription, encodings: Sequence[str], transport_cc: bool) -> PublishedMedia | None:
    chosen = _choose(media, encodings)
    if chosen is None or media.kind is None:
        return None
    wanted = {MID, RID, REPAIRED_RID, AUDIO_LEVEL, ABS_SEND_TIME}
    wanted |= {TRANSPORT_CC} if transport_cc else set()
    known: dict[str, int] = {}
    for number, uri in media.extensions:
        if uri in wanted:
            known.setdefault(uri, number)
    apt = str(chosen.payload_type)
    return PublishedMedia(
        media.mid,
        media.kind,
        chosen,
        next((each.payload_type for each in media.formats if _repeats(each, apt)), None),
        known,
        media.rids[:MOST_LAYERS],
        media.streams,
        media.stream_id,
        media.track_id,
        media.direction in {"sendonly", "sendrecv"},
    )


def _repeats(each: PayloadFormat, apt: str) -> bool:
    return each.encoding == "rtx" and each.parameter("apt") == apt


def _choose(media: MediaDescription, encodings: Sequence[str]) -> PayloadFormat | None:
    """The best format of a section that every subscriber can be offered."""
    for encoding in encodings:
        ours = FORMATS.get(encoding)
        if ours is None or (ours.encoding == "opus") != (media.kind == "audio"):
            continue
        fitting = [each for each in media.formats if each.encoding == encoding and _fits(each, ours)]
        fitting.sort(key=lambda each: (each.parameter("profile-level-id") or "")[:4].lower() != "42e0")
        if fitting:
            return fitting[0]
    return None


def _fits(each: PayloadFormat, ours: PayloadFormat) -> bool:
    """Whether it is what `FORMATS` has: H.264 in several packets a frame (RFC 6184 §8.2), VP9 with eight bits."""
    if each.clock_rate != ours.clock_rate:
        return False
    if each.encoding == "h264":
        return each.parameter("packetization-mode") == "1" and (each.parameter("profile-level-id") or "").startswith(
            "42"
        )
    return each.encoding != "vp9" or each.parameter("profile-id") in {None, "0"}


def _answered_formats(media: MediaDescription, taken: PublishedMedia, unwanted: str) -> list[PayloadFormat]:
    chosen = taken.format
    wanted = [each for each in _VIDEO_FEEDBACK if each != unwanted]
    feedback = tuple(each for each in wanted if each in chosen.feedback)
    parameters = _OPUS_PARAMETERS if chosen.encoding == "opus" else chosen.parameters
    formats = [chosen._replace(feedback=feedback, parameters=parameters)]
    if taken.rtx is not None:
        formats.append(PayloadFormat(taken.rtx, "rtx", chosen.clock_rate, 1, f"apt={chosen.payload_type}"))
    return formats


def _offered(media: OfferedMedia, transport_cc: bool) -> MediaDescription:
    ours = FORMATS[media.encoding]
    formats = [ours]
    if media.encoding == "opus":
        uris = [AUDIO_LEVEL, ABS_SEND_TIME]
        feedback: tuple[str, ...] = ("transport-cc",) if transport_cc else ()
    else:
        uris = [ABS_SEND_TIME]
        unwanted = "goog-remb" if transport_cc else "transport-cc"
        feedback = tuple(each for each in _VIDEO_FEEDBACK if each != unwanted)
        rtx = RTX_TYPES[media.encoding]
        formats.append(PayloadFormat(rtx, "rtx", ours.clock_rate, 1, f"apt={ours.payload_type}"))
    formats = [each._replace(feedback=feedback) if each is ours else each for each in formats]
    uris += [TRANSPORT_CC] if transport_cc else []
    return MediaDescription(
        "audio" if media.encoding == "opus" else "video",
        media.mid,
        "sendonly" if media.active else "inactive",
        tuple(formats),
        tuple((EXTENSION_IDS[uri], uri) for uri in uris),
        streams=(media.stream,) if media.active else (),
        stream_id=media.stream_id if media.active else "",
        track_id=media.track_id if media.active else "",
        cname=media.cname,
        reduced_size=True,
    )
