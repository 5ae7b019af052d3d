"""The WebSocket edge of signaling: ``GET /v1/ws`` on aiohttp, one handler per socket. The hub makes all decisions.

Each socket has one reader, which passes every text frame to the `Inlet`, and one writer, which takes the next frame
only when the connection has accepted the previous one. Frames for a participant that does not read therefore wait in
the hub's queue, where they are bounded and coalesced, and not in a buffer of the transport. The reader goes on when the
writer has failed, and until the client has answered our Close: a ``bye`` that has arrived counts.
"""

import asyncio
import contextlib
import json
import logging
import struct
from collections.abc import Callable, Collection
from typing import Final, Protocol

from aiohttp import WSMsgType, web

from stun.address import Address
from turnserver.lines import Lines
from turnserver.reached import Reached
from turnserver.signaling.edge.origins import doorway_of, is_named, is_same_origin, reached_by
from turnserver.signaling.edge.refusals import ApiCode
from turnserver.signaling.rooms.settings import Doorway
from turnserver.throttle import Bucket

__all__ = ["PROTOCOL", "Inlet", "WebSockets"]

PROTOCOL: Final = "signal.v1.json"
"""The WebSocket subprotocol; a client that does not offer it is refused before the upgrade."""

MAX_FRAME: Final = 128 * 1024
"""Maximum size in bytes of a message that is read. The protocol's own limit is half of that, and exceeding it gets an
error frame. A message above this limit is not stored, and its socket is closed with 1009 (RFC 6455 §7.4.1)."""

WRITE_AHEAD: Final = 16 * 1024
"""Bytes in the transport's buffer above which no further frame is taken."""

CLOSE_TIMEOUT: Final = 2.0
"""Seconds for a client to receive the last frames and to answer a Close; then the connection is aborted."""

FRAME_RATE: Final = 60.0
FRAME_BURST: Final = 300.0
"""Messages that are read from one client: per second, and in a burst. Both exceed the protocol's limits, so that the
hub can answer with an error. Reading from a faster client is delayed, so that refusals do not keep the server busy."""

CONTROL_RATE: Final = 5.0
CONTROL_BURST: Final = 60.0
"""Pings and pongs that one client may send, per second and in a burst: each costs an answer or a wake-up."""

TURN: Final = 32
"""Messages read from one socket before the other sockets are served."""

_RATE_LIMITED: Final = 4429

_CLOSE_CODE: Final = struct.Struct("!H")
_MAX_REASON: Final = 123
"""Bytes of the reason in a Close (RFC 6455 §5.5)."""

_REFUSED_HINT: Final = "a proxy has to pass the Host header on; other pages belong into signaling.origins"

_logger = logging.getLogger("meshturn.signaling")


class Inlet(Protocol):
    """The receiver of socket events and messages, and the source of the frames to send."""

    def opened(self, cid: int, address: str, doorway: Doorway) -> None:
        """A socket is open: ``address`` is the client's IP address, ``doorway`` the way by which it has come."""

    def text(self, cid: int, frame: str) -> None:
        """One text message."""

    def binary(self, cid: int) -> None:
        """One binary message; the protocol has none."""

    def closed(self, cid: int) -> None:
        """The socket has closed; called once."""

    def take(self, cid: int) -> str | None:
        """The next frame for that socket; None if no frame waits."""

    def fault(self, cid: int, error: BaseException) -> None:
        """An unexpected exception while that socket was read; it is closed."""


