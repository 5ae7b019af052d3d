"""Steps that several methods share."""

import pytest

from auth.types import Credential
from stun.address import Address
from stun.constants import ErrorCode, MessageClass, Method
from stun.message import Message, MessageBuilder
from tests.support.core_world import PEER, PEER6, SERVER, World
from turnserver.core.errors import Refusal
from turnserver.core.handlers.common import check_peer, granted_lifetime, own_allocation, refusal_of, relay_towards
from turnserver.core.request import Request
from turnserver.core.settings import RelayAddress


def a_request(world: World, username: str = "alice") -> Request:
    message = Message.decode(MessageBuilder(Method.REFRESH, MessageClass.REQUEST, b"t" * 12).build())
    request = Request(world.client().path, message, 20, world.now)
    request.credential = Credential(username, "example.org", username, {})
    return request


def test_whose_allocation_it_is() -> None:
    """Rule 9, RFC 8656 §5: none → 437, another user's → 441."""
    world = World()
    with pytest.raises(Refusal) as none:
        own_allocation(world.core.state, a_request(world))
    world.client().allocate()
    with pytest.raises(Refusal) as others:
        own_allocation(world.core.state, a_request(world, "bob"))
    assert (none.value.code, others.value.code) == (ErrorCode.ALLOCATION_MISMATCH, ErrorCode.WRONG_CREDENTIALS)
    assert own_allocation(world.core.state, a_request(world)).credential.username == "alice"


def test_the_lifetime_when_none_is_asked_for() -> None:
    """Rule 11, RFC 8656 §7.2: the default."""
    world = World()
    assert granted_lifetime(world.core.state, a_request(world)) == 600


def test_the_relay_of_the_peers_family() -> None:
    """Rules 15 and 17, RFC 8656 §10.2: none → 443."""
    world = World()
    client = world.client()
    client.allocate()
    allocation = world.core.state.allocations[client.path]
    assert relay_towards(allocation, PEER).id == client.relay
    with pytest.raises(Refusal) as mismatch:
        relay_towards(allocation, PEER6)
    assert mismatch.value.code == ErrorCode.PEER_ADDRESS_FAMILY_MISMATCH


def test_a_refused_peer() -> None:
    """Rule 16: 403; with the port where it is known."""
    world = World()
    client = world.client()
    client.allocate()
    allocation = world.core.state.allocations[client.path]
    check_peer(world.core.state, allocation, SERVER, with_port=False)
    with pytest.raises(Refusal) as forbidden:
        check_peer(world.core.state, allocation, SERVER, with_port=True)
    assert forbidden.value.code == ErrorCode.FORBIDDEN


def test_the_acl_judges_the_wire_address_too() -> None:
    """Rules 16 and 23: behind 1:1 NAT a peer is refused if either of its names is."""
    private, public = Address.parse("10.0.0.5", 0).ip, Address.parse("8.8.4.4", 0).ip
    listener = Address(private, 50_000)
    world = World(relays=(RelayAddress(private, public),))
    state = world.core.state
    for port in (50_000, 50_001):
        relay = state.new_relay(RelayAddress(private, public), port)
        state.own_relays.add(relay)
    assert refusal_of(state, Address(public, 50_000), with_port=True) is None
    state.policy = type(state.policy).build(listeners=[listener], relays=[private, public])
    assert refusal_of(state, Address(public, 50_000), with_port=True) == "own listener"
    assert refusal_of(state, Address(public, 50_001), with_port=True) is None
