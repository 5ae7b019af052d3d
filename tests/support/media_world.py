"""What the tests of the SFU's forwarding share: packets of an encoder, and receivers that keep what they are sent."""

import struct
from collections.abc import Iterable
from itertools import count
from typing import Final

from turnserver.media.codecs import CODECS, Descriptor
from turnserver.media.forwarder import SEND_TIME, Forwarder, StreamIdentity
from turnserver.media.rtcp import Packet, read_compound
from turnserver.media.rtp import Header, build_packet, read_header
from turnserver.media.subscriber import Subscriber
from turnserver.media.track import IncomingStream, PublishedTrack

__all__ = ["FRAME", "Encoder", "Received", "Sink", "World", "entropy", "header_of", "sequences", "voice"]

FRAME: Final = 6000
"""Ticks of the clock of video between two frames: 15 in a second."""


def header_of(packet: bytes | bytearray | memoryview) -> Header:
    """The header of a packet that has one."""
    header = read_header(packet, len(packet))
    assert header is not None
    return header


_NUMBERS = count(1)


def entropy(size: int) -> bytes:
    """Bytes that are different every time."""
    return (next(_NUMBERS) * 0x9E3779B97F4A7C15).to_bytes(16, "little")[:size]


class Encoder:
    """Makes the packets of one VP8 stream; ``temporal`` are the temporal layers of its frames, in turns."""

    def __init__(
        self, ssrc: int = 1000, *, height: int = 180, temporal: tuple[int, ...] = (0,), start: int = 0
    ) -> None:
        self.ssrc = ssrc
        self.height = height
        self.payload_type = 96
        self.extensions = {SEND_TIME: bytes(3)}
        self.sequence = 100 + start
        self.timestamp = 5000 + start
        self._temporal = temporal
        self._frames = 0

    def frame(self, *, key: bool = False, packets: int = 1, size: int = 100) -> list[bytearray]:
        """The packets of the next frame, with one key frame to begin with where ``key`` says so."""
        layer = 0 if key else self._temporal[self._frames % len(self._temporal)]
        made = [self._packet(number, packets, key, layer, size) for number in range(packets)]
        self._frames += 1
        self.timestamp += FRAME
        return made

    def _packet(self, number: int, packets: int, key: bool, layer: int, size: int) -> bytearray:
        picture = 0x8000 | self._frames & 0x7FFF
        descriptor = struct.pack(
            "!BBHBB", 0x80 | (0 if number else 0x10), 0xE0, picture, 0, layer << 6 | (layer > 0) << 5
        )
        if number:
            payload = bytes([0x55]) * size
        elif key:
            payload = b"\x10\0\0\x9d\x01\x2a" + struct.pack("<HH", self.height * 16 // 9, self.height) + bytes(size)
        else:
            payload = b"\x11" + bytes(size)
        self.sequence += 1
        return build_packet(
            payload_type=self.payload_type,
            sequence=self.sequence & 0xFFFF,
            timestamp=self.timestamp & 0xFFFFFFFF,
            ssrc=self.ssrc,
            payload=descriptor + payload,
            marker=number == packets - 1,
            extensions=self.extensions,
        )


def voice(sequence: int, ssrc: int = 500, *, level: int = 30, level_id: int = 1) -> bytearray:
    """A packet of Opus with its level (RFC 6464)."""
    return build_packet(
        payload_type=111,
        sequence=sequence & 0xFFFF,
        timestamp=sequence * 960 & 0xFFFFFFFF,
        ssrc=ssrc,
        payload=bytes(60),
        extensions={level_id: bytes([0x80 | level])},
    )


class Received:
    """A packet that was sent to a receiver, as read by it."""

    def __init__(self, packet: bytearray) -> None:
        self.packet = bytes(packet)
        self.header = header_of(packet)

    @property
    def descriptor(self) -> Descriptor:
        """What a payload of VP8 says."""
        found = CODECS["vp8"].read(self.packet, self.header)
        assert found is not None
        return found


class Sink:
    """The end of a receiver's connection: keeps what it is given."""

    def __init__(self) -> None:
        self.rtp: list[Received] = []
        self.rtcp: list[Packet] = []
        self.paced = 0.0
        self.purged: set[int] = set()

    def send_rtp(self, packet: bytearray, size: int, *, audio: bool = False) -> bool:
        """Keep a packet."""
        assert len(packet) == size
        assert audio == (packet[1] & 0x7F == 111)
        self.rtp.append(Received(packet))
        return True

    def send_rtcp(self, packet: bytes) -> bool:
        """Keep the packets of a compound one."""
        self.rtcp += read_compound(packet)
        return True

    def pace(self, bits: float) -> None:
        """Keep the last pace."""
        self.paced = bits

    def purge(self, ssrcs: Iterable[int]) -> None:
        """Keep of which streams nothing is to be sent any more."""
        self.purged.update(ssrcs)

    def take(self) -> list[Received]:
        """What has been sent since the last time."""
        taken, self.rtp = self.rtp, []
        return taken


class World:
    """One track of one publisher, with receivers that each have a forwarder of it."""

    def __init__(self, *layers: str, now: float = 100.0) -> None:
        self.now = now
        self.track = PublishedTrack("alice", "camera", CODECS["vp8"], "1", layers=layers, now=now)

    def receiver(self, *, rtx: bool = True, ssrc: int = 7000, payload_type: int = 98) -> tuple[Forwarder, Sink]:
        """A receiver with a forwarder that gets nothing yet."""
        sink = Sink()
        subscriber = Subscriber("bob", sink, entropy)
        identity = StreamIdentity(ssrc, payload_type, ssrc + 1 if rtx else 0, 99)
        return Forwarder(subscriber, CODECS["vp8"], identity, entropy(6)), sink

    def stream(self, encoder: Encoder, rid: str = "") -> IncomingStream:
        """The stream of an encoder."""
        stream = self.track.stream(encoder.ssrc, rid)
        assert stream is not None
        return stream

    def send(self, encoder: Encoder, packets: Iterable[bytearray], rid: str = "") -> None:
        """Packets of an encoder arrive, and are forwarded; then the time of a frame passes."""
        stream = self.stream(encoder, rid)
        for packet in packets:
            self.track.receive(stream, packet, len(packet), header_of(packet), self.now)
        self.now += FRAME / 90_000

    def frames(self, encoder: Encoder, number: int, rid: str = "", *, key: bool = False, packets: int = 1) -> None:
        """Frames of an encoder arrive; the first is a keyframe where ``key`` says so."""
        for each in range(number):
            self.send(encoder, encoder.frame(key=key and not each, packets=packets), rid)


def sequences(received: Iterable[Received], ssrc: int = 7000) -> list[int]:
    """The sequence numbers of what was sent under an SSRC, from the first one on."""
    numbers = [each.header.sequence for each in received if each.header.ssrc == ssrc]
    return [number - numbers[0] & 0xFFFF for number in numbers]
