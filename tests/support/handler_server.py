"""A server of a few lines on loopback: a test gives the function that is called for each connection."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from stun.address import Address

__all__ = ["Handler", "echo", "serving"]

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def serving(handler: Handler, context: ssl.SSLContext | None = None) -> AsyncIterator[Address]:
    """The address of the server, over TLS with ``context``; errors in ``handler`` are the client's business."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await handler(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=context)
    async with server:
        yield Address.parse(*server.sockets[0].getsockname())


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A handler that sends back what it gets."""
    while data := await reader.read(65536):
        writer.write(data)
