"""The last hour: bounded, with rates from the differences of counters, in virtual time."""

from dataclasses import replace

from stun.constants import TransportProtocol
from tests.turnserver.telemetry.test_overview import BUSY, EMPTY
from turnserver.core.types import Counters, Now
from turnserver.histogram import HistogramView
from turnserver.signaling.edge.operator_answers import HistoryAnswer
from turnserver.snapshot import DatapathView, Snapshot
from turnserver.telemetry.history import INTERVAL, SAMPLES, History


def carrying(sent: int, beats: int = 0, late: float = 0.0) -> Snapshot:
    """A server that has relayed that many bytes to peers and to clients."""
    datapath = DatapathView("asyncio", TransportProtocol.UDP, 1, Counters(1, sent, 1, 2 * sent, sent))
    lag = HistogramView((), (beats,), late)
    return replace(BUSY, datapaths=(datapath,), figures=replace(BUSY.figures, loop_lag=lag))


def test_an_hour_is_kept_and_no_more() -> None:
    """The oldest go first, and every list is as long as the others."""
    history = History()
    for number in range(SAMPLES + 40):
        history.add(EMPTY, Now(number * INTERVAL, 1e9 + number))
    columns = history.columns()
    assert columns.pop("interval") == INTERVAL
    assert {len(column) for column in columns.values()} == {SAMPLES}
    assert (columns["at"][0], columns["at"][-1]) == (1e9 + 40, 1e9 + SAMPLES + 39)
    assert SAMPLES * INTERVAL == 3600


def test_rates_are_differences() -> None:
    """In bit/s of the time that has really passed; the first sample has none."""
    history = History()
    history.add(carrying(1000, 10, 0.5), Now(100.0, 1e9))
    history.add(carrying(2000, 30, 1.5), Now(120.0, 1e9 + 20))
    columns = HistoryAnswer.model_validate(history.columns())
    assert columns.bits_to_peers == [None, 400.0]
    assert columns.bits_to_client == [None, 800.0]
    assert columns.dropped == [None, 1000]
    assert columns.refused == [None, 0]
    assert columns.loop_lag == [None, 0.05]
    assert columns.participants == [3, 3], "those that are away are still in their rooms"


def test_smaller_counters_and_a_clock_that_stands_are_no_error() -> None:
    """A listener that has gone takes its count along; two samples at one time would divide by zero."""
    history = History()
    history.add(carrying(1000), Now(0.0, 1e9))
    history.add(carrying(5000), Now(0.0, 1e9))
    history.add(carrying(0), Now(10.0, 1e9))
    columns = history.columns()
    assert columns["bits_to_peers"] == [None, 0.0]
    assert columns["dropped"] == [None, 0]
