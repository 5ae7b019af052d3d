"""The errors of a client; each message is one sentence."""

from stun.address import Address
from stun.errors import StunError

__all__ = [
    "AnswerNotUnderstood",
    "CannotAuthenticate",
    "ClientError",
    "ErrorResponse",
    "IntegrityViolated",
    "InvalidAnswer",
    "InvalidLogin",
    "NoAllocation",
    "NoAnswer",
    "NotPermitted",
    "RequestCancelled",
    "ServerUnreachable",
    "TooManyRequests",
    "TryAlternate",
]


class ClientError(StunError):
    """The root of the errors that a client raises."""


class InvalidLogin(ClientError, ValueError):
    """A user name or password that cannot be sent (RFC 8489 §9.2.2, §14.3); the message repeats neither."""


class NoAnswer(ClientError, TimeoutError):
    """No usable answer came in time (RFC 8489 §6.2).

    ``transmissions`` is how often the request was sent, over ``seconds``. ``ignored`` describes a received message that
    was not used as the answer, if there was one.
    """

    def __init__(self, transmissions: int, seconds: float, ignored: str = "") -> None:
        self.transmissions = transmissions
        self.seconds = seconds
        self.ignored = ignored
        count = f"{transmissions} request{'' if transmissions == 1 else 's'}"
        super().__init__(f"No usable answer came: {ignored}." if ignored else f"No answer to {count} in {seconds:g} s.")


class IntegrityViolated(ClientError):
    """Answers were received, but none with valid integrity (RFC 8489 §9.2.5)."""


class CannotAuthenticate(ClientError):
    """The server's challenge cannot be answered: incomplete, a bid-down, or no algorithm known here (§9.2.5)."""


class AnswerNotUnderstood(ClientError):
    """The answer has comprehension-required attributes that are not known here (RFC 8489 §6.3.3, §6.3.4)."""

    def __init__(self, types: tuple[int, ...]) -> None:
        self.types = types
        names = ", ".join(f"0x{number:04x}" for number in types[:4])
        super().__init__(f"The answer needs attributes that are not known here ({names}).")


class InvalidAnswer(ClientError):
    """A success response lacks a required attribute, or has a malformed one."""


class ErrorResponse(ClientError):
    """The server refused: its error code (RFC 8489 §14.8, RFC 8656 §19) and reason phrase, which is untrusted text.

    ``code`` is 0 if the response names none.
    """

    def __init__(self, code: int, reason: str) -> None:
        self.code = code
        self.reason = reason
        super().__init__(f"The server refused: {code} {reason!a}.")


class TryAlternate(ErrorResponse):
    """300: the server sends its clients elsewhere (RFC 8489 §10, RFC 8656 §7.4).

    ``server`` is the alternate server, for the same transport; None if the response does not name one. ``domain`` is
    the name to check its certificate against. A client that follows must remember the servers that it has tried,
    because servers can redirect in circles.
    """

    def __init__(self, reason: str, server: Address | None, domain: str | None) -> None:
        super().__init__(300, reason)
        self.server = server
        self.domain = domain


class ServerUnreachable(ClientError, ConnectionError):
    """The server cannot be reached: a closed port, no route, an ended connection; the message says which."""


class RequestCancelled(ClientError):
    """The request was cancelled by the caller, or its client was closed."""


class TooManyRequests(ClientError):
    """The limit of pending requests is reached (`RequestOptions.limit`)."""


class NoAllocation(ClientError):
    """There is no allocation, or it has ended."""


class NotPermitted(ClientError):
    """There is no permission for the peer: create one first, because the server would drop the data (RFC 8656 §9)."""
