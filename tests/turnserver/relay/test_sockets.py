"""The default datapath, with real sockets: what goes through, what does not, and what is survived."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import nullcontext

import pytest

from stun.address import Address
from tests.support.datapath_world import (
    LOOPBACKS,
    HandClock,
    MemoryClients,
    MemoryPath,
    PeerDatagram,
    PeerIcmp,
    RecordingSink,
    client,
    clogged_loopback,
    receive_marked,
    turns,
)
from tests.support.netns import NetworkNamespace
from tests.support.peer import UdpPeer, refused_address
from tests.support.tcp_pair import eventually
from turnserver.core.types import Counters, FiveTuple, RelayId, Route
from turnserver.errors import DatapathError
from turnserver.net import TosPolicy, set_tos
from turnserver.paths import ChannelHop
from turnserver.relay.base import Datapath
from turnserver.relay.sockets import MAX_FAULTS, SOCKET_BURST, TURN_BURST, AsyncioDatapath

pytestmark = pytest.mark.usefixtures("ipv6")

CHANNEL = 0x4001
LIFETIME = 600.0


class World:
    """A datapath with its sink, its clients and its clock."""

    def __init__(self, *, tos: TosPolicy = "clear", private_epoll: bool = True) -> None:
        self.clock = HandClock()
        self.sink = RecordingSink()
        self.clients = MemoryClients()
        self.datapath = AsyncioDatapath(tos=tos, clock=self.clock, private_epoll=private_epoll)
        self.datapath.attach(self.sink, self.clients)
        self.opened = 0

    def open(self, host: str = "127.0.0.1") -> tuple[RelayId, Address]:
        """A relay on a free port, and its address."""
        with UdpPeer(host) as probe:
            address = probe.address
        self.opened += 1
        self.datapath.open_relay(RelayId(self.opened), address)
        return RelayId(self.opened), address

    def allow(self, relay: RelayId, peer: Address) -> None:
        self.datapath.allow_peer(relay, peer.ip, self.clock.now + LIFETIME)

    def bind(self, relay: RelayId, peer: Address, channel: int = CHANNEL, who: FiveTuple | None = None) -> MemoryPath:
        """A channel to ``peer``; its client's path."""
        who = who or client(40000 + relay)
        self.datapath.add_route(Route(who, channel, relay, peer, self.clock.now + LIFETIME))
        path = self.clients.path(who)
        assert path is not None
        return path


@pytest.fixture(params=[True, False], ids=["epoll", "readers"])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    made = World(private_epoll=request.param)
    yield made
    made.datapath.close()


@pytest.fixture
async def marking_world() -> AsyncIterator[World]:
    made = World(tos="copy")
    yield made
    made.datapath.close()


@pytest.fixture(params=LOOPBACKS)
def host(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def frame(payload: bytes, channel: int = CHANNEL) -> bytes:
    return channel.to_bytes(2, "big") + len(payload).to_bytes(2, "big") + payload


def send_all(hop: ChannelHop, payloads: list[bytes]) -> None:
    """As a transport does it: together if that can be, else one by one."""
    if not hop.send_run(payloads):
        for payload in payloads:
            hop.send(payload)


async def test_it_is_a_datapath(world: World) -> None:
    """The three datapaths stand behind the same names."""
    datapath: Datapath = world.datapath
    assert datapath.name == "asyncio"


# Peer to client


async def test_a_peer_with_a_channel_reaches_its_client_as_channel_data(world: World, host: str) -> None:
    """RFC 8656 §12.7: application data from a peer with a channel is sent in a ChannelData message, unpadded on UDP."""
    relay, relayed = world.open(host)
    with UdpPeer(host) as peer:
        path = world.bind(relay, peer.address)
        peer.send(b"hello", relayed)
        assert await path.next() == (frame(b"hello"), 0)
    assert world.datapath.counters(relay) == Counters(packets_to_client=1, bytes_to_client=5)


@pytest.mark.parametrize("waiting", [1, 3, SOCKET_BURST])
async def test_what_waited_during_a_pause_is_dropped_and_nothing_else(world: World, waiting: int) -> None:
    """Media that is too old is of no use; what comes afterwards is not old, however much waited."""
    relay, relayed = world.open()
    with UdpPeer("127.0.0.1") as peer:
        path = world.bind(relay, peer.address)
        for _ in range(waiting):
            peer.send(b"old", relayed)
        world.datapath.paused(True)
        await eventually(lambda: world.datapath.counters(relay).dropped == waiting)
        peer.send(b"new", relayed)
        assert await path.next() == (frame(b"new"), 0)
    assert world.datapath.counters(relay).dropped == waiting


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 1200, 65507])
async def test_payloads_of_every_size_reach_the_client_whole(world: World, host: str, size: int) -> None:
    """RFC 8656 §12.7: the length field is the length of the data; empty datagrams count, and none is cut."""
    relay, relayed = world.open(host)
    with UdpPeer(host) as peer:
        path = world.bind(relay, peer.address)
        peer.send(bytes(size), relayed)
        assert await path.next() == (frame(bytes(size)), 0)


