"""The cookie exchange of DTLS (RFC 6347 §4.2.1), before anything is kept about a client.

A ClientHello without a valid cookie is answered with a HelloVerifyRequest, which is shorter than the ClientHello, and
forgotten. The cookie is a MAC over the client's address and over what it offers, so it is good for nobody else. It is
good for one or two lifetimes. Pure: entropy and the time are arguments.
"""

import hmac
from collections.abc import Callable
from hashlib import sha256
from typing import Final, NamedTuple

from turnserver.dtls import HEADER_SIZE, is_client_hello
from turnserver.transports.client_hello import ClientHello, Reader, read_extensions

__all__ = ["COOKIE_LIFETIME", "Cookies", "DtlsHello", "no_application_protocol", "read_hello", "verify_request"]

COOKIE_LIFETIME: Final = 60.0
"""Seconds after which a new secret is drawn; cookies of the previous one are accepted for as long again."""

_COOKIE_SIZE: Final = 20
"""Bytes; DTLS 1.0 allowed up to 32."""
_SECRET_SIZE: Final = 32
_FRAGMENT_SIZE: Final = 12
_HELLO_VERIFY_REQUEST: Final = 3
_DTLS_1_0: Final = b"\xfe\xff"
"""The version of a HelloVerifyRequest, whatever is negotiated later (RFC 6347 §4.2.1)."""
_MAJOR: Final = 0xFE


class DtlsHello(NamedTuple):
    """A ClientHello: the number of its record, its random, its cookie, and what it offers."""

    sequence: bytes
    random: bytes
    cookie: bytes
    parameters: bytes
    """What the client has to repeat with the cookie: version, random, session, cipher suites, compression methods."""
    offer: ClientHello


def read_hello(record: bytes) -> DtlsHello | None:
    """The ClientHello in a record; None if it is none, or not whole.

    One that is spread over several records would have to be kept before its sender has proven its address, so there is
    no answer to it. OpenSSL refuses what is malformed further in.
    """
    if not is_client_hello(record) or record[1] != _MAJOR:
        return None
    size = len(record) - HEADER_SIZE - _FRAGMENT_SIZE
    length = record[HEADER_SIZE + 1 : HEADER_SIZE + 4]
    fragment = record[HEADER_SIZE + 6 : HEADER_SIZE + _FRAGMENT_SIZE]
    if size < 0 or int.from_bytes(length, "big") != size or fragment != b"\0\0\0" + length:
        return None
    reader = Reader(record[HEADER_SIZE + _FRAGMENT_SIZE :])
    try:
        version, random = reader.take(2), reader.take(32)
        session, cookie, ciphers, compression = (reader.vector(width) for width in (1, 1, 2, 1))
    except ValueError:
        return None
    lengths = bytes((len(session), len(compression))) + len(ciphers).to_bytes(2, "big")
    parameters = lengths + version + random + session + ciphers + compression
    return DtlsHello(record[3:11], random, cookie, parameters, read_extensions(reader))


def verify_request(hello: DtlsHello, cookie: bytes) -> bytes:
    """The HelloVerifyRequest that asks for the same ClientHello with a cookie; its record has the same number."""
    body = _DTLS_1_0 + bytes((len(cookie),)) + cookie
    length = len(body).to_bytes(3, "big")
    message = bytes((_HELLO_VERIFY_REQUEST,)) + length + bytes(5) + length + body
    return b"\x16" + _DTLS_1_0 + hello.sequence + len(message).to_bytes(2, "big") + message


def no_application_protocol(hello: DtlsHello) -> bytes:
    """A fatal ``no_application_protocol`` alert (RFC 7301 §3.2) in answer to a ClientHello."""
    return b"\x15\xfe\xfd" + hello.sequence + b"\x00\x02\x02\x78"


class Cookies:
    """Makes and checks cookies. ``entropy`` gives random bytes."""

    def __init__(self, entropy: Callable[[int], bytes]) -> None:
        self._entropy = entropy
        self._secrets: dict[int, bytes] = {}

    def make(self, source: bytes, hello: DtlsHello, now: float) -> bytes:
        """The cookie for a client at ``source``; ``now`` is the time in seconds."""
        return _mac(self._secret(int(now // COOKIE_LIFETIME)), source, hello)

    def accepts(self, source: bytes, hello: DtlsHello, now: float) -> bool:
        """Whether the cookie of a ClientHello was made for this client, and lately."""
        if len(hello.cookie) != _COOKIE_SIZE:
            return False
        period = int(now // COOKIE_LIFETIME)
        self._secret(period)
        fits = [hmac.compare_digest(_mac(secret, source, hello), hello.cookie) for secret in self._secrets.values()]
        return any(fits)

    def _secret(self, period: int) -> bytes:
        if period not in self._secrets:
            before = self._secrets.get(period - 1)
            self._secrets = {} if before is None else {period - 1: before}
            self._secrets[period] = self._entropy(_SECRET_SIZE)
        return self._secrets[period]


def _mac(secret: bytes, source: bytes, hello: DtlsHello) -> bytes:
    return hmac.digest(secret, bytes((len(source),)) + source + hello.parameters, sha256)[:_COOKIE_SIZE]
