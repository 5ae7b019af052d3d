"""Compound RTCP packets: whatever comes is read without an exception, and what was read can be written again."""

from collections.abc import Iterator

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

__all__ = ["MAX_LENGTH", "WORDS", "run", "seeds"]

MAX_LENGTH = 400
WORDS = (b"REMB", *(bytes((first, kind)) for first, kind in ((0x80, 200), (0x81, 201), (0x81, 202), (0x81, 203))))
WORDS += (b"\x81\xcd", b"\x8f\xcd", b"\x81\xce", b"\x84\xce", b"\x8f\xce", b"\x20\x07", b"\xd8\x52", b"\xa0\0")
_BLOCK = ReportBlock(1, 5, -7, 70000, 90, 1 << 31, 65536)


def seeds() -> Iterator[bytes]:
    """What browsers send: reports first, and feedback behind them."""
    packets: list[Packet] = [
        SenderReport(1, 1 << 63, 3, 4, 5, (_BLOCK,)),
        ReceiverReport(1, (_BLOCK, _BLOCK)),
        SourceDescription({1: "name", 2: ""}),
        RtcpBye((1, 2), "over"),
        Nack(1, 2, (65530, 65535, 4, 70)),
        Pli(1, 2),
        Fir(1, (2, 3), (4, 5)),
        Remb(1, 2_500_000, (2, 3)),
        TransportFeedback.of(1, 2, 3, {1: 0.1, 2: 0.11, 4: 0.09, 40: 0.5}),
        UnknownRtcp(207, 0, bytes(8)),
    ]
    yield from (write([packet]) for packet in packets)
    yield write(packets)


def run(data: bytes) -> None:
    """Bounded, and the same again."""
    found = read_compound(data)
    assert len(found) <= MOST_PACKETS
    for packet in found:
        if isinstance(packet, Nack):
            assert 0 < len(packet.sequences) <= MOST_LOST
        elif isinstance(packet, TransportFeedback):
            assert 0 < len(packet.deltas) <= MOST_READ
            assert len(list(packet.arrivals)) == len(packet.deltas)
        elif isinstance(packet, UnknownRtcp) and len(packet.body) % 4:
            return
    again = read_compound(write(found))
    assert [_plain(packet) for packet in again] == [_plain(packet) for packet in found]


def _plain(packet: Packet) -> object:
    """What is compared: a NACK may name a number twice, and names it once when it is written."""
    return set(packet.sequences) if isinstance(packet, Nack) else packet
