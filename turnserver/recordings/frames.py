"""Frames as a decoder wants them, made of packets: what payload formats have added is taken away.

VP8 (RFC 7741), VP9 (RFC 9628), H.264 (RFC 6184; with start codes), AV1 (RTP Payload Format For AV1; without temporal
delimiters) and Opus (RFC 7587). A frame that lacks a packet is left out, and so are those after it until a keyframe,
since they are made of it. The content is untrusted: what cannot be read is such a frame.
"""

import struct
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from meshturn.root import MeshturnError
from turnserver.media.codecs import CODECS, Codec, Descriptor
from turnserver.media.rtp import Header
from turnserver.recordings.ordering import Arrived

__all__ = ["LARGEST_FRAME", "Frame", "Frames", "picture_size"]

LARGEST_FRAME: Final = 8 << 20
"""Bytes of one frame; a keyframe of a large screen has one megabyte."""

_START_CODE: Final = b"\0\0\0\1"
_LAYER_BEGINS: Final = 0x08
"""In the first byte of VP9's descriptor (RFC 9628 §4.2)."""

_FU_A: Final = 28
_STAP_A: Final = 24


class Frame(NamedTuple):
    """A picture, or 20 ms of sound; ``timestamp`` is that of its packets, ``now`` when it was complete."""

    data: bytes
    timestamp: int
    keyframe: bool
    now: float


class _Broken(MeshturnError):
    """A frame that cannot be put together."""


class Frames:
    """The frames of one track. ``missed`` counts the ones that came and were left out."""

    def __init__(self, codec: str) -> None:
        self.codec: Codec = CODECS[codec]
        self.missed = 0
        self.waits = self.codec.kind == "video"
        """Whether nothing can go on without a keyframe."""
        self._join = _JOINERS.get(codec)
        self._parts: list[tuple[bytes, Header, Descriptor]] = []
        self._bytes = 0
        self._whole = True

    def push(self, arrived: Arrived) -> Iterator[Frame]:
        """A packet in its order; the frames that it completes."""
        packet, header, now, lost = arrived
        if self._join is None:
            if header.end > header.payload:
                yield Frame(packet[header.payload : header.end], header.timestamp, True, now)
            return
        if lost:
            self._lose()
        if header.end <= header.payload:
            return  # padding
        descriptor = self.codec.read(packet, header)
        if descriptor is None:
            self._lose()
            return
        if self._parts and self._parts[-1][1].timestamp != header.timestamp:
            yield from self._complete(now)  # its last packet had no marker
        if not self._parts:
            self._whole = self._whole and descriptor.begins
        self._parts.append((packet, header, descriptor))
        self._bytes += len(packet)
        if self._bytes > LARGEST_FRAME:
            self._lose()
        elif header.marker:
            yield from self._complete(now)

    def _lose(self) -> None:
        self._parts.clear()
        self._bytes = 0
        self._whole = False

    def _complete(self, now: float) -> Iterator[Frame]:
        parts, self._parts = self._parts, []
        whole, self._whole, self._bytes = self._whole, True, 0
        if not parts or self._join is None:
            return
        keyframe = any(descriptor.keyframe for _, _, descriptor in parts)
        try:
            if not whole:
                raise _Broken
            data = self._join(parts)
        except _Broken:
            self.waits = True
            self.missed += 1
            return
        if self.waits and not keyframe:
            self.missed += 1
            return
        self.waits = False
        yield Frame(data, parts[0][1].timestamp, keyframe, now)


_Parts = list[tuple[bytes, Header, Descriptor]]


def _vp8(parts: _Parts) -> bytes:
    return b"".join(packet[descriptor.payload : header.end] for packet, header, descriptor in parts)


