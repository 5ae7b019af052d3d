"""Rooms: coming, going, doors, how one looks."""

from typing import Any

import pytest

from tests.support.signal_hub import WALL, World
from turnserver.signaling.rooms.facts import PeerJoined, PeerLeft, RoomClosed, RoomOpened
from turnserver.signaling.rooms.room import MAX_WAITING, room_hash

__all__: list[str] = []

HOST = {"host": {"role": "host", "subject": "ann"}}


def newcomer(world: World, name: str = "new", **hello: Any) -> Any:
    client = world.client(name)
    client.open()
    client.hello(**hello)
    return client


def test_a_join_is_answered_with_everything_there_is_to_know() -> None:
    world = World()
    ann = newcomer(world, "ann")
    answer = ann.join(name="Ann", meta={"x": 1}, media={"a": 1, "v": 0, "s": 0})
    assert answer["room"] == {"id": "blue", "max": 4, "mode": "mesh", "epoch": 1, "locked": False, "knock": False}
    assert answer["you"]["name"] == "Ann"
    assert answer["ice"]["servers"][0]["username"] == f"1700000600:{room_hash('blue')}.{ann.id}"
    assert answer["ice"]["servers"][0]["urls"] == ["turn:meet.example:3478?transport=udp"]
    bob = newcomer(world, "bob")
    world.pass_time(5.0)
    peer = bob.join(name="Bob")["peers"][0]
    assert (peer["id"], peer["name"], peer["meta"], peer["media"]) == (
        ann.id,
        "Ann",
        {"x": 1},
        {"a": 1, "v": 0, "s": 0},
    )
    assert peer["since"] == 1_700_000_000_000
    heard = ann.drain()[-1]
    assert (heard["t"], heard["peer"]["name"], heard["peer"]["since"]) == ("peer_join", "Bob", 1_700_000_005_000)


def test_the_server_gives_each_pair_its_roles() -> None:
    """`polite` is the one with the higher id, `start` the one who joined later: always exactly one of the two."""
    world = World()
    names = ["ann", "bob", "cem", "dan"]
    clients = [newcomer(world, name) for name in names]
    seen: dict[tuple[str, str], dict[str, Any]] = {}
    for client in (clients[2], clients[0], clients[3], clients[1]):
        for peer in client.join()["peers"]:
            seen[client.id, peer["id"]] = peer
    for client in clients:
        for frame in client.drain():
            if frame["t"] == "peer_join":
                seen[client.id, frame["peer"]["id"]] = frame["peer"]
    assert len(seen) == 12
    joined = [clients[2].id, clients[0].id, clients[3].id, clients[1].id]
    for (one, two), peer in seen.items():
        assert peer["polite"] is (one > two)
        assert peer["start"] is (joined.index(one) > joined.index(two))


def test_the_fifth_is_refused() -> None:
    """The cap is the server's."""
    world = World()
    world.enter("ann", "bob", "cem", "dan")
    eve = newcomer(world, "eve")
    assert eve.ask("peek", room="blue")["count"] == 4
    answer = eve.join()
    assert (answer["code"], answer["d"]["max"]) == ("room_full", 4)
    assert eve.cid
    assert eve.join("green")["t"] == "joined"


def test_somebody_in_a_gap_keeps_the_place() -> None:
    world = World(room_size=2)
    _, bob = world.enter("ann", "bob")
    bob.cut()
    eve = newcomer(world, "eve")
    answer = eve.join()
    assert (answer["code"], answer["retry"]) == ("room_full", 15_001)


def test_a_join_again_is_a_fresh_snapshot() -> None:
    world = World()
    ann, bob = world.enter("ann", "bob")
    ann.say("ping", ack=ann.seq)
    bob.say("update", name="Robert")
    again = ann.join()
    assert again["t"] == "joined"
    assert [peer["name"] for peer in again["peers"]] == ["Robert"]
    assert ann.join("green")["code"] == "already_joined"
    assert bob.types()[-1:] != ["peer_join"]


