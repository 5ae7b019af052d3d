"""Numbers of the protocols: methods, classes, error codes, address families, transport protocols, channels."""

from stun.constants import (
    CHANNEL_MAX,
    CHANNEL_MAX_RFC5766,
    CHANNEL_MIN,
    FINGERPRINT_XOR,
    HEADER_LENGTH,
    MAGIC_COOKIE,
    MAX_LENGTH,
    TRANSACTION_ID_LENGTH,
    AddressFamily,
    ErrorCode,
    MessageClass,
    Method,
    PasswordAlgorithm,
    TransportProtocol,
)

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
