"""One measurement of an SFU: a fresh server, one room, one load, one window, one set of numbers."""

import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import Any

from bench.offspring import Offspring
from bench.plan import Plan, SfuCase
from bench.relay import percentile
from bench.sfu_load import SfuLoadResult, SfuOrder, run_sfu_load
from bench.sfu_servers import SFUS
from bench.usage import Usage
from tests.support.browser import network

__all__ = ["SfuSample", "measure_forwarding"]

_SETUP_SECONDS = 120.0
_REPORT_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class SfuSample:
    """The result of one window; packets are those that receivers got, and CPU is the server's with its children."""

    server: str
    case: str
    round: int
    seconds: float
    packets: int
    packets_per_second: float
    server_cpu_us_per_packet: float
    server_cpu: float  # of one core, 1.0 = all of it
    load_cpu: float
    others_on_server_core: float | None
    loss: float
    latency_p50_us: float
    latency_p99_us: float
    latency_samples: int
    rss_per_participant: float
    setup_seconds: float

    def to_json(self) -> dict[str, Any]:
        """Plain values for the result file."""
        return asdict(self)


def measure_forwarding(plan: Plan, case: SfuCase, server_name: str, number: int) -> SfuSample:
    """Start the server, fill a room, measure, stop; *number* is the round.

    Raises `bench.plan.BenchError` when the server or the generator fails, or a receiver gets too little.
    """
    with ExitStack() as stack:
        inside = stack.enter_context(network())
        stack.enter_context(inside.entered())
        server = stack.enter_context(SFUS[server_name](plan.cores.server))
        empty = server.resident_bytes()
        order = SfuOrder(server.room, server.port, case.publishers, case.receivers, plan.cores.load)
        generator = stack.enter_context(Offspring(run_sfu_load, order, server.check))
        setup = generator.expect("ready", _SETUP_SECONDS)
        start = time.monotonic() + plan.warm_up
        stop = start + plan.seconds
        generator.send((start, stop))
        before = Usage.at_moment(start, server, [generator], plan.cores.server)
        after = Usage.at_moment(stop, server, [generator], plan.cores.server)
        full = server.resident_bytes()
        result: SfuLoadResult = generator.expect("done", _REPORT_SECONDS)
        server.check()
    seconds, cpu = after.at - before.at, after.server - before.server
    latencies = sorted(result.latencies)
    return SfuSample(
        server=server_name,
        case=case.label,
        round=number,
        seconds=seconds,
        packets=result.received,
        packets_per_second=result.received / seconds,
        server_cpu_us_per_packet=cpu / max(1, result.received) * 1e6,
        server_cpu=cpu / seconds,
        load_cpu=(after.load - before.load) / seconds,
        others_on_server_core=after.others_since(before),
        loss=1 - result.received / max(1, result.sent * case.receivers),
        latency_p50_us=percentile(latencies, 0.50),
        latency_p99_us=percentile(latencies, 0.99),
        latency_samples=len(latencies),
        rss_per_participant=(full - empty) / (case.publishers + case.receivers),
        setup_seconds=setup,
    )
