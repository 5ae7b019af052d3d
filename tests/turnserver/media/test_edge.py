"""The sockets on loopback: datagrams in and out, deadlines, faults, strangers."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable

import pytest

from stun.address import Address
from tests.support.media_loop import LoopEngine, Mirror
from tests.support.media_peer import MediaClient, connection, rtp_packet
from turnserver.batch import socket_name
from turnserver.errors import StartupError
from turnserver.media.connection import Wire
from turnserver.media.edge import MediaEdge
from turnserver.media.srtp import SrtpPlace

pytestmark = pytest.mark.usefixtures("ipv6")

LOOPBACK = (Address.parse("127.0.0.1", 0), Address.parse("::1", 0))


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that is certain to happen."""
    async with asyncio.timeout(120):
        while not condition():
            await asyncio.sleep(0.01)


def plain(place: SrtpPlace, size: int) -> int:
    """A cipher that changes nothing."""
    return size


class Echo:
    """An engine that returns each datagram to its sender, backwards, and fails where it is asked to."""

    def __init__(self) -> None:
        self.wire = Wire()
        self.expired: list[float] = []
        self.deadline: float | None = None

    def receive(self, datagram: memoryview, size: int, source: Address, now: float) -> None:
        assert len(datagram) == size
        if datagram == b"fault":
            raise RuntimeError("as asked")
        assert abs(now - time.monotonic()) < 60
        self.wire.outgoing.append((bytes(datagram[::-1]), source))

    def expire(self, now: float) -> None:
        self.expired.append(now)
        self.deadline = None if len(self.expired) == 3 else now + 0.01


class Bench:
    """An edge with an engine, and what went wrong in it."""

    def __init__(self, engine: Echo | LoopEngine) -> None:
        self.faults: list[tuple[str, str]] = []
        self.edge = MediaEdge(engine, fault=lambda part, error: self.faults.append((part, str(error))))
        self.edge.bind(LOOPBACK)


@pytest.fixture
async def echo() -> AsyncIterator[tuple[Bench, Echo]]:
    engine = Echo()
    bench = Bench(engine)
    bench.edge.serve()
    yield bench, engine
    bench.edge.close()


async def asked(address: Address, *questions: bytes) -> list[bytes]:
    """The answers to datagrams, of which as many come as were sent."""
    family = socket.AF_INET if len(address.ip) == 4 else socket.AF_INET6
    loop = asyncio.get_running_loop()
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.connect((address.host, address.port))
        for question in questions:
            await loop.sock_sendall(sock, question)
        async with asyncio.timeout(60):
            return [await loop.sock_recv(sock, 2048) for _ in questions]


async def test_datagrams_of_both_families(echo: tuple[Bench, Echo]) -> None:
    bench, _ = echo
    assert [len(address.ip) for address in bench.edge.addresses] == [4, 16]
    questions = [bytes([number]) + b"abc" for number in range(200)]
    for address in bench.edge.addresses:
        assert await asked(address, *questions[:20]) == [each[::-1] for each in questions[:20]]
    assert sum(each.packets_out for each in bench.edge.sockets) == 40


async def test_a_fault_costs_one_datagram(echo: tuple[Bench, Echo]) -> None:
    bench, _ = echo
    address = bench.edge.addresses[0]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(b"fault", (address.host, address.port))
    assert await asked(address, b"xyz") == [b"zyx"]
    await until(lambda: bool(bench.faults))
    assert bench.faults == [("media.receive", "as asked")]


async def test_deadlines_are_kept(echo: tuple[Bench, Echo]) -> None:
    """Each one leads to the next; an earlier one moves the timer."""
    bench, engine = echo
    engine.deadline = time.monotonic() + 1000
    bench.edge.flush()
    engine.deadline = time.monotonic() + 0.01
    bench.edge.flush()
    await until(lambda: len(engine.expired) == 3)
    assert engine.expired == sorted(engine.expired)


async def test_what_is_on_the_wire_leaves(echo: tuple[Bench, Echo]) -> None:
    """Whenever the edge is told, and at its end; what no socket can send is dropped."""
    bench, engine = echo
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(60)
        sock.bind(("127.0.0.1", 0))
        to = Address.parse(*sock.getsockname())
        for name, length in ((socket_name(to), 4), (socket_name(LOOPBACK[1]), 16)):
            lanes = engine.wire.lanes[length]
            assert lanes.video.put(bytearray(b"third"), 5, name, plain)
            assert lanes.audio.put(bytearray(b"second"), 6, name, plain)
        engine.wire.outgoing.append((b"first", to))
        bench.edge.flush()
        assert [sock.recv(99) for _ in range(3)] == [b"first", b"second", b"third"]
        engine.wire.outgoing.append((b"last", to))
        bench.edge.close()
        assert sock.recv(99) == b"last"
        engine.wire.outgoing.append((b"never", to))
        bench.edge.flush()
        bench.edge.close()
    assert bench.edge.sockets == ()


def test_a_port_in_use_is_one_sentence() -> None:
    """Nothing stays open."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        edge = MediaEdge(Echo(), fault=lambda *_: None)
        with pytest.raises(StartupError, match="media port"):
            edge.bind([LOOPBACK[1], Address.parse(*taken.getsockname())])
    assert edge.sockets == ()
    with pytest.raises(ValueError, match="each family"):
        edge.bind([LOOPBACK[0], LOOPBACK[0]])


async def test_strangers_on_the_port() -> None:
    """Checks, media and noise from everywhere: no answer, no state."""
    engine = LoopEngine()
    bench = Bench(engine)
    bench.edge.serve()
    stranger = MediaClient(connection("none"), LOOPBACK[0])
    known = connection("ours", engine.wire)
    engine.demux.add(known)
    engine.mirrors[known] = Mirror(known, known)
    address = bench.edge.addresses[0]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for data in (stranger.check(), bytes(rtp_packet(1)), b"\x16\xfe\xfd" + bytes(80), b"", bytes(1400)):
            sock.sendto(data, (address.host, address.port))
    (answer,) = await asked(address, MediaClient(known, LOOPBACK[0]).check())
    assert answer[:2] == b"\x01\x01"
    assert engine.demux.addresses == 1
    assert bench.edge.sockets[0].packets_out == 1
    bench.edge.close()
    assert bench.faults == []
