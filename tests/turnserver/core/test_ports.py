"""Relay ports (RFC 8656 §7.2): random, in range, not just freed, even and in pairs if asked."""

from copy import deepcopy
from functools import cache

import pytest

from tests.support.core_world import deterministic_entropy
from tests.support.steps import steps_of
from turnserver.core.ports import COOL_DOWN, RelayPorts
from turnserver.core.types import Now, PortRange

T0 = Now(0.0, 0.0)


def ports(first: int = 49152, last: int = 65535, seed: bytes = b"ports") -> RelayPorts:
    return RelayPorts(PortRange(first, last), deterministic_entropy(seed))


def later(seconds: float) -> Now:
    return Now(seconds, seconds)


def test_ports_come_from_the_whole_range() -> None:
    """Rule 13, RFC 8656 §7.2: from 49152–65535, spread over all of it."""
    pool = ports()
    taken = [pool.take(T0) for _ in range(1000)]
    assert len(set(taken)) == 1000
    found = [port for port in taken if port is not None]
    assert min(found) >= 49152
    assert max(found) <= 65535
    sixteenths = {(port - 49152) // 1024 for port in found}
    assert sixteenths == set(range(16))


def test_ports_cannot_be_foretold() -> None:
    """Rule 13: neither in order nor the same from one server to the next."""
    one, other = ports(seed=b"one"), ports(seed=b"other")
    first = [one.take(T0) for _ in range(20)]
    second = [other.take(T0) for _ in range(20)]
    assert first != sorted(first, key=lambda port: port or 0)
    assert not set(first) & set(second)


def test_every_port_of_the_range_is_used_and_no_other() -> None:
    """Rule 13: both ends included; when there is none left there is none."""
    pool = ports(50000, 50009)
    assert {pool.take(T0) for _ in range(10)} == set(range(50000, 50010))
    assert pool.used == 10
    assert pool.take(T0) is None
    assert pool.used == 10


def test_a_port_just_freed_is_passed_over() -> None:
    """Rule 13: late packets for the last owner must not reach the next one, while there are other ports."""
    pool = ports(50000, 50009)
    held = [pool.take(T0) for _ in range(5)]
    freed = held[0]
    assert freed is not None
    pool.give_back(freed, T0)
    others = {pool.take(later(1)) for _ in range(5)}
    assert freed not in others
    assert len(others) == 5


def test_a_port_just_freed_is_better_than_none() -> None:
    """Rule 13: a full range does not refuse because of the cool-down."""
    pool = ports(50000, 50000)
    assert pool.take(T0) == 50000
    pool.give_back(50000, T0)
    assert pool.take(later(1)) == 50000


def test_a_freed_port_is_as_good_as_any_after_a_while() -> None:
    """Rule 13: the memory of freed ports ends."""
    pool = ports(50000, 50001)
    assert {pool.take(T0), pool.take(T0)} == {50000, 50001}
    pool.give_back(50000, T0)
    pool.give_back(50001, later(COOL_DOWN))
    assert pool.take(later(COOL_DOWN)) == 50000


def test_even_ports() -> None:
    """RFC 8656 §7.2, §18.7: EVEN-PORT gets an even one or none."""
    pool = ports(50001, 50008)
    assert {pool.take(T0, even=True) for _ in range(4)} == {50002, 50004, 50006, 50008}
    assert pool.take(T0, even=True) is None
    assert pool.take(T0) in {50001, 50003, 50005, 50007}


def test_pairs() -> None:
    """RFC 8656 §7.2: R=1 takes N, even, and N+1; both or none."""
    pool = ports(50001, 50006)
    assert pool.take(T0) is not None
    pool = ports(50001, 50006)
    assert {pool.take(T0, pair=True) for _ in range(2)} == {50002, 50004}
    assert pool.used == 4
    assert pool.take(T0, pair=True) is None, "50006 has no mate within the range"
    assert pool.used == 4
    assert {pool.take(T0), pool.take(T0)} == {50001, 50006}


def test_a_pair_needs_both_ports_free() -> None:
    """RFC 8656 §7.2: an odd port that is taken spoils its pair."""
    pool = ports(50000, 50003)
    assert {pool.take(T0) for _ in range(4)} == {50000, 50001, 50002, 50003}
    for port in (50000, 50002, 50003):
        pool.give_back(port, T0)
    assert pool.take(later(1), pair=True) == 50002
    assert pool.take(later(1), pair=True) is None


@pytest.mark.parametrize(("first", "last"), [(50001, 50001), (50000, 50000)])
def test_ranges_without_a_pair(first: int, last: int) -> None:
    """RFC 8656 §7.2: a range of one port has no pair."""
    assert ports(first, last).take(T0, pair=True) is None


def test_a_range_without_an_even_port() -> None:
    """RFC 8656 §7.2: nor has one odd port an even one."""
    assert ports(50001, 50001).take(T0, even=True) is None


def test_giving_back_what_was_not_taken_is_a_bug() -> None:
    """Rule 25: exactly once."""
    pool = ports()
    port = pool.take(T0)
    assert port is not None
    pool.give_back(port, T0)
    with pytest.raises(KeyError):
        pool.give_back(port, T0)


def test_of_the_ports_that_cool_down_the_longest_freed_is_taken() -> None:
    """Rule 13: if it must be one of them, then the one for which the fewest late packets come."""
    pool = ports(50000, 50003)
    assert {pool.take(T0) for _ in range(4)} == {50000, 50001, 50002, 50003}
    for second, port in enumerate((50002, 50000, 50003, 50001)):
        pool.give_back(port, later(second))
    assert [pool.take(later(10), even=True), pool.take(later(10)), pool.take(later(10))] == [50002, 50000, 50003]


def test_a_pair_cools_down_with_the_later_of_its_ports() -> None:
    """Rule 13: for pairs as for single ports."""
    pool = ports(50000, 50003)
    assert {pool.take(T0, pair=True), pool.take(T0, pair=True)} == {50000, 50002}
    for second, port in enumerate((50000, 50002, 50003, 50001)):
        pool.give_back(port, later(second))
    assert pool.take(later(10), pair=True) == 50002
    assert pool.take(later(10), pair=True) == 50000


KINDS: dict[str, dict[str, bool]] = {"any": {}, "even": {"even": True}, "pair": {"pair": True}}
BOUND = 400
"""Lines for one take and one give_back, whatever has happened before; a scan of the range would take 16,000."""


@cache
def after(past: int) -> RelayPorts:
    """Ports of which so many have been taken and given back, one after the other."""
    pool = ports()
    for number in range(past):
        port = pool.take(later(number / 1000))
        assert port is not None
        pool.give_back(port, later(number / 1000))
    return pool


@pytest.mark.parametrize("waited", [1.0, COOL_DOWN - 1, COOL_DOWN + 1, 10 * COOL_DOWN])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("past", [10, 1_000, 100_000])
def test_a_port_costs_the_same_whatever_has_happened_before(past: int, kind: str, waited: float) -> None:
    """Rule 28: a user who allocates and deletes all day does not make the Allocate of others dear."""
    pool = deepcopy(after(past))
    now = later(past / 1000 + waited)
    steps = steps_of(lambda: pool.give_back(pool.take(now, **KINDS[kind]) or 0, now))
    assert steps < BOUND


@pytest.mark.parametrize("kind", KINDS)
def test_a_port_of_an_almost_full_range_costs_the_same(kind: str) -> None:
    """Rule 28: when only the last ports of 16,384 are free, or none, nobody looks for them one by one."""
    pool = ports()
    held = {pool.take(T0) for _ in range(16384)}
    assert held == set(range(49152, 65536))
    assert steps_of(lambda: pool.take(T0, **KINDS[kind])) < BOUND
    assert pool.take(T0, **KINDS[kind]) is None
    for port in (60001, 60003, 60004, 60005):
        pool.give_back(port, T0)
    found: list[int | None] = []
    assert steps_of(lambda: found.append(pool.take(T0, **KINDS[kind]))) < BOUND
    assert found == [60001 if kind == "any" else 60004]


def test_all_ports_come_back_although_few_at_a_time() -> None:
    """Rule 28: putting cooled ports back in small numbers loses none, and draws are random again soon."""
    pool = ports(50000, 50999)
    for port in [pool.take(T0) for _ in range(1000)]:
        assert port is not None
        pool.give_back(port, T0)
    now = later(COOL_DOWN + 1)
    taken = [pool.take(now) for _ in range(1000)]
    assert set(taken) == set(range(50000, 51000))
    assert taken[500:] != sorted(taken[500:], key=lambda port: port or 0)
