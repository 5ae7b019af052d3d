"""The answer to "who is this?": credentials, "not yet", or "I cannot say"."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, TypeAlias

__all__ = ["PENDING", "Answer", "Credential", "LateAnswer", "Pending", "Unavailable"]


class Pending(Enum):
    """The type of :data:`PENDING`; an enum of one, so that type checkers can tell it from a sequence of credentials."""

    PENDING = "pending"


PENDING: Final = Pending.PENDING
"""What a source answers when it has to ask somebody else first."""


@dataclass(frozen=True, slots=True)
class Unavailable:
    """A source cannot say whether it knows the user: it is down, broken, or overloaded.

    That is neither "found" nor "not found": the client may try again. ``reason`` is for the log, one line without
    secrets.
    """

    reason: str


@dataclass(frozen=True, slots=True)
class Credential:
    """One way for a username to prove itself in a realm (RFC 8489 §9.2).

    ``username`` is the text as it stands on the wire. ``user_id`` is the person behind it: what quotas count and
    revocation names. ``keys`` maps the number of a password algorithm (RFC 8489 §18.5: 1 MD5, 2 SHA-256) to the
    long-term key. ``expires_at`` is Unix time in seconds, or None for a credential without end; a source hands out
    expired credentials too, and its caller decides what that means.
    """

    username: str
    realm: str
    user_id: str
    keys: Mapping[int, bytes] = field(repr=False, hash=False)
    expires_at: float | None = None


LateAnswer: TypeAlias = Sequence[Credential] | Unavailable
"""What a look-up ends with: the credentials of the user, none for an unknown one, or "I cannot say"."""

Answer: TypeAlias = LateAnswer | Pending
"""What a source says at once: the same, or "not yet"."""
