"""ClientHellos: the name and the protocols that OpenSSL reads in one are those that are read here."""

import ssl
from collections.abc import Iterator
from contextlib import suppress
from unittest.mock import patch

from tests.support.certificates import client_context
from turnserver.transports.client_hello import ClientHello, NotTls, read_client_hello

__all__ = ["MAX_LENGTH", "WORDS", "run", "seeds"]

MAX_LENGTH = 1500
WORDS = (b"\x16\x03\x01", b"\x00\x00\x00\x0e\x00\x0c\x00\x00\x09localhost", b"\x00\x10", b"\x09stun.turn", b"\x03\x03")


def seeds() -> Iterator[bytes]:
    """OpenSSL's, whole, and in several records."""
    for alpn in ((), ("stun.turn", "http/1.1")):
        for name in (None, "localhost", "a.meet.example.org"):
            hello = _hello(alpn, name)
            yield hello
            yield b"".join(
                b"\x16\x03\x01" + len(piece).to_bytes(2, "big") + piece
                for piece in (hello[at : at + 80] for at in range(5, len(hello), 80))
            )


def _hello(alpn: tuple[str, ...], name: str | None) -> bytes:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = client_context(alpn=alpn).wrap_bio(incoming, outgoing, server_hostname=name)
    with suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


def run(data: bytes) -> None:
    """Only `NotTls` is raised, a verdict stands, and OpenSSL goes by no other name."""
    verdict = _verdict(data)
    for size in {*range(min(len(data), 12)), len(data) // 2, max(len(data) - 1, 0)}:
        early = _verdict(data[:size])
        assert early is None or early == verdict
    names = _openssl(data)
    if names:
        assert isinstance(verdict, ClientHello)
        assert verdict.server_name == names[0], (verdict, names)


def _verdict(data: bytes) -> ClientHello | type[NotTls] | None:
    try:
        return read_client_hello(data)
    except NotTls:
        return NotTls


def _openssl(data: bytes) -> list[str | None]:
    """The name that OpenSSL looks for a certificate by, if it comes so far."""
    names: list[str | None] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)

    def asked(tls: object, name: str | None, _: object) -> int:
        names.append(name)
        return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME

    context.sni_callback = asked
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    incoming.write(data)
    # Python writes of a name that is not ASCII, and sends an alert without asking.
    with patch("sys.unraisablehook"), suppress(ssl.SSLError):
        context.wrap_bio(incoming, outgoing, server_side=True).do_handshake()
    return names
