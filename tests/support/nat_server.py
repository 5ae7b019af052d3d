"""The server of `tests.support.nat_world` on real sockets of loopback, in the loop of the test."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from stun.address import Address
from stun.framing import StreamFramer
from tests.support.nat_world import SimServer

__all__ = ["serving"]


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, server: SimServer, at: Address, all_of_them: dict[Address, asyncio.DatagramTransport]) -> None:
        self.server, self.at, self.all = server, at, all_of_them

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        answer = self.server.answer(self.at, Address.parse(*addr), data)
        if answer is not None:
            place, to, frame = answer
            self.all[place].sendto(frame, (to.host, to.port))


class _Stream(asyncio.Protocol):
    def __init__(self, server: SimServer, at: Address) -> None:
        self.server, self.at, self.framer = server, at, StreamFramer()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.peer = Address.parse(*transport.get_extra_info("peername"))

    def data_received(self, data: bytes) -> None:
        for frame in self.framer.feed(data):
            answer = self.server.answer(self.at, self.peer, frame)
            if answer is not None:
                self.transport.write(answer[2])


@asynccontextmanager
async def serving(server: SimServer) -> AsyncIterator[None]:
    """Serve at all of the server's addresses, over UDP and TCP."""
    loop = asyncio.get_running_loop()
    datagrams: dict[Address, asyncio.DatagramTransport] = {}
    streams = []
    for at in server.addresses:
        datagrams[at], _ = await loop.create_datagram_endpoint(
            lambda at=at: _Datagrams(server, at, datagrams),  # type: ignore[misc]
            local_addr=(at.host, at.port),
        )
        made = await loop.create_server(lambda at=at: _Stream(server, at), at.host, at.port)  # type: ignore[misc]
        streams.append(made)
    try:
        yield
    finally:
        for transport in datagrams.values():
            transport.close()
        for each in streams:
            each.close()
        await asyncio.sleep(0)
