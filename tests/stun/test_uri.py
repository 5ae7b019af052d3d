"""RFC 7064 and RFC 7065: the URIs of STUN and TURN servers."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stun.errors import StunError
from stun.uri import DEFAULT_PORTS, InvalidUri, StunUri


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("stun:example.org", StunUri("stun", "example.org", 3478, "udp")),
        ("stuns:example.org", StunUri("stuns", "example.org", 5349, "tcp")),
        ("stun:example.org:8000", StunUri("stun", "example.org", 8000, "udp")),
        ("turn:example.org", StunUri("turn", "example.org", 3478, "udp")),
        ("turns:example.org", StunUri("turns", "example.org", 5349, "tcp")),
        ("turn:example.org:8000", StunUri("turn", "example.org", 8000, "udp")),
        ("turn:example.org?transport=udp", StunUri("turn", "example.org", 3478, "udp")),
        ("turn:example.org?transport=tcp", StunUri("turn", "example.org", 3478, "tcp")),
        ("turns:example.org?transport=tcp", StunUri("turns", "example.org", 5349, "tcp")),
        ("turns:example.org?transport=udp", StunUri("turns", "example.org", 5349, "udp")),
    ],
)
def test_the_examples_of_the_rfcs(text: str, expected: StunUri) -> None:
    """RFC 7064 Appendix B, RFC 7065 Appendix B: the examples and the defaults of §3.2."""
    assert StunUri.parse(text) == expected


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("turn:192.0.2.1", "192.0.2.1", 3478),
        ("turn:[2001:DB8::0:1]", "2001:db8::1", 3478),
        ("turn:[2001:db8::1]:5000?transport=udp", "2001:db8::1", 5000),
        ("turn:example.org:", "example.org", 3478),
        ("turn:example.org:03478", "example.org", 3478),
        ("turn:%65xample.org", "example.org", 3478),
        ("turn:b%C3%BCcher.example", "bücher.example", 3478),
    ],
)
def test_hosts_and_ports(text: str, host: str, port: int) -> None:
    """RFC 3986 §3.2.2, §3.2.3: names, addresses, percent-encoding, ports with leading zeros or no digits."""
    uri = StunUri.parse(text)
    assert (uri.host, uri.port) == (host, port)


def test_an_ipv4_mapped_address() -> None:
    """RFC 3986 §3.2.2: the last 32 bits of an IPv6 address may be written as an IPv4 address."""
    uri = StunUri.parse("turn:[::ffff:192.0.2.1]:5000")
    assert ipaddress.ip_address(uri.host) == ipaddress.ip_address("::ffff:192.0.2.1")
    assert StunUri.parse(str(uri)) == uri


def test_words_are_compared_without_case() -> None:
    """RFC 5234 §2.3: literal text in ABNF has no case; so have schemes (RFC 3986 §3.1)."""
    assert StunUri.parse("TuRnS:example.org?TRANSPORT=Tcp") == StunUri("turns", "example.org", 5349, "tcp")


def test_a_transport_extension_is_syntax_too() -> None:
    """RFC 7065 §3.1: transport-ext = 1*unreserved."""
    assert StunUri.parse("turn:example.org?transport=x-QUIC").transport == "x-quic"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "turn",
        "turn:",
        "http:example.org",
        "xturn:example.org",
        " turn:example.org",
        "turn:example.org ",
        "turn:example.org\n",
        "turn://example.org",
        "turn:user@example.org",
        "turn:user:password@example.org",
        "turn:example.org/path",
        "turn:example.org#fragment",
        "turn::3478",
        "turn:example.org:0",
        "turn:example.org:65536",
        "turn:example.org:-1",
        "turn:example.org:+3478",
        "turn:example.org:34 78",
        "turn:example.org:1_000",
        "turn:example.org:٣٤٧٨",
        "turn:example.org:3478:3478",
        "turn:2001:db8::1",
        "turn:[2001:db8::1",
        "turn:[2001:db8::1]x",
        "turn:[2001:db8::g]",
        "turn:[]",
        "turn:[fe80::1%eth0]",
        "turn:[fe80::1%25eth0]",
        "turn:[v1.fe80]",
        "turn:[192.0.2.1]",
        "turn:256.1.1.1",
        "turn:1.2.3",
        "turn:2130706433",
        "turn:2130706%34%33%33",
        "turn:%31.2.3",
        "turn:bücher.example",
        "turn:exam ple.org",
        "turn:%zz.example",
        "turn:%ff.example",
        "turn:a%00b",
        "turn:a%20b",
        "turn:a%2Fb",
        "turn:a%40b",
        "turn:a%1Bb",
        "turn:example.org?",
        "turn:example.org?transport",
        "turn:example.org?transport=",
        "turn:example.org?transport=udp&transport=tcp",
        "turn:example.org?transport=u/dp",
        "turn:example.org?transport=udp#x",
        "turn:example.org?foo=bar",
        "stun:example.org?transport=udp",
        "stuns:example.org?",
        "turn:" + "a" * 254,
        "turn:" + "a" * 5000,
    ],
)
def test_anything_else_is_refused_with_a_sentence(text: str) -> None:
    """RFC 7064 §3.1, RFC 7065 §3.1: what is outside the grammar is an `InvalidUri`, explained in one sentence."""
    with pytest.raises(InvalidUri, match=r"\A[A-Z].*\.\Z"):
        StunUri.parse(text)


def test_the_error_is_one_of_ours_and_a_value_error() -> None:
    """RFC 7065 §3.1: callers may catch the library's error or the built-in one."""
    assert issubclass(InvalidUri, StunError)
    assert issubclass(InvalidUri, ValueError)


@given(st.text(max_size=80) | st.from_regex(r"(stun|turn)s?:.*", fullmatch=True))
def test_parsing_raises_nothing_but_its_own_error(text: str) -> None:
    """RFC 7064 §3.1, RFC 7065 §3.1: any text is either a URI that prints to an equal one, or an `InvalidUri`."""
    try:
        uri = StunUri.parse(text)
    except InvalidUri:
        return
    assert StunUri.parse(str(uri)) == uri
    assert uri.secure is uri.scheme.endswith("s")
    assert uri.is_turn is uri.scheme.startswith("turn")


@given(
    st.sampled_from(sorted(DEFAULT_PORTS)),
    st.sampled_from(["example.org", "192.0.2.1", "2001:db8::1", "bücher.example", "a!$&'()*+,;=~b"]),
    st.integers(1, 65535),
    st.sampled_from(["udp", "tcp"]),
)
def test_what_is_printed_parses_to_the_same(scheme: str, host: str, port: int, transport: str) -> None:
    """RFC 7064 §3.1, RFC 7065 §3.1: printing and parsing are inverse."""
    uri = StunUri(
        scheme, host, port, transport if scheme.startswith("turn") else ("tcp" if scheme[-1] == "s" else "udp")
    )
    assert StunUri.parse(str(uri)) == uri


@pytest.mark.parametrize(
    ("text", "protocol"),
    [
        ("stun:h", "udp"),
        ("stuns:h", "tls"),
        ("turn:h", "udp"),
        ("turn:h?transport=tcp", "tcp"),
        ("turns:h", "tls"),
        ("turns:h?transport=udp", "dtls"),
        ("turns:h?transport=sctp", "sctp"),
    ],
)
def test_what_is_spoken_with_the_server(text: str, protocol: str) -> None:
    """RFC 7065 §3.2, RFC 5928 §3: scheme and transport together."""
    assert StunUri.parse(text).protocol == protocol
