"""The HTTP server on a shared port: real listeners, plain and under TLS, aiohttp's client and bare sockets."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from tests.support.certificates import client_context, issue
from tests.support.stream_world import ANSWER, StreamRig, captured_log
from tests.support.tcp_pair import eventually
from turnserver.faults import Faults
from turnserver.http import HttpServer
from turnserver.http.server import IDLE_TIMEOUT
from turnserver.transports.certificates import CertificateSource

LARGE = bytes(range(256)) * 4 * 1024 * 8  # 8 MiB


class Site:
    """One shared port with an HTTP server behind it."""

    def __init__(self, http: HttpServer, tls: CertificateSource | None, **options: Any) -> None:
        self.http = http
        self.rig = StreamRig(tls=tls, http=http, **options)
        self.session: aiohttp.ClientSession

    def url(self, path: str, scheme: str = "http") -> str:
        secure = "s" if self.rig.transport.tls is not None else ""
        return f"{scheme}{secure}://127.0.0.1:{self.rig.transport.address.port}{path}"

    async def __aenter__(self) -> "Site":
        self.http.start()
        await self.rig.__aenter__()
        self.session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=client_context()), timeout=aiohttp.ClientTimeout(20)
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.session.close()
        await self.http.wait_closed()
        await self.rig.__aexit__()


async def echo(request: web.Request) -> web.WebSocketResponse:
    socket = web.WebSocketResponse(max_msg_size=2**24)
    await socket.prepare(request)
    async for message in socket:
        if message.type is aiohttp.WSMsgType.BINARY:
            await socket.send_bytes(message.data)
    return socket


async def upload(request: web.Request) -> web.Response:
    size = 0
    async for chunk in request.content.iter_any():
        size += len(chunk)
    return web.json_response({"size": size})


def application(http: HttpServer, directory: Path) -> None:
    async def who(request: web.Request) -> web.Response:
        return web.json_response({"remote": request.remote, "scheme": request.scheme})

    async def large(request: web.Request) -> web.Response:
        return web.Response(body=LARGE)

    async def file(request: web.Request) -> web.FileResponse:
        (directory / "page").write_bytes(b"from a file")
        return web.FileResponse(directory / "page")

    async def body(request: web.Request) -> web.Response:
        return web.Response(body=await request.read())

    http.app.add_routes(
        [
            web.get("/who", who),
            web.get("/large", large),
            web.get("/file", file),
            web.get("/socket", echo),
            web.post("/upload", upload),
            web.post("/body", body),
        ]
    )


@pytest.fixture(params=[False, True], ids=["plain", "tls"])
async def site(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Site]:
    tls = None
    if request.param:
        pair = issue(tmp_path)
        tls = CertificateSource([(pair.certificate, pair.key)])
    http = HttpServer()
    application(http, tmp_path)
    async with Site(http, tls) as site:
        yield site


async def test_health(site: Site) -> None:
    async with site.session.get(site.url("/healthz")) as response:
        assert response.status == 200
        assert response.content_type == "application/json"
        assert await response.json() == {"status": "ok"}, "anybody may ask, so nothing is said"
        assert response.headers["Cache-Control"] == "no-store"
    async with site.session.head(site.url("/healthz")) as response:
        assert response.status == 200


async def test_readiness(site: Site) -> None:
    """Load balancers are told to send nobody any more, while who is there is served."""
    async with site.session.get(site.url("/readyz")) as response:
        assert (response.status, await response.json()) == (200, {"status": "ready"})
        assert response.headers["Cache-Control"] == "no-store"
    site.http.drain()
    async with site.session.get(site.url("/readyz")) as response:
        assert (response.status, await response.json()) == (503, {"status": "draining"})
    async with site.session.get(site.url("/healthz")) as response:
        assert response.status == 200


async def test_the_landing_page(site: Site) -> None:
    async with site.session.get(site.url("/")) as response:
        assert response.status == 200
        assert "meshturn" in await response.text()
        assert "style-src 'sha256-" in response.headers["Content-Security-Policy"]


async def test_every_answer_is_careful(site: Site) -> None:
    """Errors too; and nobody is told which library of which version answers."""
    async with site.session.get(site.url("/nothing")) as response:
        assert response.status == 404
        assert response.headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Referrer-Policy"] == "no-referrer"
        assert response.headers["Server"] == "meshturn"


async def test_the_same_port_answers_stun(site: Site) -> None:
    """One port for everything: while HTTP connections are open, a TURN client comes and goes."""
    async with site.session.ws_connect(site.url("/socket", "ws")) as socket:
        rig = site.rig
        client = await rig.connect_tls() if rig.transport.tls is not None else await rig.connect()
        name = await rig.introduce(client)
        rig.transport.send(name, ANSWER)
        assert await client.read(20) == ANSWER
        await socket.send_bytes(b"still here")
        assert await socket.receive_bytes() == b"still here"


async def test_a_websocket_carries_messages_of_all_sizes(site: Site) -> None:
    """RFC 6455, also for messages larger than every buffer on the way."""
    async with site.session.ws_connect(site.url("/socket", "ws"), max_msg_size=2**24) as socket:
        for size in (0, 1, 125, 126, 65535, 65536, 3_000_000):
            await socket.send_bytes(LARGE[:size])
            assert await socket.receive_bytes() == LARGE[:size]


async def test_a_large_body_comes_up_whole(site: Site) -> None:
    async with site.session.post(site.url("/upload"), data=LARGE) as response:
        assert await response.json() == {"size": len(LARGE)}


async def test_a_large_body_goes_down_whole_at_the_clients_pace(site: Site) -> None:
    """Back-pressure: the client reads in small pieces, and everything arrives."""
    async with site.session.get(site.url("/large")) as response:
        received = bytearray()
        async for chunk in response.content.iter_chunked(10_000):
            received += chunk
    assert received == LARGE


async def test_files_are_served(site: Site) -> None:
    """Without ``sendfile``, which needs a socket of asyncio's own."""
    async with site.session.get(site.url("/file")) as response:
        assert await response.read() == b"from a file"


