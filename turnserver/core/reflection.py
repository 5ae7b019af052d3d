"""The budget that keeps the server from being used as a reflector.

An unauthenticated answer over UDP goes to an address that nobody has proven. What it costs is what it has more bytes
than the request that asked for it; each source prefix has a budget of such excess bytes, which refills slowly. Under a
sustained flood the bytes out therefore approach the bytes in, whatever the answers look like, while a client that
authenticates gets its prefix's bytes back: by echoing a nonce made for its address it has proven to be there.
"""

from turnserver.core.types import Now
from turnserver.throttle import Buckets, packed_network

__all__ = ["MAX_PREFIXES", "ReflectionBudget"]

MAX_PREFIXES = 4096
"""Prefixes remembered at once, oldest use forgotten first. Cycling through so many to have one forgotten costs the
attacker about as many bytes as a fresh burst gives."""


class ReflectionBudget:
    """A token bucket of excess bytes per source prefix: /24 for IPv4, /48 for IPv6."""

    def __init__(self, burst: int, rate: int) -> None:
        self._limits = (burst, rate)
        self._buckets: Buckets[bytes] = Buckets(rate, burst, MAX_PREFIXES)

    def __len__(self) -> int:
        return len(self._buckets)

    def limit(self, burst: int, rate: int) -> None:
        """Another budget from now on, and a full one for everybody, if it is another."""
        if self._limits != (burst, rate):
            self._limits = (burst, rate)
            self._buckets = Buckets(rate, burst, MAX_PREFIXES)

    def spend(self, ip: bytes, received: int, answer: int, now: Now) -> bool:
        """True if ``answer`` bytes may go to ``ip`` in return for ``received`` ones; False spends nothing."""
        excess = answer - received
        return excess <= 0 or not self._buckets.take(packed_network(ip), now.mono, excess)

    def refund(self, ip: bytes, amount: int, now: Now) -> None:
        """Give ``amount`` bytes back to the prefix of ``ip``, which has proven itself; never beyond the burst."""
        self._buckets.refund(packed_network(ip), now.mono, amount)
