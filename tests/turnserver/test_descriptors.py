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


def test_a_connection_of_a_client_may_be_a_users() -> None:
    """It is counted once in total, whoever it is; what has yet to come is not there for others."""
    budget = Descriptors(11)
    budget.take()
    budget.claim("alice")
    budget.take("alice")
    assert (budget.used, budget.users) == (2, {"alice": 2})
    for _ in range(2):
        assert budget.shortage("alice", ahead=1) is None
        budget.take("alice")
        budget.claim("alice", ahead=True)
    assert (budget.used, budget.ahead, budget.users) == (4, 2, {"alice": 6})
    assert budget.shortage("alice", ahead=1) is None
    assert budget.shortage("alice", 4, ahead=1) == Reason.USER_DESCRIPTORS
    assert budget.shortage("bob", 5) is None
    assert budget.shortage("bob", 5, ahead=1) == Reason.NO_DESCRIPTORS
    assert budget.shortage("bob", 4, claimed=7) == Reason.USER_DESCRIPTORS
    budget.take()
    budget.arrived()
    assert (budget.used, budget.ahead, budget.users) == (5, 1, {"alice": 6})
    budget.give_back("alice")
    budget.disclaim("alice", ahead=True)
    assert (budget.used, budget.ahead, budget.users) == (4, 0, {"alice": 4})


def test_any_number_of_users_with_data_connections_leaves_something() -> None:
    """Each takes as many connections with peers as it gets, and claims all of them."""
    budget = Descriptors(3000)
    for user_id in ("alice", "bob", "carol"):
        pairs = 0
        while budget.shortage(user_id, ahead=1) is None:
            budget.take(user_id)
            budget.claim(user_id, ahead=True)
            pairs += 1
        for _ in range(pairs):
            budget.take()
            budget.arrived()
    assert budget.shortage("a newcomer") is None
    assert budget.free > 100


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
