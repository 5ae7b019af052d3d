"""A whole server behind a proxy, which is the test itself: what the clients of the proxy get, each for itself.

``tests/browser/test_proxies.py`` has real proxies and a browser.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from tests.support.server import free_port
from turnserver.server import Server
from turnserver.signaling.edge.websocket import PROTOCOL

SECRET = "a-shared-secret-of-32-characters"
KEY = "api-key-of-the-test-0123456789"
ONE, OTHER = "203.0.113.1", "203.0.113.2"

UDP = {"transport": "udp", "address": "127.0.0.1", "port": 0}
PLAIN = {"transport": "shared", "tls": False, "address": "127.0.0.1", "port": 0}
BEHIND = {"proxies": ["127.0.0.0/8"]}


def everywhere(transport: str) -> dict[str, Any]:
    """A listener that others than this machine reach, too."""
    return {"transport": transport, "address": "0.0.0.0", "port": free_port()}


class Site:
    """A running server, and the connections of a proxy to it."""

    def __init__(self, server: Server, session: aiohttp.ClientSession) -> None:
        self.server = server
        self.session = session

    def port(self, transport: str = "shared") -> int:
        return next(each.address.port for each in self.server.snapshot().listeners if each.kind == transport)

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port()}{path}"

    def connect(self, *, origin: str | None = "https://meet.example.org", **headers: str) -> Any:
        """A WebSocket, as nginx passes it on."""
        told = {"Host": "meet.example.org"} | {name.replace("_", "-"): value for name, value in headers.items()}
        if origin is not None:
            told["Origin"] = origin
        return self.session.ws_connect(self.url("/v1/ws"), protocols=(PROTOCOL,), headers=told)

    async def status(self, **headers: str) -> int:
        """What becomes of the handshake."""
        try:
            async with self.connect(**headers):
                return 101
        except aiohttp.WSServerHandshakeError as error:
            return error.status

    async def urls(self, **headers: str) -> list[str]:
        """The URLs that a participant is told."""
        async with self.connect(**headers) as socket:
            await socket.receive_json()
            await socket.send_json({"t": "hello", "id": "h", "v": 1})
            await socket.send_json({"t": "join", "id": "j", "room": "tea", "name": "Ann"})
            while (frame := await socket.receive_json(timeout=60)).get("re") != "j":
                pass
        return [url for each in frame["ice"]["servers"] for url in each["urls"]]


@asynccontextmanager
async def running(
    *listeners: dict[str, Any], signaling: dict[str, Any] | None = None, **more: Any
) -> AsyncIterator[Site]:
    rooms = {"open": True, "api_keys": {"website": KEY}, **(signaling or {})}
    config = {"listeners": list(listeners), "auth": {"shared_secrets": [SECRET]}, "signaling": rooms, **more}
    async with Server(config) as server, aiohttp.ClientSession() as session:
        yield Site(server, session)


def client(address: str) -> dict[str, str]:
    return {"X_Forwarded_For": address, "X_Forwarded_Proto": "https"}


async def test_the_page_of_a_proxy_that_ends_tls_may_connect() -> None:
    """With a proxy that is trusted, or one that nobody has named: it is the same page of the same host."""
    for common in ({}, BEHIND):
        async with running(UDP, PLAIN, **common) as site:
            assert await site.status(**client(ONE)) == 101
            assert await site.status() == 101
            assert await site.status(origin="http://meet.example.org") == 101
            assert await site.status(origin="https://evil.example.net") == 403
            assert await site.status(origin="https://evil.example.net", X_Forwarded_Host="evil.example.net") == (
                101 if common else 403
            )
    async with running(UDP, PLAIN, **BEHIND) as site:
        assert await site.status(**client(ONE), origin="http://meet.example.org") == 403, "https is what was told"
        inner = {"Host": f"127.0.0.1:{site.port()}"}
        assert await site.status(**inner, **client(ONE)) == 403
        assert await site.status(**inner, Forwarded=f"for={ONE};host=meet.example.org") == 101


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("meet.example.org.", "https://meet.example.org."),
        ("meet.example.org", "https://meet.example.org."),
        ("MEET.example.org.", "https://meet.example.org"),
        ("meet.example.org:443", "https://meet.example.org"),
        ("Meet.Example.Org.:443", "https://MEET.example.org:443"),
    ],
)
async def test_a_host_is_the_same_however_it_is_written(host: str, origin: str) -> None:
    """With a dot at its end, in capitals, with the port that it has anyway; the URLs have it in one way."""
    async with running(everywhere("udp"), PLAIN, **BEHIND) as site:
        urls = await site.urls(**client(ONE), Host=host, origin=origin)
        assert urls == [
            f"turn:meet.example.org:{site.port('udp')}?transport=udp",
            f"stun:meet.example.org:{site.port('udp')}",
        ]


INNER: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "on loopback": (PLAIN, {}),
    "on loopback, trusted": (PLAIN, BEHIND),
    "for all networks, trusted": ({**PLAIN, "address": "0.0.0.0"}, BEHIND),
    "for all networks, not trusted": ({**PLAIN, "address": "0.0.0.0"}, {}),
    "with proxies of its own": ({**PLAIN, "address": "0.0.0.0"} | BEHIND, {}),
}


@pytest.mark.parametrize(("listener", "common"), INNER.values(), ids=INNER)
@pytest.mark.parametrize("host", ["meet.example.org", "127.0.0.1:8443", "localhost:8443"])
async def test_no_url_has_the_port_behind_a_proxy(listener: dict[str, Any], common: dict[str, Any], host: str) -> None:
    """Whether the proxy is known or not: what the client writes in its Host header is another port."""
    async with running(UDP, listener, **common) as site:
        urls = await site.urls(**client(ONE), Host=host, origin=f"https://{host}")
        assert not [url for url in urls if f":{site.port()}" in url], urls
        async with site.session.get(
            site.url("/v1/turn"), headers={"Host": host, "Authorization": f"Bearer {KEY}"}
        ) as answer:
            assert not [url for url in (await answer.json())["uris"] if f":{site.port()}" in url]


async def test_tcp_behind_proxies_of_its_own_is_in_no_url_and_other_tcp_is() -> None:
    """HAProxy in front of TURN: its port is the operator's to name (signaling.urls)."""
    tcp = everywhere("tcp")
    for behind, common, told in (
        ({}, {}, True),
        ({}, BEHIND, True),
        (BEHIND, {}, False),
        ({}, {**BEHIND, "proxy_protocol": "required"}, False),
    ):
        page = {**PLAIN, "address": "127.0.0.1", "proxies": ["127.0.0.0/8"], "proxy_protocol": "optional"}
        async with running(everywhere("udp"), tcp | behind, page, **common) as site:
            urls = await site.urls(**client(ONE))
            assert (f"turn:meet.example.org:{site.port('tcp')}?transport=tcp" in urls) is told, (behind, common)
            assert f"turn:meet.example.org:{site.port('udp')}?transport=udp" in urls


