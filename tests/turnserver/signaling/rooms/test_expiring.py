"""Bans and used tokens: what is in until when, and how many at most."""

from turnserver.signaling.rooms.expiring import ExpiringSet

__all__: list[str] = []


def test_what_is_put_in_is_there_until_its_end() -> None:
    found: ExpiringSet[str] = ExpiringSet(10)
    found.add("a", 0.0, 10.0)
    assert [found.has("a", moment) for moment in (0.0, 9.9, 10.0)] == [True, True, False]
    assert not found.has("b", 0.0)
    found.add("a", 11.0, 21.0)
    assert [found.has("a", moment) for moment in (12.0, 21.0)] == [True, False]


def test_the_later_end_counts() -> None:
    found: ExpiringSet[str] = ExpiringSet(10)
    for end in (20.0, 50.0, 30.0):
        found.add("a", 12.0, end)
    assert [found.has("a", moment) for moment in (49.0, 50.0)] == [True, False]


def test_there_is_an_end_to_their_number() -> None:
    """The oldest is forgotten first; what has ended takes no place for long."""
    found: ExpiringSet[int] = ExpiringSet(3)
    for number in range(3):
        found.add(number, 0.0, 10.0 + number)
    assert found.is_full(5.0)
    found.add(3, 5.0, 100.0)
    assert [found.has(number, 5.0) for number in range(4)] == [False, True, True, True]
    assert not found.is_full(11.5)
    for number in range(100):
        found.add(number, 20.0, 30.0)
        assert len(found) <= 3
