"""The budget that keeps the server from being used as a reflector.

An unauthenticated answer over UDP goes to an address that has not been proven. Its cost is the number of bytes by which
it exceeds its request. Each source prefix has a budget of such excess bytes, which refills slowly. Under a sustained
flood the bytes out therefore approach the bytes in. A client that authenticates gets its prefix's bytes back: echoing a
nonce made for its address has proven that address.
"""

from turnserver.core.types import Now
from turnserver.throttle import Buckets, packed_network

__all__ = ["MAX_PREFIXES", "ReflectionBudget"]

MAX_PREFIXES = 4096
"""Prefixes remembered at once, the least recently used forgotten first. An attacker who sends from so many prefixes to
have one forgotten spends about as many bytes as a fresh burst gives."""


class ReflectionBudget:
    """A token bucket of excess bytes per source prefix: /24 for IPv4, /48 for IPv6."""

    def __init__(self, burst: int, rate: int) -> None:
        self._limits = (burst, rate)
        self._buckets: Buckets[bytes] = Buckets(rate, burst, MAX_PREFIXES)

    def __len__(self) -> int:
        return len(self._buckets)

    def limit(self, burst: int, rate: int) -> None:
        """Replace the budget; if it differs from the current one, every prefix starts with a full one."""
        if self._limits != (burst, rate):
            self._limits = (burst, rate)
            self._buckets = Buckets(rate, burst, MAX_PREFIXES)

    def spend(self, ip: bytes, received: int, answer: int, now: Now) -> bool:
        """True if ``answer`` bytes may go to ``ip`` in return for ``received`` ones; False spends nothing."""
        excess = answer - received
        return excess <= 0 or not self._buckets.take(packed_network(ip), now.mono, excess)

    def refund(self, ip: bytes, amount: int, now: Now) -> None:
        """Give ``amount`` bytes back to the prefix of ``ip``, whose address is proven; never beyond the burst."""
        self._buckets.refund(packed_network(ip), now.mono, amount)
