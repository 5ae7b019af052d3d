"""One request of the hook, over real sockets: signed, bounded, and never sent where it can be read."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from aiohttp.abc import ResolveResult

from tests.support.hook_server import SECRET, Back, signed_by
from turnserver.credentials import hook_client
from turnserver.credentials.hook_client import MAX_BODY, HookClient, HookReply, Unreachable

KEY = SECRET.encode()
BODY = json.dumps({"username": "alice", "realm": "example.org"}).encode()


@pytest.fixture
async def back() -> AsyncIterator[Back]:
    async with Back() as back:
        yield back


@pytest.fixture
async def client(back: Back) -> AsyncIterator[HookClient]:
    client = HookClient(back.url, KEY, 4)
    yield client
    await client.close()


async def test_a_request_is_signed_and_says_what_it_is(back: Back, client: HookClient) -> None:
    """Each with an id of its own; compressed answers are not asked for, a small one could be a large one."""
    for _ in range(2):
        assert await client.post(BODY) == HookReply(200, b'{"password": "wonderland"}')
    first, second = back.headers
    assert first["Content-Type"] == "application/json"
    assert first["Accept-Encoding"] == "identity"
    assert first["User-Agent"] == "meshturn"
    assert first["webhook-id"] != second["webhook-id"]
    assert back.asked == [json.loads(BODY)] * 2


async def test_the_time_is_that_of_the_clock() -> None:
    seen: list[Any] = []

    async def handle(request: web.Request) -> web.Response:
        seen.append((request.headers.copy(), await request.read()))
        return web.Response(status=404)

    async with serving(handle) as url:
        client = HookClient(url, KEY, 1, clock=lambda: 1_700_000_000.9)
        assert (await client.post(BODY)).status == 404
        await client.close()
    ((headers, body),) = seen
    assert headers["webhook-timestamp"] == "1700000000"
    assert signed_by(SECRET, headers, body)


async def test_redirects_are_not_followed(back: Back, client: HookClient) -> None:
    """Who answers instead would be asked for passwords."""

    async def elsewhere(question: dict[str, Any]) -> web.StreamResponse:
        return web.Response(status=307, headers={"Location": back.url})

    back.answer = elsewhere
    assert (await client.post(BODY)).status == 307
    assert len(back.asked) == 1


@pytest.mark.parametrize("size", [0, 1, MAX_BODY, MAX_BODY + 1, 10_000_000])
async def test_answers_are_bounded(back: Back, client: HookClient, size: int) -> None:
    """A longer one is not read to its end, and the next request is answered all the same."""

    async def long(question: dict[str, Any]) -> web.StreamResponse:
        return web.Response(body=b"x" * size)

    back.answer = long
    if size <= MAX_BODY:
        assert await client.post(BODY) == HookReply(200, b"x" * size)
    else:
        with pytest.raises(Unreachable, match="longer than 16384 bytes"):
            await client.post(BODY)
    back.answer = back.known
    assert (await client.post(BODY)).status == 200


async def test_an_answer_that_says_it_is_compressed_is_not_unpacked(back: Back, client: HookClient) -> None:
    async def squeezed(question: dict[str, Any]) -> web.StreamResponse:
        return web.Response(body=b"\x1f\x8b", headers={"Content-Encoding": "gzip"})

    back.answer = squeezed
    assert await client.post(BODY) == HookReply(200, b"\x1f\x8b")


async def test_nobody_listens() -> None:
    client = HookClient("http://127.0.0.1:9/turn", KEY, 1)
    with pytest.raises(Unreachable, match="Connect"):
        await client.post(BODY)
    await client.close()


Raw = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class serving:
    """Something that listens on loopback and speaks whatever it wants; gives its URL."""

    def __init__(
        self, handle: Callable[[web.Request], Awaitable[web.StreamResponse]] | None = None, raw: Raw | None = None
    ):
        self.handle, self.raw = handle, raw

    async def __aenter__(self) -> str:
        if self.raw is not None:
            self.server = await asyncio.start_server(self.raw, "127.0.0.1", 0)
            return f"http://127.0.0.1:{self.server.sockets[0].getsockname()[1]}/turn"
        assert self.handle is not None
        app = web.Application()
        app.router.add_post("/turn", self.handle)
        self.runner = web.AppRunner(app)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{self.runner.addresses[0][1]}/turn"

    async def __aexit__(self, *_: object) -> None:
        if self.raw is not None:
            self.server.close()
        else:
            await self.runner.cleanup()


@pytest.mark.parametrize(
    "said", [b"", b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 100_000], ids=["bye", "ssh", "headers"]
)
async def test_garbage(said: bytes) -> None:
    """Whatever is there is no hook; a connection that only ends is tried twice."""
    connections = 0

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await reader.readuntil(b"\r\n\r\n")
        writer.write(said)
        writer.close()

    async with serving(raw=handle) as url:
        client = HookClient(url, KEY, 1)
        with pytest.raises(Unreachable):
            await client.post(BODY)
        await client.close()
    assert connections == (1 if said else 2)


async def test_a_connection_that_was_closed_while_it_was_idle(back: Back, client: HookClient) -> None:
    """A back end that has been restarted is no outage."""
    assert (await client.post(BODY)).status == 200
    await back.stop()
    await back.start()
    assert (await client.post(BODY)).status == 200
    assert len({headers["webhook-id"] for headers in back.headers}) == 2


async def test_a_closed_client_opens_anew(back: Back, client: HookClient) -> None:
    await client.close()
    assert (await client.post(BODY)).status == 200
    await client.close()
    await client.close()


class Names:
    """A resolver that knows one name."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses

    async def resolve(self, host: str, port: int = 0, family: int = 0) -> list[ResolveResult]:
        return [
            ResolveResult(hostname=host, host=address, port=port, family=2, proto=0, flags=0)
            for address in self.addresses
        ]

    async def close(self) -> None:
        return


@pytest.mark.parametrize(
    ("addresses", "reached"), [(["127.0.0.1"], True), (["8.8.8.8"], False), (["8.8.8.8", "127.0.0.1"], True)]
)
async def test_http_goes_to_private_addresses_only(
    back: Back, monkeypatch: pytest.MonkeyPatch, addresses: list[str], reached: bool
) -> None:
    """Whatever a name stands for today: passwords in clear do not leave for the Internet."""
    monkeypatch.setattr(hook_client, "ThreadedResolver", lambda: Names(*addresses))
    client = HookClient(back.url.replace("127.0.0.1", "hook.internal"), KEY, 1)
    try:
        if reached:
            assert (await client.post(BODY)).status == 200
        else:
            with pytest.raises(Unreachable, match="private addresses only"):
                await client.post(BODY)
    finally:
        await client.close()
