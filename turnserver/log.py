"""Logging: how lines look. Which events become which lines is said in `turnserver.observers`.

Whatever came off the wire is hostile: it is written with every character escaped that could start a new line, move a
cursor or pass for another field. Secrets, keys and nonces are never written.
"""

import json
import logging
import re
import sys
from datetime import UTC, datetime
from typing import Any

from turnserver.config import LogConfig

__all__ = ["configure"]

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
