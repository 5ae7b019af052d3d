"""The signaling URL of a server, and the delay before a reconnect."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote, urlsplit

__all__ = ["SignalEndpoint", "back_off"]

_STEPS: Final = (0.3, 1.2, 2.7, 4.8, 7.0)
_FIRST: Final = 0.5


@dataclass(frozen=True, slots=True)
class SignalEndpoint:
    """The signaling URL of a server, found from any of its URLs."""

    url: str
    """``ws`` or ``wss``, with the path of the protocol."""

    origin: str
    """The server's own origin."""

    room: str | None
    """The room of a link to a call page; None for other URLs."""

    @property
    def secure(self) -> bool:
        """Whether there is TLS."""
        return self.url.startswith("wss:")

    @classmethod
    def parse(cls, url: str) -> "SignalEndpoint":
        """Read ``http(s)://HOST[:PORT]``, a link to a call page there, or a ``ws(s):`` URL with or without path.

        Raises `ValueError` for anything else, and for a link with a token in it.
        """
        parts = urlsplit(url)
        scheme = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}.get(parts.scheme)
        if scheme is None or not parts.hostname or "@" in parts.netloc:
            raise ValueError("A URL is https://HOST[:PORT], or the link to a call page there.")
        _ = parts.port  # Raises ValueError for an invalid port.
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
    """Seconds to wait before reconnect number ``attempt``, which is 0 for the first one.

    Signaling §1: 0–500 ms, then 0.3, 1.2, 2.7, 4.8 and 7 s, ±50 %. ``entropy`` gives numbers from 0 to 1.
    """
    if attempt <= 0:
        return _FIRST * entropy()
    return _STEPS[min(attempt, len(_STEPS)) - 1] * (0.5 + entropy())
