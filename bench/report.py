"""The results of a run as text tables."""

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bench.allocations import AllocationSample
from bench.plan import CROWDED, Case
from bench.relay import RelaySample
from bench.results import Results, Spread, baseline, paired_ratio, spread
from bench.sfu import SfuSample

__all__ = ["line_for_allocations", "line_for_relay", "line_for_sfu", "show"]

_BUSY = 0.90  # a server below this share of its core was not limited by its CPU
_FULL = 0.95  # a generator above this share of its core may have been the limit
_LOSSY = 0.001  # a closed loop fits every buffer: loss means that something is wrong


def show(results: Results, console: Console) -> None:
    """Print the tables, and below them the reservations about them."""
    plan = results.plan
    for name in dict.fromkeys((*plan.servers, *plan.sfus)):
        console.print(f"{name}: version {results.versions[name]}")
    console.print(f"{plan.cores.describe()}; {plan.rounds} round(s) of {plan.seconds:g} s, servers in turns")
    if results.relay:
        console.print(_relay_table(results))
    if results.sfu:
        console.print(_sfu_table(results))
    if results.allocations:
        console.print(_allocation_table(results))
    for remark in _remarks(results):
        console.print(f"[yellow]note[/]: {remark}")
    for failure in results.failures:
        reason = failure.text.splitlines()[0]  # the whole text was printed when it happened, and is in the file
        console.print(f"[red]failed[/]: {failure.server}, {failure.what}, round {failure.round}: {escape(reason)}")


def line_for_relay(sample: RelaySample) -> str:
    """One measurement in one line, while the run goes on."""
    return (
        f"{sample.server_cpu_us_per_packet:6.2f} µs/packet, {sample.packets_per_second:8,.0f} packets/s,"
        f" loss {sample.loss:.3%}, server CPU {sample.server_cpu:.0%}, load CPU {sample.load_cpu:.0%}"
        f" ({sample.load_cpu_us_per_packet:.2f} µs/packet)"
    )


def line_for_allocations(sample: AllocationSample) -> str:
    """One measurement of allocations in one line, while the run goes on."""
    return (
        f"{sample.per_second:7,.0f} allocations/s, {sample.rss_per_allocation:6,.0f} bytes each,"
        f" relayed {sample.relayed_returned} of {sample.relayed_sent}"
    )


def line_for_sfu(sample: SfuSample) -> str:
    """One measurement of an SFU in one line, while the run goes on."""
    return (
        f"{sample.server_cpu_us_per_packet:6.2f} µs/packet, {sample.packets_per_second:8,.0f} packets/s,"
        f" loss {sample.loss:.3%}, added latency p50 {sample.latency_p50_us:,.0f} p99 {sample.latency_p99_us:,.0f} µs,"
        f" {sample.rss_per_participant / 2**10:,.0f} KiB each, load CPU {sample.load_cpu:.0%}"
    )


def _sfu_table(results: Results) -> Table:
    """Forwarding: one row for every room and server."""
    table = Table(title="Forwarding (packets to receivers; medians over the rounds, least–greatest)")
    table.add_column("room")
    table.add_column("server")
    for heading in (
        "CPU µs/packet",
        "ratio to the better Janus",
        "packets/s a core",
        "loss",
        "p50 µs",
        "p99 µs",
        "KiB a participant",
        "others",
    ):
        table.add_column(heading, justify="right")
    for case in results.plan.rooms:
        base = results.better_janus(case.label)
        for server in results.plan.sfus:
            samples = results.sfu_of(case.label, server)
            if not samples:
                continue
            cost = spread([sample.server_cpu_us_per_packet for sample in samples])
            ratio = paired_ratio(samples, base, lambda one: one.server_cpu_us_per_packet)
            others = [each.others_on_server_core for each in samples if each.others_on_server_core is not None]
            table.add_row(
                case.label,
                server,
                _decimals(cost),
                _decimals(ratio) if ratio is not None else "",
                f"{1e6 / cost.median:,.0f}" if cost.median else "",
                f"{max(sample.loss for sample in samples):.3%}",
                f"{spread([sample.latency_p50_us for sample in samples]).median:,.0f}",
                f"{spread([sample.latency_p99_us for sample in samples]).median:,.0f}",
                f"{spread([sample.rss_per_participant / 2**10 for sample in samples]).median:,.0f}",
                f"{max(others):.0%}" if others else "?",
            )
        table.add_section()
    return table


def _relay_table(results: Results) -> Table:
    """Relaying: one row for every case and server."""
    table = Table(title="Relaying (packets both directions; medians over the rounds, least–greatest)")
    table.add_column("case")
    table.add_column("server")
    for heading in (
        "CPU µs/packet",
        "ratio",
        "packets/s",
        "loss",
        "p50 µs",
        "p99 µs",
        "server CPU",
        "load CPU",
        "others",
    ):
        table.add_column(heading, justify="right")
    for case in results.plan.cases:
        for server in results.plan.servers:
            samples = results.relay_of(case.label, server)
            if samples:
                table.add_row(*_relay_row(results, case, server, samples))
        table.add_section()
    return table


