"""The first code of the command: a signal finds a server that can answer it, however early it comes."""

import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cli.entry import signals_for

Start = Callable[..., Any]

LOOPBACK = """
listeners:
  - address: 127.0.0.1
    port: 0
auth:
  users: {u: {env: SECRET}}
"""
ENV = {"SECRET": "a-secret-of-the-test-0123456789"}

HELD_BACK = """
import builtins, os, sys
real = builtins.__import__
def importing(name, *rest, **named):
    if name == STOP_AT:
        builtins.__import__ = real
        os.write(1, b"loading\\n")
        os.read(0, 1)
    return real(name, *rest, **named)
builtins.__import__ = importing
sys.argv[0] = "meshturn"
from meshturn.__main__ import main
main()
"""
"""The command as its script starts it, held while it loads a module until a byte comes."""


@pytest.mark.parametrize("command", ["serve", "up"])
def test_servers_take_their_signals_first(command: str) -> None:
    assert signals_for([command, "-c", "x.yml"]) is not None
    assert signals_for(["-h", command]) is not None


@pytest.mark.parametrize("arguments", [[], ["--version"], ["check", "up"], ["probe", "turn:up"], ["call", "serve"]])
def test_other_commands_end_at_a_signal_as_programs_do(arguments: list[str]) -> None:
    assert signals_for(arguments) is None


@pytest.mark.process
def test_nothing_is_loaded_before_the_signals_are_taken() -> None:
    """What takes long, the libraries among it, comes after."""
    code = "import sys; from meshturn.__main__ import main; from turnserver.signals import Signals; print(*sys.modules)"
    root = Path(__file__).resolve().parents[2]
    loaded = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True).stdout
    assert not {"click", "asyncio", "pydantic", "aiohttp", "cli.main"} & set(loaded.split())


class HeldBack:
    """A server that is held at the import of a module."""

    def __init__(self, module: str, path: Path, environment: dict[str, str]) -> None:
        code = HELD_BACK.replace("STOP_AT", repr(module))
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, "serve", "-c", str(path)],
            env={**environment, **ENV},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
        )
        self.until(b"loading\n")

    def until(self, word: bytes) -> None:
        assert self.process.stdout is not None
        seen = b""
        while word not in seen:
            select.select([self.process.stdout], [], [], 120)
            chunk = os.read(self.process.stdout.fileno(), 65536)
            assert chunk, (seen, self.process.stderr.read() if self.process.stderr else b"")
            seen += chunk

    def go_on(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(b".")

    def end(self) -> tuple[int, str]:
        _, errors = self.process.communicate(timeout=120)
        return self.process.returncode, errors.decode()


MODULES = ["click", "turnserver.config", "turnserver.process", "turnserver.core.server"]


@pytest.mark.process
@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR2])
def test_a_signal_that_comes_while_it_loads_is_answered_when_it_is_ready(
    environment: dict[str, str], write: Callable[[str], Path], module: str, number: signal.Signals
) -> None:
    server = HeldBack(module, write(LOOPBACK), environment)
    server.process.send_signal(number)
    server.go_on()
    server.until(b"ready\n")
    server.process.send_signal(signal.SIGTERM)
    code, log = server.end()
    said = "configuration reloaded: no change" if number == signal.SIGHUP else "certificates reloaded: no change"
    assert code == 0, log
    assert said in log


@pytest.mark.process
@pytest.mark.parametrize("module", MODULES)
def test_a_drain_that_is_asked_for_while_it_loads(
    environment: dict[str, str], write: Callable[[str], Path], module: str
) -> None:
    """It becomes ready, and ends, since there is nothing to wait for."""
    server = HeldBack(module, write(LOOPBACK), environment)
    server.process.send_signal(signal.SIGUSR1)
    server.go_on()
    server.until(b"ready\n")
    code, log = server.end()
    assert code == 0, log
    assert [word in log for word in ("draining", "drained", "stopped")] == [True] * 3


@pytest.mark.process
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_can_be_stopped_while_it_loads(
    environment: dict[str, str], write: Callable[[str], Path], number: signal.Signals
) -> None:
    """Nothing is bound then; the exit code is that of a server that was stopped, and the log has a line."""
    server = HeldBack("turnserver.config", write(LOOPBACK), environment)
    server.process.send_signal(number)
    server.go_on()
    code, log = server.end()
    assert (code, "stopping before the start" in log, "listening" in log) == (0, True, False), log


@pytest.mark.process
def test_a_start_that_hangs_ends_at_the_second_signal(
    environment: dict[str, str], write: Callable[[str], Path]
) -> None:
    server = HeldBack("turnserver.config", write(LOOPBACK), environment)
    server.process.send_signal(signal.SIGHUP)
    for number in (signal.SIGINT, signal.SIGTERM):
        server.process.send_signal(number)
        while number == signal.SIGINT and _pending(server.process.pid):
            select.select([], [], [], 0.01)
    code, log = server.end()
    assert code == 128 + signal.SIGTERM
    assert "ended by a second signal (SIGTERM)" in log
    assert "Traceback" not in log


def _pending(pid: int) -> bool:
    """Whether a signal of the process waits to be delivered."""
    status = Path(f"/proc/{pid}/status").read_text()
    return any(line.split()[1].strip("0") for line in status.splitlines() if line.startswith(("SigPnd", "ShdPnd")))


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR2])
def test_up_goes_on(start: Start, number: signal.Signals) -> None:
    """It has no file to read again."""
    server = start("up", "--address", "127.0.0.1", "--port", "0", "--tls-port", "0", "--http-port", "0", "--json")
    server.until("\n")
    server.popen.send_signal(number)
    log = b""
    while b"certificates reloaded: no change" not in log:
        chunk = os.read(server.popen.stderr.fileno(), 65536)
        assert chunk, log
        log += chunk
    assert server.stop()[0] == 0
