"""The admin API of a real server: out of reach without its key, whatever name, origin or trick a request comes with."""

import http.client
import itertools
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.server import SHARED_SECRET, TurnServerProcess, free_port
from tests.support.signal_wire import Participant, signaling_listeners
from turnserver.signaling.edge.key_file import KeyFile, new_key
from turnserver.signaling.edge.scopes import Scope

ADMIN_KEY = "admin-key-of-this-test-0123456789"
API_KEY = "api-key-of-this-test-0123456789"
ROOM = "board"


@pytest.fixture(scope="module")
def stored() -> tuple[Any, str]:
    """A key of the keys file."""
    return new_key("backup", frozenset({Scope.ADMIN_READ}), lambda size: b"\x17" * size, 1_700_000_000)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, stored: tuple[Any, str]) -> Iterator[TurnServerProcess]:
    """It logs all that it ever logs."""
    directory = tmp_path_factory.mktemp("server")
    KeyFile(directory / "keys.json").change(lambda present: [stored[0]])
    config = {
        "listeners": signaling_listeners(free_port()),
        "relay": {"addresses": ["127.0.0.1"]},
        "auth": {"shared_secrets": [SHARED_SECRET]},
        "log": {"level": "debug"},
        "signaling": {
            "open": True,
            "keys_file": "keys.json",
            "api_keys": {"website": API_KEY},
            "admin_keys": {"ops": ADMIN_KEY},
        },
    }
    with TurnServerProcess(config, directory) as running:
        yield running


def ask(server: TurnServerProcess, method: str, path: str, headers: dict[str, str], body: str | None = None) -> Any:
    """The status, the headers and the body of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=90)
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def operations(server: TurnServerProcess) -> list[tuple[str, str]]:
    """Every request that needs a key, by the server's own description of itself, aimed at what is there."""
    document = json.loads(ask(server, "GET", "/v1/openapi.json", {})[2])
    found = [
        (method.upper(), path.replace("{room}", ROOM).replace("{peer}", "abcdefghij"))
        for path, methods in document["paths"].items()
        for method, about in methods.items()
        if about["security"]
    ]
    assert ("POST", "/v1/drain") in found
    assert ("DELETE", f"/v1/rooms/{ROOM}") in found
    return found


HOSTS = ("evil.example", "localhost", "127.0.0.1.evil.example", "[::1]", "")
"""Names under which a browser may believe this server to be its page's own (DNS rebinding)."""

TRICKS: list[dict[str, str]] = [
    {},
    {"Content-Type": "text/plain", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Site": "cross-site"},
    {"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Host": "localhost", "Forwarded": "for=127.0.0.1"},
    {"X-HTTP-Method-Override": "GET", "X-Original-URL": "/healthz", "X-Rewrite-URL": "/healthz"},
    {"Authorization": "Basic YWRtaW46YWRtaW4=", "Cookie": f"key={ADMIN_KEY}; Authorization=Bearer {ADMIN_KEY}"},
    {"Authorization": "Bearer", "X-Api-Key": ADMIN_KEY, "Proxy-Authorization": f"Bearer {ADMIN_KEY}"},
]


async def test_without_a_key_nothing_is_said_and_nothing_done(server: TurnServerProcess) -> None:
    """Every request that needs one, by every name, from every origin, with every trick; the room is still there."""
    async with Participant(f"ws://127.0.0.1:{server.port}/v1/ws") as ann:
        await ann.join(ROOM, "Ann")
        for (method, path), host in itertools.product(operations(server), HOSTS):
            for origin, trick in itertools.product((f"http://{host}", "https://evil.example", "null"), TRICKS):
                headers = {"Host": host, "Origin": origin, **trick}
                body = '{"room": "board"}' if method == "POST" else None
                status, given, text = ask(server, method, path, headers, body)
                assert status == 401, (method, path, headers)
                assert json.loads(text)["error"]["code"] == "unauthorized"
                assert ROOM not in text.decode()
                assert not [name for name in given if name.lower().startswith("access-control")]
        found = json.loads(ask(server, "GET", f"/v1/rooms/{ROOM}", {"Authorization": f"Bearer {ADMIN_KEY}"})[2])
        assert [peer["name"] for peer in found["peers"]] == ["Ann"]
    assert ask(server, "GET", "/readyz", {})[0] == 200


def test_pages_of_other_origins_get_no_leave(server: TurnServerProcess) -> None:
    """The preflight request that browsers send before they send a key (Fetch §4.8)."""
    for (method, path), origin in itertools.product(operations(server), ("https://evil.example", "null")):
        headers = {
            "Origin": origin,
            "Access-Control-Request-Method": method,
            "Access-Control-Request-Headers": "authorization",
        }
        _, given, _ = ask(server, "OPTIONS", path, headers)
        assert not [name for name in given if name.lower().startswith("access-control")]


def test_a_key_in_a_url_or_a_body_is_no_key(server: TurnServerProcess) -> None:
    for name in ("key", "access_token", "token", "api_key", "authorization"):
        for method, path in operations(server):
            body = f"{name}={ADMIN_KEY}" if method == "POST" else None
            form = {"Content-Type": "application/x-www-form-urlencoded"}
            assert ask(server, method, f"{path}?{name}={ADMIN_KEY}", form, body)[0] == 401


def test_no_key_is_ever_written_down(server: TurnServerProcess, stored: tuple[Any, str]) -> None:
    """Right and wrong ones, with and without the right to do it, wherever a client has put them; at level debug."""
    wrong = "a-wrong-key-of-this-test-0123456789"
    _, secret = stored
    everything = (ADMIN_KEY, API_KEY, secret, wrong)
    for key in everything:
        for headers in (
            {"Authorization": f"Bearer {key}"},
            {"Authorization": f"Basic {key}"},
            {"Authorization": key},
            {"Cookie": f"key={key}"},
            {"Origin": f"https://{key}"},
        ):
            for method, path in (("GET", "/v1/rooms"), ("GET", "/v1/turn"), ("PUT", "/v1/rooms"), ("GET", "/v1/no")):
                _, given, text = ask(server, method, f"{path}?key={key}", headers)
                assert key not in text.decode()
                assert key not in str(given)
    assert ask(server, "GET", "/v1/rooms", {"Authorization": f"Bearer {secret}"})[0] == 200
    assert "cause=bad_key" in server.log
    assert "cause=forbidden" in server.log
    for key in (*everything, SHARED_SECRET):
        assert key not in server.log


def test_what_everybody_may_see_has_no_secret(server: TurnServerProcess, stored: tuple[Any, str]) -> None:
    """Neither keys, nor their names and hashes, nor the version of the program."""
    from turnserver import __version__

    for path in ("/", "/healthz", "/readyz", "/v1/openapi.json", "/v1/schema.json", "/v1/ws", "/v1/nothing"):
        _, given, text = ask(server, "GET", path, {})
        shown = text.decode() + str(given)
        key, secret = stored
        for hidden in (ADMIN_KEY, API_KEY, secret, SHARED_SECRET, key.digest.hex(), "keys.json", "backup"):
            assert hidden not in shown, path
        assert f'"{__version__}"' not in shown
