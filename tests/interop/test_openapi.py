"""The OpenAPI document of a real server: its real answers are what it says, and schemathesis finds no error in it."""

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from jsonschema import Draft202012Validator

from tests.support.server import SHARED_SECRET, TurnServerProcess, free_port
from tests.support.signal_wire import Participant, signaling_listeners

ADMIN_KEY = "admin-key-of-this-test-0123456789"
EXAMPLES = 10
"""Requests of a kind for each operation: a bound, not a measure."""

PATIENCE = 240


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TurnServerProcess]:
    """A server with secrets for everything, so that it need not say 503."""
    config = {
        "listeners": signaling_listeners(free_port()),
        "relay": {"addresses": ["127.0.0.1"]},
        "auth": {"shared_secrets": [SHARED_SECRET]},
        "signaling": {"open": True, "admin_keys": {"ops": ADMIN_KEY}},
    }
    with TurnServerProcess(config, tmp_path_factory.mktemp("server")) as running:
        yield running


class Described:
    """Asks a server, and holds its answers to the document."""

    def __init__(self, http: aiohttp.ClientSession, url: str, document: dict[str, Any]) -> None:
        self.http = http
        self.url = url
        self.document = document
        self.seen: set[tuple[str, str, int]] = set()

    async def ask(self, method: str, pattern: str, key: str | None = ADMIN_KEY, query: str = "", **more: Any) -> Any:
        """The body of an answer, which is as described."""
        names = more.pop("names", {})
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        async with self.http.request(
            method, self.url + pattern.format(**names) + query, headers=headers, **more
        ) as got:
            text, status, media = await got.read(), got.status, got.content_type
        described = self.document["paths"][pattern][method.lower()]["responses"][str(status)]
        self.seen.add((method, pattern, status))
        if "content" not in described:
            assert text == b""
            return None
        (found, content) = next(iter(described["content"].items()))
        assert media == found
        body = json.loads(text)
        if "schema" in content:
            schema = {"$ref": content["schema"]["$ref"], "components": self.document["components"]}
            Draft202012Validator(schema).validate(body)
        return body


@pytest.fixture
async def described(process: TurnServerProcess) -> AsyncIterator[Described]:
    url = f"http://127.0.0.1:{process.port}"
    async with aiohttp.ClientSession() as http:
        async with http.get(f"{url}/v1/openapi.json") as answer:
            assert answer.status == 200
            assert answer.content_type == "application/json"
            document = await answer.json()
        yield Described(http, url, document)


