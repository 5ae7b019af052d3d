"""The ends of media connections for the benchmark of SFUs: ICE, DTLS and SRTP on one socket each.

They are the same for every server. A publisher sends sound and pictures by the clock; of the pictures only the headers
are real. A receiver counts what comes, and one that decrypts it learns how long it was on its way.
"""

import asyncio
import contextlib
import os
import socket
import struct
import time
from array import array
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from typing import Final

from bench.mmsg import Datagrams
from bench.plan import BenchError
from stun.address import Address
from stun.attributes import USERNAME, XOR_MAPPED_ADDRESS
from stun.constants import MessageClass, Method
from stun.message import MessageBuilder
from turnserver.media.dtls import DtlsIdentity, SrtpHandshake, create_identity
from turnserver.media.ice import ICE_CONTROLLING, PRIORITY, USE_CANDIDATE, IceCredentials
from turnserver.media.negotiation import ABS_SEND_TIME, AUDIO_LEVEL, FORMATS, RTX_TYPES
from turnserver.media.rtcp import Fir, Pli, ReceiverReport, Remb, read_compound
from turnserver.media.rtcp import write as write_rtcp
from turnserver.media.rtp import build_packet
from turnserver.media.sdp import (
    LocalTransport,
    MediaDescription,
    PayloadFormat,
    RtpStream,
    SessionDescription,
    write_description,
)
from turnserver.media.srtp import TRAILER, SrtpReceiver, SrtpSender

__all__ = ["MEDIA", "MediaEnd", "Publisher"]

MEDIA: Final = "203.0.113.1"
"""The address of servers and ends for media."""

_TICK: Final = 0.02
"""Seconds of a packet of sound. Every second one has a picture of two or three packets with it."""
_PICTURE: Final = 1000
"""Bytes of a packet of a picture."""

_SOUND: Final = 100
_REQUEST: Final = b"\x00\x01"
_SUCCESS: Final = b"\x01\x01"
"""The first bytes of Binding requests and their answers. Janus sends requests too, as an agent that is not lite."""

_CONNECT_SECONDS: Final = 30.0
_PATIENCE: Final = 0.1
_SLOTS: Final = 32
_SIZE: Final = 1536
_STAMP: Final = struct.Struct("!4sQ")
_MARK: Final = b"\xfb\xfe\xfd\xfc"
"""Before the time in a payload: other packets, such as those of a server's probes, have none."""

_RATE: Final = 100_000_000
"""Bits a second that receivers say they can take: no server is to save."""

_EXTENSIONS: Final = {AUDIO_LEVEL: 1, ABS_SEND_TIME: 2}


@cache
def _identity() -> DtlsIdentity:
    return create_identity(datetime.now(UTC))


