"""``POST /v1/probe``: whom it sends to, and how often. `tests/net/test_doctor.py` has two servers that do it."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from aiohttp.typedefs import Handler

from tests.turnserver.signaling.edge.test_api import ADMIN_KEY, API_KEY, NOW, OPTIONS, Rooms
from turnserver.reached import REACHED, Reached
from turnserver.signaling.edge.answers import ProbedPort
from turnserver.signaling.edge.api import Api
from turnserver.signaling.edge.probes import MAX_PORTS, NotProbed, ProbePort

UDP = {"protocol": "udp", "port": 3478}


class World:
    """The API, asked by a client whose address a test sets; what is to be sent is kept."""

    def __init__(self) -> None:
        self.client_address = "192.0.2.9"
        self.sent: list[tuple[str, list[tuple[str, int]], str]] = []
        self.trouble = ""
        self.held: asyncio.Event | None = None
        self.now = NOW

    async def probe(self, host: str, ports: Sequence[ProbePort], name: str) -> list[ProbedPort]:
        self.sent.append((host, [(each.protocol, each.port) for each in ports], name))
        if self.held is not None:
            await self.held.wait()
        if self.trouble:
            raise NotProbed(self.trouble)
        return [ProbedPort(protocol=each.protocol, port=each.port, outcome="answered", seconds=0.5) for each in ports]

    @web.middleware
    async def reached(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        request[REACHED] = Reached(self.client_address, "https", "turn.example.org")
        return await handler(request)

    async def ask(self, body: Any, key: str = ADMIN_KEY) -> tuple[int, dict[str, Any]]:
        headers = {"Authorization": f"Bearer {key}"}
        async with self.client.post("/v1/probe", json=body, headers=headers) as answer:
            return answer.status, await answer.json()


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    app = web.Application(middlewares=[made.reached])
    Api(Rooms(), OPTIONS, lambda: made.now, probe=made.probe).mount(app)
    async with TestClient(TestServer(app)) as client:
        made.client: TestClient[Any, Any] = client
        yield made


async def test_back_to_where_it_came_from(world: World) -> None:
    """The address is the client's as the server sees it; each port once."""
    status, said = await world.ask({"ports": [UDP, UDP, {"protocol": "tls", "port": 443}], "name": "Turn.example.org"})
    assert status == 200
    assert world.sent == [("192.0.2.9", [("udp", 3478), ("tls", 443)], "turn.example.org")]
    assert (said["client"], said["time"]) == ("192.0.2.9", NOW.wall)
    assert [(each["port"], each["outcome"]) for each in said["ports"]] == [(3478, "answered"), (443, "answered")]


@pytest.mark.parametrize(
    "body",
    [
        {"ports": [UDP], "host": "198.51.100.1"},
        {"ports": [UDP], "address": "198.51.100.1"},
        {"ports": [{**UDP, "host": "198.51.100.1"}]},
        {"ports": [UDP], "name": "a b"},
        {"ports": []},
        {"ports": [{"protocol": "udp", "port": 0}]},
        {"ports": [{"protocol": "udp", "port": 65536}]},
        {"ports": [{"protocol": "icmp", "port": 1}]},
        {"ports": [{"protocol": "udp", "port": port} for port in range(1, MAX_PORTS + 2)]},
        [],
    ],
)
async def test_no_other_target_and_no_more_ports(world: World, body: Any) -> None:
    """Kind: a server that scans or floods others for whoever has a key (SSRF)."""
    status, said = await world.ask(body)
    assert (status, said["error"]["code"], world.sent) == (400, "bad_request", [])


@pytest.mark.parametrize(
    "client",
    ["127.0.0.1", "::1", "::ffff:127.0.0.1", "169.254.169.254", "fe80::1", "224.0.0.1", "ff02::1", "0.0.0.0", "::", ""],
)
async def test_addresses_that_are_not_probed(world: World, client: str) -> None:
    """The server itself, a proxy on its host that is not known as one, the metadata of a cloud, groups."""
    world.client_address = client
    status, said = await world.ask({"ports": [UDP]})
    assert (status, said["error"]["code"], world.sent) == (409, "no_probe", [])


async def test_addresses_mapped_into_ipv6(world: World) -> None:
    """They are the IPv4 addresses."""
    world.client_address = "::ffff:192.0.2.9"
    assert (await world.ask({"ports": [UDP]}))[1]["client"] == "192.0.2.9"
    assert world.sent[0][0] == "192.0.2.9"


async def test_a_key_without_the_scope(world: World) -> None:
    """Keys for TURN credentials and tokens send nothing."""
    status, said = await world.ask({"ports": [UDP]}, API_KEY)
    assert (status, said["error"]["code"], world.sent) == (403, "forbidden", [])


async def test_what_the_prober_refuses(world: World) -> None:
    """Its reason is passed on."""
    world.trouble = "that is this host"
    status, said = await world.ask({"ports": [UDP]})
    assert (status, said["error"]) == (409, {"code": "no_probe", "msg": "that is this host"})


async def test_too_often(world: World) -> None:
    """Whoever asks, there is a limit, and it recovers with time."""
    statuses = [(await world.ask({"ports": [UDP]}))[0] for _ in range(12)]
    assert statuses[:8] == [200] * 8
    assert set(statuses[8:]) == {429}
    assert len(world.sent) == 8
    world.now = world.now._replace(mono=world.now.mono + 2.5)
    assert (await world.ask({"ports": [UDP]}))[0] == 200


async def test_too_many_at_once(world: World) -> None:
    """Those under way are counted, and are let go when they have ended."""
    world.held = asyncio.Event()
    running = [asyncio.ensure_future(world.ask({"ports": [UDP]})) for _ in range(4)]
    while len(world.sent) < 4:
        await asyncio.sleep(0)
    status, said = await world.ask({"ports": [UDP]})
    assert (status, said["error"]["code"]) == (429, "too_many_probes")
    world.held.set()
    assert [status for status, _ in await asyncio.gather(*running)] == [200] * 4
    assert (await world.ask({"ports": [UDP]}))[0] == 200


async def test_a_server_that_probes_nobody() -> None:
    """A program that embeds the API gives it nothing to send with."""
    made = World()
    app = web.Application(middlewares=[made.reached])
    Api(Rooms(), OPTIONS, lambda: NOW).mount(app)
    async with TestClient(TestServer(app)) as client:
        made.client = client
        status, said = await made.ask({"ports": [UDP]})
    assert (status, said["error"]["code"]) == (409, "no_probe")