async def test_real_answers_are_as_described(described: Described, process: TurnServerProcess) -> None:
    """Every operation but the drain, of which the last test is, with each answer that it has here."""
    ask = described.ask
    ws = f"ws://127.0.0.1:{process.port}/v1/ws"
    async with Participant(ws) as ann, Participant(ws) as ben:
        await ann.join("demo", "Ann")
        await ben.join("demo", "Ben")
        await ann.send(t="stat", to=ben.id, path="direct", proto="udp", rtt=12, rx=90.5, tx=100, loss=0, fps=15, w=640)
        async with asyncio.timeout(PATIENCE):
            while not (room := await ask("GET", "/v1/rooms/{room}", names={"room": "demo"}))["pairs"][0]["reports"][
                "a"
            ]:
                await asyncio.sleep(0.05)
        assert [peer["name"] for peer in room["peers"]] == ["Ann", "Ben"]
        assert (await ask("GET", "/v1/rooms"))["rooms"][0]["count"] == 2
        status = await ask("GET", "/v1/status")
        assert (status["limits"]["rooms"]["used"], status["participants"]["connected"]) == (1, 2)
        assert status["key"] == {"name": "ops", "scopes": ["admin"]}
        history = await ask("GET", "/v1/history")
        assert len({len(column) for name, column in history.items() if name != "interval"}) == 1
        assert (await ask("GET", "/v1/config"))["config"]["signaling"]["admin_keys"] == {"ops": "(secret)"}
        for path in ("/v1/rooms/{room}/recording",):
            await ask("POST", path, names={"room": "demo"})
            await ask("DELETE", path, names={"room": "demo"})
        peer = "/v1/rooms/{room}/peers/{peer}"
        await ask("DELETE", peer, names={"room": "demo", "peer": ben.id}, query="?reason=" + "x" * 201)
        await ask("DELETE", peer, names={"room": "demo", "peer": ben.id}, query="?reason=enough")
        await ask("DELETE", peer, names={"room": "demo", "peer": ben.id})
        await ask("DELETE", "/v1/rooms/{room}", names={"room": "demo"})
    for method in ("GET", "DELETE"):
        await ask(method, "/v1/rooms/{room}", names={"room": "nowhere"})
    await ask("POST", "/v1/rooms/{room}/recording", names={"room": "nowhere"})
    made = await ask("POST", "/v1/tokens", json={"room": "demo"})
    await ask("POST", "/v1/tokens", json={"room": "*"})
    await ask("POST", "/v1/tokens", json={"rooms": 1})
    await ask("POST", "/v1/tokens", data=b" " * 20_000)
    refused = await ask("POST", "/v1/probe", json={"ports": [{"protocol": "udp", "port": 3478}]})
    assert refused["error"]["code"] == "no_probe", "nobody has himself probed"
    await ask("POST", "/v1/probe", json={"ports": []})
    await ask("GET", "/v1/turn", made["token"])
    await ask("GET", "/v1/turn", query="?ttl=60&username=ann")
    await ask("GET", "/v1/turn", query="?ttl=0")
    for method, pattern in (("GET", "/v1/turn"), ("POST", "/v1/tokens"), ("GET", "/v1/rooms"), ("POST", "/v1/drain")):
        await ask(method, pattern, None)
        await ask(method, pattern, "wrong")
    for pattern in ("/v1/schema.json", "/v1/openapi.json", "/healthz", "/readyz", "/v1/ws"):
        await ask("GET", pattern, None)
    asked = {(method, pattern) for method, pattern, _ in described.seen}
    there = {(method.upper(), path) for path, methods in described.document["paths"].items() for method in methods}
    assert there - asked == set()
    fine = {(method, pattern) for method, pattern, status in described.seen if status < 300}
    # A probe goes to where it came from, and not to loopback: `tests/net/test_doctor.py` has one that is answered.
    refused_here = {"/v1/drain", "/v1/probe", "/v1/ws", "/v1/rooms/{room}/recording"}
    assert {pattern for _, pattern in there - fine} == refused_here


def test_schemathesis_finds_no_server_error(process: TurnServerProcess, tmp_path: Path) -> None:
    """Requests that nobody has thought of, bounded in number and the same in each run; a drain would end the server."""
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "run", f"http://127.0.0.1:{process.port}/v1/openapi.json"),
        *("--header", f"Authorization: Bearer {ADMIN_KEY}"),
        *("--exclude-path", "/v1/drain"),
        *(
            "--checks",
            "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance",
        ),
        *("--phases", "examples,coverage,fuzzing", "--max-examples", str(EXAMPLES), "--seed", "1", "--workers", "1"),
        *("--generation-database", "none", "--no-color"),
    ]
    result = subprocess.run(
        command,
        cwd=tmp_path,
        env=os.environ | {"HOME": str(tmp_path)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert result.returncode == 0, result.stdout[-8000:] + result.stderr[-2000:]
    found = re.search(r"(\d+) generated, (\d+) passed\n", result.stdout)
    assert found is not None, result.stdout[-3000:]
    assert found[1] == found[2]
    assert int(found[1]) > 100, "it asks for what is there"


async def test_what_a_drain_answers(described: Described) -> None:
    """The last test of the module: the server may end at any time then."""
    left = await described.ask("POST", "/v1/drain")
    assert (left["draining"], left["allocations"], left["rooms"]) == (True, 0, 0)
