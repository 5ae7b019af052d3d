"""``meshturn rooms``: tokens without a server, and the rooms of one that runs."""

import asyncio
import json
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from cli.exit_codes import ExitCode
from cli.state import StateDirectory
from tests.support.signal_wire import Participant
from turnserver.signaling.edge.tokens import TokenKeys, derived_key

Run = Callable[..., "subprocess.CompletedProcess[str]"]
Write = Callable[[str], Path]

SECRET = "a-secret-of-the-test-0123456789"
ADMIN_KEY = "support-key-0123456789"
KEYS = TokenKeys([derived_key(SECRET.encode())])
CONFIG = f"""
listeners:
  - {{transport: udp, address: 127.0.0.1, port: %d}}
  - {{transport: shared, tls: false, address: 127.0.0.1, port: %d}}
relay: {{addresses: [127.0.0.1]}}
auth: {{shared_secrets: [{SECRET}]}}
signaling: {{open: true, admin_keys: {{support: {ADMIN_KEY}}}}}
"""


# Tokens


def test_a_token_and_the_link_that_it_opens(run: Run, write: Write) -> None:
    path = write(CONFIG % (3478, 8080))
    options = ["--role", "host", "--ttl", "2h", "--name", "Ann", "--once", "--max", "3", "--cap", "message"]
    before = int(time.time())
    result = run("rooms", "token", "demo", "-c", path, "--json", *options)
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["link"] == f"http://localhost:8080/call/demo#token={found['token']}"
    assert before + 7200 <= found["expires_at"] <= time.time() + 7200
    grant = KEYS.admit(found["token"], time.time())
    assert (grant.room, grant.role, grant.name, grant.once) == ("demo", "host", "Ann", True)
    assert (grant.max, grant.caps, grant.shared) == (3, frozenset({"message"}), False)
    assert SECRET not in result.stdout + result.stderr


def test_for_people(run: Run, write: Write) -> None:
    """Whole lines to copy, however narrow the terminal is."""
    result = run("rooms", "token", "demo", "-c", write(CONFIG % (3478, 8080)), env={"COLUMNS": "40"})
    assert result.returncode == 0, result.stderr
    words = result.stdout.split()
    link = words[words.index("link") + 1]
    token = words[words.index("token") + 1]
    assert link == f"http://localhost:8080/call/demo#token={token}"
    grant = KEYS.admit(token, time.time())
    assert grant.token_id
    assert grant.shared, "a ban of one who has the link is not one of all"
    assert "UTC" in result.stdout


def test_two_tokens_are_two(run: Run, write: Write) -> None:
    path = write(CONFIG % (3478, 8080))
    one, two = (json.loads(run("rooms", "token", "demo", "-c", path, "--json").stdout)["token"] for _ in range(2))
    assert KEYS.admit(one, time.time()).token_id != KEYS.admit(two, time.time()).token_id


def test_with_the_secret_of_up(run: Run, tmp_path: Path) -> None:
    state = StateDirectory(tmp_path / "state")
    state.prepare()
    state.keep("password", [], "http://localhost:8081/")
    result = run("rooms", "token", "demo", "--state-dir", state.path, "--json")
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["link"].startswith("http://localhost:8081/call/demo#token=")
    assert TokenKeys([derived_key(state.secret().encode())]).admit(found["token"], time.time()).room == "demo"


def test_the_url_of_the_link_can_be_given(run: Run, write: Write) -> None:
    path = write(CONFIG % (3478, 8080))
    result = run("rooms", "token", "demo", "-c", path, "--url", "https://call.example.org/", "--json")
    assert json.loads(result.stdout)["link"].startswith("https://call.example.org/call/demo#token=")
    result = run("rooms", "token", "*", "-c", path, "--json")
    assert json.loads(result.stdout)["link"] is None


@pytest.mark.parametrize(
    "arguments",
    [
        ["a b"],
        ["demo", "--role", "king"],
        ["demo", "--ttl", "soon"],
        ["demo", "--ttl", "2y"],
        ["demo", "--name", "n" * 65],
        ["demo", "--max", "101"],
        ["demo", "--cap", "fly"],
        ["demo", "--url", "example.org"],
        ["demo", "--url", "http://user:pass@example.org"],
        [],
    ],
)
def test_a_wrong_command_line(run: Run, write: Write, arguments: list[str]) -> None:
    result = run("rooms", "token", *arguments, "-c", write(CONFIG % (3478, 8080)))
    assert result.returncode == ExitCode.USAGE
    assert result.stdout == ""
    assert "Error: " in result.stderr
    assert "Traceback" not in result.stderr


def test_nothing_to_sign_with(run: Run, write: Write, tmp_path: Path) -> None:
    result = run("rooms", "token", "demo", "-c", write("realm: example.org"))
    assert result.returncode == ExitCode.USAGE
    assert "signaling.key" in result.stderr
    result = run("rooms", "token", "demo", "--state-dir", tmp_path / "nothing")
    assert result.returncode == ExitCode.USAGE
    assert "meshturn up" in result.stderr


