"""Quotas (RFC 8656 §7.2: 486 and 508), counted on the user part of the credential."""

import pytest

from turnserver.core.quota import Quota, QuotaVerdict


def test_a_user_has_a_limit() -> None:
    """Rule 10, RFC 8656 §7.2 step 10: per user; others are not concerned."""
    quota = Quota(per_user=2, total=10)
    assert [quota.take("alice") for _ in range(3)] == [
        QuotaVerdict.GRANTED,
        QuotaVerdict.GRANTED,
        QuotaVerdict.USER_FULL,
    ]
    assert quota.take("bob") is QuotaVerdict.GRANTED
    assert (quota.users.get("alice", 0), quota.users.get("bob", 0), quota.users.get("carol", 0), quota.total) == (
        2,
        1,
        0,
        3,
    )


def test_the_server_has_a_limit() -> None:
    """Rule 10: all users together."""
    quota = Quota(per_user=2, total=3)
    assert [quota.take(user) for user in ("alice", "alice", "bob", "bob")] == [
        QuotaVerdict.GRANTED,
        QuotaVerdict.GRANTED,
        QuotaVerdict.GRANTED,
        QuotaVerdict.SERVER_FULL,
    ]
    assert quota.users.get("bob", 0) == 1


def test_the_user_is_told_first() -> None:
    """Rule 10: 486 before 508."""
    quota = Quota(per_user=1, total=1)
    quota.take("alice")
    assert quota.take("alice") is QuotaVerdict.USER_FULL
    assert quota.take("bob") is QuotaVerdict.SERVER_FULL


def test_what_is_refused_is_not_counted() -> None:
    """Rule 25: a refusal takes nothing."""
    quota = Quota(per_user=1, total=1)
    quota.take("alice")
    for user in ("alice", "bob"):
        quota.take(user)
    quota.give_back("alice")
    assert (quota.total, quota.users.get("alice", 0), quota.users.get("bob", 0)) == (0, 0, 0)
    assert quota.take("bob") is QuotaVerdict.GRANTED


def test_giving_back_twice_is_a_bug() -> None:
    """Rule 25: exactly once."""
    quota = Quota(per_user=2, total=2)
    quota.take("alice")
    quota.take("alice")
    quota.give_back("alice")
    quota.give_back("alice")
    with pytest.raises(KeyError):
        quota.give_back("alice")
    assert quota.total == 0


def test_other_limits_take_nothing_from_those_who_hold_more() -> None:
    """They hold for who asks next."""
    quota = Quota(per_user=2, total=3)
    assert [quota.take("alice"), quota.take("alice")] == [QuotaVerdict.GRANTED] * 2
    quota.limit(per_user=1, total=3)
    assert quota.total == 2
    assert quota.take("alice") is QuotaVerdict.USER_FULL
    assert quota.take("bob") is QuotaVerdict.GRANTED
    quota.limit(per_user=9, total=1)
    assert quota.take("carol") is QuotaVerdict.SERVER_FULL
    quota.give_back("alice")
    quota.give_back("alice")
    assert quota.take("carol") is QuotaVerdict.SERVER_FULL
    quota.give_back("bob")
    assert quota.take("carol") is QuotaVerdict.GRANTED
