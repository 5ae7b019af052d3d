"""Hosts and origins as clients write them: which of them are this server's, and which are the same.

A host is the same with a dot at its end, in capitals, and with the port that its scheme has anyway.
"""

import ipaddress
import re
from collections.abc import Collection
from typing import Final

from aiohttp import web

from turnserver.reached import REACHED, Reached
from turnserver.signaling.rooms.settings import Doorway

__all__ = ["doorway_of", "host_of", "is_named", "is_same_origin", "reached_by"]

_HOST: Final = re.compile(r"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253})(?::([0-9]{1,5}))?")
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


def reached_by(request: web.Request) -> Reached:
    """How a client has reached this server, as the HTTP server has found out, or as the request itself says."""
    if REACHED in request:
        return request[REACHED]
    sockname = None if request.transport is None else request.transport.get_extra_info("sockname")
    port = sockname[1] if sockname else 0
    return Reached(request.remote or "", request.scheme, request.headers.get("Host", ""), local_port=port)


def doorway_of(request: web.Request) -> Doorway:
    """The host and the port by which a client knows this server, for the URLs that it is given."""
    reached = reached_by(request)
    host = host_of(reached.host)
    if host is None or (reached.proxied and _is_loopback(host) and not _is_loopback(reached.client)):
        # What a proxy calls us is nothing to its clients.
        own = None if reached.proxied or request.transport is None else request.transport.get_extra_info("sockname")
        host = _address(own[0].partition("%")[0]) or "" if own else ""
        return Doorway(host, reached.local_port if reached.proxied else 0)
    found = _authority(reached.host, reached.scheme)
    is_ours = not reached.proxied and found is not None and found[1] == reached.local_port
    return Doorway(host, 0 if is_ours else reached.local_port)


def host_of(header: str | None) -> str | None:
    """The host that a Host header names, without its port: a name, or an address (IPv6 without brackets).

    None for other text. The client writes this header, and the host is used in the URLs that this client is given.
    """
    found = _HOST.fullmatch(header or "")
    return _host(found[1]) or None if found else None


def is_named(origin: str, origins: Collection[str]) -> bool:
    """Whether ``origins``, as the configuration writes them, has an origin."""
    scheme, separator, host = origin.lower().partition("://")
    if not separator:
        return origin.lower() in origins
    found = _authority(host, scheme)
    if found is None:
        return False
    name = f"[{found[0]}]" if ":" in found[0] else found[0]
    port = "" if found[1] in {0, _DEFAULT_PORTS.get(scheme)} else f":{found[1]}"
    return f"{scheme}://{name}{port}" in origins


def is_same_origin(origin: str, scheme: str, host: str, ports: Collection[int] = ()) -> bool:
    """Whether a page of ``origin`` is one of this server's, as this client reached it (RFC 6454 §4).

    A page over HTTPS is even if the request came without TLS: what is in front of the server has ended it. ``ports``
    may stand in place of the one in ``host``.
    """
    its_scheme, _, its_host = origin.lower().partition("://")
    if its_scheme not in {"https", scheme}:
        return False
    theirs, ours = _authority(its_host, its_scheme), _authority(host, its_scheme)
    if theirs is None or ours is None or theirs[0] != ours[0]:
        return False
    return theirs[1] == ours[1] or theirs[1] in ports


def _authority(text: str, scheme: str) -> tuple[str, int] | None:
    """Host and port, 0 for an unknown scheme's own; None for other text."""
    found = _HOST.fullmatch(text)
    host = _host(found[1]) if found else ""
    if found is None or not host:
        return None
    return host, int(found[2]) if found[2] else _DEFAULT_PORTS.get(scheme, 0)


def _host(text: str) -> str:
    """The one way of writing a host: an address without brackets, or a name in lower case without a dot at its end."""
    if text.startswith("["):
        return _address(text[1:-1])
    return _address(text) or text.lower().removesuffix(".")


def _address(text: str) -> str:
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return ""
    return str((found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None) or found)


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    found = _address(host)
    return bool(found) and ipaddress.ip_address(found).is_loopback
