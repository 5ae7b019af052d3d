"""The log lines for events of the relay. Names in them are untrusted; the log escapes them.

Info lines cover what operators evaluate: who relays, for how long, how much, and who was refused. Events that every
call repeats have debug lines. Secrets, keys and nonces never appear here.
"""

import logging
from ipaddress import ip_network
from typing import Any, Final

from stun.constants import Method
from turnserver.core.events import (
    AllocationEnded,
    AllocationMoved,
    AllocationOpened,
    AllocationRefreshed,
    AnswerWithheld,
    Event,
    LoginFailed,
    LoginsFailing,
    LookupFailed,
    OddExpiry,
    PeerConnectionEnded,
    PeerConnectionOpened,
    PeerConnectionRefused,
    PeerRefused,
    RequestRefused,
)
from turnserver.core.types import Counters, FiveTuple
from turnserver.observers.room_lines import Line
from turnserver.reasons import Reason

__all__ = ["PEER_CAUSES", "is_detail", "line_of"]

PEER_CAUSES: Final = frozenset(
    {Reason.PEER_NOT_PUBLIC, Reason.PEER_DENIED, Reason.PEER_OWN_LISTENER, Reason.PEER_OWN_ADDRESS}
)
"""Causes of a 403 that have a line of their own, which names the peer (`PeerRefused`)."""

_QUIET: Final = frozenset(
    {
        Reason.NO_CREDENTIALS,
        Reason.STALE_NONCE,
        Reason.FOREIGN_NONCE,
        Reason.WRONG_PASSWORD,
        Reason.WRONG_REALM,
        Reason.UNKNOWN_USER,
        Reason.MALFORMED_TIME,
        Reason.EXPIRED,
        Reason.SOURCE_UNAVAILABLE,
        Reason.LOOKUPS_FULL,
        Reason.PEER_NOT_PUBLIC,
        Reason.PEER_SWALLOWED,
    }
)
"""Part of the normal start of a client or of a normal call, or told at a higher level by an event of its own."""


_MILLISECONDS: Final = "the back end that issues it has to divide the time by 1000"


def is_detail(event: Event) -> bool:
    """Whether an event that every call has several of gets a line at level debug, so need not be put into words."""
    return type(event) is AllocationRefreshed or (type(event) is RequestRefused and event.cause in _QUIET)


def line_of(event: Event, counters: Counters | None) -> Line:
    """The line of an event; ``counters`` are those of the relays of an allocation that has ended."""
    fields = _client(event.client)
    if isinstance(event, AllocationOpened):
        fields |= {"user": event.user_id, "relayed": [str(address) for address in event.relayed]}
        return Line(logging.INFO, "allocation opened", fields | {"lifetime": event.lifetime})
    if isinstance(event, AllocationEnded):
        fields |= {"user": event.user_id, "reason": str(event.reason), "seconds": round(event.duration, 1)}
        refused = {"peers_refused": event.refusals, "swallowed": event.swallowed}
        refused = {name: count for name, count in refused.items() if count}
        return Line(logging.INFO, "allocation ended", fields | (counters or Counters())._asdict() | refused)
    if isinstance(event, AllocationRefreshed | AllocationMoved):
        return _goes_on(event, fields | {"user": event.user_id})
    if isinstance(event, RequestRefused):
        return _refused(event, fields)
    if isinstance(event, LookupFailed | LoginFailed | LoginsFailing | OddExpiry):
        return _credentials(event, fields)
    return _withheld(event, fields) if isinstance(event, AnswerWithheld) else _with_peers(event, fields)


def _goes_on(event: AllocationRefreshed | AllocationMoved, fields: dict[str, Any]) -> Line:
    if isinstance(event, AllocationMoved):
        former = {"from": str(event.former.address), "from_transport": event.former.transport.label}
        return Line(logging.INFO, "allocation moved", fields | former)
    return Line(logging.DEBUG, "allocation refreshed", fields | {"lifetime": event.lifetime})


