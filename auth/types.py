"""The answer to "who is this?": a credential, several, or "not yet"."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

__all__ = ["PENDING", "Credential", "Pending"]


class Pending(Enum):
    """The type of :data:`PENDING`; an enum of one, so that type checkers can tell it from a sequence of credentials."""

    PENDING = "pending"


PENDING: Final = Pending.PENDING
"""What a store answers when it has to ask somebody else first; the credentials then arrive as a separate input."""


@dataclass(frozen=True, slots=True)
class Credential:
    """One way for a username to prove itself in a realm (RFC 8489 §9.2).

    ``username`` is the text as it stands on the wire. ``user_id`` is the person behind it: what quotas count and
    revocation names. ``keys`` maps the number of a password algorithm (RFC 8489 §18.5: 1 MD5, 2 SHA-256) to the
    long-term key. ``expires_at`` is Unix time in seconds, or None for a credential without end; a store hands out
    expired credentials too, and its caller decides what that means.
    """

    username: str
    realm: str
    user_id: str
    keys: Mapping[int, bytes] = field(repr=False, hash=False)
    expires_at: float | None = None
