"""Limits on connections, in total and from one client (docs/conformance.md, rule 3).

When all connections are taken, one that is not in use makes room for the next (`turnserver.transports.idle`). In use
are: the connection of a client with an allocation, a data connection (RFC 6062), a participant of rooms, and an HTTP
connection while the server works on its request. Nothing else that a stranger may send counts, so a Binding request
once a minute keeps no place.
"""

from collections.abc import Callable
from typing import Final, Protocol

from turnserver.clients import EVERY_CLIENT
from turnserver.descriptors import Descriptors
from turnserver.throttle import packed_prefix
from turnserver.transports.idle import IdleConnections

__all__ = ["ConnectionLimiter", "ConnectionLimits", "ConnectionSlot"]

_MOST_EVICTED: Final = 16
"""Connections closed for one new one: more than one only after a limit was lowered, and never so many as to stall."""


class ConnectionLimits(Protocol):
    """The configuration's ``limits`` on connections."""

    @property
    def connections(self) -> int:
        """Connections at once, in total."""

    @property
    def connections_per_address(self) -> int:
        """Connections at once from one client: an IPv4 address, or an IPv6 /64."""


class ConnectionLimiter:
    """Counts the connections of all listeners of a server; replaced ``limits`` apply to later connections.

    Each takes one of ``descriptors``, of which connections may be half.
    """

    def __init__(self, limits: ConnectionLimits, descriptors: Descriptors | None = None) -> None:
        self.limits = limits
        self._descriptors = Descriptors() if descriptors is None else descriptors
        self.clients = EVERY_CLIENT
        """Who may have connections at all; what replaces it applies to later connections."""
        self.evicted = 0
        """Connections that were closed to make room for others."""
        self._count = 0
        self._addresses: dict[bytes, int] = {}
        self._idle: IdleConnections[ConnectionSlot] = IdleConnections()

    @property
    def count(self) -> int:
        """The current number of connections."""
        return self._count

    @property
    def full(self) -> str | None:
        """What there is no more room by: an option, or the system's limit of open files; None while there is room."""
        if self._count >= self.limits.connections:
            return "limits.connections"
        if self._count >= self._descriptors.most_connections or not self._descriptors.free:
            return "RLIMIT_NOFILE"
        return None

    def has_room(self, ip: bytes) -> bool:
        """Whether a client (packed address) may have one more connection; to be asked before another makes room."""
        return self._addresses.get(packed_prefix(ip), 0) < self.limits.connections_per_address

    def admit(self, *, socket: bool = True) -> "ConnectionSlot | None":
        """A slot for one more connection, from any client; None when all are taken and none can make room.

        ``socket`` says that it has a socket of its own, and so takes a descriptor.
        """
        evicted = 0
        while self.full and evicted < _MOST_EVICTED and self._evict():
            evicted += 1
        if self.full:
            return None
        self._count += 1
        if socket:
            self._descriptors.take()
        return ConnectionSlot(self, socket=socket)

    def claim(self, key: bytes) -> bool:
        """Count a connection for a client; `ConnectionSlot` calls it."""
        count = self._addresses.get(key, 0)
        if count >= self.limits.connections_per_address:
            return False
        self._addresses[key] = count + 1
        return True

    def idle(self, slot: "ConnectionSlot", ip: bytes) -> None:
        """A connection may make room from now on; `ConnectionSlot` calls it."""
        self._idle.add(slot, ip)

    def busy(self, slot: "ConnectionSlot") -> None:
        """A connection must not make room; `ConnectionSlot` calls it."""
        self._idle.remove(slot)

    def leave(self, slot: "ConnectionSlot", key: bytes, *, socket: bool = True) -> None:
        """Free a slot; `ConnectionSlot` calls it. ``key`` is empty if no client was counted."""
        self._count -= 1
        if socket:
            self._descriptors.give_back()
        self._idle.remove(slot)
        if not key:
            return
        count = self._addresses[key] - 1
        if count:
            self._addresses[key] = count
        else:
            del self._addresses[key]

    def _evict(self) -> bool:
        """Close the connection that is to make room; False if there is none."""
        slot = self._idle.first()
        if slot is None:
            return False
        self.evicted += 1
        slot.evict()
        return True


class ConnectionSlot:
    """The slot of one connection; freed once."""

    __slots__ = ("_close", "_ip", "_key", "_limiter", "_socket", "_used")

    def __init__(self, limiter: ConnectionLimiter, *, socket: bool = True) -> None:
        self._limiter: ConnectionLimiter | None = limiter
        self._socket = socket
        self._key = b""
        self._ip = b""
        self._close: Callable[[], None] | None = None
        self._used = False

    def claim(self, ip: bytes) -> bool:
        """Count the connection for a client's address (packed), once it is known; False if it may have no more."""
        if self._limiter is None or self._key or self._limiter.clients.refuses(ip):
            return False
        key = packed_prefix(ip)
        if not self._limiter.claim(key):
            return False
        self._key = key
        if self._close is not None:
            self.offer(self._close, ip)
        return True

    def offer(self, close: Callable[[], None], ip: bytes) -> None:
        """The connection may make room from now on, unless it is in use: ``close`` ends it, and so frees the slot.

        Until `claim`, it counts among the connections of ``ip`` (packed): those of a proxy, before their header.
        """
        self._close = close
        self._ip = ip
        if not self._used and self._limiter is not None:
            self._limiter.idle(self, ip)

    def use(self, on: bool) -> None:
        """Whether the connection is in use and must be kept; if not, it is idle from now on."""
        self._used = on
        if self._limiter is None or self._close is None:
            return
        if on:
            self._limiter.busy(self)
        else:
            self._limiter.idle(self, self._ip)

    def evict(self) -> None:
        """Close the connection, to make room; `ConnectionLimiter` calls it."""
        if self._close is not None:
            self._close()
        self.release()

    def release(self) -> None:
        """Free the slot; calling it again does nothing."""
        limiter, self._limiter = self._limiter, None
        self._close = None  # the connection need not wait for the garbage collector
        if limiter is not None:
            limiter.leave(self, self._key, socket=self._socket)
