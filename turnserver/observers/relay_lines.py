"""The log lines for events of the relay. Names in them are untrusted; the log escapes them.

Info lines cover what operators evaluate: who relays, for how long, how much, and who was refused. Events that every
call repeats have debug lines. Secrets, keys and nonces never appear here.
"""

import logging
from ipaddress import ip_network
from typing import Any

from stun.constants import Method
from turnserver.core.events import (
    AllocationEnded,
    AllocationOpened,
    AllocationRefreshed,
    AnswerWithheld,
    Event,
    LoginFailed,
    LoginsFailing,
    LookupFailed,
    PeerConnectionEnded,
    PeerConnectionOpened,
    PeerRefused,
    RequestRefused,
)
from turnserver.core.types import Counters, FiveTuple
from turnserver.descriptors import NO_DESCRIPTORS
from turnserver.observers.room_lines import Line

__all__ = ["line_of"]

_EXPECTED_CODES = frozenset({401, 438})
"""Part of every normal start of a client, so the level is debug."""


def line_of(event: Event, counters: Counters | None) -> Line:
    """The line of an event; ``counters`` are those of the relays of an allocation that has ended."""
    fields = _client(event.client)
    if isinstance(event, AllocationOpened):
        fields |= {"user": event.username, "relayed": [str(address) for address in event.relayed]}
        return Line(logging.INFO, "allocation opened", fields | {"lifetime": event.lifetime})
    if isinstance(event, AllocationEnded):
        fields |= {"user": event.username, "reason": str(event.reason), "seconds": round(event.duration, 1)}
        return Line(logging.INFO, "allocation ended", fields | (counters or Counters())._asdict())
    if isinstance(event, AllocationRefreshed):
        fields |= {"user": event.user_id, "lifetime": event.lifetime}
        return Line(logging.DEBUG, "allocation refreshed", fields)
    if isinstance(event, RequestRefused):
        fields |= {"method": _method(event.method), "code": event.code, "why": event.reason}
        level = logging.DEBUG if event.code in _EXPECTED_CODES else logging.INFO
        if event.reason == NO_DESCRIPTORS:  # the operator's to mend, for all users
            level = logging.WARNING
        return Line(level, "request refused", fields | ({"user": event.username} if event.username else {}))
    if isinstance(event, LookupFailed | LoginFailed | LoginsFailing):
        return _credentials(event, fields)
    return _withheld(event, fields) if isinstance(event, AnswerWithheld) else _debug(event, fields)


def _debug(event: Event, fields: dict[str, Any]) -> Line:
    return Line(logging.DEBUG, *_detail(event, fields))


def _withheld(event: AnswerWithheld, fields: dict[str, Any]) -> Line:
    """The line of an answer that a source without budget did not get; the network first, since sources are forged."""
    ip = event.client.address.ip
    network = ip_network((ip, 24 if len(ip) == 4 else 48), strict=False)
    return Line(logging.INFO, "answer withheld: reflection budget used up", {"network": str(network)} | fields)


def _credentials(event: LookupFailed | LoginFailed | LoginsFailing, fields: dict[str, Any]) -> Line:
    """The line of a credential that was not accepted. The address comes first: no text of the client precedes it."""
    user = {"user": event.username} if event.username else {}
    if isinstance(event, LookupFailed):
        return Line(logging.WARNING, "credentials unavailable", fields | user | {"why": event.reason})
    if isinstance(event, LoginFailed):
        fields = {"address": event.client.address.host} | fields | user
        return Line(logging.INFO, "login failed", fields | {"why": event.why})
    counts = {"failures": event.failures, "seconds": round(event.seconds, 1)}
    if event.of_user:
        return Line(logging.INFO, "many failed logins of one user", user | counts | {"sources": event.sources})
    fields = {"address": event.client.address.host} | fields | user
    return Line(logging.INFO, "many failed logins", fields | {"why": event.why} | counts)


def _detail(event: Event, fields: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The line of a frequent event, at level debug."""
    if isinstance(event, PeerRefused):
        return "peer refused", fields | {"peer": str(event.peer), "rule": event.rule}
    if isinstance(event, PeerConnectionOpened):
        return "peer connection opened", fields | {
            "peer": str(event.peer),
            "direction": "in" if event.inbound else "out",
        }
    if isinstance(event, PeerConnectionEnded):
        message = "peer connection ended" if event.bound else "peer connection not bound in time"
        return message, fields | {"peer": str(event.peer), "seconds": round(event.duration, 1)}
    raise AssertionError(f"an event without a line: {event!r}")


def _client(client: FiveTuple) -> dict[str, Any]:
    return {"client": str(client.address), "transport": client.transport.label}


def _method(number: int) -> str:
    try:
        return Method(number).name.lower()
    except ValueError:
        return hex(number)
