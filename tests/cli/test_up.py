"""``meshturn up``: zero configuration, and everything it prints works as printed."""

import asyncio
import contextlib
import json
import re
import shlex
import signal
import socket
import ssl
import stat
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jwt
import pytest

from cli import up
from cli.state import StateDirectory
from cli.up import invocation
from tests.support.signal_wire import Participant
from turnserver.certificates import CertificateFacts

Run = Callable[..., "subprocess.CompletedProcess[str]"]
Start = Callable[..., Any]


LOCAL = ["up", "--address", "127.0.0.1", "--port", "0", "--tls-port", "0", "--http-port", "0"]


def _paste(line: str, environment: Mapping[str, str]) -> "subprocess.CompletedProcess[str]":
    """What a second terminal does with a line: another directory, and nothing of our Python path."""
    env = {name: value for name, value in environment.items() if name != "PYTHONPATH"}
    return subprocess.run(["/bin/sh", "-c", line], env=env, cwd="/", capture_output=True, text=True, check=False)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_line_to_try_works_as_printed(start: Start, environment: dict[str, str], home: Path, number: int) -> None:
    """Copied into a second terminal, the line probes the whole relay; the password is not in it."""
    server = start(*LOCAL)
    shown = server.until("credentials issue")
    lines = [line.strip() for line in shown.splitlines()]
    line = lines[lines.index("Try it in a second terminal:") + 1]
    password = next(text.split()[1] for text in lines if text.startswith("password "))
    assert password not in line
    result = _paste(line, environment)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "data went through the relay and came back" in result.stdout
    more = _paste(lines[-1] + " --json", environment)
    assert json.loads(more.stdout)["uris"] == [text.split()[1] for text in lines if text.startswith("URL ")]
    code, log = server.stop(number)
    assert (code, "Traceback" in log) == (0, False)


def test_the_shared_secret_is_never_shown(start: Start, home: Path) -> None:
    """Rule 24: who has the secret can make credentials for ever, so it is in its file and nowhere else."""
    server = start(*LOCAL, env={"MESHTURN_LOG__LEVEL": "debug"})
    shown = server.until("credentials issue")
    code, log = server.stop()
    state = StateDirectory(home / ".local" / "state" / "meshturn")
    assert code == 0
    assert state.secret() not in shown + log
    assert stat.S_IMODE(state.path.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in state.path.iterdir()} == {0o600}


def test_for_programs(start: Start, run: Run, home: Path) -> None:
    """--json: one line with everything; the ICE servers are what a browser takes."""
    server = start(*LOCAL, "--json", "--realm", "example.org", "--state-dir", home / "my state")
    found = json.loads(server.until("\n"))
    port, tcp_port, tls_port = (item["port"] for item in found["listening"])
    credential = found["credential"]
    assert found["event"] == "ready"
    assert [item["transport"] for item in found["listening"]] == ["udp", "tcp", "tls"]
    assert credential["uris"] == [
        f"turn:127.0.0.1:{port}?transport=udp",
        f"turn:127.0.0.1:{tcp_port}?transport=tcp",
        f"turns:127.0.0.1:{tls_port}?transport=tcp",
    ]
    assert credential["ice_servers"][0]["urls"] == credential["uris"]
    assert found["pages"] == [f"https://127.0.0.1:{tls_port}/"]
    assert found["certificate"] == str(home / "my state" / "certificate.pem")
    assert credential["ice_servers"][0]["credential"] == credential["password"]
    assert shlex.split(found["probe"])[-1] == str(home / "my state" / "try.password")
    env = {"MESHTURN_PASSWORD": credential["password"]}
    probed = run("probe", f"turn:127.0.0.1:{port}", "--user", credential["username"], "--json", env=env)
    assert probed.returncode == 0, probed.stdout
    assert json.loads(probed.stdout)["realm"] == "example.org"


def test_every_way_in(start: Start, run: Run, home: Path) -> None:
    """RFC 8656 §3.1: UDP, TCP and TLS, with the one credential; the certificate is trusted once it is told to be."""
    server = start(*LOCAL, "--json")
    found = json.loads(server.until("\n"))
    env = {"MESHTURN_PASSWORD": found["credential"]["password"]}
    for uri in found["credential"]["uris"]:
        trust = ["--ca-file", found["certificate"]] if uri.startswith("turns:") else []
        probed = run("probe", uri, "--user", found["credential"]["username"], *trust, env=env)
        assert probed.returncode == 0, probed.stdout
    code, log = server.stop()
    assert (code, "Traceback" in log) == (0, False)


