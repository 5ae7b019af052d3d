"""What trusted proxies say of a request in its headers: ``Forwarded`` (RFC 7239), ``X-Forwarded-For`` and its like.

Each proxy adds to the right what it has seen, and anything further left may have been written by the client. So lists
are read from the right: past the addresses of trusted proxies, up to the first other one, which is the client's. Where
that entry is no address (``unknown``, a hidden identifier, garbage), the client is not known, and the last proxy stands
for it.

Most proxies set the one kind of header and pass the other on as the client has sent it. So if a request has both, and
they differ, neither is believed.
"""

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from stun.address import Address
from turnserver.proxies import Networks

__all__ = ["Headers", "Told", "is_forwarded", "read_told"]

MAX_VALUE: Final = 4096
"""Characters of a field that are looked at: of a longer list, its end; of a longer ``Forwarded``, nothing."""

MAX_HOPS: Final = 32
"""Entries of a list that are looked at: more proxies than are ever between a client and its server."""

_FOR: Final = "X-Forwarded-For"
_X: Final = (_FOR, "X-Forwarded-Proto", "X-Forwarded-Host", "X-Forwarded-Port")
_FORWARDED: Final = "Forwarded"

_NAME: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PART: Final = re.compile(
    rf"[ \t]*(?:({_NAME})=(?:([]\[:!#$%&'*+.^_`|~0-9A-Za-z-]+)|\"((?:[^\"\\]|\\.)*)\"))?[ \t]*([;,]|\Z)"
)
"""A pair of ``Forwarded``, or nothing, and what ends it. Many proxies write addresses with ports without quotes."""
_V4: Final = re.compile(r"([0-9.]{7,15})(?::[0-9]{1,5})?")
_V6: Final = re.compile(r"\[([0-9A-Fa-f:.]{2,45})\](?::[0-9]{1,5})?")
_HOST: Final = re.compile(r"(?:\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253})(?::[0-9]{1,5})?")
_PORT: Final = re.compile(r"[0-9]{1,5}")
_SCHEMES: Final[dict[str, Literal["http", "https"]]] = {
    "http": "http",
    "https": "https",
    "ws": "http",
    "wss": "https",  # what Traefik sends for a WebSocket
}


class Headers(Protocol):
    """The headers of a request; names are compared without regard to case."""

    def getall(self, key: str, default: Sequence[str]) -> Sequence[str]:
        """The values of every field of that name, or the default."""

    def __contains__(self, key: object) -> bool:
        """Whether there is a field of that name."""


@dataclass(frozen=True, slots=True)
class Told:
    """What proxies have told: ``client`` is None, the others are empty or 0, where they tell nothing that is believed.

    ``host`` may have a port. ``disputed`` says that two kinds of headers name different clients.
    """

    client: Address | None = None
    scheme: Literal["http", "https", ""] = ""
    host: str = ""
    port: int = 0
    disputed: bool = False


@dataclass(frozen=True, slots=True)
class _Entry:
    """What one proxy tells: ``client`` is the text that names the other end of its connection."""

    client: str = ""
    scheme: str = ""
    host: str = ""


def is_forwarded(headers: Headers) -> bool:
    """Whether a request has any of these headers, whoever wrote them."""
    return _FORWARDED in headers or any(name in headers for name in _X)


def read_told(headers: Headers, proxy: Address, proxies: Networks) -> Told:
    """What the headers tell of a request that has come from ``proxy``, which is one of ``proxies``."""
    has_forwarded, has_x = _FORWARDED in headers, any(name in headers for name in _X)
    if has_forwarded and has_x:
        return _agreed(_by_forwarded(headers, proxy, proxies), _by_x(headers, proxy, proxies))
    if has_forwarded:
        return _by_forwarded(headers, proxy, proxies)
    return _by_x(headers, proxy, proxies) if has_x else Told()


def _agreed(one: Told, other: Told) -> Told:
    """What both say. What only one says is believed if a client's word for it harms only itself: scheme and host."""
    disputed = one.client != other.client
    return Told(
        None if disputed else one.client,
        one.scheme if one.scheme == other.scheme or not other.scheme else "" if one.scheme else other.scheme,
        one.host if one.host == other.host or not other.host else "" if one.host else other.host,
        one.port or other.port,
        disputed,
    )


