"""The listener without a socket: frames in, frames out, and a whole server that needs no network."""

import asyncio
import os

from auth.keys import long_term_key_md5
from stun import attributes as attr
from stun import channeldata
from stun.address import Address
from stun.constants import MessageClass, Method
from stun.message import Message, MessageBuilder
from tests.support.tcp_pair import eventually
from turnserver.core.types import ClientTransport, FiveTuple
from turnserver.server import Server
from turnserver.transports.base import Transport
from turnserver.transports.memory import MemoryTransport

HERE = Address.parse("192.0.2.1", 3478)
CLIENT = Address.parse("192.0.2.10", 40000)
OTHER = Address.parse("192.0.2.11", 40000)
PEER = Address.parse("8.8.8.8", 5000)
FIVE_TUPLE = FiveTuple(ClientTransport.UDP, CLIENT, HERE, 0)


class Sink:
    def __init__(self) -> None:
        self.frames: list[tuple[FiveTuple, bytes]] = []

    def client_frame(self, client: FiveTuple, frame: bytes) -> None:
        self.frames.append((client, frame))

    def client_gone(self, client: FiveTuple) -> None:
        raise AssertionError("there are no connections")


class Hop:
    expires = 10.0

    def __init__(self) -> None:
        self.payloads: list[bytes] = []

    def send(self, data: bytes | memoryview, tos: int = 0) -> bool:
        self.payloads.append(bytes(data))
        return True

    def send_run(self, datagrams: object, tos: int = 0) -> bool:
        return False


async def test_frames_go_in_and_out() -> None:
    """Out in a later turn of the loop, so that nobody is called back in the middle of a call."""
    listener, sink = MemoryTransport(0, HERE, clock=lambda: 0.0), Sink()
    seam: Transport = listener
    seam.bind()
    listener.feed(CLIENT, b"too early")
    seam.serve(sink)
    listener.feed(CLIENT, b"\x00frame")
    assert sink.frames == [(FIVE_TUPLE, b"\x00frame")]
    received: list[bytes] = []
    detach = listener.attach(CLIENT, received.append)
    assert seam.send(FIVE_TUPLE, b"answer")
    assert received == []
    await eventually(lambda: received == [b"answer"])
    detach()
    assert not seam.send(FIVE_TUPLE, b"nobody")
    assert seam.counters == (1, 6, 1, 6, 2)
    seam.close()
    assert seam.path(FIVE_TUPLE) is None


async def test_channel_data_with_a_live_hop_goes_straight_there() -> None:
    now = 0.0
    listener, sink, hop = MemoryTransport(0, HERE, clock=lambda: now), Sink(), Hop()
    listener.serve(sink)
    path = listener.path(FIVE_TUPLE)
    assert path is not None
    path.channels[0x4000] = hop
    listener.feed(CLIENT, channeldata.encode(0x4000, b"data") + b"more than that")
    assert hop.payloads == [b"data"]
    for other in (channeldata.encode(0x4001, b"data"), channeldata.encode(0x4000, b"data")[:-1], b"\x40", b""):
        listener.feed(CLIENT, other)
    listener.feed(OTHER, channeldata.encode(0x4000, b"data"))
    now = 10.0
    listener.feed(CLIENT, channeldata.encode(0x4000, b"data"))
    assert (len(hop.payloads), len(sink.frames)) == (1, 6)
    received: list[bytes] = []
    listener.attach(CLIENT, received.append)
    assert path.send_run([b"one", memoryview(b"two")])
    await eventually(lambda: received == [b"one", b"two"])
    listener.release(FIVE_TUPLE)
    assert listener.path(FIVE_TUPLE) is not path


class Caller:
    """A TURN client whose frames are handed over."""

    def __init__(self, listener: MemoryTransport) -> None:
        self._listener = listener
        self.received: asyncio.Queue[bytes] = asyncio.Queue()
        listener.attach(CLIENT, self.received.put_nowait)
        self._key = long_term_key_md5("alice", "meshturn", "wonderland")
        self._nonce = b""

    async def ask(self, method: Method, *attributes: tuple[attr.AttributeType[object], object]) -> Message:
        builder = MessageBuilder(method, MessageClass.REQUEST, os.urandom(12))
        for kind, value in attributes:
            builder.add(kind, value)
        if self._nonce:
            builder.add(attr.USERNAME, "alice").add(attr.REALM, "meshturn").add(attr.NONCE, self._nonce)
            frame = builder.integrity(self._key).build()
        else:
            frame = builder.build()
        self._listener.feed(CLIENT, frame)
        answer = Message.decode(await asyncio.wait_for(self.received.get(), 10))
        self._nonce = answer.first(attr.NONCE) or self._nonce
        return answer


async def test_a_server_without_any_socket() -> None:
    """A listener in memory and relays that move nothing: a whole allocation, and no network."""
    options = {
        "listeners": [{"transport": "memory", "address": "192.0.2.1"}],
        "relay": {"datapath": "null", "addresses": ["192.0.2.1"]},
        "auth": {"users": {"alice": "wonderland"}},
    }
    async with Server(options) as server:
        (listener,) = server.transports
        assert isinstance(listener, MemoryTransport)
        caller = Caller(listener)
        assert (await caller.ask(Method.ALLOCATE, (attr.REQUESTED_TRANSPORT, 17))).message_class is MessageClass.ERROR
        answer = await caller.ask(Method.ALLOCATE, (attr.REQUESTED_TRANSPORT, 17))
        assert answer.message_class is MessageClass.SUCCESS
        now = server.snapshot()
        (allocation,) = now.allocations
        assert (allocation.client.address, allocation.relayed) == (CLIENT, (answer.first(attr.XOR_RELAYED_ADDRESS),))
        assert (now.listeners[0].kind, now.listeners[0].local, now.listening) == ("memory", True, ())
        assert now.datapaths[0].name == "null"
