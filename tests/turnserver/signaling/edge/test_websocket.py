"""The WebSocket edge: who is let in, what is passed on, what is closed, and that nothing piles up."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import WSMsgType, web
from aiohttp.test_utils import TestClient, TestServer

from turnserver.signaling.edge import websocket
from turnserver.signaling.edge.websocket import PROTOCOL, WebSockets
from turnserver.signaling.rooms.settings import Doorway

Client = TestClient[web.Request, web.Application]


class Recorder:
    """An inlet that writes down what it is told, and has what the test put in for each socket."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []
        self.waiting: dict[int, deque[str]] = {}
        self.taken = 0
        self.faults: list[tuple[int, Exception]] = []
        self._changed = asyncio.Event()

    def _tell(self, *what: Any) -> None:
        self.told.append(what)
        self._changed.set()

    def opened(self, cid: int, address: str, doorway: Doorway) -> None:
        self._tell("opened", cid, address, doorway.host)

    def text(self, cid: int, frame: str) -> None:
        self._tell("text", cid, frame)

    def binary(self, cid: int) -> None:
        self._tell("binary", cid)

    def closed(self, cid: int) -> None:
        self._tell("closed", cid)

    def fault(self, cid: int, error: Exception) -> None:
        self.faults.append((cid, error))

    def take(self, cid: int) -> str | None:
        waiting = self.waiting.get(cid)
        if not waiting:
            return None
        self.taken += 1
        return waiting.popleft()

    async def until(self, *what: Any) -> None:
        async with asyncio.timeout(90):
            while what not in self.told:
                self._changed.clear()
                await self._changed.wait()


@pytest.fixture
async def inlet() -> Recorder:
    return Recorder()


@pytest.fixture
async def served(inlet: Recorder) -> WebSockets:
    return WebSockets(inlet, ["https://app.example.org"], heartbeat=15.0)


@pytest.fixture
async def client(served: WebSockets) -> AsyncIterator[Client]:
    app = web.Application()
    app.router.add_get("/v1/ws", served.handle)
    async with TestClient(TestServer(app)) as found:
        yield found


def connect(client: Client, **options: Any) -> Any:
    options.setdefault("protocols", (PROTOCOL,))
    return client.ws_connect("/v1/ws", **options)


async def test_frames_go_both_ways(client: Client, inlet: Recorder, served: WebSockets) -> None:
    """Text in, text out in order, a word for binary; and the end is told once."""
    inlet.waiting[1] = deque(["welcome"])
    async with connect(client, headers={"Host": "Calls.Example.org:8443"}) as socket:
        assert socket.protocol == PROTOCOL
        assert await socket.receive_str(timeout=90) == "welcome"
        assert inlet.told == [("opened", 1, "127.0.0.1", "calls.example.org")]
        assert served.sockets == 1
        await socket.send_str("ä")
        await socket.send_bytes(b"\x00")
        await inlet.until("binary", 1)
        inlet.waiting[1].extend(["one", "two"])
        served.wake(1)
        assert [await socket.receive_str(timeout=90) for _ in range(2)] == ["one", "two"]
    await inlet.until("closed", 1)
    assert inlet.told[1:] == [("text", 1, "ä"), ("binary", 1), ("closed", 1)]
    await served.wait_closed(10)
    assert served.sockets == 0


async def test_closing_sends_what_waits_first(client: Client, inlet: Recorder, served: WebSockets) -> None:
    """A goodbye is read before the Close that follows it, which carries code and reason."""
    async with connect(client) as socket:
        await inlet.until("opened", 1, "127.0.0.1", client.host)
        inlet.waiting[1] = deque(["goodbye"])
        served.close(1, 4410, "kicked")
        served.close(1, 4500, "too late to say something else")
        assert await socket.receive_str(timeout=90) == "goodbye"
        message = await socket.receive(timeout=90)
        assert (message.type, message.data, message.extra) == (WSMsgType.CLOSE, 4410, "kicked")
    await inlet.until("closed", 1)
    served.close(1, 4410, "nobody there")
    served.wake(1)


@pytest.mark.parametrize("origin", ["https://app.example.org", "https://APP.example.org", None, "own"])
async def test_origins_that_may(client: Client, served: WebSockets, origin: str | None) -> None:
    """The server's own pages, those that are named, and whoever is no browser (RFC 6455 §10.2)."""
    own = f"http://{client.host}:{client.port}"
    headers = {} if origin is None else {"Origin": own if origin == "own" else origin}
    async with connect(client, headers=headers) as socket:
        assert not socket.closed


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "https://app.example.org.evil.example", "", "http://"]
)
async def test_origins_that_may_not(client: Client, inlet: Recorder, origin: str) -> None:
    """403 before there is a socket, unless every origin is welcome."""
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        await connect(client, headers={"Origin": origin})
    assert caught.value.status == 403
    assert inlet.told == []


async def test_every_origin_may(inlet: Recorder) -> None:
    """``*`` is every origin."""
    app = web.Application()
    app.router.add_get("/v1/ws", WebSockets(inlet, "*", heartbeat=15.0).handle)
    async with TestClient(TestServer(app)) as client, connect(client, headers={"Origin": "https://other.example"}):
        await inlet.until("opened", 1, "127.0.0.1", client.host)


@pytest.mark.parametrize("protocols", [(), ("signal.v2.json",), ("soap", "mqtt")])
async def test_another_protocol(client: Client, inlet: Recorder, protocols: tuple[str, ...]) -> None:
    """A client that does not speak ours learns it from the handshake."""
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        await connect(client, protocols=protocols)
    assert caught.value.status == 400
    assert inlet.told == []


