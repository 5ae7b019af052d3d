"""The UDP listener, with real sockets: what goes to a hop, what goes to the core, and what goes nowhere."""

import asyncio
import errno
import os
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from stun.address import Address
from tests.support.datapath_world import (
    LOOPBACKS,
    HandClock,
    RecordingHop,
    RecordingSink,
    Sent,
    clogged_loopback,
    receive_marked,
    turns,
)
from tests.support.peer import UdpPeer, refused_address
from tests.support.stream_world import captured_log
from tests.support.tcp_pair import eventually
from turnserver.core.types import ClientTransport, FiveTuple, RelayId, Route
from turnserver.errors import StartupError
from turnserver.net import TosPolicy, set_tos
from turnserver.receiver import Receiver
from turnserver.relay.sockets import AsyncioDatapath
from turnserver.transports.base import Transport, TransportCounters
from turnserver.transports.udp import FAULT_PAUSE, LISTENER_BURST, UdpPath, UdpTransport

pytestmark = pytest.mark.usefixtures("ipv6")

CHANNEL = 0x4001
LIFETIME = 600.0
STUN = b"\x00\x01\x00\x00\x21\x12\xa4\x42" + bytes(12)


class World:
    """A listener with its sink and its clock."""

    def __init__(self, host: str = "127.0.0.1", *, tos: TosPolicy = "clear") -> None:
        self.clock = HandClock()
        self.sink = RecordingSink()
        self.listener = UdpTransport(3, Address.parse(host, 0), tos=tos, clock=self.clock)
        self.listener.bind()
        self.listener.serve(self.sink)
        self.address = self.listener.address

    def five_tuple(self, client: UdpPeer) -> FiveTuple:
        return FiveTuple(ClientTransport.UDP, client.address, self.address, 3)

    def path(self, client: UdpPeer) -> UdpPath:
        path = self.listener.path(self.five_tuple(client))
        assert path is not None
        return path

    def bind(self, client: UdpPeer, channel: int = CHANNEL) -> RecordingHop:
        hop = RecordingHop(self.clock.now + LIFETIME)
        self.path(client).channels[channel] = hop
        return hop

    async def fence(self, client: UdpPeer) -> None:
        """Everything that was sent before has been dealt with, and nothing but this has gone up."""
        client.send(STUN, self.address)
        assert await self.sink.next() == (self.five_tuple(client), STUN)


