"""Clients over TCP and TLS: the same tokens, as padded ChannelData on a stream.

All frames of a flow have one size, so once the channel is bound the stream is split by counting. Frames that arrived
together are sent together, in one ``send``. With TLS each frame is a separate record, as clients that send packets
make them.
"""

import socket
import ssl
from collections.abc import Callable

from bench.flows import CHANNEL_HEADER, Counters, Flow, count_stray
from bench.plan import BenchError
from bench.turn import Control
from stun.framing import StreamFramer

__all__ = ["CIPHER", "PlainStream", "TcpLeg", "TlsLeg", "TlsStream"]

CIPHER = ("TLSv1.2", "ECDHE-ECDSA-AES256-GCM-SHA384")
"""The only cipher suite offered, so that all servers use the same one. Debian's coturn 4.6 has no TLS 1.3."""

_RECEIVE = 64 * 1024
_CONTROL_SECONDS = 5.0


class PlainStream:
    """A TCP connection: received bytes are appended to a buffer."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.fileno, self.setblocking, self.close = connection.fileno, connection.setblocking, connection.close

    def receive(self, into: bytearray) -> int:
        """Take what waits, up to 64 KiB; 0 when nothing does. Raises :class:`BenchError` at the end of the stream."""
        try:
            data = self.connection.recv(_RECEIVE)
        except BlockingIOError:
            return 0
        if not data:
            raise BenchError("the server has closed a client's connection")
        into += data
        return len(data)

    def send(self, data: bytes | bytearray, /) -> int:
        """Send all of it: the window of a flow always fits the socket's buffer."""
        if self.connection.send(data) != len(data):
            raise BenchError("the socket's buffer is too small for the packets in flight")
        return len(data)

    def send_frames(self, data: bytes, size: int) -> None:
        """Send frames of ``size`` bytes each."""
        self.send(data)


class TlsStream:
    """A TLS connection, encrypted in memory: one system call moves every record that waits."""

    def __init__(self, connection: socket.socket, context: ssl.SSLContext) -> None:
        self._plain = PlainStream(connection)
        self.fileno, self.setblocking, self.close = connection.fileno, connection.setblocking, connection.close
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing)
        self._encrypted = bytearray()
        connection.settimeout(_CONTROL_SECONDS)
        while not self._shake():
            self._pull()
        version, cipher = self._tls.version(), self._tls.cipher()
        if cipher is None or (version, cipher[0]) != CIPHER:
            raise BenchError(
                f"the server chose {version} with {cipher and cipher[0]} instead of {' with '.join(CIPHER)}"
            )

    def receive(self, into: bytearray) -> int:
        """Take what waits; 0 when nothing does. Raises :class:`BenchError` at the end of the stream."""
        before = len(into)
        if self._pull():
            read = self._tls.read
            try:
                while data := read(_RECEIVE):
                    into += data
            except ssl.SSLWantReadError:
                pass
            else:
                raise BenchError("the server has closed a client's connection")
        return len(into) - before

    def send(self, data: bytes | bytearray, /) -> int:
        """Send one record."""
        self._tls.write(data)
        self._plain.send(self._outgoing.read())
        return len(data)

    def send_frames(self, data: bytes, size: int) -> None:
        """Send frames of ``size`` bytes each, one record for each."""
        write = self._tls.write
        for start in range(0, len(data), size):
            write(data[start : start + size])
        self._plain.send(self._outgoing.read())

    def _shake(self) -> bool:
        """One step of the handshake; True when it is done."""
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        finally:
            if self._outgoing.pending:
                self._plain.send(self._outgoing.read())
        return True

    def _pull(self) -> int:
        """Take records off the socket."""
        encrypted = self._encrypted
        count = self._plain.receive(encrypted)
        if count:
            self._incoming.write(encrypted)
            encrypted.clear()
        return count


_Stream = PlainStream | TlsStream


class TcpLeg:
    """The client speaks TCP to the server."""

    reliable = True

    def connect(self, server: tuple[str, int], source: tuple[str, int]) -> _Stream:
        """A connection from *source*."""
        return PlainStream(_connect(server, source))

    def transact(self, connection: _Stream, control: Control) -> None:
        """Send requests and feed the answers; raise :class:`BenchError` when none comes."""
        framer, received = StreamFramer(), bytearray()
        while True:
            for frame in control.frames():
                connection.send(frame)
            try:
                connection.receive(received)
            except TimeoutError:
                continue  # the client says when that was too long
            messages = framer.feed(received)
            received.clear()
            if any(control.feed(message) for message in messages):
                return

    def frame(self, channel: int, payload: bytes) -> bytes:
        """RFC 8656 §12.5: on a stream padded to a multiple of 4, which the length does not count."""
        return CHANNEL_HEADER.pack(channel, len(payload)) + payload + bytes(-len(payload) % 4)

    def reader(self, flow: Flow[_Stream], counters: Counters) -> Callable[[], None]:
        """Empty the client's stream; the tokens that came back intact are sent again."""
        receive, send_frames = flow.client.receive, flow.client.send_frames
        frames, came_back = flow.frames, flow.came_back
        size = len(frames[flow.probe])
        token_at = CHANNEL_HEADER.size
        held = bytearray()

        def read() -> None:
            receive(held)
            whole = len(held) - len(held) % size
            if not whole:
                return
            data = bytes(held[:whole])
            del held[:whole]
            count = whole // size
            counters.at_client += count
            again = True
            for start in range(0, whole, size):
                token = data[start + token_at]
                frame = data[start : start + size]
                if frame != frames.get(token):
                    count_stray(frame, size, flow, counters)
                    again = False
                    continue
                came_back(token, counters)
            if again and counters.resend:
                send_frames(data, size)
                counters.sent_by_client += count

        return read


class TlsLeg(TcpLeg):
    """The client speaks TLS; it accepts any certificate."""

    def __init__(self) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._context.check_hostname = False
        self._context.verify_mode = ssl.CERT_NONE
        self._context.maximum_version = ssl.TLSVersion.TLSv1_2
        self._context.set_ciphers(CIPHER[1])

    def connect(self, server: tuple[str, int], source: tuple[str, int]) -> _Stream:
        """A connection from *source*, its handshake done."""
        connection = _connect(server, source)
        try:
            return TlsStream(connection, self._context)
        except (OSError, BenchError):
            connection.close()
            raise


def _connect(server: tuple[str, int], source: tuple[str, int]) -> socket.socket:
    """A connected, blocking socket with Nagle off."""
    connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        connection.settimeout(_CONTROL_SECONDS)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.bind(source)
        connection.connect(server)
    except OSError:
        connection.close()
        raise
    return connection