def _vp9(parts: _Parts) -> bytes:
    """The layers of a picture; several of them are a superframe (VP9 bitstream, annex B)."""
    layers: list[bytes] = []
    for packet, header, descriptor in parts:
        data = packet[descriptor.payload : header.end]
        if packet[header.payload] & _LAYER_BEGINS:
            layers.append(data)
        elif layers:
            layers[-1] += data
        else:
            raise _Broken
    if len(layers) == 1:
        return layers[0]
    if len(layers) > 8:
        raise _Broken
    mark = bytes((0xC0 | 3 << 3 | len(layers) - 1,))
    return b"".join(layers) + mark + b"".join(struct.pack("<I", len(layer)) for layer in layers) + mark


def _h264(parts: _Parts) -> bytes:
    units: list[bytes] = []
    piece: bytearray | None = None
    for packet, header, _ in parts:
        at, end = header.payload, header.end
        kind = packet[at] & 0x1F
        if kind == _FU_A:
            if packet[at + 1] & 0x80:
                piece = bytearray((packet[at] & 0xE0 | packet[at + 1] & 0x1F,))
            if piece is None:
                raise _Broken
            piece += packet[at + 2 : end]
            if packet[at + 1] & 0x40:
                units.append(bytes(piece))
                piece = None
        elif kind == _STAP_A:
            at += 1
            while at + 2 < end:
                size = packet[at] << 8 | packet[at + 1]
                if not size or at + 2 + size > end:
                    raise _Broken
                units.append(packet[at + 2 : at + 2 + size])
                at += 2 + size
        else:
            units.append(packet[at:end])
    if piece is not None or not units:
        raise _Broken
    return b"".join(_START_CODE + unit for unit in units)


def _av1(parts: _Parts) -> bytes:
    """OBUs with their sizes, which packets leave out."""
    obus: list[bytearray] = []
    goes_on = False
    for packet, header, _ in parts:
        at, end = header.payload, header.end
        first = packet[at]
        count = first >> 4 & 3
        if bool(first & 0x80) != goes_on:
            raise _Broken
        at += 1
        number = 0
        while at < end:
            number += 1
            size = end - at
            if number != count:
                size, at = _leb128(packet, at, end)
                if at + size > end:
                    raise _Broken
            element = packet[at : at + size]
            at += size
            if number == 1 and goes_on:
                obus[-1] += element
            else:
                obus.append(bytearray(element))
        goes_on = bool(first & 0x40)
    if goes_on or not obus:
        raise _Broken
    return b"".join(_sized(obu) for obu in obus)


def _leb128(data: bytes, at: int, end: int) -> tuple[int, int]:
    value = 0
    for place in range(8):
        if at >= end:
            break
        value |= (data[at] & 0x7F) << 7 * place
        at += 1
        if not data[at - 1] & 0x80:
            return value, at
    raise _Broken


def _sized(obu: bytearray) -> bytes:
    """An OBU with its size; one for a temporal delimiter, a tile list or padding has no place in a file."""
    if not obu or obu[0] >> 3 & 0x0F in {2, 8, 15}:
        return b""
    head = 2 if obu[0] & 0x04 else 1
    if obu[0] & 0x02:
        return bytes(obu)
    size, coded = len(obu) - head, bytearray()
    if size < 0:
        raise _Broken
    while True:
        coded.append(size & 0x7F | (0x80 if size > 0x7F else 0))
        size >>= 7
        if not size:
            break
    return bytes((obu[0] | 0x02, *obu[1:head])) + bytes(coded) + bytes(obu[head:])


_JOINERS: Final[dict[str, Callable[[_Parts], bytes]]] = {"vp8": _vp8, "vp9": _vp9, "h264": _h264, "av1": _av1}


def picture_size(codec: str, keyframe: bytes) -> tuple[int, int]:
    """Width and height in the header of a keyframe of VP8 (RFC 6386 §9.1); (0, 0) where they are not found."""
    if codec == "vp8" and len(keyframe) >= 10 and keyframe[3:6] == b"\x9d\x01\x2a":
        width, height = struct.unpack_from("<HH", keyframe, 6)
        return width & 0x3FFF, height & 0x3FFF
    return 0, 0
