"""Limits on the work that one client, or one address, may cause. Pure: the time is an argument, in seconds.

`Bucket` limits a rate; `Buckets` has one per key. `Guesses` counts failures in a sliding window. `Flood` measures how
long a client goes on in spite of refusals. All tables that strangers can fill are bounded: when one is full, the least
recently used key is forgotten.
"""

from collections.abc import Hashable
from ipaddress import IPv6Address, ip_address, ip_network
from math import inf
from typing import Final, Generic, TypeVar

__all__ = ["Bucket", "Buckets", "Flood", "Guesses", "packed_network", "packed_prefix", "prefix_of"]

_Key = TypeVar("_Key", bound=Hashable)

_IPV6_PREFIX_BYTES: Final = 8
"""RFC 6177: a site has at least a /64, so a client with one IPv6 address is taken to have its whole /64."""

_MAX_TEXT: Final = 64
"""Characters kept of a text that is not an address."""

_PAUSE: Final = 2.0
"""Seconds without a refusal after which a flood is over."""


def prefix_of(address: str) -> str:
    """The key of one client in limits by address: an IPv4 address, or the /64 of an IPv6 address.

    An IPv4-mapped address is the IPv4 address. Text that is not an address is its own key, cut to 64 characters.
    """
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return address[:_MAX_TEXT]
    if isinstance(found, IPv6Address):
        return str(found.ipv4_mapped or ip_network((found, _IPV6_PREFIX_BYTES * 8), strict=False))
    return str(found)


def packed_prefix(ip: bytes) -> bytes:
    """The same for an address in network byte order (4 or 16 bytes): all of an IPv4 address, or 8 bytes."""
    return ip if len(ip) == 4 else ip[:_IPV6_PREFIX_BYTES]


def packed_network(ip: bytes) -> bytes:
    """The network that an address in network order is in: 3 bytes of an IPv4 address (/24), 6 of an IPv6 one (/48).

    For limits on senders that have many addresses, or can forge neighbouring ones.
    """
    return ip[:3] if len(ip) == 4 else ip[:6]


class Bucket:
    """A token bucket: ``rate`` tokens per second flow in, up to ``burst``. It begins full."""

    __slots__ = ("_at", "_burst", "_left", "_rate")

    def __init__(self, rate: float, burst: float, mono: float) -> None:
        self._rate = rate
        self._burst = burst
        self._left = burst
        self._at = mono

    def take(self, mono: float, cost: float = 1.0, debt: float = 0.0) -> float:
        """Take ``cost`` tokens if that leaves no less than ``-debt``.

        Returns 0.0, or the seconds after which it would succeed; nothing is taken then.
        """
        self._fill(mono)
        missing = cost - self._left - debt
        if missing > 0:
            return self._seconds(missing)
        self._left -= cost
        return 0.0

    def spend(self, mono: float, cost: float = 1.0) -> float:
        """Take ``cost`` tokens in any case. Returns the seconds until the bucket is out of debt; 0.0 without debt."""
        self._fill(mono)
        self._left -= cost
        return self._seconds(-self._left) if self._left < 0 else 0.0

    def refund(self, mono: float, amount: float) -> None:
        """Give tokens back; the bucket does not hold more than its burst."""
        self._fill(mono)
        self._left = min(self._burst, self._left + amount)

    @property
    def in_debt(self) -> bool:
        """True if more was taken than there was, as of the last call."""
        return self._left < 0

    def _fill(self, mono: float) -> None:
        self._left = min(self._burst, self._left + (mono - self._at) * self._rate)
        self._at = mono

    def _seconds(self, missing: float) -> float:
        return missing / self._rate if self._rate else inf


class Buckets(Generic[_Key]):
    """One `Bucket` per key; at most ``size`` keys are remembered.

    A forgotten key has a full bucket again: choose ``size`` so that using so many keys costs an attacker more than a
    burst is worth.
    """

    def __init__(self, rate: float, burst: float, size: int) -> None:
        self._rate = rate
        self._burst = burst
        self._size = size
        self._buckets: dict[_Key, Bucket] = {}

    def __len__(self) -> int:
        """Keys that are remembered."""
        return len(self._buckets)

    def take(self, key: _Key, mono: float, cost: float = 1.0) -> float:
        """`Bucket.take` for ``key``: 0.0, or the seconds after which it would succeed."""
        bucket = self._buckets.pop(key, None)
        if bucket is None:
            bucket = Bucket(self._rate, self._burst, mono)
            if len(self._buckets) >= self._size:
                del self._buckets[next(iter(self._buckets))]
        self._buckets[key] = bucket
        return bucket.take(mono, cost)

    def refund(self, key: _Key, mono: float, amount: float) -> None:
        """`Bucket.refund` for ``key``; a key that is not remembered has a full bucket anyway."""
        bucket = self._buckets.pop(key, None)
        if bucket is not None:
            self._buckets[key] = bucket
            bucket.refund(mono, amount)


class Guesses(Generic[_Key]):
    """Failures by key: after ``limit`` failures within ``window`` seconds, that key is refused for a while.

    At most ``size`` keys are remembered.
    """

    def __init__(self, limit: int, window: float, size: int) -> None:
        self._limit = limit
        self._window = window
        self._size = size
        self._failed: dict[_Key, list[float]] = {}

    def __len__(self) -> int:
        """Keys that are remembered."""
        return len(self._failed)

    def failed(self, key: _Key, mono: float) -> None:
        """Count a failure."""
        recent = [*self._recent(key, mono), mono][-self._limit :]
        self._failed.pop(key, None)
        if len(self._failed) >= self._size:
            del self._failed[next(iter(self._failed))]
        self._failed[key] = recent

    def wait(self, key: _Key, mono: float) -> float:
        """Seconds until ``key`` may try again; 0.0 if it may now."""
        recent = self._recent(key, mono)
        return recent[-self._limit] + self._window - mono if len(recent) >= self._limit else 0.0

    def _recent(self, key: _Key, mono: float) -> list[float]:
        return [moment for moment in self._failed.get(key, ()) if moment + self._window > mono]


class Flood:
    """How long a client has gone on in spite of refusals."""

    __slots__ = ("_last", "_since")

    def __init__(self) -> None:
        self._since: float | None = None
        self._last = 0.0

    def refused(self, mono: float) -> float:
        """Count a refusal; returns the seconds since the first refusal of this run."""
        if self._since is None or mono - self._last > _PAUSE:
            self._since = mono
        self._last = mono
        return mono - self._since