# A server that is not there


def test_nobody_is_there(run: Run, write: Write, free_tcp_port: Callable[[], int]) -> None:
    path = write(CONFIG % (3478, free_tcp_port()))
    result = run("rooms", "list", "-c", path)
    assert (result.returncode, result.stdout) == (ExitCode.FAILED, "")
    assert "There is no server at http://127.0.0.1:" in result.stderr
    assert "Hint: " in result.stderr
    result = run("rooms", "show", "demo", "-c", path, "--json")
    assert result.returncode == ExitCode.FAILED
    assert json.loads(result.stdout)["error"]["code"] == "not_reached"
    assert ADMIN_KEY not in result.stdout + result.stderr


def test_up_has_never_been_run(run: Run, tmp_path: Path) -> None:
    result = run("rooms", "list", "--state-dir", tmp_path / "nothing")
    assert result.returncode == ExitCode.FAILED
    assert "meshturn up" in result.stderr


def test_the_key_of_one_server_is_not_shown_to_another(run: Run, tmp_path: Path) -> None:
    state = StateDirectory(tmp_path / "state")
    state.prepare()
    state.keep("password", [], "http://localhost:8081")
    result = run("rooms", "list", "--state-dir", state.path, "--url", "https://elsewhere.example.org")
    assert result.returncode == ExitCode.USAGE
    assert "--key-file" in result.stderr


