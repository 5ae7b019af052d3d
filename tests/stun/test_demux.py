"""Demultiplexing on the first byte (RFC 7983 §7, RFC 8656 §12; rule 20)."""

from stun.demux import (
    CHANNEL_BITS,
    KIND_BITS,
    LAST_STUN_BYTE,
    TLS_HANDSHAKE,
    FrameKind,
    begins_frame,
    classify,
    is_stun,
)


def test_every_first_byte() -> None:
    """The table of RFC 7983, with RFC 8656's narrower range for ChannelData, byte for byte."""
    table = (
        (range(4), FrameKind.STUN),
        (range(4, 16), FrameKind.OTHER),
        (range(16, 20), FrameKind.ZRTP),
        (range(20, 64), FrameKind.DTLS),
        (range(64, 80), FrameKind.CHANNEL_DATA),
        (range(80, 128), FrameKind.OTHER),
        (range(128, 192), FrameKind.RTP),
        (range(192, 256), FrameKind.OTHER),
    )
    assert [classify(byte) for byte in range(256)] == [kind for bytes_, kind in table for _ in bytes_]


def test_stun_is_told_by_its_first_byte() -> None:
    """RFC 8489 §5: two zero bits, and no method above 0xFFF; an empty frame is nothing."""
    assert [byte for byte in range(256) if is_stun(bytes((byte, 255)))] == [0, 1, 2, 3]
    assert not is_stun(b"")


def test_what_a_frame_of_a_stream_can_begin_with() -> None:
    """RFC 5766 §11: on a stream the end of ChannelData has to be found, although its number is reserved by now."""
    assert [byte for byte in range(256) if begins_frame(byte)] == [*range(4), *range(0x40, 0x80)]


def test_the_constants_agree_with_the_table() -> None:
    """What is compared in place, packet by packet, is what `classify` says."""
    for byte in range(256):
        assert (byte <= LAST_STUN_BYTE) == (classify(byte) is FrameKind.STUN)
        if classify(byte) is FrameKind.CHANNEL_DATA:
            assert byte & KIND_BITS == CHANNEL_BITS
        if byte & KIND_BITS == CHANNEL_BITS:
            assert classify(byte) in (FrameKind.CHANNEL_DATA, FrameKind.OTHER)
    assert classify(TLS_HANDSHAKE) is FrameKind.DTLS
