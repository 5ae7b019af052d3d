"""Codecs of sound: each packet stands for itself."""

from typing import Final

from turnserver.media.codecs.base import Codec, Descriptor
from turnserver.media.rtp import Header, PacketMemory

__all__ = ["OPUS"]

_ALONE: Final = Descriptor(
    keyframe=True, begins=True, ends=True, temporal=0, spatial=0, picture=None, sync=False, discardable=False
)


def _read(packet: PacketMemory, header: Header) -> Descriptor | None:
    return _ALONE if header.payload < header.end <= len(packet) else None


OPUS: Final = Codec("opus", "audio", 48_000, _read, None)
