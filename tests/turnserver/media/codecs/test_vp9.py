"""The VP9 payload descriptor: FFmpeg's packets, and those of RFC 9628 by hand."""

import pytest

from tests.support.media_packets import encoded, header_of
from turnserver.media.codecs.base import Descriptor
from turnserver.media.codecs.vp9 import VP9, read_vp9
from turnserver.media.rtp import build_packet


def packet_of(payload: bytes, *, marker: bool = False) -> bytearray:
    return build_packet(payload_type=98, sequence=1, timestamp=1, ssrc=1, payload=payload, marker=marker)


def read(payload: bytes) -> Descriptor | None:
    packet = packet_of(payload, marker=True)
    return read_vp9(packet + b"of the memory behind it", header_of(packet))


def test_ffmpegs_packets() -> None:
    """It never says that a picture is predicted: the picture itself is asked."""
    packets = [(header_of(each), each) for each in encoded("libvpx-vp9", deadline="realtime")]
    found = [(header.timestamp, read_vp9(each, header)) for header, each in packets]
    assert all(each is not None for _, each in found)
    order = list(dict.fromkeys(timestamp for timestamp, _ in found))
    assert [order.index(timestamp) for timestamp, each in found if each and each.begins] == list(range(12))
    assert [order.index(timestamp) for timestamp, each in found if each and each.keyframe] == [0, 7]
    assert sum(each.ends for _, each in found if each) == 12


KEY, PREDICTED = b"\x82", b"\x86"


@pytest.mark.parametrize(
    ("payload", "expected"),
    {
        "a keyframe with a picture id of two bytes, layers, and sizes": (
            b"\xaa" + b"\x92\x34" + b"\x00\x07" + b"\x18\x01\x40\x00\xb4\x01\x44\x00"[:5] + b"\x01\x04\x01" + KEY,
            {"keyframe": True, "begins": True, "picture": 0x1234, "level": 7, "height": 180},
        ),
        "a predicted picture of the highest temporal layer, at which one may go up": (
            b"\xec" + b"\x05" + b"\x50\x09" + PREDICTED,
            {"begins": True, "ends": True, "picture": 5, "temporal": 2, "sync": True, "level": 9},
        ),
        "flexible: the pictures it needs, and no TL0PICIDX": (
            b"\xf8" + b"\x05" + b"\x20" + b"\x03\x05\x04" + PREDICTED,
            {"begins": True, "picture": 5, "temporal": 1},
        ),
        "a higher spatial layer begins no picture": (
            b"\xac" + b"\x05" + b"\x02\x09" + KEY,
            {"ends": True, "picture": 5, "spatial": 1, "level": 9},
        ),
        "something behind the beginning": (b"\x80\x05" + KEY, {"picture": 5}),
    }.values(),
)
def test_descriptors(payload: bytes, expected: dict[str, object]) -> None:
    found = read(payload)
    assert found is not None
    nothing = Descriptor(False, False, False, 0, 0, None, False, False)
    behind = 12 + len(payload) - 1  # a header of RTP, and all but the one byte of the picture
    assert found._replace(places=None) == nothing._replace(payload=behind, **expected)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\x80",
        b"\x80\x80",
        b"\x20\x00",
        b"\x50",
        b"\x50\x01\x01\x01\x82",
        b"\x0a",
        b"\x0a\x18\x01",
        b"\x0a\x08\x05\x0c",
        b"\x08",
    ],
)
def test_what_is_cut_off_is_nothing(payload: bytes) -> None:
    assert read(payload) is None


def test_numbers_keep_their_gaps() -> None:
    """Pictures name what they need by distances: leaving one out moves no other."""
    assert VP9.rewriter is not None
    rewriter = VP9.rewriter()
    packet = packet_of(b"\x88\x85\x00" + KEY)
    found = read_vp9(packet, header_of(packet))
    assert found is not None
    rewriter.switch(found)
    rewriter.rewrite(packet, found)
    rewriter.drop(found._replace(picture=0x501))
    rewriter.rewrite(packet, found._replace(picture=0x502))
    assert packet[13:15] == b"\x85\x02"
    rewriter.switch(found._replace(picture=7))
    rewriter.rewrite(packet, found._replace(picture=7))
    assert packet[13:15] == b"\x85\x03"
