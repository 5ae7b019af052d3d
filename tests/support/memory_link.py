"""A link in memory from the asyncio TURN client to the real core: no sockets, no server process."""

import asyncio
import itertools
from collections.abc import Callable

from stun.address import Address
from stun.demux import is_stun
from stun.message import Message
from stun.uri import StunUri
from tests.support.core_world import SERVER, World
from turnserver.core.types import ClientTransport, FiveTuple, Now
from turnserver.turnclient.links import LinkReceiver

__all__ = ["URI", "MemoryLink", "MemoryServer"]

URI = "turn:198.51.100.1"


class MemoryLink:
    """One 5-tuple; ``swallow`` says of a message whether it is lost on the way to the server."""

    buffered = 0

    def __init__(self, server: "MemoryServer", path: FiveTuple) -> None:
        self.reliable = path.transport.padded
        self.path = path
        self.closed = False
        self.sent: list[bytes] = []
        self.swallow: Callable[[bytes], bool] = lambda frame: False
        self.receiver: LinkReceiver
        self._server = server

    def start(self, receiver: LinkReceiver) -> None:
        """Begin to deliver."""
        self.receiver = receiver

    def send(self, frame: bytes) -> None:
        """Hand a frame to the core; what it sends back comes when the loop turns."""
        self.sent.append(frame)
        if not self.closed and not self.swallow(frame):
            self._server.take(self, frame)

    async def close(self) -> None:
        """Nothing is delivered any more."""
        self.closed = True

    def deliver(self, frame: bytes) -> None:
        """A frame from the server."""
        if not self.closed:
            self.receiver.frame_received(frame)

    def methods(self) -> list[int]:
        """The methods of the messages that were sent."""
        return [Message.decode(frame).method for frame in self.sent if is_stun(frame)]


class MemoryServer:
    """A world, on the loop's clock; `open` is what `TurnClient` takes as its opener."""

    def __init__(self, world: World | None = None, transport: ClientTransport = ClientTransport.UDP) -> None:
        self.world = world or World()
        self.links: list[MemoryLink] = []
        self.opened: list[Address] = []
        self.dead: set[Address] = set()
        """Addresses at which nobody answers."""
        self._transport = transport
        self._ports = itertools.count(40_001)

    async def open(self, uri: StunUri, address: Address, tls: object) -> MemoryLink:
        """A link to the server."""
        self.opened.append(address)
        port = next(self._ports)
        serial = port if self._transport.padded else 0
        link = MemoryLink(self, FiveTuple(self._transport, Address.parse("192.0.2.10", port), SERVER, 0, serial))
        if address in self.dead:
            link.swallow = lambda frame: True
        self.links.append(link)
        return link

    def take(self, link: MemoryLink, frame: bytes) -> None:
        """A frame from a client."""
        loop = asyncio.get_running_loop()
        self.world.now = Now(loop.time(), 1_700_000_000.0)
        self.world.core.client_frame(link.path, frame, self.world.now)
        self.world.run()
        self._deliver()

    def peer_sends(self, link: MemoryLink, peer: Address, data: bytes) -> None:
        """A datagram from a peer to the client's relay."""
        allocation = self.world.core.state.allocation(link.path)
        assert allocation is not None
        self.world.peer_sends(allocation.relays[0].id, peer, data)
        self._deliver()

    def _deliver(self) -> None:
        loop = asyncio.get_running_loop()
        for link in self.links:
            for answer in self.world.to_clients.pop(link.path, []):
                loop.call_soon(link.deliver, answer)
