"""``meshturn call`` as people run it."""

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.call import _show
from cli.caller import CallResult
from tests.support.certificates import issue
from tests.support.mesh import page_url
from tests.support.server import SHARED_SECRET, TurnServerProcess
from tests.support.server import free_port as find_port
from turnserver.client.errors import SignalError

Run = Callable[..., "subprocess.CompletedProcess[str]"]
ADMIN_KEY = "admin-key-of-the-test-0123456789"
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def server(processes: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TurnServerProcess]:
    directory = tmp_path_factory.mktemp("server")
    port = find_port(3)
    config: dict[str, Any] = {
        "listeners": [
            {"transport": "udp", "address": "127.0.0.1", "port": port},
            {"transport": "tcp", "address": "127.0.0.1", "port": port},
            {"transport": "shared", "address": "127.0.0.1", "port": port + 1},
            {"transport": "shared", "tls": False, "address": "127.0.0.1", "port": port + 2},
        ],
        "relay": {"addresses": ["127.0.0.1"]},
        "auth": {"shared_secrets": [SHARED_SECRET]},
        "peers": {"allow": ["127.0.0.0/8"]},
        "tls": {"certificates": [issue(directory, "localhost", "127.0.0.1").config]},
        "signaling": {"open": True, "admin_keys": {"ops": ADMIN_KEY}},
    }
    with TurnServerProcess(config, directory) as running:
        yield running


def said(process: Any, words: str) -> None:
    """Read what a command tells of its progress until there are these words in it."""
    seen = ""
    while words not in seen:
        line = process.popen.stderr.readline()
        assert line, f"never said {words!r}: {seen}"
        seen += line.decode()


@pytest.mark.parametrize("media", ["--listen", "--echo"])
def test_a_kick_ends_it_while_a_picture_comes_in(
    media: str, start: Callable[..., Any], run: Run, server: TurnServerProcess, tmp_path: Path
) -> None:
    """Kind: a process that does not end, because a thread of it still waits for work."""
    url, room = page_url(server), f"kicked{media.strip('-')}"
    sender = start("call", room, "--url", url, "--stay", "--name", "Ann")
    said(sender, "in the room")
    watcher = start("call", room, "--url", url, "--stay", "--name", "Bob", media)
    said(watcher, "media is received")
    key = tmp_path / "admin"
    key.write_text(ADMIN_KEY)
    kicked = run("rooms", "kick", room, "Bob", "--url", url, "--key-file", key)
    assert kicked.returncode == 0, kicked.stderr
    out, _ = watcher.popen.communicate(timeout=60)
    assert b"(kicked)" in out
    assert watcher.popen.returncode == 1
    ended(sender)


def ended(process: Any) -> tuple[int, str]:
    """Stop a command as Ctrl-C does; its exit code and output."""
    process.popen.send_signal(signal.SIGINT)
    out, _ = process.popen.communicate(timeout=90)
    return process.popen.returncode, out.decode()


def test_two_of_them(start: Callable[..., Any], server: TurnServerProcess) -> None:
    """One echoes, one plays; over TLS all the way for one of them; exit code 0, and all that is known."""
    echo = start(
        "call", "tea", "--url", page_url(server), "--echo", "--name", "Echo", "--stay", "--relay-only", "--json"
    )
    secure = f"https://127.0.0.1:{server.ports['shared']}/call/tea"
    tone = start("call", secure, "--insecure", "--relay-only", "--via", "tls", "--stay", "--name", "Tone")
    said(tone, "media is received")
    code, out = ended(tone)
    assert code == 0, out
    for words in ("Echo (", "connected", "relay (here relay, there relay)", "over TLS", "frames", "bytes"):
        assert words in out, out
    assert "Media was received from 1 of 1 in tea." in out
    code, out = ended(echo)
    assert code == 0, out
    found = json.loads(out)
    assert found["ok"] is True
    assert [(peer["name"], peer["left"], peer["path"]) for peer in found["peers"]] == [("Tone", True, "relay")]


def test_nobody_comes(run: Run, server: TurnServerProcess) -> None:
    """Exit code 1, or 0 if that is fine."""
    url = page_url(server)
    result = run("call", "empty", "--url", url, "--duration", "1")
    assert result.returncode == 1
    assert "Nobody else was in the room empty." in result.stdout
    result = run("call", "empty", "--url", url, "--duration", "1", "--allow-empty", "--json")
    assert result.returncode == 0
    assert json.loads(result.stdout)["peers"] == []


