"""Relaying end to end against the real server: families, dual allocations, reserved ports and hairpins."""

from collections.abc import Callable

import pytest

from stun import attributes as attr
from stun.address import Address
from stun.constants import AddressFamily, ErrorCode, Method
from tests.support.peer import UdpPeer
from tests.support.server import (
    PASSWORD,
    SHARED_SECRET,
    USERNAME,
    TurnServerProcess,
    has_ipv6_loopback,
)
from tests.support.turn_client import ChannelMessage, PeerData, TurnClient, TurnRefused

LOOPBACK = {AddressFamily.IPV4: "127.0.0.1", AddressFamily.IPV6: "::1"}
EXTERNAL = {"127.0.0.1": "203.0.113.9", "::1": "2001:db8::9"}
CHANNEL = 0x4ABC
RELAY_PORTS = "61000-65000"
"""Ports that the kernel does not give to sockets which ask for any, so that no other socket here has one of them."""
BINDING_REQUEST = bytes.fromhex("000100002112a442") + bytes(12)


def connect(server: TurnServerProcess, host: str = "127.0.0.1", *, sha256: bool = True) -> TurnClient:
    """A client with the ordinary credentials."""
    return TurnClient.udp(host, server.port, USERNAME, PASSWORD, sha256=sha256)


def assert_relays_both_ways(client: TurnClient, peer: UdpPeer, relayed: Address, channel: int) -> None:
    """Indications and then a channel carry data, empty data too, and the peer sees the relayed address."""
    client.create_permission(peer.address)
    for message in (b"by indication", b""):
        client.send(peer.address, message)
        assert peer.receive() == (message, relayed)
        peer.send(message, relayed)
        assert client.receive() == PeerData(peer.address, message)
    client.channel_bind(channel, peer.address)
    for message in (b"by channel", b""):
        client.send_channel(channel, message)
        assert peer.receive() == (message, relayed)
        peer.send(message, relayed)
        assert client.receive() == ChannelMessage(channel, message)


@pytest.mark.parametrize("family", list(AddressFamily), ids=lambda family: f"{family.name.lower()}-relay")
@pytest.mark.parametrize("server_host", ["127.0.0.1", "::1"], ids=["ipv4-server", "ipv6-server"])
@pytest.mark.parametrize("sha256", [True, False], ids=["sha256", "md5"])
def test_any_family_to_any_family(
    server_host: str, family: AddressFamily, sha256: bool, turn_server: TurnServerProcess, ipv6: None
) -> None:
    """RFC 8656 §§7.2, 13: the family of the relay is what was asked for, whatever that of the client's own path."""
    host = LOOPBACK[family]
    with connect(turn_server, server_host, sha256=sha256) as client, UdpPeer(host) as peer:
        allocation = client.allocate(family=family)
        assert allocation.mapped == client.wire.local
        assert allocation.address.host == host
        assert_relays_both_ways(client, peer, allocation.address, CHANNEL)


def test_default_family_is_ipv4_for_an_ipv6_client(turn_server: TurnServerProcess, ipv6: None) -> None:
    """RFC 8656 §7.2, rule 23: without REQUESTED-ADDRESS-FAMILY the relay is an IPv4 one."""
    with connect(turn_server, "::1") as client:
        assert client.allocate().address.family is AddressFamily.IPV4


def test_peer_of_the_other_family_is_refused(turn_server: TurnServerProcess, ipv6: None) -> None:
    """RFC 8656 §10.2, rule 15: an IPv4 relay and an IPv6 peer do not go together, 443."""
    with connect(turn_server) as client:
        client.allocate(family=AddressFamily.IPV4)
        with pytest.raises(TurnRefused) as refusal:
            client.create_permission(Address.parse("::1", 9))
        assert refusal.value.code == ErrorCode.PEER_ADDRESS_FAMILY_MISMATCH


@pytest.mark.parametrize("server_host", ["127.0.0.1", "::1"], ids=["ipv4-server", "ipv6-server"])
def test_dual_allocation_relays_on_both(server_host: str, turn_server: TurnServerProcess, ipv6: None) -> None:
    """RFC 8656 §§7.2, 7.3: ADDITIONAL-ADDRESS-FAMILY gives one relay of each family, and both carry data."""
    with connect(turn_server, server_host) as client, UdpPeer("127.0.0.1") as four, UdpPeer("::1") as six:
        allocation = client.allocate(additional_family=AddressFamily.IPV6)
        assert len(allocation.relayed) == 2
        client.create_permission(four.address, six.address)
        assert_relays_both_ways(client, four, allocation.of_family(AddressFamily.IPV4), CHANNEL)
        assert_relays_both_ways(client, six, allocation.of_family(AddressFamily.IPV6), CHANNEL + 1)
        assert client.refresh(0) == 0
        with pytest.raises(TurnRefused) as refusal:
            client.refresh()
        assert refusal.value.code == ErrorCode.ALLOCATION_MISMATCH