class WebSockets:
    """All sockets of a process.

    ``origins`` are the web origins that may connect in addition to the server's own (``*``: any). A client without
    ``Origin`` is not a browser, and may connect. A silent client is pinged every ``heartbeat`` seconds; it is
    disconnected if nothing arrives for half of that time. Both may be replaced, with effect on later sockets.
    """

    def __init__(self, inlet: Inlet, origins: Collection[str] = (), *, heartbeat: float) -> None:
        self._inlet = inlet
        self.heartbeat = heartbeat
        self._lines = Lines(_logger)
        self._last_cid = 0
        self._sockets: dict[int, _Socket] = {}
        self._emptied = asyncio.Event()
        self._emptied.set()
        self.origins = frozenset(origins)
        self.draining = False
        """While set, new clients are refused with 503."""

    @property
    def sockets(self) -> int:
        """Number of open sockets."""
        return len(self._sockets)

    def wake(self, cid: int) -> None:
        """There are frames for that socket."""
        if (socket := self._sockets.get(cid)) is not None:
            socket.wake()

    def close(self, cid: int, code: int, reason: str) -> None:
        """Close that socket once its waiting frames have been sent, or after `CLOSE_TIMEOUT`."""
        if (socket := self._sockets.get(cid)) is not None:
            socket.end(code, reason)

    def keep(self, cid: int, on: bool) -> None:
        """Whether that socket must be kept when connections are closed to make room for others."""
        if (socket := self._sockets.get(cid)) is not None:
            socket.keep(on)

    async def wait_closed(self, patience: float) -> None:
        """Wait until all sockets are closed; abort those that are still open after ``patience`` seconds."""
        try:
            await asyncio.wait_for(self._emptied.wait(), patience)
        except TimeoutError:
            for socket in self._sockets.values():
                socket.abort()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """The handler of ``/v1/ws``."""
        refusal = self._refusal(request)
        if refusal is not None:
            return refusal
        if not _counted(request):
            return _error(ApiCode.TOO_MANY_CONNECTIONS, "too many connections from your address", {"Retry-After": "10"})
        websocket = web.WebSocketResponse(
            timeout=CLOSE_TIMEOUT,
            autoping=False,
            heartbeat=self.heartbeat,
            protocols=(PROTOCOL,),
            autoclose=False,
            compress=False,
            max_msg_size=MAX_FRAME,
            writer_limit=1,  # sending a frame waits until the transport's buffer is below its limit
        )
        await websocket.prepare(request)
        transport = request.transport
        if transport is None:
            return websocket
        transport.set_write_buffer_limits(high=WRITE_AHEAD)
        self._last_cid += 1
        socket = _Socket(self._last_cid, websocket, transport, self._inlet)
        self._sockets[socket.cid] = socket
        self._emptied.clear()
        try:
            await socket.serve(reached_by(request).client, doorway_of(request))
        finally:
            del self._sockets[socket.cid]
            if not self._sockets:
                self._emptied.set()
        return websocket

    def _refusal(self, request: web.Request) -> web.Response | None:
        """The response that refuses the upgrade; None if it is allowed."""
        headers = request.headers
        if headers.get("Upgrade", "").strip().lower() != "websocket":
            upgrade = {"Upgrade": "websocket", "Connection": "Upgrade"}
            return _error(ApiCode.UPGRADE_REQUIRED, "this is a WebSocket endpoint", upgrade)
        origin = headers.get("Origin")
        reached = reached_by(request)
        if origin is not None and not self._may(origin, reached):
            found = {"origin": origin, "scheme": reached.scheme, "host": reached.host}
            fields = {**found, "cause": str(ApiCode.FORBIDDEN), "hint": _REFUSED_HINT}
            self._lines.write(logging.INFO, "origin refused", fields, reached.client)
            return _error(
                ApiCode.FORBIDDEN,
                "pages of this origin may not connect here: the server's signaling.origins names none",
            )
        offered = [name.strip() for line in headers.getall("Sec-WebSocket-Protocol", []) for name in line.split(",")]
        if PROTOCOL not in offered:
            return _error(ApiCode.UNSUPPORTED_VERSION, f"offer the WebSocket subprotocol {PROTOCOL}")
        if self.draining:
            return _error(ApiCode.DRAINING, "the server is about to stop", {"Retry-After": "1"})
        return None

    def _may(self, origin: str, reached: Reached) -> bool:
        if "*" in self.origins or is_named(origin, self.origins):
            return True
        return is_same_origin(origin, reached.scheme, reached.host, reached.ports)


