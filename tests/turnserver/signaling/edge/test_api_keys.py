"""Keys of the API."""

from hypothesis import given, settings
from hypothesis import strategies as st

from turnserver.signaling.edge.api_keys import ApiKey, KeyRing

patient = settings(deadline=None)

RING = KeyRing({"website": "website key 0123456789"}, {"support": "support key 0123456789"})


def test_keys_have_names() -> None:
    assert RING.find(b"website key 0123456789") == ApiKey("website", is_admin=False)
    assert RING.find(b"support key 0123456789") == ApiKey("support", is_admin=True)


@patient
@given(st.binary(max_size=64))
def test_everything_else_is_no_key(shown: bytes) -> None:
    assert RING.find(shown) is None


def test_a_secret_under_two_names_is_the_greater_one() -> None:
    assert KeyRing({"one": "x" * 16}, {"two": "x" * 16}).find(b"x" * 16) == ApiKey("two", is_admin=True)


def test_no_keys_open_nothing() -> None:
    assert KeyRing({}, {}).find(b"") is None


def test_repr_shows_no_key() -> None:
    assert repr(RING) == "KeyRing(2 keys)"
