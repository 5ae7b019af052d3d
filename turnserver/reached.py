"""How a client has reached the HTTP server: what handlers may believe, whether a proxy is in front or not."""

from typing import Final, NamedTuple

from aiohttp import web

__all__ = ["REACHED", "Reached"]


class Reached(NamedTuple):
    """How a client has reached this server.

    ``client`` is its IP address, empty once its connection has ended. ``scheme`` is ``http`` or ``https``. ``host`` is
    the host that it used, with a port unless it is the scheme's own, as the client or a trusted proxy wrote it; it may
    be empty, and is checked by whoever uses it. ``ports`` are others that may be meant, because proxies leave them out.
    ``local_port`` is the port of the listener, and ``proxied`` says that a trusted proxy is in front of it.
    """

    client: str
    scheme: str
    host: str
    ports: tuple[int, ...] = ()
    local_port: int = 0
    proxied: bool = False


REACHED: Final = web.RequestKey("reached", Reached)
"""Where a request has it."""
