"""No work in one piece: much that ends together is ended in slices, and is gone for every look-up before its slice.

Costs are counted in steps and commands, never in seconds.
"""

from collections.abc import Callable
from ipaddress import ip_network
from typing import Any

import pytest

from stun import attributes as a
from stun.address import Address
from stun.constants import Method
from stun.message import Message
from tests.support.core_settings import core_settings
from tests.support.core_world import PEER, REALM, RELAY, ScriptedClient, World, code_of
from tests.support.tcp_world import TcpWorld
from turnserver.config import LimitsConfig
from turnserver.core import backlog
from turnserver.core import commands as c
from turnserver.core.backlog import SLICE
from turnserver.core.events import AllocationEnded, EndReason
from turnserver.core.handlers import common
from turnserver.core.policy import PeerPolicy
from turnserver.core.settings import RelayAddress
from turnserver.core.types import Now, PortRange

CROWD = 600
"""Allocations; more than a slice has steps, several times over."""

EIGHT = (ip_network("8.0.0.0/8"),)
ELSEWHERE = (ip_network("1.1.1.0/24"),)

A_STEP = 40
"""Commands that one step may bring with it in these tests: the last step of a slice is finished."""


def crowd(world: World, number: int = CROWD, **options: Any) -> list[ScriptedClient]:
    """Clients that each have an allocation, with a permission and a channel, which all end together."""
    clients = [world.client(f"192.0.2.{1 + at % 200}", 10_000 + at, **options) for at in range(number)]
    for client in clients:
        assert code_of(client.allocate()) == 0
        assert code_of(client.bind(0x4000, PEER)) == 0
    return clients


def many(**options: Any) -> World:
    """A world with room for a crowd."""
    limits = LimitsConfig(
        allocations=options.pop("allocations", 20_000), allocations_per_user=20_000, permissions_per_allocation=5000
    )
    return World(limits=limits, relays=(RelayAddress(RELAY, RELAY),), **options)


def past(world: World) -> None:
    """Turn the clock to where every allocation has expired, without the engine's timer."""
    world._turn_to(world.now.mono + 601)


def slices(world: World) -> list[int]:
    """Call `expire` as the engine does in each turn of its loop; the commands of each call."""
    counted = []
    more = True
    while more:
        more = world.core.expire(world.now, SLICE)
        deadline = world.core.deadline()
        assert more == (deadline is not None and deadline <= world.now.mono), "the timer goes off at once"
        counted.append(len(world.core.state.commands))
        world.run()
    return counted


def test_a_crowd_that_expires_together_is_ended_in_slices() -> None:
    """Rule 28, RFC 8656 §7.1: each once, with its event, and no call does more than a slice."""
    world = many()
    crowd(world)
    past(world)
    world.take_events()
    counted = slices(world)
    assert max(counted) <= SLICE + A_STEP
    assert len(counted) >= CROWD // SLICE
    ended = [event for event in world.take_events() if isinstance(event, AllocationEnded)]
    assert len({event.client for event in ended}) == len(ended) == CROWD
    world.assert_nothing_left()


def test_inputs_share_one_slice_however_many_they_are() -> None:
    """A burst of requests in one turn of the loop must not do all of the work after all."""
    world = many()
    clients = crowd(world)
    past(world)
    world.take()
    for client in clients[:64]:
        client.indicate((a.XOR_PEER_ADDRESS, PEER), (a.DATA, b"x"))
    assert len(world.take()) <= SLICE + 64 * A_STEP / 4
    assert len(world.core.state.allocations) > CROWD / 2
    slices(world)
    world.assert_nothing_left()


@pytest.fixture
def behind(monkeypatch: pytest.MonkeyPatch) -> Callable[[World], None]:
    """Make a core fall behind: inputs have no steps left, so whatever is due waits for its slice."""

    def fall_behind(world: World) -> None:
        world.core._backlog._spare = world.core._backlog._room = 0.0
        world.core._backlog.behind = True

    monkeypatch.setattr(backlog, "_ROOM", 0.0)
    return fall_behind


