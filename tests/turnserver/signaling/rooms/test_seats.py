"""Seats that are kept for the lost, in a full room. Kind: places that the dead hold."""

from typing import Any

import pytest

from tests.support.signal_hub import Client, World
from turnserver.signaling.rooms.facts import PeerLeft

SHARED = {"token_id": "link"}


def newcomer(world: World, name: str = "new", *, address: str = "198.51.100.7", **hello: Any) -> Client:
    client = world.client(name, address=address)
    client.open()
    assert client.hello(**hello)["t"] == "hello_ok"
    return client


def couple(**grants: Any) -> tuple[World, Client, Client]:
    """A room for two with Ann and Bob, who have the tokens of these names, if there are any."""
    world = World(room_size=2, grants=grants)
    clients = []
    for name in ("ann", "bob"):
        (client,) = world.enter(name, **({"token": name} if grants else {}))
        clients.append(client)
    clients[0].drain()
    return world, clients[0], clients[1]


def left(world: World) -> list[tuple[str, str]]:
    return [(fact.peer, fact.reason) for fact in world.facts if isinstance(fact, PeerLeft)]


def test_a_newcomer_is_told_when_the_seat_is_free_and_gets_it_then() -> None:
    world, ann, bob = couple()
    bob.cut()
    world.pass_time(5.0)
    eve = newcomer(world)
    assert eve.ask("peek", room="blue")["retry"] == 10_001
    answer = eve.join()
    assert (answer["code"], answer["retry"], answer["d"]["max"]) == ("room_full", 10_001, 2)
    world.pass_time(answer["retry"] / 1000)
    assert eve.ask("peek", room="blue")["retry"] == 0
    assert [peer["name"] for peer in eve.join()["peers"]] == ["ann"]
    assert left(world) == [(bob.id, "timeout")]
    assert [(frame["t"], frame.get("reason")) for frame in ann.drain()] == [
        ("peer_gap", None),
        ("peer_leave", "timeout"),
        ("peer_join", None),
    ]


def test_who_comes_back_in_time_keeps_the_seat_and_later_comes_as_a_newcomer() -> None:
    """The session lives on, so a token that opens only one is enough."""
    world, ann, bob = couple()
    bob.cut()
    world.pass_time(14.0)
    bob.open()
    assert bob.resume()["room"] == "blue"
    eve = newcomer(world)
    answer = eve.join()
    assert (answer["code"], "retry" in answer) == ("room_full", False)
    bob.cut()
    world.pass_time(15.0)
    assert eve.join()["t"] == "joined"
    bob.open()
    back = bob.resume()
    assert (back["resumed"], "room" in back) == (True, False)
    assert bob.join()["code"] == "room_full"
    ann.ask("leave")
    assert [peer["name"] for peer in bob.join()["peers"]] == ["new"]


def test_nobody_loses_a_seat_that_nobody_needs() -> None:
    world = World(room_size=3, grants={"link": SHARED})
    (bob,) = world.enter("bob", token="link")
    bob.cut()
    world.pass_time(30.0)
    ann = newcomer(world, "ann", address="192.0.2.1", token="link")
    assert "retry" not in ann.ask("peek", room="blue")
    assert [peer["name"] for peer in ann.join()["peers"]] == ["bob"]
    bob.open()
    assert bob.resume()["room"] == "blue"


