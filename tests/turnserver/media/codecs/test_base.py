"""Numbers of pictures that go on: across streams, across what is left out, for what comes late or is asked again."""

from aiortc.codecs.vpx import VpxPayloadDescriptor
from hypothesis import given
from hypothesis import strategies as st

from tests.support.media_packets import header_of
from turnserver.media.codecs.base import Descriptor, Rewriter, Shift, seen_before
from turnserver.media.codecs.vp8 import VP8
from turnserver.media.rtp import build_packet


def packet_of(picture: int, level: int, temporal: int = 0, *, key: bool = False) -> bytearray:
    """A packet of VP8 as Chromium sends it."""
    about = VpxPayloadDescriptor(1, 0, picture % 32768, level % 256, (temporal, 0), 0)
    payload = bytes(about) + (bytes(10) if key else b"\x01" + bytes(9))
    return build_packet(payload_type=96, sequence=1, timestamp=1, ssrc=1, payload=payload, marker=True)


def read(packet: bytearray) -> Descriptor:
    found = VP8.read(packet, header_of(packet))
    assert found is not None
    return found


def made() -> Rewriter:
    assert VP8.rewriter is not None
    return VP8.rewriter()


def sent(rewriter: Rewriter, packet: bytearray, shift: Shift | None = None) -> tuple[int, int]:
    """The numbers of a packet as a receiver gets it."""
    out = bytearray(packet)
    rewriter.rewrite(out, header_of(out), read(packet), shift)
    about, payload = VpxPayloadDescriptor.parse(bytes(out[12:]))
    assert payload == packet[-10:], "the picture itself stays as it is"
    assert about.picture_id is not None
    assert about.tl0picidx is not None
    return about.picture_id, about.tl0picidx


@given(st.integers(0, 32767), st.lists(st.tuples(st.integers(0, 32767), st.integers(0, 255)), min_size=1, max_size=5))
def test_streams_follow_each_other_without_a_jump(first: int, starts: list[tuple[int, int]]) -> None:
    rewriter = made()
    numbers: list[tuple[int, int]] = []
    for picture, level in [(first, 7), *starts]:
        rewriter.switch(read(packet_of(picture, level, key=True)))
        numbers += [sent(rewriter, packet_of(picture + more, level + more, key=more == 0)) for more in range(4)]
    assert numbers == [((first + n) % 32768, (7 + n) % 256) for n in range(len(numbers))]


@given(st.integers(0, 32767), st.lists(st.integers(0, 2), min_size=1, max_size=60), st.integers(0, 2))
def test_pictures_that_are_left_out_leave_no_gap(first: int, layers: list[int], most: int) -> None:
    """However many packets each of them has."""
    rewriter = made()
    rewriter.switch(read(packet_of(first, 0, key=True)))
    numbers = []
    for more, temporal in enumerate(layers):
        packet = packet_of(first + more, 0, temporal)
        if temporal > most:
            for _ in range(more % 3 + 1):
                rewriter.drop(read(packet))
        else:
            numbers.append(sent(rewriter, packet)[0])
    assert numbers == [(first + n) % 32768 for n in range(len(numbers))]


def test_what_comes_late_has_the_numbers_of_its_time() -> None:
    rewriter = made()
    rewriter.switch(read(packet_of(100, 5, key=True)))
    assert sent(rewriter, packet_of(100, 5, key=True)) == (100, 5)
    before = rewriter.shift
    rewriter.drop(read(packet_of(101, 5, 2)))
    assert sent(rewriter, packet_of(102, 6)) == (101, 6)
    rewriter.switch(read(packet_of(9000, 200, key=True)))
    assert sent(rewriter, packet_of(9000, 200, key=True)) == (102, 7)
    assert sent(rewriter, packet_of(100, 5, key=True), before) == (100, 5)
    assert sent(rewriter, packet_of(9001, 201)) == (103, 8), "what was sent again has changed nothing"


def test_a_packet_without_numbers_stays_as_it_is() -> None:
    rewriter = made()
    packet = build_packet(payload_type=96, sequence=1, timestamp=1, ssrc=1, payload=b"\x10\x00abc")
    out = bytearray(packet)
    rewriter.switch(read(packet))
    rewriter.drop(read(packet))
    rewriter.rewrite(out, header_of(out), read(packet))
    assert out == packet


@given(st.integers(0, 255), st.integers(0, 127))
def test_rings(newest: int, behind: int) -> None:
    assert seen_before((newest - behind) % 256, newest, 256)
    assert not seen_before((newest + behind + 1) % 256, newest, 256)
