"""The change between mesh and SFU, with an engine that says what the test lets it say, and a clock turned by hand."""

from typing import Any

import pytest

from tests.support.signal_hub import Client, World
from turnserver.signaling.rooms.facts import MediaLost, ModeChanged
from turnserver.signaling.rooms.media_port import MediaSide, SfuConnected, SfuGone
from turnserver.signaling.rooms.switching import CALM, PATIENCE, RETRIES

NAMES = ("ann", "bob", "cat", "dan", "eve")
AUTO = {"mode": "auto"}
SIDES: tuple[MediaSide, ...] = ("publish", "subscribe")


def crowd(count: int, **sfu: Any) -> tuple[World, list[Client]]:
    """That many clients in a room of a server whose meshes are for four."""
    world = World(sfu=sfu)
    clients = world.enter(*NAMES[:count], join=AUTO)
    return world, clients


def routed(world: World) -> tuple[str, int, bool]:
    routing = world.hub._state.rooms["blue"].routing
    return routing.mode, routing.epoch, routing.changing


def news(client: Client) -> list[tuple[Any, ...]]:
    """What a client was told of the mode: mode, epoch, whether it changes, and why."""
    return [
        (frame["mode"], frame["epoch"], frame.get("changing", False), frame.get("why"))
        for frame in client.drain()
        if frame["t"] == "room_update"
    ]


def settle(world: World, clients: list[Client], epoch: int) -> None:
    """All of their connections with the SFU stand, if they are to, and they say that they are ready."""
    if routed(world)[0] == "sfu":
        connect(world, clients)
    for client in clients:
        client.say("mode_ready", epoch=epoch)


def connect(world: World, clients: list[Client]) -> None:
    for client in clients:
        for side in SIDES:
            world.reports(SfuConnected("blue", client.id, side))


def through_sfu(count: int = 5) -> tuple[World, list[Client]]:
    """A room that goes through the SFU."""
    world, clients = crowd(max(count, 5))
    settle(world, clients, 2)
    for client in clients[count:]:
        client.say("bye")
    for client in clients:
        client.drain()
    world.media.take()
    return world, clients[:count]


def test_without_an_engine_the_fifth_is_refused() -> None:
    world = World()
    world.enter(*NAMES[:4])
    eve = world.client("eve")
    eve.open()
    eve.hello()
    assert "sfu" not in eve.drain()[0]["feat"]
    assert eve.join()["code"] == "room_full"
    assert eve.join(mode="auto")["d"]["modes"] == ["mesh"]
    assert world.media.asked == []


def test_four_are_a_mesh_and_the_engine_hears_nothing() -> None:
    world, _ = crowd(4)
    assert routed(world) == ("mesh", 1, False)
    assert world.media.asked == []
    assert world.hub.room("blue").mode == "mesh"  # type: ignore[union-attr]


def test_the_fifth_brings_the_sfu_and_all_are_told_before_anything_ends() -> None:
    world, clients = crowd(4)
    eve = world.client("eve")
    eve.open()
    eve.hello()
    joined = eve.join(**AUTO)
    assert (joined["room"]["mode"], joined["room"]["epoch"], joined["room"]["changing"]) == ("sfu", 2, True)
    everybody = [*clients, eve]
    assert world.media.take() == [("open", "blue", 1), *(("join", "blue", each.id, each.name) for each in everybody)]
    for client in clients:
        assert [frame["t"] for frame in client.heard] == ["room_update", "peer_join"]
        assert news(client) == [("sfu", 2, True, None)]
    settle(world, everybody[:-1], 2)
    assert routed(world) == ("sfu", 2, True)
    settle(world, [eve], 2)
    assert routed(world) == ("sfu", 2, False)
    assert [news(client) for client in everybody] == [[("sfu", 2, False, None)]] * 5
    assert world.hub.room("blue").mode == "sfu"  # type: ignore[union-attr]
    changes = [fact for fact in world.facts if isinstance(fact, ModeChanged)]
    assert [(fact.mode, fact.changing) for fact in changes] == [("sfu", True), ("sfu", False)]


