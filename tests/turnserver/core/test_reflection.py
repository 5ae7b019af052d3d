"""The budget against reflection: what a flood gets out of the server, alone and through the whole core."""

import pytest

from stun import attributes as a
from stun.address import Address
from stun.attributes import AttributeType
from stun.constants import Method
from tests.support.core_world import World, code_of
from tests.support.limits import limits
from turnserver.core.commands import SendToClient
from turnserver.core.events import AnswerWithheld
from turnserver.core.reflection import MAX_PREFIXES, MAX_PROVEN, PROVEN_FOR, PROVEN_PER_PREFIX, ReflectionBudget
from turnserver.core.types import ClientTransport, Now

T0 = Now(0.0, 0.0)


def ip(text: str) -> bytes:
    return Address.parse(text, 0).ip


def later(seconds: float) -> Now:
    return Now(seconds, seconds)


def test_only_the_excess_is_spent() -> None:
    """Rule 4: an answer costs the bytes that it has more than its request."""
    budget = ReflectionBudget(burst=100, rate=0)
    assert budget.spend(ip("192.0.2.1"), 28, 108, T0)
    assert not budget.spend(ip("192.0.2.1"), 28, 49, T0), "21 more than the 20 that are left"
    assert budget.spend(ip("192.0.2.1"), 28, 48, T0)
    assert not budget.spend(ip("192.0.2.1"), 28, 29, T0)


def test_an_answer_no_longer_than_its_request_is_free() -> None:
    """Rule 4: nothing is gained by it, so nothing is remembered of it."""
    budget = ReflectionBudget(burst=0, rate=0)
    assert budget.spend(ip("192.0.2.1"), 100, 100, T0)
    assert len(budget) == 0


def test_the_budget_comes_back_with_time_up_to_the_burst() -> None:
    """Rule 4: so many bytes per second."""
    budget = ReflectionBudget(burst=100, rate=10)
    assert budget.spend(ip("192.0.2.1"), 0, 100, T0)
    assert not budget.spend(ip("192.0.2.1"), 0, 50, later(4.9))
    assert budget.spend(ip("192.0.2.1"), 0, 50, later(5))
    assert budget.spend(ip("192.0.2.1"), 0, 100, later(1000))
    assert not budget.spend(ip("192.0.2.1"), 0, 1, later(1000))


@pytest.mark.parametrize(
    ("one", "same", "other"),
    [("192.0.2.1", "192.0.2.254", "192.0.3.1"), ("2a00:1:2::1", "2a00:1:2:ffff::9", "2a00:1:3::1")],
)
def test_a_prefix_has_one_budget(one: str, same: str, other: str) -> None:
    """Rule 4: /24 and /48; who can forge one address of a network can forge all of them."""
    budget = ReflectionBudget(burst=10, rate=0)
    assert budget.spend(ip(one), 0, 10, T0)
    assert not budget.spend(ip(same), 0, 1, T0)
    assert budget.spend(ip(other), 0, 10, T0)


def test_a_refund_never_exceeds_the_burst() -> None:
    """Rule 4: nobody saves up."""
    budget = ReflectionBudget(burst=100, rate=0)
    budget.spend(ip("192.0.2.1"), 0, 60, T0)
    budget.refund(ip("192.0.2.1"), 500, T0)
    assert budget.spend(ip("192.0.2.1"), 0, 100, T0)
    assert not budget.spend(ip("192.0.2.1"), 0, 1, T0)


def test_a_refund_to_a_stranger_makes_no_entry() -> None:
    """Rule 3: what is full needs no entry."""
    budget = ReflectionBudget(burst=100, rate=0)
    budget.refund(ip("192.0.2.1"), 500, T0)
    assert len(budget) == 0


def test_the_table_is_bounded_and_forgets_the_oldest() -> None:
    """Rules 3 and 4: however many networks a flood claims to come from."""
    budget = ReflectionBudget(burst=10, rate=0)
    first = bytes((100, 0, 0, 1))
    assert budget.spend(first, 0, 10, T0)
    for number in range(MAX_PREFIXES - 1):
        budget.spend(bytes((10, number >> 8, number & 255, 1)), 0, 10, T0)
    assert len(budget) == MAX_PREFIXES
    assert not budget.spend(first, 0, 1, T0), "still remembered, and now the youngest"
    budget.spend(bytes((12, 0, 0, 1)), 0, 10, T0)
    assert not budget.spend(first, 0, 1, T0), "somebody else was the oldest"
    for number in range(MAX_PREFIXES):
        budget.spend(bytes((11, number >> 8, number & 255, 1)), 0, 10, T0)
    assert len(budget) == MAX_PREFIXES
    assert budget.spend(first, 0, 10, T0), "forgotten"


# Through the whole core

FLOODS = {
    "Allocate over IPv4": (Method.ALLOCATE, "192.0.2.10"),
    "Allocate over IPv6": (Method.ALLOCATE, "2a00:1:2::10"),
    "Binding over IPv4": (Method.BINDING, "192.0.2.10"),
    "Binding over IPv6": (Method.BINDING, "2a00:1:2::10"),
}


