"""The VP8 payload descriptor (RFC 7741 §4.2)."""

from typing import Final

from turnserver.media.codecs.base import Codec, Descriptor, NumberPlaces, PictureRewriter, Rewriter
from turnserver.media.rtp import Header, PacketMemory

__all__ = ["VP8", "read_vp8"]

_EXTENDED: Final = 0x80
_NON_REFERENCE: Final = 0x20
_START: Final = 0x10
_PARTITION: Final = 0x07
_PICTURE: Final = 0x80
_LEVEL: Final = 0x40
_TEMPORAL: Final = 0x20
_KEY_INDEX: Final = 0x10
_WIDE: Final = 0x80
_SYNC: Final = 0x20
_KEYFRAME_HEADER: Final = 10
"""Bytes of the frame header of a keyframe, until its height (RFC 6386 §9.1)."""


def _locate(packet: PacketMemory, header: Header) -> NumberPlaces | None:
    """Where its numbers are; None if the packet ends before them."""
    at, end = header.payload, header.end
    if at + 1 >= end or not packet[at] & _EXTENDED:
        return None
    present = packet[at + 1]
    at += 2
    picture_at = level_at = 0
    is_wide = False
    if present & _PICTURE:
        if at >= end:
            return None
        picture_at, is_wide = at, bool(packet[at] & _WIDE)
        at += 2 if is_wide else 1
    if present & _LEVEL:
        level_at = at
        at += 1
    return NumberPlaces(picture_at, is_wide, level_at) if at <= end else None


def read_vp8(packet: PacketMemory, header: Header) -> Descriptor | None:
    """The descriptor of a packet; None if there is none, or nothing behind it."""
    at, end = header.payload, header.end
    if at >= end:
        return None
    first = packet[at]
    at += 1
    picture = level = None
    temporal = 0
    is_sync = False
    found = None
    if first & _EXTENDED:
        if at >= end:
            return None
        present = packet[at]
        found = _locate(packet, header)
        if found is None:
            return None
        picture_at, is_wide, level_at = found
        at += 1
        if picture_at:
            picture = packet[picture_at] & 0x7F
            if is_wide:
                picture = picture << 8 | packet[picture_at + 1]
            at += 2 if is_wide else 1
        if level_at:
            level = packet[level_at]
            at += 1
        if present & (_TEMPORAL | _KEY_INDEX):
            if at >= end:
                return None
            if present & _TEMPORAL:
                temporal, is_sync = packet[at] >> 6, bool(packet[at] & _SYNC)
            at += 1
    if at >= end:
        return None
    begins = bool(first & _START) and not first & _PARTITION
    is_keyframe = begins and not packet[at] & 1
    height = 0
    if is_keyframe and at + _KEYFRAME_HEADER <= end:
        height = (packet[at + 8] | packet[at + 9] << 8) & 0x3FFF
    return Descriptor(
        keyframe=is_keyframe,
        begins=begins,
        ends=header.marker,
        temporal=temporal,
        spatial=0,
        picture=picture,
        sync=is_sync,
        discardable=bool(first & _NON_REFERENCE),
        height=height,
        level=level,
        places=found,
        payload=at,
    )


def _rewriter() -> Rewriter:
    # Receivers wait for the pictures whose numbers are missing.
    return PictureRewriter(closes=True)


VP8: Final = Codec("vp8", "video", 90_000, read_vp8, _rewriter)
