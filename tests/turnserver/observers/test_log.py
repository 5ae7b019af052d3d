"""The observer that writes the log: relays and rooms, each to its own logger, and floods are cut."""

import logging
from collections.abc import Iterator

import pytest

from stun.address import Address
from turnserver.core.events import (
    AllocationEnded,
    AllocationOpened,
    AllocationRefreshed,
    EndReason,
    LoginFailed,
    LookupFailed,
    PeerRefused,
    RequestRefused,
)
from turnserver.core.types import ClientTransport, Counters, FiveTuple, RelayId
from turnserver.lines import say_withheld
from turnserver.observers.log import LogObserver
from turnserver.reasons import Reason
from turnserver.signaling.protocol.errors import SignalCode
from turnserver.signaling.rooms.facts import ClientRefused, RoomOpened

CLIENT = FiveTuple(ClientTransport.UDP, Address.parse("192.0.2.10", 40000), Address.parse("192.0.2.1", 3478), 0)
RELAYED = Address.parse("192.0.2.1", 50000)
OPENED = AllocationOpened(CLIENT, "alice", "alice", (RelayId(1),), (RELAYED,), 600)


@pytest.fixture
def records() -> Iterator[list[logging.LogRecord]]:
    """What the two loggers write at their level, INFO."""
    kept: list[logging.LogRecord] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            kept.append(record)

    logger, handler = logging.getLogger("meshturn"), Keep()
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield kept
    logger.removeHandler(handler)
    logger.setLevel(before)


def test_relays_and_rooms_have_a_logger_each(records: list[logging.LogRecord]) -> None:
    observer = LogObserver()
    observer.on_event(OPENED, None)
    observer.on_event(RoomOpened("x"), None)
    assert [(record.name, record.getMessage(), record.fields) for record in records] == [
        (
            "meshturn.turn",
            "allocation opened",
            {
                "client": "192.0.2.10:40000",
                "transport": "udp",
                "user": "alice",
                "relayed": ["192.0.2.1:50000"],
                "lifetime": 600,
            },
        ),
        ("meshturn.signaling", "room opened", {"room": "x"}),
    ]


def test_what_is_below_the_level_is_not_written(records: list[logging.LogRecord]) -> None:
    LogObserver().on_event(AllocationRefreshed(CLIENT, "alice", 600), None)
    assert records == []


def test_a_flood_of_refusals_is_cut_as_time_passes(records: list[logging.LogRecord]) -> None:
    now = 1000.0
    observer = LogObserver(clock=lambda: now)
    refusal = ClientRefused("192.0.2.1", SignalCode.RATE_LIMITED, "too many")
    for _ in range(200):
        observer.on_event(refusal, None)
    assert len(records) == 50
    now += 1.0
    observer.on_event(refusal, None)
    assert records[-1].fields["more"] == 150