class _Socket:
    """One WebSocket from its first frame to its last."""

    def __init__(self, cid: int, websocket: web.WebSocketResponse, transport: asyncio.Transport, inlet: Inlet) -> None:
        self.cid = cid
        self._websocket = websocket
        self._transport = transport
        self._inlet = inlet
        self._loop = asyncio.get_running_loop()
        self._woken = asyncio.Event()
        self._ending: tuple[int, str] | None = None
        self._cut: asyncio.TimerHandle | None = None
        self._lost = False
        """Whether the connection has ended: what is left to read has been received already."""
        self._frames = Bucket(FRAME_RATE, FRAME_BURST, self._loop.time())
        self._control = Bucket(CONTROL_RATE, CONTROL_BURST, self._loop.time())
        self._hold: Callable[[bool], None] | None = transport.get_extra_info("hold")
        self._kept: bool | None = None
        self.keep(False)

    async def serve(self, address: str, doorway: Doorway) -> None:
        """Read and write until either side ends."""
        self._inlet.opened(self.cid, address, doorway)
        reading = self._loop.create_task(self._read())
        reading.add_done_callback(self._has_read)
        try:
            await self._write(reading)
            await self._close(reading)
        except (ConnectionError, RuntimeError):  # the connection is closed already
            self._lost = True
            await asyncio.wait((reading,), timeout=CLOSE_TIMEOUT)
        finally:
            reading.cancel()
            self._inlet.closed(self.cid)
            if self._cut is not None:
                self._cut.cancel()

    async def _close(self, reading: "asyncio.Task[None]") -> None:
        """Send a Close, and read what the client sends before it answers (RFC 6455 §5.5.1)."""
        code, reason = self._ending or (1000, "")
        message = reason.encode()[:_MAX_REASON]
        if not reading.done():
            await self._websocket.send_frame(_CLOSE_CODE.pack(code) + message, WSMsgType.CLOSE)
            await asyncio.wait((reading,), timeout=CLOSE_TIMEOUT)
            self._transport.close()
        reading.cancel()
        await self._websocket.close(code=code, message=message)

    def wake(self) -> None:
        """Look for frames to send."""
        self._woken.set()

    def keep(self, on: bool) -> None:
        """Whether the connection must be kept when others need its place."""
        if on != self._kept and self._hold is not None:
            self._kept = on
            self._hold(on)

    def end(self, code: int, reason: str) -> None:
        """Send the waiting frames, then a Close, within `CLOSE_TIMEOUT`."""
        if self._ending is None:
            self._ending = code, reason
            self._hurry()

    def abort(self) -> None:
        """Abort the connection."""
        self._transport.abort()

    def _hurry(self) -> None:
        """Limit the time that the writer has left."""
        self._woken.set()
        if self._cut is None:
            self._cut = self._loop.call_later(CLOSE_TIMEOUT, self.abort)

    def _has_read(self, reading: "asyncio.Task[None]") -> None:
        error = None if reading.cancelled() else reading.exception()
        if isinstance(error, Exception) and not isinstance(error, ConnectionError):
            self._inlet.fault(self.cid, error)
        if not reading.cancelled():
            self._hurry()

    async def _read(self) -> None:
        count = 0
        while not self._websocket.closed:
            message = await self._websocket.receive()
            pause = self._frames.spend(self._loop.time())
            if pause > 0 and not self._lost:
                await asyncio.sleep(pause)
            if message.type is WSMsgType.TEXT:
                self._inlet.text(self.cid, message.data)
            elif message.type is WSMsgType.BINARY:
                self._inlet.binary(self.cid)
            elif message.type is WSMsgType.PING or message.type is WSMsgType.PONG:
                if self._control.spend(self._loop.time()) > 0:
                    self.end(_RATE_LIMITED, "too many pings")
                    return
                if message.type is WSMsgType.PING:
                    with contextlib.suppress(ConnectionError):
                        await self._websocket.pong(message.data)
            else:
                return
            count += 1
            if count % TURN == 0:
                await asyncio.sleep(0)

    async def _write(self, reading: "asyncio.Task[None]") -> None:
        while not reading.done():
            self._woken.clear()
            while (frame := self._inlet.take(self.cid)) is not None:
                await self._websocket.send_str(frame)
            if self._ending is not None:
                return
            await self._woken.wait()


def _counted(request: web.Request) -> bool:
    """Count a proxy's connection for its client, whose it is from the upgrade on; False if that has too many."""
    claim = None if request.transport is None else request.transport.get_extra_info("claim")
    client = reached_by(request).client
    return claim is None or not client or bool(claim(Address.parse(client, 0)))


def _error(code: ApiCode, message: str, headers: dict[str, str] | None = None) -> web.Response:
    return web.json_response(
        {"error": {"code": str(code), "msg": message}},
        status=code.status,
        headers={"Cache-Control": "no-store", **(headers or {})},
        dumps=lambda value: json.dumps(value, separators=(",", ":")),
    )