class TestGoneForEveryLookUp:
    """What is due and waits for its slice is treated as gone."""

    def test_a_refresh_gets_437(self, behind: Callable[[World], None]) -> None:
        """RFC 8656 §8: an allocation that is due does not exist, before its slice comes, too."""
        world = many()
        client, other = crowd(world, 2)
        past(world)
        client.nonce = None
        behind(world)
        assert code_of(client.refresh(600)) == 437
        assert [event.client for event in world.events if isinstance(event, AllocationEnded)] == [client.path]
        assert world.core.state.allocation(other.path) is not None, "its slice comes later"

    def test_nothing_is_relayed(self, behind: Callable[[World], None]) -> None:
        """RFC 8656 §10.3, §11.4: in neither direction."""
        world = many()
        (client,) = crowd(world, 1)
        relay = client.relay
        past(world)
        behind(world)
        world.peer_sends(relay, PEER, b"late")
        assert client.hears() == []
        assert client.indicate((a.XOR_PEER_ADDRESS, PEER), (a.DATA, b"late")) == []

    def test_a_permission_and_a_channel(self, behind: Callable[[World], None]) -> None:
        """RFC 8656 §9, §12: neither lets anything through once it is due."""
        world = many(settings={"strict_permissions": True})
        (client,) = crowd(world, 1)
        world._turn_to(world.now.mono + 300)
        behind(world)
        assert client.indicate((a.XOR_PEER_ADDRESS, PEER), (a.DATA, b"late")) == []
        assert client.refresh(3600)
        world._turn_to(world.now.mono + 300)
        behind(world)
        assert code_of(client.bind(0x4000, Address.parse("8.8.4.4", 1))) == 0, "the number is free"

    def test_the_quota_of_a_user(self, behind: Callable[[World], None]) -> None:
        """An allocation that is due does not count against its user."""
        world = World(limits=LimitsConfig(allocations_per_user=2))
        crowd(world, 2)
        past(world)
        behind(world)
        assert code_of(world.client(port=1).allocate()) == 0

    def test_the_capacity_and_the_ports_of_the_server(self) -> None:
        """Nor against the server, and its port can be had."""
        for world in (many(allocations=300), many(ports=PortRange(50_000, 50_299))):
            crowd(world, 300)
            past(world)
            world.core.expire(world.now, 1)
            assert code_of(world.client("203.0.113.5", user="bob", password="hunter2").allocate()) == 0

    def test_a_reservation(self, behind: Callable[[World], None]) -> None:
        """RFC 8656 §7.2: 30 seconds, and not until the slice."""
        world = many()
        client = world.client()
        token = client.allocate((a.EVEN_PORT, True)).first(a.RESERVATION_TOKEN)
        world._turn_to(world.now.mono + 31)
        behind(world)
        assert code_of(world.client(port=2).allocate((a.RESERVATION_TOKEN, token))) == 508

    def test_a_kept_answer(self, behind: Callable[[World], None]) -> None:
        """RFC 8489 §6.3.1: 40 seconds, and not until the slice."""
        world = many()
        client = world.client()
        client.challenge()
        frame = client.build(Method.ALLOCATE, [(a.REQUESTED_TRANSPORT, 17)])
        assert code_of(client.send(frame)) == 0
        world._turn_to(world.now.mono + 41)
        behind(world)
        assert code_of(client.send(frame)) == 437

    def test_a_connection_of_a_peer(self, behind: Callable[[World], None]) -> None:
        """RFC 6062 §5.3: 30 seconds to bind it, and not until the slice."""
        world = TcpWorld()
        client = world.control()
        client.allocate()
        client.permit(PEER)
        number = world.core.peer_accepted(client.relay, PEER, world.now)
        assert number is not None
        world.connections[number] = world.core.state.tcp.by_id[number].state
        world.run()
        world._turn_to(world.now.mono + 31)
        behind(world)
        answer = world.control().request(Method.CONNECTION_BIND, (a.CONNECTION_ID, number))
        assert code_of(answer) == 400

    def test_a_relay_that_opens_too_late(self, behind: Callable[[World], None]) -> None:
        """The client has its answer, and only one."""
        world = World(automatic=False)
        client = world.client()
        client.challenge()
        world.core.client_frame(client.path, client.build(Method.ALLOCATE, [(a.REQUESTED_TRANSPORT, 17)]), world.now)
        world.run()
        (relay,) = world.waiting
        world._turn_to(world.now.mono + 11)
        behind(world)
        assert world.core.relay_opened(relay, world.now) is False
        world.run()
        (frame,) = client.hears()
        assert code_of(Message.decode(frame)) == 508


# Another peer ACL


def permitted(world: World, number: int) -> list[ScriptedClient]:
    """Clients with ``number`` permissions each."""
    peers = [Address.parse(f"8.{at // 250}.{at % 250}.8", 5000) for at in range(number)]
    clients = [world.client(port=20_000 + at) for at in range(4)]
    for client in clients:
        client.allocate()
        for at in range(0, number, 50):
            assert code_of(client.permit(*peers[at : at + 50])) == 0
    return clients


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Address]:
    """The peers about whom the ACL was asked for what exists."""
    found: list[Address] = []

    def ask(state: Any, peer: Address, *, with_port: bool) -> str | None:
        found.append(peer)
        return common.refusal_of(state, peer, with_port=with_port)

    monkeypatch.setattr(backlog, "refusal_of", ask)
    return found


