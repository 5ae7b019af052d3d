"""One client 5-tuple of a probe over a real link: feeds a `TurnClient`, and waits where it has to."""

import asyncio
import secrets
from typing import Any

from cli.probe.authentication import Login, Session
from cli.probe.link import Link
from cli.probe.turn_client import Answer, Incoming, TurnClient
from stun.address import Address
from stun.attributes import AttributeType
from stun.constants import Method

__all__ = ["Conversation"]


class Conversation:
    """A client of the server: asks requests, sends and takes relayed datagrams.

    ``patience`` is how long one transaction may take, in seconds.
    """

    def __init__(self, link: Link, patience: float, login: Login | None = None) -> None:
        self._link = link
        self._clock = asyncio.get_running_loop().time
        self._client = TurnClient(secrets.token_bytes, patience, login=login, reliable=link.reliable)

    @property
    def session(self) -> Session | None:
        """What the server's challenge told us; None before the first one."""
        return self._client.session

    async def ask(self, method: Method, *attributes: tuple[AttributeType[Any], Any]) -> Answer:
        """Send a request and wait for its final answer, a success or an error.

        Raises `cli.probe.turn_client.NoAnswer` when there is none, and `cli.probe.link.LinkError` when the server
        cannot be reached.
        """
        self._client.ask(method, attributes, self._clock())
        while True:
            frame = self._client.transmit(self._clock())
            if frame is not None:
                self._link.send(frame)
            answer = self._client.result()
            if answer is not None:
                return answer
            await self._take(self._client.deadline())

    def send(self, peer: Address, data: bytes) -> None:
        """Send data to a peer in a Send indication."""
        self._link.send(self._client.send_indication(peer, data))

    def send_channel(self, channel: int, data: bytes) -> None:
        """Send data to the peer of a channel as ChannelData."""
        self._link.send(self._client.channel_data(channel, data))

    async def incoming(self, seconds: float) -> Incoming | None:
        """The next relayed datagram, or None when none came in time. Raises `cli.probe.link.LinkError`."""
        deadline = self._clock() + seconds
        while not self._client.incoming:
            if not await self._take(deadline):
                return None
        return self._client.incoming.popleft()

    async def close(self) -> None:
        """Close the link."""
        await self._link.close()

    async def _take(self, deadline: float | None) -> bool:
        """Feed one frame to the client; False when the deadline came first."""
        try:
            async with asyncio.timeout_at(deadline):
                frame = await self._link.receive()
        except TimeoutError:
            return False
        self._client.receive(frame, self._clock())
        return True
