"""The server's own addresses change while it runs: relays that are open stay, under the names that they have."""

import pytest

from auth.ephemeral import SharedSecret, TimeLimitedCredentials
from auth.nonce import NonceIssuer, SecurityFeatures, nonce_features
from auth.source import Chain, StaticUsers
from stun import attributes as a
from stun.address import Address
from stun.constants import ErrorCode, Method
from stun.message import Message
from tests.support.core_world import RELAY, SERVER, ScriptedClient, World, code_of
from turnserver.core.events import AllocationEnded, EndReason
from turnserver.core.settings import OwnAddresses, RelayAddress

OLD, NEW = (Address.parse(host, 0).ip for host in ("9.9.9.1", "9.9.9.2"))
"""Public addresses before and after."""
ELSEWHERE = Address.parse("198.51.100.77", 0).ip
"""Another address of the machine, as far as the core knows."""


def own(*relays: RelayAddress) -> OwnAddresses:
    return OwnAddresses(relays, (SERVER,))


def use(world: World, addresses: OwnAddresses) -> None:
    world.core.use_own(addresses, world.now)
    world.run()


def allocated(world: World, port: int) -> tuple[ScriptedClient, Address]:
    """A client and the name that its relay has been given."""
    client = world.client(port=port)
    name = client.allocate().first(a.XOR_RELAYED_ADDRESS)
    assert name is not None
    return client, name


def pair(world: World) -> tuple[ScriptedClient, ScriptedClient, Address, Address]:
    """Two clients with a permission for each other's relay, and the names of their relays."""
    (first, one), (second, two) = allocated(world, 40001), allocated(world, 40002)
    assert code_of(first.permit(two)) == code_of(second.permit(one)) == 0
    return first, second, one, two


def meet(world: World, client: ScriptedClient, other: ScriptedClient, name: Address, source: Address) -> None:
    """What ``client`` sends to the relay ``name`` reaches ``other``, as coming from ``source``."""
    (sent,) = client.indicate((a.XOR_PEER_ADDRESS, name), (a.DATA, b"hello"))
    assert sent.peer == world.bound[other.relay]
    world.peer_sends(other.relay, world.bound[client.relay], b"hello")
    (frame,) = other.hears()
    heard = Message.decode(frame)
    assert (heard.first(a.XOR_PEER_ADDRESS), heard.first(a.DATA)) == (source, b"hello")


@pytest.mark.parametrize("before", [RELAY, OLD], ids=["none before", "another before"])
def test_relays_keep_their_names_when_the_external_address_changes(before: bytes) -> None:
    """Calls from relay to relay go on, by the old names; new allocations get the new one."""
    world = World(relays=(RelayAddress(RELAY, before),))
    first, second, one, two = pair(world)
    assert one.ip == two.ip == before
    use(world, own(RelayAddress(RELAY, NEW)))
    meet(world, first, second, two, one)
    meet(world, second, first, one, two)
    assert code_of(first.permit(two)) == 0
    assert code_of(first.bind(0x4000, two)) == 0
    third, name = allocated(world, 40003)
    assert name.ip == NEW
    assert code_of(third.permit(two)) == code_of(second.permit(name)) == 0
    (sent,) = third.indicate((a.XOR_PEER_ADDRESS, two), (a.DATA, b"hello"))
    assert sent.peer == world.bound[second.relay]
    (sent,) = second.indicate((a.XOR_PEER_ADDRESS, name), (a.DATA, b"hello"))
    assert sent.peer == world.bound[third.relay]
    for client in (first, second, third):
        assert code_of(client.refresh(0)) == 0
    use(world, own(RelayAddress(RELAY, NEW)))
    assert world.core.state.own.former == ()


def test_an_address_that_has_gone_is_relayed_from_no_more() -> None:
    """Its relays end in their own time, and give their ports back; new ones are elsewhere."""
    world = World(relays=(RelayAddress(RELAY, RELAY),))
    first, second, one, two = pair(world)
    use(world, own(RelayAddress(ELSEWHERE, ELSEWHERE)))
    meet(world, first, second, two, one)
    third, name = allocated(world, 40003)
    assert name.ip == ELSEWHERE
    for client in (first, second, third):
        assert code_of(client.refresh(0)) == 0
    use(world, own(RelayAddress(ELSEWHERE, ELSEWHERE)))
    assert {ip for ip, _ in world.core.state.ports} == {ELSEWHERE}


