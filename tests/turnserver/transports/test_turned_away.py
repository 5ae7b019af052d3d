"""Lines about connections that are closed before they speak STUN or HTTP."""

import logging
import ssl

import pytest

from stun.address import Address
from tests.support.clock import Clock
from tests.support.stream_world import captured_log
from turnserver.reasons import CLOSED, Reason
from turnserver.transports.turned_away import TurnedAway, handshake_failure

CLIENT = Address.parse("198.51.100.7", 4000)
LOGGER = logging.getLogger("meshturn.streams")


def failure(reason: str) -> ssl.SSLError:
    error = ssl.SSLError(1, f"[SSL: {reason}] somewhere in OpenSSL")
    error.reason = reason
    return error


@pytest.mark.parametrize(
    ("error", "cause", "why"),
    [
        (failure("TLSV1_ALERT_UNKNOWN_CA"), Reason.TLS_ALERT, "unknown ca"),
        (failure("SSLV3_ALERT_CERTIFICATE_UNKNOWN"), Reason.TLS_ALERT, "certificate unknown"),
        (failure("NO_SHARED_CIPHER"), Reason.TLS_FAILED, "no shared cipher"),
        (ConnectionResetError(104, "Connection reset by peer"), Reason.CONNECTION_BROKEN, "Connection reset by peer"),
    ],
)
def test_an_alert_of_the_client_is_told_from_a_failure_here(error: OSError, cause: Reason, why: str) -> None:
    assert handshake_failure(error) == (cause, why)


def test_lines_are_few_for_each_network_and_kind() -> None:
    """Strangers cause them: one a minute, and the number of the others."""
    clock = Clock()
    lines = TurnedAway(LOGGER, clock)
    with captured_log("meshturn.streams") as records:
        for _ in range(50):
            lines.say(Reason.TLS_ALERT, "unknown ca", CLIENT, "tls 192.0.2.1:5349")
        lines.say(Reason.PROXY_HEADER_MISSING, "", CLIENT, "tls 192.0.2.1:5349")
        clock.now += 61
        lines.say(Reason.TLS_ALERT, "unknown ca", CLIENT, "tls 192.0.2.1:5349")
    assert [record.getMessage() for record in records] == [
        "TLS alert from a client",
        "no PROXY header from a proxy",
        "TLS alert from a client",
    ]
    assert records[0].__dict__["fields"] == {
        "client": "198.51.100.7:4000",
        "listener": "tls 192.0.2.1:5349",
        "cause": "tls-alert",
        "why": "unknown ca",
    }
    assert records[2].__dict__["fields"]["withheld"] == 49


def test_what_scanners_cause_is_not_at_info() -> None:
    lines = TurnedAway(LOGGER, Clock())
    with captured_log("meshturn.streams") as records:
        for cause in (Reason.NOT_TURN, Reason.CONNECTION_BROKEN, Reason.TOO_SLOW):
            assert cause.answer == CLOSED
            lines.say(cause, "speaks garbage", CLIENT, "tcp 192.0.2.1:3478")
    assert records == []


def test_every_one_is_counted() -> None:
    """With a line or without, and in excess of the allowance."""
    lines = TurnedAway(LOGGER, Clock())
    for _ in range(5):
        lines.say(Reason.TLS_FAILED, "why", CLIENT, "tls 192.0.2.1:443")
    lines.say(Reason.TOO_SLOW, "", CLIENT, "tls 192.0.2.1:443")
    assert lines.counts == {Reason.TLS_FAILED: 5, Reason.TOO_SLOW: 1}
