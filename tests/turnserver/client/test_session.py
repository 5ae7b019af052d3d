"""The session of the Python client, against a server whose every frame is written by the test."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiohttp import WSMsgType, web
from aiohttp.test_utils import TestServer

from turnserver.client import ClientState, Frame, SignalClient, SignalError, StateChange, Timing

WELCOME = {"t": "welcome", "v": [1], "feat": [], "limits": {"msg": 65536}, "hb": 60_000, "resume": 60_000, "now": 1}


class Connection:
    """The server's end of one WebSocket."""

    def __init__(self, socket: web.WebSocketResponse) -> None:
        self.socket = socket
        self.done = asyncio.Event()

    async def send(self, **fields: object) -> None:
        await self.socket.send_json(fields)

    async def receive(self) -> dict[str, Any]:
        message = await self.socket.receive(timeout=20)
        assert message.type is WSMsgType.TEXT, message
        frame = json.loads(message.data)
        assert isinstance(frame, dict)
        return frame

    async def closed(self) -> int | None:
        """Read to the end; the code that the client closed with."""
        async for _ in self.socket:
            pass
        return self.socket.close_code

    async def close(self, code: int = 1000) -> None:
        await self.socket.close(code=code)
        self.done.set()

    def cut(self) -> None:
        """End it without a closing handshake, as a network does."""
        transport = self.socket._req.transport if self.socket._req is not None else None
        if transport is not None:
            transport.abort()
        self.done.set()

    async def greet(self, **changes: object) -> dict[str, Any]:
        """Welcome, read hello, and answer it; returns hello."""
        await self.socket.send_json(WELCOME)
        hello = await self.receive()
        answer = {
            "t": "hello_ok",
            "re": hello["id"],
            "v": 1,
            "sid": "s" * 16,
            "key": f"key of {id(self)}",
            "cid": f"c{id(self)}",
            "resumed": "resume" in hello,
            "n": 0,
            "you": {"id": "aaaaaaaaaa", "role": "member", "caps": []},
            "room": None,
        }
        await self.socket.send_json(answer | changes)
        return hello

    @property
    def cid(self) -> str:
        return f"c{id(self)}"


class Script:
    """A server that leaves every frame to the test."""

    def __init__(self) -> None:
        self.url = ""
        self.waiting: asyncio.Queue[Connection] = asyncio.Queue()
        self.connections: list[Connection] = []
        self.refuse: int | None = None
        self.requests: list[web.Request] = []

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        if self.refuse is not None:
            return web.Response(status=self.refuse)
        socket = web.WebSocketResponse(protocols=("signal.v1.json",))
        await socket.prepare(request)
        connection = Connection(socket)
        self.connections.append(connection)
        self.waiting.put_nowait(connection)
        await connection.done.wait()
        return socket

    async def accept(self) -> Connection:
        async with asyncio.timeout(20):
            return await self.waiting.get()


class Clock:
    """Pauses that are over when the test says so."""

    def __init__(self) -> None:
        self.pauses: list[float] = []
        self._release: list[asyncio.Future[None]] = []

    async def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        if seconds >= 60:  # A heartbeat; those stand still.
            await asyncio.get_running_loop().create_future()


@pytest.fixture
async def script() -> AsyncIterator[Script]:
    script = Script()
    app = web.Application()
    app.router.add_get("/v1/ws", script.handle)
    server = TestServer(app)
    await server.start_server()
    script.url = str(server.make_url("/"))
    yield script
    for connection in script.connections:
        connection.cut()
    await server.close()


@pytest.fixture
async def make(script: Script) -> AsyncIterator[Callable[..., SignalClient]]:
    made: list[SignalClient] = []

    def build(**options: Any) -> SignalClient:
        clock = Clock()
        defaults: dict[str, Any] = {"entropy": lambda: 0.5, "pause": clock.pause, "timing": Timing(connect=20)}
        made.append(SignalClient(options.pop("url", script.url), **(defaults | options)))
        return made[-1]

    yield build
    for client in made:
        await client.close()


async def opened(script: Script, client: SignalClient, **changes: object) -> Connection:
    """A client that is in, and the server's end of it."""
    opening = asyncio.create_task(client.open())
    connection = await script.accept()
    await connection.greet(**changes)
    await opening
    return connection


def heard(client: SignalClient) -> list[Frame]:
    frames: list[Frame] = []
    client.subscribe(frames.append)
    return frames


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0)


