"""Limits on what one client or one address may do: token buckets, floods, failures, sockets."""

from collections.abc import Hashable
from ipaddress import IPv6Address, ip_address, ip_network
from math import inf
from typing import Final, Generic, TypeVar

__all__ = ["Book", "Bucket", "Flood", "address_key"]

_Key = TypeVar("_Key", bound=Hashable)

_PAUSE: Final = 2.0
"""Seconds without a refusal after which a flood is over."""


def address_key(address: str) -> str:
    """What limits by address go by: the IPv4 address, or the /64 of an IPv6 address (RFC 6177: one site, at least)."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return address[:64]
    if isinstance(found, IPv6Address):
        return str(found.ipv4_mapped or ip_network((found, 64), strict=False))
    return str(found)


class Bucket:
    """A token bucket: ``rate`` per second, ``burst`` at once."""

    __slots__ = ("_at", "_burst", "_left", "_rate")

    def __init__(self, rate: float, burst: float, mono: float) -> None:
        self._rate = rate
        self._burst = burst
        self._left = burst
        self._at = mono

    def take(self, mono: float, cost: float = 1.0, debt: float = 0.0) -> float:
        """Take ``cost``, going down to ``-debt``: 0.0, or the seconds until that would do (and nothing is taken)."""
        self._left = min(self._burst, self._left + (mono - self._at) * self._rate)
        self._at = mono
        missing = cost - self._left - debt
        if missing > 0:
            return missing / self._rate
        self._left -= cost
        return 0.0

    @property
    def in_debt(self) -> bool:
        """More was taken than was there."""
        return self._left < 0


class Flood:
    """How long somebody has gone on regardless of refusals."""

    __slots__ = ("_last", "_since")

    def __init__(self) -> None:
        self._since: float | None = None
        self._last = 0.0

    def refused(self, mono: float) -> float:
        """One more refusal: the seconds since the first of this run of them."""
        if self._since is None or mono - self._last > _PAUSE:
            self._since = mono
        self._last = mono
        return mono - self._since


class Book(Generic[_Key]):
    """Counts with an end, by key, and not more than ``size`` of them: the oldest are forgotten first.

    Counting takes the same time however many there are, for strangers make us count.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._entries: dict[_Key, tuple[int, float]] = {}
        self._earliest = inf
        """Nothing ends before that."""

    def __len__(self) -> int:
        return len(self._entries)

    def count(self, key: _Key, time: float) -> int:
        """The count of ``key`` at ``time``; 0 if it has ended."""
        count, end = self._entries.get(key, (0, 0.0))
        return count if time < end else 0

    def end(self, key: _Key) -> float:
        """When the count of ``key`` ends or ended."""
        return self._entries.get(key, (0, 0.0))[1]

    def add(self, key: _Key, time: float, end: float) -> None:
        """One more for ``key``; the first one sets the end."""
        count = self.count(key, time)
        if count:
            self._entries[key] = (count + 1, self._entries[key][1])
            return
        self._entries.pop(key, None)
        if len(self._entries) >= self._size:
            del self._entries[next(iter(self._entries))]
        self._entries[key] = (1, end)
        self._earliest = min(self._earliest, end)

    def extend(self, key: _Key, time: float, end: float) -> None:
        """Count ``key`` until then, or until a later end that it had."""
        before = self.end(key)
        self.add(key, time, end)
        self._entries[key] = (self._entries[key][0], max(before, end))

    def is_full(self, time: float) -> bool:
        """True if another key would push out one that has not ended."""
        if len(self._entries) >= self._size and time >= self._earliest:
            self._entries = {key: entry for key, entry in self._entries.items() if time < entry[1]}
            self._earliest = min((end for _, end in self._entries.values()), default=inf)
        return len(self._entries) >= self._size
