"""The worker: what is configured is bound, what cannot be leaves nothing open, and stopping closes everything."""

import asyncio
import os
import resource
import signal
import socket
import ssl
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from stun.attributes import XOR_MAPPED_ADDRESS
from stun.constants import MessageClass, Method
from stun.message import Message, MessageBuilder
from tests.support.certificates import client_context, issue
from tests.support.signal_wire import Participant
from turnserver.config import Config
from turnserver.core.types import ClientTransport
from turnserver.errors import ConfigError, Problem, StartupError
from turnserver.worker import Worker, _reload, raise_file_limit, run

pytestmark = pytest.mark.net


def config(**options: Any) -> Config:
    options.setdefault("listeners", [{"address": "127.0.0.1", "port": 0}])
    options.setdefault("log", {"level": "error"})
    return Config.model_validate(options)


def binding() -> bytes:
    return MessageBuilder(Method.BINDING, MessageClass.REQUEST, os.urandom(12)).build()


async def ask(worker: Worker, request: bytes) -> tuple[Message, socket.socket]:
    """One datagram to the first listener and its answer; gives the socket that asked, too."""
    loop = asyncio.get_running_loop()
    _, address = worker.listening[0]
    client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    client.setblocking(False)
    client.bind(("127.0.0.1", 0))
    await loop.sock_sendto(client, request, (address.host, address.port))
    data = await asyncio.wait_for(loop.sock_recv(client, 2048), 10)
    return Message.decode(data), client


async def test_it_serves_what_it_listens_on() -> None:
    worker = Worker(config())
    worker.start()
    try:
        assert [kind for kind, _ in worker.listening] == [ClientTransport.UDP]
        answer, client = await ask(worker, binding())
        mapped = answer.first(XOR_MAPPED_ADDRESS)
        assert mapped is not None
        assert (mapped.host, mapped.port) == client.getsockname()
        client.close()
    finally:
        worker.stop()


async def test_stopping_frees_the_port_and_may_be_repeated() -> None:
    worker = Worker(config())
    worker.start()
    _, address = worker.listening[0]
    worker.stop()
    worker.stop()
    again = Worker(config(listeners=[{"address": address.host, "port": address.port}]))
    again.start()
    again.stop()
    with pytest.raises(RuntimeError):
        _ = worker.engine


async def test_a_failed_start_leaves_nothing_open() -> None:
    """The second listener's port is taken: the first one's is free again afterwards."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as first, socket.socket() as _:
        first.bind(("127.0.0.1", 0))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as second:
            second.bind(("127.0.0.1", 0))
            taken, free = first.getsockname()[1], second.getsockname()[1]
        listeners = [{"address": "127.0.0.1", "port": free}, {"address": "127.0.0.1", "port": taken}]
        with pytest.raises(StartupError) as caught:
            Worker(config(listeners=listeners)).start()
        assert str(taken) in str(caught.value)
        assert caught.value.hint
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as again:
            again.bind(("127.0.0.1", free))


async def test_run_serves_until_it_is_told_to_stop_and_reloads_on_the_way() -> None:
    """SIGHUP takes a good configuration over and keeps the old one when the new one is bad; SIGTERM ends it."""
    answers: list[Config | ConfigError] = [
        ConfigError("x.yml", [Problem("realm", 1, "nothing", "a text")]),
        config(peers={"deny": ["8.8.8.8/32"]}),
    ]
    ready: asyncio.Future[Worker] = asyncio.get_running_loop().create_future()

    def reload() -> Config:
        answer = answers.pop(0)
        if isinstance(answer, ConfigError):
            raise answer
        return answer

    serving = asyncio.create_task(run(config(), on_ready=ready.set_result, reload=reload))
    worker = await asyncio.wait_for(ready, 10)
    core = worker.engine._core
    before = core.state.policy
    os.kill(os.getpid(), signal.SIGHUP)
    await eventually(lambda: len(answers) == 1)
    assert core.state.policy == before
    os.kill(os.getpid(), signal.SIGHUP)
    await eventually(lambda: core.state.policy.refusal(socket.inet_aton("8.8.8.8")) == "deny 8.8.8.8/32")
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.wait_for(serving, 10)
    assert worker.listening == []


async def eventually(condition: Any) -> None:
    """Let the loop turn until something has happened."""
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0)


async def test_own_listeners_are_known_as_bound() -> None:
    """Rule 16: with port 0 the policy learns the real port, so nobody can relay to the server's own listener."""
    worker = Worker(config(peers={"allow": ["127.0.0.0/8"]}))
    worker.start()
    try:
        _, address = worker.listening[0]
        assert worker.engine._core.state.policy.refusal(address.ip, address.port) == "own listener"
    finally:
        worker.stop()


