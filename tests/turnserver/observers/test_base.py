"""Observers: everybody is told once and in order, and a fault of one stays its own."""

import asyncio
from typing import Any

import pytest

from stun.address import Address
from tests.support.stream_world import captured_log
from turnserver.core.events import AllocationEnded, AnswerWithheld, EndReason
from turnserver.core.types import ClientTransport, Counters, FiveTuple
from turnserver.faults import Faults
from turnserver.observers.base import Observer, Observers
from turnserver.observers.recorder import Recorded, Recorder
from turnserver.signaling.rooms.facts import RoomOpened

CLIENT = FiveTuple(ClientTransport.UDP, Address.parse("192.0.2.10", 40000), Address.parse("192.0.2.1", 3478), 0)
WITHHELD = AnswerWithheld(CLIENT)
ENDED = AllocationEnded(CLIENT, "alice", "alice", (), EndReason.DELETED, 1.0)
OPENED = RoomOpened("x")


class Broken:
    """Raises whatever it is told."""

    def on_event(self, event: object, counters: Counters | None) -> None:
        raise ValueError("what is wrong with it")


def test_everybody_is_told_of_relays_and_rooms() -> None:
    one, two = Recorder(), Recorder()
    observers = Observers([one])
    remove = observers.add(two)
    observers.tell(ENDED, Counters(1, 2, 3, 4, 5))
    observers.tell(OPENED)
    assert list(one.events) == list(two.events) == [Recorded(ENDED, Counters(1, 2, 3, 4, 5)), Recorded(OPENED, None)]
    remove()
    remove()
    observers.tell(WITHHELD)
    assert (len(one.events), len(two.events)) == (3, 2)


def test_one_that_was_added_twice_is_told_twice_and_removed_one_by_one() -> None:
    recorder = Recorder()
    observers = Observers()
    first, second = observers.add(recorder), observers.add(recorder)
    observers.tell(OPENED)
    first()
    observers.tell(OPENED)
    second()
    observers.tell(OPENED)
    assert len(recorder.events) == 3


def test_a_fault_costs_the_others_nothing() -> None:
    """It is counted, and logged with its cause; not every time, for it may come with every packet."""
    recorder, faults = Recorder(), Faults(lambda: 0.0)
    observers = Observers([Broken(), recorder], faults)
    with captured_log("meshturn.faults") as log:
        for _ in range(100):
            observers.tell(OPENED)
    assert len(recorder.events) == 100
    assert faults.counts == {"observer": 100}
    assert 0 < len(log) < 10
    assert log[0].exc_info is not None
    assert "what is wrong with it" in str(log[0].exc_info[1])


def test_what_an_observer_causes_is_told_when_all_have_heard_the_first() -> None:
    """Or the second event would reach some before the one that it follows from."""
    first, last = Recorder(), Recorder()
    observers = Observers([first])

    class Answering:
        def on_event(self, event: object, counters: Counters | None) -> None:
            if event is WITHHELD:
                observers.tell(OPENED)

    observers.add(Answering())
    observers.add(last)
    observers.tell(WITHHELD)
    assert [each.event for each in first.events] == [each.event for each in last.events] == [WITHHELD, OPENED]


def test_observers_may_come_and_go_while_they_are_told() -> None:
    observers = Observers()
    late = Recorder()

    class Leaving:
        def on_event(self, event: object, counters: Counters | None) -> None:
            leave()
            observers.add(late)

    leave = observers.add(Leaving())
    observers.tell(OPENED)
    assert not late.events
    observers.tell(OPENED)
    assert len(late.events) == 1


def test_anything_with_the_method_is_an_observer() -> None:
    found: Observer = Recorder()
    found.on_event(OPENED, None)


class Nothing:
    """An object without the method."""


@pytest.mark.parametrize(
    ("observer", "words"),
    [
        (object(), "object has none"),
        (print, "builtin_function_or_method has none"),
        (Nothing(), "Nothing has none"),
        (Recorder, "Recorder is a class"),
        (None, "NoneType has none"),
    ],
)
def test_what_is_no_observer_is_refused_at_once(observer: Any, words: str) -> None:
    """Kind: a mistake of a program that shows itself as a fault of every event."""
    with pytest.raises(TypeError, match=words):
        Observers().add(observer)


def test_an_observer_that_raises_cancelled_error_costs_the_others_nothing() -> None:
    """Kind: an exception that is no Exception, from a call in which nobody can cancel anything."""
    heard: list[object] = []

    class Cancelled:
        def on_event(self, event: Any, counters: Any) -> None:
            raise asyncio.CancelledError

    class Fine:
        def on_event(self, event: Any, counters: Any) -> None:
            heard.append(event)

    faults = Faults()
    observers = Observers(faults=faults)
    observers.add(Cancelled())
    observers.add(Fine())
    observers.tell(OPENED)
    assert (heard, faults.counts) == ([OPENED], {"observer": 1})
