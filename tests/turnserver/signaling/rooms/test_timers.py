"""The hub's deadlines, against the simplest thing that could be right."""

from hypothesis import given
from hypothesis import strategies as st

from turnserver.signaling.rooms.timers import TimerKey, Timers

__all__: list[str] = []

A, B = ("a", ""), ("b", "")


def test_the_nearest_is_next_and_moving_moves_it() -> None:
    timers = Timers()
    timers.set(A, 5.0)
    timers.set(B, 3.0)
    assert timers.next() == 3.0
    timers.set(B, 9.0)
    assert timers.next() == 5.0
    timers.set(A, 1.0)
    assert (timers.next(), timers.due(0.5), timers.due(1.0), timers.due(8.0)) == (1.0, None, A, None)
    timers.drop(B)
    assert timers.next() is None


def test_moving_a_deadline_for_ever_costs_no_memory() -> None:
    timers = Timers()
    for number in range(100_000):
        timers.set(A, float(number))
    assert len(timers._heap) < 1_000


@given(st.lists(st.tuples(st.sampled_from("sdp"), st.integers(0, 5), st.integers(0, 20))))
def test_it_does_what_a_dictionary_does(steps: list[tuple[str, int, int]]) -> None:
    timers, model = Timers(), dict[TimerKey, float]()
    for what, number, moment in steps:
        key = ("k", str(number))
        if what == "s":
            timers.set(key, float(moment))
            model[key] = float(moment)
        elif what == "d":
            timers.drop(key)
            model.pop(key, None)
        else:
            due = set()
            while (found := timers.due(float(moment))) is not None:
                due.add(found)
            assert due == {each for each, when in model.items() if when <= moment}
            for each in due:
                del model[each]
        assert timers.next() == min(model.values(), default=None)
        assert (len(timers), key in timers) == (len(model), key in model)