@pytest.mark.parametrize("size", range(6))
async def test_frames_for_streams_are_padded(world: World, size: int) -> None:
    """RFC 8656 §12.5: over TCP and TLS ChannelData is padded to four bytes, and its length does not count them."""
    world.clients.padded = True
    relay, relayed = world.open()
    with UdpPeer() as peer:
        path = world.bind(relay, peer.address)
        for _ in range(3):
            peer.send(b"x" * size, relayed)
        received = [(await path.next())[0] for _ in range(3)]
    assert received == [frame(b"x" * size) + bytes(-size % 4)] * 3


async def test_a_permitted_peer_without_a_channel_goes_up(world: World, host: str) -> None:
    """RFC 8656 §11.3: a permitted peer's data reaches the core, which makes the Data indication; empty data too."""
    relay, relayed = world.open(host)
    with UdpPeer(host) as peer:
        world.allow(relay, peer.address)
        for data in (b"hello", b""):
            peer.send(data, relayed)
            assert await world.sink.next() == PeerDatagram(relay, peer.address, data)
    assert world.datapath.counters(relay) == Counters(packets_to_client=2, bytes_to_client=5)


async def test_a_peer_without_a_permission_is_dropped_unseen(world: World) -> None:
    """Rule 14, RFC 8656 §11.3: without a permission the datagram is silently discarded; here it is counted."""
    relay, relayed = world.open()
    with UdpPeer("127.0.0.2") as stranger, UdpPeer() as peer:
        world.allow(relay, peer.address)
        stranger.send(b"let me in", relayed)
        peer.send(b"hello", relayed)
        assert await world.sink.next() == PeerDatagram(relay, peer.address, b"hello")
    assert world.datapath.counters(relay) == Counters(packets_to_client=1, bytes_to_client=5, dropped=1)


async def test_a_permission_ends_by_itself_or_by_order(world: World) -> None:
    """RFC 8656 §9: 300 seconds without a refresh, and it is gone, whether or not anybody has called."""
    relay, relayed = world.open()
    with UdpPeer() as peer, UdpPeer("127.0.0.2") as lasting:
        world.allow(relay, peer.address)
        world.clock.now += LIFETIME
        world.allow(relay, lasting.address)
        peer.send(b"late", relayed)
        lasting.send(b"in time", relayed)
        assert await world.sink.next() == PeerDatagram(relay, lasting.address, b"in time")
        world.allow(relay, peer.address)
        world.datapath.forbid_peer(relay, lasting.address.ip)
        lasting.send(b"no more", relayed)
        peer.send(b"again", relayed)
        assert await world.sink.next() == PeerDatagram(relay, peer.address, b"again")
    assert world.datapath.counters(relay).dropped == 2


async def test_an_expired_route_is_not_used(world: World) -> None:
    """RFC 8656 §12: a channel ends after its time even if nobody calls; its peer is then one without a channel."""
    relay, relayed = world.open()
    with UdpPeer() as peer:
        path = world.bind(relay, peer.address)
        world.clock.now += LIFETIME
        peer.send(b"dropped", relayed)
        await turns()
        world.allow(relay, peer.address)
        peer.send(b"passed up", relayed)
        assert await world.sink.next() == PeerDatagram(relay, peer.address, b"passed up")
    assert path.frames.empty()
    assert path.channels[CHANNEL].expires <= world.clock.now
    assert world.datapath.counters(relay) == Counters(packets_to_client=1, bytes_to_client=9, dropped=1)


