"""Lines about clients that speak another protocol than the listener they have reached: what came, and what works."""

import logging
from collections.abc import Sequence
from typing import Any

import pytest

from stun.address import Address
from tests.support.clock import Clock
from tests.support.stream_world import captured_log
from turnserver.core.types import ClientTransport
from turnserver.transports.crossed import Came, Crossings, Door

UDP, TCP, TLS = ClientTransport.UDP, ClientTransport.TCP, ClientTransport.TLS
LOGGER = logging.getLogger("tests.crossed")


def door(name: str, port: int, *kinds: ClientTransport, host: str = "10.0.0.5", public: str = "203.0.113.5") -> Door:
    address = Address.parse(host, port)
    return Door(name, kinds, name == "shared", address, Address.parse(public, port))


def said(came: Came, here: Door, *others: Door, proxied: bool = False) -> dict[str, Any]:
    """The one line about a client of ``here``."""
    crossings = Crossings(LOGGER, lambda: [here, *others], Clock())
    with captured_log(LOGGER.name) as records:
        crossings.say(came, here.name, here.bound, Address.parse("198.51.100.7", 4000), proxied=proxied)
    (record,) = records
    assert record.levelno == logging.INFO
    assert record.getMessage() == came.value
    fields: dict[str, Any] = record.__dict__["fields"]
    assert fields["client"] == "198.51.100.7:4000"
    assert fields["listener"] == f"{here.name} {here.bound}"
    return fields


TCP_PORT = door("tcp", 3478, TCP)
TLS_PORT = door("tls", 5349, TLS)
UDP_PORT = door("udp", 3478, UDP)
DTLS_PORT = door("dtls", 5349, ClientTransport.DTLS)
WEB = door("shared", 443, TLS)
PLAIN_WEB = door("shared", 80, TCP)


@pytest.mark.parametrize(
    ("came", "here", "others", "works"),
    [
        (Came.TLS, TCP_PORT, [], "turn:203.0.113.5:3478?transport=tcp"),
        (Came.TLS, TCP_PORT, [TLS_PORT], "turn:203.0.113.5:3478?transport=tcp or turns:203.0.113.5:5349?transport=tcp"),
        (Came.TLS, PLAIN_WEB, [], "turn:203.0.113.5:80?transport=tcp"),
        (Came.TURN, TLS_PORT, [], "turns:203.0.113.5:5349?transport=tcp"),
        (
            Came.TURN,
            TLS_PORT,
            [UDP_PORT, TCP_PORT],
            "turn:203.0.113.5:3478?transport=tcp or turns:203.0.113.5:5349?transport=tcp",
        ),
        (Came.TURN, WEB, [door("tcp", 443, TLS, TCP)], None),
        (Came.HTTP, TCP_PORT, [PLAIN_WEB, WEB], "https://203.0.113.5:443/"),
        (Came.HTTP, TLS_PORT, [PLAIN_WEB], "http://203.0.113.5:80/"),
        (Came.PLAIN_HTTP, WEB, [TCP_PORT], "https://203.0.113.5:443/"),
        (
            Came.DTLS,
            UDP_PORT,
            [TLS_PORT],
            "turn:203.0.113.5:3478?transport=udp or turns:203.0.113.5:5349?transport=tcp",
        ),
        (
            Came.DTLS,
            UDP_PORT,
            [TLS_PORT, DTLS_PORT],
            "turn:203.0.113.5:3478?transport=udp or turns:203.0.113.5:5349?transport=udp",
        ),
        (
            Came.PLAIN_UDP,
            DTLS_PORT,
            [TCP_PORT, UDP_PORT],
            "turn:203.0.113.5:3478?transport=udp or turns:203.0.113.5:5349?transport=udp",
        ),
        (Came.TLS, TCP_PORT, [DTLS_PORT], "turn:203.0.113.5:3478?transport=tcp"),
    ],
)
def test_the_url_that_works(came: Came, here: Door, others: Sequence[Door], works: str | None) -> None:
    """That of the same listener for what it speaks, and that of another for what the client speaks; public ones."""
    fields = said(came, here, *others)
    if works is not None:
        assert fields["works"] == works
    assert ("tls: auto" in fields.get("option", "")) is (came in {Came.TLS, Came.TURN})


def test_without_a_url_there_is_the_option() -> None:
    fields = said(Came.HTTP, TCP_PORT)
    assert "works" not in fields
    assert "shared" in fields["option"]


