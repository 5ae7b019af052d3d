"""RTP packets: whatever comes is read within its bounds or not at all, and what is passed on says nothing more."""

from collections.abc import Iterator

from turnserver.media.cache import rtx
from turnserver.media.rtp import (
    build_packet,
    extensions,
    find_extension,
    is_rtcp,
    read_header,
    renumber_extensions,
)

__all__ = ["MAX_LENGTH", "WORDS", "run", "seeds"]

MAX_LENGTH = 300
WORDS = (b"\xbe\xde", b"\x10\x00", b"\x90\x60", b"\xb0\xe0", b"\xa0\x61", b"\x10\x85", b"\x22")
_TABLE = bytes((5 * number + 3) % 256 if number % 3 else 0 for number in range(256))


def seeds() -> Iterator[bytes]:
    """Packets as browsers send them: an audio level, a time, ids of a layer, and padding to probe with."""
    yield from map(bytes, _packets())


def _packets() -> Iterator[bytearray]:
    yield build_packet(payload_type=111, sequence=1, timestamp=2, ssrc=3, payload=b"sound", extensions={1: b"\x85"})
    yield build_packet(
        payload_type=96,
        marker=True,
        sequence=65535,
        timestamp=1 << 31,
        ssrc=3,
        payload=b"picture",
        extensions={2: b"abc", 3: b"\0\1", 4: b"0", 10: b"hi"},
    )
    yield build_packet(payload_type=96, sequence=1, timestamp=2, ssrc=3, extensions={5: bytes(40), 200: b""})
    yield build_packet(payload_type=97, sequence=1, timestamp=2, ssrc=3, padding=255)


def run(data: bytes) -> None:
    """The parts are in their order, and the new ids are those that the table says."""
    is_rtcp(data)
    packet = bytearray(data)
    header = read_header(packet, len(packet))
    if header is None:
        return
    assert 12 <= header.payload <= header.end <= len(data)
    found = [(number, at, data[at : at + length]) for number, at, length in extensions(packet, header)]
    most = 14 if header.one_byte else 255
    expected = [(_TABLE[number], at, value) for number, at, value in found if 0 < _TABLE[number] <= most]
    renumber_extensions(packet, header, _TABLE)
    assert read_header(packet, len(packet)) == header
    assert [(n, at, bytes(packet[at : at + size])) for n, at, size in extensions(packet, header)] == expected
    assert find_extension(packet, header, 0) is None
    assert packet[header.payload :] == data[header.payload :]
    retransmission = rtx(bytearray(data), ssrc=1, payload_type=8, sequence=2, original=0xABCD)
    moved = read_header(retransmission, len(retransmission))
    assert moved is not None
    assert (moved.payload, moved.end, moved.ssrc) == (header.payload, header.end + 2, 1)
    assert retransmission[moved.payload :] == b"\xab\xcd" + data[header.payload :]
