"""What a child of the SFU says is not believed: only facts, and only of rooms that it has; all else ends it."""

import json
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnserver.framing import FrameError
from turnserver.media import worker
from turnserver.media.facts import MediaFact, OfferReady, SpeakerChanged
from turnserver.media.stats import ForwardingView, LayerView, MediaPeerView, MediaRoomView, TrackView
from turnserver.sfu_hosts import _FACTS, ChildHost

VIEW = MediaRoomView(
    "r",
    1,
    None,
    10,
    20,
    (
        MediaPeerView(
            "ann",
            True,
            False,
            3e5,
            0.0,
            (TrackView("camera", "VP8", False, (LayerView("h", 1e5, 360, 5, 0, 1, 2),)),),
            (ForwardingView("ben", "audio", None, 0, 7, 0, 0),),
        ),
    ),
)


class Supervised:
    """In place of the supervisor: there is no process behind these children."""

    waiting = False

    def __init__(self) -> None:
        self.sent: list[Any] = []

    def send(self, kind: int, payload: bytes) -> None:
        self.sent.append((kind, json.loads(payload)))


class Child(ChildHost):
    """A child with the room r, and what it has told."""

    def __init__(self) -> None:
        self.facts: list[MediaFact] = []
        self.why: list[str] = []
        self.sockets = ()
        self._opened = ()
        self._tell = self.facts.append
        self._lost = lambda _, why: self.why.append(why)
        self._known = set()
        self._views = {}
        self._supervisor = Supervised()  # type: ignore[assignment]
        self.ask("open", ["r", 1])


@pytest.fixture
def child() -> Child:
    """A child that has one room."""
    return Child()


def test_every_fact_can_be_told() -> None:
    assert set(_FACTS) == {kind.__name__ for kind in get_args(MediaFact)}


def test_facts_of_its_rooms_are_told(child: Child) -> None:
    child.receive(worker.FACT, json.dumps(["SpeakerChanged", "r", None]).encode())
    child.receive(worker.FACT, json.dumps(["OfferReady", "another", "ann", "s1", "v=0"]).encode())
    child.receive(worker.FACT, json.dumps(["OfferReady", "r", "ann", "s1", "v=0"]).encode())
    assert child.facts == [SpeakerChanged("r", None), OfferReady("r", "ann", "s1", "v=0")]
    child.ask("close", ["r"])
    child.receive(worker.FACT, json.dumps(["SpeakerChanged", "r", "ann"]).encode())
    assert len(child.facts) == 2, "late"


@pytest.mark.parametrize(
    "told",
    [
        "SpeakerChanged",
        ["SpeakerChanged", "r"],
        ["SpeakerChanged", "r", 7],
        ["SpeakerChanged", "r", "ann", "more"],
        ["LayersWanted", "r", "ann", "microphone", []],
        ["LayersWanted", "r", "ann", "camera", [1]],
        ["SideConnected", "r", "ann", "both"],
        ["Nonsense", "r"],
        [["SpeakerChanged"], "r", None],
        [],
        None,
    ],
)
def test_what_is_no_fact_ends_it(child: Child, told: object) -> None:
    with pytest.raises(FrameError, match="a fact"):
        child.receive(worker.FACT, json.dumps(told).encode())
    assert child.facts == []


@given(st.integers(16, 255), st.binary(max_size=80))
def test_whatever_it_says_is_taken_or_refused(kind: int, payload: bytes) -> None:
    child = Child()
    try:
        child.receive(kind, payload)
    except FrameError:
        return
    assert kind == worker.VIEW
    assert child.facts == []
    assert list(child.rooms()) == []


def test_views_of_its_rooms_are_kept(child: Child) -> None:
    child.receive(worker.VIEW, b"r\0" + json.dumps(VIEW).encode())
    child.receive(worker.VIEW, b"another\0" + json.dumps(VIEW).encode())
    assert list(child.rooms()) == [VIEW]
    child.receive(worker.VIEW, b"r\0{}")
    assert list(child.rooms()) == []
    child.ended("ended by SIGKILL")
    assert child.why == ["the media process is gone: ended by SIGKILL"]
    child.receive(worker.VIEW, b"r\0" + json.dumps(VIEW).encode())
    assert list(child.rooms()) == []