def test_what_clients_cannot_reach_is_not_named() -> None:
    """Another family's listener, and one on loopback; but on loopback, every other one."""
    strange = door("tls", 5349, TLS, host="2001:db8::1", public="2001:db8::1")
    inner = door("tls", 5350, TLS, host="127.0.0.1", public="127.0.0.1")
    assert said(Came.TLS, TCP_PORT, strange, inner)["works"] == "turn:203.0.113.5:3478?transport=tcp"
    here = door("tcp", 3478, TCP, host="127.0.0.1", public="127.0.0.1")
    assert said(Came.TLS, here, TLS_PORT)["works"].endswith("turns:203.0.113.5:5349?transport=tcp")


def test_the_nearest_listener_is_named() -> None:
    """One on the address that the client has used, before one on another."""
    far = door("tls", 5349, TLS, host="10.9.9.9", public="10.9.9.9")
    assert said(Came.TLS, TCP_PORT, far, TLS_PORT)["works"].endswith("turns:203.0.113.5:5349?transport=tcp")


def test_behind_a_proxy_the_inner_port_is_not_named() -> None:
    assert "works" not in said(Came.TLS, TCP_PORT, proxied=True)
    assert said(Came.TURN, TLS_PORT, TCP_PORT, proxied=True)["works"] == "turn:203.0.113.5:3478?transport=tcp"


def test_under_tls_the_name_of_the_certificate_is_named() -> None:
    """Clients refuse a certificate that is not for the host of the URL; without TLS there is none."""
    named = TLS_PORT._replace(certified="turn.example.org")
    both = "turn:203.0.113.5:3478?transport=tcp or turns:turn.example.org:5349?transport=tcp"
    assert said(Came.TLS, TCP_PORT, named)["works"] == both
    assert said(Came.TURN, named, TCP_PORT)["works"] == both
    web = WEB._replace(certified="turn.example.org")
    assert said(Came.PLAIN_HTTP, web)["works"] == "https://turn.example.org:443/"


def test_a_listener_for_http_only() -> None:
    """HTTPS is told to be HTTP, where the address is one; TURN belongs to another listener."""
    here = Door("health", (), True, Address.parse("10.0.0.5", 8081), Address.parse("10.0.0.5", 8081))
    assert said(Came.TLS, here, TLS_PORT)["works"] == "http://10.0.0.5:8081/"
    both = "turn:203.0.113.5:3478?transport=tcp or turns:203.0.113.5:5349?transport=tcp"
    assert said(Came.TURN_FOR_HTTP, here, TLS_PORT, TCP_PORT)["works"] == both
    anywhere = Address.parse("0.0.0.0", 8081)
    fields = said(Came.TLS, here._replace(bound=anywhere, public=anywhere))
    assert not fields.keys() & {"works", "option"}


def test_an_ipv6_host_is_in_brackets() -> None:
    here = door("tcp", 3478, TCP, host="2001:db8::1", public="2001:db8::1")
    assert said(Came.TLS, here)["works"] == "turn:[2001:db8::1]:3478?transport=tcp"


def test_one_line_a_minute_for_each_network_and_kind() -> None:
    """Such clients try again and again, and strangers can cause the line at will."""
    clock = Clock()
    crossings = Crossings(LOGGER, lambda: [TCP_PORT], clock)

    def came(host: str, what: Came = Came.TLS) -> None:
        crossings.say(what, "tcp", TCP_PORT.bound, Address.parse(host, 4000))

    with captured_log(LOGGER.name) as records:
        for _ in range(100):
            came("198.51.100.7")
        assert len(records) == 1
        came("198.51.100.8")
        assert len(records) == 1
        came("192.0.2.8")
        came("198.51.100.7", Came.HTTP)
        assert len(records) == 3
        clock.now += 61
        came("198.51.100.7")
    assert len(records) == 4
    assert records[3].__dict__["fields"]["withheld"] == 100


def test_a_flood_from_everywhere_is_bounded() -> None:
    crossings = Crossings(LOGGER, lambda: [UDP_PORT], Clock())
    with captured_log(LOGGER.name) as records:
        for number in range(5000):
            source = Address(bytes([100, number >> 8, number & 255, 1]), 4000)
            crossings.say(Came.DTLS, "udp", UDP_PORT.bound, source)
    assert len(records) <= 20
