"""RTP packets (RFC 3550 §5.1) and their header extensions (RFC 8285), read and rewritten where they lie.

A packet is looked at once and becomes one tuple of offsets; nothing is copied. Whatever comes from the network is
either read in full, or is no RTP packet: nothing here raises for it.
"""

import struct
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple, TypeAlias

__all__ = [
    "FIXED",
    "Header",
    "PacketMemory",
    "Unwrapper",
    "build_packet",
    "extensions",
    "find_extension",
    "is_rtcp",
    "read_header",
    "renumber_extensions",
    "seq_delta",
]

PacketMemory: TypeAlias = bytes | bytearray | memoryview
"""Memory in which a packet begins; it may be longer than the packet."""

FIXED: Final = 12
"""Bytes of the header that every packet has."""

_ONE_BYTE: Final = 0xBEDE
"""Announces elements with a byte each before their value (RFC 8285 §4.2)."""

_TWO_BYTES: Final = 0x100
"""Its first twelve bits announce elements with two bytes each (RFC 8285 §4.3); the last four are the application's."""

_LAST_ONE_BYTE: Final = 14
"""The largest id in the form of one byte; 15 ends the elements (RFC 8285 §4.2)."""

_read_fixed: Final = struct.Struct("!BBHII").unpack_from
_new: Final = tuple.__new__


class Header(NamedTuple):
    """What a packet's header says, and where its parts are, as offsets in bytes.

    ``payload`` is where the payload begins, and ``end`` where it ends, before the padding. The elements of the header
    extension lie from ``extension`` to ``extension_end``, in the form of one byte or of two; ``extension`` is 0 if
    there are none that can be read.
    """

    payload_type: int
    marker: bool
    sequence: int
    timestamp: int
    ssrc: int
    payload: int
    end: int
    extension: int
    extension_end: int
    one_byte: bool


def read_header(packet: PacketMemory, size: int) -> Header | None:
    """The header of a packet of ``size`` bytes, at most those of its memory; None if it is no RTP packet."""
    if size < FIXED:
        return None
    first, second, sequence, timestamp, ssrc = _read_fixed(packet)
    if first >> 6 != 2:
        return None
    payload = FIXED + 4 * (first & 0x0F)
    extension = extension_end = 0
    one_byte = True
    if first & 0x10:
        extension = payload + 4
        if extension > size:
            return None
        profile = packet[payload] << 8 | packet[payload + 1]
        payload = extension_end = extension + 4 * (packet[payload + 2] << 8 | packet[payload + 3])
        if profile != _ONE_BYTE:
            one_byte = False
            if profile >> 4 != _TWO_BYTES:
                extension = extension_end = 0
    end = size
    if first & 0x20:
        padding = packet[size - 1]
        if not padding:
            return None
        end -= padding
    if end < payload:
        return None
    marker, payload_type = second > 0x7F, second & 0x7F
    return _new(
        Header,
        (payload_type, marker, sequence, timestamp, ssrc, payload, end, extension, extension_end, one_byte),
    )


def extensions(packet: PacketMemory, header: Header) -> Iterator[tuple[int, int, int]]:
    """The elements of the header extension: id, offset and bytes of each value.

    They end with the first one that cannot be read.
    """
    at, end = header.extension, header.extension_end
    if header.one_byte:
        while at < end:
            first = packet[at]
            at += 1
            if not first:
                continue
            number, length = first >> 4, (first & 0x0F) + 1
            if not 0 < number <= _LAST_ONE_BYTE or at + length > end:
                return
            yield number, at, length
            at += length
    else:
        while at < end:
            number = packet[at]
            at += 1
            if not number:
                continue
            if at >= end or at + 1 + packet[at] > end:
                return
            length = packet[at]
            yield number, at + 1, length
            at += 1 + length


