"""Taking part in a call: what comes of it with the real server and somebody at the other end."""

import asyncio
import json
import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest

from cli.caller import CallOptions, CallResult, PeerResult, take_part
from tests.support.mesh import flows, member, page_url
from tests.support.server import SHARED_SECRET, TurnServerProcess
from tests.support.server import free_port as find_port
from tests.support.signal_wire import signaling_listeners
from turnserver.client.errors import SignalError
from turnserver.client.ice import Chosen
from turnserver.client.media import Listen, Received
from turnserver.client.mesh import Diagnosis, ServerPath
from turnserver.client.pair import PairReport, PairState
from turnserver.signaling.edge.tokens import TokenKeys, derived_key

KEYS = TokenKeys([derived_key(SHARED_SECRET.encode())])


@pytest.fixture(scope="module")
def server(processes: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TurnServerProcess]:
    config: dict[str, Any] = {
        "listeners": signaling_listeners(find_port()),
        "relay": {"addresses": ["127.0.0.1"]},
        "auth": {"shared_secrets": [SHARED_SECRET]},
        "peers": {"allow": ["127.0.0.0/8"]},
        "signaling": {"open": True, "policy": "relay"},
    }
    with TurnServerProcess(config, tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture
def url(server: TurnServerProcess) -> str:
    return page_url(server)


@pytest.mark.parametrize("media", ["tone", "echo"])
async def test_somebody_is_there(url: str, media: Any) -> None:
    """Media come in both ways, the path is known at both ends, and everything that happens is told."""
    told: list[str] = []
    async with member(url, "tea", name="Bob") as bob:
        calling = asyncio.create_task(take_part(CallOptions(url, "tea", media=media, duration=None), told.append))
        await bob.until(lambda: len(bob.pairs) == 1)
        await bob.until(flows(bob))
        assert bob.pairs[0].received.tone > 0.5
        await bob.until(lambda: any("media is received" in line for line in told))
        await bob.until(lambda: any(path.path == "relay" for path in bob.mesh.server_paths.values()))
        os.kill(os.getpid(), signal.SIGINT)
        result = await calling
        assert result.ok
        assert result.problem is None
        [peer] = result.peers
        assert (peer.report.name, peer.hears_tone, peer.left) == ("Bob", True, False)
        found = json.loads(json.dumps(result.as_json()))
        assert found["ok"] is True
        assert found["room"] == "tea"
        [shown] = found["peers"]
        assert shown["path"] == "relay"
        assert shown["candidates"] == {"local": "relay", "remote": "relay"}
        assert shown["relay"]["transport"] == "udp"
        assert shown["picture"] == "320x180"
        assert shown["verdict"] is None
    assert told[0] == "in the room, with 1 other"


async def test_nobody_is_there(url: str) -> None:
    """An empty room is a failure, unless it is allowed."""
    result = await take_part(CallOptions(url, "empty", duration=1.0), lambda line: None)
    assert (result.ok, result.joined, result.peers, result.problem) == (False, True, [], None)
    result = await take_part(CallOptions(url, "empty", duration=1.0, allow_empty=True), lambda line: None)
    assert result.ok


async def test_nothing_comes_in(url: str) -> None:
    """Somebody who sends nothing: a failure, and the server is asked why."""
    told: list[str] = []
    async with member(url, "silent", plan=Listen) as bob:
        calling = asyncio.create_task(take_part(CallOptions(url, "silent", duration=None), told.append))
        await bob.until(lambda: any("no media received yet" in line for line in told))
        os.kill(os.getpid(), signal.SIGTERM)
        result = await calling
    assert not result.ok
    [peer] = result.peers
    assert not peer.flowed
    assert peer.verdict is not None
    assert peer.verdict.text


async def test_one_who_leaves(url: str) -> None:
    """What came from somebody counts, also when they are gone."""
    told: list[str] = []
    async with member(url, "short", name="Bob") as bob:
        calling = asyncio.create_task(take_part(CallOptions(url, "short", duration=None), told.append))
        await bob.until(lambda: any("media is received" in line for line in told))
    async with asyncio.timeout(90):
        while not any("has left" in line for line in told):
            await asyncio.sleep(0.05)
    os.kill(os.getpid(), signal.SIGINT)
    result = await calling
    assert result.ok
    assert result.peers[0].flowed
    assert result.peers[0].as_json()["path"] == "relay"


async def test_sent_out(url: str) -> None:
    """A kick ends the call with its reason, and is a failure, whatever came in before."""
    token = KEYS.mint("kicked", "host", 600, time.time(), token_id="host-of-the-test")
    async with member(url, "kicked", token=token) as host:
        calling = asyncio.create_task(take_part(CallOptions(url, "kicked", duration=None), lambda line: None))
        await host.until(lambda: len(host.pairs) == 1)
        await host.mesh.moderate("kick", host.pairs[0].id)
        result = await calling
    assert not result.ok
    assert result.problem is not None
    assert result.problem.code == "kicked"


async def test_no_host_lets_us_in(url: str) -> None:
    """Said as what it is, and not as a server that does not answer."""
    token = KEYS.mint("shut", "host", 600, time.time(), token_id="host-of-the-door")
    told: list[str] = []
    async with member(url, "shut", token=token) as host:
        await host.mesh.moderate("lock", value="knock")
        result = await take_part(CallOptions(url, "shut", duration=0.5), told.append)
    assert told == ["waiting for a host to admit this client"]
    assert result.problem is not None
    assert result.problem.code == "waiting"


async def test_no_server(unused_tcp_port: int) -> None:
    """The reason is in the result, not in a traceback."""
    result = await take_part(CallOptions(f"http://127.0.0.1:{unused_tcp_port}", "tea"), lambda line: None)
    assert (result.ok, result.joined) == (False, False)
    assert result.as_json()["problem"]["code"] == "unreachable"


async def test_a_bad_token(url: str) -> None:
    """Refused by the server; the token is not shown."""
    options = CallOptions(url, "tea", token="not.a.token")
    result = await take_part(options, lambda line: None)
    assert result.problem is not None
    assert result.problem.code == "bad_token"
    assert "not.a.token" not in repr(options) + json.dumps(result.as_json())


def test_results() -> None:
    """A participant of whom little is known, and one of whom all is."""
    little = PeerResult(PairReport("x", "", PairState.CONNECTING, None, "", None, 0, 0, Received(), 0, False))
    shown = little.as_json()
    assert (shown["path"], shown["relay"], shown["picture"], shown["server"]) == ("unknown", None, None, None)
    chosen = Chosen("host", "relay", "192.0.2.1 5", "198.51.100.1 6")
    got = Received(audio=5, video=6, width=7, height=8, tone=0.9, loudness=0.2)
    report = PairReport("y", "Bob", PairState.CONNECTED, chosen, "", None, 1, 2, got, 1, False)
    much = PeerResult(
        report, best=report, server=ServerPath("relay", "tcp", "peer", 3, 4), verdict=Diagnosis("c", "T.")
    )
    shown = much.as_json()
    assert shown["path"] == "relay"
    assert shown["server"]["bytes"] == {"sent": 3, "received": 4}
    assert shown["verdict"] == {"code": "c", "text": "T."}
    result = CallResult("u", "r", peers=[little, much], joined=True)
    assert result.ok
    result.problem = SignalError("kicked")
    assert not result.ok
