"""`meshturn conform` against Debian's coturn 4.6: what it does otherwise is known, and was verified by frames."""

import asyncio
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from cli.conform.findings import Grade
from cli.conform.pipes import Subject
from cli.conform.table import checks
from stun.client.authentication import Login
from tests.support.certificates import issue
from tests.support.conformance import grade_all, names, server_at
from tests.support.server import free_port

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "conform.md"
LOGIN = Login("user", "secret")
LIMIT = 60.0

EVERYWHERE = {
    "allocate-additional-ipv4",
    "allocate-additional-reserving",
    "allocate-after-delete",
    "allocate-family-both",
    "allocate-token-additional",
    "allocate-token-unknown",
    "allocate-transport-unknown",
    "auth-algorithms-offered",
    "auth-integrity-before-nonce",
    "channel-above",
    "channel-mismatch",
    "channel-peer-multicast",
    "dual-answer",
    "icmp-told",
    "malformed-attribute-long",
    "peer-multicast",
    "peer-own-listener",
    "permission-malformed",
    "permission-mismatch",
    "refresh-zero-deletes",
    "reservation-once",
    "send-after-delete",
}
"""What coturn does otherwise on every transport."""

SOMETIMES = {"peer-own-listener"}
"""It has threads: now and then the answer of its own listener is too late to be seen."""

OVER_UDP = {"discovery-other"}

OVER_STREAMS = {
    "connect-mismatch",
    "connection-bind-challenged",
    "connection-bind-no-id",
    "connection-bind-twice",
    "connection-bind-unknown",
}


@pytest.fixture(scope="module")
def coturn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Subject]]:
    """coturn on loopback over UDP, TCP and TLS."""
    program = shutil.which("turnserver")
    if program is None:
        pytest.skip("coturn not installed (apt: coturn)")
    home = tmp_path_factory.mktemp("coturn")
    pair, port, tls_port = issue(home), free_port(), free_port()
    options = ["-n", "--no-cli", "--no-dtls", "--lt-cred-mech", "--log-file=stdout", "--simple-log"]
    options += [
        "--listening-ip=127.0.0.1",
        "--listening-ip=::1",
        "--relay-ip=127.0.0.1",
        "--relay-ip=::1",
        "--allow-loopback-peers",
    ]
    options += [f"--listening-port={port}", f"--tls-listening-port={tls_port}"]
    options += ["--user=user:secret", "--realm=example.org", f"--pidfile={home}/pid", f"--userdb={home}/db"]
    options += [f"--cert={pair.certificate}", f"--pkey={pair.key}"]
    with ExitStack() as stack:
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        process = subprocess.Popen([program, *options], cwd=home, **quiet)
        stack.callback(process.wait, LIMIT)
        stack.callback(process.terminate)
        targets = {
            "udp": server_at("udp", "127.0.0.1", port, None),
            "tcp": server_at("tcp", "127.0.0.1", port, None),
            "tls": server_at("tls", "127.0.0.1", tls_port, pair.certificate),
        }
        deadline = time.monotonic() + LIMIT
        for target in targets.values():
            while asyncio.run(grade_all([target], "binding-answered", login=None, patience=0.5)).troubles:
                assert time.monotonic() < deadline, "coturn does not answer"
        yield targets


@pytest.mark.parametrize(("transport", "also"), [("udp", OVER_UDP), ("tcp", OVER_STREAMS)])
def test_its_deviations_are_these(coturn: dict[str, Subject], transport: str, also: set[str]) -> None:
    report = asyncio.run(grade_all([coturn[transport]], login=LOGIN, patience=4.0))
    assert not report.troubles
    assert report.software.startswith("Coturn-4.6")
    assert report.count(Grade.BROKEN) == 0
    assert names(report, Grade.FAILED) | SOMETIMES == EVERYWHERE | also
    assert len(names(report, Grade.PASSED)) > 190


def test_over_tls(coturn: dict[str, Subject]) -> None:
    report = asyncio.run(grade_all([coturn["tls"]], "binding", "streams", "refreshing", login=LOGIN, patience=10.0))
    assert names(report, Grade.FAILED) == {"permission-mismatch", "refresh-zero-deletes"}
    assert {"tls-version", "tls-cipher", "stream-channel-padded"} <= names(report, Grade.PASSED)


def test_the_how_to_lists_them_with_their_sections() -> None:
    listed = re.findall(r"^\| `([\w-]+)` \| (\S+) \| ([\d ,§.]+) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert {name for name, _, _ in listed} == EVERYWHERE | OVER_UDP | OVER_STREAMS
    for name, level, rfc in listed:
        assert (level, rfc) == (checks()[name].level, checks()[name].rfc)