async def test_a_route_is_for_one_port_of_the_peer(world: World) -> None:
    """RFC 8656 §12: a channel binds a transport address; another port of that host has none."""
    relay, relayed = world.open()
    with UdpPeer() as peer, UdpPeer() as neighbour:
        path = world.bind(relay, peer.address)
        world.allow(relay, peer.address)
        neighbour.send(b"hello", relayed)
        assert await world.sink.next() == PeerDatagram(relay, neighbour.address, b"hello")
        assert path.frames.empty()


async def test_what_the_client_cannot_take_is_dropped_and_counted(world: World) -> None:
    """Rule 25: a full buffer towards the client drops the packet."""
    relay, relayed = world.open()
    with UdpPeer() as peer:
        path = world.bind(relay, peer.address)
        path.refuses = True
        for _ in range(3):
            peer.send(b"lost", relayed)
        await turns()
        path.refuses = False
        peer.send(b"kept", relayed)
        assert await path.next() == (frame(b"kept"), 0)
    assert world.datapath.counters(relay) == Counters(packets_to_client=1, bytes_to_client=4, dropped=3)


async def test_bursts_come_through_in_order_whatever_their_sizes(world: World) -> None:
    """RFC 8656 §12.7: runs of one size may go together, but every frame is its own and none changes places."""
    relay, relayed = world.open()
    sizes = [100] * 10 + [50, 50, 200, 100, 100, 0, 0, 7]
    payloads = [bytes([number]) * size for number, size in enumerate(sizes)]
    with UdpPeer() as peer:
        path = world.bind(relay, peer.address)
        path.takes_runs = True
        for _ in range(6):  # the socket is found to have more each time, so its bursts grow
            for payload in payloads:
                peer.send(payload, relayed)
        received = [(await path.next())[0] for _ in range(6 * len(payloads))]
    assert received == [frame(payload) for payload in payloads] * 6
    assert max(path.runs, default=0) > 1
    assert world.datapath.counters(relay) == Counters(packets_to_client=6 * 18, bytes_to_client=6 * sum(sizes))


async def test_channels_of_one_relay_do_not_mix(world: World) -> None:
    """RFC 8656 §12: each peer's data comes on its own channel."""
    relay, relayed = world.open()
    with UdpPeer() as one, UdpPeer() as two:
        path = world.bind(relay, one.address, 0x4000)
        assert world.bind(relay, two.address, 0x4FFF) is path
        path.takes_runs = True
        for number in range(10):
            one.send(b"1%d" % number, relayed)
            two.send(b"2%d" % number, relayed)
        received = {(await path.next())[0] for _ in range(20)}
    wanted = {frame(b"1%d" % n, 0x4000) for n in range(10)} | {frame(b"2%d" % n, 0x4FFF) for n in range(10)}
    assert received == wanted


# Client to peer


async def test_a_hop_takes_the_payload_to_the_peer(world: World, host: str) -> None:
    """RFC 8656 §12.6: the data leaves from the relayed transport address; empty and largest datagrams too."""
    relay, relayed = world.open(host)
    with UdpPeer(host) as peer:
        path = world.bind(relay, peer.address)
        for payload in (b"hello", b"", bytes(65507)):
            path.channels[CHANNEL].send(payload, 0)
            assert peer.receive() == (payload, relayed)
        if path.channels[CHANNEL].send_run([b"one", b"two"]):
            assert [peer.receive() for _ in range(2)] == [(b"one", relayed), (b"two", relayed)]
    counters = world.datapath.counters(relay)
    assert counters in (Counters(3, 65512), Counters(5, 65518))


async def test_a_send_indication_leaves_from_the_relay(world: World, host: str) -> None:
    """RFC 8656 §11.2: from the relayed transport address, whatever the permission (that is the core's to ask)."""
    relay, relayed = world.open(host)
    with UdpPeer(host) as peer:
        for dont_fragment, data in ((False, b"hello"), (True, b""), (False, b"again")):
            world.datapath.send_to_peer(relay, peer.address, data, dont_fragment)
            assert peer.receive() == (data, relayed)
    assert world.datapath.counters(relay) == Counters(packets_to_peers=3, bytes_to_peers=10)


