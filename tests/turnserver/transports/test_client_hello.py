"""Reading ALPN out of a ClientHello, as real clients send it and as hostile ones do."""

import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.certificates import client_context
from tests.support.stream_world import BINDING
from turnserver.transports.client_hello import NO_APPLICATION_PROTOCOL, ClientHello, NotTls, read_client_hello


def real_hello(*alpn: str, name: str | None = "localhost") -> bytes:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = client_context(alpn=alpn).wrap_bio(incoming, outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


def records(message: bytes, size: int) -> bytes:
    pieces = [message[at : at + size] for at in range(0, len(message), size)]
    return b"".join(b"\x16\x03\x01" + len(piece).to_bytes(2, "big") + piece for piece in pieces)


def test_the_protocols_are_those_that_the_client_offers() -> None:
    """RFC 7301 §3.1: in the client's order."""
    assert read_client_hello(real_hello("stun.turn", "http/1.1")) == ClientHello(
        (b"stun.turn", b"http/1.1"), "localhost"
    )
    assert read_client_hello(real_hello("stun.nat-discovery")) == ClientHello((b"stun.nat-discovery",), "localhost")


def test_without_the_extension_there_are_none() -> None:
    """RFC 7301: a client need not offer any; browsers do not for TURN."""
    assert read_client_hello(real_hello()) == ClientHello(None, "localhost")


@pytest.mark.parametrize(
    ("asked", "read"),
    [
        ("turn.example.org", "turn.example.org"),
        ("Turn.Example.ORG", "Turn.Example.ORG"),
        ("192.0.2.1", None),
        (None, None),
    ],
)
def test_the_name_is_the_one_that_the_client_asks_for(asked: str | None, read: str | None) -> None:
    """RFC 6066 §3: names of hosts only; a client that has an address asks for none."""
    assert read_client_hello(real_hello("stun.turn", name=asked)) == ClientHello((b"stun.turn",), read)


@pytest.mark.parametrize(
    ("extension", "read"),
    [
        (b"\0\x07\0\0\x04turn", "turn"),
        (b"\0\x0b\x05\0\x01x\0\0\x04turn", "turn"),  # after a name of a kind that nobody has defined
        (b"\0\x07\0\0\x04tur\xff", None),
        (b"\0\x00", None),
        (b"\0\x07\0\0\x09turn", None),
        (b"\0", None),
        (b"", None),
    ],
)
def test_hostile_names(extension: bytes, read: str | None) -> None:
    """What is malformed is no name; OpenSSL then refuses the handshake or goes on without one."""
    extensions = b"\0\0" + len(extension).to_bytes(2, "big") + extension
    body = b"\3\3" + bytes(32) + b"\0" + b"\0\2\x13\1" + b"\1\0" + len(extensions).to_bytes(2, "big") + extensions
    hello = read_client_hello(records(b"\1" + len(body).to_bytes(3, "big") + body, 4096))
    assert hello == ClientHello(None, read)


def test_it_may_come_byte_by_byte() -> None:
    """Nothing is decided before the whole message is there."""
    hello = real_hello("stun.turn")
    assert {read_client_hello(hello[:size]) for size in range(len(hello))} == {None}
    assert read_client_hello(hello) == ClientHello((b"stun.turn",), "localhost")
    assert read_client_hello(hello + b"early data") == ClientHello((b"stun.turn",), "localhost")


def test_it_may_be_spread_over_records() -> None:
    """RFC 8446 §5.1: handshake messages may be fragmented; not into more records than anybody needs, though."""
    message = real_hello("stun.turn")[5:]
    assert read_client_hello(records(message, len(message) // 3)) == ClientHello((b"stun.turn",), "localhost")
    with pytest.raises(NotTls):
        read_client_hello(records(message, 1))


@pytest.mark.parametrize(
    "data",
    [
        BINDING,
        b"GET / HTTP/1.1\r\n",
        b"\x17\x03\x03\x00\x05hello",
        b"\x16\x02",
        b"\x16\x03\x01\x00\x00",
        b"\x16\x03\x01\x40\x01",
        b"\x16\x03\x01\x00\x05\x02\x00\x00\x00\x00",
        b"\x16\x03\x01\x00\x05\x01\x7f\xff\xff\x00",
        b"\x80\x2e\x01\x03\x01",
    ],
    ids=repr,
)
def test_what_is_no_client_hello_is_refused_at_once(data: bytes) -> None:
    """RFC 8446 §5.1, §4: record type, length, message type."""
    with pytest.raises(NotTls):
        read_client_hello(data)


@given(st.binary(max_size=200))
def test_a_malformed_message_has_no_protocols(body: bytes) -> None:
    """What does not add up is OpenSSL's to refuse; nothing but `NotTls` is ever raised."""
    message = b"\x01" + len(body).to_bytes(3, "big") + body
    hello = read_client_hello(records(message, 16384))
    assert isinstance(hello, ClientHello)


def test_the_alert_is_the_one_the_rfc_names() -> None:
    """RFC 7301 §3.2: fatal (2) no_application_protocol (120)."""
    assert NO_APPLICATION_PROTOCOL[-2:] == bytes((2, 120))
    assert NO_APPLICATION_PROTOCOL[0] == 21
