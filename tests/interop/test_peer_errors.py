"""Errors from one peer never end an allocation: the real server, real sockets, real errors of the kernel.

Each test provokes an error and then shows that the same allocation still relays to a good peer, both ways.
"""

import contextlib
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import NamedTuple

import pytest

from stun.address import Address
from stun.attributes import IcmpValue
from stun.constants import AddressFamily
from tests.support.netns import NetworkNamespace
from tests.support.peer import UdpPeer, refused_address
from tests.support.server import PASSWORD, USERNAME, TurnServerProcess, loopback_config
from tests.support.turn_client import ChannelMessage, PeerData, PeerError, Received, TurnClient

LOOPBACK = {AddressFamily.IPV4: "127.0.0.1", AddressFamily.IPV6: "::1"}
PORT_UNREACHABLE = {AddressFamily.IPV4: IcmpValue(3, 3, 0), AddressFamily.IPV6: IcmpValue(1, 4, 0)}
"""RFC 792 and RFC 4443 §3.1: what a host answers for a UDP port on which nobody listens."""
GOOD_CHANNEL, BAD_CHANNEL = 0x4000, 0x4001
TRIES = 30
SECONDS_BETWEEN_TRIES = 3.0
families = pytest.mark.parametrize("family", list(AddressFamily), ids=lambda family: family.name.lower())


@pytest.fixture
def client(turn_server: TurnServerProcess) -> Iterator[TurnClient]:
    """A client of the server without an allocation."""
    with TurnClient.udp("127.0.0.1", turn_server.port, USERNAME, PASSWORD) as made:
        yield made


def allocate(client: TurnClient, family: AddressFamily, request: pytest.FixtureRequest) -> str:
    """Allocate a relay of one family; the loopback address on which its peers live."""
    if family is AddressFamily.IPV6:
        request.getfixturevalue("ipv6")
    assert client.allocate(family=family).address.host == LOOPBACK[family]
    return LOOPBACK[family]


def assert_relays(client: TurnClient, peer: UdpPeer, message: bytes = b"still here") -> None:
    """A Send indication reaches a permitted peer and its answer comes back, before anything else."""
    client.send(peer.address, message)
    assert peer.echo() == message
    assert client.receive() == PeerData(peer.address, message)


def assert_relays_on_channel(client: TurnClient, peer: UdpPeer, message: bytes = b"still bound") -> None:
    """ChannelData reaches the peer bound to ``GOOD_CHANNEL`` and its answer comes back, before anything else."""
    client.send_channel(GOOD_CHANNEL, message)
    assert peer.echo() == message
    assert client.receive() == ChannelMessage(GOOD_CHANNEL, message)


def told(client: TurnClient, peer: Address, data: bytes, *, dont_fragment: bool = False) -> Received:
    """What the client is told of a datagram to ``peer``, which is sent again until there is something.

    A router limits the rate of its ICMP errors (RFC 1812 §4.3.2.8), and drops what waits too long for a link.
    """
    for _ in range(TRIES):
        client.send(peer, data, dont_fragment=dont_fragment)
        with contextlib.suppress(TimeoutError):
            return client.receive(timeout=SECONDS_BETWEEN_TRIES)
    raise TimeoutError(f"no ICMP error came for {TRIES} datagrams to {peer}")


@families
def test_refused_port_is_reported_and_survived(
    family: AddressFamily, client: TurnClient, request: pytest.FixtureRequest
) -> None:
    """RFC 8656 §11.5, rules 25 and 26: the ICMP error becomes a Data indication; the allocation goes on."""
    host = allocate(client, family, request)
    nobody = refused_address(host)
    with UdpPeer(host) as peer:
        client.create_permission(peer.address)
        client.send(nobody, b"is anybody there?")
        assert client.receive() == PeerError(nobody, PORT_UNREACHABLE[family])
        assert_relays(client, peer)
        assert client.refresh() > 0


