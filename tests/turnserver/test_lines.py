"""Lines that others can cause: what one network causes is limited, and what was withheld is said."""

import asyncio
import gc
import logging
from collections.abc import Iterator

import pytest

from stun.address import Address
from tests.support.clock import Clock
from turnserver import lines as module
from turnserver.lines import FREQUENT, INTERVAL, MAX_NETWORKS, RARE, Allowance, Lines, say_withheld, withheld_lines

_logger = logging.getLogger("meshturn.test")


@pytest.fixture
def clock() -> Clock:
    return Clock()


class Kept(logging.Handler):
    """Keeps what was written."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture(autouse=True)
def log() -> Iterator[list[logging.LogRecord]]:
    """What has been written to the test's logger, at INFO and above."""
    handler = Kept()
    _logger.addHandler(handler)
    _logger.setLevel(logging.INFO)
    yield handler.records
    _logger.removeHandler(handler)
    _logger.setLevel(logging.NOTSET)


def stranger(number: int, port: int = 1) -> Address:
    """One address of one network after another."""
    return Address(bytes([10, number >> 8 & 0xFF, number & 0xFF, 7]), port)


def flood(lines: Lines, count: int, source: Address | str | None, message: str = "refused") -> int:
    """So many lines at once; gives how many were written."""
    return sum(lines.write(logging.INFO, message, {"client": str(source)}, source) for _ in range(count))


def test_what_one_network_causes_is_limited(clock: Clock, log: list[logging.LogRecord]) -> None:
    """The others are heard all the same, and so are other kinds of lines from the same one."""
    lines = Lines(_logger, clock=clock)
    assert flood(lines, 1000, stranger(1)) == RARE.burst
    assert flood(lines, 3, stranger(2)) == 3
    assert flood(lines, 1000, stranger(1), "turned away") == RARE.burst
    assert len(log) == 2 * RARE.burst + 3
    assert lines.withheld == 2 * (1000 - RARE.burst)


def test_a_patient_client_is_always_heard(clock: Clock, log: list[logging.LogRecord]) -> None:
    """From the honest side: a line every five seconds is never withheld."""
    lines = Lines(_logger, clock=clock)
    for _ in range(200):
        assert flood(lines, 1, stranger(1)) == 1
        clock.now += 1 / RARE.rate
    assert all(record.fields == {"client": str(stranger(1))} for record in log)


def test_the_next_line_says_how_many_were_withheld(clock: Clock, log: list[logging.LogRecord]) -> None:
    lines = Lines(_logger, clock=clock)
    flood(lines, 67, stranger(1))
    clock.now += 10
    assert flood(lines, 1, stranger(1)) == 1
    assert log[-1].fields == {"client": "10.0.1.7:1", "withheld": 57, "within": 10.0}
    assert flood(lines, 1, stranger(1)) == 1
    assert "withheld" not in log[-1].fields, "it is said once"


def test_addresses_of_one_network_count_together(clock: Clock) -> None:
    """A /24, a /48, and IPv4 in IPv6's clothes; text is as good as packed."""
    for one, other, apart in (
        ("192.0.2.1", "192.0.2.200", "192.0.3.1"),
        ("2001:db8:1::1", "2001:db8:1:ffff::2", "2001:db8:2::1"),
        ("::ffff:192.0.2.1", "192.0.2.9", "192.0.3.1"),
        ("fe80::1%eth0", "fe80::2", "fe81::1"),
    ):
        lines = Lines(_logger, Allowance(2, 0, 100, 0), clock)
        assert flood(lines, 1, one) + flood(lines, 2, other) == 2
        assert flood(lines, 1, apart) == 1
        if "%" not in one:
            assert flood(lines, 1, Address.parse(other, 5)) == 0
    lines = Lines(_logger, Allowance(2, 0, 100, 0), clock)
    assert flood(lines, 3, "no address at all") == 2


def test_forged_sources_are_limited_together(clock: Clock, log: list[logging.LogRecord]) -> None:
    """Every address costs a stranger nothing over UDP, so each kind of line has one limit for everybody too."""
    lines = Lines(_logger, clock=clock)
    written = sum(flood(lines, 1, stranger(number)) for number in range(20_000))
    assert written == RARE.total_burst
    assert lines.withheld == 20_000 - RARE.total_burst
    assert len(lines._withheld) <= MAX_NETWORKS + 1
    clock.now += 10
    del log[:]
    lines.say()
    assert len(log) <= module.MAX_SAID + 1, "which is not a flood again"
    assert sum(record.fields["withheld"] for record in log) == 20_000 - RARE.total_burst
    assert lines.withheld == 0


