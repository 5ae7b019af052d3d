"""The tables agree with one another, and everything taken is given back."""

import pytest

from stun import attributes as a
from stun.address import Address
from stun.constants import AddressFamily
from tests.support.core_world import PEER, PEER6, RELAY, RELAY6, World, code_of
from turnserver.core.commands import AddRoute, AllowPeer, CloseRelay, ForbidPeer, RemoveRoute, SendToClient
from turnserver.core.deadlines import DeadlineKind
from turnserver.core.settings import CoreBounds, RelayAddress
from turnserver.core.types import FiveTuple, Now, PortRange, Route


def test_everything_expires_and_is_given_back() -> None:
    """Rule 25: quota, ports, sockets, routes and timers return to nothing when all has expired."""
    world = World()
    for port in range(1, 21):
        client = world.client(port=port)
        attributes = [(a.ADDITIONAL_ADDRESS_FAMILY, 2)] if port % 2 else [(a.EVEN_PORT, True)]
        assert code_of(client.allocate(*attributes)) == 0
        client.permit(PEER)
        client.bind(0x4000 + port, Address(PEER.ip, port))
        if port % 2:
            client.permit(PEER6)
    assert world.core.state.quota.total == 20
    assert len(world.bound) == 40
    world.advance(600)
    world.assert_nothing_left()
    assert world.core.deadline() is None
    assert len(world.core.state.retransmissions) == 0


def test_deleting_gives_back_the_same() -> None:
    """Rule 25: and at once; only kept answers stay for their 40 seconds."""
    world = World()
    client = world.client()
    client.allocate((a.ADDITIONAL_ADDRESS_FAMILY, 2))
    client.permit(PEER, PEER6)
    client.bind(0x4000, PEER)
    relays = client.relays
    world.take()
    client.refresh(0)
    assert world.take()[:-1] == [RemoveRoute(client.path, 0x4000, relays[0]), *[CloseRelay(relay) for relay in relays]]
    world.assert_nothing_left()
    world.advance(40)
    assert world.core.deadline() is None


def test_half_of_a_dual_allocation_takes_what_is_its_family() -> None:
    """RFC 8656 §8.2: permissions and channels of the family that ends; the other half stays whole."""
    world = World()
    client = world.client()
    client.allocate((a.ADDITIONAL_ADDRESS_FAMILY, 2))
    four, six = client.relays
    client.bind(0x4000, PEER)
    client.bind(0x4001, PEER6)
    world.take()
    client.refresh(0, (a.REQUESTED_ADDRESS_FAMILY, 2))
    assert world.take()[:-1] == [RemoveRoute(client.path, 0x4001, six), CloseRelay(six)]
    allocation = world.core.state.live(client.path)
    assert allocation is not None
    assert (list(allocation.channels), list(allocation.permissions)) == ([0x4000], [PEER.ip])
    assert client.relays == [four]
    assert len(world.core.state.by_relay) == 1


def test_a_refresh_never_shortens_a_permission() -> None:
    """Rule 14: a CreatePermission in the middle of a channel's 600 seconds leaves the channel its permission."""
    world = World()
    client = world.client()
    client.allocate()
    client.bind(0x4000, PEER)
    until = world.now.mono + 600
    world.take()
    client.permit(PEER)
    allowed, sent = world.take()
    assert allowed == AllowPeer(client.relay, PEER.ip, until)
    assert isinstance(sent, SendToClient)


def test_two_permissions_for_one_place_on_the_wire() -> None:
    """Rules 14 and 23: behind 1:1 NAT both names of a relay may be permitted; the wire closes when both end."""
    private, public = Address.parse("10.0.0.5", 0), Address.parse("8.8.4.4", 0)
    world = World(relays=(RelayAddress(private.ip, public.ip),))
    client = world.client()
    client.allocate()
    client.permit(private)
    world.advance(100)
    client.permit(public)
    start = world.now.mono
    world.take()
    world.advance(200)
    assert world.take() == [AllowPeer(client.relay, private.ip, start + 300)], "the first has ended, the second has not"
    world.advance(100)
    assert world.take() == [ForbidPeer(client.relay, private.ip)]


