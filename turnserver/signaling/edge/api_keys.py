"""The keys of the HTTP API, compared in constant time."""

import hashlib
import hmac
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from turnserver.signaling.edge.key_file import StoredKey
from turnserver.signaling.edge.scopes import ADMIN_SCOPES, API_SCOPES, Scope

__all__ = ["ApiKey", "KeyRing"]


class ApiKey(NamedTuple):
    """A key that was presented: its name, what it allows, and when it expires (Unix time), if it does."""

    name: str
    scopes: frozenset[Scope]
    expires: int | None = None


class KeyRing:
    """API keys and admin keys of the configuration (name → secret), and ``stored``, the present ones of a file."""

    __slots__ = ("_keys", "_stored")

    def __init__(
        self,
        api_keys: Mapping[str, str],
        admin_keys: Mapping[str, str],
        stored: Callable[[], Sequence[StoredKey]] = tuple,
    ) -> None:
        self._keys = tuple(
            (_digest(secret.encode()), ApiKey(name, scopes))
            for keys, scopes in ((admin_keys, ADMIN_SCOPES), (api_keys, API_SCOPES))
            for name, secret in keys.items()
        )
        self._stored = stored

    def __repr__(self) -> str:
        """Show the number of keys, but no key."""
        return f"KeyRing({len(self._keys)} keys)"

    def find(self, shown: bytes) -> ApiKey | None:
        """The key equal to ``shown``, or None. The time does not depend on which key it is, or whether there is one."""
        digest = _digest(shown)
        found: ApiKey | None = None
        for each, key in self._keys:
            if hmac.compare_digest(each, digest) and found is None:
                found = key
        for stored in self._stored():
            if hmac.compare_digest(stored.digest, digest) and found is None:
                found = ApiKey(stored.name, stored.scopes, stored.expires)
        return found


def _digest(secret: bytes) -> bytes:
    """A digest of fixed length, so that comparing does not reveal the length of a secret."""
    return hashlib.sha256(secret).digest()
