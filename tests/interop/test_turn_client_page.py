"""The programs on `docs/turn-client.md` run as they are printed, but for the addresses and the file of a root."""

import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.certificates import CertificatePair, issue
from tests.support.server import TurnServerProcess, loopback_config, stream_listeners

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = re.findall(r"^```python\n(.*?)^```$", (ROOT / "docs" / "turn-client.md").read_text("utf-8"), re.M | re.S)
TIMEOUT = 60

SAYS = {
    0: r"our relayed address is 127\.0\.0\.1:\d+\n127\.0\.0\.1:\d+ says b'hello'\n",
    1: r"refused: 401\n",
    2: r"127\.0\.0\.1:\d+\n",
    3: r"b'hello'\n",
    4: r"PeerData\(.*data=b'from another address', channel=16384\)\nPeerData\(.*data=b'over TCP', channel=16384\)\n",
    5: r"127\.0\.0\.1:\d+\n\[PeerData\(.*data=b'hello', channel=None\)\]\n",
    6: r"ErrorValue\(code=437, reason='Allocation Mismatch \(no-allocation\)'\) True \d+\.\d ms\n",
}
"""What each program prints."""


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> CertificatePair:
    return issue(tmp_path_factory.mktemp("certificate"))


@pytest.fixture(scope="module")
def turn_server(tmp_path_factory: pytest.TempPathFactory, pair: CertificatePair) -> Iterator[TurnServerProcess]:
    config = loopback_config(
        listeners=stream_listeners(http=False),
        tls={"certificates": [pair.config]},
        auth={"users": {"alice": "secret"}},
        relay={"addresses": ["127.0.0.1"], "mobility": True},
    )
    with TurnServerProcess(config, tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture(scope="module")
def echo_port() -> Iterator[int]:
    """A peer that sends everything back, over UDP and TCP on one port."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = int(listening.getsockname()[1])
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
            datagrams.bind(("127.0.0.1", port))
            threading.Thread(target=_echo_datagrams, args=[datagrams], daemon=True).start()
            threading.Thread(target=_echo_streams, args=[listening], daemon=True).start()
            yield port


def _echo_datagrams(sock: socket.socket) -> None:
    while True:
        try:
            sock.sendto(*sock.recvfrom(2048))
        except OSError:
            return


def _echo_streams(listening: socket.socket) -> None:
    while True:
        try:
            connection, _ = listening.accept()
        except OSError:
            return
        with connection:
            connection.sendall(connection.recv(2048))


def test_the_page_has_the_programs_that_are_tried() -> None:
    assert list(range(len(PROGRAMS))) == list(SAYS)


@pytest.mark.parametrize("number", SAYS)
def test_it_runs_as_printed(
    number: int, turn_server: TurnServerProcess, pair: CertificatePair, echo_port: int, tmp_path: Path
) -> None:
    ports = turn_server.ports
    program = PROGRAMS[number]
    for printed, ours in (
        ("turns:turn.example.org", f"turns:127.0.0.1:{ports['tls']}"),
        ("turn:turn.example.org?transport=tcp", f"turn:127.0.0.1:{ports['tcp']}?transport=tcp"),
        ("turn:turn.example.org", f"turn:127.0.0.1:{ports['udp']}"),
        ('"turn.example.org", 3478', f'"127.0.0.1", {ports["udp"]}'),
        ('"192.0.2.7", 5000', f'"127.0.0.1", {echo_port}'),
        ("/etc/ssl/our-root.pem", str(pair.certificate)),
    ):
        program = program.replace(printed, ours)
    assert "192.0.2" not in program
    assert "example.org" not in program
    script = tmp_path / "program.py"
    script.write_text(program)
    result = subprocess.run(
        [sys.executable, str(script)], cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT, check=False
    )
    assert result.returncode == 0, result.stderr
    assert re.fullmatch(SAYS[number], result.stdout), result.stdout
