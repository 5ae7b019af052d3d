"""Limits log lines that clients can cause: some of each kind from one network, and then the number of further ones.

A line's kind is its text and, for refusals, the reason code: what many do wrong must not hide what an operator has to
act on. A network is the /24 (IPv4) or /48 (IPv6) that a client's address is in. Lines beyond the
limit are not written but counted; the count is added to the next line of that kind from that network, or written
after ten seconds in a line of its own. The sources of UDP are easily forged, so each kind also has a limit for all
networks together.
"""

import asyncio
import logging
import time
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Any, Final, NamedTuple

from stun.address import Address
from turnserver.throttle import Buckets, packed_network

__all__ = ["FREQUENT", "RARE", "Allowance", "Lines", "say_withheld", "withheld_lines"]

INTERVAL: Final = 10.0
"""Seconds after which the number of withheld lines is written, if no other line of their kind comes before."""

MAX_NETWORKS: Final = 4096
"""Maximum number of pairs of a network and a kind; the least recently used one is dropped first, with its limit."""

MAX_SAID: Final = 3
"""Networks whose withheld lines of one kind get a line each; the others share a line."""

_IPV6_BYTES: Final = 6
_MAX_TEXT: Final = 64
"""Maximum number of characters of a source that is not an address."""


class Allowance(NamedTuple):
    """Lines of one kind from one network, at once and per second after that; and the same from all networks."""

    burst: float
    rate: float
    total_burst: float
    total_rate: float


RARE: Final = Allowance(burst=10, rate=0.2, total_burst=50, total_rate=5)
"""For lines that anybody can cause."""

FREQUENT: Final = Allowance(burst=500, rate=20, total_burst=5000, total_rate=200)
"""For lines that need a credential or a room: one network may have many honest clients."""

_Network = bytes | str
"""The prefix of the address's network; the text for a source that is not an address; empty without a source."""


class _Kind(NamedTuple):
    message: str
    reason: str
    network: _Network


@dataclass(slots=True)
class _Withheld:
    """The number of withheld lines, the time of the first (monotonic seconds), and their level."""

    since: float
    level: int
    count: int = 0


class Lines:
    """Writes to ``logger`` what ``allowance`` lets through. ``clock`` gives monotonic seconds."""

    def __init__(
        self, logger: logging.Logger, allowance: Allowance = RARE, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._logger = logger
        self._clock = clock
        self._networks: Buckets[_Kind] = Buckets(allowance.rate, allowance.burst, MAX_NETWORKS)
        self._kinds: Buckets[tuple[str, str]] = Buckets(allowance.total_rate, allowance.total_burst, MAX_NETWORKS)
        self._withheld: dict[_Kind, _Withheld] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        """The loop of the timer that calls `say`."""
        _all.add(self)

    @property
    def withheld(self) -> int:
        """The number of withheld lines that has not been written yet."""
        return sum(entry.count for entry in self._withheld.values())

    def write(
        self,
        level: int,
        message: str,
        fields: Mapping[str, Any],
        source: Address | str | None = None,
        *,
        cause: BaseException | None = None,
        reason: str = "",
    ) -> bool:
        """Write one line, unless it is over the limit; returns whether it was written.

        ``message`` is the kind, so there must be few of them: what differs belongs in ``fields``. ``source`` is the
        address of the client that has caused the line; without one only the limit for all networks counts. ``cause`` is
        written with its traceback. ``reason`` is a reason code that makes a kind of its own.
        """
        if not self._logger.isEnabledFor(level):
            return False
        now = self._clock()
        kind = _Kind(message, reason, _network_of(source))
        if (kind.network and self._networks.take(kind, now)) or self._kinds.take((message, reason), now):
            self._withhold(kind, level, now)
            return False
        withheld = self._withheld.pop(kind, None)
        more = {} if withheld is None else _more(withheld, now)
        self._logger.log(level, message, exc_info=cause, extra={"fields": {**fields, **more}})
        return True

    def say(self) -> None:
        """Write how many lines were withheld, and reset the counts."""
        now = self._clock()
        withheld, self._withheld = self._withheld, {}
        for message, reason in dict.fromkeys((kind.message, kind.reason) for kind in withheld):
            entries = [(kind.network, entry) for kind, entry in withheld.items() if kind[:2] == (message, reason)]
            entries.sort(key=lambda pair: pair[1].count, reverse=True)
            fields = {"cause": reason} if reason else {}
            for network, entry in entries[:MAX_SAID]:
                self._say(message, fields | ({"source": _text(network)} if network else {}), entry, now)
            if rest := [entry for _, entry in entries[MAX_SAID:]]:
                together = _Withheld(
                    min(entry.since for entry in rest),
                    max(entry.level for entry in rest),
                    sum(entry.count for entry in rest),
                )
                self._say(message, fields | {"sources": len(rest)}, together, now)

    def _say(self, message: str, fields: Mapping[str, Any], entry: _Withheld, now: float) -> None:
        self._logger.log(
            entry.level, "%s, and more like it", message, extra={"fields": {**fields, **_more(entry, now)}}
        )

    def _withhold(self, kind: _Kind, level: int, now: float) -> None:
        entry = self._withheld.get(kind)
        if entry is None:
            if len(self._withheld) >= MAX_NETWORKS:
                kind = kind._replace(network="")
            entry = self._withheld.setdefault(kind, _Withheld(now, level))
        entry.count += 1
        _sum.count += 1
        self._arm()

    def _arm(self) -> None:
        """Start a timer for `say`, if a loop is running; otherwise the count is written with the next line."""
        if self._loop is not None and not self._loop.is_closed():
            return
        try:
            self._loop = asyncio.get_running_loop()
        except RuntimeError:
            return
        self._loop.call_later(INTERVAL, self._due)

    def _due(self) -> None:
        self._loop = None
        self.say()


def say_withheld() -> None:
    """Write the numbers of all withheld lines; for the end of a process."""
    for lines in list(_all):
        lines.say()


def withheld_lines() -> int:
    """How many lines were withheld in this process since its start, because there were too many of a kind."""
    return _sum.count


class _Sum:
    """A number of the process."""

    count = 0


_sum: Final = _Sum()
_all: Final[weakref.WeakSet[Lines]] = weakref.WeakSet()


def _more(entry: _Withheld, now: float) -> dict[str, Any]:
    return {"withheld": entry.count, "within": round(now - entry.since, 1)}


def _network_of(source: Address | str | None) -> _Network:
    if isinstance(source, Address):
        return packed_network(source.canonical().ip)
    if not source:
        return ""
    try:
        address = Address(ip_address(source.partition("%")[0]).packed, 0)
    except ValueError:
        return source[:_MAX_TEXT]
    return packed_network(address.canonical().ip)


def _text(network: _Network) -> str:
    if isinstance(network, str):
        return network
    size = 16 if len(network) == _IPV6_BYTES else 4
    return str(ip_network((network.ljust(size, b"\0"), 8 * len(network))))