def test_the_page(start: Start) -> None:
    """The TLS port is HTTPS as well, with the same certificate."""
    found = json.loads(start(*LOCAL, "--json").until("\n"))
    context = ssl.create_default_context(cafile=found["certificate"])
    with urllib.request.urlopen(found["pages"][0] + "healthz", timeout=90, context=context) as answer:
        assert (answer.status, json.load(answer)["status"]) == (200, "ok")


def _get(url: str, key: str = "") -> tuple[int, str]:
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {key}"} if key else {})
    with urllib.request.urlopen(request, timeout=90) as answer:
        return answer.status, answer.read().decode()


def test_a_call(start: Start, home: Path, free_tcp_port: Callable[[], int]) -> None:
    """The first thing shown is a page that opens as it is, on the name that browsers trust without TLS."""
    port = free_tcp_port()
    shown = start(*LOCAL[:-1], port).until("credentials issue")
    lines = [line.strip() for line in shown.splitlines() if line.strip()]
    url = lines[lines.index("Open this in two tabs for a call:") + 1]
    assert next(line for line in lines if "://" in line) == url
    link, _, token = url.partition("#token=")
    assert re.fullmatch(rf"http://localhost:{port}/call/[a-z]{{4}}-[a-z]{{4}}-[a-z]{{4}}", link)
    assert token
    status, text = _get(url)
    assert status == 200
    assert "<script" in text
    assert json.loads(_get(f"http://localhost:{port}/healthz")[1]) == {"status": "ok"}
    state = StateDirectory(home / ".local" / "state" / "meshturn")
    assert state.url() == f"http://localhost:{port}/"
    assert json.loads(_get(state.url() + "v1/rooms", state.admin_key())[1]) == {"rooms": []}


def test_a_call_for_programs(start: Start, free_tcp_port: Callable[[], int]) -> None:
    """The same room on every way to it; the listener of the page is no TURN URL."""
    port = free_tcp_port()
    found = json.loads(start(*LOCAL[:-1], port, "--json").until("\n"))
    tls_port = next(item["port"] for item in found["listening"] if item["transport"] == "tls")
    room = found["calls"][0].rpartition("/")[2]
    assert "#token=" in room
    claims = jwt.decode(room.partition("#token=")[2], options={"verify_signature": False})
    assert claims["shared"] is True, "a ban of one who has the link is not one of all"
    assert found["calls"] == [f"http://localhost:{port}/call/{room}", f"https://127.0.0.1:{tls_port}/call/{room}"]
    assert found["pages"] == [f"http://localhost:{port}/", f"https://127.0.0.1:{tls_port}/"]
    assert not [uri for uri in found["credential"]["uris"] if f":{port}" in uri]
    assert found["relays"] == ["127.0.0.1"]


