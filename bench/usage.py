"""CPU time of the two sides of a measurement, and of everything else on the server's cores."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from bench import procfs
from bench.offspring import Offspring
from bench.servers import Server

__all__ = ["Usage"]


@dataclass(frozen=True, slots=True)
class Usage:
    """CPU seconds so far: of the server, the generators, and all processes on the server's cores (None: not known)."""

    at: float
    server: float
    load: float
    cores: float | None

    @classmethod
    def at_moment(
        cls, moment: float, server: Server, generators: Sequence[Offspring], cpus: frozenset[int] | None
    ) -> Self:
        """Sleep until *moment* (monotonic seconds) and read the clocks, those of the server close to ``at``."""
        time.sleep(max(0.0, moment - time.monotonic()))
        return cls(
            at=time.monotonic(),
            server=server.cpu_seconds(),
            load=sum(procfs.cpu_seconds(generator.pid) for generator in generators),
            cores=None if cpus is None else procfs.core_times(cpus).busy,
        )

    def others_since(self, before: Self) -> float | None:
        """The share of the server's cores that other processes have used since; None if that is not known."""
        if self.cores is None or before.cores is None:
            return None
        others = (self.cores - before.cores) - (self.server - before.server)
        return max(0.0, others) / (self.at - before.at)
