"""What relaying costs in time beside a process that takes all of a core: ``python -m bench.beside``.

An SFU process at its limit stands for anything that runs beside TURN on a host. One server relays one packet at a time
(``1x1``), alone and beside a busy process, in turns: on another core, or on the server's own. The load generator has a
higher priority than both, since in reality it is on another host.
"""

import argparse
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from time import monotonic, sleep
from typing import Final, NamedTuple

from bench.load import LoadOrder, LoadResult, run_load
from bench.offspring import Offspring
from bench.plan import BenchError, Case, pinned
from bench.relay import percentile
from bench.servers import LOGIN, SERVERS, Server

__all__ = ["main"]

_CASE: Final = Case("udp", 1, 1, 160)
_ABOVE: Final = -15
"""Nice value of the generator; needs root."""

_BUSY: Final = """
import os, socket, sys
os.nice(int(sys.argv[1]))
sink, source = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
sink.bind(("127.0.0.1", 0))
source.connect(sink.getsockname())
packet = bytes(1100)
while True:
    packet = bytes(packet)
    source.send(packet)
"""
"""Copies packets and sends them to where nobody reads: what an SFU does, without an end."""


class _Beside(NamedTuple):
    """What runs beside the server: nothing, or a busy process on those cores with that nice value."""

    label: str
    cpus: frozenset[int] | None = None
    nice: int = 0


def main(arguments: Sequence[str]) -> int:
    """Measure, and print a table in Markdown; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.beside", description="Relaying beside a busy process.")
    parser.add_argument("--rounds", type=int, default=7, help="times that each case is measured (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement (default: %(default)s)")
    parser.add_argument("--nice", type=int, nargs="*", default=[0, 5], help="nice values of the busy process")
    parser.add_argument("--where", choices=("other", "own", "any"), nargs="*", default=["other", "own", "any"])
    options = parser.parse_args(arguments)
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        sys.stderr.write("this needs two cores\n")
        return 2
    own, other = frozenset(cores[:1]), frozenset(cores[1:2])
    cases = [_Beside("nothing")]
    places = {
        "other": ("another core", other),
        "own": ("the server's core", own),
        "any": ("any core", frozenset(cores)),
    }
    for where, cpus in (places[name] for name in options.where):
        cases += [_Beside(f"busy on {where}, nice {nice}", cpus, nice) for nice in options.nice]
    found: dict[_Beside, list[tuple[float, float]]] = {case: [] for case in cases}
    alone: dict[_Beside, list[tuple[float, float]]] = {case: [] for case in cases}
    try:
        with SERVERS["meshturn"](own) as server:
            for _ in range(options.rounds):
                for case in cases:
                    alone[case].append(_measure(server, cases[0], other, options.seconds))
                    found[case].append(_measure(server, case, other, options.seconds))
    except BenchError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write("| beside the server | p50 µs | p99 µs | p50 to alone | p99 to alone |\n|---|---|---|---|---|\n")
    for case in cases:
        sys.stdout.write(_row(case, found[case], alone[case]))
    return 0


def _row(case: _Beside, found: list[tuple[float, float]], alone: list[tuple[float, float]]) -> str:
    """Medians over the rounds; ratios are taken within a round, with the measurement just before."""
    columns = [f"{statistics.median(each):.0f}" for each in zip(*found, strict=True)]
    for column in (0, 1):
        ratios = sorted(one[column] / other[column] for one, other in zip(found, alone, strict=True))
        columns.append(f"{statistics.median(ratios):.2f} ({ratios[0]:.2f}–{ratios[-1]:.2f})")
    return f"| {case.label} | {' | '.join(columns)} |\n"


def _measure(server: Server, beside: _Beside, load: frozenset[int], seconds: float) -> tuple[float, float]:
    """p50 and p99 of a turn, in microseconds."""
    order = LoadOrder(_CASE, 0, 1, server.address("udp"), LOGIN, load)
    with _busy(beside), Offspring(run_load, order, server.check) as generator:
        os.setpriority(os.PRIO_PROCESS, generator.pid, _ABOVE)
        generator.expect("ready", 60.0)
        start = monotonic() + 0.5
        generator.send((start, start + seconds))
        sleep(max(0.0, start + seconds - monotonic()))
        result: LoadResult = generator.expect("done", 60.0)
    latencies = sorted(result.latencies)
    return percentile(latencies, 0.50), percentile(latencies, 0.99)


@contextmanager
def _busy(beside: _Beside) -> Iterator[None]:
    if beside.cpus is None:
        yield
        return
    with pinned(beside.cpus):
        process = subprocess.Popen([sys.executable, "-c", _BUSY, str(beside.nice)])
    try:
        yield
    finally:
        process.kill()
        process.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