def test_a_join_whose_answer_is_on_its_way_again_gets_no_second_one() -> None:
    """After a resume the client repeats its join, and the server what it had sent: one answer is enough."""
    world = World()
    ann = newcomer(world, "ann")
    ann.stall()
    ann.say("join", id="j", room="blue")
    ann.cut()
    ann.stalled = False
    ann.open()
    ann.resume()
    ann.say("join", id="j", room="blue")
    assert [frame["t"] for frame in ann.drain() if frame.get("re") == "j"] == ["joined"]


def test_a_room_is_there_while_somebody_is_in_it() -> None:
    world = World()
    ann, bob = world.enter("ann", "bob")
    ann.ask("leave")
    assert world.hub.room_count == 1
    bob.cut()
    world.pass_time(60.0)
    assert (world.hub.room_count, world.hub.rooms()) == (0, [])
    kinds = [type(fact) for fact in world.facts]
    assert (kinds.count(RoomOpened), kinds.count(RoomClosed)) == (1, 1)
    assert (kinds.count(PeerJoined), kinds.count(PeerLeft)) == (2, 2)


def test_leaving_twice_is_leaving() -> None:
    """The answer to the first may have been lost."""
    world = World()
    ann, bob = world.enter("ann", "bob")
    ann.drain()
    assert bob.ask("leave")["t"] == "ok"
    assert bob.ask("leave")["t"] == "ok"
    assert [frame["reason"] for frame in ann.drain()] == ["left"]


def test_updates_are_coalesced_and_the_last_one_wins() -> None:
    world = World()
    ann, bob = world.enter("ann", "bob")
    ann.drain()
    ann.stall()
    for number in range(50):
        bob.say("update", name=f"Bob {number}")
    bob.say("update", media={"a": 0, "v": 1, "s": 0})
    bob.say("update", meta={"hand": True})
    ann.stalled = False
    ann.read()
    frames = ann.drain()
    assert len(frames) == 1
    assert {key: frames[0][key] for key in ("name", "meta", "media")} == {
        "name": "Bob 49",
        "meta": {"hand": True},
        "media": {"a": 0, "v": 1, "s": 0},
    }


def test_a_gap_and_a_return_coalesce_too() -> None:
    world = World()
    ann, bob = world.enter("ann", "bob")
    ann.drain()
    ann.stall()
    for _ in range(5):
        bob.cut()
        bob.open()
        bob.resume()
    ann.stalled = False
    ann.read()
    assert ann.types() == ["peer_back"]


def test_a_token_is_for_its_room() -> None:
    world = World(grants={"t": {"room": "blue"}})
    ann = newcomer(world, "ann", token="t")
    assert ann.join("green")["code"] == "forbidden"
    assert ann.ask("peek", room="green")["code"] == "forbidden"
    assert ann.join("blue")["t"] == "joined"


def test_a_token_says_name_size_and_role() -> None:
    world = World(grants={"t": {"name": "Dr Ann", "max": 2, "role": "host"}})
    ann = newcomer(world, "ann", token="t")
    answer = ann.join(name="Queen")
    assert (answer["you"]["name"], answer["you"]["role"], answer["room"]["max"]) == ("Dr Ann", "host", 2)
    ann.ask("update", name="Queen")
    room = world.hub.room("blue")
    assert room is not None
    assert [peer.name for peer in room.peers] == ["Dr Ann"]


@pytest.mark.parametrize(("asked", "given"), [(1, 2), (3, 3), (8, 4), (None, 4)])
def test_a_token_makes_no_room_larger_than_the_server_has(asked: int | None, given: int) -> None:
    world = World(grants={"t": {"max": asked}})
    ann = newcomer(world, "ann", token="t")
    assert ann.ask("peek", room="blue")["max"] == given
    assert ann.join()["room"]["max"] == given


