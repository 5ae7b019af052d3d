"""How long a NAT keeps an idle binding (RFC 5780 §4.6), in virtual time."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stun.attributes import RESPONSE_PORT
from stun.client.nat.findings import Dependence, Lifetime
from stun.client.nat.lifetime import longest_search, search_lifetime, times_of_first_round
from tests.support.nat_world import PRIMARY, NatWorld, SimNat, SimServer


def search(world: NatWorld, limit: float = 300.0) -> Lifetime:
    return world.run(search_lifetime(itertools.count(8), 7, PRIMARY, limit))


@given(st.floats(0.5, 280), st.sampled_from(list(Dependence)), st.sampled_from(list(Dependence)))
def test_the_lifetime_is_between_the_bounds(lifetime: float, mapping: Dependence, filtering: Dependence) -> None:
    """Whatever it is, and however the NAT maps and filters; and the search takes no longer than was said."""
    world = NatWorld(SimNat(mapping, filtering, lifetime=lifetime))
    found = search(world)
    assert found.lower is not None
    assert found.upper is not None
    assert found.lower <= lifetime <= found.upper
    assert found.upper - found.lower < max(6.0, 0.12 * found.upper)
    assert not found.unsteady
    assert world.now - 1000 <= longest_search(300.0, 5.0)


def test_it_is_longer_than_the_search() -> None:
    """Then there is a lower bound only, and one round has been enough."""
    world = NatWorld(SimNat(lifetime=4000))
    found = search(world, 120)
    assert (found.upper, found.why) == (None, "")
    assert found.lower == pytest.approx(120, abs=1)
    assert len(world.notes) == 1
    assert world.notes[0] == "Round 1: bindings are idle for 1, 2, 5, 10, 20, 30, 45, 60, 90, 120 s."


def test_a_short_lifetime_ends_the_round_early() -> None:
    """Two bindings in succession have expired: the longer ones would have, too."""
    world = NatWorld(SimNat(lifetime=3))
    found = search(world)
    assert found.upper is not None
    assert found.upper < 10
    assert world.now - 1000 < 90


def test_the_rounds() -> None:
    """The first round is a ladder up to the limit."""
    assert times_of_first_round(2) == (1.0, 2.0)
    assert times_of_first_round(100)[-2:] == (90.0, 100.0)
    assert longest_search(300, 5) < 300 * 3 + 120


@pytest.mark.parametrize(
    ("nat", "server", "why"),
    [
        (SimNat(), SimServer(refuses={RESPONSE_PORT.number: 420}), "does not know RESPONSE-PORT (420)"),
        (SimNat(), SimServer(refuses={RESPONSE_PORT.number: 403}), "with the error 403"),
        (SimNat(), SimServer(obeys_port=False), "does not send its answer to the port"),
        (SimNat(pool=("203.0.113.9", "203.0.113.10")), SimServer(), "several public addresses"),
        (SimNat(blocked=True), SimServer(), "did not answer two more sockets"),
        (SimNat(lifetime=0.05), SimServer(), "not even for a fresh binding"),
    ],
)
def test_why_it_is_not_possible(nat: SimNat, server: SimServer, why: str) -> None:
    """Each reason is a sentence, and no verdict."""
    found = search(NatWorld(nat, server))
    assert (found.lower, found.upper) == (None, None)
    assert why in found.why


def test_a_nat_that_is_not_steady() -> None:
    """A binding outlives another: the bounds are those of the longest-lived, and it is said."""
    world = NatWorld(SimNat(lifetime=1000))
    original = world.nat.inward

    def forgetful(source: object, to: object, now: float) -> object:
        return None if 1008 < now < 1016 else original(source, to, now)  # type: ignore[arg-type]

    world.nat.inward = forgetful  # type: ignore[method-assign,assignment]
    found = search(world, 60)
    assert (found.unsteady, found.upper) == (True, None)
    assert found.lower == pytest.approx(60, abs=6)


def test_a_server_that_stops() -> None:
    """Its silence is no lifetime."""
    world = NatWorld(SimNat(lifetime=1000))
    world.nat.loses = lambda source, to, data: world.now > 1025
    found = search(world, 60)
    assert (found.lower, found.upper) == (None, None)
    assert found.why == "something has changed during the search: the server did not answer two more sockets"
