"""Those who were asked to leave do not come back with what they had."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auth.ephemeral import SharedSecret, TimeLimitedCredentials, mint
from auth.revocation import MAX_REVOKED, MIN_REVOKED, RevokedUsers, revocations_needed
from auth.source import CredentialSource, StaticUsers
from auth.types import Credential, Pending, Unavailable

patient = settings(deadline=None)

SECRET = SharedSecret(b"0123456789abcdef")
REALM = "example.org"
NOW = 1_700_000_000.0


def found(source: CredentialSource, revoked: RevokedUsers, username: str, wall: float = NOW) -> list[Credential]:
    answer = source.find(username, REALM, wall)
    assert not isinstance(answer, Pending | Unavailable)
    return [credential for credential in answer if not revoked.revokes(credential, wall)]


def test_a_revoked_user_is_revoked_for_so_long() -> None:
    revoked = RevokedUsers()
    revoked.revoke("abc.peer", NOW + 600)
    assert revoked.until("abc.peer", NOW) is not None
    assert revoked.until("abc.peer", NOW + 599.9) is not None
    assert revoked.until("abc.other", NOW) is None
    assert revoked.until("abc.peer", NOW + 600) is None
    assert len(revoked) == 0, "what is over is forgotten"


def test_a_revocation_is_never_shortened() -> None:
    revoked = RevokedUsers()
    revoked.revoke("a", NOW + 600)
    revoked.revoke("a", NOW + 10)
    assert revoked.until("a", NOW) == NOW + 600


@patient
@given(st.lists(st.tuples(st.integers(0, 50), st.integers(1, 1000)), max_size=200), st.integers(1, 20))
def test_the_table_is_bounded_and_keeps_the_longest(calls: list[tuple[int, int]], limit: int) -> None:
    revoked = RevokedUsers(limit)
    for user, seconds in calls:
        revoked.revoke(str(user), NOW + seconds)
        assert len(revoked) <= limit
    if calls:
        user, _ = max(calls, key=lambda call: call[1])
        longest = max(seconds for _, seconds in calls)
        kept = [str(each) for each, seconds in calls if seconds == longest]
        assert any(revoked.until(each, NOW) for each in kept), user


def test_the_credentials_of_a_revoked_user_do_not_count() -> None:
    """Rule: a revoked user's credentials must not open new allocations."""
    revoked = RevokedUsers()
    source = TimeLimitedCredentials([SECRET])
    mine, _ = mint(SECRET, "room.me", int(NOW) + 600)
    other, _ = mint(SECRET, "room.you", int(NOW) + 600)
    assert len(found(source, revoked, mine)) == 1
    revoked.revoke("room.me", NOW + 600)
    assert found(source, revoked, mine) == []
    assert len(found(source, revoked, other)) == 1


def test_a_credential_made_after_the_revocation_counts() -> None:
    """Whoever leaves and joins again has the same user id, and is given a new credential."""
    revoked = RevokedUsers()
    source = TimeLimitedCredentials([SECRET, SharedSecret(b"fedcba9876543210")])
    old, _ = mint(SECRET, "room.me", int(NOW) + 600)
    revoked.revoke("room.me", NOW + 600)
    new, _ = mint(SECRET, "room.me", int(NOW) + 605)
    assert found(source, revoked, old) == []
    assert len(found(source, revoked, new)) == 2


def test_a_user_with_a_password_comes_back_when_it_is_over() -> None:
    revoked = RevokedUsers()
    source = StaticUsers({"alice": "secret"})
    revoked.revoke("alice", NOW + 60)
    assert found(source, revoked, "alice") == []
    assert len(found(source, revoked, "alice", NOW + 60)) == 1


def test_leaves_make_room_for_kicks_and_not_the_other_way_round() -> None:
    """A kick is a decision of somebody; a leave costs nothing."""
    forgotten: list[bool] = []
    revoked = RevokedUsers(3, forgotten.append)
    revoked.revoke("kicked", NOW + 10, NOW)
    for user in range(100):
        revoked.revoke(str(user), NOW + 600 + user, NOW, kicked=False)
    assert revoked.until("kicked", NOW) == NOW + 10, "although it ends first"
    assert (len(revoked), len(forgotten), any(forgotten)) == (3, 98, False)
    for user in range(3):
        revoked.revoke(f"kicked {user}", NOW + 20, NOW)
    assert [revoked.until(f"kicked {user}", NOW) is not None for user in range(3)] == [True] * 3
    assert forgotten[-1], "a table full of kicks forgets one, and says so"


def test_what_has_ended_makes_room_without_a_word() -> None:
    forgotten: list[bool] = []
    revoked = RevokedUsers(50, forgotten.append)
    for second in range(1000):
        revoked.revoke(str(second), NOW + second + 20, NOW + second, kicked=second % 2 == 0)
        assert len(revoked) <= 21
    assert forgotten == []


def test_one_user_again_and_again_takes_the_room_of_one() -> None:
    """Also inside, where each end is noted."""
    revoked = RevokedUsers()
    for second in range(10_000):
        revoked.revoke("a", NOW + second, NOW, kicked=second % 2 == 0)
    assert len(revoked) == 1
    assert sum(map(len, revoked._ends)) <= 200
    assert revoked.until("a", NOW) == NOW + 9999


def test_a_kick_of_somebody_who_has_left_counts_and_a_leave_takes_nothing_back() -> None:
    forgotten: list[bool] = []
    revoked = RevokedUsers(1, forgotten.append)
    revoked.revoke("a", NOW + 600, NOW, kicked=False)
    revoked.revoke("a", NOW + 60, NOW)
    revoked.revoke("a", NOW + 700, NOW, kicked=False)
    revoked.revoke("b", NOW + 900, NOW, kicked=False)
    assert (revoked.until("a", NOW), revoked.until("b", NOW)) == (NOW + 700, None)
    assert forgotten == [False]


@pytest.mark.parametrize(
    ("lifetime", "users"), [(10, MIN_REVOKED), (600, MIN_REVOKED), (3600, 360_000), (86400, MAX_REVOKED)]
)
def test_the_table_is_made_for_the_lifetime_of_the_credentials(lifetime: int, users: int) -> None:
    assert revocations_needed(lifetime) == users


def test_a_table_grows_and_never_shrinks() -> None:
    revoked = RevokedUsers(2)
    revoked.grow(3)
    revoked.grow(1)
    for user in range(9):
        revoked.revoke(str(user), NOW + user, NOW - 1)
    assert (len(revoked), revoked.limit) == (3, 3)


def test_a_full_table_costs_the_same_as_an_empty_one() -> None:
    """Measured in comparisons of ends: those of one heap, not a look at every user."""
    revoked = RevokedUsers(5000)
    for user in range(5000):
        revoked.revoke(str(user), NOW + 600, NOW, kicked=False)
    before = Counting.compared
    for user in range(100):
        revoked.revoke(f"more {user}", Counting(NOW + 600 + user), NOW, kicked=False)
    assert Counting.compared - before < 100 * 60


class Counting(float):
    """A number that counts how often it is compared."""

    compared = 0

    def __lt__(self, other: float) -> bool:
        Counting.compared += 1
        return float.__lt__(self, other)

    def __gt__(self, other: float) -> bool:
        Counting.compared += 1
        return float.__gt__(self, other)
