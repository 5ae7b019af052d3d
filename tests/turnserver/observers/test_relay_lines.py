"""Lines of the log about relays; `tests.turnserver.test_log` shows how they look in the end."""

import logging
from typing import get_args

import pytest

from stun.address import Address
from stun.constants import Method
from turnserver.core.events import (
    AllocationEnded,
    EndReason,
    Event,
    LoginFailed,
    LoginsFailing,
    LookupFailed,
    PeerConnectionEnded,
    RequestRefused,
)
from turnserver.core.types import ClientTransport, Counters, FiveTuple
from turnserver.observers.relay_lines import is_detail, line_of
from turnserver.observers.room_lines import Line
from turnserver.reasons import Reason

CLIENT = FiveTuple(ClientTransport.TLS, Address.parse("192.0.2.10", 40000), Address.parse("192.0.2.1", 443), 0, 7)
WHO = {"client": "192.0.2.10:40000", "transport": "tls"}


@pytest.mark.parametrize(
    ("event", "counters", "line"),
    [
        (
            AllocationEnded(CLIENT, "alice", "alice", (), EndReason.REVOKED, 12.34),
            Counters(1, 160, 2, 320, 3),
            Line(
                logging.INFO,
                "allocation ended",
                WHO
                | {"user": "alice", "reason": "revoked", "seconds": 12.3}
                | {"packets_to_peers": 1, "bytes_to_peers": 160, "packets_to_client": 2, "bytes_to_client": 320}
                | {"dropped": 3},
            ),
        ),
        (
            RequestRefused(CLIENT, Method.ALLOCATE, 401, Reason.NO_CREDENTIALS, "Unauthenticated", ""),
            None,
            Line(
                logging.DEBUG,
                "request refused",
                WHO | {"method": "allocate", "code": 401, "cause": "no-credentials", "why": "Unauthenticated"},
            ),
        ),
        (
            RequestRefused(CLIENT, 0xABC, 400, Reason.MALFORMED_ATTRIBUTE, "Bad Request", "bob"),
            None,
            Line(
                logging.INFO,
                "request refused",
                WHO
                | {"method": "0xabc", "code": 400, "cause": "malformed-attribute", "why": "Bad Request", "user": "bob"},
            ),
        ),
        (
            RequestRefused(CLIENT, Method.ALLOCATE, 508, Reason.NO_DESCRIPTORS, "Insufficient Capacity", "bob", "bob"),
            None,
            Line(
                logging.WARNING,
                "request refused",
                WHO
                | {"method": "allocate", "code": 508, "cause": "no-descriptors"}
                | {"why": "Insufficient Capacity", "user": "bob"},
            ),
        ),
        (
            LookupFailed(CLIENT, "alice", "the database is down"),
            None,
            Line(
                logging.WARNING,
                "credentials unavailable",
                WHO | {"user": "alice", "cause": "source-unavailable", "why": "the database is down"},
            ),
        ),
        (
            LoginFailed(CLIENT, "alice", Reason.WRONG_PASSWORD, "wrong password"),
            None,
            Line(
                logging.INFO,
                "login failed",
                {"address": "192.0.2.10"} | WHO | {"user": "alice", "cause": "wrong-password", "why": "wrong password"},
            ),
        ),
        (
            LoginsFailing(CLIENT, "alice", Reason.WRONG_PASSWORD, "wrong password", 10, 3.21, 1, of_user=False),
            None,
            Line(
                logging.INFO,
                "many failed logins",
                {"address": "192.0.2.10"}
                | WHO
                | {"user": "alice", "cause": "wrong-password", "why": "wrong password", "failures": 10, "seconds": 3.2},
            ),
        ),
        (
            LoginsFailing(CLIENT, "alice", Reason.WRONG_PASSWORD, "wrong password", 100, 3.21, 7, of_user=True),
            None,
            Line(
                logging.INFO,
                "many failed logins of one user",
                {"user": "alice", "failures": 100, "seconds": 3.2, "sources": 7},
            ),
        ),
        (
            PeerConnectionEnded(CLIENT, "alice", Address.parse("192.0.2.7", 80), 7, False, 30.04),
            None,
            Line(logging.DEBUG, "peer connection not bound in time", WHO | {"peer": "192.0.2.7:80", "seconds": 30.0}),
        ),
    ],
)
def test_lines(event: Event, counters: Counters | None, line: Line) -> None:
    """What stands in them, and at which level."""
    assert line_of(event, counters) == line


def test_every_event_has_a_line() -> None:
    """None is forgotten."""
    for kind in get_args(Event):
        fields = {
            "client": CLIENT,
            "former": CLIENT,
            "duration": 0.0,
            "relayed": (),
            "relays": (),
            "method": 1,
            "code": 400,
        }
        fields |= {"failures": 1, "seconds": 0.0, "sources": 1, "cause": Reason.PEER_DENIED, "expires_at": 0.0}
        made = kind(*(fields.get(name, "") for name in kind._fields))
        assert line_of(made, None).message


@pytest.mark.parametrize("cause", Reason)
def test_details_are_exactly_the_refusals_below_info(cause: Reason) -> None:
    """What is not put into words when debug is off would not have been written."""
    event = RequestRefused(CLIENT, Method.ALLOCATE, 400, cause, "Bad Request", "")
    assert is_detail(event) is (line_of(event, None).level == logging.DEBUG)