def flood(world: World, host: str, frame: bytes, per_second: int) -> tuple[float, float]:
    """Bytes out per byte in of a flood of 20 seconds: altogether, and in the second half of it."""
    client = world.client(host)
    sent = []
    for _ in range(200):
        for _ in range(per_second // 10):
            sent.append(sum(map(len, world.feed(client.path, frame))))
        world.advance(0.1)
        world.take()
    half = len(sent) // 2
    return sum(sent) / (len(frame) * len(sent)), sum(sent[half:]) / (len(frame) * half)


@pytest.mark.parametrize("kind", FLOODS)
@pytest.mark.parametrize("attributes", [(), [(a.REQUESTED_TRANSPORT, 17)]], ids=["bare", "with an attribute"])
def test_a_sustained_flood_gets_little_more_out_than_in(
    kind: str, attributes: list[tuple[AttributeType[int], int]]
) -> None:
    """Rule 4: at most 1.6 bytes out per byte in, the first burst included; and never nothing for the honest."""
    method, host = FLOODS[kind]
    world = World(limits=limits(reflection_burst=6_554, reflection_rate=410))
    frame = world.client(host).build(method, attributes, signed=False)
    altogether, sustained = flood(world, host, frame, per_second=50)
    assert altogether <= 1.6
    assert 0 < sustained <= 1.6


def test_the_budget_is_on_by_default() -> None:
    """Rule 4: with the limits as they come, and the answer that grows most."""
    world = World()
    frame = world.client().build(Method.BINDING, signed=False)
    altogether, sustained = flood(world, "2a00:1:2::10", frame, per_second=500)
    assert altogether <= 1.6
    assert 0 < sustained <= 1.6
    assert AnswerWithheld in {type(event) for event in world.take_events()}


def test_a_flood_from_many_addresses_of_a_network_is_one_flood() -> None:
    """Rule 4: the victim may be a network."""
    world = World(limits=limits(reflection_burst=1000, reflection_rate=0))
    sent = 0
    for host in range(1, 255):
        client = world.client(f"192.0.2.{host}")
        sent += sum(map(len, world.feed(client.path, client.build(Method.ALLOCATE, signed=False))))
    assert 0 < sent <= 254 * 20 + 1000


def test_unauthenticated_answers_are_as_short_as_can_be() -> None:
    """Rule 4: over UDP no SOFTWARE, nothing but what the RFC demands."""
    world = World()
    client = world.client()
    bare = client.send(client.build(Method.ALLOCATE, signed=False))
    assert len(bare.raw) == 20 + (4 + 4 + 15 + 1) + (4 + 12) + (4 + 32) + (4 + 8)
    binding = client.send(client.build(Method.BINDING, signed=False))
    assert len(binding.raw) == 32, "1.6 times a bare request"


@pytest.mark.parametrize("kind", ["bare", "strange", "signed", "signed with a long name"])
@pytest.mark.parametrize("method", [Method.BINDING, Method.ALLOCATE, Method.REFRESH, Method.CHANNEL_BIND])
def test_without_budget_no_answer_is_longer_than_its_request(method: int, kind: str) -> None:
    """Rule 4: successes, 400, 401, 420 and 438 alike; whoever cannot be told from a forger is one."""
    world = World(limits=limits(reflection_burst=0, reflection_rate=0))
    client = world.client(user="m" * 150 if kind == "signed with a long name" else "mallory")
    client.nonce = b"obMatJos2gAAAxxxxxxxxxxxxxxxxxxx"
    attributes = [(a.CHANGE_REQUEST, 0)] if kind == "strange" else []
    frame = client.build(method, attributes, signed=kind.startswith("signed"))
    answers = world.feed(client.path, frame)
    assert [len(answer) for answer in answers if len(answer) > len(frame)] == []
    withheld = [event for event in world.take_events() if isinstance(event, AnswerWithheld)]
    assert len(answers) + len(withheld) == 1


@pytest.mark.parametrize("transport", [ClientTransport.TCP, ClientTransport.TLS])
def test_streams_are_not_on_the_budget(transport: ClientTransport) -> None:
    """Rule 4: a connection has proven its address."""
    world = World(limits=limits(reflection_burst=0, reflection_rate=0))
    client = world.client(transport=transport, serial=1)
    answer = client.send(client.build(Method.ALLOCATE, signed=False))
    assert (code_of(answer), answer.first(a.SOFTWARE)) == (401, "meshturn test")


def test_the_authenticated_are_not_on_the_budget() -> None:
    """Rule 4: a nonce that comes home has proven the address; nothing more is withheld."""
    world = World(limits=limits(reflection_burst=200, reflection_rate=0))
    client = world.client()
    client.allocate()
    for _ in range(100):
        assert code_of(client.refresh()) == 0


def test_clients_that_authenticate_give_their_network_its_bytes_back() -> None:
    """Rule 4: two hundred honest clients behind one address do not use the budget up."""
    world = World(limits=limits(reflection_burst=200, reflection_rate=0, allocations_per_user=200))
    for port in range(1, 201):
        client = world.client(port=port)
        assert code_of(client.request(Method.REFRESH)) == 437
    world.take_events()
    world.take()
    for port in range(2001, 2003):
        world.client(port=port).challenge()
    stranger = world.client(port=3000)
    assert world.feed(stranger.path, stranger.build(Method.ALLOCATE, signed=False)) == []
    assert [type(command) for command in world.take()] == [SendToClient] * 2


def test_another_budget_holds_at_once() -> None:
    """The same one again gives nothing back."""
    ip, now = bytes([192, 0, 2, 1]), Now(1000.0, 0.0)
    budget = ReflectionBudget(100, 0)
    assert budget.spend(ip, 0, 100, now)
    budget.limit(100, 0)
    assert not budget.spend(ip, 0, 1, now)
    budget.limit(50, 0)
    assert budget.spend(ip, 0, 50, now)
    assert not budget.spend(ip, 0, 1, now)


# Kind: forged neighbours silence a network


def silence(world: World, seconds: int, bytes_per_second: int = 5000) -> int:
    """Forged Allocates from most of a /24, and no time after the last of them; gives the bytes sent to them."""
    out, frame = 0, world.client().build(Method.ALLOCATE, [(a.REQUESTED_TRANSPORT, 17)], signed=False)
    for second in range(seconds):
        world.advance(1.0)
        world.take()
        for number in range(bytes_per_second // len(frame)):
            forged = world.client(f"192.0.2.{1 + (second * 7 + number) % 200}", port=1024 + number)
            out += sum(map(len, world.feed(forged.path, frame)))
    return out


def test_forged_neighbours_do_not_silence_a_source_that_has_returned_a_nonce() -> None:
    """Rule 29: it has a budget of its own; among those that the flood claims to come from, too."""
    world = World()
    known = world.client("192.0.2.77")
    assert code_of(known.allocate()) == 0
    silence(world, 20)
    assert world.core.totals().withheld_answers > 0
    for port in range(20):
        assert code_of(world.client("192.0.2.77", port=2000 + port).allocate()) == 0
        silence(world, 1)


def test_forged_neighbours_do_not_silence_a_stranger() -> None:
    """Rule 29: each address has a share that the others cannot use."""
    world = World()
    silence(world, 20)
    for host in range(201, 255):
        assert code_of(world.client(f"192.0.2.{host}").challenge()) == 401


def test_a_flood_from_a_whole_network_gets_no_more_than_the_budget() -> None:
    """Rule 29: shares are part of the budget, not more of it."""
    world = World()
    assert silence(world, 30) <= 30 * 5000 + 65_536 + 30 * 4096


def test_an_old_nonce_of_ours_proves_its_address() -> None:
    """Rule 29: its 438 is no reflection, and further answers are its own."""
    world = World()
    client = world.client("192.0.2.77")
    client.challenge()
    silence(world, 20)
    world.advance(3000)
    silence(world, 20)
    assert code_of(client.refresh()) == 438
    assert code_of(world.client("192.0.2.77", port=2000).challenge()) == 401
    silence(world, 1)
    assert code_of(world.client("192.0.2.77", port=2001).challenge()) == 401


def test_proven_addresses_are_bounded_and_not_for_ever() -> None:
    """Rules 3, 4 and 29: in total, in one IPv6 site, and in time."""
    budget = ReflectionBudget(burst=100, rate=0)
    for number in range(3 * PROVEN_PER_PREFIX):
        budget.prove(ip(f"2a00:1:2::{number:x}"), 0, T0)
    assert budget.proven == PROVEN_PER_PREFIX
    for number in range(MAX_PROVEN + 10):
        budget.prove(bytes((10, number >> 16, number >> 8 & 255, number & 255)), 0, T0)
    assert budget.proven == MAX_PROVEN
    one, other = bytes((10, 0, 100, 1)), bytes((10, 0, 100, 2))
    assert budget.spend(one, 0, 100, T0)
    assert budget.spend(other, 0, 100, T0), "each its own"
    assert not budget.spend(other, 0, 1, T0)
    assert budget.spend(one, 0, 100, later(PROVEN_FOR)), "a stranger again, with the budget of strangers"
    assert not budget.spend(other, 0, 1, later(PROVEN_FOR))


def test_the_address_that_was_used_last_is_forgotten_last() -> None:
    """Rule 4: a client that returns nonces all the time keeps its own budget while its network proves others."""
    budget = ReflectionBudget(burst=100, rate=0)
    busy, idle = ip("2a00:1:2::b"), ip("2a00:1:2::1d")
    for address in (busy, idle):
        budget.prove(address, 0, T0)
        assert budget.spend(address, 0, 100, T0)
    budget.prove(busy, 100, later(100))
    for number in range(0x1000, 0x1000 + PROVEN_PER_PREFIX - 1):
        budget.prove(ip(f"2a00:1:2::{number:x}"), 0, later(101))
    assert budget.spend(busy, 0, 100, later(101)), "its own budget, with what came back"
    assert budget.spend(ip("2a00:1:2::5"), 0, 100, later(102)), "all that strangers have"
    budget.prove(busy, 100, later(102))
    assert budget.spend(busy, 0, 100, later(PROVEN_FOR + 30)), "proven for an hour since, but for a minute"
