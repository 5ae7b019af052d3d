"""Packets of sound stand for themselves."""

from tests.support.media_packets import header_of
from turnserver.media.codecs import CODECS
from turnserver.media.rtp import build_packet


def test_each_packet_stands_for_itself() -> None:
    packet = build_packet(payload_type=111, sequence=1, timestamp=1, ssrc=1, payload=b"speech")
    found = CODECS["opus"].read(packet, header_of(packet))
    assert found is not None
    assert (found.keyframe, found.begins, found.ends, found.temporal) == (True, True, True, 0)


def test_silence_without_a_payload_is_nothing() -> None:
    packet = build_packet(payload_type=111, sequence=1, timestamp=1, ssrc=1, padding=4)
    assert CODECS["opus"].read(packet, header_of(packet)) is None


def test_names_are_those_of_descriptions() -> None:
    """RFC 8866 §6.6, in lower case."""
    assert {name: (codec.kind, codec.clock_rate) for name, codec in CODECS.items()} == {
        "opus": ("audio", 48_000),
        **dict.fromkeys(("vp8", "vp9", "h264", "av1"), ("video", 90_000)),
    }
