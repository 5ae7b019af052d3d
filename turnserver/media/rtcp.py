"""RTCP: what senders and receivers of RTP tell each other (RFC 3550 §6, RFC 4585, RFC 5104).

A compound packet is read without trust and without exceptions. A packet in it whose content is malformed is left out;
where the lengths do not fit any more, the rest is. Reduced-size packets (RFC 5506) are read like the others.
"""

import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from turnserver.media.twcc import MOST_READ, TransportFeedback, covered, read_feedback, write_feedback

__all__ = [
    "MOST_LOST",
    "MOST_PACKETS",
    "Fir",
    "Nack",
    "Packet",
    "Pli",
    "ReceiverReport",
    "Remb",
    "ReportBlock",
    "RtcpBye",
    "SenderReport",
    "SourceDescription",
    "TransportFeedback",
    "UnknownRtcp",
    "read_compound",
    "write",
]

MOST_PACKETS: Final = 64
"""Packets that are read of one compound packet. Browsers send about five."""

MOST_LOST: Final = 1_000
"""Sequence numbers that are read of the NACKs of one compound packet. A browser asks for no more at once, and 1,500
bytes could name 6,000."""

_SR, _RR, _SDES, _BYE, _RTPFB, _PSFB = 200, 201, 202, 203, 205, 206
_NACK, _TWCC = 1, 15
_PLI, _FIR, _AFB = 1, 4, 15
_REMB: Final = b"REMB"
_CNAME: Final = 1

_MOST_COUNTED: Final = 31
"""Report blocks or sources that the five bits of a count can say."""

_MANTISSA: Final = 18
"""Bits of a bitrate's mantissa (draft-alvestrand-rmcat-remb-03 §2.2)."""


@dataclass(frozen=True, slots=True)
class ReportBlock:
    """How a stream is received (RFC 3550 §6.4.1).

    ``fraction_lost`` is in 256ths since the last report, ``packets_lost`` may be below zero where packets were
    repeated, ``jitter`` is in units of the timestamp. ``last_report`` are the middle 32 bits of the last sender
    report's time, and ``delay`` says how long ago that came, in 1/65536 s; both are 0 before the first one.
    """

    ssrc: int
    fraction_lost: int
    packets_lost: int
    highest_sequence: int
    jitter: int
    last_report: int
    delay: int


@dataclass(frozen=True, slots=True)
class SenderReport:
    """What was sent, and which timestamp belongs to which time (RFC 3550 §6.4.1).

    ``ntp`` is in 1/2**32 s since 1900, or since any other moment of the sender's.
    """

    sender: int
    ntp: int
    timestamp: int
    packets: int
    octets: int
    blocks: tuple[ReportBlock, ...] = ()


@dataclass(frozen=True, slots=True)
class ReceiverReport:
    """What was received (RFC 3550 §6.4.2)."""

    sender: int
    blocks: tuple[ReportBlock, ...] = ()


@dataclass(frozen=True, slots=True)
class SourceDescription:
    """The canonical names (CNAME) of sources, by SSRC (RFC 3550 §6.5).

    Other items are left out, and so is what is not UTF-8.
    """

    names: Mapping[int, str]


@dataclass(frozen=True, slots=True)
class RtcpBye:
    """Sources that have ended (RFC 3550 §6.6)."""

    sources: tuple[int, ...]
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Nack:
    """Sequence numbers that are missing (RFC 4585 §6.2.1); consecutive ones need the least room in order."""

    sender: int
    media: int
    sequences: Sequence[int]


@dataclass(frozen=True, slots=True)
class Pli:
    """A picture was lost: a keyframe is asked for (RFC 4585 §6.3.1)."""

    sender: int
    media: int


@dataclass(frozen=True, slots=True)
class Fir:
    """A keyframe is asked for of each of ``ssrcs`` (RFC 5104 §4.3.1).

    A request with the same number, at the same place in ``numbers``, is the same one again. Missing numbers are 0.
    """

    sender: int
    ssrcs: tuple[int, ...]
    numbers: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Remb:
    """The bit/s that a receiver believes to get, of all ``ssrcs`` together (draft-alvestrand-rmcat-remb-03).

    Eighteen bits of the bitrate are written, and the rest is rounded down.
    """

    sender: int
    bitrate: int
    ssrcs: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class UnknownRtcp:
    """A packet of another kind: its type, the five bits of its count or format, and what is behind its length."""

    kind: int
    count: int
    body: bytes


Packet: TypeAlias = (
    SenderReport
    | ReceiverReport
    | SourceDescription
    | RtcpBye
    | Nack
    | Pli
    | Fir
    | Remb
    | TransportFeedback
    | UnknownRtcp
)


