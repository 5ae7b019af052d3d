"""The real server as a child process on loopback, for tests that drive it from outside.

`TurnServerProcess` writes the configuration it is given as YAML, starts ``python -m cli.main serve -c FILE``, waits
until every UDP listener answers a Binding request and every other one takes a connection, keeps the log, and at the end
sends SIGTERM and insists on a clean exit. Nothing here uses the server's own code, so that a fault in the codec
cannot hide itself.
"""

import os
import random
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

import yaml

__all__ = [
    "PASSWORD",
    "REALM",
    "SHARED_SECRET",
    "USERNAME",
    "TurnServerProcess",
    "free_port",
    "has_ipv6_loopback",
    "loopback_config",
    "stream_listeners",
]

REALM = "example.org"
USERNAME = "alice"
PASSWORD = "correct horse battery staple"
SHARED_SECRET = "0123456789abcdef0123456789abcdef"

ROOT = Path(__file__).resolve().parents[2]
PORTS = range(10_000, 32_000)
START_TIMEOUT = 120.0
"""Seconds until a server that does not answer counts as failed; generous, for a busy machine."""
STOP_TIMEOUT = 60.0
"""Seconds until a server that has not stopped counts as hanging; never waited out in success."""
PROBE_TIMEOUT = 0.1
LOG_TAIL = 8_000


