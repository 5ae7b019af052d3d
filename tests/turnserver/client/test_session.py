"""The session of the Python client, against a server whose every frame is written by the test."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import pytest
from aiohttp import WSMsgType, web
from aiohttp.test_utils import TestServer

from turnserver.client import ClientState, SignalClient, SignalError, StateChange, Timing, session
from turnserver.signaling.protocol.base import UNNUMBERED, ServerMessage
from turnserver.signaling.protocol.client_messages import Desc, Join, Mod, Msg, Peek, Stat
from turnserver.signaling.protocol.fields import Description
from turnserver.signaling.protocol.server_messages import Joined, RoomInfo

LIMITS = {"msg": 65536, "rate": 30, "burst": 120, "name": 64, "meta": 2048, "data": 4096, "sdp": 57344}
WELCOME: dict[str, Any] = {
    "t": "welcome",
    "v": [1],
    "feat": [],
    "limits": LIMITS,
    "hb": 60_000,
    "resume": 60_000,
    "now": 1,
    "cid": "",
}
ME, BOB = "aaaaaaaaaa", "bbbbbbbbbb"
YOU: dict[str, Any] = {"id": ME, "role": "member", "caps": []}
HELLO_OK: dict[str, Any] = {
    "t": "hello_ok",
    "v": 1,
    "sid": "s" * 16,
    "key": "k",
    "cid": "c",
    "resumed": False,
    "n": 0,
    "you": YOU,
}
ROOM_INFO: dict[str, Any] = {"t": "room_info", "exists": True, "count": 3, "max": 4, "locked": False}
JOINED: dict[str, Any] = {
    "t": "joined",
    "room": {"id": "tea", "max": 4, "mode": "mesh", "epoch": 1, "locked": False},
    "you": YOU | {"name": "", "media": {}},
    "peers": [],
    "ice": {"servers": [], "exp": 1},
    "at": 0,
}


class Connection:
    """The server's end of one WebSocket."""

    def __init__(self, socket: web.WebSocketResponse) -> None:
        self.socket = socket
        self.done = asyncio.Event()

    async def send(self, **fields: object) -> None:
        await self.socket.send_json(fields)

    async def receive(self) -> dict[str, Any]:
        message = await self.socket.receive(timeout=90)
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
            "you": YOU,
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
        async with asyncio.timeout(90):
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
async def make(script: Script, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Callable[..., SignalClient]]:
    # The script answers no Close unless a test has it do so.
    monkeypatch.setattr(session, "_CLOSING", aiohttp.ClientWSTimeout(ws_close=0.01))
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


def heard(client: SignalClient) -> list[ServerMessage]:
    frames: list[ServerMessage] = []
    client.subscribe(frames.append)
    return frames


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(90):
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
    assert client.limits is not None
    assert client.limits.msg == 65536


async def test_questions_and_answers(script: Script, make: Callable[..., SignalClient]) -> None:
    """Answers find their questions, in whatever order; an error is raised with all that it says."""
    client = make()
    connection = await opened(script, client)
    frames = heard(client)
    first = asyncio.create_task(client.request(Peek(room="one")))
    second = asyncio.create_task(client.request(Join(room="two")))
    asked = [await connection.receive(), await connection.receive()]
    silent = {"a": 0, "v": 0, "s": 0}
    assert [{**frame, "id": ""} for frame in asked] == [
        {"t": "peek", "id": "", "room": "one"},
        {
            "t": "join",
            "id": "",
            "room": "two",
            "name": "",
            "meta": {},
            "media": silent,
            "mode": "mesh",
        },
    ]
    await connection.send(t="error", re=asked[1]["id"], code="room_full", msg="Full.", retry=1500, d={"max": 4})
    await connection.send(**ROOM_INFO, re=asked[0]["id"])
    assert await first == RoomInfo(re=asked[0]["id"], exists=True, count=3, max=4, locked=False)
    assert [frame.t for frame in frames] == ["error", "room_info"]
    with pytest.raises(SignalError) as caught:
        await second
    assert (caught.value.code, caught.value.retry, caught.value.detail) == ("room_full", 1.5, {"max": 4})


async def test_a_patient_request_waits_for_a_host(script: Script, make: Callable[..., SignalClient]) -> None:
    """``waiting`` is told, and is not the answer; ``joined`` with the same id is."""
    client = make()
    connection = await opened(script, client)
    frames = heard(client)
    joining = asyncio.create_task(client.request(Join(room="tea"), patient=True))
    asked = await connection.receive()
    await connection.send(t="error", re=asked["id"], code="waiting", msg="A host has to let you in.")
    await until(lambda: bool(frames))
    assert not joining.done()
    await connection.send(**JOINED, re=asked["id"])
    answer = await joining
    assert isinstance(answer, Joined)
    assert answer.room.id == "tea"


