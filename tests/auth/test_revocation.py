"""Those who were asked to leave do not come back with what they had."""

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from auth.ephemeral import SharedSecret, TimeLimitedCredentials, mint
from auth.revocation import Revocable, RevokedUsers
from auth.store import StaticUsers
from auth.types import PENDING, Credential, Pending

patient = settings(deadline=None)

SECRET = SharedSecret(b"0123456789abcdef")
REALM = "example.org"
NOW = 1_700_000_000.0


class Elsewhere:
    """A store that has to ask somebody."""

    anonymous = False

    def find(self, username: str, realm: str, wall: float) -> Pending:
        return PENDING

    def find_by_hash(self, userhash: bytes, realm: str, wall: float) -> Pending:
        return PENDING


def found(store: Revocable, username: str, wall: float = NOW) -> Sequence[Credential]:
    answer = store.find(username, REALM, wall)
    assert not isinstance(answer, Pending)
    return answer


def test_a_revoked_user_is_revoked_for_so_long() -> None:
    revoked = RevokedUsers()
    revoked.revoke("abc.peer", NOW + 600)
    assert revoked.is_revoked("abc.peer", NOW)
    assert revoked.is_revoked("abc.peer", NOW + 599.9)
    assert not revoked.is_revoked("abc.other", NOW)
    assert not revoked.is_revoked("abc.peer", NOW + 600)
    assert len(revoked) == 0, "what is over is forgotten"


def test_a_revocation_is_never_shortened_but_can_be_taken_back() -> None:
    revoked = RevokedUsers()
    revoked.revoke("a", NOW + 600)
    revoked.revoke("a", NOW + 10)
    assert revoked.until("a", NOW) == NOW + 600
    revoked.restore("a")
    revoked.restore("a")
    assert not revoked.is_revoked("a", NOW)


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
        assert any(revoked.is_revoked(each, NOW) for each in kept), user


def test_the_credentials_of_a_revoked_user_are_not_found() -> None:
    """Rule: a revoked user's credentials must not open new allocations."""
    revoked = RevokedUsers()
    store = Revocable(TimeLimitedCredentials([SECRET]), revoked)
    mine, _ = mint(SECRET, "room.me", int(NOW) + 600)
    other, _ = mint(SECRET, "room.you", int(NOW) + 600)
    assert len(found(store, mine)) == 1
    revoked.revoke("room.me", NOW + 600)
    assert found(store, mine) == ()
    assert len(found(store, other)) == 1


def test_a_credential_made_after_the_revocation_counts() -> None:
    """Whoever leaves and joins again has the same user id, and is given a new credential."""
    revoked = RevokedUsers()
    store = Revocable(TimeLimitedCredentials([SECRET, SharedSecret(b"fedcba9876543210")]), revoked)
    old, _ = mint(SECRET, "room.me", int(NOW) + 600)
    revoked.revoke("room.me", NOW + 600)
    new, _ = mint(SECRET, "room.me", int(NOW) + 605)
    assert found(store, old) == ()
    assert len(found(store, new)) == 2


def test_a_user_with_a_password_comes_back_when_it_is_over() -> None:
    revoked = RevokedUsers()
    users = StaticUsers({"alice": "secret"})
    store = Revocable(users, revoked)
    revoked.revoke("alice", NOW + 60)
    assert found(store, "alice") == ()
    assert len(found(store, "alice", NOW + 60)) == 1


def test_a_revoked_user_is_not_found_by_hash_either() -> None:
    from auth.keys import user_hash

    revoked = RevokedUsers()
    store = Revocable(StaticUsers({"alice": "secret"}), revoked)
    name = user_hash("alice", REALM)
    assert store.anonymous
    assert store.find_by_hash(name, REALM, NOW)
    revoked.revoke("alice", NOW + 60)
    assert store.find_by_hash(name, REALM, NOW) == ()


def test_what_has_to_be_asked_elsewhere_is_asked() -> None:
    store = Revocable(Elsewhere(), RevokedUsers())
    assert not store.anonymous
    assert store.find("alice", REALM, NOW) is PENDING
    assert store.find_by_hash(bytes(32), REALM, NOW) is PENDING
