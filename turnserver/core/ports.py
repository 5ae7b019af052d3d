"""Choice of relay ports: random, not just freed if others are left, even or in pairs on request (RFC 8656 §7.2).

What `RelayPorts.take` costs does not depend on how many ports are taken, how many were freed lately, or how large the
range is: otherwise a client that allocates and deletes all day would make everybody's Allocate slow. There is one pool
for each kind of request (any port, an even one, a pair), and a change of one port costs one step in each.
"""

from array import array
from collections import OrderedDict
from collections.abc import Callable
from functools import lru_cache

from turnserver.core.types import Now, PortRange

__all__ = ["COOL_DOWN", "RelayPorts"]

COOL_DOWN = 120.0
"""Seconds for which a freed port is passed over: late packets meant for its last owner must not reach the next one."""

_COOLED_AT_ONCE = 8
"""Ports whose cool-down has ended that one call puts back at most. A call frees one, so the rest is caught up with."""


class RelayPorts:
    """The ports of one relay address."""

    def __init__(self, ports: PortRange, entropy: Callable[[int], bytes]) -> None:
        first, last = ports.first, ports.last
        even = first + (first & 1)
        self._entropy = entropy
        self._total = last + 1 - first
        self._used: set[int] = set()
        self._any = _Pool(range(first, last + 1))
        self._even = _Pool(range(even, last + 1, 2))
        self._pairs = _Pool(range(even, last, 2))

    @property
    def used(self) -> int:
        """How many ports are taken now."""
        return len(self._used)

    @property
    def total(self) -> int:
        """How many ports there are."""
        return self._total

    def take(self, now: Now, *, even: bool = False, pair: bool = False) -> int | None:
        """Take a free port, and the one above it too if ``pair``; None when there is none left.

        ``even`` asks for an even port; a pair always begins with one (RFC 8656 §14.6). A port in its cool-down is taken
        only if there is no other, and then the one that was freed first.
        """
        pool = self._pairs if pair else self._even if even else self._any
        port = pool.choose(int.from_bytes(self._entropy(4), "big"), now.mono - COOL_DOWN)
        if port is None:
            return None
        for taken in (port, port + 1) if pair else (port,):
            self._used.add(taken)
            self._any.remove(taken)
            if not taken & 1:
                self._even.remove(taken)
            self._pairs.remove(taken & ~1)
        return port

    def give_back(self, port: int, now: Now) -> None:
        """Free a port. Raises KeyError when it was not taken, which is a bug in the caller."""
        self._used.remove(port)
        horizon = now.mono - COOL_DOWN
        self._any.cool(port, now.mono, horizon)
        if not port & 1:
            self._even.cool(port, now.mono, horizon)
        if port ^ 1 not in self._used:
            self._pairs.cool(port & ~1, now.mono, horizon)


class _Pool:
    """The free ones among some ports: those that are ready, and those in their cool-down, in the order of freeing.

    A pair is in the pool of pairs under its lower port. A port that is not one of ``ports`` is ignored.

    The ready ports are the first ``_ready`` places of a permutation of all ports. One leaves by changing places with
    the last of them, and comes back by changing places with the first of the others. ``_at`` has the index of the port
    at each place, and ``_place`` the place of each index.
    """

    __slots__ = ("_at", "_cooling", "_place", "_ports", "_ready")

    def __init__(self, ports: range) -> None:
        self._ports = ports
        self._ready = len(ports)
        self._at = _in_order(len(ports))[:]
        self._place = _in_order(len(ports))[:]
        self._cooling: OrderedDict[int, float] = OrderedDict()

    def choose(self, number: int, horizon: float) -> int | None:
        """The ready port that a random number stands for; without one, that which has been cooling for longest."""
        if self._cooling:
            self._put_back(horizon)
        if self._ready:
            return self._ports[self._at[number % self._ready]]
        return next(iter(self._cooling), None)

    def remove(self, port: int) -> None:
        """A port is not free any more; one that is not in the pool is ignored."""
        if self._cooling.pop(port, None) is not None or port not in self._ports:
            return
        index = self._ports.index(port)
        if self._place[index] < self._ready:
            self._ready -= 1
            self._swap(index, self._ready)

    def cool(self, port: int, mono: float, horizon: float) -> None:
        """A port has been freed, and begins its cool-down. What was freed before ``horizon`` is ready again."""
        if port in self._ports:
            self._cooling[port] = mono
        self._put_back(horizon)

    def _put_back(self, horizon: float) -> None:
        """Ports are freed in the order of the clock, so the oldest come first."""
        for _ in range(_COOLED_AT_ONCE):
            port = next(iter(self._cooling), None)
            if port is None or self._cooling[port] > horizon:
                return
            del self._cooling[port]
            self._swap(self._ports.index(port), self._ready)
            self._ready += 1

    def _swap(self, index: int, place: int) -> None:
        """Have a port, by its index, and the one at a place change places."""
        other, former = self._at[place], self._place[index]
        self._at[place], self._place[index] = index, place
        self._at[former], self._place[other] = other, former


@lru_cache(maxsize=8)
def _in_order(count: int) -> "array[int]":
    """The numbers from 0; a copy of it costs next to nothing, other than making it."""
    return array("H", range(count))
