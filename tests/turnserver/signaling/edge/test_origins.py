"""Which hosts and origins are this server's, however they are written."""

from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from hypothesis import given
from hypothesis import strategies as st

from turnserver.reached import REACHED, Reached
from turnserver.signaling.edge.origins import doorway_of, host_of, is_named, is_same_origin, reached_by
from turnserver.signaling.rooms.settings import Doorway


@pytest.mark.parametrize(
    ("header", "host"),
    [
        ("example.org", "example.org"),
        ("Example.ORG:443", "example.org"),
        ("192.0.2.1:8080", "192.0.2.1"),
        ("[2001:DB8::1]:443", "2001:db8::1"),
        ("localhost", "localhost"),
        ("example.org.", "example.org"),
        ("Example.org.:443", "example.org"),
        ("[::ffff:192.0.2.1]", "192.0.2.1"),
        (".", None),
        ("[1::2::3]", None),
        ("", None),
        (None, None),
        ("a b", None),
        ("a.example/path", None),
        ("user@a.example", None),
        ("a.example:port", None),
        ("[::1", None),
        ("x" * 254, None),
    ],
)
def test_hosts(header: str | None, host: str | None) -> None:
    """RFC 9110 §7.2: a host and perhaps a port, and nothing that could end up in a URL by accident."""
    assert host_of(header) == host


@pytest.mark.parametrize(
    ("origin", "scheme", "host", "same"),
    [
        ("https://a.example", "https", "a.example", True),
        ("https://a.example", "https", "A.example:443", True),
        ("https://a.example:443", "https", "a.example", True),
        ("http://a.example:8080", "http", "a.example:8080", True),
        ("http://[::1]:8080", "http", "[::1]:8080", True),
        ("http://a.example", "https", "a.example", False),
        ("https://a.example:8443", "https", "a.example", False),
        ("https://b.example", "https", "a.example", False),
        ("null", "https", "a.example", False),
        ("https://", "https", "", False),
        ("https://a.example/x", "https", "a.example/x", False),
        ("https://a.example.", "https", "a.example", True),
        ("https://a.example", "https", "A.Example.:443", True),
        ("http://a.example.:80", "http", "a.example", True),
        ("https://[2001:DB8::1]", "https", "[2001:db8:0::1]", True),
        ("https://a.example..", "https", "a.example", False),
        ("https://a.example", "http", "a.example", True),
        ("https://a.example:8443", "http", "a.example:8443", True),
        ("https://a.example", "http", "a.example:80", False),
        ("https://b.example", "http", "a.example", False),
        ("ftp://a.example", "http", "a.example", False),
    ],
)
def test_same_origin(origin: str, scheme: str, host: str, same: bool) -> None:
    """RFC 6454 §4: scheme, host and port; and HTTPS is ours although the last hop has none."""
    assert is_same_origin(origin, scheme, host) is same


def test_a_port_that_a_proxy_tells_may_be_meant() -> None:
    """nginx's $host has no port; and the port that a proxy tells may be one behind a port forwarding."""
    assert is_same_origin("https://a.example:8443", "https", "a.example", (8443,))
    assert is_same_origin("https://a.example", "https", "a.example", (8443,))
    assert not is_same_origin("https://a.example:8444", "https", "a.example", (8443,))


@pytest.mark.parametrize(
    ("origin", "named"),
    [
        ("https://app.example.org", True),
        ("https://APP.example.org.", True),
        ("https://app.example.org:443", True),
        ("https://app.example.org:8443", False),
        ("http://app.example.org", False),
        ("http://[2001:DB8::1]:8080", True),
        ("capacitor://localhost", True),
        ("capacitor://other", False),
        ("null", False),
        ("", False),
        ("https://app.example.org/", False),
    ],
)
def test_configured_origins(origin: str, named: bool) -> None:
    assert is_named(origin, {"https://app.example.org", "http://[2001:db8::1]:8080", "capacitor://localhost"}) is named


def request(reached: Reached | None = None, **headers: str) -> web.Request:
    made = make_mocked_request("GET", "/", headers)
    if reached is not None:
        made[REACHED] = reached
    return made


def test_without_the_http_server_of_ours_the_request_speaks_for_itself() -> None:
    found = reached_by(request(Host="a.example"))
    assert (found.scheme, found.host, found.ports, found.proxied) == ("http", "a.example", (), False)


@pytest.mark.parametrize(
    ("reached", "doorway"),
    [
        # Directly, on a listener's own port
        (Reached("192.0.2.9", "http", "A.example:8080", local_port=8080), Doorway("a.example")),
        (Reached("192.0.2.9", "https", "a.example.", local_port=443), Doorway("a.example")),
        (Reached("127.0.0.1", "http", "localhost:8080", local_port=8080), Doorway("localhost")),
        # Through a port forwarding, or a proxy that nobody has named
        (Reached("192.0.2.9", "http", "a.example", local_port=8080), Doorway("a.example", 8080)),
        (Reached("192.0.2.9", "https", "a.example:8443", local_port=443), Doorway("a.example", 443)),
        # Through a trusted proxy, even one on the same port
        (Reached("192.0.2.9", "https", "a.example", local_port=8080, proxied=True), Doorway("a.example", 8080)),
        (Reached("192.0.2.9", "https", "a.example", local_port=443, proxied=True), Doorway("a.example", 443)),
        # What a proxy calls this server, or nobody calls it
        (Reached("192.0.2.9", "https", "127.0.0.1:8080", local_port=8080, proxied=True), Doorway("", 8080)),
        (Reached("127.0.0.1", "https", "localhost", local_port=8080, proxied=True), Doorway("localhost", 8080)),
        (Reached("192.0.2.9", "https", "a b", local_port=8080, proxied=True), Doorway("", 8080)),
    ],
)
def test_the_way_in(reached: Reached, doorway: Doorway) -> None:
    """The listener's port is told to those who have come by it, and to nobody who knows another one."""
    assert doorway_of(request(reached)) == doorway


@given(st.text(max_size=80), st.text(max_size=80), st.sampled_from(["http", "https"]))
def test_whatever_comes_is_compared(origin: Any, host: Any, scheme: str) -> None:
    """Nothing raises, and what is no host is nobody's."""
    if is_same_origin(origin, scheme, host):
        assert host_of(host) is not None
    assert not is_named(origin, ())
