"""An observer of a server's events, which counts the relayed bytes of each user.

It gets every event once and in order, in the server's event loop. If it raises, the exception is logged and affects
nothing else.
"""

import asyncio
import socket
from collections import Counter

from meshturn import Server, TurnClient
from meshturn.events import AllocationEnded, Counters, Event, Fact

OPTIONS = {
    "listeners": [{"address": "127.0.0.1", "port": 0}],
    "auth": {"users": {"alice": "wonderland", "bob": "builder"}},
    "peers": {"allow": ["127.0.0.0/8"]},
}


class Account:
    """Adds up what allocations have carried when they end; a `meshturn.Observer`."""

    def __init__(self) -> None:
        self.bytes: Counter[str] = Counter()

    def on_event(self, event: Event | Fact, counters: Counters | None) -> None:
        """``counters`` come with the end of an allocation only."""
        if isinstance(event, AllocationEnded) and counters is not None:
            self.bytes[event.user_id] += counters.bytes_to_peers + counters.bytes_to_client


async def use(server: Server, user: str, password: str, size: int) -> None:
    """Send one datagram to a peer through the relay."""
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.setblocking(False)
        peer.bind(("127.0.0.1", 0))
        _, address = server.snapshot().listening[0]
        async with TurnClient(f"turn:{address}", user, password) as client:
            await client.allocate()
            await client.create_permission(peer.getsockname())
            client.send(peer.getsockname(), bytes(size))
            await loop.sock_recv(peer, 2000)


async def main() -> None:
    """Two users of one server, and an observer that is added after the start and removed before the end."""
    account = Account()
    async with Server(OPTIONS) as server:
        stop_listening = server.observe(account)
        await use(server, "alice", "wonderland", 1000)
        await use(server, "bob", "builder", 50)
        await use(server, "alice", "wonderland", 234)
        stop_listening()
        await use(server, "bob", "builder", 1000)
    for user, size in account.bytes.most_common():
        print(f"{user} {size} bytes")


if __name__ == "__main__":
    asyncio.run(main())
