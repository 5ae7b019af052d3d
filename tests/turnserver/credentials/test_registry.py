"""The sources by name."""

import pytest

from turnserver.config import AuthConfig
from turnserver.credentials.registry import SOURCES
from turnserver.errors import UnknownNameError

SET_UP = {
    "users": {"alice": "wonderland"},
    "shared_secrets": ["the first secret of this test"],
    "hook": {"url": "https://hook.example.org", "secret": "the secret of the hook"},
}


def test_the_names() -> None:
    """Those that ``auth`` sets up are called as their options; and there is one that knows nobody."""
    assert SOURCES.names == ("users", "shared_secrets", "hook", "nobody")
    with pytest.raises(UnknownNameError):
        SOURCES["ldap"]


@pytest.mark.parametrize("name", ["users", "shared_secrets", "hook"])
def test_a_source_is_there_if_it_is_set_up(name: str) -> None:
    assert SOURCES[name].make(AuthConfig(), clock=lambda: 0.0) is None
    auth = AuthConfig.model_validate({name: SET_UP[name]})
    source = SOURCES[name].make(auth, clock=lambda: 0.0)
    assert source is not None
    assert source.anonymous is (name == "users")


def test_nobody_is_always_there() -> None:
    source = SOURCES["nobody"].make(AuthConfig(), clock=lambda: 0.0)
    assert source is not None
    assert source.find("alice", "example.org", 0.0) == ()


def test_every_source_says_what_it_is() -> None:
    assert all(SOURCES[name].about for name in SOURCES)


def test_users_may_have_keys() -> None:
    """`{key: …}` is the credential itself, beside users with passwords."""
    key = "0123456789abcdef" * 2
    auth = AuthConfig.model_validate({"users": {"alice": {"key": key}, "bob": "builder"}})
    source = SOURCES["users"].make(auth, clock=lambda: 0.0)
    assert source is not None
    (alice,), (bob,) = (source.find(name, "example.org", 0.0) for name in ("alice", "bob"))  # type: ignore[misc]
    assert alice.keys == {1: bytes.fromhex(key)}
    assert set(bob.keys) == {1, 2}
