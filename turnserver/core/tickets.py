"""Mobility tickets (RFC 8016): what is in one, and the seal that only this server can make or open.

A ticket names an allocation by its serial number, which is never used again. It has the number that the allocation gave
it, and a time until which it can be used. It is sealed with AES-GCM-SIV (RFC 8452) or, if OpenSSL has no such cipher,
with AES-GCM: nobody else can read, make or alter one (§5). All tickets have the same size, small enough for any path.

The key lives as long as the process does, as allocations do. So a ticket of an earlier process cannot be opened.
"""

import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM, AESGCMSIV

__all__ = ["TICKET_SIZE", "Ticket", "TicketSeal"]

_KEY: Final = 32
_NONCE: Final = 12
_TAG: Final = 16

_STATE: Final = struct.Struct("!QQd")

TICKET_SIZE: Final = _NONCE + _STATE.size + _TAG
"""Bytes of every ticket."""


class Ticket(NamedTuple):
    """What a ticket says: the allocation's serial, which of its tickets it is, and its end on the monotonic clock."""

    serial: int
    number: int
    expires: float


class TicketSeal:
    """Seals tickets for one realm; ``entropy`` gives the key, and a nonce for each ticket.

    The cipher is made for the first ticket: a server that gives none does not load it.
    """

    def __init__(self, realm: str, entropy: Callable[[int], bytes]) -> None:
        self._realm = realm.encode()
        self._entropy = entropy
        self._cipher: AESGCMSIV | AESGCM | None = None

    def seal(self, ticket: Ticket) -> bytes:
        """The value of a MOBILITY-TICKET attribute."""
        if self._cipher is None:
            self._cipher = _cipher(self._entropy(_KEY))
        nonce = self._entropy(_NONCE)
        return nonce + self._cipher.encrypt(nonce, _STATE.pack(*ticket), self._realm)

    def open(self, sealed: bytes) -> Ticket | None:
        """The ticket in a MOBILITY-TICKET attribute; None for one that this seal has not made."""
        if self._cipher is None or len(sealed) != TICKET_SIZE:
            return None
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415  see above

        try:
            return Ticket(*_STATE.unpack(self._cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], self._realm)))
        except InvalidTag:
            return None


def _cipher(key: bytes) -> "AESGCMSIV | AESGCM":
    """AES-GCM-SIV, for which a nonce that comes twice does no harm; OpenSSL has it since 3.2."""
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM, AESGCMSIV  # noqa: PLC0415

    try:
        return AESGCMSIV(key)
    except UnsupportedAlgorithm:
        return AESGCM(key)
