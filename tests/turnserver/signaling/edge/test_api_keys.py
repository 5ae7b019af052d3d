"""Keys of the API."""

from hypothesis import given, settings
from hypothesis import strategies as st

from turnserver.signaling.edge.api_keys import ApiKey, KeyRing
from turnserver.signaling.edge.key_file import StoredKey, new_key
from turnserver.signaling.edge.scopes import ADMIN_SCOPES, API_SCOPES, Scope

patient = settings(deadline=None)

RING = KeyRing({"website": "website key 0123456789"}, {"support": "support key 0123456789"})


def test_keys_have_names_and_scopes() -> None:
    assert RING.find(b"website key 0123456789") == ApiKey("website", API_SCOPES)
    assert RING.find(b"support key 0123456789") == ApiKey("support", ADMIN_SCOPES)


@patient
@given(st.binary(max_size=64))
def test_everything_else_is_no_key(shown: bytes) -> None:
    assert RING.find(shown) is None


def test_a_secret_under_two_names_is_the_greater_one() -> None:
    assert KeyRing({"one": "x" * 16}, {"two": "x" * 16}).find(b"x" * 16) == ApiKey("two", ADMIN_SCOPES)


def test_no_keys_open_nothing() -> None:
    assert KeyRing({}, {}).find(b"") is None


def test_keys_of_a_file_are_those_of_the_moment() -> None:
    keys: list[StoredKey] = []
    ring = KeyRing({}, {}, lambda: keys)
    key, secret = new_key("backup", frozenset({Scope.ADMIN_READ}), lambda size: b"\x07" * size, 100, 60)
    assert ring.find(secret.encode()) is None
    keys.append(key)
    assert ring.find(secret.encode()) == ApiKey("backup", frozenset({Scope.ADMIN_READ}), 160)
    assert ring.find(key.digest) is None, "who reads the file has no key"
    assert ring.find(key.digest.hex().encode()) is None
    keys.clear()
    assert ring.find(secret.encode()) is None


def test_repr_shows_no_key() -> None:
    assert repr(RING) == "KeyRing(2 keys)"
