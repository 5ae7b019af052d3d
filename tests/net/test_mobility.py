"""A client under media whose address changes (RFC 8016): another address on its interface, also with another transport.

Two hosts with a cable between them. A program relays a datagram every 20 ms to a peer that sends it back, loses its
address, gets another one, and moves. How long nothing came back is written down as the property ``gap`` of each test.
"""

import asyncio
import select
import socket
import threading
from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest

from stun.address import Address
from tests.support.certificates import client_context, issue
from tests.support.netns import NetworkNamespace
from tests.support.server import PASSWORD, USERNAME, TurnServerProcess
from turnserver.turnclient.client import TurnClient

SERVER, PEER = "10.79.0.2", "10.79.0.3"
HOME, AWAY = "10.79.0.9", "10.79.0.77"
SERVER6, AWAY6 = "fd79::2", "fd79::77"
PORTS = {"udp": 3478, "tcp": 3478, "tls": 5349}
INTERVAL = 0.02
"""Seconds between two datagrams: those of sound."""
LIMIT = 60.0


class Place:
    """The host of the server and of the peer, and that of the client, which has one address at a time."""

    def __init__(self) -> None:
        self.server, self.client = NetworkNamespace(), NetworkNamespace()
        self._has: list[str] = []

    def connect(self) -> None:
        """Lay the cable."""
        self.server.ip(f"link add cable type veth peer name cable netns {self.client.name}")
        for address in (f"{SERVER}/24", f"{PEER}/24", f"{SERVER6}/64 nodad"):
            self.server.ip(f"addr add {address} dev cable")
        for host in (self.server, self.client):
            host.ip("link set cable up")
        self.give(HOME)

    def give(self, address: str) -> None:
        """The client's host has this address now, and no other one."""
        for former in self._has:
            self.client.ip(f"addr del {former} dev cable")
        self._has = [f"{address}/64" if ":" in address else f"{address}/24"]
        self.client.ip(f"addr add {self._has[0]} dev cable{' nodad' if ':' in address else ''}")


class Echo(threading.Thread):
    """The peer: sends everything back, and remembers from where it came."""

    def __init__(self, place: Place) -> None:
        super().__init__(daemon=True)
        self.sources: set[Address] = set()
        self.wake, self._woken = socket.socketpair()
        with place.server.entered():
            self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((PEER, 0))
        self.address = Address.parse(*self.socket.getsockname())

    def run(self) -> None:
        """Until something comes on ``wake``."""
        while True:
            ready, _, _ = select.select([self.socket, self._woken], [], [])
            if self._woken in ready:
                return
            data, source = self.socket.recvfrom(2048)
            self.sources.add(Address.parse(*source))
            self.socket.sendto(data, source)

    def stop(self) -> None:
        """End, and close everything."""
        self.wake.send(b"x")
        self.join()
        for each in (self.socket, self.wake, self._woken):
            each.close()


class Media:
    """Numbered datagrams to the peer and back; ``heard`` has the moments at which they came back."""

    def __init__(self, client: TurnClient, peer: Address) -> None:
        self.heard: list[float] = []
        self._client = client
        self._peer = peer
        self._clock = asyncio.get_running_loop().time
        self._tasks = [asyncio.create_task(self._send()), asyncio.create_task(self._receive())]

    async def _send(self) -> None:
        number = 0
        while True:
            self._client.send(self._peer, number.to_bytes(4, "big") + bytes(160))
            number += 1
            await asyncio.sleep(INTERVAL)

    async def _receive(self) -> None:
        while True:
            await self._client.receive()
            self.heard.append(self._clock())

    async def flows(self, more: int = 25) -> None:
        """Wait until so many more have come back."""
        wanted = len(self.heard) + more
        async with asyncio.timeout(LIMIT):
            while len(self.heard) < wanted:
                assert not any(task.done() for task in self._tasks), [task.exception() for task in self._tasks]
                await asyncio.sleep(INTERVAL)

    async def stop(self) -> None:
        """Send no more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Place, TurnServerProcess]]:
    """The hosts, and the server on one of them."""
    made = Place()
    with made.server, made.client:
        made.connect()
        pair = issue(tmp_path_factory.mktemp("certificate"))
        config = {
            "listeners": [
                {"transport": transport, "address": address, "port": port}
                for transport, port in PORTS.items()
                for address in (SERVER, SERVER6)
            ],
            "auth": {"users": {USERNAME: PASSWORD}},
            "relay": {"addresses": [SERVER], "mobility": True},
            "peers": {"allow": ["10.79.0.0/24"]},
            "tls": {"certificates": [pair.config]},
        }
        server = TurnServerProcess(config, tmp_path_factory.mktemp("server"))
        with made.server.entered():
            server.start()
        try:
            yield made, server
        finally:
            server.stop()


def uri(transport: str, host: str = SERVER) -> str:
    """Where the server is."""
    scheme, query = ("turns", "tcp") if transport == "tls" else ("turn", transport)
    return f"{scheme}:{f'[{host}]' if ':' in host else host}:{PORTS[transport]}?transport={query}"


async def a_move(place: Place, peer: Address, before: str, after: str, away: str) -> float:
    """Media before, during and after a change of address; how long the longest silence was, in seconds."""
    client = TurnClient(uri(before), USERNAME, PASSWORD, tls=client_context())
    async with client:
        await client.allocate(mobile=True)
        await client.bind_channel(peer)
        media = Media(client, peer)
        await media.flows()
        place.give(away)
        began = len(media.heard) - 1
        await client.move(uri(after, SERVER6 if ":" in away else SERVER))
        await media.flows()
        await media.stop()
        later = media.heard[began:]
        return max(second - first for first, second in pairwise(later))


@pytest.mark.parametrize(
    ("before", "after", "away"),
    [
        ("udp", "udp", AWAY),
        ("tcp", "tcp", AWAY),
        ("tls", "tls", AWAY),
        ("udp", "tcp", AWAY),
        ("tls", "udp", AWAY),
        ("udp", "udp", AWAY6),
    ],
    ids=["udp", "tcp", "tls", "udp to tcp", "tls to udp", "ipv4 to ipv6"],
)
def test_media_survive_another_address(
    place: tuple[Place, TurnServerProcess],
    before: str,
    after: str,
    away: str,
    record_property: Callable[[str, object], None],
) -> None:
    """RFC 8016 §3: the peer goes on with the same relayed address, and nobody negotiates anything."""
    hosts, server = place
    hosts.give(HOME)
    moved = server.log.count("allocation moved")
    echo = Echo(hosts)
    echo.start()
    try:
        with hosts.client.entered():
            gap = asyncio.run(a_move(hosts, echo.address, before, after, away))
    finally:
        echo.stop()
    assert len(echo.sources) == 1, "another relayed address"
    assert server.log.count("allocation moved") == moved + 1
    record_property("gap", round(gap, 3))
    print(f"{before} to {after}: nothing came back for {gap:.3f} s")