def read_compound(data: bytes | bytearray | memoryview) -> list[Packet]:
    """The packets of a compound packet, as far as they can be read; at most `MOST_PACKETS`."""
    data = bytes(data)
    found: list[Packet] = []
    at = lost = numbers = 0
    for _ in range(MOST_PACKETS):
        if at + 4 > len(data) or data[at] >> 6 != 2:
            break
        first, kind, words = struct.unpack_from("!BBH", data, at)
        end = at + 4 + 4 * words
        if end > len(data):
            break
        body = data[at + 4 : end]
        at = end
        if first & 0x20:
            # Only the last packet is padded (RFC 3550 §6.4.1), by whole words that are counted in its last byte.
            if not body or not 0 < body[-1] <= len(body):
                break
            body = body[: -body[-1]]
        count = first & 0x1F
        if kind == _RTPFB and count == _NACK and lost >= MOST_LOST:
            continue
        if kind == _RTPFB and count == _TWCC:
            about = covered(body[8:])  # malformed ones cost as much
            if numbers + about > MOST_READ:
                continue
            numbers += about
        packet = _read(kind, count, body)
        if packet is not None:
            found.append(packet)
        if isinstance(packet, Nack):
            lost += len(packet.sequences)
    return found


def _read(kind: int, count: int, body: bytes) -> Packet | None:
    reader = _READERS.get(kind)
    if reader is None:
        return UnknownRtcp(kind, count, body)
    return reader(count, body)


def _read_blocks(count: int, body: bytes, at: int) -> tuple[ReportBlock, ...]:
    blocks = []
    for _ in range(count):
        ssrc, lost, *rest = struct.unpack_from("!IIIIII", body, at)
        total = lost & 0xFFFFFF
        blocks.append(ReportBlock(ssrc, lost >> 24, total - ((total & 0x800000) << 1), *rest))
        at += 24
    return tuple(blocks)


def _read_sender_report(count: int, body: bytes) -> SenderReport | None:
    if len(body) < 24 + 24 * count:
        return None
    sender, ntp, timestamp, packets, octets = struct.unpack_from("!IQIII", body)
    return SenderReport(sender, ntp, timestamp, packets, octets, _read_blocks(count, body, 24))


def _read_receiver_report(count: int, body: bytes) -> ReceiverReport | None:
    if len(body) < 4 + 24 * count:
        return None
    return ReceiverReport(int.from_bytes(body[:4]), _read_blocks(count, body, 4))


def _read_description(count: int, body: bytes) -> SourceDescription | None:
    names: dict[int, str] = {}
    at = 0
    for _ in range(count):
        if at + 5 > len(body):
            return None
        ssrc = int.from_bytes(body[at : at + 4])
        at += 4
        while True:
            if at >= len(body):
                return None
            item = body[at]
            if not item:
                break
            if at + 2 > len(body) or at + 2 + body[at + 1] > len(body):
                return None
            if item == _CNAME:
                names[ssrc] = body[at + 2 : at + 2 + body[at + 1]].decode("utf-8", "ignore")
            at += 2 + body[at + 1]
        at = (at + 4) & ~3
    return SourceDescription(names)


def _read_bye(count: int, body: bytes) -> RtcpBye | None:
    end = 4 * count
    if len(body) < end:
        return None
    reason = b""
    if len(body) > end:
        reason = body[end + 1 : end + 1 + body[end]]
        if len(reason) < body[end]:
            return None
    return RtcpBye(struct.unpack_from(f"!{count}I", body), reason.decode("utf-8", "ignore"))


def _read_transport_layer(count: int, body: bytes) -> Packet | None:
    if count not in {_NACK, _TWCC}:
        return UnknownRtcp(_RTPFB, count, body)
    if len(body) < 8:
        return None
    sender, media = struct.unpack_from("!II", body)
    if count == _TWCC:
        return read_feedback(sender, media, body[8:])
    lost: list[int] = []
    for at in range(8, len(body) - 3, 4):
        first, others = struct.unpack_from("!HH", body, at)
        lost.append(first)
        lost += [first + place + 1 & 0xFFFF for place in range(16) if others >> place & 1]
        if len(lost) >= MOST_LOST:
            break
    return Nack(sender, media, tuple(lost[:MOST_LOST])) if lost else None


def _read_payload_specific(count: int, body: bytes) -> Packet | None:
    is_remb = count == _AFB and body[8:12] == _REMB
    if count not in {_PLI, _FIR} and not is_remb:
        return UnknownRtcp(_PSFB, count, body)
    if len(body) < 8:
        return None
    sender, media = struct.unpack_from("!II", body)
    if count == _PLI:
        return Pli(sender, media)
    if count == _FIR:
        requests = [struct.unpack_from("!IB", body, at) for at in range(8, len(body) - 7, 8)]
        return Fir(sender, tuple(ssrc for ssrc, _ in requests), tuple(n for _, n in requests)) if requests else None
    if len(body) < 16 or len(body) < 16 + 4 * body[12]:
        return None
    rate = int.from_bytes(body[13:16])
    bitrate = (rate & (1 << _MANTISSA) - 1) << (rate >> _MANTISSA)
    return Remb(sender, bitrate, struct.unpack_from(f"!{body[12]}I", body, 16))


