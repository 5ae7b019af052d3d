"""DTLS records: the ClientHello that OpenSSL takes is the one that was read here, and no noise becomes a message."""

from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from OpenSSL import SSL

from tests.support.certificates import issue
from turnserver.dtls import DtlsClosed, DtlsFailed, DtlsSession, records, secured
from turnserver.transports.dtls_context import DtlsContexts
from turnserver.transports.dtls_hello import Cookies, read_hello, verify_request

__all__ = ["MAX_LENGTH", "WORDS", "run", "seeds"]

MAX_LENGTH = 1200
WORDS = (
    b"\x16\xfe\xfd\x00\x00",
    b"\x17\xfe\xfd\x00\x01",
    b"\x14\xfe\xfd\x00\x00\x00\x00\x00\x00\x00\x05\x00\x01\x01",
    b"\x15\xfe\xfd\x00\x00\x00\x00\x00\x00\x00\x06\x00\x02\x02\x28",
    b"\x10\x00\x00\x21\x00\x02\x00\x00\x00\x00\x00\x21",
    b"\x0b\x00\xff\xff\x00\x02\x00\x00\x00\x00\x00\x01",
    b"\xfe\xff",
)
_HELLO, _HANDSHAKE, _SESSION = range(3)
_MTU = 1200
_COOKIE = b"c" * 20


@cache
def _certificate() -> tuple[bytes, bytes]:
    with TemporaryDirectory() as folder:
        pair = issue(Path(folder))
        return pair.certificate.read_bytes(), pair.key.read_bytes()


@cache
def _server() -> SSL.Context:
    return DtlsContexts().of((_certificate(),))


def _client(*protocols: bytes) -> DtlsSession:
    context = secured(SSL.Context(SSL.DTLS_CLIENT_METHOD))
    if protocols:
        context.set_alpn_protos(list(protocols))
    session = DtlsSession.connect(context, "localhost", _MTU)
    session.begin()
    return session


def _hellos(client: DtlsSession) -> tuple[bytes, bytes]:
    (first,) = client.flight()
    hello = read_hello(first)
    assert hello is not None
    client.feed(verify_request(hello, _COOKIE))
    (second,) = client.flight()
    return first, second


def seeds() -> Iterator[bytes]:
    """The first byte says what the rest is given to: OpenSSL's listener, a handshake, or a session."""
    for protocols in ((), (b"stun.turn", b"h2")):
        first, second = _hellos(_client(*protocols))
        for state in (_HELLO, _HANDSHAKE, _SESSION):
            yield bytes((state,)) + first
            yield bytes((state,)) + second
    client, _ = _half()
    flight = b"".join(client.flight())
    for state in (_HANDSHAKE, _SESSION):
        yield bytes((state,)) + flight
    sender, _ = _pair()
    for state in (_HANDSHAKE, _SESSION):
        yield bytes((state,)) + (sender.seal(b"a message") or b"") + b"".join(sender.close())


def run(data: bytes) -> None:
    """Whatever comes: what is read agrees with OpenSSL, and only the errors that are meant are raised."""
    if not data:
        return
    found = list(records(data[1:]))
    assert data[1:].startswith(b"".join(found))
    if data[0] % 3 == _HELLO:
        for record in found[:4]:
            _compare(record)
    elif data[0] % 3 == _HANDSHAKE:
        _disturb(_half()[1], found)
    else:
        _disturb(_pair()[1], found)


def _compare(record: bytes) -> None:
    """A ClientHello with a cookie that OpenSSL answers has been read here, with the same cookie."""
    hello = read_hello(record)
    _SEEN.clear()
    connection = SSL.Connection(_watching(), None)
    connection.set_accept_state()
    connection.set_ciphertext_mtu(_MTU)
    connection.bio_write(record)
    answer = b""
    with suppress(SSL.Error):
        connection.DTLSv1_listen()
        with suppress(SSL.WantReadError):
            connection.do_handshake()
        answer = connection.bio_read(65536)
    if answer[:1] == b"\x16":  # a ServerHello
        assert hello is not None
        assert {hello.cookie} == set(_SEEN)
    if hello is not None:
        cookies = Cookies(bytes)
        cookie = cookies.make(b"source", hello, 5.0)
        assert cookies.accepts(b"source", hello._replace(cookie=cookie), 5.0)
        assert len(verify_request(hello, cookie)) < len(record)
        assert len(hello.random) == 32


_SEEN: list[bytes] = []


@cache
def _watching() -> SSL.Context:
    """A server's context, which writes down the cookies that OpenSSL asks about."""
    context = DtlsContexts().of((_certificate(),))

    def verify(_: SSL.Connection, cookie: bytes) -> bool:
        _SEEN.append(cookie)
        return True

    context.set_cookie_verify_callback(verify)
    return context


def _half() -> tuple[DtlsSession, DtlsSession]:
    """A client that has the server's first flight, and the server, which waits for the client's."""
    client = _client()
    server = DtlsSession.accept(_server(), _hellos(client)[1], _MTU)
    server.begin()
    _carry(server, client)
    return client, server


def _pair() -> tuple[DtlsSession, DtlsSession]:
    client, server = _half()
    _carry(client, server)
    _carry(server, client)
    assert client.established
    assert server.established
    return client, server


def _carry(source: DtlsSession, target: DtlsSession) -> None:
    for datagram in source.flight():
        for record in records(datagram):
            target.feed(record)


def _disturb(session: DtlsSession, noise: list[bytes]) -> None:
    """Records of others become no message, and complete no handshake."""
    before = session.established
    for record in noise:
        try:
            assert session.feed(record) is None
        except (DtlsClosed, DtlsFailed):
            break
        finally:
            assert all(len(datagram) <= _MTU for datagram in session.flight())
    assert session.established == before
    session.retransmit()
    session.close()