def test_the_file_limit_is_raised_as_far_as_allowed() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, before[1]))
        raise_file_limit(300)
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 300
        raise_file_limit(200)
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 300
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


async def binding_over(address: tuple[str, int], context: ssl.SSLContext | None = None) -> Message:
    """A Binding request over a new connection, and its answer."""
    name = None if context is None else "localhost"
    reader, writer = await asyncio.wait_for(asyncio.open_connection(*address, ssl=context, server_hostname=name), 10)
    request = binding()
    writer.write(request)
    head = await asyncio.wait_for(reader.readexactly(20), 10)
    answer = Message.decode(head + await reader.readexactly(head[2] << 8 | head[3]))
    assert answer.transaction_id == request[8:20]
    mapped = answer.first(XOR_MAPPED_ADDRESS)
    assert mapped is not None
    assert (mapped.host, mapped.port) == writer.get_extra_info("sockname")[:2]
    writer.close()
    return answer


async def get(port: int, path: str, context: ssl.SSLContext | None) -> tuple[int, str]:
    """An HTTP request: the status and the body of what is answered."""
    scheme = "http" if context is None else "https"
    url = f"{scheme}://localhost:{port}{path}"
    async with asyncio.timeout(10), aiohttp.ClientSession() as session, session.get(url, ssl=context or True) as answer:
        return answer.status, await answer.text()


async def test_every_way_in(tmp_path: Path) -> None:
    """UDP, TCP, TLS, and shared ports with and without TLS, in one worker; what is mounted is served on the latter."""
    pair = issue(tmp_path)
    ways = [{"transport": transport} for transport in ("udp", "tcp", "tls", "shared")]
    ways.append({"transport": "shared", "tls": False})
    listeners = [way | {"address": "127.0.0.1", "port": 0} for way in ways]
    worker = Worker(config(listeners=listeners, tls={"certificates": [pair.config]}))
    assert worker.http is not None
    cleaned: list[web.Application] = []

    async def clean(app: web.Application) -> None:
        cleaned.append(app)

    async def hello(request: web.Request) -> web.Response:
        return web.Response(text=f"hello {request.scheme}")

    worker.http.app.router.add_get("/hello", hello)
    worker.http.app.on_cleanup.append(clean)
    worker.start()
    try:
        kinds = [kind for kind, _ in worker.listening]
        assert [kind.name for kind in kinds] == ["UDP", "TCP", "TLS", "TLS", "TCP"]
        context = client_context(pair)
        for kind, address in worker.listening[1:]:
            where = address.host, address.port
            await binding_over(where, context if kind is ClientTransport.TLS else None)
        tls, plain = worker.listening[3][1].port, worker.listening[4][1].port
        assert await get(tls, "/hello", context) == (200, "hello https")
        assert (await get(plain, "/healthz", None))[0] == 200
    finally:
        await worker.close()
    assert cleaned == [worker.http.app]
    assert worker.listening == []
    await worker.close()


async def test_without_a_shared_port_there_is_no_http() -> None:
    worker = Worker(config())
    assert worker.http is None
    worker.start()
    await worker.close()


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


