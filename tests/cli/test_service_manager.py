"""``meshturn serve`` as a service manager runs it: sockets that are passed, and what it is told."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.process import wait_until
from tests.support.tools import require_tool
from tests.support.turn_client import TurnClient

Start = Callable[..., Any]
Write = Callable[[str], Path]

PATIENCE = 120.0

LISTENERS = """
listeners:
  - {{transport: {transport}, address: {address}, port: {port}}}
auth:
  users: {{alice: wonderland}}
"""


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """The socket of a service manager."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.settimeout(PATIENCE)
        yield sock


def heard(manager: socket.socket, word: str) -> dict[str, str]:
    """The next message with this assignment; what feeds the watchdog comes in between."""
    while True:
        said = dict(line.split("=", 1) for line in manager.recv(4096).decode().splitlines())
        if word in said:
            return said


def test_the_service_manager_is_told_of_a_whole_life(
    start: Start, write: Write, manager: socket.socket, free_port: Callable[[], int]
) -> None:
    """Ready when it serves; a reload from its beginning to its end, also one that fails; a drain; the end."""
    port = free_port()
    config = LISTENERS.format(transport="udp", address="127.0.0.1", port=port)
    told = {"NOTIFY_SOCKET": manager.getsockname(), "WATCHDOG_USEC": "600000"}
    server = start("serve", "-c", write(config), env=told)
    ready = heard(manager, "READY")
    assert ready == {"READY": "1", "STATUS": "Serving: allocations 0, rooms 0"}
    assert heard(manager, "WATCHDOG") == {"WATCHDOG": "1"}
    with TurnClient.udp("127.0.0.1", port, "alice", "wonderland") as client:
        client.allocate()
        before = time.monotonic_ns() // 1000
        server.popen.send_signal(signal.SIGHUP)
        assert int(heard(manager, "RELOADING")["MONOTONIC_USEC"]) >= before, "after the signal"
        assert heard(manager, "READY")["STATUS"] == "Serving: allocations 1, rooms 0"
        write("nonsense: true\n")
        server.popen.send_signal(signal.SIGHUP)
        heard(manager, "RELOADING")
        assert "the last reload has failed" in heard(manager, "READY")["STATUS"]
        write(config)
        server.popen.send_signal(signal.SIGHUP)
        assert "failed" not in heard(manager, "READY")["STATUS"]
        server.popen.send_signal(signal.SIGUSR1)
        assert heard(manager, "STATUS")["STATUS"] == "Draining: allocations 1, rooms 0"
        assert heard(manager, "WATCHDOG"), "it is fed while it drains"
    code, _ = server.stop()
    assert heard(manager, "STOPPING") == {"STOPPING": "1", "STATUS": "Stopping"}
    assert code == 0


