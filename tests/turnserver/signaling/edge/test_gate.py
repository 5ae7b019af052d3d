"""Keys of the API and the patience with wrong ones."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from turnserver.signaling.edge.gate import FAILURES, MAX_ADDRESSES, WINDOW, Guesses, Key, KeyRing, prefix_of

patient = settings(deadline=None)

RING = KeyRing({"website": "website key 0123456789"}, {"support": "support key 0123456789"})


def test_keys_have_names() -> None:
    assert RING.find(b"website key 0123456789") == Key("website", is_admin=False)
    assert RING.find(b"support key 0123456789") == Key("support", is_admin=True)


@patient
@given(st.binary(max_size=64))
def test_everything_else_is_no_key(shown: bytes) -> None:
    assert RING.find(shown) is None


def test_a_secret_under_two_names_is_the_greater_one() -> None:
    assert KeyRing({"one": "x" * 16}, {"two": "x" * 16}).find(b"x" * 16) == Key("two", is_admin=True)


def test_no_keys_open_nothing() -> None:
    assert KeyRing({}, {}).find(b"") is None


def test_repr_shows_no_key() -> None:
    assert repr(RING) == "KeyRing(2 keys)"


def test_the_door_closes_after_so_many_wrong_keys_and_opens_again() -> None:
    guesses = Guesses()
    for second in range(FAILURES):
        assert guesses.wait("192.0.2.1", 100.0 + second) == 0
        guesses.failed("192.0.2.1", 100.0 + second)
    assert guesses.wait("192.0.2.1", 110.0) == WINDOW - 10
    assert guesses.wait("192.0.2.2", 110.0) == 0, "others are not affected"
    assert guesses.wait("192.0.2.1", 100.0 + WINDOW) == 0


def test_who_goes_on_guessing_goes_on_waiting() -> None:
    guesses = Guesses(2)
    for moment in (0.0, 1.0, 2.0):
        guesses.failed("192.0.2.1", moment)
    assert guesses.wait("192.0.2.1", WINDOW) == 1.0


def test_one_household_is_one_guesser() -> None:
    """A client has a whole IPv6 /64 to guess from."""
    guesses = Guesses(2)
    guesses.failed("2001:db8::1", 0)
    guesses.failed("2001:db8::ffff:2", 0)
    assert guesses.wait("2001:db8::3", 0) == WINDOW
    assert guesses.wait("2001:db8:0:1::3", 0) == 0


def test_the_table_is_bounded_and_forgets_the_oldest() -> None:
    guesses = Guesses(1)
    for number in range(MAX_ADDRESSES + 10):
        guesses.failed(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", 0)
    assert len(guesses) == MAX_ADDRESSES
    assert guesses.wait("10.0.0.9", 0) == 0
    assert guesses.wait("10.0.0.10", 0) == WINDOW


@pytest.mark.parametrize(
    ("address", "prefix"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("elsewhere", "elsewhere"),
    ],
)
def test_prefixes(address: str, prefix: str) -> None:
    assert prefix_of(address) == prefix
