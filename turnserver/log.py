"""Logging: the format of lines. `turnserver.observers` turns events into lines.

Text from the wire is untrusted: every character that could start a new line, move a cursor or look like another field
is escaped. Secrets, keys and nonces are never written.
"""

import json
import logging
import os
import re
import sys
from datetime import UTC, datetime
from typing import Any, Final, TextIO

from turnserver.config import LogConfig
from turnserver.journal import is_journal, with_priority
from turnserver.lines import say_withheld
from turnserver.writer import LineWriter

__all__ = ["configure", "dropped_lines", "shutdown"]

PATIENCE: Final = 2.0
"""Seconds for writing the last lines when the process ends."""

_PLAIN = re.compile(r"[A-Za-z0-9._:@/\[\]+-]+")
"""Values that need no quotes in a line."""

_MAX_TEXT = 128
"""Characters written of an untrusted text."""

_libraries: Final = logging.root
"""The logger for lines of libraries, from WARNING up."""


def configure(settings: LogConfig) -> None:
    """Send the log to standard error, in the configured format and from the configured level up.

    If that is the systemd journal, each line has its priority in front, which the journal takes off.

    This includes the log lines and warnings of libraries. A thread writes the lines, so that a blocked standard error
    delays nothing. For processes that we own; may be called again with other settings.
    """
    formatter = _JsonFormatter() if settings.format == "json" else _TextFormatter()
    logger = logging.getLogger("meshturn")
    handler = next((found for found in logger.handlers if isinstance(found, _QueueingHandler)), None)
    if handler is None or handler.stream is not sys.stderr:
        shutdown()
        handler = _QueueingHandler(sys.stderr, formatter)
        logger.handlers = [handler]
        _libraries.addHandler(handler)
        logging.captureWarnings(True)
    handler.setFormatter(formatter)
    logger.propagate = False
    logger.setLevel(settings.level.upper())


def shutdown() -> None:
    """Write the queued lines, and undo `configure`; without it, do nothing."""
    logger = logging.getLogger("meshturn")
    for handler in [found for found in logger.handlers if isinstance(found, _QueueingHandler)]:
        say_withheld()
        logging.captureWarnings(False)
        _libraries.removeHandler(handler)
        logger.removeHandler(handler)
        logger.propagate = True
        handler.close()


def dropped_lines() -> int:
    """How many lines standard error has not taken since `configure`; 0 without it."""
    handlers = logging.getLogger("meshturn").handlers
    return sum(handler.dropped for handler in handlers if isinstance(handler, _QueueingHandler))


class _QueueingHandler(logging.Handler):
    """Formats a record at once, before its values can change, and passes the line to a `LineWriter`."""

    def __init__(self, stream: TextIO, formatter: logging.Formatter) -> None:
        super().__init__()
        self.stream = stream
        self.setFormatter(formatter)
        self._journal = is_journal(stream, os.environ)
        self._writer = LineWriter(stream, self._lost)

    def emit(self, record: logging.LogRecord) -> None:
        """Queue a line; dropped lines are counted, and their number is logged later."""
        try:
            line = self.format(record)
        except Exception as error:  # logging's own error handling writes to standard error, and may block
            line = self.format(_record(logging.ERROR, "a log line cannot be formatted", error=repr(error)))
        self._writer.put(self._line(line, record.levelno))

    @property
    def dropped(self) -> int:
        """Lines that were dropped so far."""
        return self._writer.dropped

    def flush(self) -> None:
        """Wait until the queued lines are written, for a limited time."""
        self._writer.flush(PATIENCE)

    def close(self) -> None:
        """Flush, and stop writing."""
        self._writer.close(PATIENCE)
        super().close()

    def _lost(self, count: int) -> str:
        record = _record(logging.WARNING, "log lines dropped: standard error did not accept them", dropped=count)
        return self._line(self.format(record), record.levelno)

    def _line(self, text: str, level: int) -> str:
        return (with_priority(text, level) if self._journal else text) + "\n"


def _record(level: int, message: str, **fields: Any) -> logging.LogRecord:
    record = logging.LogRecord("meshturn.log", level, "", 0, message, None, None)
    record.fields = fields
    return record


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