async def test_relays_on_one_host_reach_one_another(world: World, host: str) -> None:
    """Rule 16, 23: relay to relay is how a mesh behind two symmetric NATs works."""
    first, first_address = world.open(host)
    second, second_address = world.open(host)
    to_first = world.bind(first, second_address)
    to_second = world.bind(second, first_address)
    to_first.channels[CHANNEL].send(b"over there", 0)
    assert await to_second.next() == (frame(b"over there"), 0)
    to_second.channels[CHANNEL].send(b"and back", 0)
    assert await to_first.next() == (frame(b"and back"), 0)


# Routes, relays and their ends


async def test_adding_a_route_again_only_refreshes_it(world: World) -> None:
    """RFC 8656 §12: a refresh of a channel resets its time; the route is the same."""
    relay, _ = world.open()
    with UdpPeer() as peer:
        path = world.bind(relay, peer.address)
        hop = path.channels[CHANNEL]
        world.clock.now += 300.0
        world.bind(relay, peer.address)
        assert path.channels == {CHANNEL: hop}
        assert hop.expires == world.clock.now + LIFETIME
    assert world.clients.released == []


async def test_a_removed_route_is_gone_both_ways(world: World) -> None:
    """RFC 8656 §12: then the peer needs a permission of its own; the client's path is released with the last route."""
    relay, relayed = world.open()
    who = client()
    with UdpPeer() as peer, UdpPeer() as other:
        path = world.bind(relay, peer.address, 0x4000, who)
        world.bind(relay, other.address, 0x4001, who)
        world.datapath.remove_route(who, 0x4000)
        world.datapath.remove_route(who, 0x4000)
        assert list(path.channels) == [0x4001]
        assert world.clients.released == []
        world.allow(relay, peer.address)
        peer.send(b"hello", relayed)
        assert await world.sink.next() == PeerDatagram(relay, peer.address, b"hello")
        world.datapath.remove_route(who, 0x4001)
        assert world.clients.released == [who]
    assert not path.channels


async def test_a_channel_bound_anew_leaves_nothing_behind(world: World) -> None:
    """RFC 8656 §12: one peer per channel, one channel per peer; a later route takes the places of earlier ones."""
    relay, relayed = world.open()
    with UdpPeer() as one, UdpPeer() as two:
        world.bind(relay, one.address, 0x4000)
        world.bind(relay, two.address, 0x4000)
        path = world.bind(relay, two.address, 0x4002)
        assert list(path.channels) == [0x4002]
        one.send(b"nobody's", relayed)
        two.send(b"hello", relayed)
        assert await path.next() == (frame(b"hello", 0x4002), 0)
    assert world.datapath.counters(relay).dropped == 1


async def test_routes_to_nowhere_are_ignored(world: World) -> None:
    """A client that has gone and a relay that has closed have no routes; unknown ones cannot be removed."""
    relay, relayed = world.open()
    world.clients.gone.add(client())
    with UdpPeer() as peer:
        world.datapath.add_route(Route(client(), CHANNEL, relay, peer.address, world.clock.now + 1))
        world.datapath.add_route(Route(client(2), CHANNEL, RelayId(99), peer.address, world.clock.now + 1))
        other_family = Address.parse("::1", peer.address.port)
        world.datapath.add_route(Route(client(2), CHANNEL, relay, other_family, world.clock.now + 1))
        world.allow(relay, peer.address)
        peer.send(b"up", relayed)
        assert await world.sink.next() == PeerDatagram(relay, peer.address, b"up")
    world.datapath.remove_route(client(2), CHANNEL)
    assert world.clients.paths == {}


async def test_an_unknown_relay_is_ignored(world: World) -> None:
    """Commands may cross the end of a relay."""
    peer = Address.parse("127.0.0.1", 9)
    world.datapath.close_relay(RelayId(99))
    world.datapath.allow_peer(RelayId(99), peer.ip, 5.0)
    world.datapath.forbid_peer(RelayId(99), peer.ip)
    world.datapath.send_to_peer(RelayId(99), peer, b"x", False)
    assert world.datapath.counters(RelayId(99)) == Counters()


