"""The AV1 payload: FFmpeg's packets, and its aggregation header by hand."""

import pytest

from tests.support.media_packets import encoded, header_of
from turnserver.media.codecs.av1 import read_av1
from turnserver.media.rtp import build_packet


def test_ffmpegs_packets() -> None:
    packets = [(header_of(each), each) for each in encoded("libsvtav1", preset="10")]
    found = [(header.timestamp, read_av1(each, header)) for header, each in packets]
    assert all(each is not None for _, each in found)
    order = list(dict.fromkeys(timestamp for timestamp, _ in found))
    firsts = dict(reversed(found))
    assert [order.index(each) for each in order if (first := firsts[each]) and first.keyframe] == [0, 7]
    assert all(first is not None and first.begins for first in firsts.values())
    assert sum(each.ends for _, each in found if each) == 12


@pytest.mark.parametrize(
    ("first", "begins", "keyframe"),
    [(0x18, True, True), (0x10, True, False), (0x90, False, False), (0x98, False, False)],
)
def test_aggregation_headers(first: int, begins: bool, keyframe: bool) -> None:
    packet = build_packet(payload_type=45, sequence=1, timestamp=1, ssrc=1, payload=bytes([first]) + b"obu")
    found = read_av1(packet, header_of(packet))
    assert found is not None
    assert (found.begins, found.keyframe) == (begins, keyframe)


@pytest.mark.parametrize("payload", [b"", b"\x18"])
def test_no_unit_is_nothing(payload: bytes) -> None:
    packet = build_packet(payload_type=45, sequence=1, timestamp=1, ssrc=1, payload=payload)
    assert read_av1(packet + b"of the memory behind it", header_of(packet)) is None