async def test_a_certificate_that_cannot_be_used(tmp_path: Path) -> None:
    """One sentence and a hint; what was open before it is closed again."""
    pair, other = issue(tmp_path), issue(tmp_path, "other")
    listeners = [{"address": "127.0.0.1", "port": 0}, {"transport": "shared", "address": "127.0.0.1", "port": 0}]
    mixed = {"certificate": str(pair.certificate), "key": str(other.key)}
    before = open_files()
    with pytest.raises(StartupError) as caught:
        Worker(config(listeners=listeners, tls={"certificates": [mixed]})).start()
    assert str(pair.certificate) in str(caught.value)
    assert caught.value.hint
    assert open_files() == before


async def test_a_tcp_port_that_is_taken() -> None:
    before = open_files()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        listeners = [{"transport": way, "address": "127.0.0.1", "port": port} for way in ("udp", "tcp")]
        with pytest.raises(StartupError) as caught:
            Worker(config(listeners=listeners)).start()
    assert f"TCP 127.0.0.1:{port}" in str(caught.value)
    assert caught.value.hint
    assert open_files() == before


async def test_stopping_frees_stream_ports(tmp_path: Path) -> None:
    """Connections that stand are closed, and the port can be had again at once."""
    pair = issue(tmp_path)
    listeners = [{"transport": "shared", "address": "127.0.0.1", "port": 0}]
    worker = Worker(config(listeners=listeners, tls={"certificates": [pair.config]}))
    worker.start()
    _, address = worker.listening[0]
    reader, writer = await asyncio.wait_for(
        asyncio.open_connection(address.host, address.port, ssl=client_context(pair), server_hostname="localhost"), 10
    )
    worker.stop()
    assert await asyncio.wait_for(reader.read(), 10) == b""
    writer.close()
    worker.stop()
    again = Worker(config(listeners=[{"transport": "tcp", "address": address.host, "port": address.port}]))
    again.start()
    await again.close()