async def test_a_closed_relay_frees_its_port_and_its_clients(world: World, host: str) -> None:
    """RFC 8656 §3.9: when an allocation ends its relayed address is released, its channels and permissions with it."""
    relay, relayed = world.open(host)
    with UdpPeer(host) as peer:
        path = world.bind(relay, peer.address)
        hop = path.channels[CHANNEL]
        world.datapath.close_relay(relay)
        hop.send(b"late", 0)
        hop.send_run([b"later", b"still"], 0)
    assert not path.channels
    assert world.clients.released == [client(40000 + relay)]
    UdpPeer(host, relayed.port).close()
    assert world.datapath.counters(relay) == Counters()


async def test_a_relay_is_bound_to_exactly_its_address(world: World, host: str) -> None:
    """RFC 8656 §7.2: a port in use, an address of another machine and a relay that exists are refused by name."""
    relay, relayed = world.open(host)
    with UdpPeer(host) as taken:
        with pytest.raises(DatapathError, match="in use"):
            world.datapath.open_relay(RelayId(50), taken.address)
        with pytest.raises(DatapathError, match="open already"):
            world.datapath.open_relay(relay, relayed)
        elsewhere = "192.0.2.1" if host == "127.0.0.1" else "2001:db8::1"
        with pytest.raises(DatapathError, match="assign"):
            world.datapath.open_relay(RelayId(50), Address.parse(elsewhere, 0))
        world.allow(relay, taken.address)
        taken.send(b"still here", relayed)
        assert await world.sink.next() == PeerDatagram(relay, taken.address, b"still here")


async def test_the_end_of_a_datapath_is_the_end_of_its_relays(world: World) -> None:
    """Nothing is delivered afterwards; ending twice is no error, nor is ending what never began."""
    relay, relayed = world.open()
    with UdpPeer() as peer:
        world.allow(relay, peer.address)
        peer.send(b"too late", relayed)
        world.datapath.close()
        world.datapath.close()
        await turns()
    assert world.sink.arrived.empty()
    UdpPeer("127.0.0.1", relayed.port).close()
    AsyncioDatapath().close()


@pytest.mark.parametrize("end", [lambda w, r: w.datapath.close_relay(r), lambda w, r: w.datapath.close()])
async def test_a_relay_may_close_in_the_middle_of_a_burst(world: World, end: Callable[[World, RelayId], None]) -> None:
    """The core may end an allocation on any datagram: what came after it is dropped, and other relays go on."""
    relay, relayed = world.open()
    other, other_relayed = world.open()

    def close(relay: RelayId, peer: Address, data: bytes) -> None:
        RecordingSink.peer_datagram(world.sink, relay, peer, data)
        if data == b"the end":
            end(world, relay)

    world.sink.peer_datagram = close  # type: ignore[method-assign]
    with UdpPeer() as peer:
        world.allow(relay, peer.address)
        world.allow(other, peer.address)
        for number in range(4):
            peer.send(b"%d" % number, relayed)
        for data in (b"the end", b"after", b"after"):
            peer.send(data, relayed)
        received = [await world.sink.next() for _ in range(5)]
        peer.send(b"elsewhere", other_relayed)
        await turns()
        if world.datapath.counters(other) != Counters():
            received.append(await world.sink.next())
    assert [r.data for r in received if isinstance(r, PeerDatagram)][:5] == [b"0", b"1", b"2", b"3", b"the end"]
    assert world.sink.arrived.empty()


# Faults


class BrokenPath(MemoryPath):
    """A client's path that raises; how often is counted."""

    raised = 0

    def send(self, data: bytes | memoryview, tos: int = 0) -> bool:
        self.raised += 1
        raise ZeroDivisionError


async def test_a_relay_that_fails_again_and_again_is_given_up(world: World) -> None:
    """A socket that cannot be read would stay readable for ever. It is said once; other relays go on."""
    relay, relayed = world.open()
    other, other_relayed = world.open()
    broken = BrokenPath()
    world.clients.paths[client(40000 + relay)] = broken
    with UdpPeer() as peer:
        world.bind(relay, peer.address)
        path = world.bind(other, peer.address)
        for number in range(1, MAX_FAULTS):
            peer.send(b"x", relayed)
            await eventually(lambda number=number: broken.raised == number)
        assert world.sink.failed == []
        for _ in range(2):
            peer.send(b"x", relayed)
            await eventually(lambda raised=broken.raised: broken.raised > raised)
        assert world.sink.failed == [relay]
        assert world.sink.faults == ["datapath.read: ZeroDivisionError"] * (MAX_FAULTS + 1)
        assert world.datapath.counters(relay).dropped == MAX_FAULTS + 1
        peer.send(b"y", other_relayed)
        assert await asyncio.wait_for(path.frames.get(), 90) == (frame(b"y"), 0)