@pytest.mark.parametrize(
    ("grant", "again", "address", "code"),
    [
        (SHARED, SHARED, "192.0.2.1", "joined"),
        (SHARED, SHARED, "198.51.100.7", "room_full"),
        (SHARED | {"name": "Bob"}, SHARED | {"name": "Bob"}, "198.51.100.7", "joined"),
        (SHARED, {"token_id": "another link"}, "192.0.2.1", "room_full"),
        ({"token_id": "1", "subject": "bob"}, {"token_id": "2", "subject": "bob"}, "198.51.100.7", "joined"),
        ({"token_id": "1", "subject": "bob"}, {"token_id": "1", "subject": "eve"}, "192.0.2.1", "room_full"),
        ({"token_id": "1", "subject": "bob"}, {"token_id": "1"}, "192.0.2.1", "room_full"),
        ({}, {}, "192.0.2.1", "room_full"),
    ],
    ids=[
        "the same link, the same address",
        "the same link, somewhere else",
        "a token for one person, somewhere else",
        "another token, the same address",
        "another token of the same person",
        "a token of another person",
        "a token of nobody",
        "no token id",
    ],
)
def test_the_holder_of_the_same_token_does_not_wait(
    grant: dict[str, Any], again: dict[str, Any], address: str, code: str
) -> None:
    world, ann, bob = couple(ann={"subject": "ann"}, bob=grant, again=again)
    bob.cut()
    bob_again = newcomer(world, "bob", address=address, token="again")
    answer = bob_again.join()
    assert answer.get("code", answer["t"]) == code
    if code == "joined":
        assert left(world) == [(bob.id, "replaced")]
        assert [frame["t"] for frame in ann.drain()] == ["peer_gap", "peer_leave", "peer_join"]
        world.pass_time(3.0)
        assert len(world.revoked()) == 1, "the relays of the lost end with the seat"
    else:
        assert answer["retry"] == 15_001


def test_of_several_lost_the_own_seat_gives_way_first_and_then_the_longest_lost() -> None:
    grants = {"a": {"subject": "a"}, "b": {"subject": "b"}, "c": {"subject": "c"}}
    world = World(room_size=2, grants=grants)
    (ann,), (bob,) = world.enter("ann", token="a"), world.enter("bob", token="b")
    ann.cut()
    world.pass_time(16.0)
    bob.cut()
    again = newcomer(world, "bob", token="b")
    assert [peer["name"] for peer in again.join()["peers"]] == ["ann"]
    again.cut()
    world.pass_time(16.0)
    cem = newcomer(world, "cem", token="c")
    assert [peer["name"] for peer in cem.join()["peers"]] == ["bob"]
    assert left(world) == [(bob.id, "replaced"), (ann.id, "timeout")]


def test_in_a_room_that_was_made_smaller_one_seat_is_not_enough() -> None:
    world = World(room_size=4, grants={"host": {"role": "host"}})
    (host,) = world.enter("host", token="host")
    _, cem, dan = world.enter("bob", "cem", "dan")
    assert host.ask("mod", op="cap", value=3)["t"] == "ok"
    cem.cut()
    world.pass_time(20.0)
    eve = newcomer(world)
    answer = eve.join()
    assert (answer["code"], "retry" in answer) == ("room_full", False)
    dan.cut()
    assert eve.join()["retry"] == 15_001
    world.pass_time(15.0)
    assert len(eve.join()["peers"]) == 2
    assert [peer for peer, _ in left(world)] == [cem.id, dan.id]


@pytest.mark.parametrize("op", ["admit", "unlock"])
def test_a_host_lets_somebody_in_to_a_seat_of_the_lost(op: str) -> None:
    world = World(room_size=2, grants={"host": {"role": "host"}})
    (host,) = world.enter("host", token="host")
    (bob,) = world.enter("bob")
    host.ask("mod", op="lock", value="knock")
    eve = newcomer(world)
    assert eve.join()["code"] == "waiting"
    bob.cut()
    if op == "admit":
        answer = host.ask("mod", op="admit", to=eve.id)
        assert (answer["code"], answer["retry"]) == ("room_full", 15_001)
    world.pass_time(15.0)
    assert host.ask("mod", op=op, **({"to": eve.id} if op == "admit" else {}))["t"] == "ok"
    assert eve.types()[-1] == "joined"
    assert left(world) == [(bob.id, "timeout")]


def test_a_short_resume_makes_the_wait_short() -> None:
    world = World(room_size=2, resume=5)
    _, bob = world.enter("ann", "bob")
    bob.cut()
    assert newcomer(world).join()["retry"] == 5_001
