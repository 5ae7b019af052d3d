"""Who the client is and how it has come, as handlers see it: with proxies that may say so, and others."""

import json
import logging
from collections.abc import AsyncIterator
from ipaddress import ip_network
from typing import Any

import pytest
from aiohttp import web

from tests.support.stream_world import StreamRig, captured_log
from tests.support.tcp_pair import Peer
from turnserver.http import HttpServer, reaching
from turnserver.lines import Lines
from turnserver.reached import REACHED

LOOPBACK = (ip_network("127.0.0.0/8"),)
CLIENT = "203.0.113.9"
TOLD = (f"X-Forwarded-For: 6.6.6.6, {CLIENT}", "X-Forwarded-Proto: https", "X-Forwarded-Host: meet.example.org:8443")


async def who(request: web.Request) -> web.Response:
    reached = request[REACHED]
    return web.json_response([*reached, request.remote, request.scheme, request.secure])


class Site:
    """A shared port without TLS, behind proxies or not."""

    def __init__(self, **options: Any) -> None:
        self.http = HttpServer()
        self.http.app.router.add_get("/who", who)
        self.rig = StreamRig(http=self.http, **options)

    async def __aenter__(self) -> "Site":
        self.http.start()
        await self.rig.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.http.wait_closed()
        await self.rig.__aexit__()

    async def ask(self, *headers: str, before: bytes = b"", target: str = "/who") -> dict[str, Any]:
        """What the handler sees of one request."""
        peer: Peer = await self.rig.connect()
        lines = [f"GET {target} HTTP/1.1", *headers, "Connection: close", "", ""]
        await peer.send(before + "\r\n".join(lines).encode())
        answer = await peer.read(10_000)
        names = ("client", "scheme", "host", "ports", "local_port", "proxied", "remote", "aiohttp", "secure")
        found = dict(zip(names, json.loads(answer.partition(b"\r\n\r\n")[2]), strict=True))
        assert found.pop("local_port") == self.rig.transport.address.port
        assert (found.pop("remote"), found.pop("aiohttp")) == (found["client"], found["scheme"])
        assert found.pop("secure") is (found["scheme"] == "https")
        return found


@pytest.fixture
async def behind() -> AsyncIterator[Site]:
    async with Site(proxies=LOOPBACK) as site:
        yield site


def seen(client: str, scheme: str, host: str, *ports: int, proxied: bool = True) -> dict[str, Any]:
    return {"client": client, "scheme": scheme, "host": host, "ports": list(ports), "proxied": proxied}


async def test_a_trusted_proxy_tells_client_scheme_and_host(behind: Site) -> None:
    """On one connection for many clients too: each request has its own."""
    assert await behind.ask("Host: inner:8080", *TOLD) == seen(CLIENT, "https", "meet.example.org:8443")
    assert await behind.ask("Host: meet.example.org", *TOLD[:2]) == seen(CLIENT, "https", "meet.example.org")
    assert await behind.ask("Host: h", 'Forwarded: for="[2001:db8::9]:5";proto=https;host=meet.example.org') == seen(
        "2001:db8::9", "https", "meet.example.org"
    )
    assert await behind.ask("Host: h", "X-Forwarded-Port: 8443") == seen("127.0.0.1", "http", "h", 8443)
    assert await behind.ask("Host: h", "X-Forwarded-Port: 443") == seen("127.0.0.1", "http", "h")
    assert await behind.ask("Host: h") == seen("127.0.0.1", "http", "h")
    assert await behind.ask("Host: h", *TOLD, target="http://other.example/who") == seen(
        CLIENT, "https", "meet.example.org:8443"
    )


async def test_from_anybody_else_the_headers_are_nothing() -> None:
    """Else anybody could be anybody."""
    async with Site(proxies=(ip_network("192.0.2.0/24"),)) as site:
        for headers in (TOLD, ("Forwarded: for=6.6.6.6;proto=https;host=x",)):
            assert await site.ask("Host: h:80", *headers) == seen("127.0.0.1", "http", "h:80", proxied=False)


@pytest.mark.parametrize(
    "line",
    [
        "CONNECT meet.example.org:443",
        "OPTIONS *",
        "GET //evil.example/who",
        "GET ftp://other.example/who",
        "GET http:///who",
    ],
)
async def test_targets_of_other_forms_are_no_fault(behind: Site, line: str) -> None:
    """RFC 9112 §3.2: a proxy may pass on any form, and scheme and host are replaced in each."""
    peer = await behind.rig.connect()
    await peer.send("\r\n".join([f"{line} HTTP/1.1", "Host: h", *TOLD, "Connection: close", "", ""]).encode())
    assert (await peer.read(10_000)).partition(b" ")[2][:3] in {b"200", b"400", b"404"}


def version_2(source: str, extensions: bytes = b"") -> bytes:
    addresses = bytes(map(int, source.split("."))) + bytes((192, 0, 2, 2)) + b"\x12\x34\x20\xfb"
    size = (len(addresses) + len(extensions)).to_bytes(2, "big")
    return b"\r\n\r\n\0\r\nQUIT\n\x21\x11" + size + addresses + extensions


async def test_the_header_of_the_connection_says_the_same(behind: Site) -> None:
    """PROXY protocol, with its extension for TLS; and the port, which the Host header may lack."""
    secure = b"\x20\x00\x05\x01" + bytes(4)
    assert await behind.ask("Host: h", before=version_2(CLIENT, secure)) == seen(CLIENT, "https", "h", 8443)
    assert await behind.ask("Host: h", before=version_2(CLIENT)) == seen(CLIENT, "http", "h", 8443)
    assert await behind.ask("Host: h", before=f"PROXY TCP4 {CLIENT} 192.0.2.2 1 443\r\n".encode()) == seen(
        CLIENT, "http", "h"
    )


async def test_what_a_client_writes_behind_a_header_of_the_connection_is_its_own(behind: Site) -> None:
    """A load balancer that passes bytes on does not look at HTTP; but its client may be another trusted proxy."""
    assert await behind.ask("Host: h", *TOLD, before=version_2(CLIENT)) == seen(CLIENT, "http", "h", 8443)
    assert await behind.ask("Host: h", *TOLD, before=version_2("127.0.0.3")) == seen(
        CLIENT, "https", "meet.example.org:8443", 8443
    )
    local = b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00"
    assert await behind.ask("Host: h", *TOLD, before=local) == seen(CLIENT, "https", "meet.example.org:8443")


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing has been said in this minute."""
    monkeypatch.setattr(reaching, "_lines", Lines(logging.getLogger("meshturn.http"), reaching._COMPLAINTS))


@pytest.mark.usefixtures("lines")
async def test_what_an_operator_has_forgotten_is_said_once() -> None:
    """A proxy nearby that is not trusted; two headers of which a client may have written one."""
    with captured_log("meshturn.http") as log:
        async with Site() as site:
            for _ in range(3):
                await site.ask("Host: h", *TOLD)
        async with Site(proxies=LOOPBACK) as site:
            for _ in range(3):
                assert (await site.ask("Host: h", *TOLD, "Forwarded: for=6.6.6.6"))["client"] == "127.0.0.1"
    said = [record.getMessage() for record in log if record.levelno == logging.WARNING]
    assert said == [
        "headers of a proxy that is not trusted are ignored",
        "two headers name different clients, and neither is believed",
    ]
