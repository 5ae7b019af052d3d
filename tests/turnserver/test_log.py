"""The log: every event has a line, hostile text cannot forge one, and levels are what operators expect."""

import ast
import io
import json
import logging

import pytest

from stun.address import Address
from stun.constants import Method
from turnserver.config import LogConfig
from turnserver.core.events import (
    AllocationEnded,
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
from turnserver.log import configure
from turnserver.observers.log import LogObserver

CLIENT = FiveTuple(ClientTransport.UDP, Address.parse("192.0.2.10", 40000), Address.parse("192.0.2.1", 3478), 0)
RELAYED = Address.parse("192.0.2.1", 50000)

EVENTS: list[tuple[Event, str, str]] = [
    (AllocationOpened(CLIENT, "alice", "alice", (RelayId(1),), (RELAYED,), 600), "info", "allocation opened"),
    (AllocationEnded(CLIENT, "alice", "alice", (RelayId(1),), EndReason.EXPIRED, 12.34), "info", "allocation ended"),
    (AllocationRefreshed(CLIENT, "alice", 600), "debug", "allocation refreshed"),
    (RequestRefused(CLIENT, Method.ALLOCATE, 401, "Unauthenticated", ""), "debug", "request refused"),
    (RequestRefused(CLIENT, Method.ALLOCATE, 486, "Allocation Quota Reached", "bob"), "info", "request refused"),
    (RequestRefused(CLIENT, 0xABC, 400, "Bad Request", ""), "info", "request refused"),
    (PeerRefused(CLIENT, Address.parse("10.0.0.1", 1), "default deny 10.0.0.0/8"), "debug", "peer refused"),
    (AnswerWithheld(CLIENT), "debug", "answer withheld"),
    (PeerConnectionOpened(CLIENT, "alice", RELAYED, 7, True), "debug", "peer connection opened"),
    (PeerConnectionEnded(CLIENT, "alice", RELAYED, 7, True, 1.25), "debug", "peer connection ended"),
    (PeerConnectionEnded(CLIENT, "alice", RELAYED, 7, False, 30.0), "debug", "peer connection never claimed"),
]


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch):
    """Configure the log as asked and give what it has written so far."""

    def start(**settings: str) -> io.StringIO:
        stream = io.StringIO()
        monkeypatch.setattr("sys.stderr", stream)
        configure(LogConfig.model_validate(settings))
        return stream

    yield start
    logging.getLogger("meshturn").handlers = []


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
        LogObserver().on_event(AllocationOpened(CLIENT, "x" * 500, "x", (RelayId(1),), (RELAYED,), 600), None)
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