def test_routes_end_with_their_channel_or_permission() -> None:
    """Rule 14, RFC 8656 §12: by the strict switch a route lives as long as both; refreshed when either is."""
    world = World(settings={"strict_permissions": True})
    client = world.client()
    client.allocate((a.LIFETIME, 3600))
    client.bind(0x4000, PEER)
    start = world.now.mono
    world.take()
    world.advance(200)
    client.permit(PEER)
    route = Route(client.path, 0x4000, client.relay, PEER, start + 500)
    assert world.take()[:2] == [AllowPeer(client.relay, PEER.ip, start + 500), AddRoute(route)]
    world.advance(250)
    client.permit(PEER)
    assert world.routes[client.path, 0x4000].expires == start + 600, "the channel ends first now"
    world.take()
    world.advance(150)
    assert world.take() == [RemoveRoute(client.path, 0x4000, client.relay)]
    world.advance(150)
    assert world.take() == [ForbidPeer(client.relay, PEER.ip)]


def test_the_address_that_the_client_came_in_by_is_preferred() -> None:
    """Rule 23: several relay addresses; the one that is also the client's server first."""
    other = Address.parse("198.51.100.9", 0).ip
    addresses = (RelayAddress(other, other), RelayAddress(RELAY, RELAY), RelayAddress(RELAY6, RELAY6))
    world = World(relays=addresses)
    client = world.client()
    client.allocate()
    assert world.bound[client.relay].ip == RELAY
    state = world.core.state
    assert [relay.bound for relay in state.choice.of(AddressFamily.IPV4, other)] == [other, RELAY]
    assert [relay.bound for relay in state.choice.of(AddressFamily.IPV6, other)] == [RELAY6]


def test_when_one_address_is_full_another_serves() -> None:
    """Rule 13: 508 only when no relay address has a port left."""
    other = Address.parse("198.51.100.9", 0).ip
    addresses = (RelayAddress(RELAY, RELAY), RelayAddress(other, other))
    world = World(relays=addresses, ports=PortRange(50000, 50000))
    assert [code_of(world.client(port=port).allocate()) for port in (1, 2, 3)] == [0, 0, 508]
    assert {bound.ip for bound in world.bound.values()} == {RELAY, other}


def test_tokens_are_never_alike() -> None:
    """RFC 8656 §7.2: a token that is in use is not given out again, even if chance has it so."""
    world = World()
    same = world.core.state.entropy(64)
    draws = iter([b"12345678", b"12345678", b"87654321"])
    world.core.state.entropy = lambda size: next(draws) if size == 8 else same[:size]
    relays = [world.core.state.new_relay(RelayAddress(RELAY, RELAY), port) for port in (50001, 50003)]
    tokens = [world.core.state.reserve(relay, "alice", world.now) for relay in relays]
    assert tokens == [b"12345678", b"87654321"]
    assert world.core.state.reserved_by("alice") == 2


def test_a_token_is_redeemed_by_its_user_once() -> None:
    """RFC 8656 §7.2: another user gets nothing and takes nothing."""
    world = World()
    state = world.core.state
    relay = state.new_relay(RelayAddress(RELAY, RELAY), 50001)
    token = state.reserve(relay, "alice", world.now)
    assert state.redeem(token, "bob") is None
    assert state.redeem(bytes(8), "alice") is None
    assert state.redeem(token, "alice") is relay
    assert state.redeem(token, "alice") is None
    assert (state.reservations, state.reserved_by("alice"), len(state.deadlines)) == ({}, 0, 0)


def test_kept_answers_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rule 3: and what is forgotten early leaves no timer either."""
    monkeypatch.setattr("turnserver.core.retransmissions.MAX_ANSWERS", 100)
    world = World()
    state = world.core.state
    path: FiveTuple = world.client().path
    for number in range(110):
        state.keep_answer((path, number.to_bytes(12, "big")), b"", Now(1000.0, 0.0))
    assert len(state.retransmissions) == 100
    assert len(state.deadlines) == 100


def test_a_user_who_comes_and_goes_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rule 25: allocations for an hour, deleted at once, do not fill the memory for the hour."""
    monkeypatch.setattr("turnserver.deadlines._SLACK", 50)
    world = World(bounds=CoreBounds(retransmission_lifetime=1))
    client = world.client()
    for _ in range(200):
        client.allocate((a.LIFETIME, 3600))
        client.refresh(0)
        world.advance(1)
        world.take()
    world.assert_nothing_left()
    assert len(world.core.state.deadlines._heap) < 100
    assert DeadlineKind.RELAY not in {key.kind for key in world.core.state.deadlines._when}
