"""Limits on connections, in total and from one address (docs/conformance.md, rule 3)."""

from typing import Protocol

from turnserver.throttle import packed_prefix

__all__ = ["ConnectionLimiter", "ConnectionLimits", "ConnectionSlot"]


class ConnectionLimits(Protocol):
    """The configuration's ``limits`` on connections."""

    @property
    def connections(self) -> int:
        """Connections at once, in total."""

    @property
    def connections_per_address(self) -> int:
        """Connections at once from one client: an IPv4 address, or an IPv6 /64."""


class ConnectionLimiter:
    """Counts the connections of all listeners of a server; replaced ``limits`` apply to later connections."""

    def __init__(self, limits: ConnectionLimits) -> None:
        self.limits = limits
        self._count = 0
        self._addresses: dict[bytes, int] = {}

    @property
    def count(self) -> int:
        """The current number of connections."""
        return self._count

    def admit(self) -> "ConnectionSlot | None":
        """A slot for one more connection, from any address; None when all are taken."""
        if self._count >= self.limits.connections:
            return None
        self._count += 1
        return ConnectionSlot(self)

    def claim(self, key: bytes) -> bool:
        """Count a connection for an address; `ConnectionSlot` calls it."""
        count = self._addresses.get(key, 0)
        if count >= self.limits.connections_per_address:
            return False
        self._addresses[key] = count + 1
        return True

    def leave(self, key: bytes) -> None:
        """Free a slot; `ConnectionSlot` calls it. ``key`` is empty if no address was counted."""
        self._count -= 1
        if not key:
            return
        count = self._addresses[key] - 1
        if count:
            self._addresses[key] = count
        else:
            del self._addresses[key]


class ConnectionSlot:
    """The slot of one connection; freed once."""

    __slots__ = ("_key", "_limiter")

    def __init__(self, limiter: ConnectionLimiter) -> None:
        self._limiter: ConnectionLimiter | None = limiter
        self._key = b""

    def claim(self, ip: bytes) -> bool:
        """Count the connection for a client's address (packed), once it is known; False if it has too many."""
        if self._limiter is None or self._key:
            return False
        key = packed_prefix(ip)
        if not self._limiter.claim(key):
            return False
        self._key = key
        return True

    def release(self) -> None:
        """Free the slot; calling it again does nothing."""
        limiter, self._limiter = self._limiter, None
        if limiter is not None:
            limiter.leave(self._key)
