"""Refresh (RFC 8656 §8.2): live longer, or end; the halves of a dual allocation; expired credentials."""

from typing import Any

import pytest

from auth.ephemeral import SharedSecret, TimeLimitedCredentials, mint
from stun import attributes as a
from stun.attributes import AttributeType
from stun.constants import Method
from stun.message import Message
from tests.support.core_world import PEER, PEER6, ScriptedClient, World, code_of, names_of
from turnserver.core.commands import CloseRelay, SendToClient
from turnserver.core.events import AllocationEnded, AllocationRefreshed, EndReason
from turnserver.core.types import ClientTransport

SECRET = SharedSecret(b"between us")
DUAL = (a.ADDITIONAL_ADDRESS_FAMILY, 2)


def allocated(world: World, *attributes: tuple[AttributeType[Any], Any], **options: Any) -> ScriptedClient:
    client = world.client(**options)
    assert code_of(client.allocate(*attributes)) == 0
    world.take()
    world.take_events()
    return client


@pytest.mark.parametrize(
    ("requested", "granted"),
    [(None, 600), (1, 600), (600, 600), (601, 601), (3600, 3600), (3601, 3600), (2**32 - 1, 3600)],
)
def test_the_lifetime_granted_and_kept(requested: int | None, granted: int) -> None:
    """Rule 11, RFC 8656 §8.2: max(600, min(requested, 3600)) from now on; said in the answer, and lived."""
    world = World()
    client = allocated(world)
    world.advance(500)
    answer = client.refresh(requested)
    assert names_of(answer) == ["LIFETIME", "SOFTWARE", "MESSAGE-INTEGRITY"]
    assert answer.first(a.LIFETIME) == granted
    assert world.take() == [SendToClient(client.path, answer.raw)]
    assert world.take_events() == [AllocationRefreshed(client.path, "alice", granted)]
    world.advance(granted - 0.01)
    assert world.core.state.live(client.path) is not None
    world.advance(0.01)
    assert [type(event) for event in world.take_events()] == [AllocationEnded]
    world.assert_nothing_left()


def test_a_refresh_may_shorten() -> None:
    """Rule 11, RFC 8656 §8.2: the time-to-expiry is set to what is asked, not added to."""
    world = World()
    client = allocated(world, (a.LIFETIME, 3600))
    client.refresh(600)
    world.advance(600)
    world.assert_nothing_left()


def test_zero_deletes() -> None:
    """Rule 11, RFC 8656 §8.2: LIFETIME 0 ends the allocation at once; the answer says LIFETIME 0."""
    world = World()
    client = allocated(world)
    relay = client.relay
    world.advance(10)
    answer = client.refresh(0)
    assert names_of(answer) == ["LIFETIME", "SOFTWARE", "MESSAGE-INTEGRITY"]
    assert answer.first(a.LIFETIME) == 0
    assert world.take() == [CloseRelay(relay), SendToClient(client.path, answer.raw)]
    ended = AllocationEnded(client.path, "alice", "alice", (relay,), EndReason.DELETED, 10.0)
    assert world.take_events() == [ended]
    world.assert_nothing_left()


@pytest.mark.parametrize("lifetime", [None, 0, 600])
def test_without_allocation_it_is_437(lifetime: int | None) -> None:
    """Rule 12, RFC 8656 §8.2, §5: also for LIFETIME 0; the client takes that for done (§8.3)."""
    world = World()
    client = world.client()
    assert code_of(client.refresh(lifetime)) == 437
    world.assert_nothing_left()


def test_deleting_again_is_437() -> None:
    """Rule 12: another transaction finds nothing."""
    world = World()
    client = allocated(world)
    assert [code_of(client.refresh(0)) for _ in range(2)] == [0, 437]


@pytest.mark.parametrize("transport", list(ClientTransport))
def test_a_repeated_delete_gets_its_success_again(transport: ClientTransport) -> None:
    """Rule 10, RFC 8656 §5, RFC 8489 §6.3.1: the same transaction is idempotent, though the allocation is gone."""
    world = World()
    client = allocated(world, transport=transport)
    frame = client.build(Method.REFRESH, [(a.LIFETIME, 0)])
    first = world.feed(client.path, frame)
    world.advance(39)
    assert world.feed(client.path, frame) == first
    world.advance(1)
    assert [code_of(Message.decode(answer)) for answer in world.feed(client.path, frame)] == [437]
    assert [type(event) for event in world.take_events() if isinstance(event, AllocationEnded)] == [AllocationEnded]


def test_a_repeated_refresh_is_a_refresh() -> None:
    """RFC 8656 §5: what is idempotent is simply done again."""
    world = World()
    client = allocated(world)
    frame = client.build(Method.REFRESH, [])
    assert [code_of(client.send(frame)) for _ in range(2)] == [0, 0]


# Dual allocations


def test_both_halves_are_refreshed_together() -> None:
    """RFC 8656 §8.2: without REQUESTED-ADDRESS-FAMILY both."""
    world = World()
    client = allocated(world, DUAL)
    world.advance(500)
    client.refresh()
    world.advance(599)
    assert len(client.relays) == 2
    world.advance(1)
    world.assert_nothing_left()


