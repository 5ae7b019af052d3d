"""Who gets the metrics, and where: a listener of its own, and the shared ones with an admin key."""

import asyncio
import socket
import threading
from itertools import pairwise
from typing import Any

import aiohttp
import pytest

from turnserver.errors import StartupError
from turnserver.server import Server
from turnserver.telemetry.endpoint import PAUSE

ADMIN, OTHER = "an admin key that is long enough 1", "an API key that is long enough 2"


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        found: int = sock.getsockname()[1]
    return found


def config(port: int, **metrics: Any) -> dict[str, object]:
    return {
        "listeners": [{"address": "127.0.0.1", "port": 0}],
        "metrics": {"port": port, **metrics},
        "auth": {"users": {"alice": "secret"}},
    }


async def ask(url: str, **headers: str) -> tuple[int, str, str]:
    async with aiohttp.ClientSession() as http, http.get(url, headers=headers) as answer:
        return answer.status, answer.headers.get("Content-Type", ""), await answer.text()


async def test_a_listener_of_its_own(port: int) -> None:
    async with Server(config(port)) as server:
        assert server.metrics is not None
        assert server.metrics.port == port
        status, kind, text = await ask(f"http://127.0.0.1:{port}/metrics")
        assert (status, kind.partition(";")[0]) == (200, "text/plain")
        assert "\nmeshturn_draining 0.0\n" in text
        status, kind, text = await ask(f"http://127.0.0.1:{port}/metrics", Accept="application/openmetrics-text")
        assert (status, kind.partition(";")[0]) == (200, "application/openmetrics-text")
        assert text.endswith("# EOF\n")
        assert (await ask(f"http://127.0.0.1:{port}/readyz"))[0] == 200
        for path in ("/", "/v1/rooms", "/metrics/x"):
            assert (await ask(f"http://127.0.0.1:{port}{path}"))[0] == 404
        server.begin_drain()
        assert "\nmeshturn_draining 1.0\n" in (await ask(f"http://127.0.0.1:{port}/metrics"))[2]
    with pytest.raises(aiohttp.ClientConnectionError):
        await ask(f"http://127.0.0.1:{port}/metrics")


async def test_without_the_option_there_is_none() -> None:
    async with Server({"listeners": [{"address": "127.0.0.1", "port": 0}]}) as server:
        assert server.metrics is None


async def test_a_port_that_is_taken_ends_the_start_with_nothing_left(port: int) -> None:
    server = Server(config(port))
    with socket.create_server(("127.0.0.1", port)):
        with pytest.raises(StartupError, match=f"127.0.0.1:{port}"):
            await server.start()
        assert server.metrics is None
    async with server:
        assert (await ask(f"http://127.0.0.1:{port}/metrics"))[0] == 200


async def test_only_networks_that_are_allowed(port: int) -> None:
    async with Server(config(port, allow=["10.0.0.0/8", "fd00::/8"])):
        status, _, text = await ask(f"http://127.0.0.1:{port}/metrics")
        assert (status, text) == (403, "this address is not in metrics.allow\n")
    async with Server(config(port, allow=["10.0.0.0/8", "127.0.0.0/30"])):
        assert (await ask(f"http://127.0.0.1:{port}/metrics"))[0] == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1", 200),
        ("127.0.0.1:9641", 200),
        ("localhost:9641", 200),
        ("LOCALHOST", 200),
        ("[::1]:9641", 200),
        ("attacker.example", 403),
        ("127.0.0.1.attacker.example:9641", 403),
        ("[attacker", 403),
    ],
)
async def test_a_page_that_has_a_name_for_this_host_reads_nothing(port: int, host: str, status: int) -> None:
    """DNS rebinding: the browser asks this host, and tells the name of the page."""
    async with Server(config(port)):
        assert (await ask(f"http://127.0.0.1:{port}/metrics", Host=host))[0] == status


async def test_another_address_has_any_name(port: int) -> None:
    async with Server(config(port, address="0.0.0.0")):
        assert (await ask(f"http://127.0.0.1:{port}/metrics", Host="turn.example.org:9641"))[0] == 200


async def test_on_a_shared_listener_with_an_admin_key_only() -> None:
    """Not with another key, with none, or with one in the URL."""
    options = {
        "listeners": [{"transport": "shared", "tls": False, "address": "127.0.0.1", "port": 0}],
        "auth": {"users": {"alice": "secret"}},
        "signaling": {"admin_keys": {"me": ADMIN}, "api_keys": {"app": OTHER}},
    }
    async with Server(options) as server:
        url = f"http://{server.snapshot().listeners[0].address}/metrics"
        status, _, text = await ask(url, Authorization=f"Bearer {ADMIN}")
        assert status == 200
        assert "\nmeshturn_draining 0.0\n" in text
        for headers, expected in (
            ({}, 401),
            ({"Authorization": f"Bearer {OTHER}"}, 403),
            ({"Authorization": "Bearer wrong"}, 401),
            ({"Authorization": f"Basic {ADMIN}"}, 401),
        ):
            status, kind, text = await ask(url, **headers)
            assert (status, kind.partition(";")[0]) == (expected, "application/json"), headers
            assert "meshturn_" not in text
        assert (await ask(f"{url}?key={ADMIN}"))[0] == 401


async def test_scrapes_wait_for_one_another(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """One snapshot at a time, and a pause after each: many who ask take no more of the loop's time."""
    begun: list[float] = []
    server = Server(config(port))
    take = server.snapshot
    threads: set[int] = set()

    def counted(*, details: bool = True) -> Any:
        begun.append(asyncio.get_running_loop().time())
        threads.add(threading.get_ident())
        assert not details
        return take(details=details)

    monkeypatch.setattr(server, "snapshot", counted)
    async with server:
        found = await asyncio.gather(*(ask(f"http://127.0.0.1:{port}/metrics") for _ in range(4)))
    assert [status for status, _, _ in found] == [200] * 4
    assert threads == {threading.get_ident()}, "a snapshot is taken where nothing changes meanwhile: in the loop"
    assert all(later - earlier >= PAUSE for earlier, later in pairwise(begun))


async def test_a_client_that_goes_away_keeps_nobody_waiting(port: int) -> None:
    async with Server(config(port)) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        writer.transport.abort()
        del reader
        assert (await ask(f"http://127.0.0.1:{port}/metrics"))[0] == 200
        assert server.snapshot().faults == {}
