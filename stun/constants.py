"""The numbers of STUN and TURN, each with its RFC."""

from enum import IntEnum
from typing import Final

__all__ = [
    "CHANNEL_MAX",
    "CHANNEL_MAX_RFC5766",
    "CHANNEL_MIN",
    "FINGERPRINT_XOR",
    "HEADER_LENGTH",
    "MAGIC_COOKIE",
    "MAX_LENGTH",
    "TRANSACTION_ID_LENGTH",
    "AddressFamily",
    "ErrorCode",
    "MessageClass",
    "Method",
    "PasswordAlgorithm",
    "TransportProtocol",
]

MAGIC_COOKIE: Final = 0x2112A442
"""RFC 8489 §5."""

HEADER_LENGTH: Final = 20
"""Bytes of a STUN header (RFC 8489 §5)."""

TRANSACTION_ID_LENGTH: Final = 12
"""Bytes of a transaction id (RFC 8489 §5)."""

MAX_LENGTH: Final = 0xFFFC
"""The most that the length field can say, in bytes: it is a multiple of four (RFC 8489 §5)."""

FINGERPRINT_XOR: Final = 0x5354554E
"""RFC 8489 §14.7."""

CHANNEL_MIN: Final = 0x4000
CHANNEL_MAX: Final = 0x4FFF
"""Channel numbers (RFC 8656 §12)."""

CHANNEL_MAX_RFC5766: Final = 0x7FFF
"""The last channel number of RFC 5766 §11; RFC 8656 reserves those above 0x4FFF."""


class Method(IntEnum):
    """STUN methods."""

    BINDING = 0x001  # RFC 8489 §18.2
    ALLOCATE = 0x003  # RFC 8656 §17
    REFRESH = 0x004
    SEND = 0x006
    DATA = 0x007
    CREATE_PERMISSION = 0x008
    CHANNEL_BIND = 0x009
    CONNECT = 0x00A  # RFC 6062 §6.1
    CONNECTION_BIND = 0x00B
    CONNECTION_ATTEMPT = 0x00C


class MessageClass(IntEnum):
    """The two class bits (RFC 8489 §5)."""

    REQUEST = 0
    INDICATION = 1
    SUCCESS = 2
    ERROR = 3


class AddressFamily(IntEnum):
    """Address families (RFC 8489 §14.1)."""

    IPV4 = 1
    IPV6 = 2


class TransportProtocol(IntEnum):
    """IP protocol numbers in REQUESTED-TRANSPORT (RFC 8656 §18.8, RFC 6062 §4.1)."""

    TCP = 6
    UDP = 17


class PasswordAlgorithm(IntEnum):
    """Password algorithms (RFC 8489 §18.5.1)."""

    MD5 = 1
    SHA256 = 2


class ErrorCode(IntEnum):
    """Error codes, with their default reason phrases."""

    TRY_ALTERNATE = 300  # RFC 8489 §14.8
    BAD_REQUEST = 400
    UNAUTHENTICATED = 401
    FORBIDDEN = 403  # RFC 8656 §19
    MOBILITY_FORBIDDEN = 405  # RFC 8016 §3.4
    UNKNOWN_ATTRIBUTE = 420  # RFC 8489 §14.8
    ALLOCATION_MISMATCH = 437  # RFC 8656 §19
    STALE_NONCE = 438  # RFC 8489 §14.8
    ADDRESS_FAMILY_NOT_SUPPORTED = 440  # RFC 8656 §19
    WRONG_CREDENTIALS = 441
    UNSUPPORTED_TRANSPORT_PROTOCOL = 442
    PEER_ADDRESS_FAMILY_MISMATCH = 443
    CONNECTION_ALREADY_EXISTS = 446  # RFC 6062 §6.3
    CONNECTION_TIMEOUT_OR_FAILURE = 447
    ALLOCATION_QUOTA_REACHED = 486  # RFC 8656 §19
    SERVER_ERROR = 500  # RFC 8489 §14.8
    INSUFFICIENT_CAPACITY = 508  # RFC 8656 §19

    @property
    def reason(self) -> str:
        """The default reason phrase."""
        return _REASONS[self]


_REASONS: Final = {
    ErrorCode.TRY_ALTERNATE: "Try Alternate",
    ErrorCode.BAD_REQUEST: "Bad Request",
    ErrorCode.UNAUTHENTICATED: "Unauthenticated",
    ErrorCode.FORBIDDEN: "Forbidden",
    ErrorCode.MOBILITY_FORBIDDEN: "Mobility Forbidden",
    ErrorCode.UNKNOWN_ATTRIBUTE: "Unknown Attribute",
    ErrorCode.ALLOCATION_MISMATCH: "Allocation Mismatch",
    ErrorCode.STALE_NONCE: "Stale Nonce",
    ErrorCode.ADDRESS_FAMILY_NOT_SUPPORTED: "Address Family not Supported",
    ErrorCode.WRONG_CREDENTIALS: "Wrong Credentials",
    ErrorCode.UNSUPPORTED_TRANSPORT_PROTOCOL: "Unsupported Transport Protocol",
    ErrorCode.PEER_ADDRESS_FAMILY_MISMATCH: "Peer Address Family Mismatch",
    ErrorCode.CONNECTION_ALREADY_EXISTS: "Connection Already Exists",
    ErrorCode.CONNECTION_TIMEOUT_OR_FAILURE: "Connection Timeout or Failure",
    ErrorCode.ALLOCATION_QUOTA_REACHED: "Allocation Quota Reached",
    ErrorCode.SERVER_ERROR: "Server Error",
    ErrorCode.INSUFFICIENT_CAPACITY: "Insufficient Capacity",
}
