"""``GET /metrics``: a snapshot as text, for those who may have it.

The snapshot is taken in the event loop, and is made to be cheap; the text is made in a thread. Requests wait for one
another, so however many there are, they take a small share of the loop's time.
"""

import asyncio
from collections.abc import Callable, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Final

from aiohttp import web

from turnserver.snapshot import Snapshot

__all__ = ["Metrics"]

PAUSE: Final = 0.1
"""Seconds between the end of one scrape and the beginning of the next; Prometheus comes every few seconds."""

_LOCAL_NAMES: Final = frozenset({"localhost", "localhost."})
_HEADERS: Final = {"Cache-Control": "no-store"}


class Metrics:
    """The handler; ``take`` makes a cheap snapshot. Clients outside of ``allow`` get 403, unless that is empty."""

    def __init__(self, take: Callable[[], Snapshot], *, allow: Sequence[IPv4Network | IPv6Network] = ()) -> None:
        self._take = take
        self._allow = tuple(allow)
        self._turn = asyncio.Lock()
        self._local = False
        self._not_before = 0.0

    def mount(self, app: web.Application, *, local: bool) -> None:
        """Add the route to a listener of its own, before its application starts; ``local`` if it is on this host only.

        Such a listener is for programs of this host. A web page in one of its browsers may reach it as well, under a
        name of its own that leads to it (DNS rebinding), and gets 403.
        """
        self._local = local
        app.router.add_get("/metrics", self._guarded)

    async def answer(self, request: web.Request) -> web.Response:
        """The metrics, in the format that the request prefers; who may have them is the caller's to decide."""
        from turnserver.telemetry.exposition import exposed  # noqa: PLC0415  a server that nobody asks needs none of it

        loop = asyncio.get_running_loop()
        async with self._turn:
            await asyncio.sleep(max(self._not_before - loop.time(), 0.0))
            snapshot = self._take()
            accept = request.headers.get("Accept", "")
            text, content_type = await asyncio.to_thread(exposed, snapshot, accept)
            self._not_before = loop.time() + PAUSE
        return web.Response(body=text, headers={"Content-Type": content_type, **_HEADERS})

    async def _guarded(self, request: web.Request) -> web.Response:
        client = ip_address((request.remote or "0.0.0.0").partition("%")[0])
        if self._allow and not any(client in network for network in self._allow):
            return _refusal("this address is not in metrics.allow")
        if self._local and not _is_local(request.headers.get("Host")):
            return _refusal("this listener is for programs on its own host, which ask for an address or localhost")
        return await self.answer(request)


def _refusal(why: str) -> web.Response:
    return web.Response(status=403, text=f"{why}\n", headers=_HEADERS)


def _is_local(host: str | None) -> bool:
    """Whether a Host header names an address or ``localhost``: no page of another site has such an origin.

    Browsers always send one.
    """
    if host is None:
        return True
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    if name.lower() in _LOCAL_NAMES:
        return True
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