def test_half_a_dual_allocation(start_server: Callable[..., TurnServerProcess]) -> None:
    """RFC 8656 §7.3, rule 10: a server without IPv6 relays grants the IPv4 half and says 440 for the other."""
    server = start_server(relay={"addresses": ["127.0.0.1"]})
    with connect(server) as client, UdpPeer() as peer:
        allocation = client.allocate(additional_family=AddressFamily.IPV6)
        assert allocation.refused is not None
        assert allocation.refused[:2] == (AddressFamily.IPV6, ErrorCode.ADDRESS_FAMILY_NOT_SUPPORTED)
        assert_relays_both_ways(client, peer, allocation.address, CHANNEL)


def test_reserved_port_is_handed_to_the_next_allocation(turn_server: TurnServerProcess) -> None:
    """RFC 8656 §§7.2, 14.5: EVEN-PORT with R=1 gives an even port, and its token the odd one above it."""
    with connect(turn_server) as rtp, connect(turn_server) as rtcp, UdpPeer() as peer:
        first = rtp.allocate(even_port=True)
        assert first.address.port % 2 == 0
        assert first.reservation is not None
        second = rtcp.allocate(reservation=first.reservation)
        assert second.address.port == first.address.port + 1
        assert_relays_both_ways(rtp, peer, first.address, CHANNEL)
        assert_relays_both_ways(rtcp, peer, second.address, CHANNEL)


def test_reserved_channel_numbers_are_refused_unless_allowed(
    turn_server: TurnServerProcess, start_server: Callable[..., TurnServerProcess]
) -> None:
    """RFC 8656 §12, rule 17: 400 above 0x4FFF; with ``legacy_channels`` all that RFC 5766 allowed, and no more."""
    legacy = start_server(relay={"addresses": ["127.0.0.1"], "legacy_channels": True})
    for server, last in ((turn_server, 0x4FFF), (legacy, 0x7FFF)):
        with connect(server) as client, UdpPeer() as peer:
            relayed = client.allocate().address
            for channel in (0x3FFF, last + 1, 0xFFFF):
                with pytest.raises(TurnRefused) as refusal:
                    client.channel_bind(channel, peer.address)
                assert refusal.value.code == ErrorCode.BAD_REQUEST
            client.channel_bind(last, peer.address)
            client.send_channel(last, b"there")
            assert peer.receive() == (b"there", relayed)
            peer.send(b"back", relayed)
            assert client.receive() == ChannelMessage(last, b"back")


@pytest.mark.parametrize("external", [None, EXTERNAL], ids=["as-bound", "behind-nat"])
@pytest.mark.parametrize("family", list(AddressFamily), ids=lambda family: family.name.lower())
def test_two_clients_relay_to_each_other(
    family: AddressFamily, external: dict[str, str] | None, start_server: Callable[..., TurnServerProcess]
) -> None:
    """Rules 16 and 23: own relays are allowed peers; behind NAT the external address is shown and hairpins."""
    if family is AddressFamily.IPV6 and not has_ipv6_loopback():
        pytest.skip("this machine has no IPv6 loopback address")
    host = LOOPBACK[family]
    mapping = {} if external is None else {"external": {host: external[host]}}
    server = start_server(relay={"addresses": [host], **mapping}, peers={})
    with connect(server) as one, connect(server) as other:
        ours, theirs = one.allocate(family=family).address, other.allocate(family=family).address
        shown = host if external is None else external[host]
        assert (ours.host, theirs.host) == (shown, shown)
        one.create_permission(theirs)
        other.create_permission(ours)
        for sender, receiver, source, target in ((one, other, ours, theirs), (other, one, theirs, ours)):
            sender.send(target, b"by indication")
            assert receiver.receive() == PeerData(source, b"by indication")
        one.channel_bind(CHANNEL, theirs)
        one.send_channel(CHANNEL, b"from channel to indication")
        assert other.receive() == PeerData(ours, b"from channel to indication")
        other.channel_bind(CHANNEL + 1, ours)
        one.send_channel(CHANNEL, b"from channel to channel")
        assert other.receive() == ChannelMessage(CHANNEL + 1, b"from channel to channel")
        other.send_channel(CHANNEL + 1, b"and back")
        assert one.receive() == ChannelMessage(CHANNEL, b"and back")


