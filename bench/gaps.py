"""``python -m bench.gaps``: how long pictures stand in calls that are disturbed, median and worst of several runs."""

import json
import os
import signal
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from bench.calls import BROWSERS, MEASURES, Gaps, calls
from bench.plan import BenchError
from bench.results import machine
from tests.net.lab import Nat

__all__ = ["main"]

_RESULTS = Path(__file__).resolve().parent / "results"
_NATS = {"relayed": Nat.SYMMETRIC, "direct": Nat.PORT_PRESERVING}
_PIPE_WIDTH = 120


@dataclass(frozen=True, slots=True)
class Run:
    """One disturbed call: its gaps in seconds, by view, or why there are none."""

    browser: str
    measure: str
    number: int
    load: float
    gaps: Gaps
    failure: str = ""


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--only", multiple=True, type=click.Choice([*MEASURES]), help="Measure this alone; may be repeated.")
@click.option("--browser", "browsers", multiple=True, type=click.Choice(BROWSERS), default=BROWSERS, show_default=True,
              help="Whose page is disturbed; the other one's browser is Chromium.")  # fmt: skip
@click.option("--path", type=click.Choice([*_NATS]), default="relayed", show_default=True,
              help="Whether NATs leave a direct path.")  # fmt: skip
@click.option("--runs", type=click.IntRange(1, 50), default=5, show_default=True, help="Calls for each measurement.")
@click.option("--json", "as_json", is_flag=True, help="Print the result file instead of the table.")
@click.option("--output", type=click.Path(file_okay=False, path_type=Path), default=_RESULTS,
              help="Folder of the result file.  [default: bench/results]")  # fmt: skip
def main(only: tuple[str, ...], browsers: tuple[str, ...], path: str, runs: int, as_json: bool, output: Path) -> None:
    """Disturb calls of two pages, and measure how long pictures stand. Needs root, Chromium and Firefox ESR."""
    signal.signal(signal.SIGTERM, _end)
    started = datetime.now(UTC)
    progress = Console(stderr=True, highlight=False, soft_wrap=True)
    done: list[Run] = []
    try:
        for browser in browsers:
            for run in _measured(browser, [name for name in MEASURES if name in (only or MEASURES)], path, runs):
                progress.print(_line(run), markup=False)
                done.append(run)
    except BenchError as error:
        raise click.ClickException(str(error)) from error
    found = {
        "format": 1,
        "started": started.isoformat(timespec="seconds"),
        "machine": machine(),
        "path": path,
        "summary": _summary(done),
        "runs": [asdict(run) for run in done],
    }
    output.mkdir(parents=True, exist_ok=True)
    file = output / f"gaps-{started:%Y%m%d-%H%M%S}.json"
    file.write_text(json.dumps(found, indent=1) + "\n")
    if as_json:
        click.echo(json.dumps(found, indent=1))
    else:
        _console().print(_table(_summary(done)))
        click.echo(f"written: {file}")
    if any(run.failure for run in done):
        raise SystemExit(1)


def _end(_number: int, _frame: FrameType | None) -> None:
    """Leave through every ``finally``, so that no server, browser or network outlives the benchmark."""
    raise SystemExit(128 + signal.SIGTERM)


def _measured(browser: str, names: list[str], path: str, runs: int) -> Iterator[Run]:
    """All runs with one browser, the measurements in turns, so that a busy minute affects each of them once."""
    with (
        tempfile.TemporaryDirectory(prefix="meshturn-gaps-") as directory,
        calls(browser, _NATS[path], Path(directory)) as measured,
    ):
        for number in range(1, runs + 1):
            for name in names:
                load = os.getloadavg()[0]
                try:
                    gaps = measured(MEASURES[name], f"{name.replace(' ', '-')}-{number}")
                except BenchError as error:
                    yield Run(browser, name, number, load, {}, str(error))
                else:
                    yield Run(browser, name, number, load, gaps)


def _line(run: Run) -> str:
    """One run in one line, while the others go on."""
    what = run.failure or ", ".join(f"{view} {gap:.2f} s" for view, gap in run.gaps.items())
    return f"{run.browser:<8}  {run.measure:<14}  {run.number}  load {run.load:4.1f}  {what}"


def _summary(done: list[Run]) -> list[dict[str, Any]]:
    """For each browser, measurement and view: the median, the worst, and of how many runs."""
    gathered: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for run in done:
        for view, gap in run.gaps.items():
            gathered[run.browser, run.measure, view].append(gap)
    return [
        {
            "browser": browser,
            "measure": measure,
            "view": view,
            "median": round(statistics.median(gaps), 3),
            "worst": round(max(gaps), 3),
            "runs": len(gaps),
        }
        for (browser, measure, view), gaps in gathered.items()
    ]


def _table(summary: list[dict[str, Any]]) -> Table:
    """The summary for people."""
    table = Table(title="Gaps in calls, seconds")
    for heading in ("browser", "what happens", "whose view"):
        table.add_column(heading)
    for heading in ("median", "worst", "runs"):
        table.add_column(heading, justify="right")
    for row in summary:
        cells = [row["browser"], row["measure"], row["view"], f"{row['median']:.2f}", f"{row['worst']:.2f}"]
        table.add_row(*cells, str(row["runs"]))
    return table


def _console() -> Console:
    """Standard output, wide enough for the table when it is a file or a pipe."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=_PIPE_WIDTH)


if __name__ == "__main__":
    main()