async def test_hello(script: Script, make: Callable[..., SignalClient]) -> None:
    """Signaling §1: the subprotocol is offered, the token is in hello and not in the URL."""
    client = make(token="a.room.token", name="probe", version="2")
    opening = asyncio.create_task(client.open())
    connection = await script.accept()
    hello = await connection.greet()
    await opening
    assert hello == {
        "t": "hello",
        "id": hello["id"],
        "v": 1,
        "feat": [],
        "token": "a.room.token",
        "client": {"name": "probe", "ver": "2"},
    }
    assert connection.socket.ws_protocol == "signal.v1.json"
    assert script.requests[0].path_qs == "/v1/ws"
    assert (client.state, client.id, client.connections) == (ClientState.OPEN, "aaaaaaaaaa", 1)
    assert client.limits.count("msg") == 65536


async def test_questions_and_answers(script: Script, make: Callable[..., SignalClient]) -> None:
    """Answers find their questions, in whatever order; an error is raised with all that it says."""
    client = make()
    connection = await opened(script, client)
    frames = heard(client)
    first = asyncio.create_task(client.request("peek", {"room": "one", "nothing": None}))
    second = asyncio.create_task(client.request("join", {"room": "two"}))
    asked = [await connection.receive(), await connection.receive()]
    assert [{**frame, "id": ""} for frame in asked] == [
        {"t": "peek", "id": "", "room": "one"},
        {"t": "join", "id": "", "room": "two"},
    ]
    await connection.send(t="error", re=asked[1]["id"], code="room_full", msg="Full.", retry=1500, d={"max": 4})
    await connection.send(t="room_info", re=asked[0]["id"], count=3)
    assert (await first).count("count") == 3
    assert [frame.t for frame in frames] == ["error", "room_info"]
    with pytest.raises(SignalError) as caught:
        await second
    assert (caught.value.code, caught.value.retry, caught.value.detail) == ("room_full", 1.5, {"max": 4})


async def test_a_patient_request_waits_for_a_host(script: Script, make: Callable[..., SignalClient]) -> None:
    """``waiting`` is told, and is not the answer; ``joined`` with the same id is."""
    client = make()
    connection = await opened(script, client)
    frames = heard(client)
    joining = asyncio.create_task(client.request("join", {"room": "tea"}, patient=True))
    asked = await connection.receive()
    await connection.send(t="error", re=asked["id"], code="waiting", msg="A host has to let you in.")
    await until(lambda: bool(frames))
    assert not joining.done()
    await connection.send(t="joined", re=asked["id"], room={"id": "tea"})
    assert (await joining).child("room").text("id") == "tea"


async def test_no_answer(script: Script, make: Callable[..., SignalClient]) -> None:
    """A request gives up, and the answer that comes too late is heard as any other frame."""
    client = make()
    connection = await opened(script, client)
    frames = heard(client)
    with pytest.raises(SignalError, match="timeout"):
        await client.request("peek", {"room": "tea"}, within=0)
    asked = await connection.receive()
    await connection.send(t="room_info", re=asked["id"], count=1)
    await until(lambda: [frame.t for frame in frames] == ["room_info"])


async def test_numbers_and_acknowledgements(script: Script, make: Callable[..., SignalClient]) -> None:
    """Signaling §1, envelope: what is counted has an ``n``; whatever is sent says what has been handled."""
    client = make()
    connection = await opened(script, client)
    frames = heard(client)
    await connection.send(t="peer_gap", seq=1, id="x", until=1)
    await connection.send(t="peer_back", seq=2, id="x")
    await connection.send(t="peer_back", seq=2, id="x")
    await connection.send(t="paths", list=[])
    await until(lambda: len(frames) == 3)
    client.send("msg", {"data": 1})
    client.send("stat", {"to": "x"})
    client.send("desc", {"to": "x"})
    assert await connection.receive() == {"t": "msg", "data": 1, "n": 1, "ack": 2}
    assert await connection.receive() == {"t": "stat", "to": "x"}
    assert await connection.receive() == {"t": "desc", "to": "x", "n": 2}


async def test_much_is_acknowledged_at_once(script: Script, make: Callable[..., SignalClient]) -> None:
    """The server keeps what is not acknowledged, so a silent client says so after 64 messages."""
    client = make()
    connection = await opened(script, client)
    for seq in range(1, 65):
        await connection.send(t="peer_back", seq=seq, id="x")
    assert await connection.receive() == {"t": "ping", "ts": 0, "ack": 64}


