"""What the tests of datapaths and UDP listeners join to real sockets: a hand-turned clock, recorders, a slow link."""

import asyncio
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from stun.address import Address
from tests.support.netns import NetworkNamespace
from turnserver.core.types import ClientTransport, FiveTuple, RelayId, Route
from turnserver.net import TOS_BYTE
from turnserver.paths import ChannelHop
from turnserver.relay.base import Datapath
from turnserver.relay.null import Call

__all__ = [
    "LOOPBACKS",
    "TIMEOUT",
    "HandClock",
    "MemoryClients",
    "MemoryPath",
    "PeerDatagram",
    "PeerIcmp",
    "RecordingHop",
    "RecordingSink",
    "Sent",
    "client",
    "clogged_loopback",
    "make_every_call",
    "receive_marked",
    "turns",
]

LOOPBACKS = ("127.0.0.1", "::1")

TIMEOUT = 90.0
"""Seconds that a test waits for what must come: a limit for failures, never waited out in success."""


class HandClock:
    """A monotonic clock that moves when the test says so, and counts how often it was read."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.reads = 0

    def __call__(self) -> float:
        self.reads += 1
        return self.now


class PeerDatagram(NamedTuple):
    relay: RelayId
    peer: Address
    data: bytes


class PeerIcmp(NamedTuple):
    relay: RelayId
    peer: Address
    type: int
    code: int
    data: int


class RecordingSink:
    """A sink for a datapath and for a listener; what arrives is waited for with ``await sink.next()``."""

    def __init__(self) -> None:
        self.arrived: asyncio.Queue[object] = asyncio.Queue()
        self.faults: list[str] = []
        self.failed: list[RelayId] = []

    def fault(self, part: str, error: Exception, client: FiveTuple | None = None) -> None:
        self.faults.append(f"{part}: {type(error).__name__}")

    def relay_failed(self, relay: RelayId, error: Exception | None = None) -> None:
        self.failed.append(relay)

    def peer_datagram(self, relay: RelayId, peer: Address, data: bytes) -> None:
        self.arrived.put_nowait(PeerDatagram(relay, peer, data))

    def peer_icmp(self, relay: RelayId, peer: Address, icmp_type: int, icmp_code: int, data: int) -> None:
        self.arrived.put_nowait(PeerIcmp(relay, peer, icmp_type, icmp_code, data))

    def client_frame(self, client: FiveTuple, frame: bytes) -> None:
        self.arrived.put_nowait((client, frame))

    def client_gone(self, client: FiveTuple) -> None:
        raise AssertionError("a UDP client has no connection to lose")

    async def next(self) -> object:
        return await asyncio.wait_for(self.arrived.get(), TIMEOUT)


class MemoryPath:
    """A client's path that keeps the frames; ``refuses`` makes it drop them, ``runs`` says whether it takes runs."""

    def __init__(self, *, padded: bool = False) -> None:
        self.channels: dict[int, ChannelHop] = {}
        self.padded = padded
        self.refuses = False
        self.takes_runs = False
        self.runs: list[int] = []
        self.frames: asyncio.Queue[tuple[bytes, int]] = asyncio.Queue()

    def send(self, data: bytes | memoryview, tos: int = 0) -> bool:
        if self.refuses:
            return False
        self.frames.put_nowait((bytes(data), tos))
        return True

    def send_run(self, datagrams: Sequence[bytes | memoryview], tos: int = 0) -> bool:
        assert len({len(data) for data in datagrams}) == 1
        if self.refuses or not self.takes_runs:
            return False
        self.runs.append(len(datagrams))
        for data in datagrams:
            self.frames.put_nowait((bytes(data), tos))
        return True

    async def next(self) -> tuple[bytes, int]:
        return await asyncio.wait_for(self.frames.get(), TIMEOUT)