async def test_no_answer(script: Script, make: Callable[..., SignalClient]) -> None:
    """A request gives up, and the answer that comes too late is heard as any other frame."""
    client = make()
    connection = await opened(script, client)
    frames = heard(client)
    with pytest.raises(SignalError, match="timeout"):
        await client.request(Peek(room="tea"), within=0)
    asked = await connection.receive()
    await connection.send(**ROOM_INFO, re=asked["id"])
    await until(lambda: [frame.t for frame in frames] == ["room_info"])


async def test_numbers_and_acknowledgements(script: Script, make: Callable[..., SignalClient]) -> None:
    """Signaling §1, envelope: what is counted has an ``n``; whatever is sent says what has been handled."""
    client = make()
    connection = await opened(script, client)
    frames = heard(client)
    await connection.send(t="peer_gap", seq=1, id=BOB, until=1)
    await connection.send(t="peer_back", seq=2, id=BOB)
    await connection.send(t="peer_back", seq=2, id=BOB)
    await connection.send(t="paths", list=[])
    await until(lambda: len(frames) == 3)
    client.send(Msg(n=UNNUMBERED, data=1))
    client.send(Stat(to="x"))
    client.send(Desc(n=UNNUMBERED, to="x", pc="p", desc=Description(type="offer", sdp="v=0")))
    assert await connection.receive() == {"t": "msg", "data": 1, "n": 1, "ack": 2}
    assert await connection.receive() == {"t": "stat", "to": "x", "path": "unknown"}
    description = {"type": "offer", "sdp": "v=0"}
    assert await connection.receive() == {"t": "desc", "to": "x", "n": 2, "pc": "p", "desc": description}


async def test_much_is_acknowledged_at_once(script: Script, make: Callable[..., SignalClient]) -> None:
    """The server keeps what is not acknowledged, so a silent client says so after 64 messages."""
    client = make()
    connection = await opened(script, client)
    for seq in range(1, 65):
        await connection.send(t="peer_back", seq=seq, id=BOB)
    assert await connection.receive() == {"t": "ping", "ts": 0, "ack": 64}


async def test_resume(script: Script, make: Callable[..., SignalClient]) -> None:
    """Signaling §1, resume: with the latest key and ``seq``; nothing is lost and nothing sent or heard twice."""
    client = make(token="secret")
    connection = await opened(script, client)
    frames = heard(client)
    changes: list[StateChange] = []
    client.subscribe(on_state=changes.append)
    for data in ("one", "two"):
        client.send(Msg(n=UNNUMBERED, data=data))
    asked = asyncio.create_task(client.request(Peek(room="tea")))
    kicking = asyncio.create_task(client.request(Mod(n=UNNUMBERED, op="kick", to="x")))
    for _ in range(4):
        await connection.receive()
    await connection.send(t="peer_gap", seq=1, id=BOB, until=1)
    await until(lambda: len(frames) == 1)
    connection.cut()
    await until(lambda: client.state is ClientState.RECONNECTING)
    client.send(Msg(n=UNNUMBERED, data="three"))
    client.send(Stat(to="x"))
    again = await script.accept()
    hello = await again.greet(n=1)
    assert hello["resume"] == {"sid": "s" * 16, "key": f"key of {id(connection)}", "seq": 1}
    assert "token" not in hello
    await again.send(t="peer_gap", seq=1, id=BOB, until=1)
    await again.send(t="peer_back", seq=2, id=BOB)
    sent = [await again.receive() for _ in range(4)]
    assert [(frame["t"], frame.get("n")) for frame in sent] == [("msg", 2), ("mod", 3), ("msg", 4), ("peek", None)]
    await again.send(t="ok", seq=3, re=sent[1]["id"])
    await again.send(**ROOM_INFO, re=sent[3]["id"])
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
    client.send(Msg(n=UNNUMBERED, data="lost"))
    asked = asyncio.create_task(client.request(Peek(room="tea")))
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
    await again.send(**HELLO_OK | {"re": hello["id"], "sid": "t" * 16, "you": YOU | {"id": BOB}})
    with pytest.raises(SignalError, match="session_gone"):
        await asked
    client.send(Msg(n=UNNUMBERED, data="new"))
    assert await again.receive() == {"t": "msg", "data": "new", "n": 1}
    assert [(change.state, change.fresh) for change in changes] == [("reconnecting", False), ("open", True)]
    assert client.id == BOB


async def test_more_was_lost_than_is_kept(script: Script, make: Callable[..., SignalClient]) -> None:
    """A gap in ``n`` cannot be closed: the session is given up for a new one, not gone on with."""
    client = make()
    connection = await opened(script, client)
    for number in range(1002):
        client.send(Msg(n=UNNUMBERED, data=number))
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
    client.send(Msg(n=UNNUMBERED, data=1))
    assert (await connection.receive())["t"] == "msg"
    assert client.state is ClientState.OPEN


