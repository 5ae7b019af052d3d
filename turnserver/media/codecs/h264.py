"""The H.264 payload (RFC 6184 §5): NAL units alone, several in a packet (STAP-A), or a piece of one (FU-A)."""

from typing import Final

from turnserver.media.codecs.base import Codec, Descriptor
from turnserver.media.rtp import Header, PacketMemory

__all__ = ["H264", "read_h264"]

_SLICE: Final = 1
_IDR: Final = 5
_SPS: Final = 7
_DELIMITER: Final = 9
_LAST_SINGLE: Final = 23
_STAP_A: Final = 24
_FU_A: Final = 28
_START: Final = 0x80
_IMPORTANCE: Final = 0x60
_FIRST_MACROBLOCK: Final = 0x80
"""A slice header begins with the number of its first macroblock, 0 being a single bit that is set (H.264 §7.3.3)."""

_MOST_UNITS: Final = 16
"""NAL units of a packet that are looked at: parameter sets and the first slice come first."""


def read_h264(packet: PacketMemory, header: Header) -> Descriptor | None:
    """What a packet is; None if it is of a form that browsers do not send, or is cut off."""
    at, end = header.payload, header.end
    if at >= end:
        return None
    kind = packet[at] & 0x1F
    slice_kind = kind
    if 1 <= kind <= _LAST_SINGLE:
        begins, is_keyframe = _unit(kind, packet, at + 1, end)
    elif kind == _STAP_A:
        found = _units(packet, at + 1, end)
        if found is None:
            return None
        begins, is_keyframe = found
    elif kind == _FU_A:
        if at + 2 >= end:
            return None
        slice_kind = packet[at + 1] & 0x1F
        begins = is_keyframe = False
        if packet[at + 1] & _START:
            begins, is_keyframe = _unit(slice_kind, packet, at + 2, end)
    else:
        return None
    return Descriptor(
        keyframe=is_keyframe,
        begins=begins,
        ends=header.marker,
        temporal=0,
        spatial=0,
        picture=None,
        sync=False,
        discardable=slice_kind == _SLICE and not packet[at] & _IMPORTANCE,
    )


def _unit(kind: int, packet: PacketMemory, at: int, end: int) -> tuple[bool, bool]:
    """Whether a NAL unit begins a picture, and one that needs no other. What comes before the slices is of it, too."""
    if kind == _SPS:
        return True, True
    if kind == _DELIMITER:
        return True, False
    is_first = at < end and bool(packet[at] & _FIRST_MACROBLOCK)
    return kind in {_SLICE, _IDR} and is_first, kind == _IDR and is_first


def _units(packet: PacketMemory, at: int, end: int) -> tuple[bool, bool] | None:
    """The same of a packet of several; None if one of them is cut off."""
    begins = is_keyframe = False
    for _ in range(_MOST_UNITS):
        if at == end:
            break
        if at + 3 > end:
            return None
        behind = at + 2 + (packet[at] << 8 | packet[at + 1])
        if behind > end or behind == at + 2:
            return None
        begins_here, is_key_here = _unit(packet[at + 2] & 0x1F, packet, at + 3, behind)
        begins, is_keyframe = begins or begins_here, is_keyframe or is_key_here
        at = behind
    return begins, is_keyframe


H264: Final = Codec("h264", "video", 90_000, read_h264, None)