@pytest.fixture(params=LOOPBACKS)
def host(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def world(host: str) -> AsyncIterator[World]:
    made = World(host)
    yield made
    made.listener.close()


@pytest.fixture
def client(host: str) -> Iterator[UdpPeer]:
    with UdpPeer(host) as made:
        yield made


def channel_data(payload: bytes, channel: int = CHANNEL) -> bytes:
    return channel.to_bytes(2, "big") + len(payload).to_bytes(2, "big") + payload


# From clients


async def test_port_zero_becomes_the_port_it_got(world: World, host: str) -> None:
    """The address in every 5-tuple is the one that clients use (RFC 8656 §3.2)."""
    transport: Transport = world.listener
    assert transport.address.host == host
    assert transport.address.port > 0
    assert (transport.kind, transport.listener) == (ClientTransport.UDP, 3)


@pytest.mark.parametrize("first", [0x00, 0x01, 0x02, 0x03])
async def test_stun_goes_up_with_its_five_tuple(world: World, client: UdpPeer, first: int) -> None:
    """RFC 7983: a first byte of 0 to 3 is STUN; RFC 8656 §3.2: who sent it is the 5-tuple."""
    message = bytes([first]) + STUN[1:]
    client.send(message, world.address)
    assert await world.sink.next() == (world.five_tuple(client), message)
    world.path(client)
    client.send(message, world.address)
    assert await world.sink.next() == (world.five_tuple(client), message)


async def test_what_is_neither_stun_nor_channel_data_goes_nowhere(world: World, client: UdpPeer) -> None:
    """Rule 20, RFC 7983, RFC 8656 §12: anything but 0 to 3 and 64 to 79 is dropped on its first byte."""
    others = [first for first in range(256) if first > 3 and not 0x40 <= first <= 0x4F]
    for first in others:
        client.send(bytes([first]) * 20, world.address)
        if first % LISTENER_BURST == 0:
            await turns()
    for short in (b"", b"\x00", b"\x40", b"\x40\x01\x00"):
        client.send(short, world.address)
    await world.fence(client)
    assert world.listener.counters.dropped == len(others) + 4
    assert world.listener.counters.packets_in == len(others) + 5


async def test_dtls_is_a_line_for_the_operator(world: World, client: UdpPeer) -> None:
    """``turns:`` with ``transport=udp`` is DTLS, which no listener here speaks: who tries it is told nothing."""
    with captured_log("meshturn.udp") as records:
        for version in (b"\xfe\xff", b"\xfe\xfd", b"\x03\x01"):
            client.send(b"\x16" + version + bytes(40), world.address)
        await world.fence(client)
    assert [(record.levelname, record.getMessage()) for record in records] == [("INFO", "DTLS on a UDP listener")]
    assert world.listener.counters.dropped == 3


async def test_channel_data_longer_than_its_datagram_is_dropped(world: World, client: UdpPeer) -> None:
    """Rule 19, RFC 8656 §12.6: a length field that exceeds the datagram makes it invalid, with a channel or without."""
    hop = world.bind(client)
    client.send(channel_data(b"12345")[:-1], world.address)
    client.send(b"\x40\x00\xff\xff" + bytes(100), world.address)
    await world.fence(client)
    assert hop.sent == []
    assert world.listener.counters.dropped == 2


@pytest.mark.parametrize("channel", [0x4000, 0x4001, 0x4FFF])
async def test_channel_data_with_a_live_hop_goes_straight_there(world: World, client: UdpPeer, channel: int) -> None:
    """RFC 8656 §12.6: the data and nothing else; empty data too, and bytes past the length are padding."""
    hop = world.bind(client, channel)
    payloads = [b"hello", b"", bytes(65503) if client.address.family == 1 else bytes(65523)]
    for payload in payloads:
        client.send(channel_data(payload, channel), world.address)
    client.send(channel_data(b"padded", channel) + b"\0\0", world.address)
    await world.fence(client)
    assert hop.sent == [Sent(payload, 0) for payload in (*payloads, b"padded")]
    assert world.listener.counters.dropped == 0


async def test_channel_data_without_a_live_hop_goes_up(world: World, client: UdpPeer) -> None:
    """RFC 8656 §12: an expired channel, an unbound number and a stranger's frame are the core's to judge."""
    hop = world.bind(client)
    world.clock.now += LIFETIME
    with UdpPeer(client.address.host) as stranger:
        for sender, channel in ((client, CHANNEL), (client, 0x4002), (stranger, CHANNEL), (client, 0x4FFF)):
            sender.send(channel_data(b"hello", channel), world.address)
            assert await world.sink.next() == (world.five_tuple(sender), channel_data(b"hello", channel))
    assert hop.sent == []


async def test_the_same_channel_of_two_clients_is_two_channels(world: World, client: UdpPeer) -> None:
    """RFC 8656 §12: channel numbers belong to an allocation, hence to a 5-tuple."""
    with UdpPeer(client.address.host) as other:
        hops = [world.bind(client), world.bind(other)]
        for number in range(4):
            client.send(channel_data(b"1%d" % number), world.address)
            other.send(channel_data(b"2%d" % number), world.address)
        await world.fence(client)
    assert [[sent.payload for sent in hop.sent] for hop in hops] == [
        [b"1%d" % number for number in range(4)],
        [b"2%d" % number for number in range(4)],
    ]


async def test_runs_keep_every_datagram_and_the_order(world: World, client: UdpPeer) -> None:
    """RFC 8656 §12.6: what goes together is of one size and one channel; nothing overtakes."""
    hop, other = world.bind(client), world.bind(client, 0x4002)
    sizes = [100, 100, 100, 7, 7, 0, 0, 100]
    payloads = [bytes([number]) * size for number, size in enumerate(sizes)]
    for payload in payloads:
        client.send(channel_data(payload), world.address)
    client.send(channel_data(b"x" * 100, 0x4002), world.address)
    client.send(channel_data(b"y" * 100), world.address)
    await world.fence(client)
    assert [sent.payload for sent in hop.sent] == [*payloads, b"y" * 100]
    assert hop.runs == [3, 2, 2]
    assert [sent.payload for sent in other.sent] == [b"x" * 100]


async def test_where_runs_cannot_be_they_go_one_by_one(world: World, client: UdpPeer) -> None:
    """RFC 8656 §12.6: a run is a saving, not a condition."""
    hop = world.bind(client)
    hop.takes_runs = False
    payloads = [b"%d" % number for number in range(5)]
    for payload in payloads:
        client.send(channel_data(payload), world.address)
    await world.fence(client)
    assert [sent.payload for sent in hop.sent] == payloads


async def test_data_does_not_fall_behind_a_request(world: World, client: UdpPeer) -> None:
    """What came before a message has been sent when the core sees the message, which may end the channel."""
    hop = world.bind(client)
    seen: list[int] = []
    world.sink.client_frame = lambda five_tuple, frame: seen.append(len(hop.sent))  # type: ignore[method-assign]
    for _ in range(3):
        client.send(channel_data(b"data"), world.address)
    client.send(STUN, world.address)
    client.send(channel_data(b"more"), world.address)
    await turns()
    assert seen == [3]
    assert len(hop.sent) == 4


async def test_one_turn_reads_a_bounded_burst(world: World, client: UdpPeer) -> None:
    """However fast clients send, relays and timers have their turn in between."""
    for _ in range(3 * LISTENER_BURST):
        client.send(STUN, world.address)
    largest = before = 0
    for _ in range(20):
        await turns(1)
        largest = max(largest, world.sink.arrived.qsize() - before)
        before = world.sink.arrived.qsize()
    assert before == 3 * LISTENER_BURST
    assert largest == LISTENER_BURST


# To clients


async def test_frames_reach_the_client(world: World, client: UdpPeer) -> None:
    """By 5-tuple and by path, from the address that the client sent to."""
    assert world.listener.send(world.five_tuple(client), b"answer")
    assert client.receive() == (b"answer", world.address)
    path = world.path(client)
    assert path.send(b"frame")
    assert client.receive() == (b"frame", world.address)
    if path.send_run([b"one", b"two"]):
        assert [client.receive()[0] for _ in range(2)] == [b"one", b"two"]
    assert not path.padded


async def test_paths_are_made_on_request_only(world: World, client: UdpPeer) -> None:
    """Rule 3: no state for a source that has not been authenticated; a released path is forgotten."""
    await world.fence(client)
    assert world.listener._paths == {}
    world.listener.send(world.five_tuple(client), b"401")
    assert world.listener._paths == {}
    path = world.path(client)
    assert world.path(client) is path
    world.listener.release(world.five_tuple(client))
    world.listener.release(world.five_tuple(client))
    assert world.listener._paths == {}
    assert world.path(client) is not path


async def test_everything_is_counted(world: World, client: UdpPeer) -> None:
    """In whole frames and their bytes, both ways."""
    world.bind(client)
    client.send(channel_data(b"12345"), world.address)
    client.send(b"\xff junk", world.address)
    await world.fence(client)
    path = world.path(client)
    path.send(b"123")
    path.send_run([b"12", b"34"])
    runs = 2 if world.listener.counters.packets_out == 3 else 0
    path.send(bytes(65528))
    assert world.listener.counters == TransportCounters(3, 9 + 6 + 20, 1 + runs, 3 + 2 * runs, 2)


async def test_a_client_that_has_gone_costs_the_others_nothing(world: World, client: UdpPeer) -> None:
    """Rule 25: ICMP errors about one client neither end the listener nor lose what is for and from another."""
    gone = refused_address(client.address.host)
    dead = world.listener.path(FiveTuple(ClientTransport.UDP, gone, world.address, 3))
    assert dead is not None
    path = world.path(client)
    for number in range(10):
        dead.send(b"still there?")
        assert path.send(b"%d" % number)
        assert client.receive()[0] == b"%d" % number
        await world.fence(client)
    assert world.listener.counters.dropped == 0


@pytest.mark.process
async def test_a_full_send_buffer_drops_and_counts() -> None:
    """Rule 25: EAGAIN on the listener drops the frame and says so; the listener goes on."""
    with clogged_loopback() as inside:
        with inside.entered():
            world = World()
            client = UdpPeer()
        path = world.path(client)
        sent = [path.send(bytes(1000)) for _ in range(3000)]
        assert sent[-1] is False
        assert not path.send_run([bytes(1000)] * 2)
        assert world.listener.counters.packets_out == sent.count(True)
        assert world.listener.counters.dropped == sent.count(False)
        inside.tc("qdisc del dev lo root")
        await world.fence(client)
        assert path.send(b"and on")
    world.listener.close()
    client.close()


# DSCP and ECN


async def test_marks_are_carried_both_ways(host: str, client: UdpPeer) -> None:
    """RFC 8656 §14, rule 27: to the hop with each packet, to the client with each frame; answers are unmarked."""
    world = World(host, tos="copy")
    hop = world.bind(client)
    marks = [0, 0xB8, 0xB8, 0xB9, 0x02, 0]
    for mark in marks:
        set_tos(client.socket, mark)
        client.send(channel_data(b"data"), world.address)
    await world.fence(client)
    assert hop.sent == [Sent(b"data", mark) for mark in marks]
    assert hop.runs == [2]
    ask_for_marks(client)
    for mark in (0xB8, 0x01, 0):
        assert world.path(client).send(b"data", mark)
        assert await receive_marked(client.socket) == (b"data", mark)
        if world.path(client).send_run([b"a", b"b"], 0x88):
            assert [await receive_marked(client.socket) for _ in range(2)] == [(b"a", 0x88), (b"b", 0x88)]
    world.path(client).send(b"data", 0xB8)
    world.listener.send(world.five_tuple(client), b"answer")
    assert [await receive_marked(client.socket) for _ in range(2)] == [(b"data", 0xB8), (b"answer", 0)]
    world.listener.close()


async def test_marks_are_cleared_unless_they_are_to_be_carried(world: World, client: UdpPeer) -> None:
    """RFC 8656 §14: the alternate behaviour, zero."""
    hop = world.bind(client)
    set_tos(client.socket, 0xB8)
    client.send(channel_data(b"data"), world.address)
    await world.fence(client)
    assert hop.sent == [Sent(b"data", 0)]


def ask_for_marks(peer: UdpPeer) -> None:
    if peer.socket.family == socket.AF_INET:
        peer.socket.setsockopt(socket.IPPROTO_IP, socket.IP_RECVTOS, 1)
    else:
        peer.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVTCLASS, 1)