def has_ipv6_loopback() -> bool:
    """Whether ``::1`` can be bound here (containers often have no IPv6)."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def free_port(count: int = 1) -> int:
    """A port free on UDP and TCP, on every loopback address, together with the ``count - 1`` ports after it.

    Not one of those that the system gives to sockets which ask for any: a client somewhere would soon have it. Each
    worker of pytest-xdist draws from ports of its own, since between the draw and its use another would find it free.
    """
    addresses = [(socket.AF_INET, "127.0.0.1")]
    if has_ipv6_loopback():
        addresses.append((socket.AF_INET6, "::1"))
    for _ in range(1000):
        port = random.choice(_own_ports())
        wanted = [(family, host, port + step) for family, host in addresses for step in range(count)]
        if all(_is_free(*each) for each in wanted):
            return port
    raise RuntimeError("no free port found on loopback")


def _own_ports() -> range:
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    # One that takes the place of a worker that has crashed has a number beyond.
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % workers
    share = len(PORTS) // workers
    return PORTS[number * share : (number + 1) * share]


def _is_free(family: socket.AddressFamily, host: str, port: int) -> bool:
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        with socket.socket(family, kind) as probe:
            try:
                probe.bind((host, port))
            except (OSError, OverflowError):
                return False
    return True


def loopback_config(**changes: Any) -> dict[str, Any]:
    """A configuration that serves and relays on loopback over UDP, IPv4 and (where there is any) IPv6.

    Keyword arguments replace whole top-level sections.
    """
    port = free_port()
    addresses = ["127.0.0.1", "::1"] if has_ipv6_loopback() else ["127.0.0.1"]
    config: dict[str, Any] = {
        "realm": REALM,
        "software": "meshturn test",
        "listeners": [{"transport": "udp", "address": address, "port": port} for address in addresses],
        "relay": {"addresses": addresses},
        "auth": {"users": {USERNAME: PASSWORD}, "shared_secrets": [SHARED_SECRET]},
        "peers": {"allow": ["127.0.0.0/8", "::1/128"]},
        "limits": {"allocations_per_user": 1000},
    }
    return config | changes


def stream_listeners(*, http: bool = True) -> list[dict[str, Any]]:
    """Listeners of every kind on every loopback address: ``udp`` and ``tcp`` on one port, ``tls`` on the next one.

    With ``http`` there is also a ``shared`` one with TLS on the port after that, and one without on the last.
    """
    first = free_port(4)
    addresses = ["127.0.0.1", "::1"] if has_ipv6_loopback() else ["127.0.0.1"]
    kinds: list[dict[str, Any]] = [
        {"transport": "udp", "port": first},
        {"transport": "tcp", "port": first},
        {"transport": "tls", "port": first + 1},
    ]
    if http:
        kinds.append({"transport": "shared", "port": first + 2})
        kinds.append({"transport": "shared", "port": first + 3, "tls": False})
    return [{"address": address} | kind for kind in kinds for address in addresses]


class TurnServerProcess:
    """One running server; a context manager.

    ``config`` is the configuration as a mapping, ``directory`` takes its file and its log. ``port`` is the port of
    the first listener, ``ports`` that of the first of each transport (``plain`` is a shared one
    without TLS). A failure to start, an exit code other than 0 and a traceback in the log are
    `AssertionError`\\ s that carry the end of the log.
    """

    command: ClassVar[Sequence[str]] = (sys.executable, "-m", "meshturn", "serve", "-c")

    def __init__(self, config: Mapping[str, Any], directory: Path) -> None:
        self.config = config
        self.port: int = config["listeners"][0]["port"]
        self.ports: Mapping[str, int] = {_kind(entry): entry["port"] for entry in reversed(config["listeners"])}
        self._config_file = directory / "meshturn.yml"
        self._log_file = directory / "server.log"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            self.stop()
        else:
            self.kill()
            error.add_note(f"the server's log:\n{self.log_tail}")

    @property
    def log(self) -> str:
        """All that the server has written so far, both streams in one."""
        return self._log_file.read_text(errors="replace") if self._log_file.exists() else ""

    @property
    def log_tail(self) -> str:
        """The end of the log, short enough for a test report."""
        return self.log[-LOG_TAIL:]

    @property
    def pid(self) -> int:
        """The process id of the running server."""
        assert self._process is not None, "the server has not been started"
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether the process is alive."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the server and wait until each of its listeners answers a Binding request or takes a connection."""
        self._config_file.touch(mode=0o600)
        self._config_file.write_text(yaml.safe_dump(dict(self.config), sort_keys=False))
        self._process = self._spawn()
        try:
            for listener in self.config["listeners"]:
                self._wait_until_ready(listener["transport"], listener["address"], listener["port"])
        except BaseException:
            self.kill()
            raise

    def _spawn(self) -> "subprocess.Popen[bytes]":
        with self._log_file.open("wb") as log:
            return subprocess.Popen(
                [*self.command, str(self._config_file)],
                cwd=ROOT,
                env=os.environ | {"PYTHONUNBUFFERED": "1"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def stop(self, signal_number: signal.Signals = signal.SIGTERM) -> None:
        """End the server with a signal; it must exit with 0 in bounded time and leave no traceback in its log."""
        process = self._process
        if process is None:
            return
        died_early = process.poll() is not None
        if not died_early:
            process.send_signal(signal_number)
        code = self._end(f"stop on {signal_number.name}")
        assert not died_early, f"the server died by itself with exit code {code}; log:\n{self.log_tail}"

    def wait_for_end(self) -> None:
        """Wait until the server ends by itself, as after a drain; the same is checked as by `stop`."""
        self._end("end by itself")

    def _end(self, how: str) -> int:
        assert self._process is not None, "the server has not been started"
        try:
            code = self._process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"the server did not {how}; log:\n{self.log_tail}") from None
        self._process = None
        assert code == 0, f"the server exited with {code}, and was to {how}; log:\n{self.log_tail}"
        assert "Traceback (most recent call last)" not in self.log, f"a traceback in the log:\n{self.log_tail}"
        return code

    def kill(self) -> None:
        """End the server at once and ask no questions (after a failure)."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _wait_until_ready(self, transport: str, host: str, port: int) -> None:
        process = self._process
        assert process is not None
        is_ready = {"udp": _answers_binding, "dtls": _answers_hello}.get(transport, _takes_connections)
        give_up = time.monotonic() + START_TIMEOUT
        while not is_ready(host, port):
            code = process.poll()
            assert code is None, f"the server ended with exit code {code} while starting; log:\n{self.log_tail}"
            assert time.monotonic() < give_up, f"no answer from {host}:{port}; log:\n{self.log_tail}"


def _kind(listener: Mapping[str, Any]) -> str:
    return "plain" if listener.get("tls") is False else str(listener["transport"])


def _probe(host: str, kind: socket.SocketKind) -> socket.socket:
    probe = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, kind)
    probe.settimeout(PROBE_TIMEOUT)
    return probe


def _takes_connections(host: str, port: int) -> bool:
    """Connect, and close at once."""
    with _probe(host, socket.SOCK_STREAM) as probe:
        try:
            probe.connect((host, port))
        except (TimeoutError, ConnectionRefusedError):
            time.sleep(PROBE_TIMEOUT)
            return False
    return True


def _answers_hello(host: str, port: int) -> bool:
    """Whether a ClientHello without a cookie gets its HelloVerifyRequest."""
    body = b"\xfe\xfd" + bytes(34) + b"\0\2\xc0\x2b\1\0"
    length = len(body).to_bytes(3, "big")
    hello = b"\1" + length + bytes(5) + length + body
    with _probe(host, socket.SOCK_DGRAM) as probe:
        probe.connect((host, port))
        try:
            probe.send(b"\x16\xfe\xfd" + bytes(8) + len(hello).to_bytes(2, "big") + hello)
            return probe.recv(2048)[13:14] == b"\3"
        except (TimeoutError, ConnectionRefusedError):
            time.sleep(PROBE_TIMEOUT)
            return False


def _answers_binding(host: str, port: int) -> bool:
    """Send one Binding request (RFC 8489 §6) and wait a moment for the success response to it."""
    transaction = secrets.token_bytes(12)
    with _probe(host, socket.SOCK_DGRAM) as probe:
        probe.connect((host, port))
        try:
            probe.send(bytes.fromhex("000100002112a442") + transaction)
            answer = probe.recv(2048)
        except TimeoutError:
            return False
        except ConnectionRefusedError:
            # Nobody listens yet: the kernel says so at once, so this is where the waiting has to be done.
            time.sleep(PROBE_TIMEOUT)
            return False
    return answer[:2] == b"\x01\x01" and answer[8:20] == transaction
