"""One client 5-tuple of a probe: the TURN client of `stun.client` over a link, with its errors as sentences."""

import asyncio
import secrets
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from cli.probe.link import Opened
from cli.probe.trouble import broken, silence
from stun.address import Address
from stun.attributes import AttributeType
from stun.client.authentication import AuthSession, Login
from stun.client.core import ClientCore, ClientOptions
from stun.client.errors import ClientError, ServerUnreachable
from stun.client.events import ClientEvent, PeerData
from stun.client.requests import ClientRequest, FinalResponse
from stun.constants import Method
from turnserver.turnclient.driver import Driver

__all__ = ["Conversation"]

_MAX_INCOMING: Final = 64
"""Relayed datagrams kept for the probe; it sends one at a time, so further ones are not its own."""


class Conversation:
    """A client of the server: asks requests, sends and takes relayed datagrams.

    Nothing is sent without a call, and error answers are used with or without MESSAGE-INTEGRITY, because a probe
    reports what the server does. ``patience`` is how long one transaction may take, in seconds.
    """

    def __init__(self, opened: Opened, patience: float, login: Login | None = None) -> None:
        self._link = opened.link
        self._tls = opened.tls
        options = ClientOptions(
            patience=patience, automatic=False, unsigned_errors=True, check_permissions=False, queue=_MAX_INCOMING
        )
        core = ClientCore(secrets.token_bytes, login=login, reliable=opened.link.reliable, options=options)
        self._incoming: deque[PeerData] = deque(maxlen=_MAX_INCOMING)
        self._trouble: ServerUnreachable | None = None
        self._news = asyncio.Event()
        self._driver = Driver(core, opened.link, self._happened, self._troubled)

    @property
    def session(self) -> AuthSession | None:
        """The realm, nonce and algorithms of the server's challenge; None before the first one."""
        return self._driver.core.session

    async def ask(self, method: Method, *attributes: tuple[AttributeType[Any], Any]) -> FinalResponse:
        """Send a request and wait for its final answer, a success or an error.

        Raises `cli.probe.trouble.Trouble` when there is none, `cli.probe.trouble.LinkError` when the server cannot be
        reached.
        """
        return await self._answer(lambda now: self._driver.core.request(method, attributes, now))

    async def bind(self, number: int, peer: Address) -> FinalResponse:
        """Bind a channel, so that ChannelData on it is received. Raises as `ask` does."""
        return await self._answer(lambda now: self._driver.core.bind_channel(peer, now, number))

    def send(self, peer: Address, data: bytes) -> None:
        """Send data to a peer in a Send indication."""
        self._driver.core.send_indication(peer, data, self._driver.now())
        self._driver.flush()

    def send_channel(self, channel: int, data: bytes) -> None:
        """Send data to the peer of a channel as ChannelData."""
        self._driver.core.send_channel(channel, data, self._driver.now())
        self._driver.flush()

    async def incoming(self, seconds: float) -> PeerData | None:
        """The next relayed datagram, or None when none came in time. Raises `cli.probe.trouble.LinkError`."""
        try:
            async with asyncio.timeout(seconds):
                while not self._incoming:
                    self._check()
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            return None
        return self._incoming.popleft()

    async def close(self) -> None:
        """Close the link."""
        await self._driver.close()

    async def _answer(self, begin: Callable[[float], ClientRequest[Any]]) -> FinalResponse:
        self._check()
        try:
            return (await self._driver.ask(begin)).answer()
        except ServerUnreachable as error:
            self._trouble = None
            raise broken(error, self._tls) from error
        except ClientError as error:
            raise silence(error, reliable=self._link.reliable) from error

    def _check(self) -> None:
        """Raise the error that the link has reported since the last call, once."""
        trouble, self._trouble = self._trouble, None
        if trouble is not None:
            raise broken(trouble, self._tls) from trouble

    def _happened(self, event: ClientEvent) -> None:
        if isinstance(event, PeerData):
            self._incoming.append(event)
            self._news.set()

    def _troubled(self, error: ServerUnreachable) -> None:
        self._trouble = error
        self._news.set()
