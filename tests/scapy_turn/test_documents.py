"""What the README and the how-to show is what happens: every example runs, and prints what is printed there.

Server and tester are two hosts, which are network namespaces with a cable between them, and have the addresses of the
examples.
"""

import doctest
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from scapy.layers.dns import DNS, DNSRR

from tests.support.certificates import issue
from tests.support.netns import NetworkNamespace
from tests.support.server import TurnServerProcess
from tests.support.tools import require_tool

pytestmark = pytest.mark.net

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = ["scapy_turn/README.md", "docs/how-to/scapy.md"]
SERVER, TESTER, PEER = "192.0.2.1", "192.0.2.7", "198.51.100.9"
INSTALLING = "pip install"

RUN = """
import doctest, sys
source = sys.stdin.read()
test = doctest.DocTestParser().get_doctest(source, {}, "document", None, 0)
runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS, verbose=False)
runner.run(test)
sys.exit(runner.failures or not runner.tries)
"""


def answer_dns(port: socket.socket) -> None:
    """A DNS server that knows one address."""
    with suppress(OSError):
        while (received := port.recvfrom(2000))[1]:
            data, source = received
            asked = DNS(data)
            found = DNSRR(rrname=asked.qd[0].qname, rdata="203.0.113.80")
            port.sendto(bytes(DNS(id=asked.id, qr=1, qd=asked.qd, an=[found])), source)


def echo(port: socket.socket) -> None:
    with suppress(OSError):
        while (received := port.recvfrom(2000))[1]:
            port.sendto(*received)


@pytest.fixture(scope="module")
def tester(processes: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NetworkNamespace]:
    """A host with a cable to another, on which the server and its peer are."""
    for program in ("turnutils_natdiscovery", "turnutils_stunclient"):
        require_tool(program)
    folder = tmp_path_factory.mktemp("server")
    listeners = [{"transport": kind, "address": SERVER, "port": 3478} for kind in ("udp", "tcp")]
    listeners.append({"transport": "tls", "address": SERVER, "port": 5349})
    config = {
        "realm": "example.org",
        "listeners": listeners,
        "relay": {"addresses": [SERVER]},
        "auth": {"users": {"alice": "secret"}},
        "peers": {"allow": [f"{PEER}/32"]},
        "tls": {"certificates": [issue(folder).config]},
    }
    with ExitStack() as stack:
        far, near = stack.enter_context(NetworkNamespace()), stack.enter_context(NetworkNamespace())
        near.ip(f"link add eth0 type veth peer name eth0 netns {far.name}")
        for host, address in ((far, SERVER), (near, TESTER)):
            host.ip(f"addr add {address}/24 dev eth0")
            host.ip("link set eth0 up")
        far.ip(f"addr add {PEER}/32 dev lo")
        near.ip(f"route add default via {SERVER}")
        with far.entered():
            stack.enter_context(TurnServerProcess(config, folder))
            for port, serve in ((53, answer_dns), (9, echo)):
                bound = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                bound.bind((PEER, port))
                stack.callback(stop, bound)
                threading.Thread(target=serve, args=(bound,), daemon=True).start()
        yield near


def stop(port: socket.socket) -> None:
    with suppress(OSError):
        port.shutdown(socket.SHUT_RDWR)
    port.close()


def blocks(document: str, kind: str) -> list[str]:
    text = (ROOT / document).read_text(encoding="utf-8")
    return [block.replace("…", "...") for block in re.findall(rf"```{kind}\n(.*?)```", text, re.DOTALL)]


def run(
    tester: NetworkNamespace, folder: Path, command: list[str], text: str = ""
) -> "subprocess.CompletedProcess[str]":
    """On the tester's host, with this Python as ``python``."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    with tester.entered():
        return subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, "PATH": path, "COLUMNS": "200"},
            input=text,
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )


@pytest.mark.parametrize("document", DOCUMENTS)
def test_python(tester: NetworkNamespace, tmp_path: Path, document: str) -> None:
    """All examples of a document in one session, from top to bottom."""
    examples = blocks(document, "python")
    assert len(examples) > 5
    assert all(block.startswith(">>> ") for block in examples)
    done = run(tester, tmp_path, [sys.executable, "-c", RUN], "\n".join(examples))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("document", DOCUMENTS)
def test_commands(tester: NetworkNamespace, tmp_path: Path, document: str) -> None:
    """What they print; a line of dots is any number of lines."""
    ran = 0
    for block in blocks(document, "console"):
        command, _, expected = block.removeprefix("$ ").partition("\n")
        if command.startswith(INSTALLING):
            continue
        done = run(tester, tmp_path, ["sh", "-c", command])
        assert done.returncode == 0, done.stdout + done.stderr
        if "--flood" in command:
            # How many packets are answered is a matter of time.
            expected, done.stdout = (re.sub(r"[0-9.]+ *", "N ", text) for text in (expected, done.stdout))
        printed = "".join(f"{line.rstrip()}\n" for line in done.stdout.splitlines())
        expected = "".join(f"{line.rstrip()}\n" for line in expected.splitlines())
        assert doctest.OutputChecker().check_output(expected, printed, doctest.ELLIPSIS), f"{command}\n{printed}"
        ran += 1
    assert ran
