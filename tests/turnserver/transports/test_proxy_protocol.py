"""The PROXY protocol, both versions, whole, in pieces, and wrong."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stun.address import Address
from turnserver.transports.proxy_protocol import NoHeader, ProxyError, read_header

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
V4 = Address.parse("192.0.2.10", 40000)
V6 = Address.parse("2001:db8::10", 40000)


def version_2(command: int, family: int, body: bytes) -> bytes:
    return SIGNATURE + bytes((command, family)) + len(body).to_bytes(2, "big") + body


def addresses(source: Address, destination: Address) -> bytes:
    return source.ip + destination.ip + source.port.to_bytes(2, "big") + destination.port.to_bytes(2, "big")


GOOD = [
    (b"PROXY TCP4 192.0.2.10 192.0.2.1 40000 3478\r\n", V4),
    (b"PROXY TCP6 2001:db8::10 2001:db8::1 40000 3478\r\n", V6),
    (b"PROXY TCP6 ::ffff:192.0.2.10 ::1 40000 3478\r\n", V4),
    (b"PROXY UNKNOWN\r\n", None),
    (b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n", None),
    (version_2(0x21, 0x11, addresses(V4, V4)), V4),
    (version_2(0x21, 0x21, addresses(V6, V6)), V6),
    (version_2(0x21, 0x11, addresses(V4, V4) + b"\x04\x00\x03abc"), V4),
    (version_2(0x20, 0x00, b""), None),
    (version_2(0x20, 0x11, addresses(V4, V4)), None),
    (version_2(0x21, 0x00, b""), None),
    (version_2(0x21, 0x31, bytes(216)), None),
]


@pytest.mark.parametrize(("header", "client"), GOOD, ids=lambda value: repr(value)[:32])
def test_a_header_gives_the_client_and_its_own_size(header: bytes, client: Address | None) -> None:
    """PROXY protocol §2.1, §2.2: LOCAL, UNKNOWN and families without addresses leave the socket's own in force."""
    found = read_header(header + b"what follows")
    assert found is not None
    assert found[:2] == (len(header), client)


@pytest.mark.parametrize(("header", "client"), GOOD, ids=lambda value: repr(value)[:32])
def test_a_header_may_come_in_pieces(header: bytes, client: Address | None) -> None:
    """Nothing is decided, and nothing refused, before all of it is there."""
    assert [read_header(header[:size]) for size in range(len(header))] == [None] * len(header)
    assert read_header(header) == read_header(header + b"what follows")


SECURE = b"\x20\x00\x05\x01" + bytes(4)


@pytest.mark.parametrize(
    ("header", "port", "secure"),
    [
        (b"PROXY TCP4 192.0.2.10 192.0.2.1 40000 8443\r\n", 8443, False),
        (b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n", 0, False),
        (version_2(0x21, 0x11, addresses(V4, V4._replace(port=443))), 443, False),
        (version_2(0x21, 0x11, addresses(V4, V4) + SECURE), 40000, True),
        (version_2(0x21, 0x21, addresses(V6, V6) + b"\x04\x00\x01x" + SECURE + b"\x05\x00\x00"), 40000, True),
        (version_2(0x21, 0x11, addresses(V4, V4) + b"\x20\x00\x05\x06" + bytes(4)), 40000, False),
        (version_2(0x21, 0x11, addresses(V4, V4) + b"\x20\x00\x00"), 40000, False),
        (version_2(0x21, 0x11, addresses(V4, V4) + b"\x04\x00\x08" + SECURE), 40000, False),
        (version_2(0x20, 0x11, addresses(V4, V4) + SECURE), 0, False),
        # As HAProxy sends it with send-proxy-v2-ssl-cn: version, cipher and name of the certificate are within it.
        (
            version_2(0x21, 0x11, addresses(V4, V4) + b"\x20\x00\x0f\x01" + bytes(4) + b"\x21\x00\x07TLSv1.3"),
            40000,
            True,
        ),
    ],
)
def test_the_port_and_whether_the_client_speaks_tls(header: bytes, port: int, secure: bool) -> None:
    """PROXY protocol §2.2.5, PP2_CLIENT_SSL; what LOCAL says is ignored (§2.2)."""
    found = read_header(header)
    assert found is not None
    assert (found.size, found.port, found.secure) == (len(header), port, secure)


def test_what_is_no_header_at_all_is_told_from_a_wrong_one() -> None:
    """The one may be served as something else, the other never."""
    for other in (b"GET / HTTP/1.1\r\n", b"POST", b"PROP", b"\x00\x01\x00\x00", b"\x16\x03", b"\r\nGET"):
        with pytest.raises(NoHeader):
            read_header(other)
    for wrong in (b"PROXY TCP9 1 2 3 4\r\n", SIGNATURE + b"\x11"):
        with pytest.raises(ProxyError) as caught:
            read_header(wrong)
        assert not isinstance(caught.value, NoHeader)


@pytest.mark.parametrize(
    "header",
    [
        b"GET / HTTP/1.1\r\n",
        b"\x00\x01\x00\x00",
        b"PROXY TCP4 192.0.2.10 192.0.2.1 40000\r\n",
        b"PROXY TCP4 192.0.2.10 192.0.2.1 40000 3478 more\r\n",
        b"PROXY TCP4 2001:db8::10 2001:db8::1 40000 3478\r\n",
        b"PROXY TCP6 fe80::1%eth0 ::1 40000 3478\r\n",
        b"PROXY TCP4 192.0.2.10 192.0.2.1 65536 3478\r\n",
        b"PROXY TCP4 192.0.2.10 192.0.2.1 040 3478\r\n",
        b"PROXY TCP4 192.0.2.10 192.0.2.1 -1 3478\r\n",
        b"PROXY UDP4 192.0.2.10 192.0.2.1 40000 3478\r\n",
        b"PROXY  TCP4 192.0.2.10 192.0.2.1 40000 3478\r\n",
        b"PROXY TCP4 \xff 192.0.2.1 40000 3478\r\n",
        b"PROXY " + b"x" * 101,
        version_2(0x22, 0x11, addresses(V4, V4)),
        version_2(0x11, 0x11, addresses(V4, V4)),
        version_2(0x21, 0x11, bytes(11)),
        version_2(0x21, 0x21, bytes(35)),
        version_2(0x21, 0x11, addresses(V4, V4) + b"\x20\x00"),
        version_2(0x21, 0x11, addresses(V4, V4) + b"\x20\x00\x06\x01" + bytes(4)),
        SIGNATURE + b"\x21\x11\x08\x01",
    ],
    ids=lambda value: repr(value)[:48],
)
def test_what_is_not_a_header_is_refused(header: bytes) -> None:
    """PROXY protocol §2: the receiver must not guess."""
    with pytest.raises(ProxyError):
        read_header(header)


def test_the_lines_of_version_1_are_bounded() -> None:
    """PROXY protocol §2.1: 107 bytes are always enough, so no more are waited for."""
    assert read_header(b"PROXY " + b"x" * 100) is None
    with pytest.raises(ProxyError):
        read_header(b"PROXY " + b"x" * 200 + b"\r\n")


@given(
    st.binary(max_size=120).map(lambda tail: SIGNATURE + tail) | st.binary(max_size=120).map(lambda b: b"PROXY " + b)
)
def test_whatever_comes_the_reader_answers_or_refuses(data: bytes) -> None:
    """Hostile bytes raise `ProxyError` and nothing else, and a header is never longer than what is there."""
    try:
        header = read_header(data)
    except ProxyError:
        return
    assert header is None or header.size <= len(data)
