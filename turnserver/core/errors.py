"""The core's one tree of refusals: each says what the client gets, a STUN error answer or silence.

Handlers raise; `turnserver.core.server` translates, once, at the boundary.
"""

from meshturn.root import MeshturnError
from stun.address import Address
from stun.constants import ErrorCode

__all__ = ["CoreError", "LookupPending", "Refusal", "Silence", "SourceUnavailable"]


class CoreError(MeshturnError):
    """The root of the tree."""


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
    """Drop the message; the text says why, for whoever debugs."""


class LookupPending(CoreError):
    """Not a refusal yet: the credential source will answer later."""

    def __init__(self, username: str, userhash: bytes) -> None:
        self.username = username
        self.userhash = userhash
        super().__init__("credential look-up pending")


class SourceUnavailable(CoreError):
    """Nobody can say whose the request is: answer 500 (RFC 8489 §14.8), for "401" would say that there is no such user.

    ``reason`` is for the log.
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)