class BrokenChannels(dict[int, ChannelHop]):
    """The channels of a path, which do not take a hop or do not give it up."""

    def __init__(self, method: str) -> None:
        super().__init__()
        self.method = method

    def __setitem__(self, number: int, hop: ChannelHop) -> None:
        super().__setitem__(number, hop)
        if self.method == "set":
            raise ZeroDivisionError

    def __delitem__(self, number: int) -> None:
        raise ZeroDivisionError


@pytest.mark.parametrize("method", ["set", "delete"])
async def test_a_path_that_raises_keeps_no_relay_open(method: str, world: World) -> None:
    """Its hop ends with the relay, and so do those of other clients; the engine is told that nobody has a route."""
    relay, relayed = world.open()
    broken = MemoryPath()
    broken.channels = BrokenChannels(method)
    world.clients.paths[client(1)] = broken
    with UdpPeer() as peer, UdpPeer() as other:
        with pytest.raises(ZeroDivisionError) if method == "set" else nullcontext():
            world.bind(relay, peer.address, who=client(1))
        world.bind(relay, other.address, who=client(2))
    world.datapath.close_relay(relay)
    assert world.datapath._hops == {}
    assert world.clients.released == [client(1), client(2)]
    assert world.sink.faults == ["path.channels: ZeroDivisionError"]
    UdpPeer("127.0.0.1", relayed.port).close()


# Fairness


async def test_a_flooded_relay_does_not_starve_another() -> None:
    """One turn of the loop reads at most its share from each socket, and serves every socket that is readable."""
    world = World()
    flooded, flooded_address = world.open()
    quiet, quiet_address = world.open()
    order: list[RelayId] = []
    world.sink.peer_datagram = lambda relay, peer, data: order.append(relay)  # type: ignore[method-assign]
    with UdpPeer() as peer:
        for relay in (flooded, quiet):
            world.allow(relay, peer.address)
        sent = 0
        for _ in range(120):
            peer.send(bytes(100), flooded_address)
            sent += 1
        peer.send(b"me too", quiet_address)
        for _ in range(50):
            await turns(1)
            if quiet in order:
                break
        assert order.index(quiet) <= SOCKET_BURST
        await turns(50)
    assert order.count(flooded) == sent
    world.datapath.close()


async def test_the_work_of_one_turn_is_bounded() -> None:
    """However much waits on however many relays, the rest of the loop has its turn."""
    world = World()
    with UdpPeer() as peer:
        for _ in range(30):
            relay, address = world.open()
            world.allow(relay, peer.address)
            for _ in range(40):
                peer.send(b"x", address)
        largest = before = 0
        for _ in range(400):
            await turns(1)
            largest = max(largest, world.sink.arrived.qsize() - before)
            before = world.sink.arrived.qsize()
    assert before == 30 * 40
    assert largest <= TURN_BURST + 30
    world.datapath.close()


# Errors of peers


@pytest.mark.parametrize(("host", "kind", "code"), [("127.0.0.1", 3, 3), ("::1", 1, 4)])
@pytest.mark.parametrize("has_channel", [True, False], ids=["channel", "permission"])
async def test_port_unreachable_comes_up(world: World, host: str, kind: int, code: int, has_channel: bool) -> None:
    """RFC 8656 §11.5, rule 26: with the peer that the datagram was for, its type and code, and zero as data."""
    relay, _ = world.open(host)
    nobody = refused_address(host)
    if has_channel:
        world.bind(relay, nobody).channels[CHANNEL].send(b"anyone?", 0)
    else:
        world.allow(relay, nobody)
        world.datapath.send_to_peer(relay, nobody, b"anyone?", False)
    assert await world.sink.next() == PeerIcmp(relay, nobody, kind, code, 0)