class Activated:
    """``systemd-socket-activate`` with the server; it starts the server at the first connection or datagram."""

    def __init__(self, command: list[str], env: dict[str, str], cwd: Path) -> None:
        tool = require_tool("systemd-socket-activate")
        self.log = cwd / "activate.log"
        passed = [f"--setenv={name}" for name in ("PYTHONPATH", "HOME", "NOTIFY_SOCKET") if name in env]
        with self.log.open("wb") as log:
            self.popen = subprocess.Popen(
                [tool, *passed, *command], env=env, cwd=cwd, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def is_listening(self) -> bool:
        assert self.popen.poll() is None, self.log.read_text()
        return "Listening on" in self.log.read_text()

    def __enter__(self) -> "Activated":
        return self

    def __exit__(self, *_: object) -> None:
        if self.popen.poll() is None:
            self.popen.kill()
        self.popen.wait()


@pytest.fixture
def activated(
    processes: None, environment: dict[str, str], home: Path, manager: socket.socket
) -> Iterator[Callable[..., Activated]]:
    running: list[Activated] = []

    def call(listen: list[str], config: Path) -> Activated:
        options = [f"--listen={each}" if each[0].isdigit() or each[0] == "[" else each for each in listen]
        serve = [sys.executable, "-m", "meshturn", "serve", "-c", str(config)]
        found = Activated([*options, *serve], {**environment, "NOTIFY_SOCKET": manager.getsockname()}, home)
        running.append(found)
        wait_until(found.is_listening, "systemd-socket-activate listens")
        return found

    yield call
    for each in running:
        each.__exit__()


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])
def test_connections_wait_in_a_socket_of_the_service_manager(
    activated: Callable[..., Activated],
    write: Write,
    manager: socket.socket,
    free_port: Callable[[], int],
    address: str,
) -> None:
    """The first client comes before there is a server at all, and is served by it; so is the next one."""
    port = free_port()
    config = write(LISTENERS.format(transport="tcp", address=address, port=port))
    server = activated([f"{address}:{port}", "--fdname=turn"], config)
    for _ in range(2):
        with TurnClient.tcp("127.0.0.1", port, "alice", "wonderland") as client:
            client.allocate()
    assert heard(manager, "READY")["READY"] == "1"
    server.popen.terminate()
    assert server.popen.wait(PATIENCE) == 0, server.log.read_text()
    assert f"listening transport=tcp address=127.0.0.1:{port}" in server.log.read_text()


def test_datagrams_wait_as_well(
    activated: Callable[..., Activated], write: Write, free_port: Callable[[], int]
) -> None:
    port = free_port()
    config = write(LISTENERS.format(transport="udp", address="127.0.0.1", port=port))
    server = activated(["--datagram", f"127.0.0.1:{port}"], config)
    with TurnClient.udp("127.0.0.1", port, "alice", "wonderland") as client:
        client.allocate()
    server.popen.terminate()
    assert server.popen.wait(PATIENCE) == 0, server.log.read_text()


def test_a_socket_that_no_listener_has_ends_the_start(
    activated: Callable[..., Activated], write: Write, free_port: Callable[[], int]
) -> None:
    """Its clients would wait for ever. The message says what to write where."""
    port, other = free_port(), free_port()
    config = write(LISTENERS.format(transport="tcp", address="127.0.0.1", port=other))
    server = activated([f"127.0.0.1:{port}", "--fdname=https"], config)
    with socket.create_connection(("127.0.0.1", port)):
        assert server.popen.wait(PATIENCE) == 3
    said = " ".join(server.log.read_text().split())
    assert f"The passed socket https (TCP 127.0.0.1:{port}) belongs to no listener" in said
    assert f"listeners has 127.0.0.1:{other} for TCP" in said
    assert f"ListenStream=127.0.0.1:{port}" in said


def test_a_socket_for_both_families_ends_the_start(
    activated: Callable[..., Activated], write: Write, free_port: Callable[[], int], ipv6: None
) -> None:
    """What ``ListenStream=443`` means by default."""
    port = free_port()
    config = write(LISTENERS.format(transport="tcp", address='"::"', port=port))
    server = activated([f"--listen={port}"], config)
    with socket.create_connection(("127.0.0.1", port)):
        assert server.popen.wait(PATIENCE) == 3
    assert "BindIPv6Only=ipv6-only" in server.log.read_text()


def test_a_descriptor_that_is_no_socket_ends_the_start(
    processes: None, environment: dict[str, str], write: Write, home: Path
) -> None:
    """A FIFO, say."""
    config = write(LISTENERS.format(transport="tcp", address="127.0.0.1", port=0))
    reading, writing = os.pipe()
    shell = 'LISTEN_PID=$$ LISTEN_FDS=1 exec "$0" -m meshturn serve -c "$1" 3<&0'
    done = subprocess.run(
        ["sh", "-c", shell, sys.executable, str(config)],
        env=environment,
        cwd=home,
        stdin=reading,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    os.close(reading)
    os.close(writing)
    assert done.returncode == 3
    assert "descriptor 3 cannot be used" in " ".join(done.stderr.split())
