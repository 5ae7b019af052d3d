"""Codecs: what a packet is within its picture, by the payload descriptors that browsers send."""

from typing import Final

from turnserver.media.codecs.audio import OPUS
from turnserver.media.codecs.av1 import AV1
from turnserver.media.codecs.base import Codec, Descriptor, Rewriter, Shift
from turnserver.media.codecs.h264 import H264
from turnserver.media.codecs.vp8 import VP8
from turnserver.media.codecs.vp9 import VP9

__all__ = ["CODECS", "Codec", "Descriptor", "Rewriter", "Shift"]

CODECS: Final = {codec.name: codec for codec in (OPUS, VP8, VP9, H264, AV1)}
"""All of them, by the names of ``a=rtpmap`` in lower case."""