@pytest.mark.parametrize(("family", "kept", "lost"), [(1, 0, 1), (2, 1, 0)])
def test_one_half_is_refreshed(family: int, kept: int, lost: int) -> None:
    """RFC 8656 §8.2: with it only that one; the other ends when its time comes, the allocation lives on."""
    world = World()
    client = allocated(world, DUAL)
    relays = client.relays
    world.advance(500)
    answer = client.refresh(None, (a.REQUESTED_ADDRESS_FAMILY, family))
    assert answer.first(a.LIFETIME) == 600
    world.take()
    world.take_events()
    world.advance(100)
    assert world.take() == [CloseRelay(relays[lost])]
    assert world.take_events() == [], "the allocation has not ended"
    assert client.relays == [relays[kept]]
    world.advance(500)
    (ended,) = world.take_events()
    assert isinstance(ended, AllocationEnded)
    assert (ended.relays, ended.reason) == ((relays[kept],), EndReason.EXPIRED)
    world.assert_nothing_left()


@pytest.mark.parametrize(("family", "lost"), [(1, 0), (2, 1)])
def test_one_half_is_deleted(family: int, lost: int) -> None:
    """RFC 8656 §8.2: LIFETIME 0 with a family ends that half; then asking for it is a mismatch."""
    world = World()
    client = allocated(world, DUAL)
    relays = client.relays
    client.permit(PEER, PEER6)
    world.take()
    answer = client.refresh(0, (a.REQUESTED_ADDRESS_FAMILY, family))
    assert answer.first(a.LIFETIME) == 0
    assert world.take() == [CloseRelay(relays[lost]), SendToClient(client.path, answer.raw)]
    assert world.take_events() == []
    assert code_of(client.refresh(None, (a.REQUESTED_ADDRESS_FAMILY, family))) == 443
    assert code_of(client.permit((PEER, PEER6)[lost])) == 443
    assert code_of(client.permit((PEER6, PEER)[lost])) == 0
    assert code_of(client.refresh(0)) == 0
    world.assert_nothing_left()


@pytest.mark.parametrize("family", [2, 0, 3, 255])
@pytest.mark.parametrize("lifetime", [None, 0])
def test_a_family_that_the_allocation_has_not(family: int, lifetime: int | None) -> None:
    """Rule 12, RFC 8656 §8.2: 443, whether anybody knows the family or not; nothing is refreshed or deleted."""
    world = World()
    client = allocated(world)
    until = world.core.state.allocations[client.path].relays[0].expires
    world.advance(10)
    answer = client.refresh(lifetime, (a.REQUESTED_ADDRESS_FAMILY, family))
    assert code_of(answer) == 443
    assert world.take() == [SendToClient(client.path, answer.raw)]
    assert world.core.state.allocations[client.path].relays[0].expires == until


def test_the_family_that_it_has_may_be_named() -> None:
    """RFC 8656 §8.2: for a single allocation, too."""
    world = World()
    client = allocated(world)
    assert code_of(client.refresh(None, (a.REQUESTED_ADDRESS_FAMILY, 1))) == 0
    assert code_of(client.refresh(0, (a.REQUESTED_ADDRESS_FAMILY, 1))) == 0
    world.assert_nothing_left()


# Credentials that expire


def on_time(world: World) -> ScriptedClient:
    """An allocation whose credential expires after a minute; two have gone by."""
    name, password = mint(SECRET, "alice", int(world.now.wall) + 60)
    client = allocated(world, user=name, password=password)
    world.advance(120)
    return client


def test_a_running_allocation_is_refreshed_with_the_credential_it_began_with() -> None:
    """Rule 24: checking expiry at Refresh would cut calls at the credential's age; permissions and channels too."""
    world = World(source=TimeLimitedCredentials([SECRET]))
    client = on_time(world)
    assert code_of(client.refresh()) == 0
    assert code_of(client.permit(PEER)) == 0
    assert code_of(client.bind(0x4000, PEER)) == 0


def test_the_strict_switch_refuses_the_refresh() -> None:
    """Rule 24: with it the 401 says why; what stands lives to its own end, and may be deleted."""
    world = World(source=TimeLimitedCredentials([SECRET]), settings={"strict_expiry": True})
    client = on_time(world)
    world.take()
    answer = client.refresh()
    assert answer.first(a.ERROR_CODE) == (401, "Unauthenticated (expired)")
    assert names_of(answer) == ["ERROR-CODE", "REALM", "NONCE", "PASSWORD-ALGORITHMS"]
    assert world.take() == [SendToClient(client.path, answer.raw)]
    assert world.core.state.live(client.path) is not None
    assert code_of(client.refresh(0)) == 0
    world.assert_nothing_left()


def test_the_strict_switch_ends_an_allocation_at_its_lifetime() -> None:
    """Rule 24: since it cannot be refreshed it is gone with the lifetime it had."""
    world = World(source=TimeLimitedCredentials([SECRET]), settings={"strict_expiry": True})
    on_time(world)
    world.advance(480)
    world.assert_nothing_left()


def test_the_strict_switch_does_not_mind_what_never_expires() -> None:
    """Rule 24: static users have no expiry; and who is on time is not refused either."""
    world = World(settings={"strict_expiry": True})
    assert code_of(allocated(world).refresh()) == 0
    timely = World(source=TimeLimitedCredentials([SECRET]), settings={"strict_expiry": True})
    name, password = mint(SECRET, "alice", int(timely.now.wall) + 60)
    assert code_of(allocated(timely, user=name, password=password).refresh()) == 0


def test_a_newer_credential_of_the_same_user_is_another_username() -> None:
    """Rules 9 and 24, RFC 8656 §5: all requests must use the username that made the allocation, else 441."""
    world = World(source=TimeLimitedCredentials([SECRET]))
    client = on_time(world)
    client.user, client.password = mint(SECRET, "alice", int(world.now.wall) + 60)
    assert code_of(client.refresh()) == 441
