"""One DTLS association (RFC 6347) without a socket: records in, messages and datagrams out.

OpenSSL works on memory, through pyOpenSSL. Its memory has no datagrams, so records are told apart here: one record goes
in at a time, and what comes out is packed into datagrams that fit the path. Each record of application data is one
message, so that STUN over DTLS (RFC 7350) keeps its datagrams.

What an unfinished handshake can make OpenSSL keep is bounded: a server's side takes handshake messages of a few
kilobytes only, and few records that it cannot decrypt yet.
"""

from collections.abc import Iterator
from typing import Final, Self

from OpenSSL import SSL

from meshturn.root import MeshturnError

__all__ = [
    "DTLS_1_2",
    "HEADER_SIZE",
    "MAX_MESSAGE",
    "DtlsClosed",
    "DtlsFailed",
    "DtlsSession",
    "is_client_hello",
    "records",
    "secured",
]

HEADER_SIZE: Final = 13
"""Bytes of a record's header (RFC 6347 §4.1): type, version, epoch, sequence number, length."""

MAX_MESSAGE: Final = 16384
"""Bytes of a record's content, and so of a message (RFC 6347 §4.1)."""

DTLS_1_2: Final = 0xFEFD

_MAX_OVERHEAD: Final = 64
"""Bytes that header, nonce and tag add to a message: 37 with AES-GCM."""

_HANDSHAKE: Final = 22
_CLIENT_HELLO: Final = b"\x01"
_FRAGMENT_SIZE: Final = 12
"""Bytes of the header of a handshake message, or of a fragment of one (RFC 6347 §4.2.2)."""

_LONGEST_STEP: Final = 4096
"""Bytes of a handshake message from a client. A key exchange has 33 to 520; TURN asks for no certificates, and those of
WebRTC, which nobody else has signed, have 300 to 1,500. OpenSSL would take 100 KB at once for the first fragment."""

_MOST_EARLY: Final = 16
"""Records that cannot be decrypted yet and are kept by OpenSSL, 16 KB each, until the keys are there: a client sends
one, its Finished, and again with each retransmission."""

_TIMEOUTS_UNTIL_SMALLER: Final = 2
"""Retransmissions after which smaller datagrams are tried (RFC 6347 §4.1.1.1)."""

_SMALLEST: Final = 548
"""Bytes of a datagram that every host must take: 576 (RFC 1122 §3.3.2) without the headers of IPv4 and UDP."""


class DtlsClosed(MeshturnError):
    """The other side has said that it sends nothing more (``close_notify``)."""


class DtlsFailed(MeshturnError):
    """The association has failed; the text says why in a few words. ``alert``: the other side has said so."""

    def __init__(self, reason: str, *, alert: bool) -> None:
        self.alert = alert
        super().__init__(reason)


def records(datagram: bytes | bytearray | memoryview) -> Iterator[bytes]:
    """The records of a datagram; what follows one that is cut off is left out."""
    at = 0
    while at + HEADER_SIZE <= len(datagram):
        end = at + HEADER_SIZE + (datagram[at + 11] << 8 | datagram[at + 12])
        if end > len(datagram):
            return
        yield bytes(datagram[at:end])
        at = end


def is_client_hello(record: bytes) -> bool:
    """Whether a record begins with a ClientHello that is not encrypted: somebody begins a handshake."""
    return record[0] == _HANDSHAKE and not any(record[3:5]) and record[HEADER_SIZE : HEADER_SIZE + 1] == _CLIENT_HELLO


def secured(context: SSL.Context) -> SSL.Context:
    """The context, restricted to DTLS 1.2 without renegotiation, compression and stored sessions (RFC 9325)."""
    context.set_min_proto_version(DTLS_1_2)
    context.set_max_proto_version(DTLS_1_2)  # the cookies of DTLS 1.3 are others
    context.set_options(SSL.OP_NO_QUERY_MTU | SSL.OP_NO_RENEGOTIATION | SSL.OP_NO_COMPRESSION | SSL.OP_NO_TICKET)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    return context