@families
def test_refused_channel_is_reported_and_survived(
    family: AddressFamily, client: TurnClient, request: pytest.FixtureRequest
) -> None:
    """RFC 8656 §11.5: an error for data that went by a channel comes as a Data indication, too; channels go on."""
    host = allocate(client, family, request)
    nobody = refused_address(host)
    with UdpPeer(host) as peer:
        client.channel_bind(GOOD_CHANNEL, peer.address)
        client.channel_bind(BAD_CHANNEL, nobody)
        client.send_channel(BAD_CHANNEL, b"is anybody there?")
        assert client.receive() == PeerError(nobody, PORT_UNREACHABLE[family])
        assert_relays_on_channel(client, peer)


@families
def test_refusals_cost_a_good_peer_nothing(
    family: AddressFamily, client: TurnClient, request: pytest.FixtureRequest
) -> None:
    """Rule 25: an error that the kernel hands out at the next call must not swallow that call's own datagram."""
    host = allocate(client, family, request)
    nobody = refused_address(host)
    rounds = range(50)
    with UdpPeer(host) as peer:
        client.channel_bind(GOOD_CHANNEL, peer.address)
        client.channel_bind(BAD_CHANNEL, nobody)
        for number in rounds:
            client.send_channel(BAD_CHANNEL, b"bad")
            client.send_channel(GOOD_CHANNEL, b"good %d" % number)
            assert peer.echo() == b"good %d" % number
        received = [client.receive() for _ in rounds]
        while len(channel_data := [each for each in received if isinstance(each, ChannelMessage)]) < len(rounds):
            received.append(client.receive())
        assert channel_data == [ChannelMessage(GOOD_CHANNEL, b"good %d" % number) for number in rounds]
        errors = [each for each in received if not isinstance(each, ChannelMessage)]
        assert set(errors) == {PeerError(nobody, PORT_UNREACHABLE[family])}


def test_a_peer_that_comes_back_is_served(client: TurnClient) -> None:
    """Rule 25: a refusal is no verdict on the peer; once it listens, data flows on the same binding."""
    client.allocate()
    with UdpPeer() as first:
        address = first.address
        client.channel_bind(GOOD_CHANNEL, address)
        assert_relays_on_channel(client, first)
    client.send_channel(GOOD_CHANNEL, b"gone?")
    assert client.receive() == PeerError(address, PORT_UNREACHABLE[AddressFamily.IPV4])
    with UdpPeer(address.host, address.port) as again:
        assert_relays_on_channel(client, again)


def test_errors_from_a_peer_without_permission_are_not_reported(client: TurnClient) -> None:
    """RFC 8656 §11.5: an ICMP error is dropped unless the peer has a permission; here a datagram never even leaves."""
    client.allocate()
    nobody = refused_address("127.0.0.2")
    with UdpPeer() as peer:
        client.create_permission(peer.address)
        client.send(nobody, b"not permitted")
        assert_relays(client, peer)


def test_unroutable_peer_is_survived(start_server: Callable[..., TurnServerProcess]) -> None:
    """Rule 25: a relay on loopback cannot send to the world (EINVAL or ENETUNREACH, by the machine's routes)."""
    server = start_server(peers={"allow": ["127.0.0.0/8", "203.0.113.0/24"]})
    unroutable = Address.parse("203.0.113.1", 9)
    with TurnClient.udp("127.0.0.1", server.port, USERNAME, PASSWORD) as client, UdpPeer() as peer:
        client.allocate()
        client.create_permission(peer.address, unroutable)
        client.channel_bind(BAD_CHANNEL, unroutable)
        for _ in range(20):
            client.send(unroutable, b"nowhere")
            client.send_channel(BAD_CHANNEL, b"nowhere")
        assert_relays(client, peer)
        assert client.refresh() > 0


