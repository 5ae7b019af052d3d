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
    rewriter.rewrite(out, read(packet), shift)
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


@given(st.integers(0, 32767), st.integers(0, 255), st.integers(0, 32767), st.integers(0, 255))
def test_numbers_may_begin_anywhere(picture: int, level: int, next_picture: int, next_level: int) -> None:
    """Encoders begin at random: whatever the first numbers were, those of the next stream are one more."""
    rewriter = made()
    for first, base in [(picture, level), (next_picture, next_level)]:
        packet = packet_of(first, base, key=True)
        rewriter.switch(read(packet))
        numbers = sent(rewriter, packet)
    assert numbers == ((picture + 1) % 32768, (level + 1) % 256)


def short_packet_of(picture: int) -> bytearray:
    """A packet of VP8 with a picture id of seven bits, which aiortc does not write."""
    payload = bytes((0x90, 0x80, picture % 128)) + b"\x01" + bytes(9)
    return build_packet(payload_type=96, sequence=1, timestamp=1, ssrc=1, payload=payload)


def short_number(rewriter: Rewriter, packet: bytearray) -> int:
    out = bytearray(packet)
    rewriter.rewrite(out, read(packet))
    picture = read(out).picture
    assert picture is not None
    return picture


@given(
    st.integers(0, 127),
    st.lists(st.integers(0, 400), max_size=40),
    st.integers(100, 400),
    st.integers(0, 127),
)
def test_short_numbers_go_on_when_they_begin_again(first: int, left_out: list[int], count: int, other: int) -> None:
    """Over 127, with pictures left out anywhere, and into another stream."""
    rewriter = made()
    rewriter.switch(read(short_packet_of(first)))
    numbers = [short_number(rewriter, short_packet_of(first))]
    for more in range(1, count):
        packet = short_packet_of(first + more)
        if more in left_out:
            rewriter.drop(read(packet))
        else:
            numbers.append(short_number(rewriter, packet))
    rewriter.switch(read(short_packet_of(other)))
    numbers += [short_number(rewriter, short_packet_of(other + more)) for more in range(3)]
    assert numbers == [(first + n) % 128 for n in range(len(numbers))]


def test_a_picture_that_is_left_out_long_after_the_one_before_leaves_no_gap() -> None:
    """More than half of all numbers lie between them."""
    rewriter = made()
    rewriter.switch(read(packet_of(0, 0, key=True)))
    sent(rewriter, packet_of(0, 0, key=True))
    rewriter.drop(read(packet_of(1, 0, 2)))
    for picture in range(2, 20000, 100):
        sent(rewriter, packet_of(picture, 0))
    rewriter.drop(read(packet_of(20000, 0, 2)))
    assert sent(rewriter, packet_of(20001, 1))[0] == 20001 - 2


def test_no_number_is_given_twice_where_a_picture_is_left_out_too_late() -> None:
    """Its number is passed already: it remains free."""
    rewriter = made()
    rewriter.switch(read(packet_of(100, 0, key=True)))
    numbers = [sent(rewriter, packet_of(100, 0, key=True))[0], sent(rewriter, packet_of(102, 1))[0]]
    rewriter.drop(read(packet_of(101, 0, 2)))
    numbers.append(sent(rewriter, packet_of(103, 1))[0])
    assert numbers == [100, 102, 103]


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
    rewriter.rewrite(out, read(packet))
    assert out == packet


@given(st.integers(0, 255), st.integers(0, 127))
def test_rings(newest: int, behind: int) -> None:
    assert seen_before((newest - behind) % 256, newest, 256)
    assert not seen_before((newest + behind + 1) % 256, newest, 256)
