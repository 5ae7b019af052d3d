"""Faults are counted by part, and logged with their cause, the first few of each part."""

import logging

import pytest

from stun.address import Address
from turnserver.errors import StartupError
from turnserver.faults import Faults

CLIENT = Address.parse("192.0.2.10", 40000)


def test_a_fault_is_counted_and_logged_with_its_cause(caplog: pytest.LogCaptureFixture) -> None:
    faults = Faults()
    before = faults.counts
    try:
        raise KeyError("half of a table")
    except KeyError as error:
        faults.note("core", error, CLIENT)
    faults.note("http", OSError("no"))
    assert faults.counts == {"core": 1, "http": 1}
    assert before == {}, "what was asked before stays as it was"
    first, second = caplog.records
    assert (first.levelno, first.name) == (logging.ERROR, "meshturn.faults")
    assert first.getMessage() == "fault in core"
    assert first.fields == {"error": "KeyError", "client": "192.0.2.10:40000"}
    assert first.exc_info is not None
    assert "half of a table" in str(first.exc_info[1])
    assert second.fields == {"error": "OSError"}


def test_the_counts_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        Faults().counts["core"] = 1  # type: ignore[index]


def test_a_fault_that_comes_with_every_packet_is_counted_but_not_written_every_time(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The first few say it all; later there is one now and then, which says how many there were."""
    now = 0.0
    faults = Faults(clock=lambda: now)
    for _ in range(10_000):
        faults.note("transport.send", RuntimeError("again"))
    faults.note("core", RuntimeError("something else"))
    assert faults.counts == {"transport.send": 10_000, "core": 1}
    assert len(caplog.records) == 6
    now = 10.0
    faults.note("transport.send", RuntimeError("again"))
    assert caplog.records[-1].fields == {"error": "RuntimeError", "withheld": 9995, "within": 10.0}


def test_a_log_that_fails_does_not_add_to_what_is_wrong() -> None:
    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise RuntimeError("the log is broken, too")

    logger, handler = logging.getLogger("meshturn.faults"), Broken()
    logger.addHandler(handler)
    try:
        faults = Faults()
        faults.note("core", KeyError("x"))
        assert faults.counts == {"core": 1}
    finally:
        logger.removeHandler(handler)


def test_what_cannot_be_read_is_noted() -> None:
    """The value that stands for it is returned."""
    faults = Faults()
    assert faults.guarded("transport.counters", lambda: 7, 0) == 7
    assert faults.guarded("transport.counters", lambda: 1 // 0, 0) == 0
    assert faults.counts == {"transport.counters": 1}


def test_what_cannot_be_made_ready_ends_the_start_in_one_line() -> None:
    """The server's own errors, with hints of their own, pass as they are."""
    faults = Faults()
    with pytest.raises(StartupError) as caught, faults.starting("datapath.attach", "The datapath new"):
        raise KeyError("two\nlines")
    assert str(caught.value) == r"The datapath new cannot be used: KeyError: 'two\nlines'."
    assert "fault in datapath.attach" in caught.value.hint
    with pytest.raises(StartupError) as caught, faults.starting("datapath.attach", "The datapath new"):
        raise OSError
    assert str(caught.value) == "The datapath new cannot be used: OSError."
    own = StartupError("the port is taken", "take another")
    with pytest.raises(StartupError) as caught, faults.starting("transport.bind", "The listener new"):
        raise own
    assert caught.value is own
    assert faults.counts == {"datapath.attach": 2}
