"""The VP9 payload descriptor (RFC 9628 §4.2)."""

from typing import Final

from turnserver.media.codecs.base import Codec, Descriptor, NumberPlaces, PictureRewriter, Rewriter
from turnserver.media.rtp import Header, PacketMemory

__all__ = ["VP9", "read_vp9"]

_PICTURE: Final = 0x80
_PREDICTED: Final = 0x40
_LAYERS: Final = 0x20
_FLEXIBLE: Final = 0x10
_BEGINS: Final = 0x08
_ENDS: Final = 0x04
_STRUCTURE: Final = 0x02
_WIDE: Final = 0x80
_SWITCHING_UP: Final = 0x10
_MOST_REFERENCES: Final = 3
_SIZES: Final = 0x10
_GROUP: Final = 0x08
_SHOWS_EXISTING: Final = 0x08
_NOT_KEY: Final = 0x04


def _locate(packet: PacketMemory, header: Header) -> NumberPlaces | None:
    """Where its numbers are; None if the packet ends before them."""
    at, end = header.payload, header.end
    if at >= end:
        return None
    first = packet[at]
    at += 1
    picture_at = level_at = 0
    is_wide = False
    if first & _PICTURE:
        if at >= end:
            return None
        picture_at, is_wide = at, bool(packet[at] & _WIDE)
        at += 2 if is_wide else 1
    if first & _LAYERS:
        at += 1
        if not first & _FLEXIBLE:
            level_at = at
            at += 1
    return NumberPlaces(picture_at, is_wide, level_at) if at <= end else None


def _after_references(packet: PacketMemory, at: int, end: int) -> int | None:
    """Behind the list of pictures that this one is predicted from; None if it has no end."""
    for _ in range(_MOST_REFERENCES):
        if at >= end:
            return None
        goes_on = packet[at] & 1
        at += 1
        if not goes_on:
            return at
    return None


def _structure(packet: PacketMemory, at: int, end: int) -> tuple[int, int] | None:
    """Behind a scalability structure, and the lines of its largest layer, 0 where not said; None if it has no end."""
    if at >= end:
        return None
    first = packet[at]
    at += 1
    height = 0
    if first & _SIZES:
        at += 4 * ((first >> 5) + 1)
        if at > end:
            return None
        height = packet[at - 2] << 8 | packet[at - 1]
    if first & _GROUP:
        if at >= end:
            return None
        pictures = packet[at]
        at += 1
        for _ in range(pictures):
            if at >= end:
                return None
            at += 1 + (packet[at] >> 2 & 3)
    return at, height


def _is_key(first: int) -> bool:
    """Whether the first byte of a picture is that of a keyframe (VP9 bitstream §6.2), of profiles 0 to 2."""
    return not first & (_SHOWS_EXISTING | _NOT_KEY)


def read_vp9(packet: PacketMemory, header: Header) -> Descriptor | None:
    """The descriptor of a packet; None if there is none, or nothing behind it."""
    found = _locate(packet, header)
    if found is None:
        return None
    picture_at, is_wide, level_at = found
    first, at, end = packet[header.payload], header.payload + 1, header.end
    picture = level = None
    if picture_at:
        picture = packet[picture_at] & 0x7F
        if is_wide:
            picture = picture << 8 | packet[picture_at + 1]
        at += 2 if is_wide else 1
    temporal = spatial = 0
    is_sync = False
    if first & _LAYERS:
        layers = packet[at]
        temporal, spatial, is_sync = layers >> 5, layers >> 1 & 7, bool(layers & _SWITCHING_UP)
        at += 1
        if level_at:
            level = packet[level_at]
            at += 1
    if first & _FLEXIBLE and first & _PREDICTED:
        behind = _after_references(packet, at, end)
        if behind is None:
            return None
        at = behind
    height = 0
    if first & _STRUCTURE:
        structure = _structure(packet, at, end)
        if structure is None:
            return None
        at, height = structure
    if at >= end:
        return None
    begins = bool(first & _BEGINS) and spatial == 0
    return Descriptor(
        # Some encoders never say that a picture is predicted: so the picture is asked, too.
        keyframe=begins and not first & _PREDICTED and _is_key(packet[at]),
        begins=begins,
        ends=bool(first & _ENDS) and header.marker,
        temporal=temporal,
        spatial=spatial,
        picture=picture,
        sync=is_sync,
        discardable=False,
        height=height,
        level=level,
        places=found,
        payload=at,
    )


def _rewriter() -> Rewriter:
    # Pictures name those that they need by the distance of the numbers, so these keep their gaps.
    return PictureRewriter(closes=False)


VP9: Final = Codec("vp9", "video", 90_000, read_vp9, _rewriter)