class MemoryClients:
    """The paths of all clients; a client in ``gone`` has none any more."""

    def __init__(self) -> None:
        self.paths: dict[FiveTuple, MemoryPath] = {}
        self.gone: set[FiveTuple] = set()
        self.released: list[FiveTuple] = []
        self.padded = False

    def path(self, five_tuple: FiveTuple) -> MemoryPath | None:
        if five_tuple in self.gone:
            return None
        return self.paths.setdefault(five_tuple, MemoryPath(padded=self.padded))

    def release(self, five_tuple: FiveTuple) -> None:
        self.released.append(five_tuple)
        self.paths.pop(five_tuple, None)


class Sent(NamedTuple):
    payload: bytes
    tos: int


class RecordingHop:
    """A hop that keeps what it was told to send, and in what runs, if it takes any."""

    def __init__(self, expires: float) -> None:
        self.expires = expires
        self.sent: list[Sent] = []
        self.takes_runs = True
        self.runs: list[int] = []

    def send(self, data: bytes | memoryview, tos: int = 0) -> bool:
        self.sent.append(Sent(bytes(data), tos))
        return True

    def send_run(self, datagrams: Sequence[bytes | memoryview], tos: int = 0) -> bool:
        if not self.takes_runs:
            return False
        self.runs.append(len(datagrams))
        self.sent += [Sent(bytes(data), tos) for data in datagrams]
        return True


def client(port: int = 40000, transport: ClientTransport = ClientTransport.UDP) -> FiveTuple:
    """A 5-tuple, for tests in which no such client exists."""
    return FiveTuple(transport, Address.parse("192.0.2.10", port), Address.parse("192.0.2.1", 3478), 0)


async def turns(count: int = 20) -> None:
    """Let the loop turn: what is readable now is read, and nothing is waited for."""
    for _ in range(count):
        await asyncio.sleep(0)


async def receive_marked(sock: socket.socket) -> Sent:
    """The next datagram of a socket that asked for the TOS of what it receives."""
    loop = asyncio.get_running_loop()
    readable: asyncio.Future[None] = loop.create_future()
    loop.add_reader(sock.fileno(), lambda: readable.done() or readable.set_result(None))
    try:
        await asyncio.wait_for(readable, TIMEOUT)
    finally:
        loop.remove_reader(sock.fileno())
    data, messages, _, _ = sock.recvmsg(65535, 64)
    return Sent(data, messages[0][2][TOS_BYTE])


@contextmanager
def clogged_loopback() -> Iterator[NetworkNamespace]:
    """A namespace whose loopback takes packets and hardly moves: senders' buffers fill up. Enter it for the sockets."""
    with NetworkNamespace() as inside:
        inside.tc("qdisc add dev lo root tbf rate 8kbit burst 2000 limit 100000000")
        yield inside


def make_every_call(datapath: Datapath) -> list[Call]:
    """Make each call that changes something, once; gives them as a `NullDatapath` keeps them."""
    relay, bind, peer = RelayId(7), Address.parse("192.0.2.1", 50000), Address.parse("192.0.2.9", 9)
    sink, clients = RecordingSink(), MemoryClients()
    route = Route(client(), 0x4000, relay, peer, 5.0)
    datapath.attach(sink, clients)
    datapath.open_relay(relay, bind)
    datapath.add_route(route)
    datapath.allow_peer(relay, peer.ip, 5.0)
    datapath.send_to_peer(relay, peer, b"x", True)
    datapath.forbid_peer(relay, peer.ip)
    datapath.remove_route(client(), 0x4000)
    datapath.close_relay(relay)
    datapath.close()
    return [
        Call("attach", (sink, clients)),
        Call("open_relay", (relay, bind)),
        Call("add_route", (route,)),
        Call("allow_peer", (relay, peer.ip, 5.0)),
        Call("send_to_peer", (relay, peer, b"x", True)),
        Call("forbid_peer", (relay, peer.ip)),
        Call("remove_route", (client(), 0x4000)),
        Call("close_relay", (relay,)),
        Call("close", ()),
    ]
