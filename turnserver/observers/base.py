"""The observer seam: whoever wants to know what happens is told of every event, once and in order.

The relay's events are those of `turnserver.core.events`, the rooms' facts those of `turnserver.signaling.rooms.facts`.
Text in both is hostile: it is what clients say about themselves.
"""

from collections import deque
from collections.abc import Callable, Iterable
from typing import Protocol, TypeAlias

from turnserver.core.events import Event
from turnserver.core.types import Counters
from turnserver.faults import Faults
from turnserver.signaling.rooms.facts import Fact

__all__ = ["Observer", "Observers", "RoomFact"]

RoomFact: TypeAlias = Fact
"""What has happened in a room, or at its door."""


class Observer(Protocol):
    """Whoever wants to know. It is called in the event loop of the server, so it must not wait for anything."""

    def on_event(self, event: Event | RoomFact, counters: Counters | None) -> None:
        """Something has happened. An `AllocationEnded` comes with what its relays have carried, all else with None."""


class Observers:
    """The observers of one server. A fault of one is its own: it is noted, and the others are told all the same."""

    def __init__(self, observers: Iterable[Observer] = (), faults: Faults | None = None) -> None:
        self._observers: dict[int, Observer] = dict(enumerate(observers))
        self._serial = len(self._observers)
        self._waiting: deque[tuple[Event | RoomFact, Counters | None]] = deque()
        self._telling = False
        self._faults = Faults() if faults is None else faults

    def add(self, observer: Observer) -> Callable[[], None]:
        """Tell one more from now on; gives a function that ends it. Calling that again does nothing."""
        self._serial += 1
        serial = self._serial
        self._observers[serial] = observer

        def remove() -> None:
            self._observers.pop(serial, None)

        return remove

    def tell(self, event: Event | RoomFact, counters: Counters | None = None) -> None:
        """Tell everybody. What happens because of what an observer does is told when all have heard of this."""
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
            except Exception as error:
                self._faults.note("observer", error)