async def test_the_client_and_the_scheme_are_known(site: Site) -> None:
    secure = site.rig.transport.tls is not None
    async with site.session.get(site.url("/who")) as response:
        assert await response.json() == {"remote": "127.0.0.1", "scheme": "https" if secure else "http"}


async def test_a_connection_is_used_again_and_counted_once(site: Site) -> None:
    for _ in range(3):
        async with site.session.get(site.url("/healthz")) as response:
            await response.read()
    assert site.http.connections == 1
    await site.session.close()
    await eventually(lambda: site.http.connections == 0)


# Plain from here on: what is under it makes no difference


@pytest.fixture
def plain(tmp_path: Path) -> Callable[..., Site]:
    def make(**options: Any) -> Site:
        http = HttpServer(**{name: options.pop(name) for name in ("body_timeout",) if name in options})
        application(http, tmp_path)
        return Site(http, None, **options)

    return make


async def test_who_a_proxy_says_is_who_the_handler_sees(plain: Callable[..., Site]) -> None:
    async with plain(proxies=(ip_network("127.0.0.0/8"),)) as site:
        peer = await site.rig.connect()
        await peer.send(
            b"PROXY TCP4 192.0.2.33 192.0.2.1 44444 80\r\nGET /who HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
        assert b'{"remote": "192.0.2.33", "scheme": "http"}' in await peer.read(10_000)


async def test_a_body_larger_than_the_limit_is_413(plain: Callable[..., Site]) -> None:
    """RFC 9110 §15.5.14; the client gets to read it although it is still sending."""
    async with plain() as site, site.session.post(site.url("/body"), data=LARGE[: 2**20 + 1]) as response:
        assert response.status == 413


@pytest.mark.parametrize(
    "request_head",
    [
        b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: " + b"x" * 9000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X-Many: x\r\n" * 200 + b"\r\n",
        b"GET / HTTP/9.9.9\r\n\r\n",
        b"GET \x00\x01 nonsense\r\n\r\n",
    ],
    ids=["line", "field", "fields", "version", "garbage"],
)
async def test_a_head_beyond_the_limits_is_refused(plain: Callable[..., Site], request_head: bytes) -> None:
    """What strangers can send is answered, and is nothing that the log shows as an error."""
    async with plain() as site:
        with captured_log("meshturn.http") as records:
            peer = await site.rig.connect()
            await peer.send(request_head)
            answer = await peer.read(100_000)
        assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.0 400", b"HTTP/1.1 431"))
        assert records == []


async def test_a_body_that_does_not_end_is_cut_off(plain: Callable[..., Site], monkeypatch: pytest.MonkeyPatch) -> None:
    """A handler must not wait for a slow client for ever; the timer is made only for requests with a body."""
    timers: list[tuple[Any, ...]] = []
    loop = asyncio.get_running_loop()
    call_later = loop.call_later

    def remember(delay: float, callback: Any, *args: Any) -> asyncio.TimerHandle:
        if delay == 77.0:
            timers.append((callback, args))
        return call_later(delay, callback, *args)

    monkeypatch.setattr(loop, "call_later", remember)
    async with plain(body_timeout=77.0) as site:
        async with site.session.get(site.url("/healthz")):
            pass
        assert timers == []
        peer = await site.rig.connect()
        await peer.send(b"POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nxx")
        await eventually(lambda: timers)
        callback, args = timers[0]
        callback(*args)
        assert await peer.ended()


async def test_a_body_that_has_come_is_not(plain: Callable[..., Site]) -> None:
    """A handler may think for as long as it likes once it has everything."""
    started, finish = asyncio.Event(), asyncio.Event()

    async def think(request: web.Request) -> web.Response:
        await request.read()
        started.set()
        await finish.wait()
        return web.Response(text="thought")

    site = plain(body_timeout=0.001)
    site.http.app.router.add_post("/think", think)
    async with site:
        task = asyncio.create_task(site.session.post(site.url("/think"), data=b"x"))
        await started.wait()
        for _ in range(5):
            await asyncio.sleep(0.001)
        finish.set()
        async with await task as response:
            assert await response.text() == "thought"


async def test_a_head_that_does_not_come_is_aiohttps_to_time_out(plain: Callable[..., Site]) -> None:
    """Its keep-alive timer runs from the start of a connection; this is the version that it needs to be."""
    async with plain() as site:
        peer = await site.rig.connect()
        await peer.send(b"GET / HT")
        await eventually(lambda: site.http.connections == 1)
        runner = site.http._runner
        assert runner is not None
        assert runner.server is not None
        (handler,) = runner.server.connections
        timer = handler._keepalive_handle
        assert timer is not None
        assert timer.when() <= asyncio.get_running_loop().time() + IDLE_TIMEOUT + 1
        handler._next_keepalive_close_time = 0.0
        handler._process_keepalive()
        assert await peer.ended()


async def test_another_part_may_take_the_root(tmp_path: Path) -> None:
    """The call page does."""

    async def page(request: web.Request) -> web.Response:
        return web.Response(text="mine", headers={"Content-Security-Policy": "default-src 'self'"})

    http = HttpServer()
    http.app.router.add_get("/", page)
    async with Site(http, None) as site, site.session.get(site.url("/")) as response:
        assert await response.text() == "mine"
        assert response.headers["Content-Security-Policy"] == "default-src 'self'"


async def test_what_comes_before_the_application_is_ready_waits_for_it() -> None:
    http = HttpServer()
    ready = asyncio.Event()

    async def start_up(app: web.Application) -> None:
        await ready.wait()

    http.app.on_startup.append(start_up)
    async with Site(http, None) as site:
        task = asyncio.create_task(site.session.get(site.url("/healthz")))
        await eventually(lambda: http._early)
        assert not task.done()
        ready.set()
        async with await task as response:
            assert response.status == 200


async def test_an_application_that_does_not_start_leaves_nobody_waiting() -> None:
    """TURN goes on without it; the log says why, and the fault is counted."""
    faults = Faults()
    http = HttpServer(faults=faults)

    async def start_up(app: web.Application) -> None:
        await asyncio.sleep(0)
        raise ZeroDivisionError

    http.app.on_startup.append(start_up)
    with captured_log("meshturn") as log:
        async with Site(http, None) as site:
            peer = await site.rig.connect()
            await peer.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert await peer.ended()
            assert await site.rig.client()
    assert [record.levelno for record in log] == [logging.ERROR]
    assert faults.counts == {"http": 1}


async def test_closing_ends_every_connection(plain: Callable[..., Site]) -> None:
    """At once, WebSockets included; and none is taken after that."""
    async with plain() as site:
        async with site.session.ws_connect(site.url("/socket", "ws")) as socket:
            idle = await site.rig.connect()
            await idle.send(b"GET /")
            await eventually(lambda: site.http.connections == 2)
            site.http.close()
            assert await idle.ended()
            assert (await socket.receive()).type in {aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.CLOSE}
        late = await site.rig.connect()
        await late.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert await late.ended()
        assert site.http.connections == 0


async def test_closing_before_it_is_ready() -> None:
    http = HttpServer()
    ready = asyncio.Event()

    async def start_up(app: web.Application) -> None:
        await ready.wait()

    http.app.on_startup.append(start_up)
    async with StreamRig(http=http) as rig:
        http.start()
        peer = await rig.connect()
        await peer.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await eventually(lambda: http._early)
        http.close()
        assert await peer.ended()
        await http.wait_closed()


async def test_the_applications_clean_up_is_run() -> None:
    http = HttpServer()
    cleaned: list[bool] = []

    async def clean_up(app: web.Application) -> None:
        cleaned.append(True)

    http.app.on_cleanup.append(clean_up)
    async with Site(http, None) as site, site.session.get(site.url("/healthz")) as response:
        assert response.status == 200
    assert cleaned == [True]


async def test_a_handler_that_raises_costs_its_request() -> None:
    """It is answered with 500 without a word of what happened, and counted and logged once; the connection lives on."""
    faults = Faults()
    http = HttpServer(faults=faults)

    async def broken(request: web.Request) -> web.Response:
        raise ZeroDivisionError("a secret of the handler")

    async def refusing(request: web.Request) -> web.Response:
        raise web.HTTPConflict

    http.app.add_routes([web.get("/broken", broken), web.get("/refusing", refusing)])
    with captured_log("meshturn") as log:
        async with Site(http, None) as site:
            async with site.session.get(site.url("/broken")) as response:
                assert response.status == 500
                assert "secret" not in await response.text()
            assert faults.counts == {"http": 1}
            async with site.session.get(site.url("/refusing")) as response:
                assert response.status == 409
            async with site.session.get(site.url("/healthz")) as response:
                assert response.status == 200
    assert faults.counts == {"http": 1}
    assert [(record.name, record.getMessage()) for record in log] == [("meshturn.faults", "fault in http")]


async def test_who_makes_room_for_a_newcomer(tmp_path: Path) -> None:
    """Not a request that the server works on, nor a WebSocket; a client that is waited for does."""
    http, going_on, begun = HttpServer(), asyncio.Event(), asyncio.Event()

    async def slow(request: web.Request) -> web.Response:
        await request.read()
        begun.set()
        await going_on.wait()
        return web.Response(text="done")

    http.app.router.add_route("*", "/slow", slow)
    application(http, tmp_path)
    async with Site(http, None, connections=3) as site:
        socket = await site.session.ws_connect(site.url("/socket", "ws"))
        working = asyncio.create_task(site.session.post(site.url("/slow"), data=b"all of it"))
        await begun.wait()
        half = await site.rig.connect()
        await half.send(b"POST /slow HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf")
        await eventually(lambda: http.connections == 3)
        quiet = await site.rig.connect()
        assert await half.ended()
        await quiet.send(b"GET /who HTTP/1.1\r\nHost: x\r\n\r\n")
        assert await quiet.read(15) == b"HTTP/1.1 200 OK"
        assert await site.rig.introduce(await site.rig.connect())
        assert (await quiet.read(65536)).endswith(b"}")
        await socket.send_bytes(b"still here")
        assert await socket.receive_bytes() == b"still here"
        going_on.set()
        async with await working as response:
            assert await response.text() == "done"
        await socket.close()