async def test_resume(script: Script, make: Callable[..., SignalClient]) -> None:
    """Signaling §1, resume: with the latest key and ``seq``; nothing is lost and nothing sent or heard twice."""
    client = make(token="secret")
    connection = await opened(script, client)
    frames = heard(client)
    changes: list[StateChange] = []
    client.subscribe(on_state=changes.append)
    for data in ("one", "two"):
        client.send("msg", {"data": data})
    asked = asyncio.create_task(client.request("peek", {"room": "tea"}))
    kicking = asyncio.create_task(client.request("mod", {"op": "kick", "to": "x"}))
    for _ in range(4):
        await connection.receive()
    await connection.send(t="peer_gap", seq=1, id="x", until=1)
    await until(lambda: len(frames) == 1)
    connection.cut()
    await until(lambda: client.state is ClientState.RECONNECTING)
    client.send("msg", {"data": "three"})
    client.send("stat", {"to": "x"})
    again = await script.accept()
    hello = await again.greet(n=1)
    assert hello["resume"] == {"sid": "s" * 16, "key": f"key of {id(connection)}", "seq": 1}
    assert "token" not in hello
    await again.send(t="peer_gap", seq=1, id="x", until=1)
    await again.send(t="peer_back", seq=2, id="x")
    sent = [await again.receive() for _ in range(4)]
    assert [(frame["t"], frame.get("n")) for frame in sent] == [("msg", 2), ("mod", 3), ("msg", 4), ("peek", None)]
    await again.send(t="ok", seq=3, re=sent[1]["id"])
    await again.send(t="room_info", re=sent[3]["id"], count=0)
    assert (await kicking).t == "ok"
    assert (await asked).t == "room_info"
    assert [frame.t for frame in frames] == ["peer_gap", "peer_back", "ok", "room_info"]
    assert [(change.state, change.fresh) for change in changes] == [("reconnecting", False), ("open", False)]


async def test_the_session_is_gone(script: Script, make: Callable[..., SignalClient]) -> None:
    """``session_gone``: a fresh hello on the same socket, with the token; what was asked of the old one has failed."""
    client = make(token="secret")
    connection = await opened(script, client)
    changes: list[StateChange] = []
    client.subscribe(on_state=changes.append)
    client.send("msg", {"data": "lost"})
    asked = asyncio.create_task(client.request("peek", {"room": "tea"}))
    await connection.receive()
    await connection.receive()
    connection.cut()
    again = await script.accept()
    await again.send(**WELCOME)
    hello = await again.receive()
    await again.send(t="error", re=hello["id"], code="session_gone", msg="Too late.")
    hello = await again.receive()
    assert hello["token"] == "secret"
    assert "resume" not in hello
    await again.send(t="hello_ok", re=hello["id"], sid="t" * 16, key="k", cid="c", resumed=False, n=0, you={"id": "b"})
    with pytest.raises(SignalError, match="session_gone"):
        await asked
    client.send("msg", {"data": "new"})
    assert await again.receive() == {"t": "msg", "data": "new", "n": 1}
    assert [(change.state, change.fresh) for change in changes] == [("reconnecting", False), ("open", True)]
    assert client.id == "b"


async def test_more_was_lost_than_is_kept(script: Script, make: Callable[..., SignalClient]) -> None:
    """A gap in ``n`` cannot be closed: the session is given up for a new one, not gone on with."""
    client = make()
    connection = await opened(script, client)
    for number in range(1002):
        client.send("msg", {"data": number})
    for _ in range(1002):
        await connection.receive()
    connection.cut()
    await (await script.accept()).greet(n=1)
    assert "resume" not in await (await script.accept()).greet()
    await until(lambda: client.state is ClientState.OPEN)


async def test_goodbye_for_another_socket(script: Script, make: Callable[..., SignalClient]) -> None:
    """Signaling §1 `cid`: a client ignores a goodbye that is not for the socket it uses."""
    client = make()
    connection = await opened(script, client)
    await connection.send(t="goodbye", cid="another", code="replaced", msg="", reconnect="never", after=0)
    client.send("msg", {"data": 1})
    assert (await connection.receive())["t"] == "msg"
    assert client.state is ClientState.OPEN


@pytest.mark.parametrize("code", ["replaced", "kicked", "room_closed"])
async def test_goodbye_for_ever(script: Script, make: Callable[..., SignalClient], code: str) -> None:
    """``reconnect: never``: the client is closed, says why, and does not come back."""
    client = make()
    connection = await opened(script, client)
    changes: list[StateChange] = []
    client.subscribe(on_state=changes.append)
    asked = asyncio.create_task(client.request("peek", {"room": "tea"}))
    await connection.receive()
    await connection.send(t="goodbye", cid=connection.cid, code=code, msg="Sorry.", reconnect="never", after=0)
    with pytest.raises(SignalError, match=code):
        await asked
    await until(lambda: client.state is ClientState.CLOSED)
    assert client.reason is not None
    assert client.reason.code == code
    assert [change.state for change in changes] == ["closed"]
    with pytest.raises(SignalError, match=code):
        client.send("msg", {"data": 1})
    assert script.waiting.empty()