@pytest.mark.parametrize("relay_host", LOOPBACKS)
async def test_a_channel_through_listener_and_relay(host: str, client: UdpPeer, relay_host: str) -> None:
    """RFC 8656 §12, §13, §14: both ways, between families too, every datagram whole, in order, with its mark."""
    world = World(host, tos="copy")
    datapath = AsyncioDatapath(tos="copy", clock=world.clock)
    datapath.attach(world.sink, world.listener)
    with UdpPeer(relay_host) as probe:
        relayed = probe.address
    datapath.open_relay(RelayId(1), relayed)
    with UdpPeer(relay_host) as peer:
        five_tuple = world.five_tuple(client)
        datapath.add_route(Route(five_tuple, CHANNEL, RelayId(1), peer.address, world.clock.now + LIFETIME))
        ask_for_marks(client)
        ask_for_marks(peer)
        packets = [Sent(bytes([number]) * size, mark) for number, (size, mark) in enumerate(MIXED)]
        for payload, mark in packets:
            set_tos(client.socket, mark)
            client.send(channel_data(payload), world.address)
        assert [await receive_marked(peer.socket) for _ in packets] == packets
        for payload, mark in packets:
            set_tos(peer.socket, mark)
            peer.send(payload, relayed)
        wanted = [Sent(channel_data(payload), mark) for payload, mark in packets]
        assert [await receive_marked(client.socket) for _ in packets] == wanted
    counters = datapath.counters(RelayId(1))
    assert counters.packets_to_peers == counters.packets_to_client == len(packets)
    assert counters.bytes_to_peers == counters.bytes_to_client == sum(len(packet.payload) for packet in packets)
    assert counters.dropped == world.listener.counters.dropped == 0
    datapath.close()
    assert world.listener._paths == {}
    world.listener.close()


