"""Who begins and ends the recording of a room, that everybody is told, and what becomes of it with the engine."""

from typing import Any

import pytest

from tests.support.signal_hub import Client, World
from turnserver.signaling.protocol.errors import Denial
from turnserver.signaling.rooms.facts import RecordingChanged
from turnserver.signaling.rooms.media_port import SfuGone, SfuRecorded, SfuUnrecorded
from turnserver.signaling.rooms.switching import CALM

AUTO = {"mode": "auto"}
HOST = {"subject": "ann", "role": "host"}
START = {"op": "record", "value": "start"}
STOP = {"op": "record", "value": "stop"}


def call(*others: str, join: dict[str, Any] | None = None, **sfu: Any) -> tuple[World, Client, list[Client]]:
    """A host and others in a room of a server that records."""
    world = World(grants={"host": HOST, "other": {"subject": "other"}}, sfu={"records": True, **sfu})
    (ann,) = world.enter("ann", token="host", join=AUTO)
    rest = world.enter(*others, token="other", join=AUTO if join is None else join)
    ann.drain()
    world.media.take()
    return world, ann, rest


def recorded(client: Client) -> list[tuple[bool, str | None]]:
    """What a client was told: whether the room is recorded, and why not any more."""
    return [("recording" in frame, frame.get("unrecorded")) for frame in client.drain() if frame["t"] == "room_update"]


def changes(world: World) -> list[tuple[bool, str, str]]:
    """What observers were told of recordings."""
    return [(fact.on, fact.by, fact.why) for fact in world.facts if isinstance(fact, RecordingChanged)]


def test_a_mesh_goes_through_the_engine_to_be_recorded_and_stays() -> None:
    world, ann, (bob,) = call("bob")
    assert ann.ask("mod", **START)["t"] == "ok"
    asked = world.media.take()
    assert [each[0] for each in asked] == ["open", "join", "join", "record"]
    assert asked[-1] == ("record", "blue", True)
    assert recorded(bob) == [(False, None)], "the mode changes; nothing is recorded yet"
    world.reports(SfuRecorded("blue"))
    assert [frame["recording"] for frame in bob.drain()] == [{"since": int(world.now.wall * 1000), "by": ann.id}]
    for client in (ann, bob):
        client.say("mode_ready", epoch=2)
    world.pass_time(5 * CALM)
    assert world.hub._state.rooms["blue"].routing.mode == "sfu"
    (eve,) = world.enter("eve", token="other", join=AUTO)
    assert world.hub.rooms()[0].recorded == world.now.wall - 5 * CALM
    eve.say("bye")
    bob.drain()
    assert ann.ask("mod", **STOP)["t"] == "ok"
    assert world.media.take()[-1] == ("record", "blue", False)
    assert recorded(bob) == [(False, None)]
    world.pass_time(CALM + 1)
    assert world.hub._state.rooms["blue"].routing.mode == "mesh"
    assert changes(world) == [(True, ann.id, ""), (False, "", "")]


def test_who_comes_later_is_told() -> None:
    world, ann, _ = call()
    ann.ask("mod", **START)
    world.reports(SfuRecorded("blue"))
    since = int(world.now.wall * 1000)
    world.pass_time(3.0)
    bob = world.client("bob")
    bob.open()
    bob.hello(token="other")
    joined = bob.join(**AUTO)
    assert joined["room"]["recording"] == {"since": since, "by": ann.id}


def test_only_hosts_may_and_only_two_words_are_known() -> None:
    world, ann, (bob,) = call("bob")
    assert bob.ask("mod", **START)["code"] == "forbidden"
    for value in (None, "pause", 1):
        assert ann.ask("mod", op="record", value=value)["code"] == "bad_message"
    assert world.media.take() == []


@pytest.mark.parametrize("sfu", [None, {"records": False}])
def test_a_server_that_does_not_record_says_so(sfu: dict[str, Any] | None) -> None:
    world = World(grants={"host": HOST}, sfu=sfu)
    (ann,) = world.enter("ann", token="host", join=None if sfu is None else AUTO)
    answer = ann.ask("mod", **START)
    assert (answer["code"], "media.recordings" in answer["msg"]) == ("forbidden", True)