def test_without_a_source_only_the_limit_for_everybody_counts(clock: Clock) -> None:
    lines = Lines(_logger, FREQUENT, clock)
    assert flood(lines, 10_000, None) == FREQUENT.total_burst


def test_what_was_withheld_is_said_by_network(clock: Clock, log: list[logging.LogRecord]) -> None:
    lines = Lines(_logger, Allowance(1, 0, 100, 0), clock)
    flood(lines, 5, stranger(1))
    clock.now += 3
    for number, count in ((2, 20), (3, 10), (4, 3), (5, 2), (6, 1)):
        flood(lines, count, stranger(number))
    flood(lines, 4, "2001:db8:5::1", "turned away")
    clock.now += 4
    del log[:]
    lines.say()
    assert [(record.getMessage(), record.fields) for record in log] == [
        ("refused, and more like it", {"source": "10.0.2.0/24", "withheld": 19, "within": 4.0}),
        ("refused, and more like it", {"source": "10.0.3.0/24", "withheld": 9, "within": 4.0}),
        ("refused, and more like it", {"source": "10.0.1.0/24", "withheld": 4, "within": 7.0}),
        ("refused, and more like it", {"sources": 2, "withheld": 3, "within": 4.0}),
        ("turned away, and more like it", {"source": "2001:db8:5::/48", "withheld": 3, "within": 4.0}),
    ]
    lines.say()
    assert len(log) == 5


def test_a_line_below_the_level_costs_nothing(clock: Clock, log: list[logging.LogRecord]) -> None:
    lines = Lines(_logger, clock=clock)
    assert not any(lines.write(logging.DEBUG, "refused", {}, stranger(1)) for _ in range(100))
    assert lines.withheld == 0
    assert flood(lines, 1, stranger(1)) == 1


def test_a_cause_comes_with_its_traceback(clock: Clock, log: list[logging.LogRecord]) -> None:
    error = KeyError("x")
    Lines(_logger, clock=clock).write(logging.ERROR, "fault", {}, cause=error)
    assert log[0].exc_info is not None
    assert log[0].exc_info[1] is error


class SkippingLoop(asyncio.SelectorEventLoop):
    """A loop whose clock can be put forward."""

    offset = 0.0

    def time(self) -> float:
        return super().time() + self.offset


def test_in_a_loop_a_timer_says_it(log: list[logging.LogRecord]) -> None:
    """Also when the flood stops and no other line comes; and once per flood, however long the loop runs."""
    loop = SkippingLoop()

    async def main() -> None:
        lines = Lines(_logger, Allowance(1, 0, 100, 0), loop.time)
        for _ in range(2):
            flood(lines, 3, stranger(1))
            before = len(log)
            loop.offset += INTERVAL
            async with asyncio.timeout(90):
                while lines.withheld:
                    await asyncio.sleep(0)
            assert len(log) == before + 1

    try:
        loop.run_until_complete(main())
    finally:
        loop.close()


def test_another_loop_gets_its_own_timer() -> None:
    """The lines of a module outlive a loop that was closed before its timer came."""
    lines = Lines(_logger, Allowance(0, 0, 0, 0))

    async def main() -> None:
        flood(lines, 1, stranger(1))
        assert lines._loop is asyncio.get_running_loop()

    asyncio.run(main())
    asyncio.run(main())


def test_at_the_end_of_a_process_everything_is_said(clock: Clock, log: list[logging.LogRecord]) -> None:
    lines = Lines(_logger, Allowance(1, 0, 100, 0), clock)
    flood(lines, 3, stranger(1))
    del log[:]
    say_withheld()
    assert [record.fields["withheld"] for record in log] == [2]
    del lines
    gc.collect()
    say_withheld()


def test_what_is_withheld_is_counted_for_the_whole_process(clock: Clock) -> None:
    before = withheld_lines()
    lines = Lines(_logger, RARE, clock)
    flood(lines, 100, None)
    withheld = lines.withheld
    assert withheld > 0
    lines.say()
    assert withheld_lines() - before == withheld, "it is a sum, and saying it changes nothing"
