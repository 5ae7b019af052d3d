"""Demultiplexing on the first byte (RFC 7983 §7, RFC 8656 §12; rule 20)."""

from stun.demux import FrameKind, classify


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