async def test_errors_about_peers_without_a_permission_stay_down(world: World) -> None:
    """RFC 8656 §11.5: no permission for the destination of the datagram, no indication."""
    relay, _ = world.open()
    unpermitted, permitted = refused_address("127.0.0.2"), refused_address()
    world.datapath.send_to_peer(relay, unpermitted, b"anyone?", False)
    world.allow(relay, permitted)
    world.datapath.send_to_peer(relay, permitted, b"anyone?", False)
    assert await world.sink.next() == PeerIcmp(relay, permitted, 3, 3, 0)
    assert world.sink.arrived.empty()


@pytest.mark.parametrize("run", [1, 2], ids=["one", "run"])
async def test_an_error_of_one_peer_costs_the_others_nothing(world: World, host: str, run: int) -> None:
    """Rule 25: ECONNREFUSED from one peer ends nothing and loses nothing that is for or from another."""
    relay, relayed = world.open(host)
    nobody = refused_address(host)
    with UdpPeer(host) as peer:
        path = world.bind(relay, peer.address, 0x4000)
        world.bind(relay, nobody, 0x4002)
        for number in range(20):
            path.channels[0x4002].send(b"anyone?", 0)
            send_all(path.channels[0x4000], [b"%02d" % number] * run)
            for _ in range(run):
                assert peer.receive() == (b"%02d" % number, relayed)
            path.channels[0x4002].send(b"anyone?", 0)
            peer.send(b"back", relayed)
            assert await path.next() == (frame(b"back", 0x4000), 0)
    counters = world.datapath.counters(relay)
    assert counters.dropped == 0
    assert counters.packets_to_client == 20


async def test_errors_do_not_keep_the_loop_awake() -> None:
    """Every error is taken off its queue, told or not, so that the socket is quiet again."""
    world = World()
    relay, _ = world.open()
    for _ in range(40):
        world.datapath.send_to_peer(relay, refused_address(), b"anyone?", False)
    await turns(50)
    reads = world.clock.reads
    await turns(50)
    assert world.clock.reads == reads
    world.datapath.close()


@pytest.mark.process
async def test_unreachable_peers_are_dropped_and_counted(world: World) -> None:
    """Rule 25: no route to an address, an address nobody can send to, the wrong family: the relay lives on."""
    with NetworkNamespace() as inside, inside.entered():
        relay, relayed = world.open()
        peer = UdpPeer()
    with peer:
        path = world.bind(relay, peer.address)
        for nowhere in ("198.51.100.1", "255.255.255.255", "2001:db8::1"):
            world.datapath.send_to_peer(relay, Address.parse(nowhere, 9), b"x", False)
        assert world.datapath.counters(relay) == Counters(dropped=3)
        peer.send(b"hello", relayed)
        assert await path.next() == (frame(b"hello"), 0)


async def test_a_datagram_too_large_for_udp_is_dropped_and_counted(world: World, host: str) -> None:
    """Rule 25: a stream client can send a longer payload than UDP carries (RFC 8656 §12.5); EMSGSIZE is its own."""
    relay, relayed = world.open(host)
    with UdpPeer(host) as peer:
        path = world.bind(relay, peer.address)
        path.channels[CHANNEL].send(bytes(65535), 0)
        path.channels[CHANNEL].send(b"next", 0)
        assert peer.receive() == (b"next", relayed)
    assert world.datapath.counters(relay) == Counters(packets_to_peers=1, bytes_to_peers=4, dropped=1)


@pytest.mark.process
async def test_dont_fragment_is_for_that_datagram_alone(world: World, host: str) -> None:
    """RFC 8656 §14, rule 21: DF where a Send indication asks for it; wider than the link, it is dropped (EMSGSIZE)."""
    with NetworkNamespace() as inside:
        inside.ip("link set lo mtu 1280")
        with inside.entered():
            relay, relayed = world.open(host)
            peer = UdpPeer(host)
    wide = bytes(2000)
    with peer:
        path = world.bind(relay, peer.address)
        for _ in range(2):
            world.datapath.send_to_peer(relay, peer.address, wide, True)
            world.datapath.send_to_peer(relay, peer.address, wide, False)
            assert peer.receive() == (wide, relayed)
            world.datapath.send_to_peer(relay, peer.address, wide, True)
            path.channels[CHANNEL].send(wide, 0)
            assert peer.receive() == (wide, relayed)
    assert world.datapath.counters(relay).dropped == 4


