"""``stun:``/``stuns:`` (RFC 7064) and ``turn:``/``turns:`` (RFC 7065) URIs, read strictly.

Neither RFC has an authority part: there is no ``//``, no user name and no path. The grammar is

    stunURI = ("stun" / "stuns") ":" host [ ":" port ]
    turnURI = ("turn" / "turns") ":" host [ ":" port ] [ "?transport=" transport ]

with ``host`` and ``port`` as in RFC 3986 §3.2.2 and §3.2.3.
"""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Self
from urllib.parse import quote, unquote_to_bytes

from stun.errors import StunError

__all__ = ["DEFAULT_PORTS", "DEFAULT_TRANSPORTS", "InvalidUri", "StunUri"]

DEFAULT_PORTS: Mapping[str, int] = MappingProxyType({"stun": 3478, "stuns": 5349, "turn": 3478, "turns": 5349})
"""The port of each scheme when the URI names none (RFC 7064 §3.2, RFC 7065 §3.2)."""

DEFAULT_TRANSPORTS: Mapping[str, str] = MappingProxyType({"stun": "udp", "stuns": "tcp", "turn": "udp", "turns": "tcp"})
"""The transport first tried for each scheme when the URI names none (RFC 5928 §3)."""

_MAX_LENGTH = 1024
"""Far more than the longest host name (253) with every byte percent-encoded; bounds the work on hostile input."""

_MAX_HOST = 253
"""The longest name the DNS can hold, in text form (RFC 1035 §2.3.4)."""

_SCHEME = re.compile(r"(stuns?|turns?):", re.IGNORECASE | re.ASCII)
_REST = re.compile(r"(?P<host>\[[^\[\]]*\]|[^\[\]:?#/@]*)(?::(?P<port>[^:?#]*))?(?:\?(?P<query>.*))?", re.ASCII)
_REG_NAME = re.compile(r"(?:[A-Za-z0-9\-._~!$&'()*+,;=]|%[0-9A-Fa-f]{2})+", re.ASCII)
_TRANSPORT = re.compile(r"transport=([A-Za-z0-9\-._~]+)", re.IGNORECASE | re.ASCII)
_PORT = re.compile(r"[0-9]{0,16}", re.ASCII)
_NUMERIC = re.compile(r"[0-9.]+", re.ASCII)
_SHARED_DELIMITERS = frozenset("/?#[]@:")


class InvalidUri(StunError, ValueError):
    """The text is not a URI of RFC 7064 or RFC 7065; the message is one sentence for a person."""


@dataclass(frozen=True, slots=True)
class StunUri:
    """Where a STUN or TURN server is, as written in a URI.

    ``host`` is a name (percent-decoded, as written otherwise) or an IP address without brackets. ``transport`` is
    ``"udp"``, ``"tcp"`` or, in lower case, an extension that RFC 7065 leaves room for.
    """

    scheme: str
    host: str
    port: int
    transport: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a URI. Raises `InvalidUri`, and nothing else, for anything outside the grammar."""
        if len(text) > _MAX_LENGTH:
            raise InvalidUri(f"The URI is longer than {_MAX_LENGTH} characters.")
        scheme_match = _SCHEME.match(text)
        if scheme_match is None:
            raise InvalidUri("A STUN or TURN URI begins with stun:, stuns:, turn: or turns:.")
        scheme = scheme_match[1].lower()
        rest = text[scheme_match.end() :]
        if rest.startswith("//"):
            raise InvalidUri(f"A {scheme}: URI has no // after the colon; write {scheme}:HOST.")
        parts = _REST.fullmatch(rest)
        if parts is None:
            raise InvalidUri(f"After {scheme}: comes HOST or HOST:PORT (an IPv6 address in brackets) and nothing else.")
        return cls(scheme, _host(parts["host"]), _port(parts["port"], scheme), _transport(parts["query"], scheme))

    @property
    def secure(self) -> bool:
        """True for ``stuns:`` and ``turns:``: TLS over TCP, or DTLS over UDP."""
        return self.scheme.endswith("s")

    @property
    def protocol(self) -> str:
        """What is spoken with the server: ``"udp"``, ``"tcp"``, ``"tls"`` or ``"dtls"``; an extension as it is."""
        secured = {"udp": "dtls", "tcp": "tls"} if self.secure else {}
        return secured.get(self.transport, self.transport)

    @property
    def is_turn(self) -> bool:
        """True for ``turn:`` and ``turns:``: the server relays; False for a plain STUN server."""
        return self.scheme.startswith("turn")

    def __str__(self) -> str:
        """The URI with its port spelled out and, for TURN, its transport; it parses to an equal value."""
        host = f"[{self.host}]" if ":" in self.host else quote(self.host, safe="!$&'()*+,;=~")
        query = f"?transport={self.transport}" if self.is_turn else ""
        return f"{self.scheme}:{host}:{self.port}{query}"


def _host(text: str) -> str:
    """RFC 3986 §3.2.2 without IPvFuture and zones, which name nothing that could be reached from here."""
    if not text:
        raise InvalidUri("The URI names no host.")
    if text.startswith("["):
        return _ipv6(text[1:-1])
    if not _REG_NAME.fullmatch(text):
        raise InvalidUri("The host holds a character that a URI cannot hold (RFC 3986 §3.2.2).")
    try:
        name = unquote_to_bytes(text).decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidUri("The percent-encoded host is not UTF-8.") from None
    if _NUMERIC.fullmatch(name):
        return _ipv4(name)
    if not all(char.isprintable() and not char.isspace() and char not in _SHARED_DELIMITERS for char in name):
        raise InvalidUri("The percent-encoded host hides a control character, a blank or a delimiter.")
    if len(name) > _MAX_HOST:
        raise InvalidUri(f"The host is longer than {_MAX_HOST} characters.")
    return name


def _ipv4(text: str) -> str:
    """A host of digits and dots is an address or a mistake: resolvers read ``1.2.3`` as 1.2.0.3."""
    try:
        return str(ipaddress.IPv4Address(text))
    except ValueError:
        raise InvalidUri("The host looks like an IPv4 address but is not one.") from None


def _ipv6(text: str) -> str:
    try:
        address = ipaddress.IPv6Address(text)
    except ValueError:
        raise InvalidUri("The text in brackets is not an IPv6 address.") from None
    if address.scope_id is not None:
        raise InvalidUri("An IPv6 address in a URI cannot name a zone (%).")
    return str(address)


def _port(text: str | None, scheme: str) -> int:
    """RFC 3986 §3.2.3: a colon without digits means the default port, as no colon does."""
    if not text:
        return DEFAULT_PORTS[scheme]
    if not _PORT.fullmatch(text) or not 1 <= int(text) <= 65535:
        raise InvalidUri("The port is not a number from 1 to 65535.")
    return int(text)


def _transport(query: str | None, scheme: str) -> str:
    if query is None:
        return DEFAULT_TRANSPORTS[scheme]
    if not scheme.startswith("turn"):
        raise InvalidUri(f"A {scheme}: URI has no query (RFC 7064); only turn: and turns: take ?transport=.")
    match = _TRANSPORT.fullmatch(query)
    if match is None:
        raise InvalidUri("The only query a TURN URI takes is ?transport=udp or ?transport=tcp (RFC 7065 §3.1).")
    return match[1].lower()
