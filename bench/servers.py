"""The servers under test: how each is started, checked, measured and stopped.

Every server gets the same core, the same user, the same certificate, loopback relays and no quota that the load could
reach. UDP and TCP share a port, and TLS and DTLS the next one.
"""

import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import Self

import yaml

from bench import procfs
from bench.certificate import write_certificate
from bench.plan import BenchError, pinned
from bench.turn import Control, login

__all__ = ["BEFORE", "HOST", "LOGIN", "SERVERS", "Coturn", "Meshturn", "Server", "ServerFailed", "add_before"]

HOST = "127.0.0.1"
REALM = "bench"
BEFORE = "before"
"""The name of another checkout of this project, measured beside this one."""
LOGIN = login("u", "p")

_PORTS = range(23478, 23978)  # below the ephemeral ports (32768 up) and the relay ports (49152 up)
_READY_SECONDS = 120.0
"""Until a server that runs and does not answer counts as hanging; a busy machine may need a minute to start one."""
_STOP_SECONDS = 5.0
_LAST_LINES = 6
_ROOT = Path(__file__).resolve().parent.parent
_DTLS = Path("turnserver", "transports", "dtls.py")


class ServerFailed(BenchError):
    """A server did not start or has ended; the message has the end of its output."""


class Server(ABC):
    """One server process (with whatever it starts); a context manager from started and answering to stopped."""

    name: str
    root = _ROOT
    """The folder that the server is started in."""

    def __init__(self, cpus: frozenset[int] | None) -> None:
        self._cpus = cpus
        self._process: subprocess.Popen[bytes] | None = None
        self._directory = tempfile.TemporaryDirectory(prefix="turn-bench-")
        self.folder = Path(self._directory.name)
        self.port = _free_port()

    @classmethod
    @abstractmethod
    def version(cls) -> str | None:
        """The installed version, or None if this server is not installed."""

    @classmethod
    @abstractmethod
    def settings(cls) -> str:
        """The settings that distinguish this entry, in one line for the report."""

    @abstractmethod
    def command(self) -> list[str]:
        """Write the server's files into ``folder`` and return the command line."""

    def certificate(self) -> tuple[Path, Path]:
        """Files with a certificate and its key, made anew: an ECDSA key, as most servers have today."""
        certificate, key = self.folder / "certificate.pem", self.folder / "key.pem"
        write_certificate(certificate, key)
        return certificate, key

    @property
    def pid(self) -> int:
        """The process id of the server's first process."""
        if self._process is None:
            raise ServerFailed(f"{self.name} is not running")
        return self._process.pid

    def address(self, transport: str) -> tuple[str, int]:
        """Where clients reach this server over *transport*."""
        return HOST, self.port + (transport in {"tls", "dtls"})

    def cpu_seconds(self) -> float:
        """User and system time used so far, all threads and children included."""
        return procfs.cpu_seconds(self.pid)

    def resident_bytes(self) -> int:
        """VmRSS now, children included."""
        return procfs.resident_bytes(self.pid)

    def check(self) -> None:
        """Raise :class:`ServerFailed` when the server has ended."""
        if self._process is not None and self._process.poll() is not None:
            raise ServerFailed(f"{self.name} ended with status {self._process.returncode}\n{self._last_words()}")

    def __enter__(self) -> Self:
        try:
            command = self.command()
            with pinned(self._cpus), (self.folder / "output").open("wb") as output:
                self._process = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, cwd=self.root
                )
            self._wait_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End the server, first by SIGTERM, and remove its files."""
        process, self._process = self._process, None
        if process is not None and process.poll() is None:
            process.terminate()
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._directory.cleanup()

    def _wait_ready(self) -> None:
        """Send Binding requests until one is answered."""
        give_up = time.monotonic() + _READY_SECONDS
        control = Control(None, reliable=False)
        control.binding()
        (request,) = control.frames()  # one for all tries: an answer that comes late is an answer
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.settimeout(0.1)
            probe.connect((HOST, self.port))
            while time.monotonic() < give_up:
                self.check()
                try:
                    probe.send(request)
                    if control.feed(probe.recv(2048)):
                        return
                except ConnectionRefusedError:
                    time.sleep(0.05)  # the server does not listen yet
                except TimeoutError:
                    continue
        raise ServerFailed(f"{self.name} answers no Binding request after {_READY_SECONDS:.0f} s\n{self._last_words()}")

    def _last_words(self) -> str:
        """The end of the server's output."""
        try:
            lines = (self.folder / "output").read_text(errors="replace").splitlines()
        except OSError:
            return ""
        return "\n".join(f"  | {line}" for line in lines[-_LAST_LINES:])