def find_extension(packet: PacketMemory, header: Header, id: int) -> tuple[int, int] | None:
    """Offset and bytes of the first value with this id; None if there is none."""
    for number, at, length in extensions(packet, header):
        if number == id:
            return at, length
    return None


def renumber_extensions(packet: bytearray | memoryview, header: Header, mapping: bytes) -> None:
    """Give every element another id, the byte at its own in ``mapping``, which has 256.

    An element becomes padding if its new id is 0, or cannot be written in the form that the packet has. So does what
    follows the last element that can be read: nobody gets anything under an id that was not agreed on.
    """
    head = 1 if header.one_byte else 2
    read = header.extension
    for number, at, length in extensions(packet, header):
        new = mapping[number]
        if not new or (head == 1 and new > _LAST_ONE_BYTE):
            packet[at - head : at + length] = bytes(head + length)
        else:
            packet[at - head] = new << 4 | length - 1 if head == 1 else new
        read = at + length
    if read < header.extension_end:
        packet[read : header.extension_end] = bytes(header.extension_end - read)


def is_rtcp(packet: PacketMemory) -> bool:
    """Whether what came where RTP and RTCP come is RTCP (RFC 5761 §4)."""
    return len(packet) > 1 and 192 <= packet[1] <= 223


def seq_delta(a: int, b: int) -> int:
    """How far the sequence number ``a`` is ahead of ``b``: from -32,768 to 32,767 (RFC 1982)."""
    return (a - b + 0x8000 & 0xFFFF) - 0x8000


class Unwrapper:
    """Makes numbers of ``bits`` bits, which begin again at 0, into ones that go on: of sequence numbers, of timestamps.

    The first is one cycle above what it was, so that some of before it have numbers above zero, too.
    """

    __slots__ = ("_half", "_mask", "_newest")

    def __init__(self, bits: int = 16) -> None:
        self._mask = (1 << bits) - 1
        self._half = 1 << (bits - 1)
        self._newest: int | None = None

    def unwrap(self, value: int) -> int:
        """The number that is meant: the one that is nearest to the newest so far."""
        newest = self._newest
        if newest is None:
            self._newest = value + self._mask + 1
            return self._newest
        number = newest + ((value - newest + self._half) & self._mask) - self._half
        if number > newest:
            self._newest = number
        return number


def build_packet(
    *,
    payload_type: int,
    sequence: int,
    timestamp: int,
    ssrc: int,
    payload: bytes = b"",
    marker: bool = False,
    padding: int = 0,
    extensions: Mapping[int, bytes] | None = None,
) -> bytearray:
    """A packet with ``padding`` bytes of padding, and with header extensions in the shortest form that has room.

    Raises ValueError for what no packet can say.
    """
    if not 0 <= payload_type <= 0x7F or 0 in (extensions or ()):
        raise ValueError("not to be written as RTP: a payload type has seven bits, and an id is not 0")
    first = 0x80 | (0x20 if padding else 0) | (0x10 if extensions else 0)
    try:
        packet = bytearray(
            struct.pack("!BBHII", first, marker << 7 | payload_type, sequence, timestamp, ssrc)
            + (_extension_block(extensions) if extensions else b"")
            + payload
        )
        if padding:
            packet += struct.pack(f"!{padding - 1}xB", padding)
    except struct.error as error:
        raise ValueError(f"not to be written as RTP: {error}") from error
    return packet


def _extension_block(elements: Mapping[int, bytes]) -> bytes:
    if all(0 < number <= _LAST_ONE_BYTE and 0 < len(value) <= 16 for number, value in elements.items()):
        profile = _ONE_BYTE
        block = b"".join(bytes((number << 4 | len(value) - 1,)) + value for number, value in elements.items())
    else:
        profile = _TWO_BYTES << 4
        block = b"".join(bytes((number, len(value))) + value for number, value in elements.items())
    block += bytes(-len(block) % 4)
    return struct.pack("!HH", profile, len(block) // 4) + block
