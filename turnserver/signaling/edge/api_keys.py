"""The keys of the HTTP API, compared in constant time."""

import hashlib
import hmac
from collections.abc import Mapping
from typing import NamedTuple

__all__ = ["ApiKey", "KeyRing"]


class ApiKey(NamedTuple):
    """A key that was presented: its name, and whether it is an admin key."""

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
        """Show the number of keys, but no key."""
        return f"KeyRing({len(self._keys)} keys)"

    def find(self, shown: bytes) -> ApiKey | None:
        """The key equal to ``shown``, or None. The time does not depend on which key it is, or whether there is one."""
        digest = _digest(shown)
        found: ApiKey | None = None
        for each, key in self._keys:
            if hmac.compare_digest(each, digest) and found is None:
                found = key
        return found


def _digest(secret: bytes) -> bytes:
    """A digest of fixed length, so that comparing does not reveal the length of a secret."""
    return hashlib.sha256(secret).digest()