@pytest.mark.parametrize("code", [4401, 4403, 4409, 4410, 4426])
async def test_close_codes_that_are_final(script: Script, make: Callable[..., SignalClient], code: int) -> None:
    """The goodbye may be lost; the close code says the same."""
    client = make()
    connection = await opened(script, client)
    await connection.close(code)
    await until(lambda: client.state is ClientState.CLOSED)


async def test_draining(script: Script, make: Callable[..., SignalClient]) -> None:
    """``draining``: the client waits as long as it is told, and resumes."""
    clock = Clock()
    client = make(pause=clock.pause)
    connection = await opened(script, client)
    await connection.send(t="goodbye", cid=connection.cid, code="draining", msg="", reconnect="resume", after=7500)
    assert "resume" in await (await script.accept()).greet()
    assert [seconds for seconds in clock.pauses if seconds < 60] == [7.5]


async def test_reconnect_fresh(script: Script, make: Callable[..., SignalClient]) -> None:
    """``reconnect: fresh``: the session is not asked for again."""
    client = make()
    connection = await opened(script, client)
    await connection.send(t="goodbye", cid=connection.cid, code="internal", msg="", reconnect="fresh", after=0)
    assert "resume" not in await (await script.accept()).greet()


async def test_back_off(script: Script, make: Callable[..., SignalClient]) -> None:
    """Signaling §1: 0–500 ms, 0.3, 1.2, 2.7, 4.8, 7 s; from the beginning after a connection that was of use."""
    clock = Clock()
    client = make(pause=clock.pause)
    connection = await opened(script, client)
    await connection.send(t="paths", list=[])
    await connection.close()
    for _ in range(6):
        await (await script.accept()).close()
    again = await script.accept()
    await again.greet()
    await again.send(t="paths", list=[])
    await until(lambda: client.state is ClientState.OPEN)
    await again.close(1011)
    await script.accept()
    steps = [seconds for seconds in clock.pauses if seconds < 60]
    assert steps == [0.25, 0.3, 1.2, 2.7, 4.8, 7.0, 7.0, 0.25]


async def test_the_network_is_back(script: Script, make: Callable[..., SignalClient]) -> None:
    """Signaling §1: at once when the caller knows that the network is there again."""
    stuck = asyncio.get_running_loop().create_future()

    async def pause(seconds: float) -> None:
        await stuck

    client = make(pause=pause)
    connection = await opened(script, client)
    connection.cut()
    await until(lambda: client.state is ClientState.RECONNECTING)
    assert script.waiting.empty()
    await asyncio.sleep(0)
    client.reconnect()
    assert "resume" in await (await script.accept()).greet()


async def test_a_silent_server_is_a_lost_one(script: Script, make: Callable[..., SignalClient]) -> None:
    """Nothing for a few heartbeats, though we ping: the connection is given up."""
    client = make(timing=Timing(connect=20, silence=0.001))
    opening = asyncio.create_task(client.open())
    connection = await script.accept()
    await connection.send(**(WELCOME | {"hb": 1_000_000}))
    hello = await connection.receive()
    await connection.send(t="hello_ok", re=hello["id"], sid="s" * 16, key="k", cid="c", resumed=False, n=0, you={})
    await opening
    assert "resume" in await (await script.accept()).greet()


async def test_it_pings(script: Script, make: Callable[..., SignalClient]) -> None:
    """A ping for every heartbeat that the server asks for."""
    beats: asyncio.Queue[None] = asyncio.Queue()

    async def pause(seconds: float) -> None:
        assert seconds == 60
        await beats.get()

    client = make(pause=pause)
    connection = await opened(script, client)
    for _ in range(2):
        beats.put_nowait(None)
        assert (await connection.receive())["t"] == "ping"


@pytest.mark.parametrize("code", ["bad_token", "auth_required", "banned", "forbidden"])
async def test_not_let_in(script: Script, make: Callable[..., SignalClient], code: str) -> None:
    """A refused hello is raised by `open`, and not tried again: the server counts failures."""
    client = make(token="wrong")
    opening = asyncio.create_task(client.open())
    connection = await script.accept()
    await connection.send(**WELCOME)
    hello = await connection.receive()
    await connection.send(t="error", re=hello["id"], code=code, msg="No.")
    with pytest.raises(SignalError, match=code):
        await opening
    assert client.state is ClientState.CLOSED
    assert script.waiting.empty()


