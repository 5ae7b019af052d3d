"""One measurement of relaying: generators around a fresh server, one warm-up, one window, one set of numbers."""

import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

from bench.legs import LEGS
from bench.load import LoadOrder, LoadResult, run_load
from bench.offspring import Offspring
from bench.plan import BenchError, Case, Plan
from bench.servers import LOGIN, SERVERS, Server
from bench.usage import Usage

__all__ = ["RelaySample", "measure_relaying", "percentile"]

_SETUP_SECONDS = 60.0
_REPORT_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class RelaySample:
    """The result of one window of one server under one case; packets are relayed packets, both directions."""

    server: str
    case: str
    round: int
    seconds: float
    packets: int
    packets_per_second: float
    server_cpu_us_per_packet: float
    load_cpu_us_per_packet: float
    server_cpu: float  # of one core, 1.0 = all of it
    load_cpu: float
    others_on_server_core: float | None
    loss: float  # of all packets sent, first to last
    replaced: int
    late: int
    latency_p50_us: float
    latency_p99_us: float
    latency_samples: int
    setup_seconds: float

    def to_json(self) -> dict[str, Any]:
        """Plain values for the result file."""
        return asdict(self)


def measure_relaying(plan: Plan, case: Case, server_name: str, number: int) -> RelaySample:
    """Start the server, load it, stop it; *number* is the round.

    Raises :class:`BenchError` when the server or a generator fails, or a packet comes back damaged.
    """
    if case.transport not in LEGS:
        raise BenchError(f"no load generator for {case.transport}")
    with ExitStack() as stack:
        server = stack.enter_context(SERVERS[server_name](plan.cores.server))
        orders = _share(plan, case, server)
        generators = [stack.enter_context(Offspring(run_load, order, server.check)) for order in orders]
        setup = max(generator.expect("ready", _SETUP_SECONDS) for generator in generators)
        start = time.monotonic() + plan.warm_up
        stop = start + plan.seconds
        for generator in generators:
            generator.send((start, stop))
        before = Usage.at_moment(start, server, generators, plan.cores.server)
        after = Usage.at_moment(stop, server, generators, plan.cores.server)
        results: list[LoadResult] = [generator.expect("done", _REPORT_SECONDS) for generator in generators]
        server.check()
    return _sum_up(case, server_name, number, before, after, results, setup)


def _share(plan: Plan, case: Case, server: Server) -> list[LoadOrder]:
    """Split the flows between the generator processes."""
    processes = min(plan.load_processes, case.flows)
    edges = [case.flows * part // processes for part in range(processes + 1)]
    address = server.address(case.transport)
    return [LoadOrder(case, first, last - first, address, LOGIN, plan.cores.load) for first, last in pairwise(edges)]


def _sum_up(
    case: Case,
    server_name: str,
    number: int,
    before: Usage,
    after: Usage,
    results: list[LoadResult],
    setup: float,
) -> RelaySample:
    """Turn counts and clocks into the numbers of the report."""
    at_peer = sum(result.at_peer for result in results)
    at_client = sum(result.at_client for result in results)
    if not (at_peer and at_client):
        raise BenchError(f"not relayed: {at_peer} packets came to the peers and {at_client} to the clients")
    corrupt = sum(result.corrupt for result in results)
    if corrupt:
        raise BenchError(f"{corrupt} packets came back damaged or were no ChannelData")
    packets = at_peer + at_client
    seconds = after.at - before.at
    server_cpu, load_cpu = after.server - before.server, after.load - before.load
    sent = sum(result.sent_total for result in results)
    received = sum(result.received_total for result in results)
    latencies = sorted(value for result in results for value in result.latencies)
    return RelaySample(
        server=server_name,
        case=case.label,
        round=number,
        seconds=seconds,
        packets=packets,
        packets_per_second=packets / seconds,
        server_cpu_us_per_packet=server_cpu / packets * 1e6,
        load_cpu_us_per_packet=load_cpu / packets * 1e6,
        server_cpu=server_cpu / seconds,
        load_cpu=load_cpu / seconds,
        others_on_server_core=after.others_since(before),
        loss=(sent - received) / sent,
        replaced=sum(result.replaced for result in results),
        late=sum(result.late for result in results),
        latency_p50_us=percentile(latencies, 0.50),
        latency_p99_us=percentile(latencies, 0.99),
        latency_samples=len(latencies),
        setup_seconds=setup,
    )


def percentile(ordered: list[int], share: float) -> float:
    """The value below which *share* of the samples lie, nanoseconds in, microseconds out."""
    if not ordered:
        return float("nan")
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] / 1000
