"""The observer interface: every observer receives every event, once and in order.

The relay's events are those of `turnserver.core.events`, the rooms' facts those of `turnserver.signaling.rooms.facts`.
Text in both is untrusted, because it comes from clients.
"""

from collections import deque
from collections.abc import Callable, Iterable
from typing import Protocol, TypeAlias

from turnserver.core.events import Event
from turnserver.core.types import Counters
from turnserver.faults import RAISED, Faults
from turnserver.signaling.rooms.facts import Fact

__all__ = ["Observer", "Observers", "RoomFact", "insist_on_observer"]

RoomFact: TypeAlias = Fact
"""A fact about a room or a client that wants to join."""


class Observer(Protocol):
    """An observer. It is called in the event loop of the server, so it must not block."""

    def on_event(self, event: Event | RoomFact, counters: Counters | None) -> None:
        """Receive an event. An `AllocationEnded` comes with the counters of its relays, other events with None."""


def insist_on_observer(observer: object) -> None:
    """Raise TypeError for what is no observer, since otherwise every event would be a fault."""
    if isinstance(observer, type):
        raise TypeError(f"an observer is an object, and {observer.__qualname__} is a class: call it to make one")
    if not callable(getattr(observer, "on_event", None)):
        raise TypeError(
            f"an observer has a method on_event(event, counters), and {type(observer).__qualname__} has none"
        )


class Observers:
    """The observers of one server. An exception of one is recorded, and does not affect the others."""

    def __init__(self, observers: Iterable[Observer] = (), faults: Faults | None = None) -> None:
        self._observers: dict[int, Observer] = dict(enumerate(observers))
        self._serial = len(self._observers)
        self._waiting: deque[tuple[Event | RoomFact, Counters | None]] = deque()
        self._telling = False
        self._faults = Faults() if faults is None else faults

    def add(self, observer: Observer) -> Callable[[], None]:
        """Add an observer; returns a function that removes it. Calling that again does nothing.

        Raises TypeError for what is none.
        """
        insist_on_observer(observer)
        self._serial += 1
        serial = self._serial
        self._observers[serial] = observer

        def remove() -> None:
            self._observers.pop(serial, None)

        return remove

    def tell(self, event: Event | RoomFact, counters: Counters | None = None) -> None:
        """Pass an event to all observers. Events that an observer causes are passed on after this one."""
        self._waiting.append((event, counters))
        if self._telling:
            return
        self._telling = True
        try:
            while self._waiting:
                self._tell_all(*self._waiting.popleft())
        finally:
            self._telling = False

    def _tell_all(self, event: Event | RoomFact, counters: Counters | None) -> None:
        for observer in tuple(self._observers.values()):
            try:
                observer.on_event(event, counters)
            except RAISED as error:
                self._faults.note("observer", error)