@pytest.mark.process
async def test_a_full_send_buffer_drops_and_counts(world: World) -> None:
    """Rule 25: EAGAIN drops the packet; the relay, and what comes the other way, are as good as before."""
    with clogged_loopback() as inside:
        with inside.entered():
            relay, relayed = world.open()
            peer = UdpPeer()
        with peer:
            path = world.bind(relay, peer.address)
            for _ in range(500):
                path.channels[CHANNEL].send(bytes(1000), 0)
                send_all(path.channels[CHANNEL], [bytes(1000)] * 2)
            full = world.datapath.counters(relay)
            assert full.packets_to_peers + full.dropped == 1500
            assert full.dropped > 0
            inside.tc("qdisc del dev lo root")
            peer.send(b"hello", relayed)
            assert await path.next() == (frame(b"hello"), 0)
            path.channels[CHANNEL].send(b"and back", 0)
            while peer.receive()[0] != b"and back":
                pass
    assert world.datapath.counters(relay).packets_to_peers == full.packets_to_peers + 1


# DSCP and ECN


async def test_marks_are_carried_to_the_client(marking_world: World, host: str) -> None:
    """RFC 8656 §14, rule 27: DSCP and ECN of the peer's packet go with it, packet by packet, in runs too."""
    relay, relayed = marking_world.open(host)
    marks = [0, 0xB8, 0xB9, 0xB9, 0x03, 0, 0]
    with UdpPeer(host) as peer:
        path = marking_world.bind(relay, peer.address)
        path.takes_runs = True
        for _ in range(4):
            for mark in marks:
                set_tos(peer.socket, mark)
                peer.send(b"hello", relayed)
        received = [await path.next() for _ in range(4 * len(marks))]
    assert received == [(frame(b"hello"), mark) for mark in marks] * 4


async def test_marks_are_carried_to_the_peer(marking_world: World, host: str) -> None:
    """RFC 8656 §14, rule 27: what the client's packet had the peer's has, and the next starts from nothing."""
    relay, _ = marking_world.open(host)
    with UdpPeer(host) as peer:
        level, option = (
            (socket.IPPROTO_IP, socket.IP_RECVTOS)
            if host == "127.0.0.1"
            else (socket.IPPROTO_IPV6, socket.IPV6_RECVTCLASS)
        )
        peer.socket.setsockopt(level, option, 1)
        hop = marking_world.bind(relay, peer.address).channels[CHANNEL]
        for mark in (0xB8, 0x01, 0, 0x88):
            hop.send(b"hello", mark)
            assert await receive_marked(peer.socket) == (b"hello", mark)
        marking_world.datapath.send_to_peer(relay, peer.address, b"unmarked", False)
        assert await receive_marked(peer.socket) == (b"unmarked", 0)
        if hop.send_run([b"one", b"two"], 0x22):
            assert [await receive_marked(peer.socket) for _ in range(2)] == [(b"one", 0x22), (b"two", 0x22)]


async def test_marks_are_cleared_unless_they_are_to_be_carried(world: World, host: str) -> None:
    """RFC 8656 §14: the alternate behaviour, zero."""
    relay, relayed = world.open(host)
    with UdpPeer(host) as peer:
        path = world.bind(relay, peer.address)
        set_tos(peer.socket, 0xB8)
        peer.send(b"hello", relayed)
        assert await path.next() == (frame(b"hello"), 0)


async def test_strangers_and_marks(marking_world: World) -> None:
    """Rule 14: nothing about permissions changes when marks are read."""
    relay, relayed = marking_world.open()
    with UdpPeer("127.0.0.2") as stranger, UdpPeer() as peer:
        marking_world.allow(relay, peer.address)
        stranger.send(b"let me in", relayed)
        peer.send(b"", relayed)
        assert await marking_world.sink.next() == PeerDatagram(relay, peer.address, b"")
    nobody = refused_address()
    marking_world.datapath.send_to_peer(relay, nobody, b"anyone?", False)
    assert await marking_world.sink.next() == PeerIcmp(relay, nobody, 3, 3, 0)
