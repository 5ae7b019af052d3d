"""Lines of the log about rooms."""

import logging
from typing import get_args

import pytest

from stun.address import Address
from turnserver.observers.room_lines import Journal, Line, line_of
from turnserver.signaling.protocol.errors import SignalCode
from turnserver.signaling.rooms.facts import (
    CandidatesSeen,
    ClientRefused,
    Fact,
    Kicked,
    MessageRefused,
    PeerJoined,
    PeerReturned,
    RoomClosed,
)


@pytest.mark.parametrize(
    ("fact", "line"),
    [
        (
            PeerJoined("x", "aaaaaaaaaa", "hash.aaaaaaaaaa", "Ann\n", "host"),
            Line(
                logging.INFO,
                "participant joined",
                {"room": "x", "peer": "aaaaaaaaaa", "user": "hash.aaaaaaaaaa", "name": "Ann\n", "role": "host"},
            ),
        ),
        (RoomClosed("x", 12.345), Line(logging.INFO, "room closed", {"room": "x", "seconds": 12.3})),
        (
            ClientRefused("192.0.2.1", SignalCode.BAD_TOKEN, "not a token"),
            Line(
                logging.INFO,
                "client refused",
                {"address": "192.0.2.1", "cause": "bad_token", "why": "not a token"},
            ),
        ),
        (
            Kicked("x", "aaaaaaaaaa", "", "", True),
            Line(logging.INFO, "participant sent away", {"room": "x", "peer": "aaaaaaaaaa", "banned": True}),
        ),
        (
            PeerReturned("x", "aaaaaaaaaa", False),
            Line(logging.DEBUG, "participant is back", {"room": "x", "peer": "aaaaaaaaaa"}),
        ),
        (
            CandidatesSeen("x", "a", "b", (Address.parse("192.0.2.1", 5), Address.parse("2001:db8::1", 6))),
            Line(
                logging.DEBUG,
                "relayed addresses announced",
                {"room": "x", "sender": "a", "receiver": "b", "relayed": ["192.0.2.1:5", "[2001:db8::1]:6"]},
            ),
        ),
    ],
)
def test_lines(fact: Fact, line: Line) -> None:
    """What stands in them, and at which level."""
    assert line_of(fact) == line


def test_every_fact_has_a_line() -> None:
    """None is forgotten."""
    for kind in get_args(Fact):
        made = kind(*("" for _ in kind._fields))
        assert line_of(made).message


def test_strangers_do_not_fill_the_log() -> None:
    """A flood of refusals is fifty lines, then five a second that say how many more there were."""
    journal = Journal()
    refusal = ClientRefused("192.0.2.1", SignalCode.RATE_LIMITED, "too many")
    lines = [journal.line(refusal, 1000.0) for _ in range(200)]
    assert sum(line is not None for line in lines) == 50
    assert journal.line(PeerJoined("x", "p", "u", "n", "host"), 1000.0) is not None
    later = journal.line(refusal, 1000.2)
    assert later is not None
    assert later.fields["more"] == 150
    assert journal.line(refusal, 1000.2) is None
    last = journal.line(refusal, 1010.0)
    assert last is not None
    assert last.fields["more"] == 1


def test_stopping_is_one_line() -> None:
    """Not one for everybody who is told."""
    assert line_of(ClientRefused("192.0.2.1", SignalCode.DRAINING, "")).level == logging.DEBUG


def test_a_refused_message_is_at_info_where_an_operator_can_act() -> None:
    """The kind: a refusal that only the client sees. A full room is one; a client's malformed frame is not."""
    full = line_of(MessageRefused("192.0.2.1", SignalCode.ROOM_FULL, "the room is full", "demo", "abc"))
    assert full == Line(
        logging.INFO,
        "message refused",
        {"address": "192.0.2.1", "cause": "room_full", "why": "the room is full", "room": "demo", "peer": "abc"},
    )
    assert line_of(MessageRefused("192.0.2.1", SignalCode.BAD_MESSAGE, "n is 3 next", "", "")).level == logging.DEBUG
