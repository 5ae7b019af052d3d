"""Bans and used tokens: what is in until when, and how many at most."""

from random import Random

from turnserver.signaling.rooms.expiring import ExpiringSet, FairSet

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


def test_who_has_most_gives_up_its_oldest() -> None:
    """Kind: what one can fill must not push out what others have put there."""
    found: FairSet[str] = FairSet(10)
    for name in ("x1", "x2"):
        found.add(name, "x", 0.0, 1000.0)
    for number in range(10_000):
        found.add(f"y{number}", "y", 0.0, 1000.0)
    assert [found.has(name, 1.0) for name in ("x1", "x2", "y9991", "y9992", "y9999")] == [True, True, False, True, True]
    for number in range(100):
        found.add(f"z{number}", f"z{number}", 0.0, 1000.0)
    assert len(found) == 10


def test_what_has_expired_makes_room_first_and_the_later_end_counts() -> None:
    found: FairSet[str] = FairSet(3)
    for name, end in (("long", 100.0), ("short", 10.0), ("longer", 50.0)):
        found.add(name, "x", 0.0, end)
    found.add("longer", "y", 5.0, 200.0)
    found.add("longer", "x", 5.0, 60.0)
    found.add("new", "x", 10.0, 100.0)
    assert [found.has(name, 10.0) for name in ("long", "short", "longer", "new")] == [True, False, True, True]
    assert [found.has("longer", moment) for moment in (199.0, 200.0)] == [True, False]
    assert [found.has("new", moment) for moment in (99.0, 100.0)] == [True, False]


def test_any_history_leaves_the_same_as_a_search_of_everything() -> None:
    """The number of an owner's keys is kept, not counted again; it never goes wrong."""
    random, found, size = Random(9), FairSet[int](7), 7
    plain: dict[int, tuple[str, float]] = {}
    for step in range(5000):
        time, key, owner = step / 10, random.randrange(30), random.choice("abc")
        end = time + random.choice((0.5, 3.0, 50.0))
        found.add(key, owner, time, end)
        plain = {old: entry for old, entry in plain.items() if entry[1] > time}
        if key in plain:
            plain[key] = plain[key][0], max(plain[key][1], end)
        else:
            if len(plain) >= size:
                counts = [entry[0] for entry in plain.values()]
                most = max(map(counts.count, counts))
                gone = (plain.keys() - {old for old in plain if found.has(old, time)}).pop()
                assert counts.count(plain[gone][0]) == most
                assert gone == next(old for old in plain if plain[old][0] == plain[gone][0])
                del plain[gone]
            plain[key] = owner, end
        assert {old for old in range(30) if found.has(old, time)} == plain.keys()
        owners = [entry[0] for entry in plain.values()]
        assert (len(found), found._most) == (len(plain), max(map(owners.count, owners)))
