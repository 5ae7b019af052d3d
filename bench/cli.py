"""The command line of the benchmark: what to measure, the rounds, the output."""

import json
import signal
from collections.abc import Mapping
from pathlib import Path
from types import FrameType

import click
from rich.console import Console

from bench import report, results
from bench.allocations import measure_allocations
from bench.legs import LEGS
from bench.plan import CROWDED, BenchError, Case, Cores, Plan, SfuCase
from bench.relay import RelaySample, measure_relaying
from bench.servers import BEFORE, SERVERS, Server, add_before
from bench.sfu import measure_forwarding
from bench.sfu_servers import SFUS, add_sfu_before

__all__ = ["main"]

SFU = "sfu"
_SHAPES = "8x16,512x1"
_PAYLOADS = "160,1200"
_ROOMS = "2x20,4x25"
_RESULTS = Path(__file__).resolve().parent / "results"
_MAX_FLOWS = 4096
_MAX_IN_FLIGHT = 128
_MAX_PAYLOAD = 1400
_MIN_PAYLOAD = 16
_MAX_PUBLISHERS = 20
_MAX_RECEIVERS = 75
_PIPE_WIDTH = 150


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--only", type=click.Choice([*LEGS, "allocations", SFU]), help="Measure one part only.")
@click.option("--servers", "servers_text", default="meshturn,coturn", show_default=True,
              help=f"Which, in which order; of {', '.join(SERVERS)}.")  # fmt: skip
@click.option("--sfus", "sfus_text", default=",".join(SFUS), show_default=True, help="Which SFUs, in which order.")
@click.option("--rooms", default=_ROOMS, show_default=True, help="Publishers x receivers of each room.")
@click.option(
    "--before",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A checkout of an earlier commit, measured in turns with this one; ratios are then against it.",
)
@click.option(
    "--rounds", type=click.IntRange(1, 50), help="Rounds, each measuring every server.  [default: 5, allocations 3]"
)
@click.option("--seconds", type=click.FloatRange(0.5, 60), help="Length of one measurement.  [default: 3]")
@click.option("--shapes", default=_SHAPES, show_default=True, help="Flows x packets in flight of each.")
@click.option("--payloads", default=_PAYLOADS, show_default=True, help="Bytes of payload.")
@click.option("--allocations", "count", type=click.IntRange(10, 16_000), help="Allocations to hold.  [default: 10000]")
@click.option("--load-processes", type=click.IntRange(1, 16), default=1, show_default=True,
              help="Generator processes; more than one needs more than two cores.")  # fmt: skip
@click.option("--patience", type=click.IntRange(0, 20), default=2, show_default=True,
              help="How often to repeat a measurement while others crowd the server's core.")  # fmt: skip
@click.option("--quick", is_flag=True, help="Two short rounds and 2,000 allocations: a look, not a result.")
@click.option("--no-pin", is_flag=True, help="Leave it to the kernel where server and load run.")
@click.option("--json", "as_json", is_flag=True, help="Print the result file instead of tables.")
@click.option("--output", type=click.Path(file_okay=False, path_type=Path), default=_RESULTS,
              help="Folder of the result file.  [default: bench/results]")  # fmt: skip
def main(
    only: str | None,
    servers_text: str,
    sfus_text: str,
    rooms: str,
    before: Path | None,
    rounds: int | None,
    seconds: float | None,
    shapes: str,
    payloads: str,
    count: int | None,
    load_processes: int,
    patience: int,
    quick: bool,
    no_pin: bool,
    as_json: bool,
    output: Path,
) -> None:
    """Measure relaying over UDP, TCP, TLS and DTLS, allocations and SFUs, servers in turns: medians, spread, ratio."""
    signal.signal(signal.SIGTERM, _end)
    progress = Console(stderr=True, highlight=False, soft_wrap=True)
    try:
        if before is not None:
            add_before(before)
            add_sfu_before(before.resolve())
            servers_text, sfus_text = f"{servers_text},{BEFORE}", f"{sfus_text},{BEFORE}"
        servers, versions = ((), {}) if only == SFU else _installed(servers_text, SERVERS, progress)
        sfus, more = _installed(sfus_text, SFUS, progress) if only in {None, SFU} else ((), {})
        plan = Plan(
            servers=servers,
            cases=tuple(
                case for transport in LEGS if only in (None, transport) for case in _cases(transport, shapes, payloads)
            ),
            rounds=rounds or (2 if quick else 5),
            seconds=seconds or (1.5 if quick else 3.0),
            warm_up=1.0,
            load_processes=load_processes,
            patience=patience,
            cores=Cores.choose(pin=not no_pin),
            allocations=count or (2_000 if quick else 10_000),
            allocation_rounds=0 if only in {*LEGS, SFU} else rounds or (1 if quick else 3),
            sfus=sfus,
            rooms=_rooms(rooms) if sfus else (),
        )
        found = _run(plan, versions | more, progress)
    except BenchError as error:
        raise click.ClickException(str(error)) from error
    path = results.write(found, output)
    if as_json:
        click.echo(json.dumps(found.to_json(), indent=1))
    else:
        report.show(found, _console())
        click.echo(f"written: {path}")
    if found.failures:
        raise SystemExit(1)