class MediaEnd:
    """One connection; ``probing`` says whether it decrypts what comes.

    ``rtp`` counts packets of media, and ``latencies`` has nanoseconds on the way, of those that were decrypted.
    """

    def __init__(self, *, probing: bool = False) -> None:
        self.rtp = 0
        self.latencies: array[int] = array("q")
        self.credentials = IceCredentials(os.urandom(4).hex(), os.urandom(12).hex())
        self.on_rtcp: Callable[[bytes], None] | None = None
        self._probing = probing
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.bind((MEDIA, 0))
        with contextlib.suppress(OSError):
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self._remote: SessionDescription | None = None
        self._handshake: SrtpHandshake | None = None
        self._datagrams: Datagrams | None = None
        self._data = memoryview(b"")
        self.sender: SrtpSender | None = None
        self._receiver: SrtpReceiver | None = None

    def description(self, media: list[MediaDescription]) -> str:
        """This end's offer or answer, as the client of DTLS."""
        candidate = Address.parse(*self._socket.getsockname())
        transport = LocalTransport(self.credentials, _identity().fingerprint, (candidate,), "active", 1, 1)
        return write_description(media, transport).replace("a=ice-lite\r\n", "")

    async def connect(self, remote: SessionDescription, address: tuple[str, int]) -> None:
        """Check, nominate, and go through the handshake. Raises `BenchError` when that takes too long."""
        self._remote = remote
        self._socket.connect(address)
        self._handshake = SrtpHandshake(_identity(), "client", remote.fingerprints)
        loop = asyncio.get_running_loop()
        checked = False
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                while self._handshake.keys is None:
                    self._send_next(checked)
                    try:
                        async with asyncio.timeout(_PATIENCE):
                            data = await loop.sock_recv(self._socket, _SIZE)
                    except (TimeoutError, ConnectionRefusedError):
                        self._handshake.retransmit()
                        continue
                    if 20 <= data[0] < 64:
                        self._handshake.feed(data)
                    elif data[:2] == _SUCCESS:
                        checked = True
                    elif data[:2] == _REQUEST:
                        self._answer(data)
        except TimeoutError:
            raise BenchError("a media connection did not come about") from None
        for datagram in self._handshake.flight():
            self._socket.send(datagram)
        self.sender = SrtpSender(self._handshake.keys)
        self._receiver = SrtpReceiver(self._handshake.keys)
        self._datagrams = Datagrams(self._socket, _SLOTS, _SIZE)
        self._data = memoryview(self._datagrams.data)
        loop.add_reader(self._socket, self._read)

    def check(self) -> None:
        """Send a connectivity check."""
        self._try(self._check())

    def estimate(self) -> None:
        """Say that everything can be taken."""
        assert self.sender is not None
        report = self.sender.protect_rtcp(write_rtcp([ReceiverReport(1), Remb(1, _RATE, ())]))
        if report is not None:
            self._try(report)

    def send(self, packet: bytearray) -> None:
        """Protect and send an RTP packet."""
        assert self.sender is not None
        size = len(packet)
        packet += bytes(TRAILER)
        self._try(memoryview(packet)[: self.sender.protect(packet, size)])

    def close(self) -> None:
        """Close the socket, and read no more."""
        if self._datagrams is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()

    def _send_next(self, checked: bool) -> None:
        """A check until one is answered, and then what the handshake has to say."""
        assert self._handshake is not None
        for datagram in self._handshake.flight() if checked else [self._check()]:
            self._try(datagram)

    def _check(self) -> bytes:
        assert self._remote is not None
        remote = self._remote.credentials
        builder = MessageBuilder(Method.BINDING, MessageClass.REQUEST, os.urandom(12))
        builder.add(USERNAME, f"{remote.ufrag}:{self.credentials.ufrag}").add(PRIORITY, 1 << 24)
        builder.add(ICE_CONTROLLING, 1).add(USE_CANDIDATE, b"")
        return builder.integrity(remote.pwd.encode()).fingerprint().build()

    def _answer(self, request: bytes) -> None:
        builder = MessageBuilder(Method.BINDING, MessageClass.SUCCESS, request[8:20])
        builder.add(XOR_MAPPED_ADDRESS, Address.parse(*self._socket.getpeername()))
        self._try(builder.integrity(self.credentials.pwd.encode()).fingerprint().build())

    def _try(self, datagram: bytes | bytearray | memoryview) -> None:
        """A full buffer, or a server that does not listen yet, loses the datagram as a network does."""
        with contextlib.suppress(BlockingIOError, ConnectionRefusedError):
            self._socket.send(datagram)

    def _read(self) -> None:
        assert self._datagrams is not None
        try:
            lengths = self._datagrams.lengths(self._datagrams.receive())
        except ConnectionRefusedError:
            return
        at = 0
        for length in lengths:
            first, second = self._data[at], self._data[at + 1]
            if first == 0 and second == 1:
                self._answer(bytes(self._data[at : at + length]))
            elif 128 <= first < 192:
                if 192 <= second <= 223:
                    if self.on_rtcp is not None:
                        self._feedback(at, length)
                else:
                    self.rtp += 1
                    if self._probing:
                        self._probe(at, length)
            at += _SIZE

    def _feedback(self, at: int, length: int) -> None:
        assert self._receiver is not None
        assert self.on_rtcp is not None
        memory = bytearray(self._data[at : at + length])
        size = self._receiver.unprotect_rtcp(memory, length)
        if size > 0:
            self.on_rtcp(bytes(memory[:size]))

    def _probe(self, at: int, length: int) -> None:
        now = time.monotonic_ns()
        assert self._receiver is not None
        memory = bytearray(self._data[at : at + length])
        size = self._receiver.unprotect(memory, length)
        if size < _STAMP.size:
            return
        mark, sent = _STAMP.unpack_from(memory, size - _STAMP.size)
        if mark == _MARK:
            self.latencies.append(now - sent)


