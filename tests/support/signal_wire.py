"""A participant as a script: one WebSocket, frames as dictionaries, nothing of the server's own code."""

import asyncio
import json
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import aiohttp

__all__ = ["PROTOCOL", "Closed", "Participant", "signaling_listeners"]

PROTOCOL = "signal.v1.json"
PATIENCE = 90.0
"""Seconds until a frame that does not come counts as lost; never waited out in success."""


def signaling_listeners(port: int) -> list[dict[str, Any]]:
    """UDP, and HTTP without TLS, on one port of 127.0.0.1 (and 127.0.0.2, for another client address)."""
    return [
        {"transport": "udp", "address": "127.0.0.1", "port": port},
        {"transport": "shared", "tls": False, "address": "127.0.0.1", "port": port},
    ]


class Closed(Exception):
    """The server has closed the socket."""

    def __init__(self, code: int | None, reason: str | None) -> None:
        self.code = code
        super().__init__(f"closed with {code}: {reason}")


class Participant:
    """One client; a context manager that connects and, at the end, cuts the connection.

    ``source`` is the address to come from. Frames that nobody has asked for yet are kept in order.
    """

    def __init__(self, url: str, *, source: str | None = None, headers: dict[str, str] | None = None, **options: Any):
        self.url = url
        self.welcome: dict[str, Any] = {}
        self.session: dict[str, Any] = {}
        self.joined: dict[str, Any] = {}
        self._options = {"protocols": (PROTOCOL,), "headers": headers or {}, **options}
        self._source = None if source is None else (source, 0)
        self._kept: list[dict[str, Any]] = []
        self._count = 0
        self._n = 0

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession(connector=aiohttp.TCPConnector(local_addr=self._source, limit=0))
        try:
            self.socket = await self._http.ws_connect(self.url, max_msg_size=0, **self._options)
        except BaseException:
            await self._http.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not self.socket.closed and self.socket._response.connection is not None:
            transport = self.socket._response.connection.transport
            if transport is not None:
                transport.abort()
        await self._http.close()

    @property
    def id(self) -> str:
        """The peer id that the server has given."""
        return str(self.session["you"]["id"])

    async def send(self, **frame: Any) -> None:
        """Send one frame; ``n`` counts by itself on those that are counted."""
        if frame["t"] in {"desc", "cand", "reset", "restart", "update", "mod", "msg"} and "n" not in frame:
            self._n += 1
            frame["n"] = self._n
        await self.socket.send_str(json.dumps(frame))

    async def receive(self) -> dict[str, Any]:
        """The next frame from the wire. Raises `Closed`."""
        async with asyncio.timeout(PATIENCE):  # its own would begin anew with every ping
            message = await self.socket.receive()
        if message.type is aiohttp.WSMsgType.TEXT:
            found = json.loads(message.data)
            assert isinstance(found, dict)
            return found
        reason = message.extra if isinstance(message.extra, str) else None
        raise Closed(message.data if message.type is aiohttp.WSMsgType.CLOSE else self.socket.close_code, reason)

    async def until(self, fits: str | Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The first frame of a type, or that fits; others stay for later."""
        test = (lambda frame: frame["t"] == fits) if isinstance(fits, str) else fits
        for index, frame in enumerate(self._kept):
            if test(frame):
                return self._kept.pop(index)
        while not test(frame := await self.receive()):
            self._kept.append(frame)
        return frame

    async def closed(self) -> Closed:
        """Read until the server closes."""
        async with asyncio.timeout(PATIENCE):
            try:
                while True:
                    self._kept.append(await self.receive())
            except Closed as end:
                return end

    @property
    def kept(self) -> list[dict[str, Any]]:
        """Frames that have come and were not asked for."""
        return self._kept

    async def request(self, **frame: Any) -> dict[str, Any]:
        """Send a frame with an id; the answer to it, an error too."""
        self._count += 1
        id_ = f"r{self._count}"
        await self.send(id=id_, **frame)
        return await self.until(lambda found: found.get("re") == id_)

    async def hello(self, token: str | None = None, **more: Any) -> dict[str, Any]:
        """Take the welcome, say hello."""
        self.welcome = await self.until("welcome")
        said = {"v": 1, "client": {"name": "test", "ver": "1"}, **more}
        if token is not None:
            said["token"] = token
        self.session = await self.request(t="hello", **said)
        return self.session

    async def join(self, room: str, name: str = "somebody") -> dict[str, Any]:
        """Say hello if need be, and join."""
        if not self.session:
            await self.hello()
        self.joined = await self.request(t="join", room=room, name=name, media={"a": 1, "v": 1, "s": 0})
        return self.joined
