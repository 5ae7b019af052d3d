"""RTP headers and their extensions; aiortc's and scapy's readers and writers are the other side."""

import struct
from itertools import pairwise

import pytest
from aiortc.rtp import RtpPacket, pack_header_extensions, unpack_header_extensions
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.rtp import RTP

from turnserver.media.rtp import (
    Header,
    PacketMemory,
    Unwrapper,
    build_packet,
    extensions,
    find_extension,
    is_rtcp,
    read_header,
    renumber_extensions,
    seq_delta,
)

PLAIN = build_packet(payload_type=96, sequence=1, timestamp=2, ssrc=3, payload=b"payload")

SIXTEEN = st.integers(0, 0xFFFF)
THIRTY_TWO = st.integers(0, 0xFFFFFFFF)
ONE_BYTE = st.dictionaries(st.integers(1, 14), st.binary(min_size=1, max_size=16), max_size=14)
TWO_BYTES = st.dictionaries(st.integers(1, 255), st.binary(max_size=255), max_size=20)


def header_of(packet: PacketMemory) -> Header:
    header = read_header(packet, len(packet))
    assert header is not None
    return header


def elements(packet: PacketMemory) -> list[tuple[int, bytes]]:
    return [(number, bytes(packet[at : at + size])) for number, at, size in extensions(packet, header_of(packet))]


def with_block(profile: int, block: bytes) -> bytearray:
    """A packet with this header extension."""
    block += bytes(-len(block) % 4)
    fixed = struct.pack("!BBHII", 0x90, 96, 1, 2, 3)
    return bytearray(fixed + struct.pack("!HH", profile, len(block) // 4) + block + b"payload")


def test_a_header_is_read_with_its_offsets() -> None:
    packet = bytearray(struct.pack("!BBHII", 0xB2, 0xE0, 0xFFFE, 0x89ABCDEF, 0xFEDCBA98) + bytes(8))
    packet += struct.pack("!HH", 0xBEDE, 2) + b"\x10\x85\x22abc\x00\x00" + b"payload" + b"\0\0\3"
    memory = memoryview(packet + bytes(50))
    assert read_header(memory, len(packet)) == Header(
        payload_type=96,
        marker=True,
        sequence=0xFFFE,
        timestamp=0x89ABCDEF,
        ssrc=0xFEDCBA98,
        payload=32,
        end=39,
        extension=24,
        extension_end=32,
        one_byte=True,
    )
    assert elements(packet) == [(1, b"\x85"), (2, b"abc")]
    assert find_extension(packet, header_of(packet), 2) == (27, 3)
    assert find_extension(packet, header_of(packet), 3) is None


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        PLAIN[:11],
        b"\x40" + PLAIN[1:],
        b"\xc0" + PLAIN[1:],
        b"\x82" + PLAIN[1:],
        b"\x90" + PLAIN[1:14],
        b"\x90" + PLAIN[1:12] + b"\xbe\xde\0\2" + b"only" + b"abc",
        b"\xa0" + PLAIN[1:] + b"\0",
        b"\xa0" + PLAIN[1:] + b"\x09",
    ],
    ids=[
        "nothing",
        "cut",
        "version 1",
        "version 3",
        "sources beyond the end",
        "an extension without a length",
        "an extension beyond the end",
        "padding of no bytes",
        "more padding than payload",
    ],
)
def test_what_is_no_packet_is_none(packet: bytes) -> None:
    assert read_header(packet, len(packet)) is None


def test_all_of_the_payload_may_be_padding() -> None:
    """So do browsers probe for bandwidth."""
    packet = build_packet(payload_type=97, sequence=1, timestamp=2, ssrc=3, padding=255)
    header = header_of(packet)
    assert (header.payload, header.end, len(packet)) == (12, 12, 267)


def test_an_extension_of_another_form_is_passed_over() -> None:
    packet = with_block(0xABAC, b"\x10\x01\x00\x00")
    header = header_of(packet)
    assert (header.extension, packet[header.payload : header.end]) == (0, b"payload")
    assert elements(packet) == []


@pytest.mark.parametrize(
    ("profile", "block", "found"),
    [
        (0xBEDE, b"\0\0\x11ab\0\x30c", [(1, b"ab"), (3, b"c")]),
        (0xBEDE, b"\x10a\xf0b\x20c\0\0", [(1, b"a")]),
        (0xBEDE, b"\x10a\x01bb\x20c\0", [(1, b"a")]),
        (0xBEDE, b"\x10a\x2fb", [(1, b"a")]),
        (0x1000, b"\0\x01\x00\xff\x02ab\0", [(1, b""), (255, b"ab")]),
        (0x100F, b"\x01\x01a\x02\x04bcd", [(1, b"a")]),
        (0x1000, b"\x01\x01a\x02", [(1, b"a")]),
    ],
    ids=["padding between", "id 15 ends them", "id 0 with a length", "too long", "two bytes", "too long", "no length"],
)
def test_elements_end_where_they_cannot_be_read(profile: int, block: bytes, found: list[tuple[int, bytes]]) -> None:
    assert elements(with_block(profile, block)) == found


