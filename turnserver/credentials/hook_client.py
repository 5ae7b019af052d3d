"""HTTP requests of the credential hook: signed, bounded in time by the caller and in size here, never redirected.

The session belongs to the running loop: the first request opens it, and `HookClient.close` closes it.
"""

import secrets
import socket
import time
from collections.abc import Callable
from ipaddress import ip_address
from typing import Final, NamedTuple

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

from turnserver.credentials.private import is_private
from turnserver.credentials.signature import signature_headers
from turnserver.errors import ServerError

__all__ = ["HookClient", "HookReply", "Unreachable"]

MAX_BODY: Final = 16_384
"""Maximum size of an answer in bytes, many times that of a usual answer."""

_IDLE: Final = 15.0
"""Seconds that an unused connection is kept."""

_HEADERS: Final = {
    "Content-Type": "application/json",
    "Accept": "application/json",
    "Accept-Encoding": "identity",
    "User-Agent": "meshturn",
}


class HookReply(NamedTuple):
    """A status and a body, of at most 16 KiB."""

    status: int
    body: bytes


class Unreachable(ServerError):
    """There is no usable answer; the message says why, and contains no secret."""


class HookClient:
    """Asks one URL over at most ``connections`` connections. ``clock`` gives Unix time in seconds."""

    def __init__(self, url: str, key: bytes, connections: int, clock: Callable[[], float] = time.time) -> None:
        self._url = url
        self._key = key
        self._connections = connections
        self._clock = clock
        self._session: aiohttp.ClientSession | None = None

    async def post(self, body: bytes) -> HookReply:
        """Send one question and read the answer. Raises `Unreachable`.

        If the other side has closed an idle connection, the request is sent once more.
        """
        request_id = f"msg_{secrets.token_hex(16)}"
        try:
            return await self._post(request_id, body)
        except aiohttp.ClientError as error:
            if not _was_closed(error):
                raise Unreachable(_reason(error)) from error
        try:
            return await self._post(request_id, body)
        except aiohttp.ClientError as error:
            raise Unreachable(_reason(error)) from error

    async def close(self) -> None:
        """Close every connection. A request after that opens new ones."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _post(self, request_id: str, body: bytes) -> HookReply:
        headers = {**_HEADERS, **signature_headers(self._key, request_id, int(self._clock()), body)}
        session = self._opened()
        async with session.post(self._url, data=body, headers=headers, allow_redirects=False) as response:
            found = bytearray()
            while len(found) <= MAX_BODY:
                chunk = await response.content.read(MAX_BODY + 1 - len(found))
                if not chunk:
                    return HookReply(response.status, bytes(found))
                found += chunk
            response.close()
            raise Unreachable(f"the response is longer than {MAX_BODY} bytes")

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            secure = self._url.startswith("https:")
            connector = aiohttp.TCPConnector(
                limit=self._connections,
                keepalive_timeout=_IDLE,
                resolver=None if secure else _PrivateResolver(),
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None),
                auto_decompress=False,
            )
        return self._session


class _PrivateResolver(AbstractResolver):
    """Resolves only to addresses of this host or a private network, so that unencrypted requests do not leave it."""

    def __init__(self) -> None:
        self._resolver = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._resolver.resolve(host, port, family)
        private = [each for each in found if is_private(ip_address(each["host"].partition("%")[0]))]
        if not private:
            raise OSError("http is for private addresses only, and the host has none")
        return private

    async def close(self) -> None:
        await self._resolver.close()


def _was_closed(error: aiohttp.ClientError) -> bool:
    """Whether an established connection has ended, in contrast to a failed connection attempt."""
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return True
    return isinstance(error, ConnectionError | aiohttp.ClientOSError) and not isinstance(
        error, aiohttp.ClientConnectorError
    )


def _reason(error: Exception) -> str:
    """Why there is no answer, in a few words; the messages of the libraries may contain the whole URL."""
    cause = getattr(error, "os_error", None) or error.__cause__ or error
    if isinstance(error, aiohttp.ClientSSLError):
        return f"TLS: {type(error).__name__}"
    if isinstance(cause, OSError):
        return cause.strerror or str(cause) or type(cause).__name__
    return type(error).__name__
