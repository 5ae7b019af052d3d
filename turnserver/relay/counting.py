"""Totals of a datapath over open and closed relays: a wrapper that keeps the sum.

Nothing is counted per packet. A relay's counters are added when it closes; those of open relays are read on demand.
"""

from collections.abc import Callable
from typing import TypeVar

from stun.address import Address
from turnserver.core.types import Counters, RelayId
from turnserver.faults import Faults
from turnserver.losses import Drops
from turnserver.relay.base import Datapath, Relays, StreamRelays
from turnserver.relay.carried import NOTHING_CARRIED, Carried
from turnserver.relay.wrapping import WrappingDatapath, WrappingRelays, WrappingStreamRelays

__all__ = ["CountingDatapath", "CountingStreamRelays"]

R = TypeVar("R", bound=Relays)


class _Ledger:
    """The open relays, and the sum of the counters of closed ones."""

    def __init__(self, counters: Callable[[RelayId], Counters], faults: Faults) -> None:
        self._counters = counters
        self._faults = faults
        self._open: set[RelayId] = set()
        self._closed = Counters()

    @property
    def relays(self) -> int:
        return len(self._open)

    def opened(self, relay: RelayId) -> None:
        self._open.add(relay)

    def closes(self, relay: RelayId) -> None:
        if relay in self._open:
            self._open.remove(relay)
            self._closed = self._with(self._closed, relay)

    def close_all(self) -> None:
        for relay in tuple(self._open):
            self.closes(relay)

    def totals(self) -> Counters:
        total = self._closed
        for relay in self._open:
            total = self._with(total, relay)
        return total

    def _with(self, total: Counters, relay: RelayId) -> Counters:
        """A total and the counters of a relay; without them if the datapath raises, or they are no counters."""
        return self._faults.guarded("datapath.counters", lambda: _add(total, self._counters(relay)), total)


class _CountingRelays(WrappingRelays[R]):
    """Relays with their totals; ``faults`` records the exceptions of ``inner``."""

    def __init__(self, inner: R, faults: Faults) -> None:
        super().__init__(inner)
        self._ledger = _Ledger(inner.counters, faults)
        self._faults = faults
        self._carried = NOTHING_CARRIED

    @property
    def relays(self) -> int:
        """Relays that are open now."""
        return self._ledger.relays

    @property
    def totals(self) -> Counters:
        """What all relays have carried together, those that are closed too. Costs by the number of open ones."""
        return self._ledger.totals()

    def carried(self, counters: Counters | None = None) -> Carried:
        """The same, and what was dropped by cause, at a small cost; ``counters`` are the totals, if they are known.

        A datapath that does not count by cause has zeros for these, and costs by the number of open relays.
        """
        ask: Callable[[], Carried] | None = getattr(self.inner, "carried", None)
        if ask is None:
            return Carried(self.totals if counters is None else counters, Drops())
        self._carried = self._faults.guarded("datapath.carried", ask, self._carried)
        return self._carried if counters is None else self._carried._replace(counters=counters)

    def open_relay(self, relay: RelayId, bind: Address) -> bool:
        """Open a relay at exactly ``bind``. Raises `turnserver.errors.DatapathError` when it cannot."""
        is_open = self.inner.open_relay(relay, bind)
        self._ledger.opened(relay)
        return is_open

    def close_relay(self, relay: RelayId) -> None:
        """Close a relay; its counters are added to those of the others that are gone."""
        self._ledger.closes(relay)
        self.inner.close_relay(relay)

    def close(self) -> None:
        """Close every relay; the totals stay."""
        self._ledger.close_all()
        self.inner.close()


class CountingDatapath(_CountingRelays[Datapath], WrappingDatapath):
    """A datapath with its totals; ``faults`` records the exceptions of ``inner``."""


class CountingStreamRelays(_CountingRelays[StreamRelays], WrappingStreamRelays):
    """TCP relays with their totals; ``faults`` records the exceptions of ``inner``."""


def _add(one: Counters, other: Counters) -> Counters:
    return Counters(*(a + b for a, b in zip(one, other, strict=True)))