def test_a_stranger_cannot_fill_the_log_and_whoever_has_a_credential_is_heard(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A thousand refused requests are ten lines and a count; allocations in between have a line each."""
    caplog.set_level(logging.INFO, "meshturn.turn")
    now = 0.0
    observer = LogObserver(lambda: now)
    client = FiveTuple(ClientTransport.UDP, Address.parse("192.0.2.10", 40000), Address.parse("192.0.2.1", 3478), 0)
    for _ in range(1000):
        observer.on_event(RequestRefused(client, 3, 400, Reason.MALFORMED_ATTRIBUTE, "Bad Request", ""), None)
    for _ in range(100):
        observer.on_event(AllocationOpened(client, "alice", "alice", (), (), 600), None)
    messages = [record.getMessage() for record in caplog.records]
    assert messages.count("request refused") == 10
    assert messages.count("allocation opened") == 100
    now = 10.0
    observer.on_event(RequestRefused(client, 3, 400, Reason.MALFORMED_ATTRIBUTE, "Bad Request", ""), None)
    assert (caplog.records[-1].fields["withheld"], caplog.records[-1].fields["within"]) == (990, 10.0)


def test_the_end_of_the_server_has_a_line_for_each_allocation(records: list[logging.LogRecord]) -> None:
    """However many: without it their usage would be lost, and no client can cause it."""
    observer = LogObserver(lambda: 0.0)
    for number in range(6000):
        ended = AllocationEnded(CLIENT, "alice", "alice", (RelayId(number),), EndReason.SHUTDOWN, 9.04)
        observer.on_event(ended, Counters(1, number, 2, 20))
    assert [record.getMessage() for record in records] == ["allocation ended"] * 6000
    assert records[-1].fields["reason"] == "shutdown"
    assert (records[-1].fields["user"], records[-1].fields["seconds"]) == ("alice", 9.0)
    counted = {name: records[-1].fields[name] for name in Counters._fields[:4]}
    assert list(counted.values()) == [1, 5999, 2, 20]


def test_an_outage_of_a_credential_source_does_not_fill_the_log(records: list[logging.LogRecord]) -> None:
    """It takes no credential to ask for one, so these lines are a stranger's: a few, with the reason, then a count."""
    now = 1000.0
    observer = LogObserver(clock=lambda: now)
    for number in range(500):
        observer.on_event(LookupFailed(CLIENT, f"stranger {number}", "hook: Connection refused"), None)
    assert len(records) == 10
    assert {record.getMessage() for record in records} == {"credentials unavailable"}
    assert {record.fields["why"] for record in records} == {"hook: Connection refused"}
    now += 5.0
    observer.on_event(LookupFailed(CLIENT, "alice", "hook: Connection refused"), None)
    assert records[-1].fields["withheld"] == 490


def test_a_refused_peer_is_one_line_and_a_count(records: list[logging.LogRecord]) -> None:
    """The kind: a line for each 403 of a client that asks again and again. One for each allocation and peer."""
    logging.getLogger("meshturn").setLevel(logging.DEBUG)
    now = 1000.0
    observer = LogObserver(clock=lambda: now)
    peers = [Address.parse("198.51.100.1", 9), Address.parse("10.0.0.1", 9)]
    causes = [Reason.PEER_DENIED, Reason.PEER_NOT_PUBLIC]
    for times in range(1, 21):
        for peer, cause in zip(peers, causes, strict=True):
            observer.on_event(PeerRefused(CLIENT, peer, cause, "some rule", "alice", times), None)
            observer.on_event(RequestRefused(CLIENT, 8, 403, cause, "Forbidden", "alice", "alice"), None)
    told = [(record.levelno, record.getMessage(), record.fields["peer"]) for record in records]
    assert told == [
        (logging.INFO, "peer refused", "198.51.100.1:9"),
        (logging.DEBUG, "peer refused", "10.0.0.1:9"),
    ]
    assert records[0].fields["cause"] == "peer-denied"
    now += 10
    say_withheld()
    repeated = [record for record in records if record.getMessage() == "peer refused, and more like it"]
    counted = {record.fields["source"]: record.fields["withheld"] for record in repeated}
    assert counted == {f"{CLIENT.address}, peer {peer.host}": 19 for peer in peers}


def test_a_cause_does_not_hide_another(records: list[logging.LogRecord]) -> None:
    """The kind: a line that an operator has to act on, withheld because of what others in that network do wrong."""
    now = 1000.0
    observer = LogObserver(clock=lambda: now)
    for _ in range(500):
        observer.on_event(RequestRefused(CLIENT, 3, 400, Reason.MALFORMED_ATTRIBUTE, "Bad Request", ""), None)
        observer.on_event(LoginFailed(CLIENT, "nobody", Reason.UNKNOWN_USER, ""), None)
    observer.on_event(RequestRefused(CLIENT, 3, 508, Reason.RELAY_PORTS, "Insufficient Capacity", "bob", "bob"), None)
    observer.on_event(LoginFailed(CLIENT, "bob", Reason.EXPIRED, ""), None)
    assert [record.fields["cause"] for record in records[-2:]] == ["relay-ports", "expired"]
    now += 10
    say_withheld()
    counted = {record.fields["cause"]: record.fields["withheld"] for record in records[-2:]}
    assert counted == {"malformed-attribute": 490, "unknown-user": 490}
