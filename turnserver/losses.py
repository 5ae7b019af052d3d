"""What this host loses is counted and said: full receive buffers, refused sends, buffers smaller than asked for.

The counts are part of ``dropped`` in the counters of listeners and relays, and shown by themselves in a snapshot.
Sockets are looked at every second for what is new, never per packet. Each kind of loss has at most one line a minute,
with what can be done about it.
"""

import errno
import logging
import os
from collections import Counter, deque
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from stun.address import Address
from turnserver.lines import Allowance, Lines
from turnserver.net import UdpSocket, from_sockaddr, receive_buffer_of
from turnserver.receiver import Source, from_source

__all__ = ["LOOK_INTERVAL", "Drops", "LossLines", "Losses", "Sources"]

LOOK_INTERVAL: Final = 1.0
"""Seconds between looks at the counts of a socket."""

_ONE_A_MINUTE: Final = Allowance(burst=1, rate=1 / 60, total_burst=1, total_rate=1 / 60)

_SAMPLES: Final = 8
"""Bursts of datagrams of which the sources are remembered."""

_MOST: Final = 0.5
"""The share of a sample above which a source is named."""

_HINTS: Final = {
    errno.ENETUNREACH: "there is no route: see `ip route get ADDRESS`",
    errno.EHOSTUNREACH: "there is no route: see `ip route get ADDRESS`",
    errno.ENETDOWN: "the network interface is down",
    errno.EPERM: "a firewall on this host forbids it: see `nft list ruleset`",
    errno.EACCES: "a policy of this host forbids it",
    errno.EADDRNOTAVAIL: "the address of this socket has gone from this host",
    errno.EINVAL: "the address of this socket has gone from this host",
}


class Losses(NamedTuple):
    """Of what was dropped: datagrams that the kernel dropped at a full receive buffer, and sends that it refused."""

    lost: int = 0
    failed: int = 0

    def plus(self, other: "Losses") -> "Losses":
        """Both together."""
        return Losses(self.lost + other.lost, self.failed + other.failed)


class Drops(NamedTuple):
    """Datagrams of relays that were dropped, by the cause.

    ``unpermitted`` came from peers without a permission. ``undelivered`` could not be given to the client: its queue or
    its socket was full, they were too old after a pause, or an exception kept them. ``unsent`` could not be sent to the
    peer, and ``overrun`` came when the receive buffer was full.
    """

    unpermitted: int = 0
    undelivered: int = 0
    unsent: int = 0
    overrun: int = 0


class Sources:
    """The sources of sampled bursts: a bounded number, the newest kept."""

    def __init__(self) -> None:
        self._bursts: deque[list[Source]] = deque(maxlen=_SAMPLES)

    @property
    def empty(self) -> bool:
        """Whether nothing has been sampled."""
        return not self._bursts

    def add(self, burst: Iterable[Source]) -> None:
        """Remember the sources of one burst."""
        self._bursts.append(list(burst))

    def forget(self) -> None:
        """Forget the samples, so that `most` is about what comes from now on."""
        self._bursts.clear()

    def most(self) -> tuple[str, int] | None:
        """The address that most of the sampled datagrams came from, and its share in percent; None if there is none."""
        counts = Counter(from_source(source).canonical().ip for burst in self._bursts for source in burst)
        total = counts.total()
        if not total:
            return None
        ((ip, count),) = counts.most_common(1)
        return (Address(ip, 0).host, round(100 * count / total)) if count > _MOST * total else None


class LossLines:
    """Writes what was lost to ``logger``. ``clock`` gives monotonic seconds."""

    def __init__(self, logger: logging.Logger, clock: Callable[[], float]) -> None:
        self._lines = Lines(logger, _ONE_A_MINUTE, clock)

    def small_buffer(self, where: Address, udp: UdpSocket, asked: int) -> None:
        """The system has granted a smaller receive buffer than ``asked`` bytes, if that is so."""
        granted = receive_buffer_of(udp.sock)
        if granted < asked:
            fields = {"address": str(where), "asked": asked, "granted": granted, "hint": _more_room(asked)}
            self._lines.write(logging.WARNING, "receive buffer smaller than asked for", fields)

    def look(self, where: Address, udp: UdpSocket, asked: int, sources: Sources | None = None) -> Losses:
        """Say, and return, what the socket bound to ``where`` has lost since the last look."""
        lost, failed = udp.news()
        if lost:
            found = None if sources is None else sources.most()
            named = {} if found is None else {"source": found[0], "share": f"{found[1]}%"}
            fields = {"address": str(where), "lost": lost, "in_all": udp.lost, **named}
            advice = _more_room(asked) if receive_buffer_of(udp.sock) < asked else _LESS_WORK
            self._lines.write(logging.WARNING, "datagrams lost: the receive buffer was full", fields | {"hint": advice})
        if sources is not None:
            sources.forget()
        if failed:
            number, sockaddr = udp.failure
            fields = {"address": str(where), "failed": failed, "in_all": udp.failed, "why": os.strerror(number)}
            fields |= {"to": str(from_sockaddr(sockaddr)), "hint": _HINTS.get(number, "")}
            self._lines.write(logging.WARNING, "datagrams could not be sent from this host", fields)
        return Losses(lost, failed)


_LESS_WORK: Final = "more arrives than the server can read: see the load of its processor, or block the source"


def _more_room(asked: int) -> str:
    return f"set net.core.rmem_max to {asked} or more: sysctl -w net.core.rmem_max={asked}"
