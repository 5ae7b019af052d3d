"""Mobility tickets (RFC 8016): what is in one, and the seal that only this server can make or open.

A ticket names an allocation by its serial number, which is never used again. It has the number that the allocation gave
it, and a time until which it can be used. It is sealed with AES-SIV (RFC 5297): nobody else can read, make or alter one
(§5). That needs no nonce, because no two tickets say the same, so a ticket has 32 bytes, the most that coturn's client
takes. That client keeps a ticket as a C string, too: a byte is left for what makes the seal one without zero bytes.
If OpenSSL has no AES-SIV, the seal is AES-GCM with a random nonce, and 44 bytes. All tickets have the same size.

The key lives as long as the process does, as allocations do. So a ticket of an earlier process cannot be opened.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM, AESSIV

__all__ = ["TICKET_SIZE", "Ticket", "TicketSeal"]

_SIV_KEY: Final = 64
_GCM_KEY: Final = 32
_GCM_NONCE: Final = 12

_SALT: Final = 1
_SERIAL: Final = 5
_NUMBER: Final = 5
_EXPIRES: Final = 5
"""Bytes of each field."""

TICKET_SIZE: Final = 16 + _SALT + _SERIAL + _NUMBER + _EXPIRES
"""Bytes of every ticket sealed with AES-SIV."""


class Ticket(NamedTuple):
    """What a ticket says: the allocation's serial, which of its tickets it is, and its end on the monotonic clock.

    The end is in milliseconds, so that whole numbers say it.
    """

    serial: int
    number: int
    expires: int

    def pack(self, salt: int) -> bytes:
        """Sixteen bytes, with a salt that says nothing. Raises OverflowError for numbers that no process reaches."""
        fields = (salt, _SALT), (self.serial, _SERIAL), (self.number, _NUMBER), (self.expires, _EXPIRES)
        return b"".join(value.to_bytes(size, "big") for value, size in fields)

    @classmethod
    def unpack(cls, packed: bytes) -> "Ticket":
        """The inverse of `pack`."""
        ends = _SALT, _SALT + _SERIAL, _SALT + _SERIAL + _NUMBER, len(packed)
        return cls(*(int.from_bytes(packed[begin:end], "big") for begin, end in pairwise(ends)))


class _Siv:
    """AES-SIV: the same ticket always has the same seal."""

    def __init__(self, cipher: "AESSIV", realm: bytes) -> None:
        self._cipher = cipher
        self._associated: list[bytes | bytearray | memoryview] = [realm]

    def seal(self, state: bytes) -> bytes:
        return self._cipher.encrypt(state, self._associated)

    def open(self, sealed: bytes) -> bytes:
        return self._cipher.decrypt(sealed, self._associated)


class _Gcm:
    """AES-GCM, with a nonce for each ticket."""

    def __init__(self, cipher: "AESGCM", realm: bytes, entropy: Callable[[int], bytes]) -> None:
        self._cipher = cipher
        self._realm = realm
        self._entropy = entropy

    def seal(self, state: bytes) -> bytes:
        nonce = self._entropy(_GCM_NONCE)
        return nonce + self._cipher.encrypt(nonce, state, self._realm)

    def open(self, sealed: bytes) -> bytes:
        return self._cipher.decrypt(sealed[:_GCM_NONCE], sealed[_GCM_NONCE:], self._realm)


class TicketSeal:
    """Seals tickets for one realm; ``entropy`` gives the key.

    The cipher is made for the first ticket: a server that gives none does not load it.
    """

    def __init__(self, realm: str, entropy: Callable[[int], bytes]) -> None:
        self._realm = realm.encode()
        self._entropy = entropy
        self._cipher: _Siv | _Gcm | None = None
        self._size = 0

    def seal(self, ticket: Ticket) -> bytes:
        """The value of a MOBILITY-TICKET attribute, which has no zero bytes."""
        if self._cipher is None:
            self._cipher = self._cipher_made()
        # Eight of nine seals have none, so one of these does.
        seals = (self._cipher.seal(ticket.pack(salt)) for salt in range(256))
        sealed = next(each for each in seals if 0 not in each)
        self._size = len(sealed)
        return sealed

    def open(self, sealed: bytes) -> Ticket | None:
        """The ticket in a MOBILITY-TICKET attribute; None for one that this seal has not made."""
        if self._cipher is None or len(sealed) != self._size:
            return None
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415  see above

        try:
            return Ticket.unpack(self._cipher.open(sealed))
        except InvalidTag:
            return None

    def _cipher_made(self) -> _Siv | _Gcm:
        from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM, AESSIV  # noqa: PLC0415

        try:
            return _Siv(AESSIV(self._entropy(_SIV_KEY)), self._realm)
        except UnsupportedAlgorithm:
            return _Gcm(AESGCM(self._entropy(_GCM_KEY)), self._realm, self._entropy)