def test_the_usual_port_is_taken(start: Start) -> None:
    """Whoever has 8080 keeps it; the page goes elsewhere, and a note says so."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            stack.enter_context(socket.create_server(("127.0.0.1", 8080)))
        server = start(*LOCAL[:-2], "--json")
        url = json.loads(server.until("\n"))["calls"][0]
        assert not url.startswith("http://localhost:8080/")
        assert _get(url)[0] == 200
        code, log = server.stop()
    assert code == 0
    assert "Port 8080 of localhost is in use" in log
    assert url.split("/")[2].partition(":")[2] in log


async def test_a_stranger_gets_no_relay(start: Start, free_tcp_port: Callable[[], int]) -> None:
    """Whoever reaches the port, but has no link: no room of any name, no credential, and the start page says so."""
    port = free_tcp_port()
    server = start(*LOCAL[:-1], port, "--json")
    found = json.loads(await asyncio.to_thread(server.until, "\n"))
    link, _, token = found["calls"][0].partition("#token=")
    room = link.rpartition("/")[2]
    url = f"ws://localhost:{port}/v1/ws"
    bad = token[:-4] + ("AAAA" if token[-4:] != "AAAA" else "BBBB")
    for given, code in ((None, "auth_required"), ("", "auth_required"), (bad, "bad_token")):
        async with Participant(url) as stranger:
            assert (await stranger.until("welcome"))["t"] == "welcome"
            await stranger.send(t="hello", id="h", v=1, **({} if given is None else {"token": given}))
            assert (await stranger.until("error"))["code"] == code
    async with Participant(url) as guest:
        await guest.hello(token)
        refusal = await guest.request(t="join", room="another-room", name="x")
        assert (refusal["t"], refusal["code"]) == ("error", "forbidden")
    assert (await asyncio.to_thread(_status, f"http://localhost:{port}/v1/turn")) == 401
    assert "by invitation" in (await asyncio.to_thread(_get, found["pages"][0]))[1]
    # The link is for as many as the room takes, at once.
    async with Participant(url) as first, Participant(url) as second:
        for participant in (first, second):
            await participant.hello(token)
            joined = await participant.join(room)
            assert (joined["t"], joined["you"]["role"]) == ("joined", "member")
            assert joined["ice"]["servers"][-1]["credential"]
        assert len(joined["peers"]) == 1
    _, log = await asyncio.to_thread(server.stop)
    assert token not in log
    assert "Warning: rooms are open" not in log


def _status(url: str) -> int:
    try:
        return _get(url)[0]
    except urllib.error.HTTPError as error:
        return error.code


@pytest.mark.parametrize(("options", "env"), [(["--open"], {}), ([], {"MESHTURN_SIGNALING__OPEN": "true"})])
async def test_for_a_classroom(
    start: Start, free_tcp_port: Callable[[], int], options: list[str], env: dict[str, str]
) -> None:
    """Any room name, without a token; and a warning that says what that means."""
    port = free_tcp_port()
    server = start(*LOCAL[:-1], port, "--json", *options, env=env)
    found = json.loads(await asyncio.to_thread(server.until, "\n"))
    assert "#" not in found["calls"][0]
    async with Participant(f"ws://localhost:{port}/v1/ws") as anybody:
        assert (await anybody.join("any-room"))["t"] == "joined"
    _, log = await asyncio.to_thread(server.stop)
    assert "Warning: rooms are open. Everybody who can reach this server can start calls and relay through it" in log


@pytest.mark.parametrize(("env", "mode"), [({}, True), ({"MESHTURN_SIGNALING__MODE": "mesh"}, False)])
async def test_calls_of_many_go_through_the_server(
    start: Start, free_tcp_port: Callable[[], int], env: dict[str, str], mode: bool
) -> None:
    """Without an option; the environment may say otherwise."""
    port = free_tcp_port()
    server = start(*LOCAL[:-1], port, "--json", "--open", env=env)
    await asyncio.to_thread(server.until, "\n")
    async with Participant(f"ws://localhost:{port}/v1/ws") as anybody:
        await anybody.hello()
        assert ("sfu" in anybody.welcome["feat"]) is mode


def test_the_environment_may_close_it(start: Start, free_tcp_port: Callable[[], int]) -> None:
    """As before there was --open."""
    server = start(*LOCAL[:-1], free_tcp_port(), "--json", env={"MESHTURN_SIGNALING__OPEN": "false"})
    found = json.loads(server.until("\n"))
    assert "#token=" in found["calls"][0]
    assert "by invitation" in _get(found["pages"][0])[1]


def test_for_people_there_is_more_than_turn(start: Start, home: Path) -> None:
    """Every URL is shown, and how to have the certificate trusted."""
    shown = start(*LOCAL).until("credentials issue")
    rows = [line.split() for line in shown.splitlines()]
    assert [row[1].partition(":")[0] for row in rows if row[:1] == ["URL"]] == ["turn", "turn", "turns"]
    assert [row[1].partition(":")[0] for row in rows if row[:1] == ["STUN"]] == ["stun", "stuns"]
    assert [row[1].partition(":")[0] for row in rows if row[:1] == ["page"]] == ["https"]
    assert f"--ca-file {home}/.local/state/meshturn/certificate.pem" in shown


def test_without_tls(start: Start, home: Path) -> None:
    """--no-tls: no port, no certificate, no key."""
    found = json.loads(start(*LOCAL, "--no-tls", "--json").until("\n"))
    assert [item["transport"] for item in found["listening"]] == ["udp", "tcp"]
    assert (found["pages"], found["certificate"]) == ([], None)
    assert not list((home / ".local" / "state" / "meshturn").glob("certificate*"))


def test_behind_nat_the_certificate_is_for_the_public_address(start: Start) -> None:
    """Rule 23: clients are told the external address, so the certificate has to be for it, too; and it is kept."""
    env = {"MESHTURN_RELAY__EXTERNAL": "{127.0.0.1: 198.51.100.1}"}
    first = start(*LOCAL, "--json", env=env)
    found = json.loads(first.until("\n"))
    before = Path(found["certificate"]).read_bytes()
    assert "198.51.100.1" in CertificateFacts.from_pem(before).names
    assert found["pages"][0].startswith("https://198.51.100.1:")
    assert first.stop()[0] == 0
    start(*LOCAL, "--json", env=env).until("\n")
    assert Path(found["certificate"]).read_bytes() == before


def test_credentials_outlive_a_restart(start: Start, run: Run, free_port: Callable[[], int]) -> None:
    """Rule 24: the secret is kept between runs, and so are the credentials made with it."""
    port = free_port()
    first = start("up", "--address", "127.0.0.1", "--port", port, "--tls-port", 0, "--json")
    credential = json.loads(first.until("\n"))["credential"]
    assert first.stop()[0] == 0
    start("up", "--address", "127.0.0.1", "--port", port, "--tls-port", 0, "--json").until("\n")
    env = {"MESHTURN_PASSWORD": credential["password"]}
    probed = run("probe", f"turn:127.0.0.1:{port}", "--user", credential["username"], env=env)
    assert probed.returncode == 0, probed.stdout


def test_nothing_but_a_port_is_needed(start: Start) -> None:
    """Without an address it listens on all local ones, and names one that clients can use."""
    server = start("up", "--port", "0", "--tls-port", "0", "--json")
    found = json.loads(server.until("\n"))
    hosts = {item["address"] for item in found["listening"]}
    assert "127.0.0.1" in hosts
    assert not hosts & {"0.0.0.0", "::"}
    assert found["credential"]["uris"]
    assert server.stop()[0] == 0


def test_both_families(start: Start, run: Run) -> None:
    """Rule 23: several addresses, each with a relay of its own unless others are named."""
    server = start(*LOCAL, "--address", "::1", "--json")
    assert json.loads(server.until("\n"))["relays"] == ["127.0.0.1", "::1"]
    other = start(*LOCAL, "--relay-address", "::1", "--json", "--state-dir", "other")
    assert json.loads(other.until("\n"))["relays"] == ["::1"]


def test_a_port_in_use(execute: Run) -> None:
    """One sentence, one hint, exit code 3."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        result = execute("up", "--address", "127.0.0.1", "--port", port, "--tls-port", 0)
    assert (result.returncode, result.stdout) == (3, "")
    assert f"127.0.0.1:{port}" in result.stderr
    assert "Hint: " in result.stderr
    assert "Traceback" not in result.stderr


