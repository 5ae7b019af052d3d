"""Reads a server's frames with the protocol's types; the server may be newer than this client, or hostile.

A frame that is not a known message of the protocol is `Unreadable`: its number still counts as handled, and the request
that it answers has failed. An error with an unknown code is read except for the code.
"""

import json
from dataclasses import dataclass
from typing import Any, Final

from turnserver.signaling.protocol.base import ServerMessage
from turnserver.signaling.protocol.codec import parse_server
from turnserver.signaling.protocol.errors import Denial, SignalCode

__all__ = ["MAX_FRAME", "Unreadable", "read"]

MAX_FRAME: Final = 1024 * 1024
"""Bytes of the largest frame that a client reads; the largest that a server sends is a description of 64 KiB."""

_ERRORS: Final = ("error", "goodbye")
_CODES: Final = frozenset(code.value for code in SignalCode)


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A frame that is not a known message: why, and its ``re`` and ``seq`` if it has them."""

    why: str
    re: str | None = None
    seq: int = 0


def read(text: str) -> ServerMessage | Unreadable:
    """A text frame as a message. Never raises."""
    try:
        return parse_server(text, limit=MAX_FRAME)
    except Denial as refusal:
        why = f"{refusal.code}: {refusal.msg}"
    try:
        frame = json.loads(text) if len(text) <= MAX_FRAME else None
    except (ValueError, RecursionError):
        frame = None
    if not isinstance(frame, dict):
        return Unreadable(why)
    code = frame.get("code")
    if frame.get("t") in _ERRORS and isinstance(code, str) and code not in _CODES:
        return _error(frame) or _unreadable(why, frame)
    return _unreadable(why, frame)


def _error(frame: dict[str, Any]) -> ServerMessage | None:
    """An error with a code that this client does not know."""
    plain = {name: value for name, value in frame.items() if name != "d"} | {"code": SignalCode.INTERNAL.value}
    try:
        return parse_server(json.dumps(plain), limit=MAX_FRAME)
    except Denial:
        return None


def _unreadable(why: str, frame: dict[str, Any]) -> Unreadable:
    re, seq = frame.get("re"), frame.get("seq")
    return Unreadable(why, re if isinstance(re, str) else None, seq if type(seq) is int and seq > 0 else 0)
