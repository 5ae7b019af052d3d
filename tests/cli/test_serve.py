"""``meshturn serve``: starts, says so, and stops when it is told to."""

import json
import os
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., "subprocess.CompletedProcess[str]"]
Start = Callable[..., Any]


LOOPBACK = """
listeners:
  - address: 127.0.0.1
    port: 0
auth:
  shared_secrets:
    - {env: SECRET}
"""
SECRET = {"SECRET": "a-secret-of-the-test-0123456789"}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_cleanly(start: Start, write: Callable[[str], Path], number: int) -> None:
    """SIGTERM and SIGINT end the server with exit code 0 and no traceback."""
    server = start("serve", "-c", write(LOOPBACK), env=SECRET)
    assert "listening on udp 127.0.0.1:" in server.until("ready")
    code, log = server.stop(number)
    assert (code, "Traceback" in log) == (0, False)
    assert SECRET["SECRET"] not in log


def test_ready_for_programs(start: Start, write: Callable[[str], Path]) -> None:
    """--json: one line of JSON with the ports as bound."""
    server = start("serve", "--json", env={**SECRET, "MESHTURN_CONFIG": str(write(LOOPBACK))})
    ready = json.loads(server.until("\n"))
    assert ready["event"] == "ready"
    assert [(item["transport"], item["address"]) for item in ready["listening"]] == [("udp", "127.0.0.1")]
    assert ready["listening"][0]["port"] > 0
    assert ready["relays"] == ["127.0.0.1"]


def test_the_environment_alone_is_a_configuration(start: Start) -> None:
    """Without a file, defaults and MESHTURN_ variables count."""
    env = {"MESHTURN_LISTENERS": "[{address: 127.0.0.1, port: 0}]", "MESHTURN_AUTH__USERS": "{u: {env: SECRET}}"}
    server = start("serve", env={**SECRET, **env})
    server.until("ready")
    assert server.stop()[0] == 0


def test_hup_reads_the_file_again(start: Start, write: Callable[[str], Path]) -> None:
    """SIGHUP with a broken file changes nothing, and with a good one ends nothing."""
    server = start("serve", "-c", write(LOOPBACK), env=SECRET)
    server.until("ready")
    write("nonsense: true\n")
    server.popen.send_signal(signal.SIGHUP)
    log = b""
    while b"configuration not reloaded" not in log:
        log += os.read(server.popen.stderr.fileno(), 65536)
    write(LOOPBACK)
    server.popen.send_signal(signal.SIGHUP)
    while b"configuration reloaded" not in log:
        log += os.read(server.popen.stderr.fileno(), 65536)
    assert server.stop()[0] == 0


def test_a_port_in_use(execute: Run, write: Callable[[str], Path]) -> None:
    """A port in use is one sentence, a hint, and exit code 3."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        result = execute("serve", "-c", write(LOOPBACK.replace("port: 0", f"port: {port}")), env=SECRET)
    assert result.returncode == 3
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    assert f"127.0.0.1:{port}" in result.stderr
    assert "Hint: " in result.stderr


def test_an_address_of_somebody_else(execute: Run, write: Callable[[str], Path]) -> None:
    """An address that is not local is one sentence, a hint, and exit code 3."""
    result = execute("serve", "-c", write(LOOPBACK.replace("127.0.0.1", "203.0.113.77")), env=SECRET)
    assert result.returncode == 3
    assert "203.0.113.77" in result.stderr
    assert "Hint: " in result.stderr
    assert "Traceback" not in result.stderr


def test_a_wrong_configuration(run: Run, write: Callable[[str], Path]) -> None:
    """Everything that is wrong, with its lines, and exit code 2."""
    path = write("realm: 7\nrelay:\n  ports: 80-90\nnonsense: true\n")
    result = run("serve", "-c", path)
    assert result.returncode == 2
    assert f"{path}:1: realm" in result.stderr
    assert f"{path}:3: relay.ports" in result.stderr
    assert f"{path}:4: nonsense" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_missing_file(run: Run, home: Path) -> None:
    """A file that is not there is exit code 2 and no traceback."""
    result = run("serve", "-c", home / "nowhere.yml")
    assert result.returncode == 2
    assert "no such file" in result.stderr
    assert "Traceback" not in result.stderr
