"""Which quality each picture of one receiver gets, so that all of them together fit its downlink.

Everybody is seen before anybody is seen well: each picture gets its lowest quality in order of priority, then the more
important ones are raised step by step before the less important ones. Those of one priority are raised together. What
does not fit is paused, but for the smallest pictures where the downlink carries those for certain: estimates are low
for many reasons. Audio is taken off the budget before, so it is never what has to give way.

Going down is done at once. Going up needs some room, and a while since it last had to go down, which grows
each time that going up was a mistake: a receiver at a limit would see its pictures change all the time otherwise.
"""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from turnserver.media.layers import Quality

__all__ = ["PAUSED", "Allocator", "PictureDemand", "allot", "cost"]

PAUSED: Final = -1
"""In place of a rung: the picture is not sent."""


class PictureDemand(NamedTuple):
    """What one picture can cost: its ladder, the highest rung that makes sense, and its priority."""

    key: str
    rungs: Sequence[Quality]
    top: int
    priority: int


def cost(demand: PictureDemand, rung: int) -> float:
    """Bit/s of a rung; 0 for `PAUSED`."""
    return demand.rungs[rung].bitrate if rung >= 0 else 0.0


def allot(demands: Sequence[PictureDemand], budget: float) -> dict[str, int]:
    """The rung of each demand within ``budget`` bit/s; demands come in order of priority, the highest first."""
    chosen = {demand.key: PAUSED for demand in demands}
    left = budget
    for demand in demands:
        if demand.top >= 0 and cost(demand, 0) <= left:
            chosen[demand.key] = 0
            left -= cost(demand, 0)
    for priority in sorted({demand.priority for demand in demands}, reverse=True):
        rising = [d for d in demands if d.priority == priority and 0 <= chosen[d.key] < d.top]
        while rising:
            still = []
            for demand in rising:
                rung = chosen[demand.key] + 1
                step = cost(demand, rung) - cost(demand, rung - 1)
                if step <= left:
                    left -= step
                    chosen[demand.key] = rung
                    if rung < demand.top:
                        still.append(demand)
            rising = still
    return chosen


class Allocator:
    """The allocations of one receiver over time."""

    ROOM: Final = 0.92
    """Share of the estimate that is given away when going up: estimates swing by a few percent."""

    TOLERANCE: Final = 1.05
    """How far the bitrates may be above the estimate before it goes down: frames differ in size."""

    PATIENCE: Final = 2.0
    """Seconds between going down and going up again."""

    MOST_PATIENCE: Final = 16.0
    """The longest such time: a downlink that has become good is used again within this."""

    MISTAKE: Final = 5.0
    """Seconds after going up within which going down means that it was a mistake."""

    __slots__ = ("_patience", "_up", "chosen", "down_at")

    def __init__(self) -> None:
        self.chosen: dict[str, int] = {}
        """The rung of each picture."""
        self._up = float("-inf")
        self.down_at = float("-inf")
        """When it had to go down the last time."""
        self._patience = self.PATIENCE

    def allocate(
        self, demands: Sequence[PictureDemand], estimate: float, now: float, *, least: float = 0.0
    ) -> Mapping[str, int]:
        """The rungs from now on, with ``estimate`` bit/s for all pictures, and ``least`` for certain; sets `chosen`."""
        estimate = max(estimate, min(least, sum(cost(d, 0) for d in demands if d.top >= 0) / self.ROOM))
        held = {d.key: min(self.chosen.get(d.key, PAUSED), d.top) for d in demands}
        holding = sum(cost(d, held[d.key]) for d in demands)
        if holding > estimate * self.TOLERANCE:
            if now - self._up < self.MISTAKE:
                self._patience = min(self._patience * 2, self.MOST_PATIENCE)
            self.down_at = now
            self.chosen = allot(demands, estimate)
            return self.chosen
        wanted = allot(demands, estimate * self.ROOM)
        if now - self.down_at < self._patience:
            # Nobody is raised; but a picture that is new gets what is left, and none is kept above what is wanted.
            wanted = self._unraised(demands, held, wanted, estimate)
        else:
            wanted = self._kept(demands, held, wanted, holding, estimate)
        if any(wanted[key] > rung for key, rung in held.items() if key in self.chosen):
            self._up = now
        elif now - self._up > self.MISTAKE and now - self.down_at > self.MOST_PATIENCE:
            self._patience = self.PATIENCE
        self.chosen = wanted
        return wanted

    def _unraised(
        self, demands: Sequence[PictureDemand], held: Mapping[str, int], wanted: Mapping[str, int], estimate: float
    ) -> dict[str, int]:
        """What is held, and the lowest rung of pictures that are new, as far as there is room."""
        chosen = dict(held)
        left = estimate - sum(cost(d, held[d.key]) for d in demands)
        for demand in demands:
            if demand.key not in self.chosen and wanted[demand.key] >= 0 and cost(demand, 0) <= left:
                chosen[demand.key] = 0
                left -= cost(demand, 0)
        return chosen

    def _kept(
        self,
        demands: Sequence[PictureDemand],
        held: Mapping[str, int],
        wanted: dict[str, int],
        holding: float,
        estimate: float,
    ) -> dict[str, int]:
        """``wanted``, unless it only takes from what is held and fits: a margin is for going up, not for going down."""
        raised = any(wanted[d.key] > held[d.key] for d in demands)
        if not raised and holding <= estimate * self.TOLERANCE:
            return dict(held)
        return wanted
