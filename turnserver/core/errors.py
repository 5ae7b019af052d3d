"""The core's exceptions: each says whether the client gets a STUN error answer or none.

Handlers raise them, and `turnserver.core.server` alone turns them into answers.
"""

from meshturn.root import MeshturnError
from stun.address import Address
from stun.constants import ErrorCode
from turnserver.reasons import Reason, phrase

__all__ = ["CoreError", "LookupPending", "Refusal", "Silence", "SourceUnavailable"]


class CoreError(MeshturnError):
    """The root of the core's errors."""


class Refusal(CoreError):
    """Answer with an error code (RFC 8489 §14.8), for the ``cause``.

    ``detail`` says in a few words what it is about, for the log and for authenticated clients. ``code`` is needed only
    if the cause has several. ``challenge`` adds REALM, NONCE and PASSWORD-ALGORITHMS (401 and 438); ``unknown`` the
    types for UNKNOWN-ATTRIBUTES (420), ``alternate`` the address for ALTERNATE-SERVER (300).
    """

    def __init__(
        self,
        cause: Reason,
        detail: str = "",
        *,
        code: ErrorCode | None = None,
        challenge: bool = False,
        unknown: tuple[int, ...] = (),
        alternate: Address | None = None,
    ) -> None:
        self.cause = cause
        self.code = cause.errors[0] if code is None else code
        self.detail = detail
        self.challenge = challenge
        self.unknown = unknown
        self.alternate = alternate
        super().__init__(cause, detail)

    def __str__(self) -> str:
        """The error code and the whole reason phrase; made only when it is read, since clients cause most refusals."""
        return f"{int(self.code)} {self.phrase(authenticated=True)}"

    def phrase(self, *, authenticated: bool) -> str:
        """The reason phrase: with the cause only for a client that has proven who it is."""
        return phrase(self.code, self.cause, self.detail) if authenticated else self.code.reason


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

    def __init__(self, reason: str, cause: Reason = Reason.SOURCE_UNAVAILABLE) -> None:
        self.reason = reason
        self.cause = cause
        super().__init__(reason)
