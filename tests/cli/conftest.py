"""The command as users run it: in an empty home, with none of this machine's settings.

A command that answers and ends is run in this process (`run`), since a start of Python costs more than nearly all of
them do; one that serves is a process of its own (`start`, `execute`).
"""

import logging
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.main import meshturn
from tests.support import server
from tests.support.certify import certify

__all__ = ["certify"]

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 120.0
"""Seconds until what has not happened counts as failed; never waited out in success."""


class Process:
    """A running command; its standard output is read line by line."""

    def __init__(self, arguments: list[str], env: Mapping[str, str], cwd: Path) -> None:
        self.popen = subprocess.Popen(
            arguments, env=dict(env), cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL
        )
        self._seen = b""

    def until(self, word: str) -> str:
        """Everything written so far, once ``word`` is among it; fails when the process ends first."""
        assert self.popen.stdout is not None
        deadline = time.monotonic() + PATIENCE
        while word.encode() not in self._seen:
            ready, _, _ = select.select([self.popen.stdout], [], [], max(0.0, deadline - time.monotonic()))
            chunk = os.read(self.popen.stdout.fileno(), 65536) if ready else b""
            if not chunk:
                self.popen.kill()
                _, errors = self.popen.communicate()
                pytest.fail(f"no {word!r} in:\n{self._seen.decode()}\n{errors.decode()}")
            self._seen += chunk
        return self._seen.decode()

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """Send a signal; the exit code and what was written to standard error."""
        self.popen.send_signal(number)
        _, errors = self.popen.communicate(timeout=PATIENCE)
        return self.popen.returncode, errors.decode()

    def kill(self) -> None:
        if self.popen.poll() is None:
            self.popen.kill()
            self.popen.communicate()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    path = tmp_path / "home"
    path.mkdir()
    return path


@pytest.fixture
def environment(home: Path) -> dict[str, str]:
    """What the command sees: a path, an empty home, and nothing that begins with MESHTURN_."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "PYTHONPATH": str(ROOT),
        "LC_ALL": "C.UTF-8",
        "COLUMNS": "100",
    }


@contextmanager
def logging_restored() -> Iterator[None]:
    """Give the server's loggers back to the tests: a command sends them to its own standard error."""
    logger = logging.getLogger("meshturn")
    before = (logger.handlers, logger.propagate, logger.level)
    try:
        yield
    finally:
        logger.handlers, logger.propagate = before[:2]
        logger.setLevel(before[2])


@pytest.fixture
def run(
    environment: dict[str, str], home: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., "subprocess.CompletedProcess[str]"]]:
    """Run a command to its end, in this process: ``run("check", "-c", path, env={...}, stdin="...")``.

    What is not one of our errors, a traceback to users, is raised here. For commands that serve there is `execute`.
    """
    monkeypatch.chdir(home)
    runner = CliRunner()

    def call(
        *arguments: object, env: Mapping[str, str] | None = None, stdin: str = ""
    ) -> "subprocess.CompletedProcess[str]":
        given = [str(argument) for argument in arguments]
        seen = dict.fromkeys(os.environ) | environment | dict(env or {})
        result = runner.invoke(meshturn, given, input=stdin, env=seen, catch_exceptions=False)
        return subprocess.CompletedProcess(given, result.exit_code, result.stdout, result.stderr)

    with logging_restored():
        yield call


@pytest.fixture
def execute(
    processes: None, environment: dict[str, str], home: Path
) -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """The same in a process of its own, as a shell runs it."""

    def call(
        *arguments: object, env: Mapping[str, str] | None = None, stdin: str = ""
    ) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "meshturn", *map(str, arguments)],
            env={**environment, **(env or {})},
            cwd=home,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    return call


@pytest.fixture
def start(processes: None, environment: dict[str, str], home: Path) -> Iterator[Callable[..., Process]]:
    """Start a command that keeps running; whatever is still running at the end of the test is killed."""
    running: list[Process] = []

    def call(*arguments: object, env: Mapping[str, str] | None = None) -> Process:
        command = [sys.executable, "-m", "meshturn", *map(str, arguments)]
        process = Process(command, {**environment, **(env or {})}, home)
        running.append(process)
        return process

    yield call
    for process in running:
        process.kill()


@pytest.fixture
def free_port() -> Callable[[], int]:
    """A port of loopback that nobody uses at the moment."""
    return server.free_port


@pytest.fixture
def free_tcp_port() -> Callable[[], int]:
    """The same; that of `free_port` is free on TCP, too."""
    return server.free_port


@pytest.fixture
def write(home: Path) -> Callable[[str], Path]:
    """Write a configuration file."""

    def make(text: str) -> Path:
        path = home / "meshturn.yml"
        path.write_text(text)
        path.chmod(0o600)
        return path

    return make


@pytest.fixture
def coturn(processes: None, home: Path, free_port: Callable[[], int]) -> Iterator[Callable[..., int]]:
    """Start coturn on loopback with one user (user/secret in realm example.org); returns its UDP and TCP port."""
    program = shutil.which("turnserver")
    if program is None:
        pytest.skip("coturn not installed (apt: coturn)")
    running: list[subprocess.Popen[bytes]] = []

    def call(*options: str, address: str = "127.0.0.1", streams: bool = False) -> int:
        port = free_port()
        fixed = [
            "-n",
            "--no-cli",
            *([] if streams else ["--no-tls", "--no-tcp"]),
            "--no-dtls",
            "--lt-cred-mech",
            "--log-file=stdout",
            "--simple-log",
        ]
        where = [f"--listening-ip={address}", f"--relay-ip={address}", f"--listening-port={port}", "--user=user:secret"]
        files = [f"--pidfile={home}/coturn.pid", f"--userdb={home}/coturn.db", "--realm=example.org"]
        running.append(
            subprocess.Popen(
                [program, *fixed, *where, *files, *options],
                cwd=home,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                stdin=subprocess.DEVNULL,
            )
        )
        _wait_for_binding(address, port)
        if streams:
            _wait_for_connection(address, port)
        return port

    yield call
    for process in running:
        process.terminate()
        process.wait(PATIENCE)


def _wait_for_binding(address: str, port: int) -> None:
    """Until the server answers a Binding request; the waiting is for a process to start, and paced by the answer."""
    request = bytes.fromhex("000100002112a442") + b"waiting-room"
    deadline = time.monotonic() + PATIENCE
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.settimeout(0.1)
        sock.connect((address, port))
        while time.monotonic() < deadline:
            try:
                sock.send(request)
                if sock.recv(2048):
                    return
            except ConnectionRefusedError:
                select.select([], [], [], 0.05)
            except TimeoutError:
                continue
    pytest.fail("the server did not start")


def _wait_for_connection(address: str, port: int) -> None:
    """Until the server takes connections, which may be after it answers datagrams."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            socket.create_connection((address, port), 1).close()
        except OSError:
            select.select([], [], [], 0.05)
        else:
            return
    pytest.fail("the server takes no connections")
