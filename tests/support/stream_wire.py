"""Streams to the server, plain and under TLS, cut into frames: the client's side of RFC 8656 §3.1.

`StreamWire` is a `tests.support.turn_client.Wire`; `open_tcp` and `open_tls` make the sockets.
"""

import socket
import ssl
import time

from stun.address import Address
from stun.framing import StreamFramer
from tests.support.certificates import client_context

__all__ = ["StreamWire", "open_tcp", "open_tls", "read_to_end"]

TIMEOUT = 90.0
"""Seconds to wait for what has to come: a limit for failures, never waited out in success."""


def open_tcp(host: str, port: int, *, source: str | None = None, receive_buffer: int | None = None) -> socket.socket:
    """A connected socket, from ``source`` (any loopback address) if given; ``receive_buffer`` in bytes."""
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.settimeout(TIMEOUT)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if receive_buffer is not None:
            # Before connecting: the window that is offered depends on it.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        if source is not None:
            sock.bind((source, 0))
        sock.connect((host, port))
    except OSError:
        sock.close()
        raise
    return sock


def open_tls(
    host: str, port: int, context: ssl.SSLContext | None = None, *, source: str | None = None
) -> ssl.SSLSocket:
    """A connected socket whose TLS handshake is done; without a context it believes any certificate."""
    sock = open_tcp(host, port, source=source)
    try:
        return (context or client_context()).wrap_socket(sock, server_hostname=host)
    except OSError:
        sock.close()
        raise


def read_to_end(sock: socket.socket, timeout: float = TIMEOUT) -> bytes:
    """All that comes until the other side closes or resets; raises TimeoutError if it does not within ``timeout``."""
    data = bytearray()
    give_up = time.monotonic() + timeout
    while True:
        sock.settimeout(max(give_up - time.monotonic(), 0.001))
        try:
            piece = sock.recv(65_536)
        except (ConnectionError, ssl.SSLError):
            return bytes(data)
        if not piece:
            return bytes(data)
        data += piece


class StreamWire:
    """Frames over a connected stream; made in the caller's network namespace by whoever made the socket."""

    reliable = True

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self._framer = StreamFramer()
        self._raw = bytearray()

    @property
    def local(self) -> Address:
        """The client's own transport address."""
        host, port = self.socket.getsockname()[:2]
        return Address.parse(host, port)

    def send(self, frame: bytes) -> None:
        """Send one whole frame; ChannelData has to be padded already."""
        self.socket.settimeout(TIMEOUT)
        self.socket.sendall(frame)

    def receive(self, timeout: float) -> bytes | None:
        """The next frame, ChannelData without its padding; None if none came within ``timeout`` seconds.

        Raises `EOFError` when the server has closed the connection, and OSError as the socket does.
        """
        give_up = time.monotonic() + max(timeout, 0.001)
        while (frame := self._cut()) is None:
            remaining = give_up - time.monotonic()
            if remaining <= 0:
                return None
            self.socket.settimeout(remaining)
            try:
                piece = self.socket.recv(65_536)
            except TimeoutError:
                return None
            if not piece:
                raise EOFError("the server has closed the connection")
            self._framer.push(piece)
            self._raw += piece
        return frame

    def detach(self) -> tuple[socket.socket, bytes]:
        """The socket and what has been read beyond the last frame: a stream of plain bytes from now on."""
        return self.socket, bytes(self._raw)

    def close(self) -> None:
        """Close the socket."""
        self.socket.close()

    def _cut(self) -> bytes | None:
        """The next frame. A server's padding has to be zeroes, which a client would not look at."""
        frame = self._framer.pop()
        if frame is not None:
            taken = len(self._raw) - self._framer.buffered
            padding = self._raw[len(frame) : taken]
            assert not any(padding), f"RFC 8656 §12.5: padding is to be zeroes, not {bytes(padding)!r}"
            del self._raw[:taken]
        return frame