def test_datagram_too_large_for_the_relays_family_is_survived(turn_server: TurnServerProcess, ipv6: None) -> None:
    """Rule 25: ChannelData that fits an IPv6 datagram but no IPv4 one (EMSGSIZE) is dropped, nothing else happens."""
    with TurnClient.udp("::1", turn_server.port, USERNAME, PASSWORD) as client, UdpPeer() as peer:
        client.allocate(family=AddressFamily.IPV4)
        client.channel_bind(GOOD_CHANNEL, peer.address)
        client.send_channel(GOOD_CHANNEL, bytes(65_515))
        assert_relays_on_channel(client, peer)
        assert client.refresh() > 0


def test_a_client_that_has_gone_costs_the_others_nothing(turn_server: TurnServerProcess, client: TurnClient) -> None:
    """Rule 25: the port of one client refuses what its peer still sends; the listener serves the next one."""
    client.allocate()
    with UdpPeer() as peer:
        client.create_permission(peer.address)
        with TurnClient.udp("127.0.0.1", turn_server.port, USERNAME, PASSWORD) as leaver:
            left_behind = leaver.allocate().address
            leaver.channel_bind(GOOD_CHANNEL, peer.address)
            assert_relays_on_channel(leaver, peer)
        for number in range(50):
            peer.send(b"to nobody", left_behind)
            assert_relays(client, peer, b"%d" % number)


class Network(NamedTuple):
    """A server in a namespace of its own whose relays are at one end of a link; peers may live at the other end."""

    server: TurnServerProcess
    inside: NetworkNamespace
    beyond: NetworkNamespace

    def client(self) -> TurnClient:
        """A client next to the server."""
        with self.inside.entered():
            return TurnClient.udp("127.0.0.1", self.server.port, USERNAME, PASSWORD)

    def far_client(self) -> TurnClient:
        """A client at the far end of the link."""
        with self.beyond.entered():
            return TurnClient.udp(NEAR, self.server.port, USERNAME, PASSWORD)

    def near_peer(self) -> UdpPeer:
        """A peer next to the server, reached without the link."""
        with self.inside.entered():
            return UdpPeer(NEAR)

    def far_peer(self) -> UdpPeer:
        """A peer at the far end of the link."""
        with self.beyond.entered():
            return UdpPeer(FAR)


NEAR, FAR = "198.51.100.1", "198.51.100.2"
DISTANT = "203.0.113.0/24"
"""A network to which there is no route, unless a test makes one."""


