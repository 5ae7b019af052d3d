"""Frames on a stream, and what a first byte announces: the chunks in which bytes come make no difference."""

from collections.abc import Iterator

from stun import channeldata
from stun.demux import begins_frame, classify, is_stun
from stun.errors import MalformedMessage
from stun.framing import MAX_FRAME, StreamFramer
from tests.stun.test_vectors import REQUEST
from turnserver.transports.sniff import Speech, sniff

__all__ = ["MAX_LENGTH", "WORDS", "run", "seeds"]

MAX_LENGTH = 512
WORDS = (b"\x21\x12\xa4\x42", b"\x40\x00\x00\x00", b"\x00\x01\x00\x00", b"GET ", b"PRI ", b"\x16\x03")
_BINDING = bytes.fromhex("000100002112a442") + bytes(12)


def seeds() -> Iterator[bytes]:
    """The first byte says how large chunks are."""
    yield b"\x01" + _BINDING + channeldata.encode_padded(0x4000, b"payload") + REQUEST
    yield b"\x07" + channeldata.encode_padded(0x7FFF, b"") + _BINDING
    yield b"\x00" + b"GET / HTTP/1.1\r\n\r\n"
    yield b"\x00" + b"\x16\x03\x01\x00\x05hello"


def run(data: bytes) -> None:
    """Frames are whole and in order, one unfinished frame at most is held, and a refusal is for good."""
    if not data:
        return
    step, stream = data[0] % 64 or 1, data[1:]
    whole, refused = _cut(stream, len(stream) or 1)
    assert _cut(stream, step) == (whole, refused)
    if stream:
        classify(stream[0])
        assert begins_frame(stream[0]) or refused
    at = 0
    for frame in whole:
        assert stream.startswith(frame, at)
        at += len(frame) if is_stun(frame) else len(frame) + -len(frame) % 4
    assert at <= len(stream)
    _check_sniff(stream)


def _cut(stream: bytes, step: int) -> tuple[list[bytes], bool]:
    framer, frames = StreamFramer(), []
    try:
        for at in range(0, len(stream), step):
            framer.push(stream[at : at + step])
            while (frame := framer.pop()) is not None:
                frames.append(frame)
            assert framer.buffered <= MAX_FRAME
    except MalformedMessage:
        try:
            framer.feed(b"\0\1\0\0\x21\x12\xa4\x42")
        except MalformedMessage:
            return frames, True
        raise AssertionError("the boundaries were lost, and found again") from None
    return frames, False


def _check_sniff(stream: bytes) -> None:
    """Once there is a verdict, no further byte changes it; eight bytes are enough."""
    verdict: Speech | None = None
    for size in range(1, min(len(stream), 16) + 1):
        found = sniff(stream[:size])
        assert verdict is None or found is verdict
        assert found is not None or size < 8
        verdict = found
