"""The AV1 payload (RTP Payload Format For AV1, §4.4), without the dependency descriptor.

That extension is not negotiated, so there is one layer in a stream, and receivers go by sequence numbers alone: there
is nothing to renumber.
"""

from typing import Final

from turnserver.media.codecs.base import Codec, Descriptor
from turnserver.media.rtp import Header, PacketMemory

__all__ = ["AV1", "read_av1"]

_CONTINUES: Final = 0x80
_NEW_SEQUENCE: Final = 0x08


def read_av1(packet: PacketMemory, header: Header) -> Descriptor | None:
    """What a packet is; None if it has no OBU.

    The aggregation header says that a coded video sequence begins, which is a keyframe. Of other pictures it does not
    say where they begin; whatever begins with an OBU may be the beginning.
    """
    at, end = header.payload, header.end
    if at + 1 >= end:
        return None
    first = packet[at]
    begins = not first & _CONTINUES
    return Descriptor(
        keyframe=begins and bool(first & _NEW_SEQUENCE),
        begins=begins,
        ends=header.marker,
        temporal=0,
        spatial=0,
        picture=None,
        sync=False,
        discardable=False,
    )


AV1: Final = Codec("av1", "video", 90_000, read_av1, None)
