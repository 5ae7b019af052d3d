"""``meshturn drain``: over HTTP with an admin key, or by a signal to a process that is a server."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cli.drain import is_server
from cli.exit_codes import ExitCode
from tests.support.turn_client import TurnClient, TurnRefused

Run = Callable[..., "subprocess.CompletedProcess[str]"]
Start = Callable[..., Any]

ADMIN_KEY = "the-admin-key-of-this-test"
CONFIG = """
listeners:
  - {transport: udp, address: 127.0.0.1, port: %d}
  - {transport: shared, tls: false, address: 127.0.0.1, port: %d}
auth:
  users: {alice: wonderland-of-this-test}
signaling:
  admin_keys: {me: the-admin-key-of-this-test}
"""


@pytest.fixture
def ports(free_port: Callable[[], int]) -> tuple[int, int]:
    first, second = free_port(), free_port()
    return (first, second) if first != second else (first, free_port())


@contextmanager
def allocated(port: int) -> Iterator[TurnClient]:
    with TurnClient.udp("127.0.0.1", port, "alice", "wonderland-of-this-test") as client:
        client.allocate()
        yield client


def refused(port: int) -> int:
    try:
        with allocated(port):
            return 0
    except TurnRefused as refusal:
        return refusal.code


def test_over_http(start: Start, run: Run, write: Callable[[str], Path], ports: tuple[int, int]) -> None:
    """It says what is left; asking again changes nothing; the server ends with the last allocation."""
    path = write(CONFIG % ports)
    server = start("serve", "-c", path)
    server.until("ready")
    with allocated(ports[0]) as client:
        result = run("drain", "-c", path)
        assert result.returncode == 0, result.stderr
        assert result.stdout.startswith("The server drains. Left: 1 allocation, 0 rooms. It stops when they have ended")
        again = json.loads(run("drain", "-c", path, "--json").stdout)
        assert (again["ok"], again["draining"], again["allocations"], again["rooms"]) == (True, True, 1, 0)
        assert refused(ports[0]) == 508
        assert server.popen.poll() is None
        client.refresh(0)
    _, log = server.popen.communicate(timeout=120)
    assert server.popen.returncode == 0
    assert b"drain requested key=me" in log
    assert ADMIN_KEY.encode() not in log
    gone = run("drain", "-c", path)
    assert gone.returncode == ExitCode.FAILED
    assert "There is no server at" in gone.stderr


def test_a_key_that_is_not_the_servers(
    start: Start, run: Run, write: Callable[[str], Path], ports: tuple[int, int], tmp_path: Path
) -> None:
    path = write(CONFIG % ports)
    server = start("serve", "-c", path)
    server.until("ready")
    (tmp_path / "key").write_text("another-key-of-this-test\n")
    result = run("drain", "-c", path, "--key-file", tmp_path / "key")
    assert result.returncode == ExitCode.FAILED
    assert refused(ports[0]) == 0
    assert server.stop()[0] == 0


def test_by_the_pid_file(
    start: Start, run: Run, write: Callable[[str], Path], ports: tuple[int, int], tmp_path: Path
) -> None:
    """Which is there for as long as the server runs. The second signal ends it now."""
    pid_file = tmp_path / "meshturn.pid"
    server = start("serve", "-c", write(CONFIG % ports), "--pid-file", pid_file)
    server.until("ready")
    assert pid_file.read_text() == f"{server.popen.pid}\n"
    with allocated(ports[0]):
        result = run("drain", "--pid-file", pid_file)
        assert (result.returncode, result.stderr) == (0, "")
        assert f"Process {server.popen.pid} drains" in result.stdout
        log = b""
        while b"draining" not in log:
            log += os.read(server.popen.stderr.fileno(), 65536)
        assert refused(ports[0]) == 508
        assert json.loads(run("drain", "--pid", server.popen.pid, "--json").stdout) == {
            "ok": True,
            "pid": server.popen.pid,
        }
        assert server.popen.wait(120) == 0
    assert not pid_file.exists()


def test_a_pid_file_that_cannot_be_written(execute: Run, write: Callable[[str], Path], ports: tuple[int, int]) -> None:
    result = execute("serve", "-c", write(CONFIG % ports), "--pid-file", "/dev/null/meshturn.pid")
    assert (result.returncode, result.stdout) == (ExitCode.CANNOT_START, "")
    assert "The PID file /dev/null/meshturn.pid cannot be written" in result.stderr


@pytest.mark.process
def test_another_program_is_not_killed(run: Run, tmp_path: Path) -> None:
    """A stale PID file names whatever has that id now."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        (tmp_path / "pid").write_text(f"{other.pid}\n")
        result = run("drain", "--pid-file", tmp_path / "pid")
        assert result.returncode == ExitCode.FAILED
        assert f"Process {other.pid} is no meshturn server" in result.stderr
        answer = json.loads(run("drain", "--pid", other.pid, "--json").stdout)
        assert (answer["ok"], answer["error"]["code"]) == (False, "no_server")
        assert other.poll() is None
        other.communicate(b"\n")
        assert other.returncode == 0
    assert run("drain", "--pid", other.pid).returncode == ExitCode.FAILED


@pytest.mark.parametrize("content", ["", "0", "-1", "ten", "1\n2", "9" * 100])
def test_no_pid_in_a_file(run: Run, tmp_path: Path, content: str) -> None:
    (tmp_path / "pid").write_text(content)
    for arguments in (["--pid-file", tmp_path / "pid"], ["--pid-file", tmp_path / "nothing"]):
        result = run("drain", *arguments)
        assert result.returncode == ExitCode.USAGE
        assert "Traceback" not in result.stderr


def test_two_ways_to_name_a_process(run: Run, tmp_path: Path) -> None:
    (tmp_path / "pid").write_text("1")
    assert run("drain", "--pid", 1, "--pid-file", tmp_path / "pid").returncode == ExitCode.USAGE


def test_how_a_server_is_known(tmp_path: Path) -> None:
    """By the signals that it catches; where the system does not tell, by what the user says."""
    assert is_server(7, tmp_path)
    (tmp_path / "self").mkdir()
    assert not is_server(7, tmp_path)
    (tmp_path / "7").mkdir()
    caught = sum(1 << (number - 1) for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP))
    for mask, known in ((caught, True), (caught - 1, False), (0, False)):
        (tmp_path / "7" / "status").write_text(f"Name:\tpython\nSigCgt:\t{mask:016x}\n")
        assert is_server(7, tmp_path) is known
    (tmp_path / "7" / "status").write_text("Name:\tpython\n")
    assert not is_server(7, tmp_path)
