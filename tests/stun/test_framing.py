"""Frames on a stream (RFC 8656 §3.1, §12.5)."""

import pytest

from stun import attributes as a
from stun.channeldata import encode, encode_padded
from stun.constants import MessageClass, Method
from stun.errors import MalformedMessage
from stun.framing import StreamFramer
from stun.message import MessageBuilder

MESSAGE = MessageBuilder(Method.BINDING, MessageClass.REQUEST, bytes(12)).add(a.SOFTWARE, "odd").build()
FRAMES = [MESSAGE, encode(0x4000, b""), encode(0x4001, b"abcde"), MESSAGE, encode(0x4FFF, bytes(1203))]
STREAM = b"".join(frame + bytes(-len(frame) % 4) for frame in FRAMES)


def test_all_at_once() -> None:
    framer = StreamFramer()
    assert framer.feed(STREAM) == FRAMES
    assert framer.buffered == 0


def test_one_byte_at_a_time() -> None:
    framer = StreamFramer()
    assert [frame for byte in STREAM for frame in framer.feed(bytes([byte]))] == FRAMES
    assert framer.buffered == 0


def test_a_frame_waits_for_its_padding() -> None:
    """RFC 8656 §12.5: on a stream the padding is part of the frame, so the next one is found where it begins."""
    framer = StreamFramer()
    padded = encode_padded(0x4000, b"abcde")
    assert framer.feed(padded[:9]) == []
    assert framer.buffered == 9
    assert framer.feed(padded[9:]) == [encode(0x4000, b"abcde")]


@pytest.mark.parametrize(
    "data",
    [
        b"POST / HTTP/1.1\r\n",
        b"\x16\x03\x01",
        b"SSH-2.0-OpenSSH\r\n",
        b"\x50",
        b"\xff",
        b"\x04",
        b"\0\1\0\0\x21\x12\xa4\x43",
        b"\0\1\0\3\x21\x12\xa4\x42",
        b"\0\1\0\0\x21\x13",
    ],
)
def test_garbage_is_refused_as_soon_as_it_shows(data: bytes) -> None:
    with pytest.raises(MalformedMessage):
        StreamFramer().feed(data)


def test_garbage_after_a_good_frame() -> None:
    framer = StreamFramer()
    with pytest.raises(MalformedMessage):
        framer.feed(MESSAGE + b"\xff")


def test_the_bound_is_hard() -> None:
    """A frame that claims more than the bound is refused by its header: nothing is buffered for it."""
    framer = StreamFramer(max_frame=1024)
    assert framer.feed(encode_padded(0x4000, bytes(1020))) == [encode(0x4000, bytes(1020))]
    with pytest.raises(MalformedMessage):
        framer.feed(b"\x40\x00\x03\xfd")
    with pytest.raises(MalformedMessage):
        StreamFramer(max_frame=1024).feed(b"\0\1\x04\0\x21\x12\xa4\x42")


def test_the_longest_frame_fits() -> None:
    longest = encode_padded(0x4000, bytes(65535))
    assert StreamFramer().feed(longest) == [encode(0x4000, bytes(65535))]
