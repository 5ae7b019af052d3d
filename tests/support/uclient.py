"""``turnutils_uclient`` of Debian's coturn: scenarios, side by side, and what they print.

A client spends nearly all of its time in delays of its own, so that several run at once.
"""

import os
import re
import socket
import subprocess
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

from tests.support.server import PASSWORD, USERNAME, TurnServerProcess, free_port, has_ipv6_loopback
from tests.support.tools import require_tool

__all__ = [
    "MESSAGES",
    "TOTALS",
    "Outcome",
    "Scenario",
    "assert_all_returned",
    "echo_server",
    "run",
    "run_side_by_side",
    "run_uclient",
]

ENVIRONMENT = dict(os.environ)
"""A copy: clients are started in threads, and pytest changes the environment while the system would be reading it."""

TIMEOUT = 90
"""Seconds until a client that has not ended counts as hanging; ordinary runs take 3 to 6."""
MESSAGES = 20
INTERVAL = 10
"""Milliseconds between two messages of one client."""
AT_ONCE = 6
"""Scenarios that run side by side."""

TOTALS = re.compile(r"start_mclient: tot_send_msgs=(\d+), tot_recv_msgs=(\d+)$", re.MULTILINE)
BUNGLED = "channel bind: error 400 (Bad Request (channel-has-peer)"
"""The client binds two channels to two peers in each allocation, and draws their numbers from 16,384: where it draws
one twice, the server has to refuse the second (RFC 8656 §12.2), and the client gives up. Fifty clients do so once in
three hundred runs; a server that is wrong about it is so in the second run, too."""
PAUSE = "the server did not run for a while"
"""What the server logs when it has dropped media that had waited for more than a second (`turnserver.pauses`)."""
LOSSES = re.compile(r"Total lost packets (\d+) \([\d.]+%\), total send dropped (\d+) \([\d.]+%\)")


class Outcome(NamedTuple):
    """What a client program has printed, and its exit code."""

    code: int
    output: str


@dataclass(frozen=True)
class Scenario:
    """One way to run ``turnutils_uclient``: its flags, and how many of its ``MESSAGES`` streams are to come back.

    ``transport`` names the listener (see `TurnServerProcess.ports`) that it talks to.
    """

    flags: str
    streams: int
    server: str = "127.0.0.1"
    peer: str | None = "127.0.0.1"
    transport: str = "udp"

    @property
    def is_ipv6(self) -> bool:
        """Whether an IPv6 address takes part."""
        return ":" in self.server or ":" in (self.peer or "") or "-x" in self.flags.split()


def run(program: str, *arguments: str) -> Outcome:
    """Run one client program to its end, with no input; it must end by itself."""
    result = subprocess.run(
        [require_tool(program), *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=TIMEOUT,
        check=False,
        text=True,
        errors="replace",
        env=ENVIRONMENT,
    )
    return Outcome(result.returncode, result.stdout)


def run_uclient(server: TurnServerProcess, scenario: Scenario, echo_port: int, *credentials: str) -> Outcome:
    """Run ``turnutils_uclient`` as a scenario says, with the credentials' flags given.

    Once more if it `BUNGLED`, or if the server says that the machine was too busy for it: nothing else may be lost.
    """
    peer = [] if scenario.peer is None else ["-e", scenario.peer, "-r", str(echo_port)]
    counts = ["-n", str(MESSAGES), "-z", str(INTERVAL)]
    port = str(server.ports[scenario.transport])
    arguments = ["-p", port, *credentials, *peer, *counts, *scenario.flags.split(), scenario.server]
    pauses = server.log.count(PAUSE)
    outcome = run("turnutils_uclient", *arguments)
    bungled = outcome.code != 0 and BUNGLED in outcome.output
    paused = ("0", "0") not in LOSSES.findall(outcome.output) and server.log.count(PAUSE) > pauses
    return run("turnutils_uclient", *arguments) if bungled or paused else outcome


def assert_all_returned(outcome: Outcome, messages: int) -> None:
    """The client ended well, its statistics name exactly ``messages`` both ways, and nothing was lost or dropped."""
    assert outcome.code == 0, outcome.output
    totals = TOTALS.findall(outcome.output)
    assert totals, outcome.output
    assert totals[-1] == (str(messages), str(messages)), outcome.output
    assert LOSSES.findall(outcome.output) == [("0", "0")], outcome.output
    assert "Total lost packets 0 (0.000000%)" in outcome.output


@contextmanager
def run_side_by_side(
    scenarios: Mapping[str, Scenario],
    selected: set[str],
    server: TurnServerProcess,
    echo_port: int,
    at_once: int = AT_ONCE,
) -> Iterator[Mapping[str, Future[Outcome]]]:
    """Start those scenarios that are ``selected`` and possible on this machine; their outcomes by name."""
    with ThreadPoolExecutor(at_once) as pool:
        try:
            yield {
                name: pool.submit(run_uclient, server, scenario, echo_port, "-u", USERNAME, "-w", PASSWORD)
                for name, scenario in scenarios.items()
                if name in selected and (has_ipv6_loopback() or not scenario.is_ipv6)
            }
        finally:
            pool.shutdown(cancel_futures=True)


@contextmanager
def echo_server() -> Iterator[int]:
    """``turnutils_peer``, which sends back whatever comes; the first of its two ports."""
    peer = require_tool("turnutils_peer")
    port = free_port(2)
    addresses = ["-L", "127.0.0.1", *(["-L", "::1"] if has_ipv6_loopback() else [])]
    with subprocess.Popen(
        [peer, "-p", str(port), *addresses], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    ) as process:
        try:
            _wait_for_echo(port)
            yield port
        finally:
            process.kill()


def _wait_for_echo(port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.settimeout(0.1)
        for _ in range(300):
            # Not connected, so that a refusal is not reported at once and only the time-out waits.
            probe.sendto(b"ready?", ("127.0.0.1", port))
            try:
                probe.recvfrom(16)
            except TimeoutError:
                continue
            return
    raise AssertionError(f"turnutils_peer does not answer on port {port}")
