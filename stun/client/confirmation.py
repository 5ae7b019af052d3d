"""After a move (RFC 8016 §3.2.2), the server sends to the new 5-tuple once it has had data from there.

A client that has nothing to send says so with Send indications to an address that is nobody's: the server drops these,
because there is no permission for it (RFC 8656 §11.2). Some, since they may be lost, until something comes from a peer.
"""

from typing import Final

from stun.address import Address
from stun.constants import AddressFamily

__all__ = ["Confirmation", "nobody"]

INTERVALS: Final = (0.0, 0.5, 1.0, 2.0)
"""Seconds from one to the next, the first at once."""

_NOBODY: Final = {
    AddressFamily.IPV4: Address.parse("192.0.0.8", 9),
    AddressFamily.IPV6: Address.parse("100::1", 9),
}


def nobody(family: AddressFamily) -> Address:
    """The dummy address of RFC 7600 §4.8 or one of the discard-only prefix (RFC 6666), and the port for discarding."""
    return _NOBODY[family]


class Confirmation:
    """When to send the next one."""

    def __init__(self) -> None:
        self._at: float | None = None
        self._count = 0

    def begin(self, now: float) -> None:
        """The client has moved."""
        self._at, self._count = now, 0

    def end(self) -> None:
        """The server sends here, or need not be told."""
        self._at = None

    def due(self, now: float) -> bool:
        """Whether to send one now; then the next one is later."""
        if self._at is None or now < self._at:
            return False
        self._count += 1
        self._at = now + INTERVALS[self._count] if self._count < len(INTERVALS) else None
        return True

    def deadline(self) -> float | None:
        """When the next one is due; None without one."""
        return self._at
