"""Who may use the HTTP API: the caller of a request, by its key or room token, and whether it may do that.

Keys and tokens are accepted only in ``Authorization: Bearer``. Browsers add that header to no request by themselves, so
no page elsewhere can use the rights of whoever looks at it, whatever name it has given this server (CSRF, DNS
rebinding). URLs are logged, so no key is taken from one.
"""

import logging
from collections.abc import Collection
from typing import Final, NamedTuple, Protocol

from aiohttp import web

from turnserver.core.types import Now
from turnserver.lines import Lines
from turnserver.signaling.edge.api_keys import ApiKey, KeyRing
from turnserver.signaling.edge.origins import reached_by
from turnserver.signaling.edge.refusals import ApiCode
from turnserver.signaling.edge.requests import ApiError, read_bearer
from turnserver.signaling.edge.scopes import Scope, allows, spelled
from turnserver.signaling.protocol.errors import Denial, SignalCode
from turnserver.signaling.rooms.settings import Grant
from turnserver.throttle import Guesses, prefix_of

__all__ = ["WRONG_KEYS", "WRONG_KEY_WINDOW", "Admits", "Caller", "Gate"]

WRONG_KEYS: Final = 10
"""Wrong keys from one client within `WRONG_KEY_WINDOW` after which its requests are refused."""

WRONG_KEY_WINDOW: Final = 1800.0
"""Seconds for which a wrong key counts."""

MAX_GUESSERS: Final = 4096
"""Maximum number of clients whose wrong keys are counted; the least recently seen one is forgotten first."""


class Admits(Protocol):
    """What reads room tokens."""

    def admit(self, token: str, wall: float) -> Grant:
        """What a token grants. Raises `Denial`."""


class Caller(NamedTuple):
    """Who has sent a request: the name and the scopes of a key, or the grant of a room token; or nobody special."""

    name: str = ""
    scopes: frozenset[Scope] = frozenset()
    grant: Grant | None = None


class Gate:
    """Finds the caller of a request. ``ring`` may be assigned at any time; ``lines`` are for wrong keys."""

    def __init__(self, ring: KeyRing, lines: Lines) -> None:
        self.ring = ring
        self._lines = lines
        self._guesses: Guesses[str] = Guesses(WRONG_KEYS, WRONG_KEY_WINDOW, MAX_GUESSERS)

    def admit(self, request: web.Request, now: Now, enough: Collection[Scope], tokens: Admits | None = None) -> Caller:
        """The caller, if its key has any one of the scopes ``enough``, or has shown one of ``tokens``.

        Raises `ApiError`.
        """
        shown = read_bearer(request)
        if shown is None:
            raise ApiError(
                ApiCode.UNAUTHORIZED, "a key is required: Authorization: Bearer KEY", {"WWW-Authenticate": "Bearer"}
            )
        key = self.ring.find(shown)
        if key is not None:
            return _holder(key, now, enough)
        refused = {"WWW-Authenticate": 'Bearer error="invalid_token"'}
        address = reached_by(request).client
        if tokens is not None and shown.count(b".") == 2:
            try:
                grant = tokens.admit(shown.decode("ascii", "replace"), now.wall)
            except Denial as refusal:
                if refusal.code is SignalCode.BAD_TOKEN:
                    self._count_wrong(address, now)
                raise ApiError(refusal.code, refusal.msg, refused) from None
            return Caller(grant=grant)
        self._count_wrong(address, now)
        raise ApiError(ApiCode.BAD_KEY, "this key is not configured on this server", refused)

    def _count_wrong(self, address: str, now: Now) -> None:
        """Count a wrong key or token; after too many from one address, 429.

        A right one is never refused because of the wrong ones of others behind the same address, so it is looked up
        first, in constant time.
        """
        wait = self._guesses.wait(prefix_of(address), now.mono)
        if wait > 0:
            seconds = str(int(wait) + 1)
            raise ApiError(ApiCode.RATE_LIMITED, "too many invalid keys from this address", {"Retry-After": seconds})
        self._guesses.failed(prefix_of(address), now.mono)
        self._lines.write(logging.WARNING, "wrong API key", {"client": address, "cause": str(ApiCode.BAD_KEY)}, address)


def _holder(key: ApiKey, now: Now, enough: Collection[Scope]) -> Caller:
    """The holder of a key. Raises `ApiError` for one that has expired, or lacks the scope (RFC 6750 §3.1)."""
    if key.expires is not None and key.expires <= now.wall:
        refused = {"WWW-Authenticate": 'Bearer error="invalid_token"'}
        raise ApiError(ApiCode.KEY_EXPIRED, "this key has expired", refused)
    if not allows(key.scopes, enough):
        needed, has = spelled(enough, " or ") or Scope.ADMIN, spelled(key.scopes)
        words = "scopes" if len(key.scopes) > 1 else "scope"
        raise ApiError(
            ApiCode.FORBIDDEN,
            f"this needs a key with the scope {needed}; the one given has the {words} {has}",
            {"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{spelled(enough, " ") or Scope.ADMIN}"'},
        )
    return Caller(key.name, key.scopes)
