"""The scopes of API keys: what a key allows, and which scopes are enough for what."""

from collections.abc import Collection
from enum import StrEnum
from typing import Final, Self

__all__ = ["ADMIN_SCOPES", "API_SCOPES", "Scope", "allows", "spelled"]


class Scope(StrEnum):
    """One right of an API key; ``meaning`` says which."""

    meaning: str

    def __new__(cls, word: str, meaning: str) -> Self:
        """One scope."""
        member = str.__new__(cls, word)
        member._value_ = word
        member.meaning = meaning
        return member

    TURN = "turn", "ask for TURN credentials"
    TOKENS = "tokens", "have room tokens signed"
    ROOMS = "rooms", "list, record and close rooms, and remove participants"
    PROBE = "probe", "have STUN requests sent back to the address that it is used from"
    ADMIN_READ = "admin:read", "see whatever an operator sees, and change nothing"
    ADMIN = "admin", "everything"


API_SCOPES: Final = frozenset({Scope.TURN, Scope.TOKENS})
"""The scopes of ``signaling.api_keys``."""

ADMIN_SCOPES: Final = frozenset({Scope.ADMIN})
"""The scope of ``signaling.admin_keys``."""


def allows(scopes: Collection[Scope], enough: Collection[Scope]) -> bool:
    """Whether a key with ``scopes`` may do what any one of ``enough`` is sufficient for; ``admin`` always is."""
    return Scope.ADMIN in scopes or any(scope in scopes for scope in enough)


def spelled(scopes: Collection[Scope], between: str = ", ") -> str:
    """Scopes as text, always in the same order."""
    return between.join(scope for scope in Scope if scope in scopes)
