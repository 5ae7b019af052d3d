"""The tables of an allocation."""

from auth.types import Credential
from stun.address import Address
from stun.constants import AddressFamily
from tests.support.core_world import PEER, PEER6, RELAY, RELAY6, SERVER
from turnserver.core.allocation import Allocation, Channel, Relay, view_of
from turnserver.core.types import ClientTransport, FiveTuple, RelayId


def an_allocation() -> Allocation:
    client = FiveTuple(ClientTransport.UDP, Address.parse("192.0.2.10", 1), SERVER, 0)
    return Allocation(1, client, Credential("alice", "example.org", "alice", {}), 0.0)


def test_channels_and_peers_are_each_others_inverse() -> None:
    """Rule 17, RFC 8656 §12: one peer, one channel; found by either."""
    allocation = an_allocation()
    for number, peer in ((0x4000, PEER), (0x4001, PEER6)):
        allocation.bind(Channel(number, peer, 600.0))
    assert {channel.peer: channel for channel in allocation.channels.values()} == allocation.peers
    assert {channel.number: channel for channel in allocation.peers.values()} == allocation.channels
    gone = allocation.unbind(0x4000)
    assert gone is not None
    assert gone.peer == PEER
    assert (list(allocation.channels), list(allocation.peers)) == ([0x4001], [PEER6])


def test_unbinding_what_is_not_bound() -> None:
    """Nothing happens."""
    assert an_allocation().unbind(0x4000) is None


def test_relays_by_family() -> None:
    """RFC 8656 §7.2: at most one of each."""
    allocation = an_allocation()
    assert allocation.relay_for(AddressFamily.IPV4) is None
    four = Relay(RelayId(1), Address(RELAY, 50000), Address(RELAY, 50000))
    six = Relay(RelayId(2), Address(RELAY6, 50000), Address(RELAY6, 50000))
    allocation.relays = [four, six]
    assert allocation.relay_for(AddressFamily.IPV4) is four
    assert allocation.relay_for(AddressFamily.IPV6) is six
    assert (four.family, six.family) == (AddressFamily.IPV4, AddressFamily.IPV6)


def test_its_text_tells_no_key() -> None:
    """What is logged by accident holds no secret."""
    allocation = an_allocation()
    allocation.credential = Credential("alice", "example.org", "alice", {1: b"sixteen secret b"})
    assert "sixteen secret" not in repr(allocation)


def test_a_view_is_a_copy() -> None:
    """What is seen from outside does not change when the allocation does, and has no key in it."""
    allocation = an_allocation()
    allocation.relays.append(Relay(RelayId(1), Address(RELAY, 1), Address(RELAY, 2), expires=600.0))
    allocation.permissions[PEER.ip] = 300.0
    allocation.bind(Channel(0x4000, PEER, 600.0))
    view = view_of(allocation)
    allocation.unbind(0x4000)
    allocation.relays.clear()
    assert (view.relayed, view.peers) == ((Address(RELAY, 2),), (Address(PEER.ip, 0), PEER))
    assert (view.expires, view.created, view.user_id) == (600.0, 0.0, "alice")
    assert view_of(an_allocation()).expires == 0.0
