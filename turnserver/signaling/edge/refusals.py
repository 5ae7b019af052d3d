"""The codes of the HTTP API's errors, each with its meaning and what to do; ``docs/reasons.md`` is generated from here.

Answers for tokens and rooms have the codes of the protocol (`turnserver.signaling.protocol.errors.SignalCode`).
"""

from enum import StrEnum
from typing import Self

__all__ = ["ApiCode"]


class ApiCode(StrEnum):
    """The ``code`` of an error answer; ``status`` is its HTTP status, ``meaning`` and ``remedy`` are for operators."""

    status: int
    meaning: str
    remedy: str

    def __new__(cls, code: str, status: int, meaning: str, remedy: str) -> Self:
        """One code."""
        member = str.__new__(cls, code)
        member._value_ = code
        member.status = status
        member.meaning = meaning
        member.remedy = remedy
        return member

    UNAUTHORIZED = (
        "unauthorized",
        401,
        "The request has no key and no token.",
        "Send `Authorization: Bearer KEY`. Keys in URLs are not accepted, because URLs are logged.",
    )
    BAD_KEY = (
        "bad_key",
        401,
        "The server has no such key, or it was revoked.",
        "Compare it with `signaling.api_keys` and `signaling.admin_keys`, newline and all; `meshturn keys list` shows "
        "the names of those in `signaling.keys_file`.",
    )
    KEY_EXPIRED = (
        "key_expired",
        401,
        "The key was made for a time that is over.",
        "Make another one: `meshturn keys create`.",
    )
    RATE_LIMITED = (
        "rate_limited",
        429,
        "Too many wrong keys or tokens came from this address; right ones are accepted all the same.",
        "Find out who sends them: `wrong API key` in the log has the address.",
    )
    TOO_MANY_CONNECTIONS = (
        "too_many_connections",
        429,
        "The client has as many connections as `limits.connections_per_address` allows. A proxy is in front of it.",
        "Raise it if many clients are behind one address; see that the proxy tells its clients apart (`proxies`).",
    )
    FORBIDDEN = (
        "forbidden",
        403,
        "The key or token does not give this right, or the page's origin is not allowed.",
        "Use a key with the scope that the message names, or add the origin to `signaling.origins`. A token with "
        "`once` is for joining only.",
    )
    BANNED = (
        "banned",
        403,
        "The holder of the token was banned from its room.",
        "Nothing, if that was meant.",
    )
    NO_TURN = (
        "no_turn",
        503,
        "The server cannot make TURN credentials, because it has no shared secret.",
        "Set `auth.shared_secrets`.",
    )
    NO_KEY = (
        "no_key",
        503,
        "The server cannot sign room tokens, because it has no key for it.",
        "Set `signaling.key` or `auth.shared_secrets`.",
    )
    NO_DRAIN = (
        "no_drain",
        503,
        "The server cannot be drained from here.",
        "Use a signal, or the program that embeds the server.",
    )
    NO_RECORDING = (
        "no_recording",
        409,
        "The room cannot be recorded; the message says why.",
        "Set `media.recordings`, and `signaling.mode` to `auto` or `sfu`.",
    )
    NO_PROBE = (
        "no_probe",
        409,
        "The address that the request comes from is not probed; the message says why.",
        "Ask from a host elsewhere, and have the proxy in front of the server tell its clients' addresses (`proxies`).",
    )
    TOO_MANY_PROBES = (
        "too_many_probes",
        429,
        "More probes are asked for than the server makes, whoever asks.",
        "Ask again after the seconds in `Retry-After`.",
    )
    DRAINING = (
        "draining",
        503,
        "The server is about to stop and takes no new client.",
        "Nothing, if that was meant. Clients come back by themselves.",
    )
    BAD_REQUEST = (
        "bad_request",
        400,
        "A field or parameter is missing, unknown or out of bounds; the message names it.",
        "Repair the program that asks.",
    )
    UNSUPPORTED_VERSION = (
        "unsupported_version",
        400,
        "The WebSocket does not offer this server's subprotocol.",
        "Update the client.",
    )
    UPGRADE_REQUIRED = (
        "upgrade_required",
        426,
        "An ordinary request came to the WebSocket's path.",
        "If it was a WebSocket, a proxy in front drops `Upgrade` and `Connection`: have it pass them on.",
    )
    NOT_FOUND = (
        "not_found",
        404,
        "There is no such room or participant (any more).",
        "Nothing.",
    )
    METHOD_NOT_ALLOWED = (
        "method_not_allowed",
        405,
        "The path has other methods; `Allow` names them.",
        "Repair the program that asks.",
    )
    TOO_LARGE = (
        "too_large",
        413,
        "The body is larger than 16 KiB.",
        "Repair the program that asks.",
    )