_READERS: Final[Mapping[int, Callable[[int, bytes], Packet | None]]] = {
    _SR: _read_sender_report,
    _RR: _read_receiver_report,
    _SDES: _read_description,
    _BYE: _read_bye,
    _RTPFB: _read_transport_layer,
    _PSFB: _read_payload_specific,
}


def write(packets: Sequence[Packet]) -> bytes:
    """A compound packet. A report belongs at its beginning (RFC 3550 §6.1) unless reduced size was agreed on.

    Raises ValueError for what RTCP cannot say.
    """
    try:
        return b"".join(_framed(*_write(packet)) for packet in packets)
    except (struct.error, OverflowError) as error:
        raise ValueError(f"not to be written as RTCP: {error}") from error


def _framed(kind: int, count: int, body: bytes) -> bytes:
    if not 0 <= count <= _MOST_COUNTED:
        raise ValueError(f"not to be written as RTCP: a count has five bits, and {count} more")
    if len(body) % 4:
        raise ValueError("not to be written as RTCP: a packet has whole words of four bytes")
    return struct.pack("!BBH", 0x80 | count, kind, len(body) // 4) + body


def _write(packet: Packet) -> tuple[int, int, bytes]:
    """Its type, its count or format, and its body."""
    match packet:
        case SenderReport(sender, ntp, timestamp, sent, octets, blocks):
            body = struct.pack("!IQIII", sender, ntp, timestamp, sent, octets)
            return _SR, len(blocks), body + _write_blocks(blocks)
        case ReceiverReport(sender, blocks):
            return _RR, len(blocks), struct.pack("!I", sender) + _write_blocks(blocks)
        case SourceDescription(names):
            return _SDES, len(names), b"".join(_chunk(ssrc, name.encode()) for ssrc, name in names.items())
        case RtcpBye(sources, reason):
            return _BYE, len(sources), struct.pack(f"!{len(sources)}I", *sources) + _reason(reason.encode())
        case UnknownRtcp(kind, count, body):
            return kind, count, body
        case _:
            return _write_feedback(packet)


def _write_feedback(packet: Nack | Pli | Fir | Remb | TransportFeedback) -> tuple[int, int, bytes]:
    match packet:
        case Nack(sender, media, sequences):
            pairs = b"".join(struct.pack("!HH", first, others) for first, others in _pairs(sequences))
            return _RTPFB, _NACK, struct.pack("!II", sender, media) + pairs
        case Pli(sender, media):
            return _PSFB, _PLI, struct.pack("!II", sender, media)
        case Fir(sender, ssrcs, numbers):
            requests = zip(ssrcs, (*numbers, *(0,) * (len(ssrcs) - len(numbers))), strict=True)
            return _PSFB, _FIR, struct.pack("!II", sender, 0) + b"".join(struct.pack("!IB3x", *r) for r in requests)
        case Remb(sender, bitrate, ssrcs):
            exponent = max(bitrate.bit_length() - _MANTISSA, 0)
            rate = struct.pack("!BI", len(ssrcs), exponent << _MANTISSA | bitrate >> exponent)
            body = struct.pack("!II", sender, 0) + _REMB + rate[:1] + rate[2:]
            if rate[1]:
                raise ValueError(f"not to be written as RTCP: {bitrate} bit/s")
            return _PSFB, _AFB, body + struct.pack(f"!{len(ssrcs)}I", *ssrcs)
        case TransportFeedback(sender, media):
            body = write_feedback(packet)
            return _RTPFB, _TWCC, struct.pack("!II", sender, media) + body + bytes(-len(body) % 4)


def _write_blocks(blocks: Sequence[ReportBlock]) -> bytes:
    return b"".join(
        struct.pack("!IB", block.ssrc, block.fraction_lost)
        + block.packets_lost.to_bytes(3, signed=True)
        + struct.pack("!IIII", block.highest_sequence, block.jitter, block.last_report, block.delay)
        for block in blocks
    )


def _chunk(ssrc: int, name: bytes) -> bytes:
    chunk = struct.pack("!IBB", ssrc, _CNAME, len(name)) + name + b"\0"
    return chunk + bytes(-len(chunk) % 4)


def _reason(reason: bytes) -> bytes:
    text = bytes((len(reason),)) + reason if reason else b""
    return text + bytes(-len(text) % 4)


def _pairs(sequences: Sequence[int]) -> Iterator[tuple[int, int]]:
    """The first of at most 17 consecutive numbers, and a bit for each of the others that is missing, too."""
    first: int | None = None
    others = 0
    for sequence in sequences:
        if first is not None and 0 < (after := sequence - first & 0xFFFF) <= 16:
            others |= 1 << (after - 1)
        elif sequence != first:
            if first is not None:
                yield first, others
            first, others = sequence, 0
    if first is not None:
        yield first, others
