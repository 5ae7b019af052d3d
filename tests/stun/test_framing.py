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
    with pytest.raises(MalformedMessage):
        framer.feed(MESSAGE)


@pytest.mark.parametrize("byte", [first for first in range(256) if first > 3 and not 64 <= first <= 79])
def test_one_byte_is_enough_to_be_refused(byte: int) -> None:
    """Rule 20, RFC 7983 §7: neither STUN nor ChannelData begins so."""
    with pytest.raises(MalformedMessage):
        StreamFramer().feed(bytes((byte,)))


@pytest.mark.parametrize("size", range(5, 9))
def test_a_wrong_cookie_is_refused_at_its_first_wrong_byte(size: int) -> None:
    """Rule 20: a stranger's bytes are not waited for."""
    with pytest.raises(MalformedMessage):
        StreamFramer().feed(MESSAGE[: size - 1] + bytes((MESSAGE[size - 1] ^ 1,)))


@pytest.mark.parametrize("length", [1, 2, 3, 0xFFFC, 0xFFFD, 0xFFFF])
def test_hostile_lengths_of_stun(length: int) -> None:
    """RFC 8489 §5, rule 22: not a multiple of four, or more than the bound: refused before any body has come."""
    with pytest.raises(MalformedMessage):
        StreamFramer().feed(b"\0\1" + length.to_bytes(2, "big"))


@pytest.mark.parametrize("size", [2, 3, 5, 19, 21])
def test_pieces_of_any_size(size: int) -> None:
    framer = StreamFramer()
    pieces = [memoryview(STREAM)[at : at + size] for at in range(0, len(STREAM), size)]
    assert [frame for piece in pieces for frame in framer.feed(piece)] == FRAMES


def test_what_is_held_is_less_than_a_frame() -> None:
    """Rule 22: the buffer never holds more than one unfinished frame, however long the stream."""
    framer = StreamFramer(max_frame=64)
    stream = encode_padded(0x4000, bytes(60)) * 50
    held = []
    for byte in stream:
        framer.feed(bytes((byte,)))
        held.append(framer.buffered)
    assert max(held) == 63
    assert held[-1] == 0


def test_the_bound_is_hard() -> None:
    """A frame that claims more than the bound is refused by its header: nothing is buffered for it."""
    framer = StreamFramer(max_frame=1024)
    assert framer.feed(encode_padded(0x4000, bytes(1020))) == [encode(0x4000, bytes(1020))]
    with pytest.raises(MalformedMessage):
        framer.feed(b"\x40\x00\x03\xfd")
    with pytest.raises(MalformedMessage):
        StreamFramer(max_frame=1024).feed(b"\0\1\x04\0\x21\x12\xa4\x42")


def test_the_bound_counts_the_padding() -> None:
    """Rule 22: what has to be held in memory is what is bounded."""
    assert StreamFramer(8).feed(encode_padded(0x4000, b"a")) == [encode(0x4000, b"a")]
    with pytest.raises(MalformedMessage):
        StreamFramer(7).feed(encode(0x4000, b"a"))


def test_the_longest_frame_fits() -> None:
    longest = encode_padded(0x4000, bytes(65535))
    assert StreamFramer().feed(longest) == [encode(0x4000, bytes(65535))]


def test_frames_one_at_a_time() -> None:
    """What comes behind a frame is not looked at before it is asked for."""
    framer = StreamFramer()
    framer.push(MESSAGE + encode_padded(0x4000, b"abcde") + b"SSH-2.0")
    assert framer.pop() == MESSAGE
    assert framer.pop() == encode(0x4000, b"abcde")
    assert framer.buffered == len(b"SSH-2.0")


def test_a_frame_that_is_not_whole_stays() -> None:
    framer = StreamFramer()
    framer.push(MESSAGE[:10])
    assert framer.pop() is None
    framer.push(MESSAGE[10:])
    assert framer.pop() == MESSAGE


@pytest.mark.parametrize("data", [b"S", b"SSH-2.0"])
def test_garbage_is_refused_when_it_is_asked_for(data: bytes) -> None:
    framer = StreamFramer()
    framer.push(MESSAGE + data)
    assert framer.pop() == MESSAGE
    with pytest.raises(MalformedMessage):
        framer.pop()
    assert framer.buffered == len(data)