def _end(_number: int, _frame: FrameType | None) -> None:
    """Leave through every ``finally``, so that no server outlives the benchmark."""
    raise SystemExit(128 + signal.SIGTERM)


def _run(plan: Plan, versions: dict[str, str], progress: Console) -> results.Results:
    """Run all rounds, alternating A B, A B, … for each case, so that changes of the machine affect both servers."""
    found = results.Results(plan, versions)
    for number in range(1, plan.rounds + 1):
        for case in plan.cases:
            for server in plan.servers:
                progress.print(f"round {number}/{plan.rounds}  {case.label:>16}  {server:<14} ", end="")
                try:
                    sample = _measure_undisturbed(plan, case, server, number)
                except BenchError as error:
                    _note_failure(found, results.Failure(server, case.label, number, str(error)), progress)
                    continue
                found.relay.append(sample)
                progress.print(report.line_for_relay(sample))
    for number in range(1, plan.allocation_rounds + 1):
        for server in plan.servers:
            what = f"{plan.allocations} allocs"
            progress.print(f"round {number}/{plan.allocation_rounds}  {what:>16}  {server:<14} ", end="")
            try:
                crowd = measure_allocations(plan, server, number)
            except BenchError as error:
                _note_failure(found, results.Failure(server, what, number, str(error)), progress)
                continue
            found.allocations.append(crowd)
            progress.print(report.line_for_allocations(crowd))
    _run_rooms(plan, found, progress)
    return found


def _run_rooms(plan: Plan, found: results.Results, progress: Console) -> None:
    """The SFUs, in turns as well."""
    for number in range(1, plan.rounds + 1):
        for case in plan.rooms:
            for server in plan.sfus:
                progress.print(f"round {number}/{plan.rounds}  {case.label:>16}  {server:<14} ", end="")
                try:
                    sample = measure_forwarding(plan, case, server, number)
                except BenchError as error:
                    _note_failure(found, results.Failure(server, case.label, number, str(error)), progress)
                    continue
                found.sfu.append(sample)
                progress.print(report.line_for_sfu(sample))


def _measure_undisturbed(plan: Plan, case: Case, server: str, number: int) -> RelaySample:
    """Measure, and repeat a few times if other processes use the server's core; the least disturbed sample counts."""
    best = measure_relaying(plan, case, server, number)
    for _ in range(plan.patience):
        if (best.others_on_server_core or 0.0) <= CROWDED:
            break
        again = measure_relaying(plan, case, server, number)
        best = min(best, again, key=lambda sample: sample.others_on_server_core or 0.0)
    return best


def _note_failure(found: results.Results, failure: results.Failure, progress: Console) -> None:
    """Keep a failure for the report and print it; the other measurements continue."""
    found.failures.append(failure)
    progress.print(f"failed: {failure.text}", markup=False)


def _installed(
    text: str, known: Mapping[str, type[Server]], progress: Console
) -> tuple[tuple[str, ...], dict[str, str]]:
    """The requested servers that are installed, with their versions; missing ones are reported and left out."""
    versions = {}
    for name in dict.fromkeys(part.strip() for part in text.split(",") if part.strip()):
        if name not in known:
            raise BenchError(f"no server {name!r}: choose from {', '.join(known)}")
        version = known[name].version()
        if version is None:
            progress.print(f"{name} is not installed: left out")
        else:
            versions[name] = version
    if not versions:
        raise BenchError("none of the servers asked for is installed")
    return tuple(versions), versions


def _cases(transport: str, shapes: str, payloads: str) -> tuple[Case, ...]:
    """Every shape with every payload, as written on the command line."""
    cases = []
    for shape in shapes.split(","):
        flows, cross, in_flight = shape.strip().partition("x")
        if not cross:
            raise BenchError(f"--shapes: {shape!r} is not FLOWSxIN_FLIGHT, as in 8x16")
        for payload in payloads.split(","):
            cases.append(
                Case(
                    transport,
                    _number("flows", flows, 1, _MAX_FLOWS),
                    _number("packets in flight", in_flight, 1, _MAX_IN_FLIGHT),
                    _number("payload", payload, _MIN_PAYLOAD, _MAX_PAYLOAD),
                )
            )
    return tuple(cases)


def _rooms(text: str) -> tuple[SfuCase, ...]:
    """Every room, as written on the command line."""
    found = []
    for room in text.split(","):
        publishers, cross, receivers = room.strip().partition("x")
        if not cross:
            raise BenchError(f"--rooms: {room!r} is not PUBLISHERSxRECEIVERS, as in 2x20")
        found.append(
            SfuCase(
                _number("publishers", publishers, 1, _MAX_PUBLISHERS),
                _number("receivers", receivers, 1, _MAX_RECEIVERS),
            )
        )
    return tuple(found)


def _console() -> Console:
    """Standard output, wide enough for the table when it is a file or a pipe."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=_PIPE_WIDTH)


def _number(what: str, text: str, low: int, high: int) -> int:
    """A whole number within bounds; raise :class:`BenchError` that names them otherwise."""
    digits = text.strip()
    value = int(digits) if digits.isascii() and digits.isdigit() else -1
    if not low <= value <= high:
        raise BenchError(f"{what}: {digits!r} is not a whole number from {low} to {high}")
    return value
