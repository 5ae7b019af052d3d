"""The PROXY protocol, versions 1 and 2: a load balancer sends the client's address first.

This module only parses the header. The caller accepts it only from configured addresses. See "The PROXY protocol,
Versions 1 & 2" by W. Tarreau (haproxy.org, ``proxy-protocol.txt``). Of the extensions of version 2, the one about TLS
is read (§2.2.5): it says whether the client speaks TLS with the proxy.
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

_TYPE_SSL: Final = 0x20
_CLIENT_SSL: Final = 0x01
_TLV_HEAD: Final = 3


class ProxyError(MeshturnError):
    """The bytes are not a PROXY header."""


class NoHeader(ProxyError):
    """The bytes begin something else, which is served where a header is optional."""


class ProxyHeader(NamedTuple):
    """``size`` bytes of header; ``client`` is None when the proxy speaks for itself (LOCAL, UNKNOWN).

    ``port`` is the one that the client has connected to, 0 if that is not said. ``secure`` is whether the client speaks
    TLS with the proxy.
    """

    size: int
    client: Address | None
    port: int = 0
    secure: bool = False


def read_header(data: bytes) -> ProxyHeader | None:
    """The header that ``data`` begins with; None while it is incomplete. Raises `ProxyError` at the first bad byte.

    `NoHeader` means that the bytes are the beginning of something else, which is served if the header is optional.
    Never needs more than 2,064 bytes. Families that TURN cannot use (UNIX sockets, datagrams) count as unknown.
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
    source, target = _text_address(words[2], words[4], family), _text_address(words[3], words[5], family)
    return ProxyHeader(size, source.canonical(), target.port)


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
    end = _V2_FIXED + length
    if not address_size:
        return ProxyHeader(end, None)
    ports_at = _V2_FIXED + 2 * address_size
    source, target = (data[at] << 8 | data[at + 1] for at in (ports_at, ports_at + 2))
    client = Address(data[_V2_FIXED : _V2_FIXED + address_size], source).canonical()
    return ProxyHeader(end, client, target, _is_secure(data[ports_at + 4 : end]))


def _is_secure(extensions: bytes) -> bool:
    """Whether an extension of type PP2_TYPE_SSL says that the client has connected over TLS (§2.2.5).

    Raises `ProxyError` for extensions that end too early.
    """
    at, secure = 0, False
    while at < len(extensions):
        head = extensions[at : at + _TLV_HEAD]
        at += _TLV_HEAD
        size = int.from_bytes(head[1:], "big")
        if len(head) < _TLV_HEAD or at + size > len(extensions):
            raise ProxyError("version 2: an extension does not end")
        if head[0] == _TYPE_SSL and size:
            secure = bool(extensions[at] & _CLIENT_SSL)
        at += size
    return secure
