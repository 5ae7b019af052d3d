"""The budget that keeps the server from being used as a reflector.

An unauthenticated answer over UDP goes to an address that has not been proven. Its cost is the number of bytes by which
it exceeds its request. Each source prefix has a budget of such excess bytes, which refills slowly. Under a sustained
flood the bytes out therefore approach the bytes in.

Sources can be forged, so a flood that uses up the budget of a prefix could silence the other addresses of the prefix.
Two rules prevent this. A source that has returned a nonce, which was made for its address, is *proven*: it has a budget
of its own, which its neighbours cannot use. And half of the prefix's budget is divided into 256 shares, one for each
IPv4 address or for each of 256 parts of an IPv6 /48. A share is used by its own addresses alone; the other half is for
all.
"""

from typing import Final

from turnserver.core.types import Now
from turnserver.throttle import Bucket, Buckets, packed_network

__all__ = ["MAX_PREFIXES", "MAX_PROVEN", "PROVEN_FOR", "ReflectionBudget"]

MAX_PREFIXES: Final = 4096
"""Prefixes remembered at once, the least recently used forgotten first. An attacker who sends from so many prefixes to
have one forgotten spends about as many bytes as a fresh burst gives."""

SHARES: Final = 256
"""Shares of a prefix: one for each address of an IPv4 /24."""

MAX_SHARES: Final = 65_536
"""Shares remembered at once, the least recently used forgotten first."""

MAX_PROVEN: Final = 32_768
"""Proven addresses remembered at once, those of the least recently used prefix forgotten first."""

PROVEN_PER_PREFIX: Final = 256
"""Of these, the most of one prefix: an IPv6 site has any number of addresses that it can prove."""

PROVEN_FOR: Final = 3600.0
"""Seconds for which an address counts as proven after the last nonce that it returned, to a minute."""

_USED_AGAIN: Final = 60.0
"""Seconds after which a further nonce counts as another use, so that a client with many requests costs less."""


class _Proven:
    """One proven address: its own budget, and the end of its proof (monotonic seconds)."""

    __slots__ = ("bucket", "until")

    def __init__(self, bucket: Bucket, until: float) -> None:
        self.bucket = bucket
        self.until = until


class ReflectionBudget:
    """Token buckets of excess bytes: per source prefix (/24 for IPv4, /48 for IPv6), and per proven address.

    ``burst`` bytes at once and ``rate`` bytes per second are for all strangers of one prefix together, and as many for
    each proven address.
    """

    def __init__(self, burst: int, rate: int) -> None:
        self.withheld = 0
        """Answers for which there was no budget, since the start."""
        self._proven: dict[bytes, dict[bytes, _Proven]] = {}
        """By prefix and address; the least recently used prefix, and in it the least recently used address, first."""
        self._proven_count = 0
        self._set(burst, rate)

    def __len__(self) -> int:
        return len(self._pools)

    @property
    def proven(self) -> int:
        """How many proven addresses are remembered."""
        return self._proven_count

    def limit(self, burst: int, rate: int) -> None:
        """Replace the budget; if it differs from the current one, everybody starts with a full one."""
        if self._limits != (burst, rate):
            self._set(burst, rate)
            for addresses in self._proven.values():
                for entry in addresses.values():
                    entry.bucket = Bucket(rate, burst, entry.until - PROVEN_FOR)

    def spend(self, ip: bytes, received: int, answer: int, now: Now) -> bool:
        """True if ``answer`` bytes may go to ``ip`` in return for ``received`` ones; False spends nothing."""
        excess = answer - received
        if excess <= 0:
            return True
        entry = self._entry(ip, now)
        if entry is not None:
            allowed = not entry.bucket.take(now.mono, excess)
        else:
            allowed = not self._shares.take(_share(ip), now.mono, excess)
            allowed = allowed or not self._pools.take(packed_network(ip), now.mono, excess)
        self.withheld += not allowed
        return allowed

    def refund(self, ip: bytes, amount: int, now: Now) -> None:
        """Give ``amount`` bytes back to the strangers of the prefix of ``ip``; never beyond the burst."""
        self._shares.refund(_share(ip), now.mono, amount)
        self._pools.refund(packed_network(ip), now.mono, amount)

    def prove(self, ip: bytes, amount: int, now: Now) -> None:
        """``ip`` has returned a nonce: it has a budget of its own from now on.

        ``amount`` bytes, the cost of the answer with the nonce, are given back to the budget that paid for it.
        """
        entry = self._entry(ip, now)
        if entry is not None:
            entry.bucket.refund(now.mono, amount)
            if entry.until < now.mono + PROVEN_FOR - _USED_AGAIN:
                entry.until = now.mono + PROVEN_FOR
                self._use(ip)
            return
        self.refund(ip, amount, now)
        burst, rate = self._limits
        network = packed_network(ip)
        addresses = self._proven.pop(network, {})
        self._proven[network] = addresses
        if len(addresses) >= PROVEN_PER_PREFIX:
            self._forget(network, next(iter(addresses)))
        elif self._proven_count >= MAX_PROVEN:
            oldest = next(iter(self._proven))
            self._forget(oldest, next(iter(self._proven[oldest])))
        self._proven.setdefault(network, addresses)[ip] = _Proven(Bucket(rate, burst, now.mono), now.mono + PROVEN_FOR)
        self._proven_count += 1

    def _set(self, burst: int, rate: int) -> None:
        self._limits = (burst, rate)
        share = burst // 2 // SHARES
        shared_rate = rate / 2 if share else 0.0
        self._shares: Buckets[bytes] = Buckets(shared_rate / SHARES, share, MAX_SHARES)
        self._pools: Buckets[bytes] = Buckets(rate - shared_rate, burst - share * SHARES, MAX_PREFIXES)

    def _entry(self, ip: bytes, now: Now) -> _Proven | None:
        """The entry of a proven address."""
        network = packed_network(ip)
        addresses = self._proven.get(network)
        entry = None if addresses is None else addresses.get(ip)
        if addresses is None or entry is None:
            return None
        if entry.until <= now.mono:
            self._forget(network, ip)
            return None
        return entry

    def _use(self, ip: bytes) -> None:
        """An address is the most recently used from now on."""
        network = packed_network(ip)
        addresses = self._proven.pop(network)
        self._proven[network] = addresses
        addresses[ip] = addresses.pop(ip)

    def _forget(self, network: bytes, ip: bytes) -> None:
        addresses = self._proven[network]
        del addresses[ip]
        self._proven_count -= 1
        if not addresses:
            del self._proven[network]


def _share(ip: bytes) -> bytes:
    """The key of a share: an IPv4 address; of an IPv6 one the /48, and its /64 folded into one byte."""
    return ip if len(ip) == 4 else ip[:6] + bytes((ip[6] ^ ip[7],))