async def test_the_file_limit_makes_room_for_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only where there are listeners for them."""
    wanted: list[int] = []
    monkeypatch.setattr("turnserver.worker.raise_file_limit", wanted.append)
    for transport in ("udp", "tcp"):
        limits = {"allocations": 1000, "connections": 500}
        worker = Worker(config(listeners=[{"transport": transport, "address": "127.0.0.1", "port": 0}], limits=limits))
        worker.start()
        await worker.close()
    assert wanted[1] - wanted[0] == 500


ROOMS: dict[str, Any] = {
    "listeners": [
        {"address": "127.0.0.1", "port": 0},
        {"transport": "shared", "tls": False, "address": "127.0.0.1", "port": 0},
    ],
    "auth": {"shared_secrets": ["the first secret of this test"]},
    "signaling": {"open": True, "admin_keys": {"ops": "an admin key of this test"}},
}


def url_of(worker: Worker) -> str:
    return f"http://127.0.0.1:{worker.listening[1][1].port}"


async def test_rooms_on_a_shared_port() -> None:
    """Signaling, its API, the page and TURN in one process: a participant's credential opens an allocation's door."""
    worker = Worker(config(**ROOMS))
    assert worker.signaling is not None
    worker.start()
    try:
        url = url_of(worker)
        async with Participant(f"{url}/v1/ws") as client, aiohttp.ClientSession() as http:
            joined = await client.join("x")
            udp, tcp = (f"127.0.0.1:{address.port}" for _, address in worker.listening)
            assert set(joined["ice"]["servers"][0]["urls"]) == {
                f"turn:{udp}?transport=udp",
                f"stun:{udp}",
                f"turn:{tcp}?transport=tcp",
            }
            async with http.get(f"{url}/healthz") as answer:
                assert await answer.json() == {"status": "ok", "rooms": 1, "participants": 1}
            async with http.get(f"{url}/v1/rooms") as answer:
                assert answer.status == 401
            key = {"Authorization": "Bearer an admin key of this test"}
            async with http.get(f"{url}/v1/rooms/x", headers=key) as answer:
                assert [peer["id"] for peer in (await answer.json())["peers"]] == [client.id]
            async with http.get(f"{url}/call/x") as answer:
                assert answer.status == 200
            async with http.get(f"{url}/v1/schema.json") as answer:
                assert answer.status == 200
    finally:
        await worker.close()


async def test_a_reload_brings_new_credentials_to_who_is_in_a_call() -> None:
    """A replaced secret would leave everybody with credentials that open nothing: fresh ones are pushed at once."""
    worker = Worker(config(**ROOMS))
    worker.start()
    try:
        async with Participant(f"{url_of(worker)}/v1/ws") as client:
            before = (await client.join("x"))["ice"]["servers"][0]["credential"]
            worker.apply(config(**{**ROOMS, "auth": {"shared_secrets": ["the second secret of this test"]}}))
            pushed = await client.until("ice")
            assert pushed["why"] == "rotate"
            assert pushed["ice"]["servers"][0]["credential"] != before
            worker.apply(config(**{**ROOMS, "auth": {"shared_secrets": ["the second secret of this test"]}}))
            assert (await client.request(t="ping"))["t"] == "pong"
            assert not [frame for frame in client.kept if frame["t"] == "ice"]
    finally:
        await worker.close()


async def test_a_reload_with_keys_that_cannot_be_used(tmp_path: Path) -> None:
    """Nothing changes, the rest of that configuration neither."""
    path = tmp_path / "key.pem"
    path.write_text("nothing")
    bad = config(
        **{**ROOMS, "signaling": {"open": True, "public_keys": [str(path)]}, "peers": {"deny": ["8.8.8.8/32"]}}
    )
    worker = Worker(config(**ROOMS))
    worker.start()
    try:
        before = worker.engine._core.state.policy
        _reload(worker, lambda: bad)
        assert worker.engine._core.state.policy == before
        assert worker.config.peers.deny == ()
    finally:
        await worker.close()


async def test_closing_tells_who_is_there_and_those_who_would_come() -> None:
    """A goodbye with a time to come back at, 503 for load balancers meanwhile, and then the end."""
    worker = Worker(config(**ROOMS))
    worker.start()
    url = url_of(worker)
    async with Participant(f"{url}/v1/ws") as client, aiohttp.ClientSession() as http:
        await client.join("x")
        async with http.get(f"{url}/readyz") as answer:
            assert answer.status == 200
        closing = asyncio.create_task(worker.close())
        goodbye = await client.until("goodbye")
        assert (goodbye["code"], goodbye["reconnect"]) == ("draining", "resume")
        assert (await client.closed()).code == 4503
        await closing
        with pytest.raises(aiohttp.ClientError):
            await http.get(f"{url}/readyz")


async def test_a_server_that_comes_back_takes_everybody_in_again() -> None:
    """Sessions are gone with the process: a client is told so, and starts afresh with the same token or none."""
    first = Worker(config(**ROOMS))
    first.start()
    port = first.listening[1][1].port
    async with Participant(f"{url_of(first)}/v1/ws") as client:
        await client.join("x")
        session = client.session
        await first.close()
    listeners = [ROOMS["listeners"][0], {**ROOMS["listeners"][1], "port": port}]
    second = Worker(config(**{**ROOMS, "listeners": listeners}))
    second.start()
    try:
        async with Participant(f"{url_of(second)}/v1/ws") as client:
            await client.until("welcome")
            resume = {"sid": session["sid"], "key": session["key"], "seq": 0}
            assert (await client.request(t="hello", v=1, resume=resume))["code"] == "session_gone"
            assert (await client.request(t="hello", v=1))["t"] == "hello_ok"
            assert (await client.request(t="join", room="x", name="n"))["t"] == "joined"
    finally:
        await second.close()


async def test_no_rooms_unless_wanted() -> None:
    """Without them a shared port is what it was: health, and a page that says what this is."""
    worker = Worker(config(**{**ROOMS, "signaling": {"enabled": False}}))
    assert worker.signaling is None
    worker.start()
    try:
        port = worker.listening[1][1].port
        assert (await get(port, "/call/x", None))[0] == 404
        assert (await get(port, "/healthz", None)) == (200, '{"status": "ok"}')
        assert "nothing here for people" in (await get(port, "/", None))[1]
    finally:
        await worker.close()