def test_an_allocate_under_way_when_its_address_goes() -> None:
    """The shell cannot bind the relay: other ports of that address are tried in vain, and the answer is 508."""
    world = World(relays=(RelayAddress(RELAY, RELAY),), automatic=False)
    client = world.client()
    client.challenge()
    assert world.feed(client.path, client.build(Method.ALLOCATE, [(a.REQUESTED_TRANSPORT, 17)])) == []
    world.unbindable.add(RELAY)
    use(world, own(RelayAddress(ELSEWHERE, ELSEWHERE)))
    world.automatic = True
    world.settle()
    world.run()
    (frame,) = client.hears()
    assert code_of(Message.decode(frame)) == ErrorCode.INSUFFICIENT_CAPACITY
    use(world, own(RelayAddress(ELSEWHERE, ELSEWHERE)))
    assert {ip for ip, _ in world.core.state.ports} == {ELSEWHERE}


def test_new_listeners_are_denied_as_peers_at_once() -> None:
    """What was allowed before ends: here a channel to the address and port of a listener that has come."""
    world = World()
    client, _ = allocated(world, 40001)
    peer = Address.parse("9.9.9.9", 3478)
    assert code_of(client.bind(0x4000, peer)) == 0
    use(world, OwnAddresses(world.core.state.own.relays, (SERVER, peer)))
    assert world.routes == {}
    assert code_of(client.bind(0x4000, peer)) == ErrorCode.FORBIDDEN


def test_a_closed_listener_ends_its_allocations() -> None:
    """Those of other listeners do not notice; what is said names the cause."""
    world = World()
    stays, goes = world.client(port=40001), world.client(port=40002)
    goes.path = goes.path._replace(listener=7)
    assert code_of(stays.allocate()) == code_of(goes.allocate()) == 0
    world.take_events()
    world.core.listener_gone(7, world.now)
    world.run()
    (ended,) = world.take_events()
    assert isinstance(ended, AllocationEnded)
    assert (ended.client, ended.reason) == (goes.path, EndReason.LISTENER_CLOSED)
    assert code_of(stays.refresh()) == 0
    assert code_of(goes.refresh()) == ErrorCode.ALLOCATION_MISMATCH


@pytest.mark.parametrize("by_hash", [True, False], ids=["USERHASH", "USERNAME"])
def test_secrets_added_and_removed_change_the_bits_of_nonces(by_hash: bool) -> None:
    """RFC 8489 §9.2.1: whoever comes with a nonce of before gets 438 and one with the present bits, never 401."""
    users = StaticUsers({"alice": "secret"})
    secrets = Chain([TimeLimitedCredentials([SharedSecret(b"between us")]), users])
    both = SecurityFeatures.PASSWORD_ALGORITHMS | SecurityFeatures.USERNAME_ANONYMITY
    world = World(source=Chain([users]))
    world.core.state.nonces = NonceIssuer([b"k" * 32], features=both)
    client = world.client()
    client.anonymous = by_hash
    assert code_of(client.allocate()) == 0
    for source, features in ((secrets, SecurityFeatures.PASSWORD_ALGORITHMS), (Chain([users]), both)):
        world.core.replace_credentials(source, world.now)
        answer = client.refresh()
        assert code_of(answer) == ErrorCode.STALE_NONCE
        client.nonce = answer.first(a.NONCE)
        assert nonce_features(client.nonce or b"") == features
        assert code_of(client.refresh()) == 0


def test_a_hash_that_nobody_can_look_up_any_more_is_a_stale_nonce() -> None:
    """The user has moved to a source that cannot be searched by hash: 401 would say that the password is wrong."""
    world = World(source=Chain([StaticUsers({"alice": "secret"})]))
    world.core.state.nonces = NonceIssuer(
        [b"k" * 32], features=SecurityFeatures.PASSWORD_ALGORITHMS | SecurityFeatures.USERNAME_ANONYMITY
    )
    client = world.client()
    client.challenge()
    client.anonymous = True
    world.core.replace_credentials(Chain([TimeLimitedCredentials([SharedSecret(b"between us")])]), world.now)
    answer = client.allocate()
    assert code_of(answer) == ErrorCode.STALE_NONCE
    client.nonce = answer.first(a.NONCE)
    assert code_of(client.allocate()) == ErrorCode.UNAUTHENTICATED