def test_an_address_of_somebody_else(execute: Run) -> None:
    """One sentence, one hint, exit code 3."""
    result = execute("up", "--address", "203.0.113.77", "--port", "0", "--tls-port", "0")
    assert (result.returncode, result.stdout) == (3, "")
    assert "203.0.113.77" in result.stderr
    assert "Hint: " in result.stderr


def test_a_state_directory_that_cannot_be_made(run: Run) -> None:
    """Exit code 3, and the option that helps."""
    result = run(*LOCAL, env={"MESHTURN_STATE_DIR": "/dev/null/state"})
    assert (result.returncode, result.stdout) == (3, "")
    assert "The state directory /dev/null/state cannot be used" in result.stderr
    assert "--state-dir" in result.stderr


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--realm", ""], "(from --realm)"),
        (["--address", "localhost"], "is not an IPv4 or IPv6 address"),
        (["--relay-address", "0.0.0.0"], "(from --relay-address)"),
        (["--port", "65536"], "--port"),
        (["--tls-port", "-1"], "--tls-port"),
        (["--tls-port", "3478"], "TCP on 0.0.0.0 port 3478 again"),
    ],
)
def test_usage_errors(run: Run, options: list[str], words: str) -> None:
    """What was typed wrong is exit code 2 and names the option."""
    result = run("up", *options)
    assert (result.returncode, result.stdout) == (2, "")
    assert words in result.stderr
    assert "Traceback" not in result.stderr


def test_how_the_command_is_called_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The line is short where `meshturn` is on everybody's path, and whole where it is not."""
    script = tmp_path / "meshturn"
    script.touch()
    monkeypatch.setattr(up.shutil, "which", lambda name: str(script))
    monkeypatch.setattr(sys, "prefix", sys.base_prefix)
    assert invocation(str(script)) == ["meshturn"]
    assert invocation(str(tmp_path / "elsewhere" / "meshturn")) == [str(tmp_path / "elsewhere" / "meshturn")]
    monkeypatch.setattr(sys, "prefix", "/some/environment")
    assert invocation(str(script)) == [str(script)]
    root = Path(__file__).resolve().parents[2]
    assert invocation("/src/meshturn/__main__.py") == ["env", f"PYTHONPATH={root}", sys.executable, "-m", "meshturn"]
    monkeypatch.setattr(up.sysconfig, "get_path", lambda name: str(root))
    assert invocation("/src/meshturn/__main__.py") == [sys.executable, "-m", "meshturn"]
