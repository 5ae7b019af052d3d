"""Logging: how lines look, and which facts become which lines.

Whatever came off the wire is hostile: it is written with every character escaped that could start a new line, move a
cursor or pass for another field. Secrets, keys and nonces are never written.
"""

import json
import logging
import re
import sys
from datetime import UTC, datetime
from typing import Any

from stun.constants import Method
from turnserver.config import LogConfig
from turnserver.core.events import (
    AllocationEnded,
    AllocationOpened,
    AllocationRefreshed,
    AnswerWithheld,
    Event,
    PeerConnectionEnded,
    PeerConnectionOpened,
    PeerRefused,
    RequestRefused,
)
from turnserver.core.types import Counters, FiveTuple

__all__ = ["EventLog", "configure"]

_EXPECTED_CODES = frozenset({401, 438})
"""Part of every healthy start of a client, so not worth more than debug."""

_PLAIN = re.compile(r"[A-Za-z0-9._:@/\[\]+-]+")
"""What can stand in a line without quotes."""

_MAX_TEXT = 128
"""Characters of a hostile text that are written."""


def configure(settings: LogConfig) -> None:
    """Send the server's log to standard error, in the configured format and from the configured level up."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonFormatter() if settings.format == "json" else _TextFormatter())
    logger = logging.getLogger("meshturn")
    logger.handlers = [handler]
    logger.propagate = False
    logger.setLevel(settings.level.upper())


class EventLog:
    """Turns the core's events into log lines."""

    def __init__(self, logger: logging.Logger | None = None) -> None:
        self._logger = logger or logging.getLogger("meshturn.turn")

    def __call__(self, event: Event, counters: Counters | None) -> None:
        """Write the line of one event, if its level is on."""
        level, message, fields = _describe(event, counters)
        if self._logger.isEnabledFor(level):
            self._logger.log(level, message, extra={"fields": fields})


def _describe(event: Event, counters: Counters | None) -> tuple[int, str, dict[str, Any]]:
    fields = _client(event.client)
    if isinstance(event, AllocationOpened):
        fields |= {"user": event.username, "relayed": [str(address) for address in event.relayed]}
        return logging.INFO, "allocation opened", fields | {"lifetime": event.lifetime}
    if isinstance(event, AllocationEnded):
        fields |= {"user": event.username, "reason": str(event.reason), "seconds": round(event.duration, 1)}
        return logging.INFO, "allocation ended", fields | (counters or Counters())._asdict()
    if isinstance(event, AllocationRefreshed):
        return logging.DEBUG, "allocation refreshed", fields | {"user": event.user_id, "lifetime": event.lifetime}
    if isinstance(event, RequestRefused):
        fields |= {"method": _method(event.method), "code": event.code, "why": event.reason}
        level = logging.DEBUG if event.code in _EXPECTED_CODES else logging.INFO
        return level, "request refused", fields | ({"user": event.username} if event.username else {})
    return logging.DEBUG, *_detail(event, fields)


def _detail(event: Event, fields: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """What happens all the time, so is worth a line only to whoever looks for it."""
    if isinstance(event, PeerRefused):
        return "peer refused", fields | {"peer": str(event.peer), "rule": event.rule}
    if isinstance(event, AnswerWithheld):
        return "answer withheld: reflection budget used up", fields
    if isinstance(event, PeerConnectionOpened):
        return "peer connection opened", fields | {
            "peer": str(event.peer),
            "direction": "in" if event.inbound else "out",
        }
    if isinstance(event, PeerConnectionEnded):
        message = "peer connection ended" if event.bound else "peer connection never claimed"
        return message, fields | {"peer": str(event.peer), "seconds": round(event.duration, 1)}
    raise AssertionError(f"an event without a line: {event!r}")


def _client(client: FiveTuple) -> dict[str, Any]:
    return {"client": str(client.address), "transport": client.transport.label}


def _method(number: int) -> str:
    try:
        return Method(number).name.lower()
    except ValueError:
        return hex(number)


class _TextFormatter(logging.Formatter):
    """``2026-01-31T12:00:00.123Z info  meshturn.turn: allocation opened client=… user='…'``."""

    def format(self, record: logging.LogRecord) -> str:
        fields = " ".join(f"{name}={_text(value)}" for name, value in _fields(record).items())
        line = f"{_time(record)} {record.levelname.lower():7} {record.name}: {record.getMessage()}"
        line = f"{line} {fields}" if fields else line
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class _JsonFormatter(logging.Formatter):
    """One JSON object a line; ASCII only, so nothing in it can move a cursor."""

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, Any] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        entry |= {name: _short(value) for name, value in _fields(record).items()}
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry)


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    fields = getattr(record, "fields", {})
    return fields if isinstance(fields, dict) else {}


def _time(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _short(value: Any) -> Any:
    return value[:_MAX_TEXT] + "…" if isinstance(value, str) and len(value) > _MAX_TEXT else value


def _text(value: Any) -> str:
    value = _short(value)
    if isinstance(value, list):
        return ",".join(_text(item) for item in value)
    return str(value) if _PLAIN.fullmatch(str(value)) else ascii(value)