def test_after_ten_seconds_the_mesh_ends_for_all_and_those_who_are_late_are_named() -> None:
    world, clients = crowd(5)
    settle(world, clients[:3], 2)
    world.pass_time(PATIENCE - 0.1)
    assert routed(world) == ("sfu", 2, True)
    world.pass_time(0.2)
    assert routed(world) == ("sfu", 2, False)
    last = clients[0].drain()[-1]
    assert last["unready"] == sorted(each.id for each in clients[3:])
    settle(world, [clients[3]], 2)
    assert clients[0].drain()[-1]["unready"] == [clients[4].id]
    clients[4].say("bye")
    world.pass_time(1.0)
    clients[0].drain()
    assert "unready" not in clients[0].join(**AUTO)["room"]


def test_an_earlier_epoch_is_not_this_one() -> None:
    world, clients = crowd(5)
    settle(world, clients, 1)
    assert routed(world) == ("sfu", 2, True)


def test_connections_that_stand_are_as_good_as_being_ready_when_the_time_is_over() -> None:
    """A client that receives nothing because nobody sends never says that it decodes anything."""
    world, clients = crowd(5)
    for side in ("publish", "subscribe"):
        world.reports(SfuConnected("blue", clients[0].id, side))
    world.reports(SfuConnected("blue", clients[1].id, "publish"))
    world.pass_time(PATIENCE)
    assert routed(world) == ("sfu", 2, False)
    assert clients[0].id not in clients[2].drain()[-1]["unready"]
    assert clients[1].id in clients[3].drain()[-1]["unready"]


def test_who_says_that_it_is_ready_is_believed_when_its_connections_stand() -> None:
    world, clients = crowd(5)
    connect(world, clients[1:])
    for client in clients:
        client.say("mode_ready", epoch=2)
    assert routed(world) == ("sfu", 2, True)
    world.reports(SfuConnected("blue", clients[0].id, "publish"))
    assert routed(world) == ("sfu", 2, True), "others send, and it cannot receive"
    world.reports(SfuConnected("blue", clients[0].id, "subscribe"))
    assert routed(world) == ("sfu", 2, False)
    assert "unready" not in clients[1].drain()[-1]


def test_who_sends_to_listeners_needs_no_connection_to_receive() -> None:
    """And they need none to send; whoever is in doubt when the time is over is named."""
    world, clients = crowd(5)
    ann, *listeners = clients
    for client in listeners:
        client.say("update", media={"a": 0, "v": 0, "s": 0})
    world.reports(SfuConnected("blue", ann.id, "publish"))
    ann.say("mode_ready", epoch=2)
    for client in listeners[:-1]:
        world.reports(SfuConnected("blue", client.id, "subscribe"))
    assert routed(world) == ("sfu", 2, True)
    world.pass_time(PATIENCE)
    assert routed(world) == ("sfu", 2, False)
    assert ann.drain()[-1]["unready"] == [listeners[-1].id]


def test_while_nobody_gets_to_the_sfu_the_mesh_is_kept() -> None:
    world, clients = crowd(5)
    clients[0].drain()
    world.pass_time(3.5 * PATIENCE)
    assert news(clients[0]) == [("sfu", 2, True, "sfu_unreachable")]
    settle(world, clients, 2)
    assert news(clients[0]) == [("sfu", 2, False, None)]


def test_the_fifth_leaves_during_the_change_and_the_mesh_is_there_still() -> None:
    world, clients = crowd(5)
    world.media.take()
    clients[4].say("bye")
    assert routed(world) == ("mesh", 3, False)
    assert news(clients[0])[-1] == ("mesh", 3, False, None)
    assert [name for name, *_ in world.media.take()] == ["leave", "close"]


def test_one_of_the_four_leaves_during_the_change_which_goes_on() -> None:
    """The fifth is in no mesh: going back would cost it, and all, as much as going on."""
    world, clients = crowd(5)
    clients[0].say("bye")
    assert routed(world) == ("sfu", 2, True)
    settle(world, clients[1:4], 2)
    clients[4].say("bye")
    assert routed(world)[0] == "mesh"


def test_the_last_one_not_ready_leaves_and_the_change_is_complete() -> None:
    world, clients = crowd(5)
    settle(world, clients[1:], 2)
    clients[0].say("bye")
    assert routed(world) == ("sfu", 2, False)


def test_a_small_room_is_a_mesh_again_after_a_while() -> None:
    world, clients = through_sfu(4)
    world.pass_time(2 * CALM)
    assert routed(world) == ("sfu", 2, False), "four stay: one more and it would be the SFU again"
    clients[3].say("bye")
    world.pass_time(CALM - 0.1)
    assert routed(world) == ("sfu", 2, False)
    world.pass_time(0.2)
    assert routed(world) == ("mesh", 3, True)
    assert [name for name, *_ in world.media.take()] == ["leave"]
    settle(world, clients[:3], 3)
    assert routed(world) == ("mesh", 3, False)
    assert world.media.take() == [("close", "blue")]