def test_a_token_may_expire_before_the_join_but_not_in_the_call() -> None:
    world = World(grants={"t": {"expires": WALL + 60}})
    ann = newcomer(world, "ann", token="t")
    ann.join()
    bob = newcomer(world, "bob", token="t")
    world.pass_time(60.0)
    assert ann.join()["t"] == "joined", "a snapshot is no new join"
    assert bob.join()["code"] == "token_expired"
    assert bob.closed_with == 4401
    ann.ask("leave")
    assert ann.join()["code"] == "token_expired"


def test_what_a_token_does_not_allow() -> None:
    world = World(grants={"t": {"caps": frozenset({"publish"})}})
    ann = newcomer(world, "ann", token="t")
    assert ann.session["you"]["caps"] == ["publish"]
    assert ann.join(media={"a": 1, "v": 1, "s": 1})["you"]["media"] == {"a": 1, "v": 1, "s": 0}
    assert ann.ask("update", media={"a": 1, "v": 1, "s": 1})["code"] == "forbidden"
    assert ann.ask("msg", data=1)["code"] == "forbidden"
    assert ann.cid, "that is no reason to part"


def test_only_so_many_rooms() -> None:
    world = World(rooms=1)
    world.enter("ann")
    bob = newcomer(world, "bob")
    assert bob.join("green")["code"] == "server_full"
    assert bob.join("blue")["t"] == "joined"


def test_only_so_many_joins_a_minute() -> None:
    world = World()
    ann = newcomer(world, "ann")
    for number in range(10):
        assert ann.join(f"room{number}")["t"] == "joined"
        ann.ask("leave")
    answer = ann.join("green")
    assert (answer["code"], answer["retry"] > 0) == ("rate_limited", True)
    world.pass_time(6.1)
    assert ann.join("green")["t"] == "joined"


def test_a_mode_that_we_do_not_know() -> None:
    world = World()
    ann = newcomer(world, "ann")
    answer = ann.join(mode="sfu")
    assert (answer["code"], answer["d"]["modes"]) == ("unsupported_mode", ["mesh"])
    assert ann.ask("mode_ready", epoch=2)["code"] == "unsupported_mode"


def test_a_locked_room_lets_hosts_in() -> None:
    world = World(grants=HOST)
    ann = world.enter("ann", token="host")[0]
    ann.ask("mod", op="lock")
    assert newcomer(world, "bob").join()["code"] == "room_locked"
    assert newcomer(world, "cem", token="host").join()["t"] == "joined"


def test_knocking() -> None:
    """Who waits is told so, hosts are told who; the one let in gets the answer to its join."""
    world = World(grants=HOST)
    ann, bob = world.enter("ann", "bob", token="host")
    ann.ask("mod", op="lock", value="knock")
    eve = newcomer(world, "eve")
    eve.heard.clear()
    eve.say("join", id="j", room="blue", name="Eve")
    assert [frame["code"] for frame in eve.drain()] == ["waiting"]
    knock = {"t": "knock", "id": eve.id, "name": "Eve"}
    for host in (ann, bob):
        assert [{**frame, "seq": 0} for frame in host.drain() if frame["t"] == "knock"] == [{**knock, "seq": 0}]
    eve.say("join", id="j", room="blue", name="Eve")
    assert [frame["code"] for frame in eve.drain()] == ["waiting"], "a repetition"
    assert ann.drain() == [], "nobody knocks twice"
    assert ann.ask("mod", op="admit", to="nobody")["code"] == "no_such_peer"
    assert ann.ask("mod", op="admit", to=eve.id)["t"] == "ok"
    joined = eve.drain()
    assert [(frame["t"], frame["re"]) for frame in joined] == [("joined", "j")]
    assert [(frame["t"], frame.get("gone")) for frame in bob.drain()] == [("knock", True), ("peer_join", None)]


def test_a_host_that_comes_later_is_told_who_waits() -> None:
    world = World(grants=HOST)
    ann = world.enter("ann", token="host")[0]
    ann.ask("mod", op="lock", value="knock")
    eve = newcomer(world, "eve")
    eve.join()
    cem = newcomer(world, "cem", token="host")
    cem.join()
    assert [frame["id"] for frame in cem.drain() if frame["t"] == "knock"] == [eve.id]
    eve.say("bye")
    assert [frame.get("gone") for frame in cem.drain()] == [True]


