"""The budget of descriptors: what is taken is given back, and nobody takes the last from those who have none."""

import pytest

from turnserver.descriptors import UNLIMITED, Descriptors
from turnserver.reasons import Reason


def take_all(budget: Descriptors, user_id: str) -> int:
    """As many as one user gets."""
    taken = 0
    while budget.shortage(user_id) is None:
        budget.take(user_id)
        taken += 1
    return taken


def test_what_is_taken_is_given_back() -> None:
    budget = Descriptors(10)
    budget.take("alice")
    budget.take("alice")
    budget.take()
    assert (budget.used, budget.free, budget.users) == (3, 7, {"alice": 2})
    budget.give_back("alice")
    budget.give_back()
    budget.give_back("alice")
    assert (budget.used, budget.free, budget.users) == (0, 10, {})
    with pytest.raises(KeyError):
        budget.give_back("alice")


def test_one_user_gets_two_thirds() -> None:
    budget = Descriptors(300)
    assert take_all(budget, "alice") == 200
    assert budget.shortage("alice") == Reason.USER_DESCRIPTORS
    budget.give_back("alice")
    assert budget.shortage("alice") is None


def test_any_number_of_greedy_users_leaves_something() -> None:
    """Ten of them one after the other, and a user who has none still gets one."""
    budget = Descriptors(20_000)
    taken = [take_all(budget, f"user {number}") for number in range(8)]
    assert taken == sorted(taken, reverse=True)
    assert budget.shortage("a newcomer") is None


def test_the_last_one_is_the_last() -> None:
    budget = Descriptors(2)
    assert budget.shortage("alice", 3) == Reason.NO_DESCRIPTORS
    budget.take()
    assert budget.shortage("alice") is None
    budget.take("alice")
    assert budget.shortage("bob") == Reason.NO_DESCRIPTORS


def test_a_pair_is_asked_for_at_once() -> None:
    budget = Descriptors(3)
    assert budget.shortage("alice", 2) is None
    budget.take("bob")
    budget.take("bob")
    assert budget.shortage("alice", 2) == Reason.NO_DESCRIPTORS


def test_a_lower_total_ends_nothing() -> None:
    budget = Descriptors(10)
    for _ in range(5):
        budget.take("alice")
    budget.total = 3
    assert (budget.used, budget.free) == (5, 0)
    assert budget.shortage("bob") == Reason.NO_DESCRIPTORS


def test_strangers_get_half() -> None:
    assert Descriptors(100).most_connections == 50


def test_nothing_can_always_be_had() -> None:
    assert Descriptors(0).shortage("alice", 0) is None


def test_without_a_limit() -> None:
    budget = Descriptors()
    assert (budget.total, budget.shortage("alice", 10**9)) == (UNLIMITED, None)
