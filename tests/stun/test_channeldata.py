"""ChannelData (RFC 8656 §12.4, §12.5; rule 19)."""

import pytest

from stun.channeldata import decode, encode, encode_padded
from stun.constants import CHANNEL_MAX_RFC5766
from stun.errors import EncodeError, MalformedMessage


@pytest.mark.parametrize(("size", "padding"), [(0, 0), (1, 3), (2, 2), (3, 1), (4, 0), (65535, 1)])
def test_padding_is_for_streams_only(size: int, padding: int) -> None:
    """Rule 19: the length field never counts it, and a zero length is legal."""
    payload = b"x" * size
    plain, padded = encode(0x4001, payload), encode_padded(0x4001, payload)
    assert plain == b"\x40\x01" + size.to_bytes(2, "big") + payload
    assert padded == plain + bytes(padding)
    for frame in (plain, padded):
        channel, found = decode(frame)
        assert (channel, bytes(found)) == (0x4001, payload)


@pytest.mark.parametrize("data", [b"", b"\x40", b"\x40\x00\x00", b"\x40\x00\x00\x01", b"\x40\x00\xff\xffabc"])
def test_too_short(data: bytes) -> None:
    """RFC 8656 §12.6: a datagram shorter than its length field says is dropped."""
    with pytest.raises(MalformedMessage):
        decode(data)


@pytest.mark.parametrize("channel", [0, 0x3FFF, 0x5000, 0x7FFF, 0xFFFF])
def test_numbers_outside_the_range(channel: int) -> None:
    """Rule 19, RFC 8656 §12: 0x5000 and up is reserved."""
    with pytest.raises(MalformedMessage):
        decode(channel.to_bytes(2, "big") + bytes(2))


def test_the_range_of_rfc5766_for_those_who_ask() -> None:
    """RFC 5766 §11: up to 0x7FFF."""
    assert decode(b"\x7f\xff\0\0", CHANNEL_MAX_RFC5766)[0] == 0x7FFF
    with pytest.raises(MalformedMessage):
        decode(b"\x80\x00\0\0", CHANNEL_MAX_RFC5766)


@pytest.mark.parametrize(("channel", "size"), [(0x3FFF, 0), (0x8000, 0), (0x4000, 65536)])
def test_what_cannot_be_sent(channel: int, size: int) -> None:
    with pytest.raises(EncodeError):
        encode(channel, bytes(size))
    with pytest.raises(EncodeError):
        encode_padded(channel, bytes(size))