@given(st.data())
def test_aiortc_and_scapy_read_what_is_built(data: st.DataObject) -> None:
    values = data.draw(st.one_of(ONE_BYTE, TWO_BYTES))
    payload, padding = data.draw(st.binary(max_size=50)), data.draw(st.integers(0, 255))
    payload_type, marker = data.draw(st.integers(0, 127)), data.draw(st.booleans())
    sequence, timestamp, ssrc = data.draw(SIXTEEN), data.draw(THIRTY_TWO), data.draw(THIRTY_TWO)
    packet = build_packet(
        payload_type=payload_type,
        marker=marker,
        sequence=sequence,
        timestamp=timestamp,
        ssrc=ssrc,
        payload=payload,
        padding=padding,
        extensions=values,
    )
    header = header_of(packet)
    expected = (payload_type, marker, sequence, timestamp, ssrc)
    assert header[:5] == expected
    assert packet[header.payload : header.end] == payload
    assert elements(packet) == list(values.items())
    theirs = RtpPacket.parse(bytes(packet))
    assert (theirs.payload_type, bool(theirs.marker), theirs.sequence_number, theirs.timestamp, theirs.ssrc) == expected
    assert theirs.payload == payload
    third = RTP(bytes(packet))
    assert (third.payload_type, bool(third.marker), third.sequence, third.timestamp, third.sourcesync) == expected
    if values:
        block = bytes(packet[header.extension : header.extension_end])
        profile = int.from_bytes(packet[header.extension - 4 : header.extension - 2])
        assert unpack_header_extensions(profile, block) == list(values.items())
        assert pack_header_extensions(list(values.items())) == (profile, block)


@pytest.mark.parametrize(
    "wrong",
    [
        {"payload_type": 128},
        {"sequence": 0x10000},
        {"timestamp": -1},
        {"ssrc": 1 << 32},
        {"padding": 256},
        {"extensions": {0: b"x"}},
        {"extensions": {256: b"x"}},
        {"extensions": {1: bytes(256)}},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_what_no_packet_can_say_is_not_built(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"."):
        build_packet(**({"payload_type": 96, "sequence": 1, "timestamp": 2, "ssrc": 3} | wrong))  # type: ignore[arg-type]


@given(st.binary(max_size=80), st.integers(0, 3))
def test_whatever_comes_is_read_within_its_bounds_or_not_at_all(data: bytes, less: int) -> None:
    size = max(len(data) - less, 0)
    header = read_header(data, size)
    if header is not None:
        assert 12 <= header.payload <= header.end <= size
        assert header.extension == 0 or 16 <= header.extension <= header.extension_end == header.payload
        found = list(extensions(data, header))
        assert all(header.extension < at <= at + length <= header.extension_end for _, at, length in found)
        assert all(at + length < following for (_, at, length), (_, following, _) in pairwise(found))


@given(st.one_of(ONE_BYTE, TWO_BYTES), st.binary(min_size=256, max_size=256))
def test_elements_get_other_ids_and_those_without_one_are_gone(values: dict[int, bytes], table: bytes) -> None:
    packet = build_packet(payload_type=96, sequence=1, timestamp=2, ssrc=3, payload=b"abc", extensions=values)
    before, size = header_of(packet), len(packet)
    most = 14 if before.one_byte else 255
    expected = [(table[number], value) for number, value in values.items() if 0 < table[number] <= most]
    renumber_extensions(packet, before, table)
    assert elements(packet) == expected
    assert (header_of(packet), len(packet)) == (before, size)
    assert packet.endswith(b"abc")


def test_nothing_that_cannot_be_read_is_passed_on_with_ids_of_others() -> None:
    table = bytes(range(256))
    packet = with_block(0xBEDE, b"\x10a\xf0b\x20secret")
    renumber_extensions(packet, header_of(packet), table)
    assert packet == with_block(0xBEDE, b"\x10a" + bytes(9))
    packet = with_block(0x1000, b"\x01\x01a\x02\xffsecret")
    renumber_extensions(packet, header_of(packet), table)
    assert packet == with_block(0x1000, b"\x01\x01a" + bytes(8))


def test_rtcp_is_told_apart_from_rtp() -> None:
    """RFC 5761 §4: 192 to 223 in the second byte, the payload types 64 to 95 with a marker."""
    kinds = {second for second in range(256) if is_rtcp(bytes((0x80, second)))}
    assert kinds == set(range(192, 224))
    assert not is_rtcp(b"\x80")


@given(SIXTEEN, st.integers(-0x8000, 0x7FFF))
def test_sequence_numbers_are_compared_around_their_end(number: int, ahead: int) -> None:
    other = number + ahead & 0xFFFF
    assert seq_delta(other, number) == ahead


@pytest.mark.parametrize("bits", [7, 15, 16, 32])
@given(st.data())
def test_numbers_go_on_whatever_is_lost_or_late(bits: int, data: st.DataObject) -> None:
    half = (1 << bits) // 2
    unwrapper = Unwrapper(bits)
    first = newest = unwrapper.unwrap(data.draw(st.integers(0, (1 << bits) - 1)))
    assert first >= 1 << bits, "what comes late has a number above zero, too"
    for step in data.draw(st.lists(st.integers(-half + 1, half - 1), max_size=20)):
        expected = newest + step
        assert unwrapper.unwrap(expected & ((1 << bits) - 1)) == expected
        newest = max(newest, expected)