def _relay_row(results: Results, case: Case, server: str, samples: list[RelaySample]) -> list[str]:
    """The cells of one row."""
    others = [sample.others_on_server_core for sample in samples if sample.others_on_server_core is not None]
    return [
        case.label,
        server,
        _decimals(spread([sample.server_cpu_us_per_packet for sample in samples])),
        _relay_ratio(results, case, server, samples),
        f"{spread([sample.packets_per_second for sample in samples]).median:,.0f}",
        f"{max(sample.loss for sample in samples):.3%}",
        f"{spread([sample.latency_p50_us for sample in samples]).median:,.0f}",
        f"{spread([sample.latency_p99_us for sample in samples]).median:,.0f}",
        f"{spread([sample.server_cpu for sample in samples]).median:.0%}",
        _load_cell(samples),
        f"{max(others):.0%}" if others else "?",
    ]


def _load_cell(samples: list[RelaySample]) -> str:
    """How busy the generator was, and what a packet cost it: much the same for every server on a quiet machine."""
    share = spread([sample.load_cpu for sample in samples]).median
    cost = spread([sample.load_cpu_us_per_packet for sample in samples]).median
    return f"{share:.0%}, {cost:.1f} µs"


def _relay_ratio(results: Results, case: Case, server: str, samples: list[RelaySample]) -> str:
    """CPU per packet over the baseline's, round by round."""
    against = baseline(results.plan.servers)
    if against is None or server == against:
        return ""
    ratio = paired_ratio(samples, results.relay_of(case.label, against), lambda one: one.server_cpu_us_per_packet)
    return _decimals(ratio) if ratio is not None else ""


def _allocation_table(results: Results) -> Table:
    """Allocations held at once: one row for every server."""
    count = results.plan.allocations
    table = Table(title=f"{count:,} allocations at once (medians over the rounds, least–greatest)")
    table.add_column("server")
    for heading in (
        "allocations/s",
        "CPU µs/allocation",
        "RSS bytes/allocation",
        "RSS MiB",
        "relayed after",
        "load CPU µs",
    ):
        table.add_column(heading, justify="right")
    for server in results.plan.servers:
        samples = results.allocations_of(server)
        if not samples:
            continue
        per_second = spread([sample.per_second for sample in samples])
        memory = spread([sample.rss_per_allocation for sample in samples])
        table.add_row(
            server,
            f"{per_second.median:,.0f} ({per_second.low:,.0f}–{per_second.high:,.0f})",
            f"{spread([sample.server_cpu_us_per_allocation for sample in samples]).median:,.0f}",
            f"{memory.median:,.0f} ({memory.low:,.0f}–{memory.high:,.0f})",
            f"{spread([sample.rss_after / 2**20 for sample in samples]).median:,.0f}",
            f"{sum(sample.relayed_returned for sample in samples)}/{sum(sample.relayed_sent for sample in samples)}",
            f"{spread([sample.load_cpu_us_per_allocation for sample in samples]).median:,.0f}",
        )
    return table


def _remarks(results: Results) -> list[str]:
    """The reservations about the numbers in the tables."""
    remarks = []
    crowded = [sample for sample in results.relay if (sample.others_on_server_core or 0.0) > CROWDED]
    if crowded:
        remarks.append(
            f"in {len(crowded)} of {len(results.relay)} measurements others used more than {CROWDED:.0%} of the"
            " server's core; latency and packets/s are lower bounds there, CPU per packet is only disturbed"
        )
    limited = [sample for sample in results.relay if sample.server_cpu < _BUSY and sample.load_cpu > _FULL]
    for server, case in sorted({(sample.server, sample.case) for sample in limited}):
        remarks.append(f"{server}, {case}: the load generator was the limit; use more cores and --load-processes")
    for sample in results.relay:
        if sample.loss > _LOSSY:
            remarks.append(f"{sample.server}, {sample.case}, round {sample.round}: {sample.loss:.1%} of packets lost")
        if sample.late:
            remarks.append(f"{sample.server}, {sample.case}: {sample.late} packets came more than half a second late")
    for one in results.allocations:
        if one.distinct_relays != one.allocations:
            remarks.append(f"{one.server}: only {one.distinct_relays} of {one.allocations} relayed addresses differ")
        if one.retransmissions:
            remarks.append(f"{one.server}: {one.retransmissions} control requests had to be sent again")
    return remarks


def _decimals(values: Spread) -> str:
    """``5.31 (5.20–5.62)``."""
    return f"{values.median:.2f} ({values.low:.2f}–{values.high:.2f})"
