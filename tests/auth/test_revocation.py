"""Those who were asked to leave do not come back with what they had."""

from hypothesis import given, settings
from hypothesis import strategies as st

from auth.ephemeral import SharedSecret, TimeLimitedCredentials, mint
from auth.revocation import RevokedUsers
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
