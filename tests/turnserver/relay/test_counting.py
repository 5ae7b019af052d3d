"""The sums of a datapath: relays that are gone count, and asking changes nothing."""

from collections.abc import Callable
from typing import Any

import pytest

from stun.address import Address
from turnserver.core.types import Counters, RelayId
from turnserver.errors import DatapathError
from turnserver.faults import Faults
from turnserver.relay.counting import CountingDatapath, CountingStreamRelays

BIND = Address.parse("192.0.2.1", 50000)
ONE, TWO = RelayId(1), RelayId(2)


class Inner:
    """Both kinds of relays, as far as they are asked here; ``carried`` is what each has carried."""

    name = "inner"

    def __init__(self) -> None:
        self.carried: dict[RelayId, Counters] = {}
        self.closed: list[object] = []
        self.broken = False

    def open_relay(self, relay: RelayId, bind: Address) -> bool:
        if bind.port == 1:
            raise DatapathError("taken")
        self.carried[relay] = Counters()
        return True

    def close_relay(self, relay: RelayId) -> None:
        self.closed.append(relay)
        self.carried.pop(relay, None)

    def counters(self, relay: RelayId) -> Counters:
        if self.broken:
            raise ValueError("broken")
        return self.carried.get(relay, Counters())

    def close(self) -> None:
        self.closed.append("all")


@pytest.fixture(params=[CountingDatapath, CountingStreamRelays])
def counting(request: pytest.FixtureRequest) -> Callable[[Any, Faults], Any]:
    found: Callable[[Any, Faults], Any] = request.param
    return found


def test_relays_that_are_gone_count(counting: Callable[[Any, Faults], Any]) -> None:
    inner, faults = Inner(), Faults()
    datapath = counting(inner, faults)
    datapath.open_relay(ONE, BIND)
    datapath.open_relay(TWO, BIND)
    inner.carried[ONE] = Counters(1, 2, 3, 4, 5)
    inner.carried[TWO] = Counters(10, 20, 30, 40, 50)
    assert (datapath.relays, datapath.totals) == (2, Counters(11, 22, 33, 44, 55))
    datapath.close_relay(ONE)
    datapath.close_relay(ONE)
    datapath.close_relay(RelayId(9))
    assert (datapath.relays, datapath.totals) == (1, Counters(11, 22, 33, 44, 55))
    datapath.close()
    assert (datapath.relays, datapath.totals) == (0, Counters(11, 22, 33, 44, 55))
    assert inner.closed == [ONE, ONE, RelayId(9), "all"]


def test_one_that_could_not_be_opened_is_none(counting: Callable[[Any, Faults], Any]) -> None:
    datapath = counting(Inner(), Faults())
    with pytest.raises(DatapathError):
        datapath.open_relay(ONE, Address.parse("192.0.2.1", 1))
    assert datapath.relays == 0


def test_counters_that_cannot_be_read_keep_nothing_open(counting: Callable[[Any, Faults], Any]) -> None:
    """Such a relay counts for nothing, and is closed all the same."""
    inner, faults = Inner(), Faults()
    datapath = counting(inner, faults)
    for relay in (ONE, TWO):
        datapath.open_relay(relay, BIND)
    inner.broken = True
    assert datapath.totals == Counters()
    assert faults.counts == {"datapath.counters": 2}
    datapath.close_relay(ONE)
    datapath.close()
    assert inner.closed == [ONE, "all"]
