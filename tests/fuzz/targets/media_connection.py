"""A media connection: no noise becomes media, ends what stands, or is answered with more than three times as much."""

import struct
from collections.abc import Iterator
from functools import cache

from stun.address import Address
from tests.support.media_peer import MediaClient, connection, identity, rtp_packet
from turnserver.media.connection import Failed, Rtcp, Rtp
from turnserver.media.demux import Demux
from turnserver.media.ice import named_ufrag

__all__ = ["MAX_LENGTH", "WORDS", "run", "seeds"]

MAX_LENGTH = 1500
WORDS = (
    b"\x00\x01\x00\x00\x21\x12\xa4\x42",
    b"\x00\x06\x00\x09ours:them\x00\x00\x00",
    b"\x00\x25\x00\x00",
    b"\x00\x24\x00\x04\x00\x00\x00\x01",
    b"\x16\xfe\xfd\x00\x00",
    b"\x17\xfe\xfd\x00\x01",
    b"\x80\xc8\x00\x06",
    b"\x90\x60\xbe\xde\x00\x01",
)
_HOME = Address(b"\xc0\x00\x02\x01", 1111)
_STRANGER = Address(b"\xc0\x00\x02\x02", 2222)


@cache
def _standing() -> MediaClient:
    """A connection that stands; it is used again for every input, as in life."""
    client = MediaClient(connection(), _HOME)
    client.meet()
    client.connect()
    assert client.server.state == "connected"
    client.server.events.clear()
    return client


def seeds() -> Iterator[bytes]:
    """The first byte says to what the rest comes: a new connection, or one that stands; from home or elsewhere."""
    client = MediaClient(connection(), _HOME)
    client.meet()
    hello = b"".join(client.handshake.flight()) if client.handshake is not None else b""
    standing = _standing()
    report = (
        standing.sender.protect_rtcp(struct.pack("!BBHI", 0x80, 201, 1, 1)) if standing.sender is not None else None
    )
    for where in range(4):
        yield bytes((where,)) + client.check(nominate=True)
        yield bytes((where,)) + client.check(pwd="w" * 24)
        yield bytes((where,)) + hello
        yield bytes((where,)) + bytes(rtp_packet(1))
        yield bytes((where,)) + (report or b"")
    assert identity() is identity()


def run(data: bytes) -> None:
    """What is not from the client changes nothing, and nobody gets more than three times what came."""
    if not data:
        return
    source = _STRANGER if data[0] & 2 else _HOME
    memory = bytearray(data[1:])
    if data[0] & 1:
        _disturb(_standing(), memory, source)
        return
    client = MediaClient(connection(), source)
    client.meet()
    client.put(client.check(), 1.0)
    client.server.wire.take()
    path = client.server.paths[source]
    demux = Demux()
    demux.add(client.server)
    name = named_ufrag(memory, len(memory))
    assert (demux.find(memory, len(memory), _HOME) is client.server) == (name == b"ours")
    client.server.receive(memory, len(memory), source, 1.0)
    assert path.sent <= 3 * path.received
    assert sum(len(sent) for sent, _ in client.server.wire.take()) <= 3 * (path.received + len(memory))
    assert not any(isinstance(event, Rtp | Rtcp) for event in client.server.events)


def _disturb(client: MediaClient, memory: bytearray, source: Address) -> None:
    server = client.server
    size = len(memory)
    server.receive(memory, size, source, 1.0)
    sent = server.wire.take()
    server.wire.restless.clear()
    assert sum(len(data) for data, _ in sent) <= 3 * size + 200
    assert server.state == "connected"
    assert server.selected == _HOME
    assert not any(isinstance(event, Rtp | Failed) for event in server.events)
    server.events.clear()
    assert server.send_rtcp(struct.pack("!BBHI", 0x80, 201, 1, 1))
    server.wire.take()