MIXED = [(160, 0)] * 12 + [(160, 0xB8)] * 3 + [(1200, 0x88)] * 8 + [(0, 0), (0, 0), (1, 3), (1400, 0), (1400, 0)]


# Beginning and end


async def test_a_closed_listener_is_silent(world: World, client: UdpPeer) -> None:
    """Nothing comes up, no path is made, nothing is sent; the port is free again. Closing twice is no error."""
    path = world.path(client)
    client.send(STUN, world.address)
    world.listener.close()
    world.listener.close()
    await turns()
    assert world.sink.arrived.empty()
    assert world.listener.path(world.five_tuple(client)) is None
    assert not world.listener.send(world.five_tuple(client), b"x")
    assert not path.send(b"x")
    world.listener.close_client(world.five_tuple(client))
    UdpPeer(client.address.host, world.address.port).close()


async def test_a_listener_may_close_in_the_middle_of_a_burst(world: World, client: UdpPeer) -> None:
    """A shutdown may come from what a datagram sets off."""
    seen: list[bytes] = []

    def close(five_tuple: FiveTuple, frame: bytes) -> None:
        seen.append(frame)
        world.listener.close()

    world.sink.client_frame = close  # type: ignore[method-assign]
    for _ in range(3):
        client.send(STUN, world.address)
    await turns()
    assert seen == [STUN]