def test_a_key_file_without_a_key(run: Run, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    for name in ("empty", "nothing"):
        result = run("rooms", "list", "--url", "https://example.org", "--key-file", tmp_path / name)
        assert result.returncode == ExitCode.USAGE


# A server that is


class Server:
    """A running server, and commands about it that leave the participants' event loop alone."""

    def __init__(self, run: Run, path: Path, port: int) -> None:
        self._run = run
        self.path = path
        self.url = f"http://127.0.0.1:{port}"
        self.ws = f"ws://127.0.0.1:{port}/v1/ws"

    async def rooms(self, *arguments: object) -> "subprocess.CompletedProcess[str]":
        result = await asyncio.to_thread(self._run, "rooms", *arguments)
        assert ADMIN_KEY not in result.stdout + result.stderr
        assert "Traceback" not in result.stderr
        return result

    async def said(self, *arguments: object) -> Any:
        result = await self.rooms(*arguments, "-c", self.path, "--json")
        assert result.returncode == 0, result.stderr
        return json.loads(result.stdout)


@pytest.fixture
async def server(
    start: Callable[..., Any],
    run: Run,
    write: Write,
    free_port: Callable[[], int],
    free_tcp_port: Callable[[], int],
    request: pytest.FixtureRequest,
) -> AsyncIterator[Server]:
    port = free_tcp_port()
    text: str = CONFIG % (free_port(), port)
    if getattr(request, "param", "") == "records":
        text = text.replace("open: true", "open: true, mode: auto")
        text += f"media: {{processes: 0, recordings: {request.getfixturevalue('tmp_path')}}}\n"
    path = write(text)
    process = start("serve", "-c", path)
    await asyncio.to_thread(process.until, "ready")
    yield Server(run, path, port)
    code, errors = await asyncio.to_thread(process.stop)
    assert code == 0, errors
    assert "Traceback" not in errors


@pytest.mark.parametrize("server", ["records"], indirect=True)
async def test_a_recording_is_asked_for(server: Server) -> None:
    """Whether it begins is seen later: at first the call has to go through the server."""
    async with Participant(server.ws) as ann:
        await ann.hello()
        await ann.request(t="join", room="demo", name="Ann", mode="auto")
        result = await server.rooms("record", "demo", "-c", server.path)
        assert (result.returncode, result.stderr) == (0, "")
        said = " ".join(result.stdout.split())
        assert said.startswith("The server has been asked to record the room demo. `meshturn rooms show demo` says")
        assert (await ann.until("room_update"))["mode"] == "sfu"
        result = await server.rooms("record", "demo", "--stop", "-c", server.path)
        assert (result.returncode, result.stdout) == (0, "The room demo is not recorded any more.\n")


async def test_rooms_are_listed_shown_cleared_and_closed(server: Server) -> None:
    """All of it in one go: starting a server is what takes the time."""
    result = await server.rooms("list", "-c", server.path)
    assert (result.returncode, result.stdout) == (0, "There are no rooms now.\n")
    async with Participant(server.ws) as ann, Participant(server.ws) as bob:
        await ann.join("demo", "Ann \u202e[31m")
        await bob.join("demo", "Bob")
        assert [room["id"] for room in (await server.said("list"))["rooms"]] == ["demo"]
        assert "2 of 4" in (await server.rooms("list", "-c", server.path)).stdout

        await ann.send(t="stat", to=bob.id, path="direct", rtt=12)
        await ann.request(t="ping")
        found = await server.said("show", "demo")
        assert [peer["id"] for peer in found["peers"]] == [ann.id, bob.id]
        (pair,) = found["pairs"]
        assert (pair["path"], pair["seen_by"], pair["reports"]["a"]["rtt"]) == ("direct", "clients", 12)
        text = (await server.rooms("show", "demo", "-c", server.path)).stdout
        assert "Ann \\u202e[31m" in text
        assert "directly, they say" in text

        result = await server.rooms("record", "demo", "-c", server.path)
        assert result.returncode == ExitCode.FAILED
        assert "recordings need media.recordings and signaling.mode" in result.stderr
        assert await server.said("record", "demo", "--stop") == {"ok": True}

        result = await server.rooms("kick", "demo", "Bob", "--reason", "too loud", "-c", server.path)
        assert (result.returncode, result.stdout) == (0, "Bob is out of demo.\n")
        assert (await bob.until("goodbye"))["msg"] == "too loud"
        assert (await ann.until("peer_leave"))["reason"] == "kicked"
        result = await server.rooms("kick", "demo", "Bob", "-c", server.path)
        assert result.returncode == ExitCode.FAILED
        assert "There is no participant Bob in demo." in result.stderr

        assert await server.said("close", "demo") == {"ok": True}
        assert (await ann.until("goodbye"))["code"] == "room_closed"
    result = await server.rooms("show", "demo", "-c", server.path)
    assert result.returncode == ExitCode.FAILED
    assert "there is no such room" in result.stderr


async def test_two_of_one_name_are_told_apart_by_id(server: Server) -> None:
    async with Participant(server.ws) as one, Participant(server.ws) as two:
        await one.join("demo", "Ann")
        await two.join("demo", "Ann")
        result = await server.rooms("kick", "demo", "Ann", "-c", server.path)
        assert result.returncode == ExitCode.FAILED
        assert "2 participants have the name Ann" in result.stderr
        assert await server.said("kick", "demo", two.id) == {"ok": True}
        assert [peer["id"] for peer in (await server.said("show", "demo"))["peers"]] == [one.id]


async def test_keys_in_files(server: Server, tmp_path: Path) -> None:
    (tmp_path / "good").write_text(ADMIN_KEY + "\n")
    (tmp_path / "wrong").write_text("no-key-of-this-server")
    result = await server.rooms("list", "--url", server.url, "--key-file", tmp_path / "good")
    assert result.returncode == 0, result.stderr
    result = await server.rooms("list", "--url", server.url, "--key-file", tmp_path / "wrong")
    assert result.returncode == ExitCode.FAILED
    assert "does not accept this key" in result.stderr
    result = await server.rooms("list", "-c", server.path, "--key-file", tmp_path / "wrong", "--json")
    assert json.loads(result.stdout)["error"]["code"] == "bad_key"


async def test_a_token_of_the_command_opens_the_room(server: Server) -> None:
    made = (await server.said("token", "demo", "--role", "host"))["token"]
    async with Participant(server.ws) as host:
        await host.hello(made)
        assert (await host.join("demo"))["you"]["role"] == "host"


async def test_the_server_of_up(
    start: Callable[..., Any], run: Run, free_tcp_port: Callable[[], int], home: Path
) -> None:
    """With nothing said at all, it is the one that was started with nothing said at all."""
    ports = ["--port", free_tcp_port(), "--http-port", free_tcp_port(), "--no-tls", "--address", "127.0.0.1"]
    process = start("up", "--json", "--open", *ports)
    said = json.loads(await asyncio.to_thread(process.until, "\n"))
    url = said["pages"][0].rstrip("/")
    async with Participant(url.replace("http:", "ws:") + "/v1/ws") as ann:
        await ann.join("demo", "Ann")
        result = await asyncio.to_thread(run, "rooms", "list", "--json")
        assert result.returncode == 0, result.stderr
        assert [room["id"] for room in json.loads(result.stdout)["rooms"]] == ["demo"]
        result = await asyncio.to_thread(run, "rooms", "list", "--url", url)
        assert result.returncode == 0, "the URL that up printed is no other server"
        link = json.loads((await asyncio.to_thread(run, "rooms", "token", "demo", "--json")).stdout)["link"]
        assert link.startswith(f"{url}/call/demo#token=")
    assert (await asyncio.to_thread(process.stop))[0] == 0


async def test_the_server_of_up_with_tls(
    start: Callable[..., Any], run: Run, free_tcp_port: Callable[[], int], home: Path
) -> None:
    """Its certificate is self-signed, and known."""
    ports = ["--port", free_tcp_port(), "--tls-port", free_tcp_port(), "--http-port", "0", "--address", "127.0.0.1"]
    process = start("up", "--json", *ports)
    said = json.loads(await asyncio.to_thread(process.until, "\n"))
    assert said["pages"][0].startswith("https://")
    result = await asyncio.to_thread(run, "rooms", "list")
    assert (result.returncode, result.stdout) == (0, "There are no rooms now.\n"), result.stderr
    assert (await asyncio.to_thread(process.stop))[0] == 0