def _by_forwarded(headers: Headers, proxy: Address, proxies: Networks) -> Told:
    entries = _entries(headers)
    client, hops = _client([entry.client for entry in entries], proxy, proxies)
    told = [entry for entry in entries[: hops + 1] if entry.scheme or entry.host]
    scheme = next((entry.scheme for entry in reversed(told) if entry.scheme), "")
    host = next((entry.host for entry in reversed(told) if entry.host), "")
    return Told(client, _scheme(scheme), _host(host))


def _by_x(headers: Headers, proxy: Address, proxies: Networks) -> Told:
    client, hops = _client(_listed(headers, _FOR), proxy, proxies)
    scheme, host, port = (_at(_listed(headers, name), hops) for name in _X[1:])
    number = int(port) if _PORT.fullmatch(port) else 0
    return Told(client, _scheme(scheme), _host(host), number if number <= 0xFFFF else 0)


def _client(named: Sequence[str], proxy: Address, proxies: Networks) -> tuple[Address | None, int]:
    """The client of a list that begins with the last entry, and the number of trusted proxies before its entry."""
    last: Address | None = None
    for hops, text in enumerate(named):
        found = _address(text)
        if found is None:
            return last, hops
        if found not in proxies:
            return found, hops
        last = found
    return last, max(len(named) - 1, 0)


def _at(values: Sequence[str], hops: int) -> str:
    """What the proxy next to the client tells; proxies may replace a list instead of adding to it."""
    return values[min(hops, len(values) - 1)] if values else ""


def _scheme(text: str) -> Literal["http", "https", ""]:
    return _SCHEMES.get(text.lower(), "")


def _host(text: str) -> str:
    return text if _HOST.fullmatch(text) else ""


def _address(text: str) -> Address | None:
    """An address, with a port or without; None for any other text. Ports of clients change, so they tell nothing."""
    found = _V4.fullmatch(text) or _V6.fullmatch(text)
    try:
        ip = ipaddress.ip_address(found[1] if found else text[:MAX_VALUE] if "%" not in text else "")
    except ValueError:
        return None
    return Address(ip.packed, 0).canonical()


def _listed(headers: Headers, name: str) -> list[str]:
    """The entries of a list without quotes, the last one first; empty ones do not count (RFC 9110 §5.6.1.2)."""
    text = ",".join(headers.getall(name, ())[-MAX_HOPS:])
    if len(text) > MAX_VALUE:
        text = text[-MAX_VALUE:].partition(",")[2]  # the entry that is cut off would be another one
    entries = [entry.strip(" \t") for entry in text.split(",")]
    return [entry for entry in reversed(entries) if entry][:MAX_HOPS]


def _entries(headers: Headers) -> list[_Entry]:
    """The elements of ``Forwarded``, the last one first; a field that cannot be read is one element without a word."""
    found: list[_Entry] = []
    for value in reversed(headers.getall(_FORWARDED, ())[-MAX_HOPS:]):
        found += reversed(_elements(value) if len(value) <= MAX_VALUE else [_Entry()])
        if len(found) >= MAX_HOPS:
            break
    return found[:MAX_HOPS]


def _elements(value: str) -> list[_Entry]:
    """The elements of one field (RFC 7239 §4).

    The syntax is checked to the end before any of it is believed: with an open quotation mark, a client could make a
    proxy's element a part of its own.
    """
    found: list[_Entry] = []
    pairs: dict[str, str] = {}
    at, goes_on = 0, True
    while goes_on:
        part = _PART.match(value, at)
        name = (part[1] or "").lower() if part else ""
        if part is None or name in pairs:
            return [_Entry()]
        if name:
            pairs[name] = part[2] if part[2] is not None else re.sub(r"\\(.)", r"\1", part[3])
        if part[4] != ";":
            found += [_Entry(pairs.get("for", ""), pairs.get("proto", ""), pairs.get("host", ""))] if pairs else []
            pairs = {}
        at, goes_on = part.end(), bool(part[4])
    return found
