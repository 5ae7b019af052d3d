"""The observers by name."""

import pytest

from turnserver.observers.registry import OBSERVERS
from turnserver.signaling.rooms.facts import RoomOpened


@pytest.mark.parametrize("name", OBSERVERS.names)
def test_each_is_made_and_can_be_told(name: str) -> None:
    """A new one every time: two servers in one process do not share what one has seen."""
    made = OBSERVERS[name]()
    made.on_event(RoomOpened("x"), None)
    assert OBSERVERS[name]() is not made


def test_what_ships() -> None:
    assert OBSERVERS.names == ("log", "recorder")
