"""The middleware that finds out, once for each request, who the client is and by which scheme and host it came."""

import logging
from ipaddress import ip_address
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler

from turnserver.http.forwarded import Told, is_forwarded, read_told
from turnserver.http.transport import StreamAdapter
from turnserver.lines import Allowance, Lines
from turnserver.reached import REACHED, Reached

__all__ = ["reach"]

_COMPLAINTS: Final = Allowance(burst=1, rate=1 / 60, total_burst=1, total_rate=1 / 60)
"""One line of a kind a minute, since clients can cause them."""

_STANDARD: Final = frozenset((80, 443))
"""Ports that hosts are written without, whichever proxy tells them."""

_logger = logging.getLogger("meshturn.http")
_lines = Lines(_logger, _COMPLAINTS)


@web.middleware
async def reach(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Put `turnserver.reached.Reached` into the request, and its client and scheme where aiohttp has them."""
    transport = request.transport
    if not isinstance(transport, StreamAdapter):
        return await handler(request)
    reached = _reached(request, transport)
    if (reached.client, reached.scheme) != (request.remote, request.scheme):
        request = request.clone(scheme=reached.scheme, remote=reached.client)
    request[REACHED] = reached
    return await handler(request)


def _reached(request: web.Request, transport: StreamAdapter) -> Reached:
    arrival = transport.arrival
    told = Told()
    if arrival.client in arrival.proxies:
        told = read_told(request.headers, arrival.client, arrival.proxies)
        if told.disputed:
            _complain("two headers name different clients, and neither is believed", request, _ONE_KIND)
    elif not arrival.proxied and is_forwarded(request.headers) and not ip_address(arrival.client.ip).is_global:
        _complain("headers of a proxy that is not trusted are ignored", request, _TRUST)
    host = told.host or request.headers.get("Host", "")
    ports = tuple(port for port in (told.port, arrival.port) if port and port not in _STANDARD)
    client = arrival.client if told.client is None else told.client
    scheme = told.scheme or ("https" if arrival.secure else "http")
    return Reached(client.canonical().host, scheme, host, ports, transport.local.port, arrival.proxied)


_ONE_KIND: Final = "have the proxy remove the one it does not write, Forwarded or X-Forwarded-For"
_TRUST: Final = "if this is your proxy, its address belongs into proxies"


def _complain(message: str, request: web.Request, hint: str) -> None:
    _lines.write(logging.WARNING, message, {"proxy": request.remote, "hint": hint})
