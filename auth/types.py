"""The answers of a credential source: credentials, pending, or unavailable."""

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, TypeAlias

__all__ = ["PENDING", "Answer", "Credential", "LateAnswer", "Pending", "Unavailable"]


class Pending(Enum):
    """The type of :data:`PENDING`; an enum, so that type checkers can tell it from a sequence of credentials."""

    PENDING = "pending"


PENDING: Final = Pending.PENDING
"""The answer of a source that has to ask another program first."""


@dataclass(frozen=True, slots=True)
class Unavailable:
    """The source failed: it is down, broken, or overloaded.

    The user is thus neither found nor unknown, and the client may try again. ``reason`` is for the log, one line
    without secrets.
    """

    reason: str


@dataclass(frozen=True, slots=True)
class Credential:
    """One way for a username to prove itself in a realm (RFC 8489 §9.2).

    ``username`` is the text on the wire. ``user_id`` identifies the user for quotas and revocation. ``keys`` maps the
    number of a password algorithm (RFC 8489 §18.5: 1 MD5, 2 SHA-256) to the long-term key. ``expires_at`` is Unix time
    in seconds, or None for a credential without expiry; a source returns expired credentials too, and its caller
    decides what that means.
    """

    username: str
    realm: str
    user_id: str
    keys: Mapping[int, bytes] = field(repr=False, hash=False)
    expires_at: float | None = None

    def equals(self, other: "Credential") -> bool:
        """Whether both have the same name, realm and keys; keys are compared in constant time."""
        return (
            (self.username, self.realm) == (other.username, other.realm)
            and self.keys.keys() == other.keys.keys()
            and all(hmac.compare_digest(key, other.keys[algorithm]) for algorithm, key in self.keys.items())
        )


LateAnswer: TypeAlias = Sequence[Credential] | Unavailable
"""The result of a look-up: the credentials of the user, none for an unknown one, or `Unavailable`."""

Answer: TypeAlias = LateAnswer | Pending
"""The immediate answer of a source: a result, or ``PENDING``."""