def test_an_open_door_lets_in_as_many_as_there_is_room_for() -> None:
    world = World(grants=HOST, room_size=2)
    ann = world.enter("ann", token="host")[0]
    ann.ask("mod", op="lock", value="knock")
    bob, cem = newcomer(world, "bob"), newcomer(world, "cem")
    for each in (bob, cem):
        each.join()
        each.heard.clear()
    ann.ask("mod", op="unlock")
    assert [frame.get("code", frame["t"]) for frame in bob.drain()] == ["joined"]
    assert [frame.get("code", frame["t"]) for frame in cem.drain()] == ["room_full"]


def test_a_full_room_admits_nobody() -> None:
    world = World(grants=HOST, room_size=2)
    ann = world.enter("ann", token="host")[0]
    bob = newcomer(world, "bob")
    bob.join()
    ann.ask("mod", op="lock", value="knock")
    eve = newcomer(world, "eve")
    eve.join()
    assert ann.ask("mod", op="admit", to=eve.id)["code"] == "room_full"
    bob.ask("leave")
    assert ann.ask("mod", op="admit", to=eve.id)["t"] == "ok"


def test_whoever_waits_for_a_room_that_goes_is_told() -> None:
    world = World(grants=HOST)
    ann = world.enter("ann", token="host")[0]
    ann.ask("mod", op="lock", value="knock")
    eve = newcomer(world, "eve")
    eve.join()
    eve.heard.clear()
    ann.say("bye")
    assert [frame["code"] for frame in eve.drain()] == ["no_such_room"]
    assert eve.join()["t"] == "joined"


def test_a_door_that_is_shut_sends_those_away_who_wait() -> None:
    world = World(grants=HOST)
    ann = world.enter("ann", token="host")[0]
    ann.ask("mod", op="lock", value="knock")
    eve = newcomer(world, "eve")
    eve.join()
    eve.heard.clear()
    ann.ask("mod", op="lock")
    assert [frame["code"] for frame in eve.drain()] == ["room_locked"]
    assert ann.ask("mod", op="admit", to=eve.id)["code"] == "no_such_peer"


def test_only_so_many_wait_at_a_door() -> None:
    world = World(grants=HOST, sockets_per_address=99)
    ann = world.enter("ann", token="host")[0]
    ann.ask("mod", op="lock", value="knock")
    codes = [newcomer(world, str(number)).join()["code"] for number in range(MAX_WAITING + 1)]
    assert codes == ["waiting"] * MAX_WAITING + ["room_locked"]


def test_who_leaves_the_door_does_not_wait_any_more() -> None:
    world = World(grants=HOST)
    ann = world.enter("ann", token="host")[0]
    ann.ask("mod", op="lock", value="knock")
    eve = newcomer(world, "eve")
    eve.join()
    eve.ask("leave")
    assert ann.ask("mod", op="admit", to=eve.id)["code"] == "no_such_peer"
    eve.join()
    assert eve.join("green")["t"] == "joined", "another room is open"
    assert ann.ask("mod", op="admit", to=eve.id)["code"] == "no_such_peer"


def test_the_waiting_one_may_be_between_sockets() -> None:
    """Admitted while it has none: the answer to its join waits for it."""
    world = World(grants=HOST)
    ann = world.enter("ann", token="host")[0]
    ann.ask("mod", op="lock", value="knock")
    eve = newcomer(world, "eve")
    eve.say("join", id="j", room="blue")
    eve.cut()
    ann.ask("mod", op="admit", to=eve.id)
    eve.heard.clear()
    eve.open()
    assert eve.resume()["room"] == "blue"
    eve.say("join", id="j", room="blue")
    assert [frame["t"] for frame in eve.drain() if frame.get("re") == "j"] == ["joined"]
