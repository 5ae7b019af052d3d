"""Choice of relay ports: random, not just freed if others are left, even or in pairs on request (RFC 8656 §7.2)."""

from collections import OrderedDict
from collections.abc import Callable, Iterator

from turnserver.core.types import Now, PortRange

__all__ = ["COOL_DOWN", "RelayPorts"]

COOL_DOWN = 120.0
"""Seconds for which a freed port is passed over: late packets meant for its last owner must not reach the next one."""

_RANDOM_TRIES = 16
"""Random draws before a scan; with half of the ports taken, all draws fail once in 65,536 times."""


class RelayPorts:
    """The ports of one relay address."""

    def __init__(self, ports: PortRange, entropy: Callable[[int], bytes]) -> None:
        self._range = ports
        self._entropy = entropy
        self._used: set[int] = set()
        self._freed: OrderedDict[int, float] = OrderedDict()

    @property
    def used(self) -> int:
        """How many ports are taken now."""
        return len(self._used)

    def take(self, now: Now, *, even: bool = False, pair: bool = False) -> int | None:
        """Take a free port, and the one above it too if ``pair``; None when there is none left.

        ``even`` asks for an even port; a pair always begins with one (RFC 8656 §14.6).
        """
        self._forget_cooled(now)
        for avoid_freed in (True, False):
            for port in self._candidates(even or pair):
                if self._free(port, avoid_freed) and (not pair or self._free(port + 1, avoid_freed)):
                    for taken in (port, port + 1) if pair else (port,):
                        self._used.add(taken)
                        self._freed.pop(taken, None)
                    return port
        return None

    def give_back(self, port: int, now: Now) -> None:
        """Free a port. Raises KeyError when it was not taken, which is a bug in the caller."""
        self._used.remove(port)
        self._freed[port] = now.mono

    def _free(self, port: int, avoid_freed: bool) -> bool:
        return port in self._range and port not in self._used and not (avoid_freed and port in self._freed)

    def _candidates(self, even: bool) -> Iterator[int]:
        """Random draws first, then every port once, from a random start."""
        first = self._range.first + (self._range.first & 1 if even else 0)
        step = 2 if even else 1
        count = (self._range.last - first) // step + 1
        if count <= 0:
            return
        draws = self._entropy(4 * _RANDOM_TRIES)
        for offset in range(0, len(draws), 4):
            yield first + step * (int.from_bytes(draws[offset : offset + 4], "big") % count)
        start = int.from_bytes(draws[:4], "big") % count
        for index in range(count):
            yield first + step * ((start + index) % count)

    def _forget_cooled(self, now: Now) -> None:
        """Ports are freed in the order of the clock, so the oldest come first."""
        horizon = now.mono - COOL_DOWN
        while self._freed and next(iter(self._freed.values())) <= horizon:
            self._freed.popitem(last=False)
