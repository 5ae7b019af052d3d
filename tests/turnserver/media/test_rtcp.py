"""RTCP, read and written; aiortc's readers and writers are the other side."""

import struct
from itertools import pairwise

import pytest
from aiortc import rtp as theirs
from hypothesis import given
from hypothesis import strategies as st

from turnserver.media.rtcp import (
    MOST_LOST,
    MOST_PACKETS,
    Fir,
    Nack,
    Packet,
    Pli,
    ReceiverReport,
    Remb,
    ReportBlock,
    RtcpBye,
    SenderReport,
    SourceDescription,
    TransportFeedback,
    UnknownRtcp,
    read_compound,
    write,
)
from turnserver.media.twcc import MOST_READ

WORD = st.integers(0, 0xFFFFFFFF)
SIXTEEN = st.integers(0, 0xFFFF)

BLOCKS = st.builds(ReportBlock, WORD, st.integers(0, 255), st.integers(-0x800000, 0x7FFFFF), WORD, WORD, WORD, WORD)
TEXT = st.text(max_size=60)
"""At most 240 bytes in UTF-8."""

REPORTS = st.one_of(
    st.builds(
        SenderReport, WORD, st.integers(0, (1 << 64) - 1), WORD, WORD, WORD, st.lists(BLOCKS, max_size=31).map(tuple)
    ),
    st.builds(ReceiverReport, WORD, st.lists(BLOCKS, max_size=31).map(tuple)),
)
OTHERS = st.one_of(
    st.builds(SourceDescription, st.dictionaries(WORD, TEXT, max_size=1)),
    st.builds(RtcpBye, st.lists(WORD, max_size=31).map(tuple)),
    st.builds(Nack, WORD, WORD, st.sets(SIXTEEN, min_size=1, max_size=58).map(sorted).map(tuple)),
    st.builds(Pli, WORD, WORD),
    st.builds(Remb, WORD, st.builds(lambda mantissa, exponent: mantissa << exponent, st.integers(0, 0x3FFFF),
                                    st.integers(0, 45)), st.lists(WORD, max_size=255).map(tuple)),
)  # fmt: skip
"""What aiortc knows. It writes no padding between the names of several sources, which RFC 3550 §6.5 asks for."""

OURS = st.one_of(
    st.builds(SourceDescription, st.dictionaries(WORD, TEXT, max_size=31)),
    st.builds(lambda requests: Fir(5, *map(tuple, zip(*requests, strict=True))),
              st.lists(st.tuples(WORD, st.integers(0, 255)), min_size=1, max_size=20)),
    st.builds(RtcpBye, st.lists(WORD, max_size=31).map(tuple), TEXT),
    st.builds(TransportFeedback, WORD, WORD, st.integers(0, 255), SIXTEEN, st.integers(-9, 9),
              st.lists(st.one_of(st.none(), st.integers(-200, 400)), min_size=1, max_size=40).map(tuple)),
    st.builds(UnknownRtcp, st.sampled_from([192, 204, 207, 255]), st.integers(0, 31),
              st.integers(0, 5).map(lambda words: bytes(4 * words))),
    st.builds(UnknownRtcp, st.sampled_from([205, 206]), st.sampled_from([2, 3, 5, 14]), st.just(bytes(8))),
)  # fmt: skip


def as_theirs(packet: Packet) -> object:
    def info(block: ReportBlock) -> theirs.RtcpReceiverInfo:
        return theirs.RtcpReceiverInfo(
            ssrc=block.ssrc,
            fraction_lost=block.fraction_lost,
            packets_lost=block.packets_lost,
            highest_sequence=block.highest_sequence,
            jitter=block.jitter,
            lsr=block.last_report,
            dlsr=block.delay,
        )

    match packet:
        case SenderReport(sender, ntp, timestamp, packets, octets, blocks):
            sent = theirs.RtcpSenderInfo(
                ntp_timestamp=ntp, rtp_timestamp=timestamp, packet_count=packets, octet_count=octets
            )
            return theirs.RtcpSrPacket(ssrc=sender, sender_info=sent, reports=[info(block) for block in blocks])
        case ReceiverReport(sender, blocks):
            return theirs.RtcpRrPacket(ssrc=sender, reports=[info(block) for block in blocks])
        case SourceDescription(names):
            chunks = [theirs.RtcpSourceInfo(ssrc=ssrc, items=[(1, name.encode())]) for ssrc, name in names.items()]
            return theirs.RtcpSdesPacket(chunks=chunks)
        case RtcpBye(sources):
            return theirs.RtcpByePacket(sources=list(sources))
        case Nack(sender, media, lost):
            return theirs.RtcpRtpfbPacket(fmt=1, ssrc=sender, media_ssrc=media, lost=list(lost))
        case Pli(sender, media):
            return theirs.RtcpPsfbPacket(fmt=1, ssrc=sender, media_ssrc=media)
        case Remb(sender, bitrate, ssrcs):
            fci = theirs.pack_remb_fci(bitrate, list(ssrcs))
            return theirs.RtcpPsfbPacket(fmt=15, ssrc=sender, media_ssrc=0, fci=fci)
    raise AssertionError(packet)