def _refused(event: RequestRefused, fields: dict[str, Any]) -> Line:
    """The line of an error answer: its code, the cause, and what it is about."""
    fields |= {"method": _method(event.method), "code": event.code, "cause": str(event.cause)}
    fields |= {"why": event.reason} | ({"detail": event.detail} if event.detail and not event.user_id else {})
    level = logging.DEBUG if event.cause in _QUIET else logging.INFO
    if event.cause is Reason.NO_DESCRIPTORS:  # the operator's to mend, for all users
        level = logging.WARNING
    return Line(level, "request refused", fields | _user(event.user_id or event.claimed_id or event.username))


def _user(name: str) -> dict[str, Any]:
    """The user, by the same name in every line: the id, which a time-limited username ends or begins with."""
    return {"user": name} if name else {}


def _withheld(event: AnswerWithheld, fields: dict[str, Any]) -> Line:
    """The line of an answer that was not sent; without a budget the network first, since sources are forged."""
    if event.cause is Reason.TOO_MANY_FAILURES:
        fields = {"address": event.client.address.host} | fields | {"cause": str(event.cause)}
        return Line(logging.INFO, "answer withheld: wrong credentials too often", fields)
    ip = event.client.address.ip
    network = ip_network((ip, 24 if len(ip) == 4 else 48), strict=False)
    return Line(
        logging.INFO,
        "answer withheld: reflection budget used up",
        {"network": str(network)} | fields | {"cause": str(event.cause)},
    )


def _credentials(event: LookupFailed | LoginFailed | LoginsFailing | OddExpiry, fields: dict[str, Any]) -> Line:
    """The line of a credential that was not accepted. The address comes first: no text of the client precedes it."""
    if isinstance(event, OddExpiry):
        fields |= _user(event.user_id) | {"expires_at": round(event.expires_at), "hint": _MILLISECONDS}
        return Line(logging.WARNING, "a credential expires in milliseconds, so it never does", fields)
    if isinstance(event, LookupFailed):
        fields |= _user(event.username) | {"cause": str(event.cause), "why": event.reason}
        return Line(logging.WARNING, "credentials unavailable", fields)
    user, why = _user(event.claimed_id or event.username), {"cause": str(event.cause), "why": event.why}
    if isinstance(event, LoginFailed):
        return Line(logging.INFO, "login failed", {"address": event.client.address.host} | fields | user | why)
    counts = {"failures": event.failures, "seconds": round(event.seconds, 1)}
    if event.of_user:
        return Line(logging.INFO, "many failed logins of one user", user | counts | {"sources": event.sources})
    fields = {"address": event.client.address.host} | fields | user
    return Line(logging.INFO, "many failed logins", fields | why | counts)


def _with_peers(event: Event, fields: dict[str, Any]) -> Line:
    """The line of an event about a peer; at level debug what browsers cause in every call."""
    if isinstance(event, PeerRefused):
        code = {} if event.cause is Reason.PEER_SWALLOWED else {"code": int(event.cause.errors[0])}
        fields |= _user(event.user_id) | code | {"cause": str(event.cause), "peer": str(event.peer), "rule": event.rule}
        return Line(logging.DEBUG if event.cause in _QUIET else logging.INFO, "peer refused", fields)
    if isinstance(event, PeerConnectionRefused):
        fields |= _user(event.user_id) | {"peer": str(event.peer), "cause": str(event.cause)}
        level = logging.WARNING if event.cause is Reason.NO_DESCRIPTORS else logging.INFO
        return Line(level, "peer connection refused", fields)
    if isinstance(event, PeerConnectionOpened):
        fields |= {"peer": str(event.peer), "direction": "in" if event.inbound else "out"}
        return Line(logging.DEBUG, "peer connection opened", fields)
    if isinstance(event, PeerConnectionEnded):
        message = "peer connection ended" if event.bound else "peer connection not bound in time"
        fields |= {"peer": str(event.peer), "seconds": round(event.duration, 1)}
        return Line(logging.DEBUG, message, fields)
    raise AssertionError(f"an event without a line: {event!r}")


def _client(client: FiveTuple) -> dict[str, Any]:
    return {"client": str(client.address), "transport": client.transport.label}


def _method(number: int) -> str:
    try:
        return Method(number).name.lower()
    except ValueError:
        return hex(number)
