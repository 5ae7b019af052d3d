"""The PROXY protocol, versions 1 and 2: a load balancer sends the client's address first.

This module only parses the header. The caller accepts it only from configured addresses. See "The PROXY protocol,
Versions 1 & 2" by W. Tarreau (haproxy.org, ``proxy-protocol.txt``).
"""

import ipaddress
from typing import Final, NamedTuple

from meshturn.root import MeshturnError
from stun.address import Address

__all__ = ["NoHeader", "ProxyError", "ProxyHeader", "begins_header", "read_header"]

_SIGNATURE: Final = b"\r\n\r\n\0\r\nQUIT\n"
_V1_MARK: Final = b"PROXY "
_V1_MAX: Final = 107
"""Bytes of the longest line of version 1, CRLF included (§2.1)."""

_V2_FIXED: Final = 16
_V2_MAX: Final = 2048
"""Bytes that may follow the fixed part of version 2: an address and any extensions (TLVs) that proxies really send."""

_LOCAL: Final = 0x20
_PROXY: Final = 0x21
_TCP_SIZES: Final = {0x11: 4, 0x21: 16}
"""Bytes per address, by the octet for family and protocol: TCP over IPv4 and over IPv6."""


class ProxyError(MeshturnError):
    """The bytes are not a PROXY header."""


class NoHeader(ProxyError):
    """The bytes do not even begin like one."""


class ProxyHeader(NamedTuple):
    """``size`` bytes of header; ``client`` is None when the proxy speaks for itself (LOCAL, UNKNOWN)."""

    size: int
    client: Address | None


def read_header(data: bytes) -> ProxyHeader | None:
    """The header that ``data`` begins with; None while it is incomplete. Raises `ProxyError` at the first bad byte.

    Never needs more than 2,064 bytes. Families that TURN cannot use (UNIX sockets, datagrams) count as unknown, and
    extensions are skipped.
    """
    if data.startswith(_SIGNATURE):
        return _version_2(data)
    if data.startswith(_V1_MARK):
        return _version_1(data)
    if _SIGNATURE.startswith(data) or _V1_MARK.startswith(data):
        return None
    raise NoHeader("no PROXY header")


def begins_header(data: bytes) -> bool:
    """Whether the first bytes of a connection begin like a header, which proxies send in one piece."""
    return data.startswith((_SIGNATURE, _V1_MARK))


def _version_1(data: bytes) -> ProxyHeader | None:
    line, end, _ = data[:_V1_MAX].partition(b"\r\n")
    if not end:
        if len(data) >= _V1_MAX:
            raise ProxyError("version 1: the line does not end")
        return None
    size = len(line) + len(end)
    words = line.split(b" ")
    if words[1] == b"UNKNOWN":
        return ProxyHeader(size, None)
    if len(words) != 6 or words[1] not in {b"TCP4", b"TCP6"}:
        raise ProxyError("version 1: not 'PROXY TCP4|TCP6 SOURCE DESTINATION PORT PORT'")
    family = 4 if words[1] == b"TCP4" else 6
    source, _ = _text_address(words[2], words[4], family), _text_address(words[3], words[5], family)
    return ProxyHeader(size, source.canonical())


def _text_address(host: bytes, port: bytes, version: int) -> Address:
    try:
        ip = ipaddress.ip_address(host.decode("ascii"))
        number = int(port) if port.isdigit() and len(port) <= 5 and (port == b"0" or port[0] != 0x30) else -1
    except ValueError as error:
        raise ProxyError("version 1: not an address") from error
    if ip.version != version or not 0 <= number <= 0xFFFF or b"%" in host:
        raise ProxyError("version 1: not an address of its family, or not a port")
    return Address(ip.packed, number)


def _version_2(data: bytes) -> ProxyHeader | None:
    if len(data) > 12 and data[12] not in {_LOCAL, _PROXY}:
        raise ProxyError("version 2: neither LOCAL nor PROXY")
    if len(data) < _V2_FIXED:
        return None
    length = data[14] << 8 | data[15]
    if length > _V2_MAX:
        raise ProxyError(f"version 2: more than {_V2_MAX} bytes")
    address_size = _TCP_SIZES.get(data[13], 0) if data[12] == _PROXY else 0
    if length < 2 * address_size + (4 if address_size else 0):
        raise ProxyError("version 2: too short for its addresses")
    if len(data) < _V2_FIXED + length:
        return None
    if not address_size:
        return ProxyHeader(_V2_FIXED + length, None)
    port_at = _V2_FIXED + 2 * address_size
    port = data[port_at] << 8 | data[port_at + 1]
    return ProxyHeader(_V2_FIXED + length, Address(data[_V2_FIXED : _V2_FIXED + address_size], port).canonical())
