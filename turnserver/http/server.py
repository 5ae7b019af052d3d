"""The HTTP server of a process: one aiohttp application, on which the parts of the server mount their routes.

It has no listener. Stream listeners with a shared port pass it connections whose first bytes are HTTP
(`turnserver.transports.base.HttpGateway`), plain or under TLS.
"""

import asyncio
import logging
from typing import Final

from aiohttp import web
from aiohttp.http import HttpProcessingError
from aiohttp.typedefs import Handler

from stun.address import Address
from turnserver.faults import Faults
from turnserver.http.landing import landing
from turnserver.http.reaching import reach
from turnserver.http.transport import StreamAdapter
from turnserver.lines import Lines
from turnserver.net import from_sockaddr
from turnserver.proxies import Arrival
from turnserver.streams import ByteStream

__all__ = ["HttpServer"]

MAX_BODY: Final = 1024 * 1024
"""Bytes of the largest request body that a handler may read whole; larger ones are answered with 413."""

MAX_LINE: Final = 8190
"""Bytes of the request line, and of each header field."""

MAX_HEADERS: Final = 100

IDLE_TIMEOUT: Final = 30.0
"""Seconds in which the head of a request has to arrive, the first or the next, before the connection is closed."""

BODY_TIMEOUT: Final = 60.0
"""Seconds in which the whole body of a request has to arrive, once a handler waits for it."""

LINGER: Final = 5.0
"""Seconds that an unwanted body may go on for after the answer, so that the client can read the answer."""

SHUTDOWN_TIMEOUT: Final = 2.0
"""Seconds that running requests have to finish when the server stops."""

_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""Sent with every answer, except where a handler says otherwise."""

_SERVER: Final = "meshturn"
"""The Server header, without the names and versions of Python and aiohttp."""

_NOTED: Final = "_meshturn_noted"
"""An attribute of exceptions already recorded as faults, so that aiohttp's line about them is not logged again."""

_logger = logging.getLogger("meshturn.http")
_lines = Lines(_logger)
_aiohttp_logger = _logger.getChild("aiohttp")

_Connection = tuple[ByteStream, bytes, Arrival]