def test_a_reload_that_does_not_change_the_peer_acl_asks_about_nobody(asked: list[Address]) -> None:
    """An unchanged policy costs nothing, however many permissions there are."""
    world = many(settings={"deny": ELSEWHERE})
    permitted(world, 100)
    world.core.use(core_settings(realm=REALM, deny=ELSEWHERE), world.now)
    assert asked == []
    assert world.core.deadline() != world.now.mono


def test_a_reload_that_forbids_much_is_applied_in_slices(asked: list[Address]) -> None:
    """Rule 28: many permissions of few allocations; slices cut through an allocation. Data is refused at once."""
    world = many()
    clients = permitted(world, 500)
    world.take()
    world.core.use(core_settings(realm=REALM, deny=EIGHT), world.now)
    assert len(asked) <= SLICE
    world.run()
    last = Address.parse("8.1.249.8", 5000)
    assert world.core.state.allocations[clients[-1].path].permissions.get(last.ip)
    assert clients[-1].indicate((a.XOR_PEER_ADDRESS, last), (a.DATA, b"x")) == []
    world.peer_sends(clients[-1].relay, last, b"x")
    assert clients[-1].hears() == []
    before = len(asked)
    while world.core.expire(world.now, SLICE):
        assert len(asked) - before <= SLICE
        before = len(asked)
        world.run()
    world.run()
    assert len(asked) == 2000
    assert world.allowed == {}
    assert all(not allocation.permissions for allocation in world.core.state.allocations.values())
    assert not world.core.state.unchecked


def test_a_second_change_of_the_acl_begins_anew() -> None:
    """What the first change had not come to is judged by the second one."""
    world = many()
    clients = permitted(world, 500)
    world.core.replace_policy(PeerPolicy.build(), world.now)
    assert world.core.state.unchecked
    world.core.replace_policy(PeerPolicy.build(deny=EIGHT), world.now)
    slices(world)
    assert all(not world.core.state.allocations[client.path].permissions for client in clients)


# Revocation


def test_a_user_with_a_crowd_of_allocations_is_revoked_in_slices() -> None:
    """Rule 28: the number is right at once, and all of them count as gone at once."""
    world = many()
    clients = crowd(world)
    bob = world.client("203.0.113.5", user="bob", password="hunter2")
    bob.allocate()
    world.take()
    assert world.core.revoke("alice", world.now) == CROWD
    assert len(world.core.state.commands) <= SLICE + A_STEP
    world.run()
    assert [view.user_id for view in world.core.allocations()] == ["bob"]
    assert code_of(clients[-1].refresh(600)) == 437
    again = world.client("203.0.113.6")
    assert code_of(again.allocate()) == 0, "the user may come back at once"
    assert world.core.revoke("alice", world.now) == 1, "nobody is revoked twice"
    world.run()
    counted = slices(world)
    assert max(counted) <= SLICE + A_STEP
    ended = [event for event in world.events if isinstance(event, AllocationEnded)]
    assert {event.reason for event in ended} == {EndReason.REVOKED}
    assert len(ended) == CROWD + 1
    assert list(world.core.state.allocations) == [bob.path]


def test_a_fault_in_one_step_costs_that_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """The permissions after it are judged all the same."""
    world = many()
    permitted(world, 10)
    calls = 0

    def fail(state: Any, peer: Address, *, with_port: bool) -> str | None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise ZeroDivisionError
        return "forbidden"

    monkeypatch.setattr(backlog, "refusal_of", fail)
    world.core.replace_policy(PeerPolicy.build(deny=EIGHT), world.now)
    slices(world)
    assert [type(error) for error in world.core.faults()] == [ZeroDivisionError]
    left = [len(allocation.permissions) for allocation in world.core.state.allocations.values()]
    assert left == [1, 0, 0, 0]


def test_without_a_budget_everything_is_done() -> None:
    """For programs that use the core by itself."""
    world = many()
    crowd(world, 200)
    past(world)
    assert world.core.expire(Now(world.now.mono, world.now.wall)) is False
    world.run()
    world.assert_nothing_left()
    assert not any(isinstance(command, c.SendToClient) for command in world.core.commands())
