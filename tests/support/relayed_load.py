"""Many allocations that relay all the time, in step: each sends a datagram when the one before has come back.

So nothing queues, whatever the machine does meanwhile, and what does not come back was lost by somebody.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Self

from meshturn import ClientOptions, TurnClient
from meshturn.errors import ClientError

__all__ = ["PATIENCE", "RelayedLoad", "Relaying", "echoing_peer"]

PATIENCE = 60.0
"""Seconds after which a datagram counts as lost; they take a millisecond."""
PAUSE = 0.05
"""Seconds between a datagram that has come back and the next."""


class _Echo(asyncio.DatagramProtocol):
    """Sends everything back to where it came from."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.transport.sendto(data, addr)


@asynccontextmanager
async def echoing_peer(host: str = "127.0.0.1") -> AsyncIterator[tuple[str, int]]:
    """A peer that sends everything back; its address."""
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(_Echo, local_addr=(host, 0))
    try:
        yield transport.get_extra_info("sockname")[:2]
    finally:
        transport.close()


class Relaying:
    """One allocation with a channel, and what has come back over it.

    ``why`` says how it ended, and is empty while it lives.
    """

    def __init__(self, client: TurnClient, peer: tuple[str, int], number: int) -> None:
        self.client = client
        self.number = number
        self.returned = 0
        self.lost = 0
        self.why = ""
        self._peer = peer
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Allocate, bind, and begin to send."""
        await self.client.connect()
        await self.client.allocate()
        await self.client.bind_channel(self._peer)
        self._task = asyncio.create_task(self._relay())

    async def _relay(self) -> None:
        count = 0
        try:
            while True:
                count += 1
                data = f"{self.number} {count}".encode()
                self.client.send(self._peer, data)
                try:
                    async with asyncio.timeout(PATIENCE):
                        while (await self.client.receive()).data != data:
                            pass
                except TimeoutError:
                    self.lost += 1
                else:
                    self.returned += 1
                await asyncio.sleep(PAUSE)
        except ClientError as error:
            self.why = f"{type(error).__name__}: {error}"

    async def close(self) -> None:
        """End the traffic, and delete the allocation."""
        self.why = self.why or "closed"
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self.client.close()


class RelayedLoad:
    """``count`` allocations of one user at a server; an asynchronous context manager."""

    def __init__(self, uri: str, username: str, password: str, peer: tuple[str, int], count: int) -> None:
        options = ClientOptions()
        self.all = [
            Relaying(TurnClient(uri, username, password, options=options, timeout=PATIENCE), peer, number)
            for number in range(count)
        ]

    async def __aenter__(self) -> Self:
        """Some at a time: a user that opens hundreds in one moment is no test of anything."""
        for first in range(0, len(self.all), 20):
            await asyncio.gather(*(each.open() for each in self.all[first : first + 20]))
        return self

    async def __aexit__(self, *error: object) -> None:
        await asyncio.gather(*(each.close() for each in self.all))

    @property
    def returned(self) -> int:
        """Datagrams that have come back."""
        return sum(each.returned for each in self.all)

    @property
    def lost(self) -> int:
        """Datagrams that have not come back in time."""
        return sum(each.lost for each in self.all)

    @property
    def alive(self) -> list[Relaying]:
        """Those whose allocation goes on."""
        return [each for each in self.all if not each.why]

    async def further(self, rounds: int = 3) -> None:
        """Wait until each that is alive has had so many more datagrams back."""
        wanted = {each.number: each.returned + rounds for each in self.alive}
        async with asyncio.timeout(PATIENCE * 2):
            while any(each.returned < wanted.get(each.number, 0) and not each.why for each in self.all):
                await asyncio.sleep(PAUSE)
