"""The H.264 payload: FFmpeg's packets, and forms by hand."""

import pytest

from tests.support.media_packets import encoded, header_of
from turnserver.media.codecs.h264 import H264, read_h264
from turnserver.media.rtp import build_packet

OPTIONS = {"tune": "zerolatency", "preset": "ultrafast"}


def test_ffmpegs_packets() -> None:
    """A keyframe may be begun at its parameter sets; each picture begins, and ends once."""
    packets = [(header_of(each), each) for each in encoded("libx264", **OPTIONS)]
    found = [(header.timestamp, read_h264(each, header)) for header, each in packets]
    assert all(each is not None for _, each in found)
    order = list(dict.fromkeys(timestamp for timestamp, _ in found))
    firsts = dict(reversed(found))
    assert [order.index(each) for each in order if (first := firsts[each]) and first.keyframe] == [0, 7]
    assert all(first is not None and first.begins for first in firsts.values())
    assert sum(each.ends for _, each in found if each) == 12
    assert not any(each.discardable for _, each in found if each), "each picture is needed for the next"


@pytest.mark.parametrize(
    ("payload", "begins", "keyframe", "discardable"),
    [
        (b"\x67\x42", True, True, False),  # SPS
        (b"\x68\xce", False, False, False),  # PPS
        (b"\x09\x10", True, False, False),  # delimiter
        (b"\x65\x88", True, True, False),  # the first slice of an IDR picture
        (b"\x65\x08", False, False, False),  # another one
        (b"\x41\x9a", True, False, False),
        (b"\x01\x9a", True, False, True),  # nobody needs it
        (b"\x7c\x85\x88", True, True, False),  # FU-A: its first piece
        (b"\x7c\x05\x88", False, False, False),  # its second
        (b"\x1c\x81\x9a", True, False, True),
        (b"\x78\x00\x02\x67\x42\x00\x02\x68\xce", True, True, False),  # STAP-A
        (b"\x78\x00\x02\x06\x42\x00\x02\x41\x9a", True, False, False),
    ],
)
def test_forms(payload: bytes, begins: bool, keyframe: bool, discardable: bool) -> None:
    packet = build_packet(payload_type=102, sequence=1, timestamp=1, ssrc=1, payload=payload)
    found = read_h264(packet, header_of(packet))
    assert found is not None
    assert (found.begins, found.keyframe, found.discardable) == (begins, keyframe, discardable)


@pytest.mark.parametrize(
    "payload", [b"", b"\x7c\x85", b"\x78\x00", b"\x78\x00\x05\x67", b"\x78\x00\x00", b"\x79\x00", b"\x60"]
)
def test_other_forms_are_nothing(payload: bytes) -> None:
    packet = build_packet(payload_type=102, sequence=1, timestamp=1, ssrc=1, payload=payload)
    assert read_h264(packet + b"of the memory behind it", header_of(packet)) is None


def test_there_are_no_numbers() -> None:
    assert H264.rewriter is None
