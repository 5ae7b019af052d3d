# SPDX-License-Identifier: GPL-2.0-or-later
"""A connection with a server over UDP, TCP, TLS or DTLS: whole frames both ways, and requests with their answers."""

import contextlib
import os
import select
import socket
import ssl
import time
from types import TracebackType
from typing import Any, Self

from scapy.packet import Packet, Raw

from scapy_turn.demultiplex import Turn
from scapy_turn.dtls import DtlsSocket
from scapy_turn.message import StunMessage, frame_length

__all__ = ["MTU", "Bell", "Wire"]

MTU = 65535
MAX_READ = 1000
"""Frames after which `Wire.read` lets others do something, however fast the server sends."""
RETRANSMISSION = 0.5
"""Seconds until a request over UDP is sent again, doubled each time (RFC 8489 §6.2.1)."""


class Wire:
    """A connected socket. ``server`` is a host and a port; ``transport`` is ``udp``, ``tcp``, ``tls`` or
    ``dtls``, which needs pyOpenSSL.

    With ``context`` a certificate can be checked, over TLS; without, any is taken: this is for tests. Raises `OSError`
    if there is no connection within ``timeout`` seconds.
    """

    def __init__(
        self,
        server: tuple[str, int],
        transport: str = "udp",
        *,
        timeout: float = 10.0,
        context: ssl.SSLContext | None = None,
        source: tuple[str, int] | None = None,
    ) -> None:
        self.datagrams = transport in {"udp", "dtls"}
        if self.datagrams and context is not None:
            raise ValueError("a context of the module ssl is for TLS")
        kind = socket.SOCK_DGRAM if self.datagrams else socket.SOCK_STREAM
        family, _, _, _, address = socket.getaddrinfo(*server, type=kind)[0]
        self.transport = transport
        self.socket: Any = socket.socket(family, kind)
        try:
            if source is not None:
                self.socket.bind(source)
            self.socket.settimeout(timeout)
            self.socket.connect(address)
            if transport == "tls":
                self.socket = (context or _any_certificate()).wrap_socket(self.socket, server_hostname=server[0])
            elif transport == "dtls":
                self.socket = DtlsSocket(self.socket, server[0], timeout)
        except BaseException:
            self.socket.close()
            raise
        self.socket.setblocking(False)
        self._buffer = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @property
    def local(self) -> tuple[str, int]:
        """The socket's own address."""
        host, port = self.socket.getsockname()[:2]
        return host, port

    @property
    def server(self) -> tuple[str, int]:
        """The server's address."""
        host, port = self.socket.getpeername()[:2]
        return host, port

    def fileno(self) -> int:
        """For select(2)."""
        return int(self.socket.fileno())

    def close(self) -> None:
        """Close it."""
        self.socket.close()

    def send(self, packet: Packet | bytes) -> int:
        """Send one frame, padded as a stream needs it. Errors that a peer's ICMP has caused are ignored."""
        data = bytes(packet)
        if self.datagrams:
            with contextlib.suppress(ConnectionRefusedError, BlockingIOError):
                self.socket.send(data)
            return len(data)
        data += bytes(-len(data) % 4)
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[self.socket.send(rest) :]
            except (BlockingIOError, ssl.SSLWantWriteError):
                select.select([], [self.socket], [], 1.0)
            except ssl.SSLWantReadError:
                select.select([self.socket], [], [], 1.0)
        return len(data)

    def read(self) -> list[bytes]:
        """The frames that are there, without waiting. Raises `EOFError` when the server has closed a stream."""
        frames: list[bytes] = []
        # A TLS connection must be read to its end: select(2) does not see what the library has decrypted.
        while len(frames) < MAX_READ or (isinstance(self.socket, ssl.SSLSocket) and self.socket.pending()):
            try:
                data = self.socket.recv(MTU)
            except (BlockingIOError, ssl.SSLWantReadError):
                break
            except ConnectionRefusedError:
                continue
            if self.transport == "udp" or (data and self.datagrams):
                frames.append(data)
                continue
            if not data:
                if frames:
                    break
                raise EOFError("the server has closed the connection")
            self._buffer += data
            frames += self._cut()
        return frames

    def _cut(self) -> list[bytes]:
        """The whole frames at the beginning of what a stream has brought; what is none becomes one."""
        frames = []
        while self._buffer:
            try:
                size = frame_length(self._buffer)
            except ValueError:
                size = len(self._buffer)
            if size is None or size > len(self._buffer):
                break
            frames.append(self._buffer[:size])
            self._buffer = self._buffer[size:]
        return frames

    def wait(self, seconds: float) -> list[bytes]:
        """The frames that are there at the latest after these seconds; empty if there are none."""
        deadline = time.monotonic() + seconds
        while not (frames := self.read()):
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.socket], [], [], left)[0]:
                return []
        return frames

    def exchange(self, request: Packet | bytes, seconds: float = 3.0, *, resend: bool = True) -> list[Packet]:
        """Send a frame and return what answers it; for a message of STUN only responses with its transaction.

        Empty if there is nothing within the time. ``resend`` sends it again in datagrams, as RFC 8489 §6.2.1 has it.
        """
        wanted = request.transaction if isinstance(request, StunMessage) else None
        data = bytes(request)
        deadline = time.monotonic() + seconds
        interval = RETRANSMISSION if resend and self.datagrams else seconds
        while (now := time.monotonic()) < deadline:
            self.send(data)
            again = min(deadline, now + interval)
            interval *= 2
            while (left := again - time.monotonic()) > 0:
                layers = [Turn(frame) if frame else Raw() for frame in self.wait(left)]
                found: list[Packet] = [one for one in layers if wanted is None or _answers(one, wanted)]
                if found:
                    return found
        return []


def _answers(packet: Packet, transaction: bytes) -> bool:
    """Whether a packet is a response with that transaction. A request that an echo server sends back is none."""
    return isinstance(packet, StunMessage) and packet.transaction == transaction and packet.msgclass & 2 == 2


def _any_certificate() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class Bell:
    """Wakes a thread that waits in select(2)."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)

    def fileno(self) -> int:
        """For select(2)."""
        return self._read

    def ring(self) -> None:
        """Wake it."""
        with contextlib.suppress(BlockingIOError):
            os.write(self._write, b"!")

    def clear(self) -> None:
        """It has woken."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._read, 1000)

    def close(self) -> None:
        """No thread waits any more."""
        os.close(self._read)
        os.close(self._write)