@given(st.lists(st.one_of(REPORTS, OTHERS), min_size=1, max_size=6))
def test_aiortc_reads_what_is_written_and_writes_what_is_read(packets: list[Packet]) -> None:
    expected = [as_theirs(packet) for packet in packets]
    assert theirs.RtcpPacket.parse(write(packets)) == expected
    assert read_compound(memoryview(b"".join(bytes(packet) for packet in expected))) == packets  # type: ignore[call-overload]


@given(st.lists(st.one_of(REPORTS, OTHERS, OURS), max_size=8))
def test_what_is_written_is_read_again(packets: list[Packet]) -> None:
    assert read_compound(write(packets)) == packets


@given(st.one_of(st.binary(max_size=200), st.builds(lambda first, rest: write([first]) + rest, REPORTS, st.binary())))
def test_whatever_comes_is_read_without_an_exception(data: bytes) -> None:
    found = read_compound(data)
    assert len(found) <= MOST_PACKETS
    assert read_compound(write(found)) == found


@given(st.one_of(REPORTS, OTHERS, OURS), st.data())
def test_a_packet_whose_body_is_cut_is_left_out_or_shorter_and_the_next_one_is_read(
    packet: Packet, data: st.DataObject
) -> None:
    whole = write([packet])
    words = data.draw(st.integers(1, len(whole) // 4)) if len(whole) > 4 else 1
    cut = whole[:2] + struct.pack("!H", words - 1) + whole[4 : 4 * words]
    found = read_compound(cut + write([Pli(1, 2)]))
    assert found[-1] == Pli(1, 2)
    assert len(found) <= 2


REPORT = write([ReceiverReport(5)])


@pytest.mark.parametrize(
    ("tail", "more"),
    [
        (b"\x81\xce\0", 0),
        (b"\x81\xce\0\2" + bytes(7), 0),
        (b"\x41\xce\0\2" + bytes(8), 0),
        (b"\xa1\xce\0\0", 0),
        (b"\xa1\xce\0\2" + bytes(8), 0),
        (b"\xa1\xce\0\2" + bytes(7) + b"\x09", 0),
        (b"\xa1\xce\0\3" + bytes(8) + b"\0\0\0\4", 1),
        (b"\x81\xce\0\1" + bytes(4), 0),
        (b"\x81\xcd\0\2" + bytes(8), 0),
        (b"\x84\xce\0\2" + bytes(8), 0),
        (b"\x8f\xce\0\4" + bytes(8) + b"REMB\2\0\0\0", 0),
        (b"\x8f\xce\0\3" + bytes(8) + b"REMC", 1),
        (b"\x81\xca\0\1" + bytes(4), 0),
        (b"\x81\xca\0\2" + bytes(4) + b"\1\2ab", 0),
        (b"\x81\xca\0\2" + bytes(4) + b"\2\2a\0", 0),
        (b"\x81\xca\0\2" + bytes(4) + b"\2\1a\0", 1),
        (b"\x81\xcb\0\0", 0),
        (b"\x80\xcb\0\1\4abc", 0),
    ],
    ids=[
        "no length",
        "a length beyond the end",
        "version 1",
        "padding without a body",
        "padding of no bytes",
        "more padding than there is",
        "padding",
        "a PLI about nothing",
        "a NACK of nothing",
        "an FIR to nobody",
        "a REMB with too few sources",
        "feedback of an application",
        "a name without an item",
        "a name without an end",
        "an item beyond the end",
        "a source without a name",
        "a BYE without its source",
        "a reason beyond the end",
    ],
)
def test_a_malformed_tail_is_dropped(tail: bytes, more: int) -> None:
    found = read_compound(REPORT + tail)
    assert found[0] == ReceiverReport(5)
    assert len(found) == 1 + more


def test_what_a_datagram_can_ask_for_is_bounded() -> None:
    assert len(read_compound(write([Pli(1, 2)] * 2 * MOST_PACKETS))) == MOST_PACKETS
    everything = struct.pack("!BBHII", 0x81, 205, 352, 1, 2) + b"\0\1\xff\xff" * 350
    (nack,) = read_compound(everything)
    assert isinstance(nack, Nack)
    assert len(nack.sequences) == MOST_LOST


def test_every_source_begins_at_a_whole_word() -> None:
    names = SourceDescription({1: "a", 2: "", 3: "abcde"})
    written = b"\x83\xca\0\7" + b"\0\0\0\1\1\1a\0" + b"\0\0\0\2\1\0\0\0" + b"\0\0\0\3\1\5abcde\0"
    assert write([names]) == written
    assert read_compound(written) == [names]


def test_missing_numbers_are_named_in_few_bytes() -> None:
    lost = [65530, *range(65534, 65536), *range(11)]
    written = write([Nack(1, 2, lost)])
    assert len(written) == 12 + 4
    assert read_compound(written) == [Nack(1, 2, tuple(lost))]
    assert read_compound(write([Nack(1, 2, [7, 7, 8, 8])])) == [Nack(1, 2, (7, 8))]


def test_a_bitrate_is_rounded_down_to_eighteen_bits() -> None:
    for bitrate in (0, 1, 0x3FFFF, 0x40001, 2_500_001, 10**12):
        (remb,) = read_compound(write([Remb(1, bitrate, (2,))]))
        assert isinstance(remb, Remb)
        assert remb.bitrate <= bitrate <= remb.bitrate * (1 + 2**-17)


@pytest.mark.parametrize(
    "packet",
    [
        ReceiverReport(1 << 32),
        ReceiverReport(1, (ReportBlock(1, 256, 0, 0, 0, 0, 0),)),
        ReceiverReport(1, (ReportBlock(1, 0, 1 << 23, 0, 0, 0, 0),)),
        ReceiverReport(1, (ReportBlock(1, 0, 0, 0, 0, 0, 0),) * 32),
        SenderReport(1, -1, 0, 0, 0),
        SourceDescription({1: "x" * 256}),
        SourceDescription(dict.fromkeys(range(32), "x")),
        RtcpBye((1,), "x" * 256),
        Nack(1, 2, [65536]),
        Pli(-1, 2),
        Fir(1, (2,), (256,)),
        Fir(1, (2,), (1, 2)),
        Remb(1, -1, (2,)),
        Remb(1, 1 << 82, (2,)),
        Remb(1, 1, (2,) * 256),
        TransportFeedback(1, 2, 0, 0, 0, (0x8000,)),
        TransportFeedback(1, 2, 0, 1 << 16, 0, (1,)),
        UnknownRtcp(204, 32, b""),
        UnknownRtcp(204, 1, b"abc"),
    ],
    ids=lambda packet: type(packet).__name__,
)
def test_what_cannot_be_said_is_not_written(packet: Packet) -> None:
    with pytest.raises(ValueError, match=r"."):
        write([packet])


@given(st.lists(SIXTEEN, min_size=1, max_size=100))
def test_numbers_in_any_order_are_named_in_that_order(lost: list[int]) -> None:
    (nack,) = read_compound(write([Nack(1, 2, lost)]))
    assert isinstance(nack, Nack)
    expected = [number for before, number in pairwise([None, *lost]) if number != before]
    assert set(nack.sequences) == set(expected)


def test_one_datagram_makes_a_bounded_amount_of_work() -> None:
    """Feedbacks that say in two bytes that thousands are missing, and NACKs that name a thousand each."""
    missing = struct.pack("!BBHIIHHIH", 0x8F, 205, 5, 1, 2, 0, 4000, 0, 4000) + bytes(2)
    whole = read_compound(missing * 60 + write([Pli(1, 2)]))
    assert len([each for each in whole if isinstance(each, TransportFeedback)]) == MOST_READ // 4000
    assert whole[-1] == Pli(1, 2)
    broken = missing[:-4] + struct.pack("!HH", 0x2000 | 4000, 0)
    assert read_compound(broken * 60) == []
    nack = write([Nack(1, 2, tuple(range(0, 17 * 40)))])
    found = [each for each in read_compound(nack * 30 + write([Pli(1, 2)])) if isinstance(each, Nack)]
    assert sum(len(each.sequences) for each in found) <= 2 * MOST_LOST
