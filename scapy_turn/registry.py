# SPDX-License-Identifier: GPL-2.0-or-later
"""Numbers of the protocols, from the RFCs' IANA sections: methods, classes, attribute types, error codes."""

__all__ = [
    "ADDRESS_FAMILIES",
    "ALGORITHMS",
    "ATTRIBUTES",
    "CLASSES",
    "COOKIE",
    "ERROR",
    "ERRORS",
    "FINGERPRINT_XOR",
    "HEADER_LENGTH",
    "INDICATION",
    "METHODS",
    "REQUEST",
    "SUCCESS",
    "TRANSPORTS",
]

COOKIE = 0x2112A442
"""The magic cookie (RFC 8489 §5). In a message of RFC 3489 these bytes belong to the transaction id."""

FINGERPRINT_XOR = 0x5354554E
"""What FINGERPRINT combines its CRC with (RFC 8489 §14.7)."""

HEADER_LENGTH = 20
"""Bytes before the first attribute."""

REQUEST, INDICATION, SUCCESS, ERROR = range(4)

CLASSES = {REQUEST: "request", INDICATION: "indication", SUCCESS: "success", ERROR: "error"}
"""RFC 8489 §5."""

METHODS = {
    0x001: "Binding",  # RFC 8489 §18.2
    0x002: "SharedSecret",  # RFC 3489 §11.1
    0x003: "Allocate",  # RFC 8656 §17, from here on
    0x004: "Refresh",
    0x006: "Send",
    0x007: "Data",
    0x008: "CreatePermission",
    0x009: "ChannelBind",
    0x00A: "Connect",  # RFC 6062 §6.1, from here on
    0x00B: "ConnectionBind",
    0x00C: "ConnectionAttempt",
}

ATTRIBUTES = {
    0x0001: "MAPPED-ADDRESS",
    0x0002: "RESPONSE-ADDRESS",
    0x0003: "CHANGE-REQUEST",
    0x0004: "SOURCE-ADDRESS",
    0x0005: "CHANGED-ADDRESS",
    0x0006: "USERNAME",
    0x0007: "PASSWORD",
    0x0008: "MESSAGE-INTEGRITY",
    0x0009: "ERROR-CODE",
    0x000A: "UNKNOWN-ATTRIBUTES",
    0x000B: "REFLECTED-FROM",
    0x000C: "CHANNEL-NUMBER",
    0x000D: "LIFETIME",
    0x0012: "XOR-PEER-ADDRESS",
    0x0013: "DATA",
    0x0014: "REALM",
    0x0015: "NONCE",
    0x0016: "XOR-RELAYED-ADDRESS",
    0x0017: "REQUESTED-ADDRESS-FAMILY",
    0x0018: "EVEN-PORT",
    0x0019: "REQUESTED-TRANSPORT",
    0x001A: "DONT-FRAGMENT",
    0x001B: "ACCESS-TOKEN",
    0x001C: "MESSAGE-INTEGRITY-SHA256",
    0x001D: "PASSWORD-ALGORITHM",
    0x001E: "USERHASH",
    0x0020: "XOR-MAPPED-ADDRESS",
    0x0022: "RESERVATION-TOKEN",
    0x0024: "PRIORITY",
    0x0025: "USE-CANDIDATE",
    0x0026: "PADDING",
    0x0027: "RESPONSE-PORT",
    0x002A: "CONNECTION-ID",
    0x8000: "ADDITIONAL-ADDRESS-FAMILY",
    0x8001: "ADDRESS-ERROR-CODE",
    0x8002: "PASSWORD-ALGORITHMS",
    0x8003: "ALTERNATE-DOMAIN",
    0x8004: "ICMP",
    0x8022: "SOFTWARE",
    0x8023: "ALTERNATE-SERVER",
    0x8028: "FINGERPRINT",
    0x8029: "ICE-CONTROLLED",
    0x802A: "ICE-CONTROLLING",
    0x802B: "RESPONSE-ORIGIN",
    0x802C: "OTHER-ADDRESS",
    0x802E: "THIRD-PARTY-AUTHORIZATION",
    0x8030: "MOBILITY-TICKET",
}
"""Those of RFC 8489, 8656, 6062, 5780, 8016, 7635, 3489 and 8445; the layers name the sections."""

ERRORS = {
    300: "Try Alternate",
    400: "Bad Request",
    401: "Unauthenticated",
    403: "Forbidden",
    405: "Mobility Forbidden",
    420: "Unknown Attribute",
    430: "Stale Credentials",
    431: "Integrity Check Failure",
    432: "Missing Username",
    433: "Use TLS",
    437: "Allocation Mismatch",
    438: "Stale Nonce",
    440: "Address Family not Supported",
    441: "Wrong Credentials",
    442: "Unsupported Transport Protocol",
    443: "Peer Address Family Mismatch",
    446: "Connection Already Exists",
    447: "Connection Timeout or Failure",
    486: "Allocation Quota Reached",
    487: "Role Conflict",
    500: "Server Error",
    508: "Insufficient Capacity",
    600: "Global Failure",
}

ADDRESS_FAMILIES = {1: "IPv4", 2: "IPv6"}

TRANSPORTS = {6: "TCP", 17: "UDP"}

ALGORITHMS = {1: "MD5", 2: "SHA-256"}
"""Password algorithms (RFC 8489 §18.5)."""
