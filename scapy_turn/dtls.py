# SPDX-License-Identifier: GPL-2.0-or-later
"""DTLS on a connected UDP socket, as far as a client for tests needs it. pyOpenSSL is needed for this module only."""

import contextlib
import ipaddress
import select
import socket
import time
from collections.abc import Iterator
from typing import Any

__all__ = ["DtlsSocket", "datagrams_of"]

LARGEST = 65535
MTU = 1200
"""Bytes of a datagram of the handshake, which pass through any network."""
HEADER = 13
"""Bytes before a record (RFC 6347 §4.1); the last two are its length."""


class DtlsSocket:
    """What `scapy_turn.wire.Wire` needs of a socket, with DTLS (RFC 7350). Any certificate will do: this is for tests.

    Raises `OSError` if there is no handshake within ``timeout`` seconds, or no pyOpenSSL.
    """

    def __init__(self, connected: socket.socket, host: str, timeout: float) -> None:
        try:
            from OpenSSL import SSL  # noqa: PLC0415
        except ImportError:
            raise OSError("DTLS needs pyOpenSSL: pip install 'scapy-turn[dtls]'") from None
        self._ssl: Any = SSL
        self._socket = connected
        context = SSL.Context(SSL.DTLS_METHOD)
        # Otherwise the library asks the socket, of which it knows nothing.
        context.set_options(SSL.OP_NO_QUERY_MTU)
        self._connection: Any = SSL.Connection(context, None)
        self._connection.set_ciphertext_mtu(MTU)
        self._connection.set_connect_state()
        if not _is_address(host):
            self._connection.set_tlsext_host_name(host.encode("idna"))
        self._handshake(time.monotonic() + timeout)
        # What is sent from now on is the tester's affair, a datagram that has to be fragmented too.
        self._connection.set_ciphertext_mtu(LARGEST)

    def _handshake(self, deadline: float) -> None:
        while True:
            try:
                self._connection.do_handshake()
                self._flush()
                return
            except self._ssl.WantReadError:
                self._flush()
            except self._ssl.Error as error:
                self._flush()
                raise OSError(f"no DTLS handshake: {_words(error)}") from error
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError("no DTLS handshake in time")
            again = self._connection.DTLSv1_get_timeout()
            if select.select([self._socket], [], [], left if again is None else min(again, left))[0]:
                self._connection.bio_write(self._socket.recv(LARGEST))
            else:
                self._connection.DTLSv1_handle_timeout()
                self._flush()

    def _flush(self) -> None:
        """Send what the library wants to send."""
        waiting = b""
        with contextlib.suppress(self._ssl.WantReadError):
            while True:
                waiting += self._connection.bio_read(LARGEST)
        for datagram in datagrams_of(waiting):
            with contextlib.suppress(BlockingIOError):
                self._socket.send(datagram)

    def recv(self, size: int) -> bytes:
        """One record; nothing when the server has closed the session. Raises `BlockingIOError` if nothing is there."""
        while True:
            try:
                return bytes(self._connection.recv(size))
            except self._ssl.WantReadError:
                self._flush()
            except self._ssl.ZeroReturnError:
                return b""
            except self._ssl.Error as error:
                raise ConnectionResetError(f"DTLS: {_words(error)}") from error
            data = self._socket.recv(LARGEST)
            if data:
                self._connection.bio_write(data)

    def send(self, data: bytes) -> int:
        """Send one record."""
        try:
            sent = int(self._connection.send(data))
        except self._ssl.Error as error:
            raise OSError(f"DTLS: {_words(error)}") from error
        self._flush()
        return sent

    def fileno(self) -> int:
        """For select(2)."""
        return self._socket.fileno()

    def getsockname(self) -> Any:
        """The socket's own address."""
        return self._socket.getsockname()

    def getpeername(self) -> Any:
        """The server's address."""
        return self._socket.getpeername()

    def setblocking(self, flag: bool) -> None:
        """As of any socket."""
        self._socket.setblocking(flag)

    def close(self) -> None:
        """Say so to the server, and close the socket."""
        if self._socket.fileno() >= 0:
            with contextlib.suppress(self._ssl.Error, OSError):
                self._connection.shutdown()
                self._flush()
            self._socket.close()


def datagrams_of(records: bytes) -> Iterator[bytes]:
    """Records in datagrams of at most `MTU` bytes, in their order; a longer one has a datagram of its own."""
    held = b""
    while records:
        size = HEADER + int.from_bytes(records[HEADER - 2 : HEADER], "big")
        record, records = records[:size], records[size:]
        if held and len(held) + len(record) > MTU:
            yield held
            held = b""
        held += record
    if held:
        yield held


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _words(error: Exception) -> str:
    """The reason of an error of the library, which is a list of tuples."""
    found = error.args[0] if error.args else None
    return str(found[0][-1]) if isinstance(found, list) and found else str(error) or type(error).__name__
