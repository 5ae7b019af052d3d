"""Asks another meshturn to send STUN requests back to this host (``POST /v1/probe``)."""

import asyncio
import json
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
from pydantic import ValidationError

from stun.address import Address
from turnserver.signaling.edge.answers import ProbeAnswer
from turnserver.text import one_line

__all__ = ["Elsewhere", "NotAsked"]

_MAX_ANSWER: Final = 64 * 1024
_PATIENCE: Final = 20.0
"""Seconds for an answer; the other server gives each port three."""


class NotAsked(Exception):
    """The other server has not answered the question; the message is a sentence."""


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Another server: the URL of its pages, a key with the scope ``probe``, and the certificates to trust."""

    url: str
    key: str = field(repr=False)
    tls: ssl.SSLContext | None = None

    async def probe(self, own: Address, ports: Sequence[tuple[str, int]], name: str) -> ProbeAnswer:
        """Have ports of this host tried, as it is seen when it asks from the address ``own``. Raises `NotAsked`."""
        if urlsplit(self.url).scheme != "https":
            raise NotAsked(f"{self.url} has no TLS: the key could be read in transit.")
        asked: dict[str, Any] = {"ports": [{"protocol": protocol, "port": port} for protocol, port in ports]}
        try:
            status, body = await self._ask(own, asked | ({"name": name} if name else {}))
        except aiohttp.ClientConnectorCertificateError as error:
            raise NotAsked(f"{self.url} is not trusted: {one_line(str(error.certificate_error), 200)}") from None
        except TimeoutError:
            raise NotAsked(f"{self.url} does not answer within {_PATIENCE:.0f} seconds.") from None
        except (aiohttp.ClientError, OSError) as error:
            raise NotAsked(f"{self.url} is not reached from {own.host}: {one_line(str(error), 200)}.") from None
        if status != 200:
            raise NotAsked(f"{self.url} refuses: {_reason(status, body)}")
        try:
            return ProbeAnswer.model_validate_json(body)
        except ValidationError:
            raise NotAsked(f"The answer of {self.url} is not that of a meshturn server.") from None

    async def _ask(self, own: Address, asked: dict[str, Any]) -> tuple[int, bytes]:
        connector = aiohttp.TCPConnector(
            local_addr=(own.host, 0),
            family=socket.AF_INET if len(own.ip) == 4 else socket.AF_INET6,
            ssl=self.tls or ssl.create_default_context(),
            force_close=True,
        )
        async with asyncio.timeout(_PATIENCE), aiohttp.ClientSession(connector=connector) as session:
            headers = {"Authorization": f"Bearer {self.key}"}
            async with session.post(
                f"{self.url}/v1/probe", json=asked, headers=headers, allow_redirects=False
            ) as answer:
                body = bytearray()
                while len(body) <= _MAX_ANSWER and (chunk := await answer.content.read(_MAX_ANSWER)):
                    body += chunk
                return answer.status, bytes(body)


def _reason(status: int, body: bytes) -> str:
    try:
        error = json.loads(body)["error"]
        return f"{one_line(str(error['msg']), 300)} ({one_line(str(error['code']), 40)})."
    except (ValueError, KeyError, TypeError, RecursionError):
        return f"HTTP status {status}; it may be an older version, or another program."