async def test_not_let_in_again(script: Script, make: Callable[..., SignalClient]) -> None:
    """The same when it happens on the way back: with a token that has expired, for one."""
    client = make(token="old")
    connection = await opened(script, client)
    connection.cut()
    again = await script.accept()
    await again.send(**WELCOME)
    hello = await again.receive()
    await again.send(t="error", re=hello["id"], code="token_expired", msg="No.")
    await until(lambda: client.state is ClientState.CLOSED)
    assert client.reason is not None
    assert client.reason.code == "token_expired"


async def test_another_version(script: Script, make: Callable[..., SignalClient]) -> None:
    """A server that speaks only what comes after us."""
    client = make()
    opening = asyncio.create_task(client.open())
    await (await script.accept()).send(**(WELCOME | {"v": [2, 3]}))
    with pytest.raises(SignalError, match="unsupported_version"):
        await opening


@pytest.mark.parametrize("status", [403, 404, 503])
async def test_no_websocket(script: Script, make: Callable[..., SignalClient], status: int) -> None:
    """An HTTP server that does not let us in, or has no signaling."""
    script.refuse = status
    with pytest.raises(SignalError, match=f"handshake.*{status}"):
        await make().open()


async def test_nobody_there(make: Callable[..., SignalClient], unused_tcp_port: int) -> None:
    """`open` says so at once."""
    with pytest.raises(SignalError, match="unreachable"):
        await make(url=f"http://127.0.0.1:{unused_tcp_port}").open()


async def test_nonsense_from_the_server(script: Script, make: Callable[..., SignalClient]) -> None:
    """Frames that are none, and handlers that fail, do not end the session."""
    client = make()

    def fail(frame: Frame) -> None:
        raise RuntimeError(frame.t)

    client.subscribe(fail)
    frames = heard(client)
    connection = await opened(script, client)
    for text in ("", "[]", "{", "1", '{"t": 5}', '{"t": ""}', "[" * 100_000, '{"t": "pong", "n": -1, "re": 5}'):
        await connection.socket.send_str(text)
    await connection.socket.send_bytes(b"\x00")
    await connection.send(t="peer_back", seq="one", id=7)
    await connection.send(t="unheard_of", seq=1)
    await until(lambda: len(frames) == 3)
    assert [frame.t for frame in frames] == ["pong", "peer_back", "unheard_of"]
    assert client.state is ClientState.OPEN


async def test_bounds(script: Script, make: Callable[..., SignalClient]) -> None:
    """What waits for a connection has an end, and so have questions without answers."""
    client = make()
    connection = await opened(script, client)
    asked = [asyncio.create_task(client.request("peek", {"room": "tea"})) for _ in range(128)]
    await asyncio.sleep(0)
    with pytest.raises(SignalError, match="backlog"):
        await client.request("peek", {"room": "tea"})
    connection.cut()
    await until(lambda: client.state is ClientState.RECONNECTING)
    for _ in range(1000):
        client.send("msg", {"data": 1})
    with pytest.raises(SignalError, match="backlog"):
        client.send("msg", {"data": 1})
    for task in asked:
        task.cancel()


async def test_bye(script: Script, make: Callable[..., SignalClient]) -> None:
    """What was sent before goes out first; then the session is over for the server, too."""
    client = make()
    opening = asyncio.create_task(client.open())
    connection = await script.accept()
    await connection.greet()
    await opening
    client.send("msg", {"data": "last words"})
    leaving = asyncio.create_task(client.bye())
    assert (await connection.receive())["data"] == "last words"
    assert await connection.receive() == {"t": "bye"}
    assert await connection.closed() == 1000
    await leaving
    assert client.state is ClientState.CLOSED
    assert script.waiting.empty()


async def test_a_client_that_is_not_open(make: Callable[..., SignalClient]) -> None:
    """Neither asks nor sends; and is opened once."""
    client = make()
    with pytest.raises(SignalError, match="closed"):
        client.send("msg", {"data": 1})
    with pytest.raises(SignalError, match="closed"):
        await client.request("peek")
    await client.close()
    with pytest.raises(SignalError, match="closed"):
        await client.open()


@pytest.mark.process
def test_the_server_goes_without_us() -> None:
    """aiortc is optional: nothing that serves imports the client."""
    code = "import sys, turnserver.server, cli.call; print(*sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "turnserver.server" in found
    assert not {"aiortc", "av", "turnserver.client"} & set(found)
