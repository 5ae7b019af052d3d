"""One relay's permissions, counters and hops."""

from collections.abc import Iterator

import pytest

from stun.address import Address
from tests.support.datapath_world import MemoryPath, client
from turnserver.core.types import Counters, RelayId, Route
from turnserver.net import UdpSocket, bind_udp, from_sockaddr
from turnserver.receiver import HEADROOM, open_receiver, to_source
from turnserver.relay.peersocket import Hop, PeerSocket

PEER = Address.parse("192.0.2.9", 4000)


def open_socket() -> PeerSocket:
    address = Address.parse("127.0.0.1", 0)
    sock = bind_udp(address, receive_tos=False, receive_buffer=65536, send_buffer=65536)
    return PeerSocket(RelayId(1), UdpSocket(sock), open_receiver(sock.family, 8))


def receive(link: PeerSocket) -> list[bytes]:
    return [bytes(frame[HEADROOM : HEADROOM + size]) for frame, (size,), _ in link.receiver.burst(link.udp, 8)]


@pytest.fixture
def link() -> Iterator[PeerSocket]:
    made = open_socket()
    yield made
    made.close()


def hop_to(link: PeerSocket, peer: Address, path: MemoryPath, channel: int = 0x4000, expires: float = 100.0) -> Hop:
    hop = Hop(Route(client(), channel, link.relay, peer, expires), path, link)
    link.routes[hop.peer] = path.channels[channel] = hop
    return hop


@pytest.mark.parametrize("host", ["192.0.2.9", "2001:db8::9"])
def test_a_permission_is_for_an_address_on_any_port(link: PeerSocket, host: str) -> None:
    """RFC 8656 §9: permissions are keyed on the IP address only, and last until their time."""
    peer = Address.parse(host, 4000)
    other = Address.parse("192.0.2.10", 4000)
    link.allow(peer.ip, 10.0, 0.0)
    for port in (0, 4000, 65535):
        assert link.permits(to_source(peer._replace(port=port)), 9.9)
    assert not link.permits(to_source(other), 9.9)
    assert not link.permits(to_source(peer), 10.0)


def test_a_permission_can_be_refreshed_and_taken_away(link: PeerSocket) -> None:
    """RFC 8656 §9.2: refreshing resets the time."""
    link.allow(PEER.ip, 10.0, 0.0)
    link.allow(PEER.ip, 20.0, 9.0)
    assert link.permits(to_source(PEER), 15.0)
    link.forbid(PEER.ip)
    link.forbid(PEER.ip)
    assert not link.permits(to_source(PEER), 15.0)


def test_lapsed_permissions_do_not_pile_up(link: PeerSocket) -> None:
    """A client that asks for a new peer every second, for days, costs no more than its live permissions."""
    for second in range(5000):
        link.allow(second.to_bytes(4, "big"), second + 300.0, float(second))
    assert len(link._permitted) <= 2 * 301
    assert all(link.permits(to_source(Address(n.to_bytes(4, "big"), 1)), 4999.5) for n in range(4700, 5000))


def test_a_live_channel_permits_its_peer_and_no_other_port(link: PeerSocket) -> None:
    """Rule 14: a live channel binding keeps its peer permitted, for as long as it lives."""
    hop_to(link, PEER, MemoryPath(), expires=100.0)
    assert link.permits(to_source(PEER), 99.0)
    assert not link.permits(to_source(PEER._replace(port=4001)), 99.0)
    assert not link.permits(to_source(PEER), 100.0)


def test_a_hop_sends_to_its_peer_and_is_counted(link: PeerSocket) -> None:
    """RFC 8656 §12.6: the application data is sent from the relayed address to the peer, one datagram each."""
    far = open_socket()
    hop = hop_to(link, from_sockaddr(far.udp.sock.getsockname()), MemoryPath())
    hop.send(b"one", 0)
    hop.send(b"", 0)
    sent_together = 2 if hop.send_run([b"two", b"six"]) else 0
    assert not hop.send_run([b"", b""])
    assert receive(far) == [b"one", b"", b"two", b"six"][: 2 + sent_together]
    assert link.counters() == Counters(packets_to_peers=2 + sent_together, bytes_to_peers=3 + 3 * sent_together)
    far.close()


def test_a_hop_knows_where_it_leads(link: PeerSocket) -> None:
    """A refresh finds the hop it is for."""
    hop = hop_to(link, PEER, MemoryPath())
    other = open_socket()
    assert hop.leads(link, to_source(PEER))
    assert not hop.leads(link, to_source(PEER._replace(port=1)))
    assert not hop.leads(other, to_source(PEER))
    other.close()


def test_a_hop_takes_only_itself_away(link: PeerSocket) -> None:
    """A later hop in its places stays."""
    path = MemoryPath()
    first = hop_to(link, PEER, path)
    second = hop_to(link, PEER, path)
    first.unlink()
    assert link.routes == {to_source(PEER): second}
    assert path.channels == {0x4000: second}
    second.unlink()
    assert not link.routes
    assert not path.channels


def test_a_closed_socket_lets_nothing_through(link: PeerSocket) -> None:
    """What is still in a burst when the relay closes is dropped."""
    hop = hop_to(link, PEER, MemoryPath())
    link.allow(PEER.ip, 10.0, 0.0)
    link.close()
    assert not link.permits(to_source(PEER), 0.0)
    hop.send(b"late", 0)
    assert link.counters() == Counters(dropped=1)
