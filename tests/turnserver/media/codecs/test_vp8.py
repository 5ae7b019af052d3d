"""The VP8 payload descriptor, against aiortc's and FFmpeg's packets."""

import pytest
from aiortc.codecs.vpx import VpxPayloadDescriptor
from hypothesis import given
from hypothesis import strategies as st

from tests.support.media_packets import encoded, header_of
from turnserver.media.codecs.base import PictureRewriter
from turnserver.media.codecs.vp8 import VP8, read_vp8
from turnserver.media.rtp import build_packet


def packet_of(payload: bytes, *, marker: bool = False) -> bytearray:
    return build_packet(payload_type=96, sequence=1, timestamp=1, ssrc=1, payload=payload, marker=marker)


@given(
    starts=st.booleans(),
    partition=st.integers(0, 7),
    picture=st.none() | st.integers(0, 32767),
    level=st.none() | st.integers(0, 255),
    layer=st.none() | st.tuples(st.integers(0, 3), st.integers(0, 1)),
    key_index=st.none() | st.integers(0, 31),
    is_key=st.booleans(),
)
def test_what_aiortc_writes_is_read(
    starts: bool,
    partition: int,
    picture: int | None,
    level: int | None,
    layer: tuple[int, int] | None,
    key_index: int | None,
    is_key: bool,
) -> None:
    written = bytes(VpxPayloadDescriptor(int(starts), partition, picture, level, layer, key_index))
    packet = packet_of(written + bytes([not is_key]) + bytes(5) + b"\x40\x01\xf0\x00", marker=True)
    found = read_vp8(packet, header_of(packet))
    assert found is not None
    begins = starts and partition == 0
    assert (found.begins, found.ends, found.keyframe) == (begins, True, begins and is_key)
    assert (found.picture, found.level) == (picture, level)
    assert (found.temporal, found.sync) == ((layer[0], bool(layer[1])) if layer else (0, False))
    assert found.height == (240 if found.keyframe else 0)
    if picture is not None and level is not None:
        assert VP8.rewriter is not None
        rewriter = VP8.rewriter()
        assert isinstance(rewriter, PictureRewriter)
        rewriter.switch(found)
        out = bytearray(packet)
        rewriter.rewrite(out, found._replace(picture=12345, level=67))
        about, payload = VpxPayloadDescriptor.parse(bytes(out[12:]))
        assert (about.picture_id, about.tl0picidx) == (12345, 67)
        assert payload == packet[12 + len(written) :]


def test_a_short_picture_id_stays_short() -> None:
    packet = packet_of(b"\x90\x80\x05\x01abc")
    found = read_vp8(packet, header_of(packet))
    assert found is not None
    assert found.picture == 5
    assert VP8.rewriter is not None
    rewriter = VP8.rewriter()
    rewriter.switch(found)
    rewriter.rewrite(packet, found._replace(picture=0x1234))
    assert packet[12:] == b"\x90\x80\x34\x01abc"


def test_ffmpegs_packets() -> None:
    """Twelve pictures, two of them keyframes, and each begins and ends once."""
    packets = [(header_of(each), each) for each in encoded("libvpx", deadline="realtime")]
    found = [(header.timestamp, read_vp8(each, header)) for header, each in packets]
    assert all(each is not None for _, each in found)
    assert [each.picture for _, each in found if each and each.begins] == list(range(12))
    assert [each.picture for _, each in found if each and each.keyframe] == [0, 7]
    assert {each.height for _, each in found if each and each.keyframe} == {120}
    assert sum(each.ends for _, each in found if each) == 12


@pytest.mark.parametrize(
    "payload",
    [b"", b"\x90", b"\x90\x80", b"\x90\x80\x80", b"\x90\x40", b"\x90\x20", b"\x90\xf0\x80\x01\x02\x03", b"\x10"],
)
def test_what_is_cut_off_is_nothing(payload: bytes) -> None:
    packet = packet_of(payload)
    assert read_vp8(packet + b"of the memory behind it", header_of(packet)) is None