def test_who_comes_back_in_time_keeps_the_sfu() -> None:
    world, clients = through_sfu(4)
    clients[3].say("bye")
    world.pass_time(CALM / 2)
    world.enter("dan", join=AUTO)
    world.pass_time(2 * CALM)
    assert routed(world) == ("sfu", 2, False)


def test_a_mesh_that_does_not_come_about_leaves_the_room_with_the_sfu() -> None:
    world, clients = through_sfu(3)
    world.pass_time(CALM)
    assert routed(world) == ("mesh", 3, True)
    settle(world, clients[:2], 3)
    world.pass_time(PATIENCE)
    assert routed(world) == ("sfu", 4, False)
    assert news(clients[0])[-1] == ("sfu", 4, False, "no_mesh")
    assert world.media.take() == []
    world.pass_time(10 * CALM)
    assert routed(world) == ("sfu", 4, False), "it is not tried again and again"
    clients[2].say("bye")
    world.pass_time(CALM)
    assert routed(world) == ("mesh", 5, True)


def test_somebody_comes_during_the_way_back() -> None:
    world, clients = through_sfu(3)
    world.pass_time(CALM)
    newcomers = world.enter("dan", "eve", join=AUTO)
    assert routed(world) == ("sfu", 4, True)
    assert [name for name, *_ in world.media.take()] == ["join", "join"], "the engine has the room still"
    settle(world, [*clients, *newcomers], 4)
    assert routed(world) == ("sfu", 4, False)


def test_an_engine_that_is_lost_during_the_change_is_asked_again_and_the_mesh_is_kept() -> None:
    world, clients = crowd(5)
    world.media.take()
    clients[0].drain()
    world.reports(SfuGone("blue", 1, "killed"))
    assert world.media.take()[0] == ("open", "blue", 2)
    frames = clients[0].drain()
    assert [(frame["t"], frame.get("from")) for frame in frames] == [("reset", "sfu"), ("room_update", None)]
    assert (frames[1]["epoch"], frames[1]["changing"], frames[1]["why"]) == (3, True, "sfu_gone")
    clients[4].say("bye")
    assert routed(world) == ("mesh", 4, False), "the mesh of the four stands"
    assert [fact.why for fact in world.facts if isinstance(fact, MediaLost)] == ["killed"]


def test_a_room_that_fits_falls_back_to_a_mesh_when_the_engine_is_lost() -> None:
    world, clients = through_sfu(4)
    world.reports(SfuGone("blue", 1, "killed"))
    assert routed(world) == ("mesh", 3, False)
    assert news(clients[0]) == [("mesh", 3, False, "sfu_gone")]
    assert world.media.take() == []


def test_an_engine_that_cannot_start_is_asked_at_longer_and_longer_intervals() -> None:
    world, clients = through_sfu(5)
    asked = []
    for opening in range(1, 9):
        world.reports(SfuGone("blue", opening, "no"))
        before = world.time
        while not (opened := world.media.take()):
            world.pass_time(0.5)
        assert opened[0] == ("open", "blue", opening + 1)
        asked.append(world.time - before)
    assert asked == pytest.approx([*RETRIES, RETRIES[-1], RETRIES[-1]], abs=0.5)
    settle(world, clients, world.hub._state.rooms["blue"].routing.epoch)
    world.reports(SfuGone("blue", 9, "killed"))
    assert world.media.take()[0] == ("open", "blue", 10), "it has carried the room since, so at once"


def test_those_who_are_few_enough_do_not_wait_for_an_engine_that_is_gone() -> None:
    world, clients = through_sfu(5)
    world.reports(SfuGone("blue", 1, "no"))
    world.reports(SfuGone("blue", 2, "no"))
    assert world.media.take()[-1][0] == "join", "the room was opened the second time, and not the third"
    assert clients[0].drain()[-1]["why"] == "sfu_gone"
    clients[4].say("bye")
    mode, _, changing = routed(world)
    assert (mode, changing) == ("mesh", False)
    assert world.media.take() == []