class BrokenHop(RecordingHop):
    """A hop whose expiry cannot be read: reading a datagram for it raises in the middle of a burst."""

    @property
    def expires(self) -> float:
        raise ZeroDivisionError

    @expires.setter
    def expires(self, value: float) -> None: ...


async def test_a_fault_over_one_datagram_costs_only_that_one(world: World, client: UdpPeer) -> None:
    """What came before it in the burst, and what came after it, goes on; every datagram is counted once."""
    hop = world.bind(client)
    world.path(client).channels[CHANNEL + 1] = BrokenHop(0)
    before = world.listener.counters.packets_in
    for number in range(3):
        client.send(channel_data(b"before %d" % number), world.address)
    for _ in range(2):
        client.send(channel_data(b"broken", CHANNEL + 1), world.address)
        client.send(channel_data(b"between"), world.address)
    await world.fence(client)
    assert [data for data, _ in hop.sent] == [b"before 0", b"before 1", b"before 2", b"between", b"between"]
    assert world.sink.faults == ["transport.read: ZeroDivisionError"] * 2
    assert world.listener.counters.packets_in - before == 8


async def test_a_socket_that_cannot_be_read_is_not_read_for_a_while(
    world: World, client: UdpPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stays readable, so that the loop would spin; nothing is lost, because the datagrams wait in the socket."""
    loop = asyncio.get_running_loop()
    readers = loop._selector.get_map()  # type: ignore[attr-defined]
    pauses = kept_pauses(monkeypatch)
    descriptor = world.listener._socket.fd  # type: ignore[union-attr]
    receiver = receiver_of(loop, descriptor)

    def broken(*arguments: object) -> object:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(type(receiver), "burst", broken)
        client.send(STUN, world.address)
        await eventually(lambda: pauses)
        await turns()
        assert world.sink.faults == ["transport.read: ZeroDivisionError"]
        assert descriptor not in readers
    (go_on,) = pauses
    go_on()
    assert await world.sink.next() == (world.five_tuple(client), STUN)


async def test_a_listener_that_is_closed_during_the_pause_stays_closed(
    world: World, client: UdpPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop, pauses = asyncio.get_running_loop(), kept_pauses(monkeypatch)
    descriptor = world.listener._socket.fd  # type: ignore[union-attr]

    def broken(*arguments: object) -> object:
        raise ZeroDivisionError

    monkeypatch.setattr(type(receiver_of(loop, descriptor)), "burst", broken)
    client.send(STUN, world.address)
    await eventually(lambda: pauses)
    world.listener.close()
    pauses[0]()
    assert descriptor not in loop._selector.get_map()  # type: ignore[attr-defined]


def kept_pauses(monkeypatch: pytest.MonkeyPatch) -> list[Callable[[], None]]:
    """What would be called after a pause, when the test says so."""
    loop, pauses = asyncio.get_running_loop(), []
    call_later = loop.call_later

    def kept(delay: float, callback: Callable[..., None], *arguments: object) -> object:
        return pauses.append(callback) if delay == FAULT_PAUSE else call_later(delay, callback, *arguments)

    monkeypatch.setattr(loop, "call_later", kept)
    return pauses


def receiver_of(loop: asyncio.AbstractEventLoop, descriptor: int) -> Receiver:
    """What a listener's socket is read with."""
    reader, _ = loop._selector.get_key(descriptor).data  # type: ignore[attr-defined]
    receiver: Receiver = reader._args[1]
    return receiver


async def test_before_its_start_a_listener_has_nothing() -> None:
    """No socket yet, and nothing to close."""
    listener = UdpTransport(0, Address.parse("127.0.0.1", 0))
    five_tuple = FiveTuple(ClientTransport.UDP, Address.parse("127.0.0.1", 9), listener.address, 0)
    listener.close()
    assert listener.path(five_tuple) is None
    assert not listener.send(five_tuple, b"x")
    assert listener.counters == TransportCounters()


async def test_a_port_in_use_is_one_sentence_and_a_hint(host: str) -> None:
    """A failed start says what to do."""
    with UdpPeer(host) as taken:
        with pytest.raises(StartupError) as caught:
            UdpTransport(0, taken.address).bind()
        assert str(caught.value) == f"UDP {taken.address} is already in use."
        assert f"sport = :{taken.address.port}" in caught.value.hint


@pytest.mark.parametrize("elsewhere", ["192.0.2.1", "2001:db8::1"])
async def test_an_address_of_another_machine_is_one_sentence_and_a_hint(elsewhere: str) -> None:
    """A failed start says what to do."""
    with pytest.raises(StartupError, match=r"is not an address of this machine\.$") as caught:
        UdpTransport(0, Address.parse(elsewhere, 3478)).bind()
    assert elsewhere in str(caught.value)
    assert "ip address" in caught.value.hint


@contextmanager
def unprivileged() -> Iterator[None]:
    """Without root's powers; skips where every user may bind any port."""
    if int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text(encoding="ascii")) <= 7:
        pytest.skip("this machine lets every user bind every port")
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


