"""The question to another server, and its answers: a real one over TLS, and others."""

import ssl
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from cli.doctor.elsewhere import Elsewhere, NotAsked
from stun.address import Address

OWN = Address.parse("127.0.0.1", 0)
ANSWER = {"client": "192.0.2.9", "time": 5.0, "ports": []}


async def asked(certify: Callable[..., Any], status: int, body: Any, *, trusted: bool = True) -> Any:
    """Ask a server that answers so; what it has got is the second value."""
    got: list[Any] = []

    async def handle(request: web.Request) -> web.Response:
        got.append((request.headers["Authorization"], await request.json()))
        return web.json_response(body, status=status)

    pair = certify("127.0.0.1")
    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    serving.load_cert_chain(pair.certificate, pair.key)
    app = web.Application()
    app.router.add_post("/v1/probe", handle)
    secure = TestServer(app, scheme="https")
    await secure.start_server(ssl=serving)
    try:
        tls = ssl.create_default_context(cafile=str(pair.certificate)) if trusted else None
        other = Elsewhere(f"https://127.0.0.1:{secure.port}", "a-key", tls)
        return await other.probe(OWN, [("udp", 3478)], "turn.example.org"), got
    finally:
        await secure.close()


async def test_an_answer(certify: Callable[..., Any]) -> None:
    """The key is in the header, and no address is in the question."""
    answer, got = await asked(certify, 200, ANSWER)
    assert answer.client == "192.0.2.9"
    assert got == [
        ("Bearer a-key", {"ports": [{"protocol": "udp", "port": 3478}], "name": "turn.example.org"}),
    ]


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (403, {"error": {"code": "forbidden", "msg": "this needs\x1b[2J the scope probe"}}, "scope probe .forbidden."),
        (404, {}, "HTTP status 404"),
        (302, [], "HTTP status 302"),
        (200, {"client": 1}, "not that of a meshturn server"),
        (200, "x" * 100_000, "not that of a meshturn server"),
    ],
)
async def test_other_answers(certify: Callable[..., Any], status: int, body: Any, words: str) -> None:
    """A sentence for each; text of the other server is made safe."""
    with pytest.raises(NotAsked, match=words) as caught:
        await asked(certify, status, body)
    assert "\x1b" not in str(caught.value)


async def test_a_server_that_is_not_trusted(certify: Callable[..., Any]) -> None:
    """It gets no key."""
    with pytest.raises(NotAsked, match="not trusted"):
        await asked(certify, 200, ANSWER, trusted=False)


async def test_no_server(free_port: Callable[[], int]) -> None:
    with pytest.raises(NotAsked, match="is not reached from"):
        await Elsewhere(f"https://127.0.0.1:{free_port()}", "a-key").probe(OWN, [("udp", 1)], "")


async def test_without_tls() -> None:
    """The key would be read on the way."""
    with pytest.raises(NotAsked, match="no TLS"):
        await Elsewhere("http://192.0.2.1", "a-key").probe(OWN, [("udp", 1)], "")


def test_the_key_is_not_shown() -> None:
    assert "a-key" not in repr(Elsewhere("https://x", "a-key"))