def test_the_certificate_counts(run: Run, server: TurnServerProcess, tmp_path: Path) -> None:
    """Nothing is sent to a server that cannot be trusted, unless somebody insists; a file of roots helps."""
    url = f"https://127.0.0.1:{server.ports['shared']}"
    result = run("call", "trust", "--url", url, "--duration", "1")
    assert result.returncode == 1
    assert "not trusted" in result.stdout
    assert "--ca-file" in result.stdout
    certificate = server.config["tls"]["certificates"][0]["certificate"]
    result = run("call", "trust", "--url", url, "--duration", "1", "--allow-empty", "--ca-file", certificate)
    assert result.returncode == 0, result.stdout + result.stderr


def test_after_up(run: Run, start: Callable[..., Any], home: Path) -> None:
    """Without --url it is about the server of the last `meshturn up`."""
    port = find_port(3)
    numbers = ("--port", str(port), "--tls-port", str(port + 1), "--http-port", str(port + 2))
    start("up", "--address", "127.0.0.1", *numbers, "--state-dir", home / "state").until("/call/")
    result = run("call", "tea", "--state-dir", home / "state", "--duration", "1", "--allow-empty", "--json")
    assert result.returncode == 0, result.stdout + result.stderr
    assert json.loads(result.stdout)["url"].endswith(f":{port + 2}")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("tea",), "names a server"),
        (("not a room", "--url", "http://h"), "is not a room name"),
        (("-x", "--url", "http://h"), "No such option"),
        (("..", "--url", "http://h"), "is not a room name"),
        (("", "--url", "http://h"), "is not a room name"),
        (("x" * 65, "--url", "http://h"), "is not a room name"),
        (("tea", "--url", "ftp://h"), "is not a URL"),
        (("http://h/call/tea", "--url", "http://h"), "leave --url out"),
        (("http://h/", "--duration", "1"), "no room in it"),
        (("http://h/call/tea#token=secret",), "has a token in it"),
        (("tea", "--url", "https://h", "--insecure", "--ca-file", "x"), "exclude each other"),
        (("tea", "--url", "https://h", "--ca-file", "/nowhere"), "cannot be used"),
        (("tea", "--url", "http://h", "--token-file", "/nowhere"), "cannot be read"),
        (("tea", "--url", "http://h", "--token-file", "-"), "no room token"),
        (("tea", "--url", "http://h", "--duration", "soon"), "duration"),
        (("tea", "--url", "http://h", "--via", "pigeon"), "pigeon"),
    ],
)
def test_usage_errors(run: Run, arguments: tuple[str, ...], words: str) -> None:
    """Exit code 2, one sentence, and no traceback."""
    result = run("call", *arguments)
    assert result.returncode == 2
    assert words in " ".join(result.stderr.split())
    assert "Traceback" not in result.stderr


def test_tokens(run: Run, server: TurnServerProcess, tmp_path: Path) -> None:
    """From a file or the environment; refused ones are a problem with a hint, and are never shown."""
    path = tmp_path / "token"
    path.write_text("not.a.token\n")
    url = page_url(server)
    for arguments, env in ((("--token-file", str(path)), {}), ((), {"MESHTURN_TOKEN": "not.a.token"})):
        result = run("call", "tea", "--url", url, "--duration", "1", *arguments, env=env)
        assert result.returncode == 1
        assert "(bad_token)" in result.stdout
        assert "meshturn rooms token" in result.stdout
        assert "not.a.token" not in result.stdout + result.stderr


def test_without_aiortc(execute: Run, tmp_path: Path) -> None:
    """What is missing and how to get it; exit code 3."""
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['aiortc'] = None\n")
    result = execute("call", "tea", "--url", "http://h", env={"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"})
    assert result.returncode == 3
    assert "aiortc" in result.stderr
    assert "pip install 'meshturn[call]'" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(("retry", "words"), [(12.4, "the seat will be free in 13 seconds"), (None, "")])
def test_a_full_room(retry: float | None, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Kind: places that the dead hold."""
    problem = SignalError("room_full", "the room is full", retry=retry)
    _show(CallResult("https://example.org", "tea", problem=problem))
    written = capsys.readouterr().out
    assert "Failed: the room is full (room_full)" in written
    assert ("Hint:" in written) is bool(words)
    assert words in written
