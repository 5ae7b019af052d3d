"""Payload descriptors: whatever a packet claims, nothing is raised, and renumbering changes numbers only."""

from collections.abc import Iterator

from turnserver.media.codecs import CODECS, Descriptor
from turnserver.media.rtp import build_packet, read_header

__all__ = ["MAX_LENGTH", "WORDS", "run", "seeds"]

MAX_LENGTH = 200
WORDS = (b"\x90\xf0\x80\x01\x02\x20", b"\xaa\x92\x34\x00\x07\x18", b"\x78\x00\x02\x67\x42", b"\x7c\x85", b"\x18\x0a")


def seeds() -> Iterator[bytes]:
    """One payload of each codec: the first byte says which."""
    for number, payload in enumerate(
        (
            b"speech",
            b"\x90\xf0\x80\x01\x02\x20" + bytes(10),
            b"\xaa\x92\x34\x00\x07\x10\x01\x40\x00\xb4\x82",
            b"\x78\x00\x02\x67\x42\x00\x02\x68\xce",
            b"\x18\x0a\x0b\x00",
        )
    ):
        yield bytes([number]) + payload


def run(data: bytes) -> None:
    """A descriptor is the same without what is behind the payload, and after it has been renumbered by nothing."""
    if not data:
        return
    codec = list(CODECS.values())[data[0] % len(CODECS)]
    packet = build_packet(payload_type=96, sequence=1, timestamp=1, ssrc=1, payload=data[1:])
    header = read_header(packet, len(packet))
    assert header is not None
    found = codec.read(packet + bytes(40), header)
    assert found == codec.read(packet, header)
    if found is None or codec.rewriter is None:
        return
    _check(found)
    for first in (None, found._replace(picture=None if found.picture is None else 77, level=3)):
        rewriter = codec.rewriter()
        if first is not None:
            rewriter.switch(first)
            rewriter.rewrite(bytearray(packet), first)
        rewriter.switch(found)
        rewriter.drop(found)
        out = bytearray(packet)
        rewriter.rewrite(out, found)
        assert (len(out), out[: header.payload]) == (len(packet), packet[: header.payload])
        again = codec.read(out, header)
        assert again is not None
        assert again._replace(picture=found.picture, level=found.level) == found


def _check(found: Descriptor) -> None:
    assert 0 <= found.temporal <= 7
    assert 0 <= found.spatial <= 7
    assert found.picture is None or 0 <= found.picture < 32768
    assert found.level is None or 0 <= found.level < 256
    assert found.begins or not found.keyframe