class Meshturn(Server):
    """This project, from this tree, in one process."""

    name = "meshturn"

    @classmethod
    def python(cls) -> str:
        """The interpreter: this one for this tree, and that of its own environment, if it has one, for another."""
        own = cls.root / ".venv" / "bin" / "python"
        return str(own) if cls.root != _ROOT and own.exists() else sys.executable

    @classmethod
    def invocation(cls) -> list[str]:
        """The command ``meshturn`` of the tree; checkouts from before there was a package of that name have another."""
        module = "meshturn" if (cls.root / "meshturn" / "__main__.py").exists() else "cli.main"
        return [cls.python(), "-m", module]

    @classmethod
    def version(cls) -> str | None:
        """The version of the command line, if it can be run."""
        if not (cls.root / "cli" / "main.py").exists():
            return None
        asked = subprocess.run(
            [*cls.invocation(), "--version"], capture_output=True, text=True, cwd=cls.root, check=False
        )
        return asked.stdout.strip().splitlines()[-1] if asked.returncode == 0 and asked.stdout.strip() else "unknown"

    @classmethod
    def settings(cls) -> str:
        """One worker on the asyncio loop, with the default datapath."""
        return "one worker, default datapath"

    @classmethod
    def _transports(cls) -> list[str]:
        """Those that the tree has: an earlier one may have no DTLS."""
        return [name for name in ("udp", "tcp", "tls", "dtls") if name != "dtls" or (cls.root / _DTLS).exists()]

    def command(self) -> list[str]:
        """Write a configuration without limits that the load could reach."""
        certificate, key = self.certificate()
        configuration = {
            "realm": REALM,
            "software": "bench",
            "listeners": [
                {"transport": transport, "address": HOST, "port": self.address(transport)[1]}
                for transport in self._transports()
            ],
            "tls": {"certificates": [{"certificate": str(certificate), "key": str(key)}]},
            "relay": {"addresses": [HOST]},
            "auth": {"users": {LOGIN.username: LOGIN.password}},
            "peers": {"allow": ["127.0.0.0/8"]},
            "limits": {
                "allocations": 20_000,
                "allocations_per_user": 20_000,
                "connections_per_address": 20_000,
                "reflection_burst": 100_000_000,
                "reflection_rate": 100_000_000,
            },
            "log": {"level": "error"},
        }
        path = self.folder / "meshturn.yml"
        path.write_text(yaml.safe_dump(configuration, sort_keys=False))
        path.chmod(0o600)  # the file has a password in it, and the server would warn about its mode
        return [*self.invocation(), "serve", "-c", str(path)]


class Coturn(Server):
    """Debian's coturn with one relay thread, so that both servers have one thread that moves packets."""

    name = "coturn"
    relay_threads: int | None = 1

    @classmethod
    def version(cls) -> str | None:
        """What ``turnserver --version`` says."""
        binary = _coturn_binary()
        if binary is None:
            return None
        asked = subprocess.run([binary, "--version"], capture_output=True, text=True, check=False)
        words = (asked.stdout + asked.stderr).split()
        return words[-1] if words else "unknown"

    @classmethod
    def settings(cls) -> str:
        """The number of relay threads, which is what its entries differ in."""
        return f"--relay-threads={cls.relay_threads}" if cls.relay_threads is not None else "default relay threads"

    def command(self) -> list[str]:
        """Only the command line counts (``-n``): no file of the machine is read, nothing is written outside."""
        binary = _coturn_binary()
        if binary is None:
            raise ServerFailed("turnserver is not installed (Debian: apt-get install coturn)")
        certificate, key = self.certificate()
        threads = [] if self.relay_threads is None else [f"--relay-threads={self.relay_threads}"]
        return [
            binary, "-n", *threads,
            "-L", HOST, "-E", HOST, f"--listening-port={self.port}", f"--tls-listening-port={self.port + 1}",
            f"--cert={certificate}", f"--pkey={key}",
            "--min-port=49152", "--max-port=65535",
            "--no-cli", "--no-rfc5780", "--no-multicast-peers",
            "--lt-cred-mech", f"--user={LOGIN.username}:{LOGIN.password}", f"--realm={REALM}",
            "--user-quota=0", "--total-quota=0", "--max-bps=0", "--allow-loopback-peers",
            f"--userdb={self.folder / 'turndb'}", f"--pidfile={self.folder / 'pid'}",
            "--log-file=/dev/null", "--simple-log",
        ]  # fmt: skip


class CoturnDefaultThreads(Coturn):
    """The same with as many relay threads as coturn chooses by itself."""

    name = "coturn-default"
    relay_threads = None


SERVERS: dict[str, type[Server]] = {kind.name: kind for kind in (Meshturn, Coturn, CoturnDefaultThreads)}


def add_before(checkout: Path) -> None:
    """Let another checkout of this project be measured too, as ``before``.

    Raises :class:`BenchError` for a folder that is not a checkout.
    """
    root = checkout.resolve()
    if not (root / "cli" / "main.py").exists():
        raise BenchError(f"{checkout} is no checkout of meshturn: there is no cli/main.py")
    SERVERS[BEFORE] = type("Before", (Meshturn,), {"name": BEFORE, "root": root, "__doc__": "Another checkout."})


def _coturn_binary() -> str | None:
    """The path of coturn's server, or None."""
    return shutil.which("turnserver") or shutil.which("turnserver", path="/usr/sbin:/usr/local/bin")


def _free_port() -> int:
    """A port of our range that no UDP or TCP socket has on the listening address right now, nor the one after it."""
    for port in random.sample(_PORTS, len(_PORTS)):  # not in order: another run may be looking for one, too
        if all(_can_bind(kind, each) for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM) for each in (port, port + 1)):
            return port
    raise BenchError(f"no free port between {_PORTS.start} and {_PORTS.stop - 1}")


def _can_bind(kind: socket.SocketKind, port: int) -> bool:
    """Whether a socket can be bound to the port."""
    with socket.socket(socket.AF_INET, kind) as trial:
        try:
            trial.bind((HOST, port))
        except OSError:
            return False
    return True
