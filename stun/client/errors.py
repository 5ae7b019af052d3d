"""What can go wrong for a client; each message is one sentence."""

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
    """The root of everything that a client raises on purpose."""


class InvalidLogin(ClientError, ValueError):
    """A user name or password that cannot be sent (RFC 8489 §9.2.2, §14.3); the message repeats neither."""


class NoAnswer(ClientError, TimeoutError):
    """No usable answer came in time (RFC 8489 §6.2).

    ``transmissions`` is how often the request was sent, over ``seconds``. ``ignored`` says what came instead of an
    answer, if anything did.
    """

    def __init__(self, transmissions: int, seconds: float, ignored: str = "") -> None:
        self.transmissions = transmissions
        self.seconds = seconds
        self.ignored = ignored
        count = f"{transmissions} request{'' if transmissions == 1 else 's'}"
        super().__init__(f"No usable answer came: {ignored}." if ignored else f"No answer to {count} in {seconds:g} s.")


class IntegrityViolated(ClientError):
    """Answers came, but none whose integrity was there and right (RFC 8489 §9.2.5)."""


class CannotAuthenticate(ClientError):
    """The server's challenge cannot be answered: incomplete, a bid-down, or no algorithm known here (§9.2.5)."""


class AnswerNotUnderstood(ClientError):
    """The answer has comprehension-required attributes that are not known here (RFC 8489 §6.3.3, §6.3.4)."""

    def __init__(self, types: tuple[int, ...]) -> None:
        self.types = types
        names = ", ".join(f"0x{number:04x}" for number in types[:4])
        super().__init__(f"The answer needs attributes that are not known here ({names}).")


class InvalidAnswer(ClientError):
    """A success response lacks what it has to say, or says it in a way that cannot be read."""


class ErrorResponse(ClientError):
    """The server refused: its error code (RFC 8489 §14.8, RFC 8656 §19) and reason phrase, which is hostile text.

    ``code`` is 0 if the response names none.
    """

    def __init__(self, code: int, reason: str) -> None:
        self.code = code
        self.reason = reason
        super().__init__(f"The server refused: {code} {reason!a}.")


class TryAlternate(ErrorResponse):
    """300: the server sends its clients elsewhere (RFC 8489 §10, RFC 8656 §7.4).

    ``server`` is where, to be asked over the same transport; None if the response does not say. ``domain`` is the name
    to check a certificate of it against. Whoever follows keeps a list of where it has been: servers can send in
    circles.
    """

    def __init__(self, reason: str, server: Address | None, domain: str | None) -> None:
        super().__init__(300, reason)
        self.server = server
        self.domain = domain


class ServerUnreachable(ClientError, ConnectionError):
    """The way to the server is broken: a closed port, no route, an ended connection; the message says which."""


class RequestCancelled(ClientError):
    """The request was given up by whoever made it, or its client was closed."""


class TooManyRequests(ClientError):
    """As many requests as allowed are under way (`RequestOptions.limit`)."""


class NoAllocation(ClientError):
    """There is no allocation, or there is none any more."""


class NotPermitted(ClientError):
    """There is no permission for the peer: create one first, for the server would drop the data (RFC 8656 §9)."""
