"""A client's connection, which parses frames in place: the same ones whatever the chunks and hops."""

from collections.abc import Iterator
from typing import Any, cast

from stun import channeldata
from stun.address import Address
from stun.framing import MAX_FRAME
from tests.stun.test_vectors import REQUEST
from tests.support.clock import Clock
from tests.support.stream_world import BINDING, RecordingHop, RecordingSink
from turnserver.core.types import ClientTransport, FiveTuple
from turnserver.transports.connection import StreamConnection

__all__ = ["MAX_LENGTH", "WORDS", "run", "seeds"]

MAX_LENGTH = 512
WORDS = (b"\x21\x12\xa4\x42", b"\x40\x00\x00\x00", b"\x40\x01\x00\x04abcd", b"\x00\x01\x00\x00\x21\x12\xa4\x42")
_CHANNELS = (0x4000, 0x4001)
_CLIENT = FiveTuple(ClientTransport.TCP, Address.parse("192.0.2.1", 1), Address.parse("192.0.2.2", 2), 0, 1)


class _Stream:
    """A stream that gives what it is told to give; closing it ends the connection."""

    tls = None

    def __init__(self) -> None:
        self.data = b""
        self.closed = False

    def recv(self, size: int) -> bytes:
        """What there is."""
        return self.data

    def close(self) -> None:
        """For good."""
        self.closed = True


class _Host:
    """A transport and its limits."""

    send_queue = 1000
    idle_timeout = stall_timeout = 10.0

    def __init__(self) -> None:
        self.sink = RecordingSink()
        self.packets_in = self.bytes_in = self.dropped = 0

    def count_dropped(self) -> None:
        """What is no frame."""
        self.dropped += 1


def seeds() -> Iterator[bytes]:
    """The first byte says how large chunks are."""
    media = channeldata.encode_padded(0x4000, b"payload"), channeldata.encode_padded(0x4001, b"other")
    yield b"\x00" + BINDING + media[0] * 3 + media[1] + channeldata.encode_padded(0x4100, b"") + REQUEST
    yield b"\x05" + media[0] + BINDING + media[1]
    yield b"\x03" + BINDING + b"GET / HTTP/1.1\r\n\r\n"
    yield b"\x04" + BINDING + b"\x00\x01\xff\xf4"


def run(data: bytes) -> None:
    """Every frame before the first bad byte comes, in order, and none after it."""
    if len(data) < 2:
        return
    step, sent = data[0] % 64 or len(data), data[1:]
    expected, refused = _framed(sent)
    for hops in ((), _CHANNELS):
        host, stream = _Host(), _Stream()
        connection = StreamConnection(cast(Any, host), cast(Any, stream), _CLIENT, cast(Any, host), Clock())
        came: list[bytes] = []
        host.sink.on_frame = lambda _, frame, came=came: came.append(frame)
        for number in hops:
            connection.channels[number] = _Tap(number, came)
        for at in range(0, len(sent), step):
            stream.data = sent[at : at + step]
            if not stream.closed:
                connection.read()
        assert came == expected
        assert stream.closed == refused
        assert host.dropped == refused


class _Tap(RecordingHop):
    """A hop that writes down whole frames, between those that reach the sink."""

    def __init__(self, number: int, came: list[bytes]) -> None:
        super().__init__()
        self._number = number
        self._came = came

    def send(self, data: bytes | memoryview, tos: int = 0) -> bool:
        """One payload."""
        self._came.append(channeldata.encode(self._number, bytes(data)))
        return True

    def send_run(self, datagrams: Any, tos: int = 0) -> bool:
        """Payloads of one size."""
        for data in datagrams:
            self.send(data)
        return True


def _framed(sent: bytes) -> tuple[list[bytes], bool]:
    """The frames (RFC 8656 §12.5, channel numbers as in RFC 5766), and whether something else follows them."""
    frames, at = [], 0
    while at < len(sent):
        rest = sent[at:]
        is_stun, length = rest[0] < 4, int.from_bytes(rest[2:4].ljust(2, b"\0"), "big")
        if not is_stun and rest[0] >> 6 != 1:
            return frames, True
        if len(rest) >= 4 and is_stun and (length % 4 or not b"\x21\x12\xa4\x42".startswith(rest[4:8])):
            return frames, True
        size = length + (20 if is_stun else 4)
        whole = size + -size % 4
        if len(rest) >= 4 and whole > MAX_FRAME:
            return frames, True
        if len(rest) < max(whole, 4):
            return frames, False
        frames.append(rest[:size])
        at += whole
    return frames, False