async def test_ours_among_others(client: Client) -> None:
    """RFC 6455 §4.2.2: the server picks one that it knows."""
    async with connect(client, protocols=("later", PROTOCOL)) as socket:
        assert socket.protocol == PROTOCOL


async def test_plain_http(client: Client) -> None:
    """What a person sees who opens the URL."""
    answer = await client.get("/v1/ws")
    assert (answer.status, answer.headers["Upgrade"]) == (426, "websocket")
    assert (await answer.json())["error"]["code"] == "upgrade_required"


async def test_draining(client: Client, served: WebSockets) -> None:
    """Nobody new is let in, and is told to come back."""
    served.draining = True
    answer = await client.get(
        "/v1/ws",
        headers={"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Protocol": PROTOCOL},
    )
    assert (answer.status, answer.headers["Retry-After"]) == (503, "1")


async def test_nothing_is_compressed(client: Client) -> None:
    """permessage-deflate is never agreed to, so nothing can be inflated (RFC 7692)."""
    async with connect(client, compress=15) as socket:
        assert not socket.compress


async def test_too_large_to_be_read(client: Client, inlet: Recorder) -> None:
    """Beyond what is read at all: 1009, and not a word to the hub."""
    async with connect(client) as socket:
        await socket.send_str("x" * (websocket.MAX_FRAME + 1))
        message = await socket.receive(timeout=90)
        assert (message.type, message.data) == (WSMsgType.CLOSE, 1009)
    await inlet.until("closed", 1)
    assert [what[0] for what in inlet.told] == ["opened", "closed"]


async def test_text_that_is_no_text(client: Client, inlet: Recorder) -> None:
    """RFC 6455 §8.1: what is not UTF-8 fails the connection, 1007."""
    async with connect(client) as socket:
        await socket._writer.send_frame(b"\xff\xfe", WSMsgType.TEXT)
        message = await socket.receive(timeout=90)
        assert (message.type, message.data) == (WSMsgType.CLOSE, 1007)
    await inlet.until("closed", 1)


async def test_pings(client: Client) -> None:
    """RFC 6455 §5.5.2: a ping is answered with what it carries."""
    async with connect(client, autoping=False) as socket:
        await socket.ping(b"there?")
        message = await socket.receive(timeout=90)
        assert (message.type, message.data) == (WSMsgType.PONG, b"there?")


async def test_too_many_pings(client: Client, inlet: Recorder) -> None:
    """Each costs an answer, so a flood of them ends the connection: 4429."""
    async with connect(client) as socket:
        for _ in range(int(websocket.CONTROL_BURST) + 1):
            await socket._writer.send_frame(b"", WSMsgType.PING)
        message = await socket.receive(timeout=90)
        assert (message.type, message.data, message.extra) == (WSMsgType.CLOSE, 4429, "too many pings")
    await inlet.until("closed", 1)


async def test_a_flood_is_read_at_a_walk(client: Client, inlet: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the burst the sender waits: frames are not read faster than they would be refused."""
    monkeypatch.setattr(websocket, "FRAME_RATE", 0.001)
    async with connect(client) as socket:
        for _ in range(int(websocket.FRAME_BURST) + 100):
            await socket.send_str("x")
        frame = ("text", 1, "x")
        async with asyncio.timeout(90):
            while inlet.told.count(frame) < websocket.FRAME_BURST:
                await asyncio.sleep(0)
        for _ in range(1000):
            await asyncio.sleep(0)
        assert inlet.told.count(frame) == websocket.FRAME_BURST
        # The Close would not be read either, and the client would wait for the answer.
        connection = socket._response.connection
        assert connection is not None
        assert connection.transport is not None
        connection.transport.abort()


async def test_one_that_does_not_read_gets_no_more(
    client: Client, inlet: Recorder, served: WebSockets, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Frames are taken only as the connection takes them, and closing does not wait for a client that is stuck."""
    monkeypatch.setattr(websocket, "CLOSE_TIMEOUT", 0.1)
    reader, writer = await asyncio.open_connection(client.host, client.port, limit=1024)
    writer.write(
        f"GET /v1/ws HTTP/1.1\r\nHost: {client.host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {'A' * 22}==\r\n"
        f"Sec-WebSocket-Protocol: {PROTOCOL}\r\n\r\n".encode()
    )
    await inlet.until("opened", 1, "127.0.0.1", client.host)
    writer.transport.pause_reading()
    total = 1000
    inlet.waiting[1] = deque("x" * 60_000 for _ in range(total))
    served.wake(1)
    protocol = served._sockets[1]._transport.get_protocol()
    assert isinstance(protocol, web.RequestHandler)
    async with asyncio.timeout(90):
        while not protocol.writing_paused:
            await asyncio.sleep(0)
    served.close(1, 4413, "slow")
    await inlet.until("closed", 1)
    assert 0 < inlet.taken < total / 2
    writer.transport.abort()
    del reader


async def test_a_fault_in_the_inlet_ends_the_socket(
    client: Client, inlet: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The inlet is told, and the socket does not stay half alive."""

    def fail(cid: int) -> None:
        raise KeyError("oops")

    monkeypatch.setattr(inlet, "binary", fail)
    async with connect(client) as socket:
        await socket.send_bytes(b"x")
        assert (await socket.receive(timeout=90)).type is WSMsgType.CLOSE
    await inlet.until("closed", 1)
    assert [(cid, type(error)) for cid, error in inlet.faults] == [(1, KeyError)]