@pytest.fixture(scope="module")
def link(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    """Two namespaces joined by a link of 1,500 bytes, the server (on 127.0.0.1 and NEAR) in the first."""
    with ExitStack() as stack:
        inside, beyond = stack.enter_context(NetworkNamespace()), stack.enter_context(NetworkNamespace())
        inside.ip(f"link add near type veth peer name far netns {beyond.name}")
        inside.ip(f"addr add {NEAR}/24 dev near")
        beyond.ip(f"addr add {FAR}/24 dev far")
        inside.ip("link set near up")
        beyond.ip("link set far up")
        for each in (inside, beyond):
            each.set("net.ipv4.icmp_ratelimit", "0")
        beyond.forward()
        config = loopback_config(
            listeners=[{"transport": "udp", "address": address, "port": 3478} for address in ("127.0.0.1", NEAR)],
            relay={"addresses": [NEAR]},
            peers={"allow": ["198.51.100.0/24", "203.0.113.0/24"]},
        )
        with inside.entered():
            server = stack.enter_context(TurnServerProcess(config, tmp_path_factory.mktemp("server")))
        yield Network(server, inside, beyond)


@pytest.fixture
def network(link: Network) -> Iterator[Network]:
    """The same for one test, after which routes and queues are again as they were."""
    yield link
    for namespace in (link.inside, link.beyond):
        namespace.flush(DISTANT)
    link.inside.reset_queue("near")


@pytest.mark.parametrize("route", ["none", "unreachable", "prohibit", "blackhole"])
def test_peer_without_a_route_is_survived(route: str, network: Network) -> None:
    """Rule 25: ENETUNREACH, EHOSTUNREACH, EACCES and EINVAL from the routing table stop nothing."""
    lost = Address.parse("203.0.113.1", 9)
    if route != "none":
        network.inside.ip(f"route add {route} {DISTANT}")
    with network.client() as client, network.far_peer() as peer:
        client.allocate()
        client.create_permission(peer.address, lost)
        client.channel_bind(BAD_CHANNEL, lost)
        for _ in range(20):
            client.send(lost, b"nowhere")
            client.send_channel(BAD_CHANNEL, b"nowhere")
        assert_relays(client, peer)
        assert client.refresh() > 0


@pytest.mark.parametrize(
    ("route", "icmp"),
    [("unreachable", IcmpValue(3, 1, 0)), ("prohibit", IcmpValue(3, 13, 0)), ("none", IcmpValue(3, 0, 0))],
    ids=["host-unreachable", "prohibited", "network-unreachable"],
)
def test_what_a_router_says_is_reported_and_survived(route: str, icmp: IcmpValue, network: Network) -> None:
    """RFC 8656 §11.5, rules 25 and 26: ICMP errors from further away reach the client with their type and code."""
    network.inside.ip(f"route add {DISTANT} via {FAR}")
    if route != "none":
        network.beyond.ip(f"route add {route} {DISTANT}")
    lost = Address.parse("203.0.113.1", 9)
    with network.client() as client, network.far_peer() as peer:
        client.allocate()
        client.create_permission(peer.address, lost)
        assert told(client, lost, b"nowhere") == PeerError(lost, icmp)
        assert_relays(client, peer)


def test_fragmentation_needed_is_reported_with_the_mtu(network: Network) -> None:
    """RFC 8656 §§11.5, 14, 18.13: DONT-FRAGMENT goes out as DF, and a router's MTU comes back in the error data."""
    network.inside.ip(f"route add {DISTANT} via {FAR}")
    network.beyond.ip("link add narrow mtu 1280 type veth peer name end")
    network.beyond.ip("link set end up")
    network.beyond.ip("link set narrow up")
    network.beyond.ip(f"route add {DISTANT} dev narrow")
    distant = Address.parse("203.0.113.1", 9)
    with network.client() as client, network.far_peer() as peer:
        client.allocate(dont_fragment=True)
        client.create_permission(peer.address, distant)
        assert told(client, distant, bytes(1_400), dont_fragment=True) == PeerError(distant, IcmpValue(3, 4, 1280))
        assert_relays(client, peer)


def test_datagram_too_large_to_go_unfragmented_is_survived(network: Network) -> None:
    """RFC 8656 §14, rule 25: with DONT-FRAGMENT what exceeds the link's MTU (EMSGSIZE) is not sent; without, it is."""
    with network.client() as client, network.far_peer() as peer:
        relayed = client.allocate(dont_fragment=True).address
        client.create_permission(peer.address)
        for _ in range(20):
            client.send(peer.address, bytes(2_000), dont_fragment=True)
        client.send(peer.address, bytes(3_000))
        assert peer.receive() == (bytes(3_000), relayed)
        peer.send(b"got it", relayed)
        received = client.receive()
        while isinstance(received, PeerError) and received.peer == peer.address:
            received = client.receive()
        assert received == PeerData(peer.address, b"got it")


@pytest.mark.parametrize("size", [1, 200, 1_468, 1_472, 1_473, 4_000])
def test_bursts_of_any_size_arrive_whole(size: int, network: Network) -> None:
    """Rule 25: what the system will not send in one go (larger than the MTU) goes singly; nothing is lost or joined."""
    messages = [bytes([number]) * size for number in range(16)]
    # A shorter and a longer one in between, so that no run has all of them.
    messages[5:5] = [b"short", bytes(size + 100)]
    with network.far_client() as client, network.far_peer() as peer:
        relayed = client.allocate().address
        client.channel_bind(GOOD_CHANNEL, peer.address)
        for message in messages:
            client.send_channel(GOOD_CHANNEL, message)
        arrived = [peer.receive() for _ in messages]
        assert sorted(arrived) == sorted((message, relayed) for message in messages)
        for message in messages:
            peer.send(message, relayed)
        answers = [client.receive() for _ in messages]
        assert sorted(answers) == sorted(ChannelMessage(GOOD_CHANNEL, message) for message in messages)


def test_bursts_to_a_refusing_peer_cost_a_good_one_nothing(client: TurnClient) -> None:
    """Rule 25: the two peers' datagrams in one burst, in runs of one size; all of the good peer's arrive."""
    client.allocate()
    nobody = refused_address()
    messages = [bytes([number]) * 100 for number in range(40)]
    with UdpPeer() as peer:
        client.channel_bind(GOOD_CHANNEL, peer.address)
        client.channel_bind(BAD_CHANNEL, nobody)
        for start in range(0, len(messages), 4):
            for message in messages[start : start + 4]:
                client.send_channel(GOOD_CHANNEL, message)
            for _ in range(4):
                client.send_channel(BAD_CHANNEL, bytes(100))
        assert sorted(peer.receive()[0] for _ in messages) == messages


SLOW_LINK = "handle 1: root tbf rate 8kbit burst 2000 limit 100000000"
"""A queue that takes everything and lets nearly nothing out, so that the socket's own buffer has to fill."""


def queue_dropped(inside: NetworkNamespace) -> int:
    """How many packets the link's own queue has dropped."""
    found = re.search(r"dropped (\d+)", inside.tc("-s qdisc show dev near"))
    assert found is not None
    return int(found[1])


def test_full_send_buffer_towards_a_peer_drops_and_goes_on(network: Network) -> None:
    """Rule 25: EAGAIN on a relay drops the datagram; nothing waits for it, neither this client nor another."""
    total, burst = 1_000, 20
    with (
        network.client() as client,
        network.client() as other,
        network.far_peer() as peer,
        network.near_peer() as near,
    ):
        client.allocate()
        other.allocate()
        client.channel_bind(GOOD_CHANNEL, peer.address)
        other.create_permission(near.address)
        network.inside.tc(f"qdisc add dev near {SLOW_LINK}")
        for start in range(0, total, burst):
            for _ in range(burst):
                client.send_channel(GOOD_CHANNEL, bytes(1_200))
            # An answer says that the server has read the burst, so that nothing is lost on the way to it.
            assert client.refresh() > 0
            assert_relays(other, near, b"%d" % start)
        assert queue_dropped(network.inside) == 0
        network.inside.tc("qdisc del dev near root")
        client.send_channel(GOOD_CHANNEL, b"the last one")
        arrived = 0
        while peer.receive()[0] != b"the last one":
            arrived += 1
        assert arrived < total, "the send buffer never filled"
        assert_relays_on_channel(client, peer)


def test_full_send_buffer_towards_a_client_drops_and_goes_on(network: Network) -> None:
    """Rule 25: EAGAIN on the listener drops data for one slow client; its allocation is as good as before."""
    total = 1_000
    with (
        network.far_client() as slow,
        network.near_peer() as peer,
        network.client() as other,
        network.near_peer() as third,
    ):
        relayed = slow.allocate().address
        slow.channel_bind(GOOD_CHANNEL, peer.address)
        other.allocate()
        other.create_permission(third.address)
        network.inside.tc(f"qdisc add dev near {SLOW_LINK}")
        for number in range(total):
            peer.send(bytes(1_200), relayed)
            if number % 20 == 0:
                assert_relays(other, third, b"%d" % number)
        assert queue_dropped(network.inside) == 0
        network.inside.tc("qdisc del dev near root")
        slow.send_channel(GOOD_CHANNEL, b"and now?")
        assert peer.echo() == b"and now?"
        arrived = 0
        while slow.receive() != ChannelMessage(GOOD_CHANNEL, b"and now?"):
            arrived += 1
        assert arrived < total, "the send buffer never filled"
        assert slow.refresh() > 0
