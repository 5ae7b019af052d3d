"""What the walks of `test_core_invariants` and the fuzzers have found, each as the shortest story that shows it."""

from auth.nonce import NonceStatus
from stun import attributes as a
from stun.address import Address
from stun.message import Message
from tests.support.core_world import PEER, PEER6, RELAY, ScriptedClient, World, code_of
from tests.support.limits import limits
from turnserver.core import commands as c
from turnserver.core.policy import PeerPolicy
from turnserver.core.settings import CoreBounds, RelayAddress

__all__: list[str] = []

BOUND = Address.parse("10.0.0.1", 0).ip


def _allocate_later(world: World) -> ScriptedClient:
    """A client whose Allocate waits for its relay."""
    client = world.client()
    client.challenge()
    frame = client.build(3, [(a.REQUESTED_TRANSPORT, 17)])
    assert world.feed(client.path, frame) == []
    return client


def test_the_nonce_in_a_late_challenge_is_new() -> None:
    """Rule 2: an Allocate revoked long after it came in is answered with a nonce of now, not of then."""
    world = World(automatic=False, bounds=CoreBounds(opening_timeout=3600))
    client = _allocate_later(world)
    world.advance(601)
    world.core.revoke("alice", world.now)
    world.run()
    answer = Message.decode(client.hears()[0])
    nonce = answer.first(a.NONCE)
    assert code_of(answer) == 401
    assert nonce is not None
    scope = client.path.address.pack()
    assert world.nonces.check(nonce, scope, world.now.wall) is NonceStatus.VALID


class TestTwoNamesForOneWireAddress:
    """RFC 8656 §9, rule 23: behind 1:1 NAT a relay's bound and advertised address are one on the wire.

    A permission for either lets datagrams in from there, until the later of the two ends.
    """

    def world(self) -> World:
        """Relays bound at 10.0.0.1 and known as 198.51.100.1."""
        return World(relays=(RelayAddress(BOUND, RELAY),))

    def test_the_end_of_one_permission_leaves_the_other(self) -> None:
        """The permission for the bound address ends first; datagrams from there are still let in for the other."""
        world = self.world()
        client = world.client()
        client.allocate()
        assert code_of(client.permit(Address(BOUND, 50_001))) == 0
        world.advance(100)
        assert code_of(client.permit(Address(RELAY, 50_001))) == 0
        world.advance(201)
        assert world.allowed == {(client.relay, BOUND): world.now.mono + 99}
        world.advance(99)
        assert world.allowed == {}

    def test_a_shorter_permission_does_not_cut_a_longer_one(self) -> None:
        """A channel's permission has 600 seconds; a new one for the other name, with 300, takes nothing from it."""
        world = self.world()
        client = world.client()
        client.allocate()
        assert code_of(client.bind(0x4000, Address(RELAY, world.bound[client.relay].port))) == 0
        assert code_of(client.permit(Address(BOUND, 50_001))) == 0
        assert world.allowed == {(client.relay, BOUND): world.now.mono + 600}

    def test_a_new_policy_ends_only_what_it_forbids(self) -> None:
        """Rule 16: when the longer of the two is forbidden, the shell is told how long the other lasts."""
        world = self.world()
        client = world.client()
        client.allocate()
        assert code_of(client.bind(0x4000, world.bound[client.relay])) == 0
        assert code_of(client.permit(Address(RELAY, 50_001))) == 0
        world.take()
        world.core.replace_policy(PeerPolicy.build(relays=[RELAY]), world.now)
        world.run()
        told = [command for command in world.take() if isinstance(command, c.AllowPeer | c.ForbidPeer)]
        assert told == [c.AllowPeer(client.relay, BOUND, world.now.mono + 300)]


def test_a_datagram_too_big_for_a_data_indication_is_dropped() -> None:
    """RFC 8656 §11.4: 65,527 bytes, the most that IPv6 can bring, leave no room for XOR-PEER-ADDRESS."""
    world = World()
    client = world.client()
    client.allocate((a.REQUESTED_ADDRESS_FAMILY, 2))
    assert code_of(client.permit(PEER6)) == 0
    world.peer_sends(client.relay, PEER6, bytes(65_527))
    assert client.hears() == []


def test_a_channel_that_outlived_its_permission_cannot_pass_the_limit() -> None:
    """RFC 8656 §12.2: refreshing a binding installs a permission too, and finds the table full → 508."""
    world = World(limits=limits(permissions_per_allocation=1), settings={"strict_permissions": True})
    client = world.client()
    client.allocate((a.LIFETIME, 3600))
    assert code_of(client.bind(0x4000, PEER)) == 0
    world.advance(300)
    other = Address.parse("9.9.9.9", 5000)
    assert code_of(client.permit(other)) == 0
    assert code_of(client.bind(0x4000, PEER)) == 508
    assert world.core.state.allocations[client.path].permissions.keys() == {other.ip}