class HttpServer:
    """One application and its connections; see `turnserver.transports.base.HttpGateway`.

    Routes are mounted on ``app`` before `start`, which adds ``/healthz``, ``/readyz`` and, with ``page`` and if ``/``
    has no route, a small page. ``/healthz`` says that the process answers, and nothing more, because anybody may ask.
    ``/readyz`` is for load balancers: it answers 503 after `drain`. An exception in a handler costs its request (500);
    ``faults`` records it.
    """

    def __init__(
        self,
        *,
        page: bool = True,
        body_timeout: float = BODY_TIMEOUT,
        faults: Faults | None = None,
    ) -> None:
        self.app = web.Application(
            middlewares=[reach, _in_use, self._limit_body, self._keep_faults], client_max_size=MAX_BODY
        )
        self.app.on_response_prepare.append(_add_headers)
        self._page = page
        self._body_timeout = body_timeout
        self._faults = Faults() if faults is None else faults
        self._runner: web.AppRunner | None = None
        self._starting: asyncio.Task[None] | None = None
        self._early: list[_Connection] = []
        self._closed = False
        self._draining = False
        self._adapters: set[StreamAdapter] = set()

    @property
    def connections(self) -> int:
        """The current number of connections."""
        return len(self._adapters)

    def start(self) -> None:
        """Begin to serve, inside the running loop; connections accepted earlier wait until the application is ready."""
        taken = {resource.canonical for resource in self.app.router.resources()}
        self.app.router.add_get("/healthz", self._healthz)
        self.app.router.add_get("/readyz", self._readyz)
        if self._page and "/" not in taken:
            self.app.router.add_get("/", landing)
        self._runner = web.AppRunner(
            self.app,
            access_log=None,
            logger=_aiohttp_logger,
            keepalive_timeout=IDLE_TIMEOUT,
            max_line_size=MAX_LINE,
            max_field_size=MAX_LINE,
            max_headers=MAX_HEADERS,
            lingering_time=LINGER,
            shutdown_timeout=SHUTDOWN_TIMEOUT,
        )
        self._starting = asyncio.get_running_loop().create_task(self._set_up(self._runner))

    def drain(self) -> None:
        """Answer 503 at ``/readyz``, so that load balancers send new clients elsewhere; all else goes on."""
        self._draining = True

    def accept(self, stream: ByteStream, first: bytes, arrival: Arrival) -> None:
        """Serve a connection from now on, of which ``first`` has been read already and ``arrival`` is known."""
        if self._starting is not None:
            stream.want_read(False)
            self._early.append((stream, first, arrival))
        else:
            self._serve(stream, first, arrival)

    def close(self) -> None:
        """Close every connection at once, and accept no more; `wait_closed` lets the application clean up."""
        self._closed = True
        if self._starting is not None:
            self._starting.cancel()
            self._starting = None
        for stream, _, _ in self._early:
            stream.close()
        self._early.clear()
        for adapter in list(self._adapters):
            adapter.abort()

    async def wait_closed(self) -> None:
        """Stop: give running requests a moment to finish, and run the application's clean-up."""
        starting = self._starting
        if starting is not None:
            await asyncio.wait((starting,))
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()
        self.close()

    async def _set_up(self, runner: web.AppRunner) -> None:
        try:
            await runner.setup()
        except Exception as error:
            self._faults.note("http", error)
            self._runner = None
        self._starting = None
        early, self._early = self._early, []
        for stream, first, arrival in early:
            try:
                self._serve(stream, first, arrival)
            except Exception as error:
                self._faults.note("http", error, arrival.client)
                stream.close()

    def _serve(self, stream: ByteStream, first: bytes, arrival: Arrival) -> None:
        server = None if self._runner is None else self._runner.server
        if server is None or self._closed or stream.closed:
            stream.close()
            return
        adapter = StreamAdapter(stream, server(), arrival)
        self._adapters.add(adapter)
        stream.on_fault = lambda error: self._faults.note("http", error, arrival.client)
        stream.on_closed.append(lambda: self._adapters.discard(adapter))
        adapter.start(first)

    async def _healthz(self, request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"}, headers={"Cache-Control": "no-store"})

    async def _readyz(self, request: web.Request) -> web.Response:
        status, word = (503, "draining") if self._draining else (200, "ready")
        return web.json_response({"status": word}, status=status, headers={"Cache-Control": "no-store"})

    @web.middleware
    async def _limit_body(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Disconnect a client that does not finish its request in time."""
        if not request.body_exists:
            return await handler(request)
        timer = asyncio.get_running_loop().call_later(self._body_timeout, _end_body, request)
        try:
            return await handler(request)
        finally:
            timer.cancel()

    @web.middleware
    async def _keep_faults(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Record an unexpected exception. aiohttp answers 500, since it knows whether another answer has begun."""
        try:
            return await handler(request)
        except (web.HTTPException, ConnectionError):
            raise
        except Exception as error:
            self._faults.note("http", error, _client_of(request))
            setattr(error, _NOTED, True)
            raise


@web.middleware
async def _in_use(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Keep the connection while the server works on a request: not while it waits for the rest of its body."""
    transport = request.transport
    if not isinstance(transport, StreamAdapter):
        return await handler(request)
    working = True
    request.content.on_eof(lambda: transport.work(working))
    try:
        return await handler(request)
    finally:
        working = False
        transport.work(False)


def _client_of(request: web.BaseRequest) -> Address | None:
    """The client's address, from the PROXY header if there was one; None once the connection has ended."""
    sockaddr = None if request.transport is None else request.transport.get_extra_info("peername")
    return None if not sockaddr else from_sockaddr(sockaddr)


def _end_body(request: web.Request) -> None:
    if not request.content.is_eof() and request.transport is not None:
        request.transport.abort()


def _in_our_words(record: logging.LogRecord) -> bool:
    """Passes aiohttp's log lines to our log at a limited rate, since clients can cause them.

    Malformed HTTP requests are the client's fault, not an error, and are logged for debugging only.
    """
    error = record.exc_info[1] if record.exc_info else None
    client = str(record.args[0]) if isinstance(record.args, tuple) and record.args else ""
    if isinstance(error, HttpProcessingError):
        fields = {"client": client, "reason": type(error).__name__}
        _lines.write(logging.DEBUG, "malformed HTTP request", fields, client)
    elif not getattr(error, _NOTED, False):
        _lines.write(record.levelno, "HTTP server error", {"what": record.getMessage()}, cause=error)
    return False


_aiohttp_logger.addFilter(_in_our_words)


async def _add_headers(request: web.BaseRequest, response: web.StreamResponse) -> None:
    response.headers["Server"] = _SERVER
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
