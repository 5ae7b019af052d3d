"""The budget that keeps the server from being used as a reflector.

An unauthenticated answer over UDP goes to an address that nobody has proven. What it costs is what it has more bytes
than the request that asked for it; each source prefix has a budget of such excess bytes, which refills slowly. Under a
sustained flood the bytes out therefore approach the bytes in, whatever the answers look like, while a client that
authenticates gets its prefix's bytes back: by echoing a nonce made for its address it has proven to be there.
"""

from collections import OrderedDict

from turnserver.core.types import Now

__all__ = ["MAX_PREFIXES", "ReflectionBudget"]

MAX_PREFIXES = 4096
"""Prefixes remembered at once, oldest use forgotten first. Cycling through so many to have one forgotten costs the
attacker about as many bytes as a fresh burst gives."""

_IPV4_PREFIX_BYTES = 3
_IPV6_PREFIX_BYTES = 6


class ReflectionBudget:
    """A token bucket of excess bytes per source prefix: /24 for IPv4, /48 for IPv6."""

    def __init__(self, burst: int, rate: int) -> None:
        self._burst = float(burst)
        self._rate = float(rate)
        self._buckets: OrderedDict[bytes, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def spend(self, ip: bytes, received: int, answer: int, now: Now) -> bool:
        """True if ``answer`` bytes may go to ``ip`` in return for ``received`` ones; False spends nothing."""
        excess = answer - received
        if excess <= 0:
            return True
        prefix = _prefix(ip)
        tokens = self._tokens(prefix, now)
        granted = tokens >= excess
        self._store(prefix, tokens - excess if granted else tokens, now)
        return granted

    def refund(self, ip: bytes, amount: int, now: Now) -> None:
        """Give ``amount`` bytes back to the prefix of ``ip``, which has proven itself; never beyond the burst."""
        prefix = _prefix(ip)
        if prefix in self._buckets:
            self._store(prefix, min(self._burst, self._tokens(prefix, now) + amount), now)

    def _tokens(self, prefix: bytes, now: Now) -> float:
        tokens, since = self._buckets.get(prefix, (self._burst, now.mono))
        return min(self._burst, tokens + (now.mono - since) * self._rate)

    def _store(self, prefix: bytes, tokens: float, now: Now) -> None:
        self._buckets[prefix] = (tokens, now.mono)
        self._buckets.move_to_end(prefix)
        while len(self._buckets) > MAX_PREFIXES:
            self._buckets.popitem(last=False)


def _prefix(ip: bytes) -> bytes:
    return ip[:_IPV4_PREFIX_BYTES] if len(ip) == 4 else ip[:_IPV6_PREFIX_BYTES]
