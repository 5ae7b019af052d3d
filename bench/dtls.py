"""Clients over DTLS: the same tokens as over UDP, each a record in a datagram of its own, encrypted in memory."""

import socket
import time
from collections.abc import Callable

from OpenSSL import SSL

from bench.flows import CHANNEL_HEADER, Counters, DatagramLeg, Flow, bound_datagrams, count_stray
from bench.plan import BenchError
from bench.streams import CIPHER

__all__ = ["DtlsClient", "DtlsLeg"]

_MTU = 1500
_LARGEST = 65535
_HANDSHAKE_SECONDS = 5.0


class DtlsClient:
    """A session on a connected UDP socket, which is blocking until its owner says otherwise."""

    def __init__(self, connection: socket.socket, context: SSL.Context) -> None:
        self._socket = connection
        self.fileno, self.setblocking, self.close = connection.fileno, connection.setblocking, connection.close
        self.settimeout = connection.settimeout
        self._tls = SSL.Connection(context, None)
        self._tls.set_ciphertext_mtu(_MTU)
        self._tls.set_connect_state()
        try:
            self._handshake(time.monotonic() + _HANDSHAKE_SECONDS)
        except SSL.Error as error:
            raise BenchError(f"the server refused the DTLS handshake: {error}") from error
        chosen = self._tls.get_cipher_name()
        if chosen != CIPHER[1]:
            raise BenchError(f"the server chose {chosen} instead of {CIPHER[1]}")

    def send(self, data: bytes | bytearray, /) -> int:
        """Send one record in one datagram."""
        self._tls.send(bytes(data))
        self._flush()
        return len(data)

    def receive(self) -> bytes:
        """What the next datagram holds; nothing for one of the handshake. Raises `BlockingIOError` if none waits."""
        self._tls.bio_write(self._socket.recv(_LARGEST))
        try:
            return self._tls.recv(_LARGEST)
        except SSL.WantReadError:
            self._flush()
            return b""
        except SSL.ZeroReturnError:
            raise BenchError("the server has closed a client's session") from None

    def _handshake(self, give_up: float) -> None:
        while True:
            try:
                self._tls.do_handshake()
            except SSL.WantReadError:
                self._flush()
            else:
                self._flush()
                return
            if time.monotonic() > give_up:
                raise BenchError("no DTLS handshake")
            self._socket.settimeout(max(self._tls.DTLSv1_get_timeout() or 1.0, 0.001))
            try:
                self._tls.bio_write(self._socket.recv(_LARGEST))
            except TimeoutError:
                self._tls.DTLSv1_handle_timeout()
                self._flush()

    def _flush(self) -> None:
        """Send what is to be sent: a record of data, or a flight of the handshake."""
        try:
            waiting = self._tls.bio_read(_LARGEST)
        except SSL.WantReadError:
            return
        self._socket.send(waiting)


class DtlsLeg(DatagramLeg[DtlsClient]):
    """The client speaks DTLS 1.2 (RFC 7350); it accepts any certificate. ChannelData has no padding, as over UDP."""

    def __init__(self) -> None:
        self._context = SSL.Context(SSL.DTLS_CLIENT_METHOD)
        self._context.set_verify(SSL.VERIFY_NONE)
        self._context.set_options(SSL.OP_NO_QUERY_MTU)
        self._context.set_cipher_list(CIPHER[1].encode())

    def connect(self, server: tuple[str, int], source: tuple[str, int]) -> DtlsClient:
        """A session from *source*, its handshake done."""
        connection = bound_datagrams(server, source)
        try:
            return DtlsClient(connection, self._context)
        except (OSError, BenchError):
            connection.close()
            raise

    def received(self, connection: DtlsClient) -> bytes:
        """What the next record holds."""
        return connection.receive()

    def reader(self, flow: Flow[DtlsClient], counters: Counters) -> Callable[[], None]:
        """Empty the client's socket; each token that came back intact is sent again."""
        receive, send = flow.client.receive, flow.client.send
        frames, came_back = flow.frames, flow.came_back
        budget = range(len(frames))
        size = len(frames[flow.probe])
        token_at = CHANNEL_HEADER.size

        def read() -> None:
            try:
                for _ in budget:
                    frame = receive()
                    if not frame:
                        continue
                    counters.at_client += 1
                    if len(frame) != size or frame != frames.get(frame[token_at]):
                        count_stray(frame.ljust(token_at + 1, b"\0"), size, flow, counters)
                        continue
                    token = frame[token_at]
                    came_back(token, counters)
                    if counters.resend:
                        send(frame)
                        counters.sent_by_client += 1
            except BlockingIOError:
                pass

        return read
