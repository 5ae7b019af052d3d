"""Medians, spreads and ratios of the measurements, and the result file."""

import json
import os
import platform
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

from bench import procfs
from bench.allocations import AllocationSample
from bench.plan import Plan
from bench.relay import RelaySample
from bench.servers import SERVERS
from bench.sfu import SfuSample
from bench.sfu_servers import SFUS

__all__ = [
    "BASELINES",
    "JANUSES",
    "Failure",
    "Results",
    "Spread",
    "baseline",
    "machine",
    "paired_ratio",
    "spread",
    "write",
]

BASELINES = (
    "before",
    "coturn",
    "coturn-default",
)  # what the ratio is taken against: the first of these that was measured


JANUSES = ("janus", "janus-loops")
"""SFUs that this one is compared with: with the better one of each round."""


class Spread(NamedTuple):
    """The middle and the ends of a few measurements."""

    median: float
    low: float
    high: float


class _Sample(Protocol):
    """The common attributes of samples."""

    @property
    def server(self) -> str:
        """The server's name."""

    @property
    def round(self) -> int:
        """The round it was measured in."""


_S = TypeVar("_S", bound=_Sample)


class Failure(NamedTuple):
    """A measurement that failed."""

    server: str
    what: str
    round: int
    text: str


@dataclass(slots=True)
class Results:
    """All results of one run."""

    plan: Plan
    versions: dict[str, str]
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    relay: list[RelaySample] = field(default_factory=list)
    allocations: list[AllocationSample] = field(default_factory=list)
    sfu: list[SfuSample] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)

    def relay_of(self, case: str, server: str) -> list[RelaySample]:
        """The samples of one server under one case."""
        return [sample for sample in self.relay if (sample.case, sample.server) == (case, server)]

    def allocations_of(self, server: str) -> list[AllocationSample]:
        """The samples of one server holding many allocations."""
        return [sample for sample in self.allocations if sample.server == server]

    def sfu_of(self, case: str, server: str) -> list[SfuSample]:
        """The samples of one SFU with one room."""
        return [sample for sample in self.sfu if (sample.case, sample.server) == (case, server)]

    def better_janus(self, case: str) -> list[SfuSample]:
        """Of each round, the sample of whichever Janus needed less CPU."""
        by_round: dict[int, SfuSample] = {}
        for sample in self.sfu:
            if sample.case == case and sample.server in JANUSES:
                best = by_round.setdefault(sample.round, sample)
                if sample.server_cpu_us_per_packet < best.server_cpu_us_per_packet:
                    by_round[sample.round] = sample
        return list(by_round.values())

    def to_json(self) -> dict[str, Any]:
        """The result file: the machine, the plan, every sample, and the summary the table shows."""
        return {
            "format": 1,
            "started": self.started.isoformat(timespec="seconds"),
            "machine": machine(),
            "plan": {
                "servers": {
                    name: {"version": self.versions[name], "settings": SERVERS[name].settings()}
                    for name in self.plan.servers
                },
                "sfus": {
                    name: {"version": self.versions[name], "settings": SFUS[name].settings()} for name in self.plan.sfus
                },
                "rooms": [asdict(case) for case in self.plan.rooms],
                "cases": [asdict(case) for case in self.plan.cases],
                "rounds": self.plan.rounds,
                "seconds": self.plan.seconds,
                "warm_up": self.plan.warm_up,
                "cores": self.plan.cores.describe(),
                "load_processes": self.plan.load_processes,
                "allocations": self.plan.allocations,
            },
            "summary": self._summary(),
            "relay": [sample.to_json() for sample in self.relay],
            "allocations": [sample.to_json() for sample in self.allocations],
            "sfu": [sample.to_json() for sample in self.sfu],
            "failures": [failure._asdict() for failure in self.failures],
        }

    def _summary(self) -> list[dict[str, Any]]:
        """CPU per relayed packet of every case and server, with the ratio to the baseline."""
        summary = []
        against = baseline(self.plan.servers)
        for case in self.plan.cases:
            base = self.relay_of(case.label, against) if against else []
            for server in self.plan.servers:
                samples = self.relay_of(case.label, server)
                if not samples:
                    continue
                ratio = paired_ratio(samples, base, lambda sample: sample.server_cpu_us_per_packet)
                cost = spread([sample.server_cpu_us_per_packet for sample in samples])
                summary.append(
                    {
                        "case": case.label,
                        "server": server,
                        "server_cpu_us_per_packet": cost._asdict(),
                        "ratio": ratio._asdict() if ratio is not None and server != against else None,
                        "against": against,
                    }
                )
        return summary


def spread(values: Sequence[float]) -> Spread:
    """Median, least and greatest of at least one value."""
    return Spread(statistics.median(values), min(values), max(values))


def baseline(servers: Sequence[str]) -> str | None:
    """The server the others are compared with, or None when none of them is measured."""
    return next((name for name in BASELINES if name in servers), None)


def paired_ratio(samples: Sequence[_S], base: Sequence[_S], value: Callable[[_S], float]) -> Spread | None:
    """Spread of *value* divided by the baseline's value of the same round; None without a common round."""
    by_round = {sample.round: value(sample) for sample in base}
    ratios = [value(sample) / by_round[sample.round] for sample in samples if by_round.get(sample.round)]
    return spread(ratios) if ratios else None


def write(results: Results, folder: Path) -> Path:
    """Write the result file, named by the time the run began; return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{results.started:%Y%m%d-%H%M%S}.json"
    path.write_text(json.dumps(results.to_json(), indent=1) + "\n")
    return path


def machine() -> dict[str, Any]:
    """What the numbers were measured on."""
    return {
        "cpu": procfs.model_name(),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_average": os.getloadavg(),
    }
