"""Reads what a ClientHello offers (ALPN) and whom it asks for (SNI), before OpenSSL sees it.

With Python's ``ssl``, OpenSSL continues without ALPN when it knows none of the protocols offered. RFC 7301 §3.2 says to
refuse such a client, and a client that offers only ``stun.nat-discovery`` (RFC 7443) does not ask for a relay. The
name of the server is read here, too, so that a handshake begins with the certificates for it.
"""

from typing import Final, NamedTuple

from meshturn.root import MeshturnError
from stun.demux import TLS_HANDSHAKE

__all__ = ["NO_APPLICATION_PROTOCOL", "ClientHello", "NotTls", "Reader", "read_client_hello", "read_extensions"]

NO_APPLICATION_PROTOCOL: Final = b"\x15\x03\x03\x00\x02\x02\x78"
"""A fatal ``no_application_protocol`` alert (RFC 7301 §3.2) in a record of its own."""

_CLIENT_HELLO: Final = 1
_SERVER_NAME: Final = 0
_HOST_NAME: Final = 0
_ALPN: Final = 16
_RECORD_MAX: Final = 16 * 1024
_HELLO_MAX: Final = 16 * 1024
"""Bytes of the longest ClientHello accepted; one with all post-quantum key shares of today needs a third of that."""
_MAX_RECORDS: Final = 16
"""Records that it may be spread over; more would only serve to keep this parser busy."""


class NotTls(MeshturnError):
    """The bytes are not a ClientHello."""


class ClientHello(NamedTuple):
    """``protocols`` are those offered by ALPN, in the client's order; None without the extension.

    ``server_name`` is the host that the client asks for (RFC 6066 §3), as it was sent; None if it names none.
    """

    protocols: tuple[bytes, ...] | None
    server_name: str | None = None


def read_client_hello(data: bytes) -> ClientHello | None:
    """The ClientHello that a connection begins with; None while it is incomplete.

    Raises `NotTls` at the first byte that cannot belong to one. OpenSSL refuses what is malformed further in.
    """
    message = bytearray()
    at = 0
    for _ in range(_MAX_RECORDS):
        head = data[at : at + 5]
        if (head and head[0] != TLS_HANDSHAKE) or head[1:2] not in {b"", b"\x03"}:
            raise NotTls("not a TLS handshake")
        if len(head) < 5:
            return None
        length = head[3] << 8 | head[4]
        if not 0 < length <= _RECORD_MAX:
            raise NotTls("not a TLS record")
        message += data[at + 5 : at + 5 + length]
        if message and message[0] != _CLIENT_HELLO:
            raise NotTls("not a ClientHello")
        if len(message) >= 4:
            size = int.from_bytes(message[1:4], "big")
            if size > _HELLO_MAX:
                raise NotTls("a ClientHello of implausible length")
            if len(message) >= 4 + size:
                return _read_hello(bytes(message[4 : 4 + size]))
        at += 5 + length
        if at > len(data):
            return None
    raise NotTls("a ClientHello in too many records")


def _read_hello(hello: bytes) -> ClientHello:
    """What the extensions say; nothing at all if the lengths are inconsistent."""
    reader = Reader(hello)
    try:
        reader.take(2 + 32)  # legacy_version, random
        for width in (1, 2, 1):  # session id, cipher suites, compression methods
            reader.vector(width)
    except ValueError:
        return ClientHello(None)
    return read_extensions(reader)


def read_extensions(reader: "Reader") -> ClientHello:
    """What the extensions say, which are all that is left; nothing at all if the lengths are inconsistent."""
    protocols: tuple[bytes, ...] | None = None
    name: str | None = None
    try:
        extensions = Reader(reader.vector(2))
        while not extensions.empty:
            number = int.from_bytes(extensions.take(2), "big")
            body = extensions.vector(2)
            if number == _ALPN and protocols is None:
                protocols = _protocols(body)
            elif number == _SERVER_NAME and name is None:
                name = _server_name(body)
    except ValueError:
        return ClientHello(None)
    return ClientHello(protocols, name)


def _protocols(body: bytes) -> tuple[bytes, ...]:
    """The ALPN extension (RFC 7301 §3.1)."""
    names = Reader(Reader(body).vector(2))
    found = []
    while not names.empty:
        found.append(names.vector(1))
    return tuple(found)


def _server_name(body: bytes) -> str | None:
    """The host name in the extension (RFC 6066 §3), which has to be ASCII; None if it has none."""
    names = Reader(Reader(body).vector(2))
    while not names.empty:
        kind, name = names.take(1)[0], names.vector(2)
        if kind == _HOST_NAME:
            return name.decode("ascii") if name.isascii() else None
    return None


class Reader:
    """Reads bytes from the front; raises ValueError when there are not enough."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def empty(self) -> bool:
        """Whether all has been read."""
        return self._at == len(self._data)

    def take(self, size: int) -> bytes:
        """The next bytes."""
        end = self._at + size
        if end > len(self._data):
            raise ValueError("too short")
        taken = self._data[self._at : end]
        self._at = end
        return taken

    def vector(self, width: int) -> bytes:
        """Bytes that follow their own length of ``width`` bytes (RFC 8446 §3.4)."""
        return self.take(int.from_bytes(self.take(width), "big"))