def test_a_late_report_of_an_earlier_opening_is_ignored() -> None:
    world, _ = through_sfu(5)
    world.reports(SfuGone("blue", 1, "killed"))
    world.media.take()
    world.reports(SfuGone("blue", 1, "killed"))
    world.reports(SfuGone("green", 1, "killed"))
    assert world.media.take() == []


def test_an_engine_that_is_lost_on_the_way_back_changes_nothing() -> None:
    world, clients = through_sfu(3)
    world.pass_time(CALM)
    world.reports(SfuGone("blue", 1, "killed"))
    assert routed(world) == ("mesh", 3, True)
    settle(world, clients[:1], 3)
    world.pass_time(PATIENCE)
    assert routed(world) == ("mesh", 3, False), "there is nothing to go back to"
    assert "close" not in [name for name, *_ in world.media.take()]


def test_the_last_one_takes_the_room_from_the_engine() -> None:
    world, clients = through_sfu(5)
    for client in clients:
        client.say("bye")
    assert world.media.take()[-1] == ("close", "blue")
    world.pass_time(60.0)
    assert world.media.take() == []


def test_in_the_mode_sfu_every_room_goes_through_it_and_stays() -> None:
    world = World(sfu={"mode": "sfu", "room_size": 3})
    ann, bob = world.enter("ann", "bob", join=AUTO)
    assert routed(world) == ("sfu", 1, False)
    asked = [("open", "blue", 1), ("join", "blue", ann.id, "ann"), ("join", "blue", bob.id, "bob")]
    assert world.media.take() == asked
    bob.say("bye")
    world.pass_time(10 * CALM)
    assert routed(world) == ("sfu", 1, False)
    world.enter("cat", "dan", join=AUTO)
    eve = world.client("eve")
    eve.open()
    eve.hello()
    assert eve.join(**AUTO)["d"]["max"] == 3


def test_old_clients_are_told_why_they_cannot_come() -> None:
    world, _ = through_sfu(5)
    old = world.client("old")
    old.open()
    old.hello()
    answer = old.join()
    assert (answer["code"], answer["d"]["max"]) == ("room_full", 4)
    assert "through the server" in answer["msg"]
    always = World(sfu={"mode": "sfu"})
    first = always.client("old")
    first.open()
    first.hello()
    assert first.join()["code"] == "room_full"
    assert always.hub.room_count == 0, "the room was not opened for nobody"


def test_a_room_with_an_old_client_does_not_grow_past_a_mesh() -> None:
    world = World(sfu={})
    old, *_ = world.enter("old")
    world.enter(*NAMES[:3], join=AUTO)
    eve = world.client("eve")
    eve.open()
    eve.hello()
    answer = eve.join(**AUTO)
    assert (answer["code"], answer["d"]["max"]) == ("room_full", 4)
    assert "somebody here" in answer["msg"]
    old.say("bye")
    assert eve.join(**AUTO)["t"] == "joined"
    assert routed(world) == ("mesh", 1, False)


def test_a_full_mesh_keeps_the_seat_of_an_old_client_for_a_while() -> None:
    world = World(sfu={})
    world.enter(*NAMES[:3], join=AUTO)
    (old,) = world.enter("old")
    old.cut()
    eve = world.client("eve", address="198.51.100.7")
    eve.open()
    eve.hello()
    assert eve.join(**AUTO)["retry"] == 15_001
    world.pass_time(15.1)
    assert eve.join(**AUTO)["t"] == "joined"


def test_who_resumes_finds_the_mode_in_the_snapshot() -> None:
    world = World(sfu={}, replay_messages=2)
    clients = world.enter(*NAMES[:4], join=AUTO)
    clients[0].cut()
    world.enter("eve", join=AUTO)
    for name in ("Bob", "Rob", "Bert"):
        clients[1].say("msg", data=name)
    clients[0].open()
    clients[0].resume()
    sync = next(frame for frame in clients[0].drain() if frame["t"] == "sync")
    assert (sync["room"]["mode"], sync["room"]["epoch"], sync["room"]["changing"]) == ("sfu", 2, True)


def test_paths_between_participants_are_not_told_when_there_are_none() -> None:
    world, clients = crowd(5)
    world.hub.report_paths(world.now)
    world.work()
    assert [len(frame["list"]) for frame in clients[0].drain() if frame["t"] == "paths"] == [4]
    settle(world, clients, 2)
    world.hub.report_paths(world.now)
    world.work()
    assert [frame["list"] for frame in clients[0].drain() if frame["t"] == "paths"] == [[]]
