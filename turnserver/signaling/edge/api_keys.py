"""Who may use the HTTP API: keys, compared in constant time."""

import hashlib
import hmac
from collections.abc import Mapping
from typing import NamedTuple

__all__ = ["ApiKey", "KeyRing"]


class ApiKey(NamedTuple):
    """A key that was shown: its name, and whether it opens everything."""

    name: str
    is_admin: bool


class KeyRing:
    """API keys and admin keys: name → secret."""

    __slots__ = ("_keys",)

    def __init__(self, api_keys: Mapping[str, str], admin_keys: Mapping[str, str]) -> None:
        self._keys = tuple(
            (_digest(secret.encode()), ApiKey(name, is_admin))
            for keys, is_admin in ((admin_keys, True), (api_keys, False))
            for name, secret in keys.items()
        )

    def __repr__(self) -> str:
        """Count the keys; show none."""
        return f"KeyRing({len(self._keys)} keys)"

    def find(self, shown: bytes) -> ApiKey | None:
        """The key that ``shown`` is; None if it is none. Takes the same time whichever it is, and if it is none."""
        digest = _digest(shown)
        found: ApiKey | None = None
        for each, key in self._keys:
            if hmac.compare_digest(each, digest) and found is None:
                found = key
        return found


def _digest(secret: bytes) -> bytes:
    """Makes secrets of one length, so that comparing them does not tell how long they are."""
    return hashlib.sha256(secret).digest()
