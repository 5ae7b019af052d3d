"""What a client of ``signal.v1`` reads and keeps: the server's frames, errors, and when to come back.

A frame from a server is as little to be trusted as any other input: `Frame` answers with a value of the type that was
asked for or with the default, and never raises for what stands in it.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote, urlsplit

from meshturn.root import MeshturnError

__all__ = ["COUNTED", "MAX_FRAME", "Endpoint", "Frame", "SignalError", "back_off"]

COUNTED: Final = frozenset({"desc", "cand", "reset", "restart", "update", "mod", "msg"})
"""The messages of a client that carry a number, and are sent again after a resume."""

MAX_FRAME: Final = 1024 * 1024
"""Bytes of the largest frame that a client reads; the largest that a server sends is a description of 64 KiB."""

_MAX_LIST: Final = 1024
"""Entries of a list that are looked at."""

_STEPS: Final = (0.3, 1.2, 2.7, 4.8, 7.0)
_FIRST: Final = 0.5


class SignalError(MeshturnError):
    """The server said no, or there is no server.

    ``code`` is one of the protocol's, or one of the client's own: ``unreachable`` (no connection), ``untrusted``
    (its certificate), ``handshake`` (an HTTP server that is not, or not now, a signaling server), ``timeout``,
    ``closed``, ``backlog`` (too much unsent).
    ``retry`` is the seconds after which it may be tried again; None when that is of no use, or not known. ``detail``
    is the ``d`` of the error, as it came.
    """

    def __init__(
        self, code: str, message: str = "", *, retry: float | None = None, detail: Mapping[str, object] | None = None
    ) -> None:
        super().__init__(f"{code}: {message}" if message else code)
        self.code = code
        self.message = message
        self.retry = retry
        self.detail: Mapping[str, object] = detail or {}


class Frame:
    """One message of the server: typed looks at a JSON object that somebody else has written."""

    __slots__ = ("fields", "t")

    def __init__(self, fields: Mapping[str, object]) -> None:
        self.fields = fields
        self.t = self.text("t")

    def __repr__(self) -> str:
        return f"Frame({self.t!r})"  # Frames carry keys and credentials.

    @classmethod
    def parse(cls, text: str) -> "Frame | None":
        """Read a text message; None when it is not a JSON object with a type."""
        try:
            fields = json.loads(text)
        except (ValueError, RecursionError):
            return None
        frame = cls(fields) if isinstance(fields, dict) else None
        return frame if frame is not None and frame.t else None

    def text(self, name: str, default: str = "") -> str:
        """A string."""
        value = self.fields.get(name)
        return value if isinstance(value, str) else default

    def number(self, name: str, default: float = 0.0) -> float:
        """A number."""
        value = self.fields.get(name)
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else default

    def count(self, name: str, default: int = 0) -> int:
        """A whole number that is not negative."""
        value = self.fields.get(name)
        return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else default

    def flag(self, name: str) -> bool:
        """Whether it is there and means yes: ``true`` or ``1``."""
        value = self.fields.get(name)
        return value is True or (isinstance(value, int) and value == 1)

    def has(self, name: str) -> bool:
        """Whether there is anything but null."""
        return self.fields.get(name) is not None

    def child(self, name: str) -> "Frame":
        """An object; an empty one if there is none."""
        value = self.fields.get(name)
        return Frame(value if isinstance(value, dict) else {})

    def children(self, name: str) -> "list[Frame]":
        """The objects of a list."""
        value = self.fields.get(name)
        entries = value[:_MAX_LIST] if isinstance(value, list) else []
        return [Frame(entry) for entry in entries if isinstance(entry, dict)]

    def texts(self, name: str) -> list[str]:
        """The strings of a list; a single string counts as a list of one."""
        value = self.fields.get(name)
        if isinstance(value, str):
            return [value]
        return [entry for entry in value[:_MAX_LIST] if isinstance(entry, str)] if isinstance(value, list) else []

    def error(self) -> SignalError:
        """The error that an ``error`` or a ``goodbye`` is."""
        retry = self.number("retry") / 1000 if self.has("retry") else None
        return SignalError(self.text("code", "internal"), self.text("msg"), retry=retry, detail=self.child("d").fields)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the signaling of a server is, from any of its URLs."""

    url: str
    """``ws`` or ``wss``, with the path of the protocol."""

    origin: str
    """The server's own origin, which browsers' requests would come from."""

    room: str | None
    """The room of a link to a call page; None for other URLs."""

    @property
    def secure(self) -> bool:
        """Whether there is TLS."""
        return self.url.startswith("wss:")

    @classmethod
    def parse(cls, url: str) -> "Endpoint":
        """Read ``http(s)://HOST[:PORT]``, a link to a call page there, or a ``ws(s):`` URL with or without path.

        Raises `ValueError` for anything else, and for a link with a token in it.
        """
        parts = urlsplit(url)
        scheme = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}.get(parts.scheme)
        if scheme is None or not parts.hostname or "@" in parts.netloc:
            raise ValueError("A URL is https://HOST[:PORT], or the link to a call page there.")
        _ = parts.port  # Raises ValueError for one that is no port.
        if parts.fragment:
            raise ValueError("The link has a token in it, which others would see; keep it in a file.")
        room = None
        path = "/v1/ws"
        if parts.path.startswith("/call/"):
            room = unquote(parts.path.removeprefix("/call/").rstrip("/")) or None
        elif parts.path not in {"", "/"}:
            path = parts.path
        page = "https" if scheme == "wss" else "http"
        return cls(f"{scheme}://{parts.netloc}{path}", f"{page}://{parts.netloc}", room)


def back_off(attempt: int, entropy: Callable[[], float]) -> float:
    """Seconds to wait before the ``attempt``-th try to come back, which is 0 for the first.

    Signaling §1: 0–500 ms, then 0.3, 1.2, 2.7, 4.8 and 7 s, ±50 %. ``entropy`` gives numbers from 0 to 1.
    """
    if attempt <= 0:
        return _FIRST * entropy()
    return _STEPS[min(attempt, len(_STEPS)) - 1] * (0.5 + entropy())
