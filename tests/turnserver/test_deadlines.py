"""The heap of deadlines: it agrees with a plain dictionary, whatever is moved, removed and set again."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnserver.core.deadlines import DeadlineKey, DeadlineKind
from turnserver.deadlines import Deadlines


def key(item: object) -> DeadlineKey:
    return DeadlineKey(DeadlineKind.CHANNEL, 1, item)


def test_due_in_order() -> None:
    """Earliest first, those at the very moment included, each once."""
    deadlines = Deadlines[DeadlineKey]()
    for when in (5.0, 1.0, 3.0):
        deadlines.set(key(when), when)
    assert deadlines.next() == 1.0
    assert list(deadlines.due(0.9)) == []
    assert list(deadlines.due(3.0)) == [key(1.0), key(3.0)]
    assert list(deadlines.due(3.0)) == []
    assert (deadlines.next(), len(deadlines)) == (5.0, 1)


@pytest.mark.parametrize("moved", [1.0, 9.0])
def test_moving_a_deadline(moved: float) -> None:
    """Earlier or later: only the last word counts."""
    deadlines = Deadlines[DeadlineKey]()
    deadlines.set(key("a"), 5.0)
    deadlines.set(key("a"), moved)
    assert (deadlines.next(), deadlines.get(key("a")), len(deadlines)) == (moved, moved, 1)
    assert list(deadlines.due(moved - 0.1)) == []
    assert list(deadlines.due(100.0)) == [key("a")]
    assert deadlines.next() is None


def test_removing_a_deadline() -> None:
    """What is removed does not come up; removing what is not there is nothing."""
    deadlines = Deadlines[DeadlineKey]()
    deadlines.set(key("a"), 1.0)
    deadlines.remove(key("a"))
    deadlines.remove(key("b"))
    assert (deadlines.next(), deadlines.get(key("a")), list(deadlines.due(9.0))) == (None, None, [])


def test_removed_and_set_again() -> None:
    """The old moment is not the new one's."""
    deadlines = Deadlines[DeadlineKey]()
    deadlines.set(key("a"), 1.0)
    deadlines.remove(key("a"))
    deadlines.set(key("a"), 7.0)
    assert list(deadlines.due(6.9)) == []
    assert list(deadlines.due(7.0)) == [key("a")]


def test_setting_while_what_is_due_is_worked_off() -> None:
    """A handler may set, move and remove others, and set its own again, while `due` is under way."""
    deadlines = Deadlines[DeadlineKey]()
    for name, when in (("a", 1.0), ("b", 2.0), ("c", 3.0)):
        deadlines.set(key(name), when)
    seen = []
    for due in deadlines.due(5.0):
        seen.append(due.item)
        if seen == ["a"]:
            deadlines.remove(key("b"))
            deadlines.set(key("d"), 4.0)
            deadlines.set(key("a"), 4.5)
            deadlines.set(key("c"), 6.0)
    assert seen == ["a", "d", "a"]
    assert deadlines.next() == 6.0


def test_what_is_removed_does_not_pile_up() -> None:
    """Allocations made for an hour and deleted at once must not stay in the heap for the hour."""
    deadlines = Deadlines[DeadlineKey]()
    for number in range(20_000):
        deadlines.set(key(number), 3600.0 + number)
        deadlines.remove(key(number))
    assert len(deadlines._heap) < 3000
    assert (len(deadlines), deadlines.next()) == (0, None)


def test_what_is_refreshed_does_not_pile_up() -> None:
    """A refresh that only ever moves a deadline later costs no entry."""
    deadlines = Deadlines[DeadlineKey]()
    for number in range(1000):
        deadlines.set(key("a"), 600.0 + number)
    assert len(deadlines._heap) == 1


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("slack", [0, 1024], ids=["rebuilt often", "never rebuilt"])
def test_it_agrees_with_a_plain_dictionary(seed: int, slack: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Random sets, moves, removals and steps of time, against the obvious implementation."""
    monkeypatch.setattr("turnserver.deadlines._SLACK", slack)
    random = Random(seed)
    deadlines, model = Deadlines[DeadlineKey](), dict[DeadlineKey, float]()
    now = 0.0
    for _ in range(3000):
        chosen, action = key(random.randrange(40)), random.random()
        if action < 0.6:
            model[chosen] = when = now + random.randrange(1, 50)
            deadlines.set(chosen, when)
        elif action < 0.8:
            model.pop(chosen, None)
            deadlines.remove(chosen)
        else:
            now += random.randrange(5)
            due = list(deadlines.due(now))
            assert sorted(due) == sorted(item for item, when in model.items() if when <= now)
            assert [model[item] for item in due] == sorted(model[item] for item in due)
            model = {item: when for item, when in model.items() if when > now}
        assert deadlines.next() == min(model.values(), default=None)
        assert len(deadlines) == len(model)


def test_moving_a_deadline_earlier_and_earlier_costs_no_memory() -> None:
    deadlines = Deadlines[DeadlineKey]()
    for number in range(100_000):
        deadlines.set(key("a"), 1e6 - number)
    assert len(deadlines._heap) < 2_000
    assert list(deadlines.due(1e6)) == [key("a")]


@given(st.lists(st.tuples(st.sampled_from("sdp"), st.integers(0, 5), st.integers(0, 20))))
def test_it_does_what_a_dictionary_does(steps: list[tuple[str, int, int]]) -> None:
    """The clock may even go back: what is due at a moment is what stands at or before it."""
    deadlines, model = Deadlines[DeadlineKey](), dict[DeadlineKey, float]()
    for what, number, moment in steps:
        each = key(number)
        if what == "s":
            deadlines.set(each, float(moment))
            model[each] = float(moment)
        elif what == "d":
            deadlines.remove(each)
            model.pop(each, None)
        else:
            due = set(deadlines.due(float(moment)))
            assert due == {other for other, when in model.items() if when <= moment}
            for other in due:
                del model[other]
        assert deadlines.next() == min(model.values(), default=None)
        assert (len(deadlines), deadlines.get(each), each in deadlines) == (len(model), model.get(each), each in model)
