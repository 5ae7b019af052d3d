"""The log: every event has a line, hostile text cannot forge one, and levels are what operators expect."""

import ast
import io
import json
import logging
import os
import threading
import warnings
from pathlib import Path

import pytest

from stun.address import Address
from stun.constants import Method
from turnserver.config import LogConfig
from turnserver.core.events import (
    AllocationEnded,
    AllocationMoved,
    AllocationOpened,
    AllocationRefreshed,
    AnswerWithheld,
    EndReason,
    Event,
    PeerConnectionEnded,
    PeerConnectionOpened,
    PeerRefused,
    RequestRefused,
)
from turnserver.core.types import ClientTransport, Counters, FiveTuple, RelayId
from turnserver.lines import Allowance, Lines
from turnserver.log import configure, dropped_lines, shutdown
from turnserver.observers.log import LogObserver
from turnserver.reasons import Reason

CLIENT = FiveTuple(ClientTransport.UDP, Address.parse("192.0.2.10", 40000), Address.parse("192.0.2.1", 3478), 0)
RELAYED = Address.parse("192.0.2.1", 50000)

EVENTS: list[tuple[Event, str, str]] = [
    (AllocationOpened(CLIENT, "alice", "alice", (RelayId(1),), (RELAYED,), 600), "info", "allocation opened"),
    (AllocationEnded(CLIENT, "alice", "alice", (RelayId(1),), EndReason.EXPIRED, 12.34), "info", "allocation ended"),
    (AllocationRefreshed(CLIENT, "alice", 600), "debug", "allocation refreshed"),
    (AllocationMoved(CLIENT, CLIENT, "alice", "alice", (RelayId(1),)), "info", "allocation moved"),
    (
        RequestRefused(CLIENT, Method.ALLOCATE, 401, Reason.NO_CREDENTIALS, "Unauthenticated", ""),
        "debug",
        "request refused",
    ),
    (
        RequestRefused(CLIENT, Method.ALLOCATE, 486, Reason.USER_QUOTA, "Allocation Quota Reached", "bob"),
        "info",
        "request refused",
    ),
    (RequestRefused(CLIENT, 0xABC, 400, Reason.MALFORMED_ATTRIBUTE, "Bad Request", ""), "info", "request refused"),
    (
        PeerRefused(CLIENT, Address.parse("10.0.0.1", 1), Reason.PEER_NOT_PUBLIC, "default deny 10.0.0.0/8"),
        "debug",
        "peer refused",
    ),
    (AnswerWithheld(CLIENT), "info", "answer withheld"),
    (PeerConnectionOpened(CLIENT, "alice", RELAYED, 7, True), "debug", "peer connection opened"),
    (PeerConnectionEnded(CLIENT, "alice", RELAYED, 7, True, 1.25), "debug", "peer connection ended"),
    (PeerConnectionEnded(CLIENT, "alice", RELAYED, 7, False, 30.0), "debug", "peer connection not bound in time"),
]


PATIENCE = 120.0
"""Seconds that the thread which writes may take on a busy machine; `logging`'s own `flush` gives up after two."""


class Written(io.StringIO):
    """Standard error, as a file in memory; what a thread still has to write is waited for."""

    def getvalue(self) -> str:
        for handler in logging.getLogger("meshturn").handlers:
            assert handler._writer.flush(PATIENCE)
        return super().getvalue()


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch):
    """Configure the log as asked and give what it has written so far."""

    def start(**settings: str) -> Written:
        stream = Written()
        monkeypatch.setattr("sys.stderr", stream)
        configure(LogConfig.model_validate(settings))
        return stream

    yield start
    shutdown()


