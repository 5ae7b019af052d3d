"""``meshturn serve`` with routes of a test's own on its shared ports: a blank page and a WebSocket that echoes.

Run as ``python -m tests.support.shared_server FILE``; `SharedServerProcess` does.
"""

import asyncio
import os
import signal
import sys
from pathlib import Path

from aiohttp import WSMsgType, web

from cli.loading import load_config
from tests.support.server import TurnServerProcess
from turnserver.config import Config
from turnserver.log import configure
from turnserver.server import Server

__all__ = ["SharedServerProcess"]

PAGE = "<!doctype html><html lang=en><title>test</title><body><video autoplay playsinline muted></video></body></html>"
POLICY = "default-src 'none'; connect-src 'self'; media-src 'self' blob:"


class SharedServerProcess(TurnServerProcess):
    """The server as a child process, with ``/page`` and the WebSocket ``/echo``."""

    command = (sys.executable, "-m", "tests.support.shared_server")


async def page(request: web.Request) -> web.Response:
    """A page that a script can be run in."""
    return web.Response(text=PAGE, content_type="text/html", headers={"Content-Security-Policy": POLICY})


async def echo(request: web.Request) -> web.WebSocketResponse:
    """A WebSocket that sends back what comes."""
    websocket = web.WebSocketResponse(protocols=("echo",), heartbeat=5)
    await websocket.prepare(request)
    async for message in websocket:
        if message.type is WSMsgType.TEXT:
            await websocket.send_str(message.data)
        elif message.type is WSMsgType.BINARY:
            await websocket.send_bytes(message.data)
    return websocket


async def serve(config: Config) -> None:
    """Serve until SIGTERM."""
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    configure(config.log)
    server = Server(config)
    assert server.http is not None, "no shared listener"
    server.http.app.router.add_get("/page", page)
    server.http.app.router.add_get("/echo", echo)
    async with server:
        await stopping.wait()


if __name__ == "__main__":
    asyncio.run(serve(load_config(Path(sys.argv[1]), os.environ).config))