class DtlsSession:
    """One side of an association. ``mtu`` is the size, in bytes, of the largest datagram of a handshake.

    A failure is raised by `begin`, `feed` and `retransmit`; `flight` may still have an alert for the other side then.
    """

    __slots__ = ("_connection", "_early", "_mtu", "_serves", "_timeouts", "established")

    def __init__(self, connection: SSL.Connection, mtu: int, *, serves: bool) -> None:
        self._connection = connection
        self._mtu = mtu
        self._serves = serves
        self._early = self._timeouts = 0
        self.established = False
        """Whether the handshake is complete."""
        connection.set_ciphertext_mtu(mtu)

    @classmethod
    def accept(cls, context: SSL.Context, hello: bytes, mtu: int) -> Self:
        """A server's side, from the record of a ClientHello whose cookie has been verified; `begin` answers it.

        Raises `DtlsFailed` if it is no ClientHello to OpenSSL.
        """
        connection = SSL.Connection(context, None)
        connection.set_accept_state()
        made = cls(connection, mtu, serves=True)
        connection.bio_write(hello)
        try:
            connection.DTLSv1_listen()
        except SSL.WantReadError as error:
            raise DtlsFailed("not a ClientHello", alert=False) from error
        except SSL.Error as error:
            raise _failure(error) from error
        return made

    @classmethod
    def serve(cls, context: SSL.Context, mtu: int) -> Self:
        """A server's side whose client has proven its address in another way; `feed` takes its ClientHello."""
        connection = SSL.Connection(context, None)
        connection.set_accept_state()
        return cls(connection, mtu, serves=True)

    @classmethod
    def connect(cls, context: SSL.Context, host: str | None, mtu: int) -> Self:
        """A client's side, for `begin`; ``host`` is the name that the server is told (SNI), None to name none."""
        connection = SSL.Connection(context, None)
        connection.set_connect_state()
        if host is not None:
            connection.set_tlsext_host_name(host.encode("ascii"))
        return cls(connection, mtu, serves=False)

    @property
    def connection(self) -> SSL.Connection:
        """What OpenSSL knows of it: the certificates, the cipher, the version."""
        return self._connection

    def begin(self) -> None:
        """Begin the handshake, once; `flight` has what is to be sent."""
        self._shake()

    def feed(self, record: bytes) -> bytes | None:
        """Take one record; the message in it, if there is one.

        A record that is forged, replayed or of the wrong epoch is ignored (RFC 6347 §4.1.2.7). Raises `DtlsClosed` and
        `DtlsFailed`.
        """
        if not self.established:
            if self._serves and not self._is_acceptable(record):
                return None
            self._connection.bio_write(record)
            self._shake()
            return None
        self._connection.bio_write(record)
        try:
            return self._connection.recv(len(record))
        except SSL.WantReadError:
            return None
        except SSL.ZeroReturnError as error:
            raise DtlsClosed("closed") from error
        except SSL.Error as error:
            raise _failure(error) from error

    def seal(self, message: bytes | memoryview) -> bytes | None:
        """The record of a message; None if it is too long for one, or the association has ended."""
        try:
            self._connection.send(message)
            return self._connection.bio_read(len(message) + _MAX_OVERHEAD)
        except SSL.Error:
            return None

    def flight(self) -> list[bytes]:
        """The datagrams that have to be sent now."""
        waiting = bytearray()
        try:
            while True:
                waiting += self._connection.bio_read(65536)
        except SSL.WantReadError:
            pass
        packed: list[bytes] = []
        for record in records(waiting):
            if packed and len(packed[-1]) + len(record) <= self._mtu:
                packed[-1] += record
            else:
                packed.append(record)
        return packed

    def timeout(self) -> float | None:
        """Seconds until `retransmit` has to be called; None while nothing waits for an answer."""
        return self._connection.DTLSv1_get_timeout()

    def retransmit(self) -> None:
        """Have the last flight sent again, if it is time; in smaller datagrams if that has not helped."""
        try:
            if not self._connection.DTLSv1_handle_timeout():
                return
        except SSL.Error as error:
            raise _failure(error) from error
        self._timeouts += 1
        if self._timeouts == _TIMEOUTS_UNTIL_SMALLER:
            self._mtu = min(self._mtu, _SMALLEST)
            self._connection.set_ciphertext_mtu(self._mtu)

    def close(self) -> list[bytes]:
        """End the association; the datagrams that say so to the other side."""
        try:
            self._connection.shutdown()
        except SSL.Error:  # the handshake is not complete
            return []
        return self.flight()

    def _shake(self) -> None:
        try:
            self._connection.do_handshake()
        except SSL.WantReadError:
            return
        except SSL.ZeroReturnError as error:
            raise DtlsClosed("closed") from error
        except SSL.Error as error:
            raise _failure(error) from error
        self.established = True

    def _is_acceptable(self, record: bytes) -> bool:
        """Whether a client may send this during a handshake; see the module."""
        if any(record[3:5]):
            self._early += 1
            return self._early <= _MOST_EARLY
        return record[0] != _HANDSHAKE or _is_short(record)


def _is_short(record: bytes) -> bool:
    """Whether all handshake messages in a record, or those that it has fragments of, are of plausible length."""
    at = HEADER_SIZE
    while at < len(record):
        if at + _FRAGMENT_SIZE > len(record) or int.from_bytes(record[at + 1 : at + 4], "big") > _LONGEST_STEP:
            return False
        at += _FRAGMENT_SIZE + int.from_bytes(record[at + 9 : at + 12], "big")
    return at == len(record)


def _failure(error: SSL.Error) -> DtlsFailed:
    """OpenSSL's first reason, which is an alert of the other side if it says so."""
    reasons = error.args[0] if error.args and isinstance(error.args[0], list) else []
    text = str(reasons[0][-1]) if reasons else "broken"
    _, is_alert, alert = text.partition(" alert ")
    return DtlsFailed(alert or text, alert=bool(is_alert))
