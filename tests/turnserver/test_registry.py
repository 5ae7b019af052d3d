"""Names for what can be plugged in."""

import pytest

from turnserver.errors import ServerError, UnknownNameError
from turnserver.registry import Registry


def registry() -> Registry[int]:
    made: Registry[int] = Registry("number")
    made.add("two", 2)
    made.add("one", 1)
    return made


def test_entries_are_found_by_name_and_listed_in_order() -> None:
    numbers = registry()
    assert numbers["one"] == 1
    assert numbers.names == tuple(numbers) == ("two", "one")
    assert "one" in numbers
    assert "three" not in numbers


def test_an_unknown_name_is_an_error_that_says_what_is_known() -> None:
    with pytest.raises(UnknownNameError, match=r"no number 'three'; known are two, one") as caught:
        _ = registry()["three"]
    assert isinstance(caught.value, ServerError)
    with pytest.raises(UnknownNameError, match="known are none"):
        _ = Registry("number")["three"]


def test_a_name_is_given_once() -> None:
    numbers = registry()
    with pytest.raises(ValueError, match="'one'"):
        numbers.add("one", 11)
    assert numbers["one"] == 1


def test_what_was_added_can_be_taken_out_and_nothing_else() -> None:
    numbers = registry()
    remove = numbers.add("three", 3)
    remove()
    assert "three" not in numbers
    numbers.add("three", 33)
    remove()
    assert numbers["three"] == 33


def test_names_may_change_while_they_are_looked_through() -> None:
    numbers = registry()
    for name in numbers:
        numbers.add(f"{name} again", 0)
    assert len(numbers.names) == 4


def test_what_is_for_embedding_works_and_is_not_offered() -> None:
    numbers = registry()
    remove = numbers.add("pretended", 0, embedded=True)
    assert numbers["pretended"] == 0
    assert numbers.names == ("two", "one", "pretended")
    assert numbers.offered == ("two", "one")
    remove()
    numbers.add("pretended", 3)
    assert numbers.offered == ("two", "one", "pretended")
