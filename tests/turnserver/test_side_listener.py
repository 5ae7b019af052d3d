"""Listeners beside those for clients: what they answer to whom, for servers without a shared listener."""

import asyncio
import socket

import aiohttp
import pytest

from tests.support.stream_world import BINDING, captured_log
from turnserver.errors import StartupError
from turnserver.server import Server
from turnserver.side_listener import SideListener


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        found: int = sock.getsockname()[1]
    return found


def config(port: int, address: str = "127.0.0.1") -> dict[str, object]:
    """A server with UDP only, as many relays are."""
    return {"listeners": [{"address": "127.0.0.1", "port": 0}], "health": {"address": address, "port": port}}


async def ask(port: int, path: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as http, http.get(f"http://127.0.0.1:{port}{path}") as answer:
        return answer.status, await answer.text()


async def test_health_checks_without_a_shared_listener(port: int) -> None:
    """Readiness ends with the beginning of a drain, and health goes on; nothing else is served."""
    async with Server(config(port)) as server:
        assert server.health is not None
        assert server.health.port == port
        assert await ask(port, "/healthz") == (200, '{"status": "ok"}')
        assert await ask(port, "/readyz") == (200, '{"status": "ready"}')
        for path in ("/", "/v1/rooms", "/v1/ws", "/call/x"):
            assert (await ask(port, path))[0] == 404
        assert port not in [address.port for _, address in server.snapshot().listening], "it is no place for clients"
        server.begin_drain()
        assert await ask(port, "/readyz") == (503, '{"status": "draining"}')
        assert (await ask(port, "/healthz"))[0] == 200
    with pytest.raises(aiohttp.ClientConnectionError):
        await ask(port, "/healthz")


async def test_it_serves_no_stun(port: int) -> None:
    """There is nothing to relay by: who tries is disconnected at once, and is no fault."""
    async with Server(config(port)) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(BINDING)
        async with asyncio.timeout(60):
            assert await reader.read() == b""
        writer.close()
        assert server.snapshot().faults == {}


async def test_who_belongs_to_another_listener_is_a_line(port: int) -> None:
    """TURN on a port for HTTP only, and HTTPS on one without TLS: with the URL that works."""
    options = {**config(port), "listeners": [{"transport": "tcp", "address": "127.0.0.1", "port": 0}]}
    with captured_log("meshturn.streams") as records:
        async with Server(options) as server:
            turn = server.snapshot().listeners[0].address
            for first in (BINDING, b"\x16\x03\x01\x02\x00\x01\x00"):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(first)
                async with asyncio.timeout(60):
                    assert await reader.read() == b""
                writer.close()
    lines = [(record.levelname, record.getMessage(), record.__dict__["fields"]) for record in records]
    assert [(level, message, fields["cause"], fields["works"]) for level, message, fields in lines] == [
        ("INFO", "TURN on a listener for HTTP only", "turn-unexpected", f"turn:{turn}?transport=tcp"),
        ("INFO", "TLS on a listener without TLS", "tls-unexpected", f"http://127.0.0.1:{port}/"),
    ]
    assert all("option" not in fields for *_, fields in lines)


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])
async def test_no_client_reaches_it_through_a_relay(port: int, address: str) -> None:
    """Rule 16: it is as a listener, whatever `peers.allow` says."""
    async with Server({**config(port, address), "peers": {"allow": ["127.0.0.0/8"]}}) as server:
        core = None if server._parts is None else server._parts.core
        assert core is not None
        assert core.state.policy.refusal(socket.inet_aton("127.0.0.1"), port) == "own listener"


async def test_a_port_that_is_taken_ends_the_start_with_nothing_left(port: int) -> None:
    server = Server(config(port))
    with socket.create_server(("127.0.0.1", port)):
        with pytest.raises(StartupError, match=f"127.0.0.1:{port}"):
            await server.start()
        assert server.health is None
    async with server:
        assert (await ask(port, "/healthz"))[0] == 200


def test_without_the_option_there_is_none() -> None:
    assert Server().config.health.port == 0
    assert SideListener.__doc__
