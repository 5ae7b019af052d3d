"""What a run measures: the cases, the servers, the rounds and the cores, decided before anything is started."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

__all__ = ["CROWDED", "BenchError", "Case", "Cores", "Plan", "SfuCase", "pinned"]

CROWDED = 0.10  # share of the server's core used by other processes above which a measurement is not trusted


class BenchError(Exception):
    """The benchmark cannot go on; the text says why, for the person who runs it."""


@dataclass(frozen=True, slots=True)
class Case:
    """One load: how many flows, how many packets each keeps in flight, and how long the payloads are (bytes)."""

    transport: str
    flows: int
    in_flight: int
    payload: int

    @property
    def label(self) -> str:
        """``udp 8x16 160 B``: the name of the case in tables and result files."""
        return f"{self.transport} {self.flows}x{self.in_flight} {self.payload} B"


@dataclass(frozen=True, slots=True)
class SfuCase:
    """One room: how many send, and how many receive all that is sent."""

    publishers: int
    receivers: int

    @property
    def label(self) -> str:
        """``sfu 2x20``: the name of the case in tables and result files."""
        return f"sfu {self.publishers}x{self.receivers}"


@dataclass(frozen=True, slots=True)
class Cores:
    """Where the two sides run; ``None`` when the machine has too few cores to keep them apart."""

    server: frozenset[int] | None
    load: frozenset[int] | None

    @classmethod
    def choose(cls, pin: bool = True) -> "Cores":
        """Give the server the first core this process may use, and the load every other one."""
        allowed = sorted(os.sched_getaffinity(0))
        if not pin or len(allowed) < 2:
            return cls(None, None)
        return cls(frozenset(allowed[:1]), frozenset(allowed[1:]))

    def describe(self) -> str:
        """One line for the report."""
        if self.server is None or self.load is None:
            return "not pinned"
        return f"server on core {_spell(self.server)}, load on core {_spell(self.load)}"


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything a run needs to know; times are in seconds."""

    servers: tuple[str, ...]
    cases: tuple[Case, ...]
    rounds: int
    seconds: float
    warm_up: float
    load_processes: int
    patience: int
    cores: Cores
    allocations: int
    allocation_rounds: int
    sfus: tuple[str, ...] = ()
    rooms: tuple[SfuCase, ...] = ()


@contextmanager
def pinned(cpus: frozenset[int] | None) -> Iterator[None]:
    """Run this process, and processes that it starts inside the block, on *cpus* only; None changes nothing."""
    if cpus is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _spell(cpus: frozenset[int]) -> str:
    """Name cores as a comma-separated list."""
    return ",".join(str(cpu) for cpu in sorted(cpus))