@pytest.mark.parametrize(("event", "level", "text"), EVENTS, ids=[f"{e[2]}-{i}" for i, e in enumerate(EVENTS)])
def test_every_event_has_a_line_at_its_level(written, event: Event, level: str, text: str) -> None:
    stream = written(level="debug", format="json")
    LogObserver().on_event(event, Counters(1, 160, 2, 320, 3))
    entry = json.loads(stream.getvalue())
    assert entry["level"] == level
    assert entry["message"].startswith(text)
    assert entry["client"] == "192.0.2.10:40000"
    assert entry["transport"] == "udp"


def test_the_end_of_an_allocation_tells_what_it_carried(written) -> None:
    stream = written(format="json")
    LogObserver().on_event(EVENTS[1][0], Counters(1, 160, 2, 320, 3))
    entry = json.loads(stream.getvalue())
    assert entry["reason"] == "expired"
    assert entry["seconds"] == 12.3
    assert (entry["packets_to_peers"], entry["bytes_to_peers"], entry["dropped"]) == (1, 160, 3)


@pytest.mark.parametrize("form", ["text", "json"])
def test_in_the_journal_every_line_has_a_priority(form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kind: a log whose lines are all of one importance to who reads it."""
    with (tmp_path / "journal").open("w+", encoding="utf-8") as stream:
        facts = os.fstat(stream.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{facts.st_dev}:{facts.st_ino}")
        monkeypatch.setattr("sys.stderr", stream)
        configure(LogConfig.model_validate({"level": "debug", "format": form}))
        logger = logging.getLogger("meshturn")
        try:
            raise ValueError("first\nsecond")
        except ValueError:
            logger.exception("fault")
        logger.warning("late")
        logger.debug("detail")
        shutdown()
        lines = (tmp_path / "journal").read_text("utf-8").splitlines()
    assert [line[:3] for line in lines if "late" in line or "detail" in line] == ["<4>", "<7>"]
    assert {line[:3] for line in lines[:-2]} == {"<3>"}
    assert len(lines) == (3 if form == "json" else 8)
    if form == "json":
        assert json.loads(lines[0][3:])["level"] == "error"


def test_below_the_level_nothing_is_written(written) -> None:
    stream = written(level="warning")
    for event, _, _ in EVENTS:
        LogObserver().on_event(event, None)
    assert stream.getvalue() == ""


@pytest.mark.parametrize("name", ["a\nb", "a b", "a\x1b[2Jb", "a'b", "x=1 y=2", "\u202eevil", "", "é"])
def test_hostile_names_stay_inside_their_quotes(written, name: str) -> None:
    """One line, printable ASCII, and a value that can be told from the field after it."""
    stream = written()
    LogObserver().on_event(AllocationOpened(CLIENT, name, name, (RelayId(1),), (RELAYED,), 600), None)
    line = stream.getvalue()
    assert line.count("\n") == 1
    assert line[:-1].isascii()
    assert line[:-1].isprintable()
    assert "relayed=192.0.2.1:50000 lifetime=600" in line
    written_name = line.partition("user=")[2].partition(" relayed=")[0]
    assert ast.literal_eval(written_name) == name


def test_long_names_are_cut(written) -> None:
    for style in ("text", "json"):
        stream = written(format=style)
        LogObserver().on_event(AllocationOpened(CLIENT, "1:x", "x" * 500, (RelayId(1),), (RELAYED,), 600), None)
        assert "x" * 129 not in stream.getvalue()
        assert "x" * 128 in stream.getvalue()


def test_an_exception_is_written_in_both_formats(written) -> None:
    for style in ("text", "json"):
        stream = written(format=style)
        try:
            raise ValueError("what went wrong")
        except ValueError:
            logging.getLogger("meshturn").exception("failed")
        assert "what went wrong" in stream.getvalue()


# Where the lines go


def test_a_new_configuration_goes_on_with_the_same_queue(written, monkeypatch: pytest.MonkeyPatch) -> None:
    """As SIGHUP brings one: the lines before and after are in order, each in the format of its time."""
    stream = written(format="text")
    logger = logging.getLogger("meshturn.test")
    logger.info("first")
    handlers = list(logging.getLogger("meshturn").handlers)
    configure(LogConfig(format="json", level="debug"))
    logger.debug("second")
    configure(LogConfig(format="text", level="warning"))
    logger.info("third")
    logger.warning("fourth")
    first, second, fourth = stream.getvalue().splitlines()
    assert first.endswith("info    meshturn.test: first")
    assert json.loads(second)["message"] == "second"
    assert fourth.endswith("warning meshturn.test: fourth")
    assert logging.getLogger("meshturn").handlers == handlers


def test_shutdown_writes_what_waits_and_takes_everything_back(written, caplog: pytest.LogCaptureFixture) -> None:
    before = list(logging.getLogger().handlers)
    stream = written()
    assert logging.getLogger().handlers != before
    for number in range(1000):
        logging.getLogger("meshturn").info("line %d", number)
    shutdown()
    lines = io.StringIO.getvalue(stream).splitlines()
    assert [line.rpartition(": ")[2] for line in lines] == [f"line {number}" for number in range(1000)]
    logger = logging.getLogger("meshturn")
    assert (logger.handlers, logger.propagate) == ([], True)
    assert logging.getLogger().handlers == before
    shutdown()


def test_what_was_withheld_is_said_at_the_end(written) -> None:
    stream = written(format="json")
    lines = Lines(logging.getLogger("meshturn.test"), Allowance(1, 0, 100, 0))
    for _ in range(3):
        lines.write(logging.INFO, "refused", {}, "192.0.2.1")
    shutdown()
    said = [json.loads(line) for line in io.StringIO.getvalue(stream).splitlines()]
    assert [entry["message"] for entry in said] == ["refused", "refused, and more like it"]
    assert said[1]["withheld"] == 2


def test_libraries_are_heard_from_warnings_up(written) -> None:
    """Else their lines would be written where they are raised, and wait: asyncio's about exceptions, for one."""
    stream = written(format="json", level="debug")
    logging.getLogger("asyncio").warning("a callback took long")
    logging.getLogger("asyncio").info("not worth it")
    with pytest.warns(UserWarning, match="of old"):
        warnings.warn("of old", UserWarning, stacklevel=1)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn("of now", UserWarning, stacklevel=1)
    entries = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [entry["logger"] for entry in entries] == ["asyncio", "py.warnings"]
    assert "of now" in entries[1]["message"]


@pytest.mark.parametrize("style", ["text", "json"])
def test_a_line_that_cannot_be_formatted_is_said_to_be_one(written, style: str) -> None:
    class Odd:
        def __str__(self) -> str:
            raise ValueError("no words for it")

    stream = written(format=style)
    logging.getLogger("meshturn").info("%s", Odd())
    logging.getLogger("meshturn").info("next")
    first, second = stream.getvalue().splitlines()
    assert "cannot be formatted" in first
    assert "no words for it" in first
    assert "next" in second


class Stuck(Written):
    """Takes nothing until it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()

    def write(self, text: str) -> int:
        assert self.go.wait(PATIENCE)
        return super().write(text)


@pytest.mark.parametrize("style", ["text", "json"])
def test_missing_lines_are_counted_in_a_line(style: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the format of the others; and the one who logs has not waited for anybody."""
    stream = Stuck()
    monkeypatch.setattr("sys.stderr", stream)
    configure(LogConfig(format=style))
    assert dropped_lines() == 0
    for number in range(20_000):
        logging.getLogger("meshturn").info("line %d %s", number, "x" * 100)
    assert dropped_lines() > 10_000
    stream.go.set()
    *lines, last = stream.getvalue().splitlines()
    shutdown()
    if style == "json":
        entry = json.loads(last)
        assert (entry["level"], entry["logger"]) == ("warning", "meshturn.log")
        dropped = entry["dropped"]
    else:
        assert "log lines dropped" in last
        dropped = int(last.rpartition("dropped=")[2])
    assert len(lines) + dropped == 20_000
    assert dropped > 10_000
