"""ClientHellos of DTLS and cookies, without a socket."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from OpenSSL import SSL

from tests.support.dtls_world import client_dtls, records_of, refragmented
from turnserver.transports.client_hello import ClientHello
from turnserver.transports.dtls_hello import (
    COOKIE_LIFETIME,
    Cookies,
    DtlsHello,
    no_application_protocol,
    read_hello,
    verify_request,
)

SOURCE = b"\x12\x34\x7f\0\0\1"


class Client:
    """OpenSSL's client, whose handshake is driven by hand."""

    def __init__(self, *protocols: bytes) -> None:
        self.tls = SSL.Connection(client_dtls(protocols), None)
        self.tls.set_connect_state()
        self.tls.set_ciphertext_mtu(1200)
        self.tls.set_tlsext_host_name(b"turn.example.org")

    def hello(self) -> bytes:
        with pytest.raises(SSL.WantReadError):
            self.tls.do_handshake()
        return self.tls.bio_read(65536)


def read(record: bytes) -> DtlsHello:
    found = read_hello(record)
    assert found is not None
    return found


def test_what_a_hello_says() -> None:
    """RFC 6347 §4.2.1, RFC 6066 §3, RFC 7301 §3.1."""
    client = Client(b"stun.turn")
    record = client.hello()
    hello = read(record)
    assert (hello.cookie, hello.offer) == (b"", ClientHello((b"stun.turn",), "turn.example.org"))
    assert hello.random == record[27:59] == client.tls.client_random()


def test_openssl_accepts_the_request_and_returns_the_cookie() -> None:
    """RFC 6347 §4.2.1: the same offer again, with the cookie and the next number."""
    client = Client()
    first = client.hello()
    client.tls.bio_write(verify_request(read(first), b"c" * 20))
    second = read(client.hello())
    assert second.cookie == b"c" * 20
    assert second.parameters == read(first).parameters
    assert int.from_bytes(second.sequence, "big") == int.from_bytes(read(first).sequence, "big") + 1


def test_the_request_is_shorter_than_any_hello() -> None:
    """Rule 4: nothing is gained by a forged source: a ClientHello has at least 67 bytes."""
    assert len(verify_request(read(Client().hello()), b"c" * 20)) == 48


def test_openssl_understands_the_alert() -> None:
    client = Client(b"h2")
    client.tls.bio_write(no_application_protocol(read(client.hello())))
    with pytest.raises(SSL.Error, match="no application protocol"):
        client.tls.do_handshake()


def cookies() -> Cookies:
    made = iter(range(1, 100))
    return Cookies(lambda size: bytes([next(made)]) * size)


def test_a_cookie_is_good_for_its_client_and_offer() -> None:
    made, hello, other = cookies(), read(Client().hello()), read(Client().hello())
    cookie = made.make(SOURCE, hello, 5.0)
    assert made.accepts(SOURCE, hello._replace(cookie=cookie), 5.0)
    assert not made.accepts(SOURCE, other._replace(cookie=cookie), 5.0)
    assert not made.accepts(SOURCE[:-1] + b"\2", hello._replace(cookie=cookie), 5.0)
    for wrong in (b"", cookie[:-1], cookie + b"\0", bytes(20)):
        assert not made.accepts(SOURCE, hello._replace(cookie=wrong), 5.0)


def test_a_cookie_is_good_for_a_while() -> None:
    """Each secret is used for one lifetime, and accepted for another; there are never more than two."""
    made, hello = cookies(), read(Client().hello())
    good = hello._replace(cookie=made.make(SOURCE, hello, 10.0))
    assert made.accepts(SOURCE, good, 2 * COOKIE_LIFETIME - 1)
    assert not made.accepts(SOURCE, good, 2 * COOKIE_LIFETIME)
    for period in range(10):
        made.make(SOURCE, hello, period * COOKIE_LIFETIME)
        assert len(made._secrets) <= 2
    late = hello._replace(cookie=made.make(SOURCE, hello, 0.0))
    assert not made.accepts(SOURCE, late, 50 * COOKIE_LIFETIME)


def test_what_is_no_whole_hello() -> None:
    record = Client().hello()
    assert all(read_hello(record[:size]) is None for size in range(13, len(record)))
    assert [read_hello(each) for each in refragmented(record, 60)] == [None] * 4
    assert read_hello(b"\x16\x03\x01" + record[3:]) is None
    assert read_hello(record[:3] + b"\0\1" + record[5:]) is None


@given(st.binary(max_size=80), st.integers(0, 200))
def test_nothing_but_a_verdict(noise: bytes, at: int) -> None:
    """Hostile bytes in any place raise nothing."""
    record = bytearray(HELLO)
    record[13 + at : 13 + at + len(noise)] = noise
    for each in (bytes(record), HELLO[:13] + noise):
        found = read_hello(each)
        assert found is None or len(found.random) == 32


HELLO = next(records_of(Client(b"stun.turn").hello()))
