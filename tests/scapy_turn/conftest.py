"""The real server on loopback with all its transports, and an echo at the far end of its relays."""

import contextlib
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from scapy_turn import StunMessage
from scapy_turn.wire import Wire
from tests.support.certificates import issue
from tests.support.server import (
    PASSWORD,
    USERNAME,
    TurnServerProcess,
    free_port,
    loopback_config,
    stream_listeners,
)
from tests.support.tools import require_tool


@pytest.fixture(scope="module")
def server(processes: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TurnServerProcess]:
    """One server for the tests of a module, over UDP, TCP and TLS."""
    folder = tmp_path_factory.mktemp("server")
    pair = issue(folder)
    config = loopback_config(listeners=stream_listeners(http=False), tls={"certificates": [pair.config]})
    with TurnServerProcess(config, folder) as running:
        yield running


@contextlib.contextmanager
def running_coturn(folder: Path, *options: str) -> Iterator[int]:
    """Debian's coturn with its ordinary rules for peers but for loopback; its port, after which another is free."""
    port = free_port(2)
    command = [require_tool("turnserver"), "-n", "--no-cli", "-a", "-r", "example.org", "--allow-loopback-peers"]
    command += ["-u", f"{USERNAME}:{PASSWORD}", "-L", "127.0.0.1", "-p", str(port), "--pidfile", str(folder / "pid")]
    command += ["--tls-listening-port", str(port + 1), "-l", str(folder / "log"), "--no-stdout-log"]
    command += ["--userdb", str(folder / "db"), *options]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder)
    try:
        give_up = time.monotonic() + 60
        while True:
            with Wire(("127.0.0.1", port)) as wire:
                if wire.exchange(StunMessage(), 0.5):
                    break
            assert time.monotonic() < give_up
        yield port
    finally:
        process.terminate()
        process.wait(60)


@pytest.fixture(scope="module")
def coturn(processes: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    """The same, over UDP and TCP."""
    with running_coturn(tmp_path_factory.mktemp("coturn"), "--no-tls", "--no-dtls") as port:
        yield "127.0.0.1", port


class Echo:
    """A UDP socket that answers everything, in a thread, until it is closed; not before ``after`` has answered."""

    def __init__(self, host: str, after: "Echo | None" = None) -> None:
        self.after = after
        self.answered = threading.Event()
        self.socket = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((host, 0))
        self.address: tuple[str, int] = self.socket.getsockname()[:2]
        self.sources: list[tuple[str, int]] = []
        self._closing = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._closing:
            with contextlib.suppress(ConnectionRefusedError):
                data, source = self.socket.recvfrom(65_535)
                self.sources.append(source[:2])
                if self.after is not None and not self._closing:
                    self.after.answered.wait(60)
                self.socket.sendto(data, source)
                self.answered.set()

    def close(self) -> None:
        self._closing = True
        with socket.socket(self.socket.family, socket.SOCK_DGRAM) as bell:
            bell.sendto(b"", self.address)
        self._thread.join()
        self.socket.close()


@pytest.fixture
def echo() -> Iterator[Echo]:
    running = Echo("127.0.0.1")
    yield running
    running.close()


@pytest.fixture
def echo6(ipv6: None) -> Iterator[Echo]:
    running = Echo("::1")
    yield running
    running.close()
