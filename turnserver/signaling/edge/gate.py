"""Who may use the HTTP API: keys compared in constant time, and patience with those who guess."""

import hashlib
import hmac
import ipaddress
from collections.abc import Mapping
from typing import Final, NamedTuple

__all__ = ["FAILURES", "WINDOW", "Guesses", "Key", "KeyRing", "prefix_of"]

FAILURES: Final = 10
"""Wrong keys from one address within `WINDOW` after which it is not heard any more."""

WINDOW: Final = 1800.0
"""Seconds for which a wrong key counts."""

MAX_ADDRESSES: Final = 4096
"""Addresses whose wrong keys are counted at most; the one longest without news is forgotten first."""


class Key(NamedTuple):
    """A key that was shown: its name, and whether it opens everything."""

    name: str
    is_admin: bool


class KeyRing:
    """API keys and admin keys: name → secret."""

    __slots__ = ("_keys",)

    def __init__(self, api_keys: Mapping[str, str], admin_keys: Mapping[str, str]) -> None:
        self._keys = tuple(
            (_digest(secret.encode()), Key(name, is_admin))
            for keys, is_admin in ((admin_keys, True), (api_keys, False))
            for name, secret in keys.items()
        )

    def __repr__(self) -> str:
        """Count the keys; show none."""
        return f"KeyRing({len(self._keys)} keys)"

    def find(self, shown: bytes) -> Key | None:
        """The key that ``shown`` is; None if it is none. Takes the same time whichever it is, and if it is none."""
        digest = _digest(shown)
        found: Key | None = None
        for each, key in self._keys:
            if hmac.compare_digest(each, digest) and found is None:
                found = key
        return found


def _digest(secret: bytes) -> bytes:
    """Makes secrets of one length, so that comparing them does not tell how long they are."""
    return hashlib.sha256(secret).digest()


class Guesses:
    """Counts wrong keys by address; `limit` of them within `WINDOW` close the door for as long."""

    __slots__ = ("_failed", "_limit")

    def __init__(self, limit: int = FAILURES) -> None:
        self._limit = limit
        self._failed: dict[str, list[float]] = {}

    def __len__(self) -> int:
        """Addresses that are counted."""
        return len(self._failed)

    def failed(self, address: str, mono: float) -> None:
        """A wrong key was shown from an address."""
        prefix = prefix_of(address)
        recent = [*self._recent(prefix, mono), mono][-self._limit :]
        self._failed.pop(prefix, None)
        if len(self._failed) >= MAX_ADDRESSES:
            del self._failed[next(iter(self._failed))]
        self._failed[prefix] = recent

    def wait(self, address: str, mono: float) -> float:
        """Seconds until keys from an address are looked at again; 0 if they are."""
        recent = self._recent(prefix_of(address), mono)
        return recent[-self._limit] + WINDOW - mono if len(recent) >= self._limit else 0.0

    def _recent(self, prefix: str, mono: float) -> list[float]:
        return [moment for moment in self._failed.get(prefix, ()) if moment + WINDOW > mono]


def prefix_of(address: str) -> str:
    """Who a client is: its IPv4 address, or its IPv6 /64; a text that is no address stands for itself."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if ip.version == 4:
        return str(ip)
    if ip.ipv4_mapped is not None:
        return str(ip.ipv4_mapped)
    return str(ipaddress.ip_network((ip, 64), strict=False))
