"""The core's exceptions: each says whether the client gets a STUN error answer or none.

Handlers raise them, and `turnserver.core.server` alone turns them into answers.
"""

from meshturn.root import MeshturnError
from stun.address import Address
from stun.constants import ErrorCode

__all__ = ["CoreError", "LookupPending", "Refusal", "Silence", "SourceUnavailable"]


class CoreError(MeshturnError):
    """The root of the core's errors."""


class Refusal(CoreError):
    """Answer with an error code (RFC 8489 §14.8).

    ``challenge`` adds REALM, NONCE and PASSWORD-ALGORITHMS (401 and 438); ``unknown`` the types for
    UNKNOWN-ATTRIBUTES (420), ``alternate`` the address for ALTERNATE-SERVER (300). The reason phrase is
    the standard one unless given.
    """

    def __init__(
        self,
        code: ErrorCode,
        reason: str | None = None,
        *,
        challenge: bool = False,
        unknown: tuple[int, ...] = (),
        alternate: Address | None = None,
    ) -> None:
        self.code = code
        self.reason = code.reason if reason is None else reason
        self.challenge = challenge
        self.unknown = unknown
        self.alternate = alternate
        super().__init__(f"{int(code)} {self.reason}")


class Silence(CoreError):
    """Drop the message; the text gives the reason, for debugging."""


class LookupPending(CoreError):
    """The credential source will answer later; until then the request is neither refused nor accepted."""

    def __init__(self, username: str, userhash: bytes) -> None:
        self.username = username
        self.userhash = userhash
        super().__init__("credential look-up pending")


class SourceUnavailable(CoreError):
    """The credential source failed: answer 500 (RFC 8489 §14.8), since 401 would mean that there is no such user.

    ``reason`` is for the log.
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)