async def test_a_privileged_port_is_one_sentence_and_a_hint(host: str) -> None:
    """A failed start says what to do."""
    with unprivileged(), pytest.raises(StartupError, match="privileged port") as caught:
        UdpTransport(0, Address.parse(host, 7)).bind()
    assert "1024" in caught.value.hint
    assert "CAP_NET_BIND_SERVICE" in caught.value.hint


@pytest.mark.parametrize(
    ("number", "sentence", "hint"),
    [
        (errno.EAFNOSUPPORT, r"this machine has no IPv[46]\.$", "Remove the IPv"),
        (errno.ENOBUFS, r"cannot be used: .+\.$", "listener"),
        (errno.EACCES, r"cannot be used: .+\.$", "listener"),
    ],
)
async def test_other_failures_are_one_sentence_and_a_hint(
    monkeypatch: pytest.MonkeyPatch, host: str, number: int, sentence: str, hint: str
) -> None:
    """A family the machine lacks, and what nobody foresaw."""
    monkeypatch.setattr(socket, "socket", raising(OSError(number, os.strerror(number))))
    with pytest.raises(StartupError, match=sentence) as caught:
        UdpTransport(0, Address.parse(host, 3478)).bind()
    assert hint in caught.value.hint


def raising(error: OSError) -> Callable[..., socket.socket]:
    def fail(*arguments: object) -> socket.socket:
        raise error

    return fail


async def test_what_comes_before_it_serves_waits(host: str) -> None:
    """The address is known once it is bound, and no datagram is lost until there is somebody to give it to."""
    listener, sink = UdpTransport(0, Address.parse(host, 0)), RecordingSink()
    with pytest.raises(RuntimeError):
        listener.serve(sink)
    listener.bind()
    assert listener.address.port
    with UdpPeer(host) as client:
        client.send(STUN, listener.address)
        listener.serve(sink)
        _, frame = await sink.next()
        assert frame == STUN
        listener.close()


async def test_one_that_is_bound_and_never_serves_gives_its_port_back(host: str) -> None:
    listener = UdpTransport(0, Address.parse(host, 0))
    listener.bind()
    listener.close()
    again = UdpTransport(0, listener.address)
    again.bind()
    again.close()
    again.close()