async def test_limits_of_one_client_stop_no_other_behind_the_same_proxy() -> None:
    """WebSockets at once; what a client writes itself does not make another one of it."""
    async with running(UDP, PLAIN, signaling={"sockets_per_address": 2}, **BEHIND) as site:

        async def opened(address: str) -> tuple[Any, str]:
            socket = await site.connect(X_Forwarded_For=address)
            return socket, (await socket.receive_json(timeout=60))["t"]

        sockets = [await opened(f"198.51.100.{number}, {ONE}") for number in range(3)]
        sockets += [await opened(OTHER), await opened(f"{ONE}, {OTHER}")]
        assert [word for _, word in sockets] == ["welcome", "welcome", "goodbye", "welcome", "welcome"]
        for socket, _ in sockets:
            await socket.close()


async def test_connections_count_for_the_client_whose_websocket_they_are() -> None:
    """A proxy's connections are anybody's until then: requests of one client keep no other out."""
    async with running(UDP, PLAIN, limits={"connections_per_address": 2}, **BEHIND) as site:
        first, second = [await site.connect(**client(ONE)) for _ in range(2)]
        assert await site.status(**client(ONE)) == 429
        assert await site.status(**client(OTHER)) == 101
        for _ in range(3):
            asked = {"X-Forwarded-For": ONE, "Connection": "close"}
            async with site.session.get(site.url("/readyz"), headers=asked) as answer:
                assert answer.status == 200
        await first.close()
        async with asyncio.timeout(60):
            while await site.status(**client(ONE)) != 101:
                pass  # the server has not seen the end of the first one yet
        await second.close()


async def test_wrong_keys_of_one_client_stop_no_other_and_no_right_key() -> None:
    async with running(UDP, PLAIN, **BEHIND) as site:

        async def ask(address: str, key: str) -> int:
            headers = {"X-Forwarded-For": f"6.6.6.6, {address}", "Authorization": f"Bearer {key}"}
            async with site.session.get(site.url("/v1/turn"), headers=headers) as answer:
                return answer.status

        assert [await ask(ONE, "wrong") for _ in range(11)] == [401] * 10 + [429]
        assert await ask(OTHER, "wrong") == 401
        assert [await ask(address, KEY) for address in (ONE, OTHER)] == [200, 200]


async def token_answers(site: Site, address: str, tokens: list[str]) -> list[str]:
    said = []
    for token in tokens:
        async with site.connect(X_Forwarded_For=address) as socket:
            await socket.receive_json(timeout=60)
            await socket.send_json({"t": "hello", "id": "h", "v": 1, "token": token})
            frame = await socket.receive_json(timeout=60)
            said.append(frame.get("code", frame["t"]))
    return said


async def test_wrong_tokens_of_one_client_stop_no_other_and_no_right_token() -> None:
    async with running(UDP, PLAIN, signaling={"open": False}, **BEHIND) as site:
        async with site.session.post(
            site.url("/v1/tokens"), json={"room": "tea"}, headers={"Authorization": f"Bearer {KEY}"}
        ) as answer:
            right = (await answer.json())["token"]
        wrong = [f"{right[:-10]}AAAAAAAA{number:02}" for number in range(11)]
        assert await token_answers(site, ONE, wrong) == ["bad_token"] * 10 + ["rate_limited"]
        assert await token_answers(site, OTHER, wrong[:1]) == ["bad_token"]
        assert await token_answers(site, ONE, [right]) == ["hello_ok"]


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Forwarded-For": ONE, "X-Forwarded-Proto": "https"},
        {"Forwarded": f"for={ONE};proto=https"},
        {"X-Forwarded-For": ONE, "X-Forwarded-Proto": "wss", "X-Forwarded-Host": "meet.example.org"},
    ],
)
async def test_the_page_has_a_policy_for_the_socket_that_it_opens(headers: dict[str, str]) -> None:
    async with running(UDP, PLAIN, **BEHIND) as site:
        asked = {"Host": "meet.example.org", **headers}
        async with site.session.get(site.url("/call/tea"), headers=asked) as answer:
            assert "connect-src 'self' wss://meet.example.org;" in answer.headers["Content-Security-Policy"]
