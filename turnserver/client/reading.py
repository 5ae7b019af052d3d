"""Frames of a server, which may be newer than we are, or hostile: read with the protocol's own types.

What is not a message of the protocol as we know it is `Unreadable`: its number still counts as handled, and the request
that it answers has failed. Of an error whose code we do not know, everything but the code can be understood.
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
    """A frame that is no message of ours: why, and its ``re`` and ``seq`` as far as it has them."""

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
    """An error of a server that knows more codes than we do."""
    plain = {name: value for name, value in frame.items() if name != "d"} | {"code": SignalCode.INTERNAL.value}
    try:
        return parse_server(json.dumps(plain), limit=MAX_FRAME)
    except Denial:
        return None


def _unreadable(why: str, frame: dict[str, Any]) -> Unreadable:
    re, seq = frame.get("re"), frame.get("seq")
    return Unreadable(why, re if isinstance(re, str) else None, seq if type(seq) is int and seq > 0 else 0)