@pytest.mark.parametrize("code", ["replaced", "kicked", "room_closed"])
async def test_goodbye_for_ever(script: Script, make: Callable[..., SignalClient], code: str) -> None:
    """``reconnect: never``: the client is closed, says why, and does not come back."""
    client = make()
    connection = await opened(script, client)
    changes: list[StateChange] = []
    client.subscribe(on_state=changes.append)
    asked = asyncio.create_task(client.request(Peek(room="tea")))
    await connection.receive()
    await connection.send(t="goodbye", cid=connection.cid, code=code, msg="Sorry.", reconnect="never", after=0)
    with pytest.raises(SignalError, match=code):
        await asked
    await until(lambda: client.state is ClientState.CLOSED)
    assert client.reason is not None
    assert client.reason.code == code
    assert [change.state for change in changes] == ["closed"]
    with pytest.raises(SignalError, match=code):
        client.send(Msg(n=UNNUMBERED, data=1))
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
    await connection.send(**HELLO_OK, re=hello["id"])
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

    def fail(message: ServerMessage) -> None:
        raise RuntimeError(message.t)

    client.subscribe(fail)
    frames = heard(client)
    connection = await opened(script, client)
    for text in ("", "[]", "{", "1", '{"t": 5}', '{"t": ""}', "[" * 100_000, '{"t": "pong", "now": -1, "re": 5}'):
        await connection.socket.send_str(text)
    await connection.socket.send_bytes(b"\x00")
    await connection.send(t="peer_back", seq="one", id=7)
    await connection.send(t="unheard_of", seq=1)
    await connection.send(t="peer_back", seq=2, id=BOB, colour="unheard of")
    await until(lambda: len(frames) == 1)
    assert [frame.t for frame in frames] == ["peer_back"]
    assert client.state is ClientState.OPEN


async def test_an_answer_that_cannot_be_read(script: Script, make: Callable[..., SignalClient]) -> None:
    """Whoever has asked is not left to wait, and a number that we cannot read is handled all the same."""
    client = make()
    connection = await opened(script, client)
    asking = asyncio.create_task(client.request(Peek(room="tea")))
    asked = await connection.receive()
    await connection.send(t="room_info_2", re=asked["id"], seq=1)
    with pytest.raises(SignalError, match="unreadable"):
        await asking
    client.send(Msg(n=UNNUMBERED, data=1))
    assert (await connection.receive())["ack"] == 1


async def test_a_hello_ok_that_cannot_be_read(script: Script, make: Callable[..., SignalClient]) -> None:
    client = make()
    opening = asyncio.create_task(client.open())
    connection = await script.accept()
    await connection.send(**WELCOME)
    hello = await connection.receive()
    await connection.send(t="hello_ok", re=hello["id"])
    with pytest.raises(SignalError, match="unreadable"):
        await opening


async def test_a_code_that_is_newer_than_we_are(script: Script, make: Callable[..., SignalClient]) -> None:
    """All but the code of an error is understood: what it answers, and that it is one."""
    client = make()
    connection = await opened(script, client)
    asking = asyncio.create_task(client.request(Peek(room="tea")))
    asked = await connection.receive()
    await connection.send(t="error", re=asked["id"], code="too_late", msg="Closed for today.", retry=1000, d={"x": 1})
    with pytest.raises(SignalError) as caught:
        await asking
    assert (caught.value.code, caught.value.message, caught.value.retry) == ("internal", "Closed for today.", 1.0)


async def test_what_is_no_json_is_not_sent(script: Script, make: Callable[..., SignalClient]) -> None:
    """Whoever says it hears of it; the session goes on, and no number is missing."""
    client = make()
    connection = await opened(script, client)
    with pytest.raises(SignalError, match="bad_message"):
        client.send(Msg(n=UNNUMBERED, data=object()))
    client.send(Msg(n=UNNUMBERED, data="fine"))
    assert await connection.receive() == {"t": "msg", "data": "fine", "n": 1}


async def test_bounds(script: Script, make: Callable[..., SignalClient]) -> None:
    """What waits for a connection has an end, and so have questions without answers."""
    client = make()
    connection = await opened(script, client)
    asked = [asyncio.create_task(client.request(Peek(room="tea"))) for _ in range(128)]
    await asyncio.sleep(0)
    with pytest.raises(SignalError, match="backlog"):
        await client.request(Peek(room="tea"))
    connection.cut()
    await until(lambda: client.state is ClientState.RECONNECTING)
    for _ in range(1000):
        client.send(Msg(n=UNNUMBERED, data=1))
    with pytest.raises(SignalError, match="backlog"):
        client.send(Msg(n=UNNUMBERED, data=1))
    for task in asked:
        task.cancel()


async def test_bye(script: Script, make: Callable[..., SignalClient]) -> None:
    """What was sent before goes out first; then the session is over for the server, too."""
    client = make()
    opening = asyncio.create_task(client.open())
    connection = await script.accept()
    await connection.greet()
    await opening
    client.send(Msg(n=UNNUMBERED, data="last words"))
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
        client.send(Msg(n=UNNUMBERED, data=1))
    with pytest.raises(SignalError, match="closed"):
        await client.request(Peek(room="tea"))
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