def test_a_client_relays_to_itself(turn_server: TurnServerProcess) -> None:
    """Rule 16: a client's own relayed address is a peer like any other relay of the server."""
    with connect(turn_server) as client:
        own = client.allocate().address
        client.channel_bind(CHANNEL, own)
        client.send_channel(CHANNEL, b"to myself")
        assert client.receive() == ChannelMessage(CHANNEL, b"to myself")


def assert_forbidden(act: Callable[[], None]) -> None:
    """The request is refused with 403."""
    with pytest.raises(TurnRefused) as refusal:
        act()
    assert refusal.value.code == ErrorCode.FORBIDDEN


def test_loopback_is_forbidden_by_default(start_server: Callable[..., TurnServerProcess]) -> None:
    """Rule 16: without an explicit permit no relay reaches 127.0.0.0/8: 403, and the allocation lives on."""
    server = start_server(peers={})
    somebody = Address.parse("127.0.0.2", 9)
    with connect(server) as client:
        own = client.allocate().address
        assert_forbidden(lambda: client.create_permission(somebody))
        assert_forbidden(lambda: client.create_permission(own, somebody))
        assert_forbidden(lambda: client.channel_bind(CHANNEL, somebody))
        assert_forbidden(lambda: client.create_permission(Address.parse("192.168.0.1", 9)))
        assert client.refresh() > 0


def test_other_services_on_the_relays_host_are_out_of_reach(start_server: Callable[..., TurnServerProcess]) -> None:
    """Rule 16: the server's relay addresses are allowed as relays only, not the other ports of the same host."""
    server = start_server(relay={"addresses": ["127.0.0.1"], "ports": RELAY_PORTS}, peers={})
    with connect(server) as client, connect(server) as other, UdpPeer() as service:
        client.allocate()
        relay = other.allocate().address
        client.create_permission(relay)
        other.create_permission(relay)
        client.send(service.address, b"a request to some service of this host")
        assert_forbidden(lambda: client.channel_bind(CHANNEL, service.address))
        client.send(relay, b"to a relay")
        assert isinstance(other.receive(), PeerData)
        with pytest.raises(TimeoutError):
            service.receive(timeout=0)


def test_the_servers_own_listener_is_out_of_reach(turn_server: TurnServerProcess) -> None:
    """Rule 16: even where loopback is allowed, a relay does not reach the server's own listeners."""
    listener = Address.parse("127.0.0.1", turn_server.port)
    with connect(turn_server) as client, UdpPeer() as peer:
        relayed = client.allocate().address
        client.create_permission(peer.address)
        assert_forbidden(lambda: client.channel_bind(CHANNEL, listener))
        client.send(listener, BINDING_REQUEST)
        assert client.refresh() > 0
        assert_relays_both_ways(client, peer, relayed, CHANNEL)


def test_change_request_is_an_unknown_attribute(turn_server: TurnServerProcess) -> None:
    """RFC 8489 §6.3.1, rule 7: CHANGE-REQUEST (RFC 5780) is not offered here, so 420 names it."""
    with connect(turn_server) as client:
        client.allocate()
        with pytest.raises(TurnRefused) as refusal:
            client.request(Method.BINDING, (attr.CHANGE_REQUEST, 6))
        assert refusal.value.code == ErrorCode.UNKNOWN_ATTRIBUTE
        assert refusal.value.response.first(attr.UNKNOWN_ATTRIBUTES) == (attr.CHANGE_REQUEST.number,)


@pytest.mark.parametrize("sha256", [True, False], ids=["sha256", "md5"])
def test_wrong_password_is_told_so(sha256: bool, turn_server: TurnServerProcess) -> None:
    """RFC 8489 §9.2.4: 401 again, with a realm and a nonce to try once more."""
    with TurnClient.udp("127.0.0.1", turn_server.port, USERNAME, SHARED_SECRET, sha256=sha256) as client:
        with pytest.raises(TurnRefused) as refusal:
            client.allocate()
        assert refusal.value.code == ErrorCode.UNAUTHENTICATED
        assert refusal.value.response.first(attr.NONCE) is not None
        assert refusal.value.response.first(attr.REALM) is not None
