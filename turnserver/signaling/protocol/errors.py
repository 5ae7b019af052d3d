"""Error codes of the protocol, close codes, and the exception for refusals."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final, Literal, TypeAlias

from meshturn.root import MeshturnError

__all__ = ["CLOSE_CODES", "CLOSE_NORMAL", "MEANINGS", "Denial", "Reconnect", "SignalCode", "reconnect_of"]

CLOSE_NORMAL: Final = 1000
"""The close code of a session that its client has ended (RFC 6455 §7.4.1)."""


class SignalCode(StrEnum):
    """Codes of `error` and `goodbye` frames; ``docs/signaling.md`` says what a client does about each."""

    BAD_JSON = "bad_json"
    BAD_MESSAGE = "bad_message"
    UNKNOWN_TYPE = "unknown_type"
    TOO_LARGE = "too_large"
    UNSUPPORTED_VERSION = "unsupported_version"
    UNSUPPORTED_MODE = "unsupported_mode"
    AUTH_REQUIRED = "auth_required"
    BAD_TOKEN = "bad_token"  # noqa: S105
    TOKEN_EXPIRED = "token_expired"  # noqa: S105
    TOKEN_NOT_YET = "token_not_yet"  # noqa: S105
    FORBIDDEN = "forbidden"
    BANNED = "banned"
    NO_SUCH_ROOM = "no_such_room"
    NO_SUCH_PEER = "no_such_peer"
    NOT_JOINED = "not_joined"
    ALREADY_JOINED = "already_joined"
    ROOM_FULL = "room_full"
    ROOM_LOCKED = "room_locked"
    WAITING = "waiting"
    SERVER_FULL = "server_full"
    SESSION_GONE = "session_gone"
    RESUME_LOST = "resume_lost"
    REPLACED = "replaced"
    RATE_LIMITED = "rate_limited"
    SLOW_CONSUMER = "slow_consumer"
    KICKED = "kicked"
    ROOM_CLOSED = "room_closed"
    DRAINING = "draining"
    IDLE = "idle"
    INTERNAL = "internal"


MEANINGS: Final[Mapping[SignalCode, tuple[str, str]]] = MappingProxyType(
    {
        SignalCode.BAD_JSON: ("A frame is not JSON.", "Repair the client."),
        SignalCode.BAD_MESSAGE: ("A field of a message is missing or out of bounds.", "Repair the client."),
        SignalCode.UNKNOWN_TYPE: ("The protocol has no such message.", "Update the client, or the server."),
        SignalCode.TOO_LARGE: ("A frame is larger than 65,536 bytes.", "Repair the client."),
        SignalCode.UNSUPPORTED_VERSION: ("The client speaks another version of the protocol.", "Update the client."),
        SignalCode.UNSUPPORTED_MODE: ("The room has another mode than the client asks for.", "Update the client."),
        SignalCode.AUTH_REQUIRED: (
            "The client has shown no token.",
            "Give people the whole link of `meshturn rooms token`, or set `signaling.open`.",
        ),
        SignalCode.BAD_TOKEN: (
            "The token is not signed with a key of this server, or is not one for it; the line says more.",
            "Compare `signaling.key` and `signaling.public_keys` with the key of the program that signs.",
        ),
        SignalCode.TOKEN_EXPIRED: ("The token is over.", "Make another link; `--ttl` says how long it lasts."),
        SignalCode.TOKEN_NOT_YET: ("The token is not valid yet.", "Wait, or compare the clocks of both hosts."),
        SignalCode.FORBIDDEN: ("The token or the role does not allow it.", "Make a token with that role or right."),
        SignalCode.BANNED: ("The person was banned from the room.", "Nothing, if that was meant."),
        SignalCode.NO_SUCH_ROOM: ("Everybody has left while the client waited.", "Nothing."),
        SignalCode.NO_SUCH_PEER: ("The participant that the message is for has gone.", "Nothing."),
        SignalCode.NOT_JOINED: ("The message is for participants of a room.", "Repair the client."),
        SignalCode.ALREADY_JOINED: ("The session is in a room already.", "Repair the client."),
        SignalCode.ROOM_FULL: (
            "The room has as many people as it may have.",
            "See `signaling.room_size`, and `media.room_size` for the SFU.",
        ),
        SignalCode.ROOM_LOCKED: ("The host has locked the room.", "Nothing, if that was meant."),
        SignalCode.WAITING: ("The client knocks, and waits for the host.", "Nothing."),
        SignalCode.SERVER_FULL: (
            "There are as many sessions or rooms as the limits allow.",
            "Raise `signaling.rooms` and the limits beside it, or add a server.",
        ),
        SignalCode.SESSION_GONE: ("The session that the client resumes has ended.", "Nothing. It begins afresh."),
        SignalCode.RESUME_LOST: ("The client has missed more than the server keeps.", "Nothing. It catches up."),
        SignalCode.REPLACED: ("Another socket has taken the session over.", "Nothing."),
        SignalCode.RATE_LIMITED: (
            "The client sends too much, or too many wrong tokens came from its address.",
            "Behind a proxy, set `proxies`, so that each client counts for itself.",
        ),
        SignalCode.SLOW_CONSUMER: ("The client does not read what it is sent.", "Nothing. It resumes."),
        SignalCode.KICKED: ("A host or an administrator has sent the participant away.", "Nothing, if that was meant."),
        SignalCode.ROOM_CLOSED: ("An administrator has closed the room.", "Nothing, if that was meant."),
        SignalCode.DRAINING: ("The server is about to stop.", "Nothing, if that was meant."),
        SignalCode.IDLE: ("The client has connected and said nothing.", "Nothing."),
        SignalCode.INTERNAL: (
            "An error of the server that nobody foresaw.",
            "The log has its cause; please report it.",
        ),
    }
)
"""What each code means, and what an operator can do; ``docs/reasons.md`` is generated from here."""


CLOSE_CODES: Final[Mapping[SignalCode, int]] = MappingProxyType(
    {
        SignalCode.BAD_JSON: 4400,
        SignalCode.BAD_MESSAGE: 4400,
        SignalCode.UNKNOWN_TYPE: 4400,
        SignalCode.TOO_LARGE: 4400,
        SignalCode.AUTH_REQUIRED: 4401,
        SignalCode.BAD_TOKEN: 4401,
        SignalCode.TOKEN_EXPIRED: 4401,
        SignalCode.TOKEN_NOT_YET: 4401,
        SignalCode.FORBIDDEN: 4403,
        SignalCode.BANNED: 4403,
        SignalCode.IDLE: 4408,
        SignalCode.REPLACED: 4409,
        SignalCode.KICKED: 4410,
        SignalCode.ROOM_CLOSED: 4410,
        SignalCode.SLOW_CONSUMER: 4413,
        SignalCode.UNSUPPORTED_VERSION: 4426,
        SignalCode.RATE_LIMITED: 4429,
        SignalCode.INTERNAL: 4500,
        SignalCode.DRAINING: 4503,
        SignalCode.SERVER_FULL: 4503,
    }
)
"""WebSocket close codes, by the error codes that can end a connection."""


Reconnect: TypeAlias = Literal["resume", "fresh", "never"]
"""What a client does after a goodbye: resume its session, open another one, or nothing."""

_RECONNECT: Final[dict[SignalCode, Reconnect]] = {
    SignalCode.SLOW_CONSUMER: "resume",
    SignalCode.DRAINING: "resume",
    SignalCode.INTERNAL: "resume",
    SignalCode.RATE_LIMITED: "resume",
    SignalCode.IDLE: "fresh",
    SignalCode.SERVER_FULL: "fresh",
    SignalCode.BAD_JSON: "fresh",
    SignalCode.BAD_MESSAGE: "fresh",
    SignalCode.UNKNOWN_TYPE: "fresh",
    SignalCode.TOO_LARGE: "fresh",
}


def reconnect_of(code: SignalCode) -> Reconnect:
    """What a client does after a goodbye with that code, unless the goodbye says otherwise."""
    return _RECONNECT.get(code, "never")


class Denial(MeshturnError):
    """A refusal to a client: the only exception that parsing or handling a frame raises.

    ``retry`` is in milliseconds. ``detail`` becomes the error's ``d``. ``fatal`` ends the connection. ``re`` is the id
    of the refused request, and ``n`` the number of a counted message, if they could be read from a malformed frame.
    """

    def __init__(
        self,
        code: SignalCode,
        msg: str,
        *,
        path: str | None = None,
        retry: int | None = None,
        detail: Mapping[str, Any] | None = None,
        fatal: bool = False,
        re: str | None = None,
        n: int | None = None,
    ) -> None:
        super().__init__(msg)
        self.code = code
        self.msg = msg
        self.path = path
        self.retry = retry
        self.detail: dict[str, Any] = dict(detail or {}) | ({"path": path} if path is not None else {})
        self.fatal = fatal
        self.re = re
        self.n = n
