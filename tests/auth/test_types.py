"""Credentials as values."""

from dataclasses import replace

from auth.source import StaticUsers


def test_equal_credentials_have_name_realm_and_keys_in_common() -> None:
    """Found twice they are equal, whatever the objects; another password, realm, algorithm or name makes another."""
    first, again = (StaticUsers({"alice": "secret"}).find("alice", "r", 0.0)[0] for _ in range(2))
    (other,) = StaticUsers({"alice": "Secret"}).find("alice", "r", 0.0)
    assert first.equals(again)
    assert first.equals(replace(first, expires_at=7.0, user_id="somebody"))
    assert not first.equals(other)
    assert not first.equals(replace(first, realm="s"))
    assert not first.equals(replace(first, username="bob"))
    assert not first.equals(replace(first, keys={}))
    assert not first.equals(replace(first, keys={1: first.keys[1]}))
