"""The observer that keeps what it was told."""

from turnserver.observers.recorder import Recorder
from turnserver.signaling.rooms.facts import RoomOpened


def test_the_last_events_are_kept() -> None:
    recorder = Recorder(kept=3)
    for name in "abcde":
        recorder.on_event(RoomOpened(name), None)
    assert [recorded.event for recorded in recorder.events] == [RoomOpened(name) for name in "cde"]