def test_a_program_that_knows_only_meshes_cannot_be_recorded() -> None:
    _, ann, _ = call("old", join={})
    assert ann.ask("mod", **START)["code"] == "forbidden"


def test_a_recording_that_cannot_begin_or_go_on_is_told_with_the_cause() -> None:
    world, ann, (bob,) = call("bob")
    ann.ask("mod", **START)
    bob.drain()
    world.reports(SfuUnrecorded("blue", "recording needs PyAV"))
    assert recorded(bob) == [(False, "recording needs PyAV")]
    ann.ask("mod", **START)
    world.reports(SfuRecorded("blue"))
    world.reports(SfuUnrecorded("blue", "the disk is almost full"))
    assert recorded(bob) == [(True, None), (False, "the disk is almost full")]
    world.reports(SfuUnrecorded("blue", "late"))
    world.reports(SfuRecorded("blue"))
    assert recorded(bob) == []
    assert ann.ask("mod", **STOP)["t"] == "ok"


def test_an_engine_that_is_back_records_again() -> None:
    world, ann, (bob,) = call("bob", mode="sfu")
    ann.ask("mod", **START)
    world.reports(SfuRecorded("blue"))
    world.media.take()
    bob.drain()
    world.reports(SfuGone("blue", 1, "killed"))
    assert world.media.take()[-1] == ("record", "blue", True)
    assert not any(told for told, _ in recorded(bob))
    world.reports(SfuRecorded("blue"))
    assert recorded(bob) == [(True, None)]
    assert changes(world) == [(True, ann.id, ""), (False, "", "killed"), (True, ann.id, "")]


def test_a_call_is_worth_more_than_its_recording() -> None:
    """Those who are few enough have a mesh at once when the engine is lost."""
    world, ann, (bob,) = call("bob")
    ann.ask("mod", **START)
    world.reports(SfuRecorded("blue"))
    bob.drain()
    world.reports(SfuGone("blue", 1, "killed"))
    assert recorded(bob) == [(False, "killed")], "one sentence for both"
    assert world.hub._state.rooms["blue"].routing.mode == "mesh"
    assert changes(world) == [(True, ann.id, ""), (False, "", "killed")]


def test_a_recording_that_was_asked_for_only_ends_with_the_engine() -> None:
    world, ann, (bob,) = call("bob")
    ann.ask("mod", **START)
    bob.drain()
    world.reports(SfuGone("blue", 1, "killed"))
    assert recorded(bob) == [(False, "killed")]
    assert changes(world) == [(False, "", "killed")], "as when the engine says that it cannot"


def test_a_recording_ends_with_the_room() -> None:
    world, ann, (bob,) = call("bob")
    ann.ask("mod", **START)
    world.reports(SfuRecorded("blue"))
    for client in (ann, bob):
        client.say("bye")
    assert world.hub.rooms() == []
    assert changes(world) == [(True, ann.id, ""), (False, "", "")]


def test_the_operator_may_too() -> None:
    world, _, (bob,) = call("bob")
    assert world.hub.record("green", True, world.now) is False
    for _ in range(2):
        world.operate("record", room="blue", on=True)
    world.reports(SfuRecorded("blue"))
    (since,) = [frame["recording"] for frame in bob.drain() if "recording" in frame]
    assert "by" not in since
    world.operate("record", room="blue", on=False)
    assert recorded(bob) == [(False, None)]
    none = World(sfu={})
    none.enter("ann", join=AUTO)
    none.media.take()
    with pytest.raises(Denial, match="does not record"):
        none.hub.record("blue", True, none.now)


def test_a_stop_before_the_start_is_through() -> None:
    world, ann, (bob,) = call("bob")
    ann.ask("mod", **START)
    ann.ask("mod", **STOP)
    assert world.media.take()[-2:] == [("record", "blue", True), ("record", "blue", False)]
    bob.drain()
    world.reports(SfuRecorded("blue"))
    world.reports(SfuUnrecorded("blue", ""))
    assert recorded(bob) == []
