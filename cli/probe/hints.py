"""The meaning of a server's error codes for users whose call fails: one sentence and one hint each."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from stun.constants import ErrorCode, Method
from turnserver.text import one_line

__all__ = ["Advice", "advise"]


class Advice(NamedTuple):
    """A sentence that says what happened and a hint that says what to do."""

    sentence: str
    hint: str


_PADDING = "\x00 "
"""Some servers include padding in the length of the reason phrase."""

_GENERAL: Mapping[int, Advice] = MappingProxyType(
    {
        ErrorCode.TRY_ALTERNATE: Advice(
            "The server sends clients to another server.", "Probe the server that it names instead."
        ),
        ErrorCode.BAD_REQUEST: Advice(
            "The server says the request is malformed.",
            "It may not be a TURN server, or a very old one. Its log may say what is missing.",
        ),
        ErrorCode.UNAUTHENTICATED: Advice(
            "The server does not accept the user name and password.",
            "Check both, and the realm. A time-limited credential may have expired, or been made with another secret.",
        ),
        ErrorCode.FORBIDDEN: Advice(
            "The server forbids the request.", "Check its rules for this user, and for client and peer addresses."
        ),
        ErrorCode.UNKNOWN_ATTRIBUTE: Advice(
            "The server does not know an attribute of the request.", "It may be an old one, or no TURN server."
        ),
        ErrorCode.ALLOCATION_MISMATCH: Advice(
            "The server says this client's allocation is not in the state the request needs.",
            "A device on the path may map several clients to one port, or the allocation has just expired.",
        ),
        ErrorCode.STALE_NONCE: Advice(
            "The server rejects a new nonce as stale.",
            "Its nodes may not share their nonce keys, or a NAT with several addresses changes this client's address.",
        ),
        ErrorCode.ADDRESS_FAMILY_NOT_SUPPORTED: Advice(
            "The server has no relay address of that family.", "Ask for the other one with --relay-family."
        ),
        ErrorCode.WRONG_CREDENTIALS: Advice(
            "The allocation belongs to another user.",
            "A device on the path may map several clients to one port.",
        ),
        ErrorCode.UNSUPPORTED_TRANSPORT_PROTOCOL: Advice(
            "The server does not relay UDP.", "Check its configuration: calls need UDP relaying."
        ),
        ErrorCode.PEER_ADDRESS_FAMILY_MISMATCH: Advice(
            "The peer's address is not of the family of the relayed address.",
            "Ask for the other one with --relay-family.",
        ),
        ErrorCode.ALLOCATION_QUOTA_REACHED: Advice(
            "This user has as many allocations as the server allows.",
            "The probe needs two at once: wait until old ones expire (10 minutes), or raise the quota.",
        ),
        ErrorCode.SERVER_ERROR: Advice("The server failed.", "Its log should say why."),
        ErrorCode.INSUFFICIENT_CAPACITY: Advice(
            "The server has no relay port left, or cannot open one.",
            "Check its relay addresses, its port range and its limit of open files.",
        ),
    }
)

_PEER_FORBIDDEN = Advice(
    "The server forbids relaying to its own relayed address.",
    "Two clients behind it could not reach each other; allow its relay addresses in its peer rules "
    "(coturn: --allow-loopback-peers, --allowed-peer-ip).",
)


def advise(method: Method, code: int, reason: str) -> Advice:
    """The meaning of an error answer; the server's reason phrase is quoted without control characters."""
    if code == ErrorCode.FORBIDDEN and method in (Method.CREATE_PERMISSION, Method.CHANNEL_BIND):
        advice = _PEER_FORBIDDEN
    else:
        advice = _GENERAL.get(code, Advice("The server refused.", "Its log should say why."))
    words = f"{code} {one_line(reason.rstrip(_PADDING), 80)}".strip() if code else "an error without a code"
    return Advice(f"{advice.sentence[:-1]} ({words}).", advice.hint)