class Publisher:
    """Sends what one person sends, from ``begin`` until ``end``, and counts it in ``sent``."""

    def __init__(self, number: int) -> None:
        self.connection = MediaEnd()
        self.connection.on_rtcp = self._asked
        self.sent = 0
        self._ssrc = 1000 * (number + 1)
        self._audio = self._video = self._tick = self._picture = 0
        self._key = True
        self._next = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def media(self) -> list[MediaDescription]:
        """What it offers."""
        opus = FORMATS["opus"]
        vp8 = FORMATS["vp8"]._replace(feedback=("goog-remb", "ccm fir", "nack", "nack pli"))
        rtx = PayloadFormat(RTX_TYPES["vp8"], "rtx", 90_000, 1, f"apt={vp8.payload_type}")
        level, send_time = ((_EXTENSIONS[uri], uri) for uri in (AUDIO_LEVEL, ABS_SEND_TIME))
        stream, name = f"s{self._ssrc}", f"c{self._ssrc}"
        audio, video = (RtpStream(self._ssrc),), (RtpStream(self._ssrc + 1, self._ssrc + 2),)
        return [
            MediaDescription("audio", "0", "sendonly", (opus,), (level,), (), audio, stream, "a", name),
            MediaDescription("video", "1", "sendonly", (vp8, rtx), (send_time,), (), video, stream, "v", name),
        ]

    def begin(self, phase: float) -> None:
        """Send from now on; ``phase`` (0 to 1) is where between two packets of sound of the others this one begins."""
        self._next = asyncio.get_running_loop().time() + phase * _TICK
        self._plan()

    def end(self) -> None:
        """Send no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _plan(self) -> None:
        self._timer = asyncio.get_running_loop().call_at(self._next, self._turn)
        self._next += _TICK

    def _turn(self) -> None:
        self._plan()
        self._speak()
        self._tick += 1
        if self._tick % 2:
            self._show(2 + self._picture % 2)

    def _speak(self) -> None:
        self._audio += 1
        level = {_EXTENSIONS[AUDIO_LEVEL]: b"\x9e"}
        payload = bytes(_SOUND) + _stamp()
        self._put(111, self._audio, self._audio * 960, self._ssrc, payload, True, level)

    def _show(self, packets: int) -> None:
        key, self._key = self._key, False
        self._picture += 1
        for number in range(packets):
            self._video += 1
            descriptor = struct.pack("!BBH", 0x80 if number else 0x90, 0x80, 0x8000 | self._picture & 0x7FFF)
            if number == 0:
                descriptor += b"\x10\0\0\x9d\x01\x2a" + struct.pack("<HH", 640, 360) if key else b"\x11"
            payload = descriptor + bytes(_PICTURE) + _stamp()
            extensions = {_EXTENSIONS[ABS_SEND_TIME]: _send_time()}
            timestamp = self._picture * 3600
            self._put(96, self._video, timestamp, self._ssrc + 1, payload, number == packets - 1, extensions)

    def _put(
        self, kind: int, sequence: int, timestamp: int, ssrc: int, payload: bytes, marker: bool, more: dict[int, bytes]
    ) -> None:
        packet = build_packet(
            payload_type=kind,
            sequence=sequence & 0xFFFF,
            timestamp=timestamp & 0xFFFFFFFF,
            ssrc=ssrc,
            payload=payload,
            marker=marker,
            extensions=more,
        )
        self.connection.send(packet)
        self.sent += 1

    def _asked(self, compound: bytes) -> None:
        if any(isinstance(each, Pli | Fir) for each in read_compound(compound)):
            self._key = True


def _stamp() -> bytes:
    return _STAMP.pack(_MARK, time.monotonic_ns())


def _send_time() -> bytes:
    return (int(time.time() * 2**18) & 0xFFFFFF).to_bytes(3, "big")
