"""Moderation by hosts and administrators: kick, ban, mute, lock, cap, admit."""

import json
from typing import Any

import pytest

from tests.support.signal_hub import WALL, World
from turnserver.signaling.rooms.facts import InvitationMade, Kicked
from turnserver.signaling.rooms.settings import Grant

__all__: list[str] = []

GRANTS: dict[str, dict[str, Any]] = {
    "host": {"role": "host", "subject": "ann"},
    "bob": {"subject": "bob", "expires": WALL + 3600},
    "bob2": {"subject": "bob", "token_id": "another", "expires": WALL + 3600},
    "jti": {"token_id": "j1", "expires": WALL + 3600},
    "link": {"token_id": "l1", "shared": True, "room": "blue", "expires": WALL + 86_400},
    "green": {"role": "host", "subject": "gil", "room": "green"},
    **{f"t{number}": {"token_id": f"t{number}", "expires": WALL + 3600} for number in range(100)},
}


def call(*others: str, **settings: Any) -> tuple[World, Any, list[Any]]:
    """A host, and others; all have read everything."""
    world = World(grants=GRANTS, **settings)
    ann = world.enter("ann", token="host")[0]
    rest = [world.enter(name, **({"token": name} if name in GRANTS else {}))[0] for name in others]
    for client in (ann, *rest):
        client.drain()
    return world, ann, rest


@pytest.mark.parametrize(
    "op", ["kick", "ban", "mute", "lock", "unlock", "cap", "admit", "host", "member", "close", "spotlight"]
)
def test_that_is_for_hosts(op: str) -> None:
    _, ann, (bob, cem) = call("bob", "cem")
    assert bob.ask("mod", op=op, to=cem.id, value=2 if op == "cap" else None)["code"] == "forbidden"
    assert (ann.drain(), cem.drain()) == ([], [])


def test_a_kick_ends_the_session_and_the_relays_at_once() -> None:
    world, ann, (cem, bob) = call("cem", "bob")
    assert ann.ask("mod", op="kick", to=cem.id, reason="noise")["t"] == "ok"
    assert cem.closed_with == 4410
    goodbye = cem.drain()[-1]
    assert (goodbye["code"], goodbye["msg"], goodbye["reconnect"]) == ("kicked", "noise", "never")
    assert [(frame["t"], frame["reason"]) for frame in bob.drain()] == [("peer_leave", "kicked")]
    assert [user.rpartition(".")[2] for user in world.revoked()] == [cem.id]
    assert world.relays.forgotten == world.revoked()
    kicked = [fact for fact in world.facts if isinstance(fact, Kicked)]
    assert kicked == [Kicked("blue", cem.id, ann.id, "noise", banned=False)]


def test_who_was_kicked_may_come_as_somebody_new() -> None:
    _, ann, (cem,) = call("cem")
    ann.ask("mod", op="kick", to=cem.id)
    cem.open()
    cem.hello()
    assert cem.join()["t"] == "joined"


def test_who_was_kicked_while_away_hears_of_it_on_coming_back() -> None:
    """`session_gone` would have it begin afresh, as if nothing had been."""
    world, ann, (cem,) = call("cem")
    cem.cut()
    ann.ask("mod", op="kick", to=cem.id)
    cem.open()
    assert cem.resume()["code"] == "kicked"
    assert (cem.closed_with, cem.drain()[-1]["reconnect"]) == (4410, "never")
    assert len(world.hub._state.sessions) == 2
    world.pass_time(60.0)
    assert len(world.hub._state.sessions) == 1, "and then it is forgotten"


def test_a_goodbye_that_is_lost_is_said_again() -> None:
    _, ann, (cem,) = call("cem")
    ann.ask("mod", op="kick", to=cem.id)
    cem.open()
    assert cem.resume()["code"] == "kicked"


@pytest.mark.parametrize(("token", "other"), [("bob", "bob2"), ("jti", "jti")])
def test_a_ban_goes_by_the_token(token: str, other: str) -> None:
    """By its subject, or by its id: until it expires, in that room, from any address."""
    world, ann, (bob,) = call(token)
    ann.ask("mod", op="ban", to=bob.id)
    assert bob.closed_with == 4403
    again = world.client("again", address="198.51.100.7")
    again.open()
    again.hello(token=other)
    assert again.join()["code"] == "banned"
    assert (again.closed_with, again.drain()[-1]["reconnect"]) == (4403, "never")
    again.open()
    again.hello(token=other)
    assert again.join("green")["t"] == "joined"
    friend = world.client("friend")
    friend.open()
    friend.hello()
    assert friend.join()["t"] == "joined", "the address is not banned"


def test_a_ban_without_a_token_goes_by_the_address_for_a_while() -> None:
    world, ann, (cem,) = call("cem")
    ann.ask("mod", op="ban", to=cem.id)
    again = world.client("again")
    again.open()
    again.hello()
    assert again.join()["code"] == "banned"
    world.pass_time(600.0)
    again.open()
    again.hello()
    assert again.join()["t"] == "joined"


def test_a_ban_of_somebody_with_a_shared_link_is_not_one_of_all_who_have_the_link() -> None:
    """Kind: a decision about one person that hits others. `meshturn up` prints one link for everybody."""
    world, ann, (mallory,) = call("link")
    bob = world.client("bob", address="198.51.100.7")
    bob.open()
    bob.hello(token="link")
    assert bob.join()["t"] == "joined"
    ann.ask("mod", op="ban", to=mallory.id)
    assert mallory.closed_with == 4403
    mallory.open()
    mallory.hello(token="link")
    assert mallory.join()["code"] == "banned"
    bob.ask("leave")
    assert bob.join()["t"] == "joined", "bob has done nothing"
    cem = world.client("cem", address="198.51.100.8")
    cem.open()
    cem.hello(token="link")
    assert cem.join()["t"] == "joined", "nor has who comes later"
    banned = [world.hub.is_banned(Grant(**GRANTS["link"]), who.address, world.now) for who in (mallory, bob, cem)]
    assert banned == [True, False, False]


def test_a_host_with_thousands_of_bans_does_not_end_those_of_other_rooms(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kind: what one can fill pushes out what others have decided. Here the table has 20 places, and 100 bans come."""
    monkeypatch.setattr("turnserver.signaling.rooms.state._MAX_BANS", 20)
    world, ann, (bob,) = call("bob")
    ann.ask("mod", op="ban", to=bob.id)
    gil = world.enter("gil", token="green", room="green")[0]
    for number in range(100):
        (guest,) = world.enter(f"guest{number}", token=f"t{number}", room="green")
        world.pass_time(1.0)
        assert gil.ask("mod", op="ban", to=guest.id)["t"] == "ok"
    assert len(world.hub._state.bans) == 20
    bob.open()
    bob.hello(token="bob")
    assert bob.join()["code"] == "banned"
    last = world.client("last")
    last.open()
    last.hello(token="t99")
    assert last.join("green")["code"] == "banned", "its own oldest bans have made room"


def test_a_ban_survives_the_room() -> None:
    world, ann, (bob,) = call("bob")
    ann.ask("mod", op="ban", to=bob.id)
    ann.say("bye")
    assert world.hub.room_count == 0
    bob.open()
    bob.hello(token="bob")
    assert bob.join()["code"] == "banned"


def test_mute_is_a_request() -> None:
    _, ann, (bob, cem) = call("bob", "cem")
    for value, what in [(None, "audio"), ("audio", "audio"), ("video", "video")]:
        assert ann.ask("mod", op="mute", to=bob.id, **({"value": value} if value else {}))["t"] == "ok"
        frame = bob.drain()[-1]
        assert (frame["t"], frame["from"], frame["what"]) == ("mute", ann.id, what)
    assert ann.ask("mod", op="mute", to=bob.id, value="smell")["d"]["path"] == "value"
    assert ann.ask("mod", op="mute", to=ann.id)["code"] == "no_such_peer"
    assert cem.drain() == []
    assert ann.ask("mod", op="mute")["t"] == "ok"
    assert [each.drain()[-1]["t"] for each in (bob, cem)] == ["mute", "mute"], "without a name it is for all others"
    assert ann.drain() == []


def test_lock_and_cap_are_told_to_all() -> None:
    _, ann, (bob,) = call("bob")
    ann.ask("mod", op="lock")
    ann.ask("mod", op="cap", value=2)
    frames = bob.drain()
    assert [(frame["t"], frame["locked"], frame["max"]) for frame in frames] == [
        ("room_update", True, 4),
        ("room_update", True, 2),
    ]
    assert ann.ask("mod", op="lock", value="bolt")["d"]["path"] == "value"
    for value in (1, 5, "3", None):
        assert ann.ask("mod", op="cap", **({"value": value} if value else {}))["d"]["path"] == "value"


def test_a_smaller_cap_sends_nobody_out() -> None:
    world, ann, (_bob, _cem) = call("bob", "cem")
    assert ann.ask("mod", op="cap", value=2)["t"] == "ok"
    room = world.hub.room("blue")
    assert room is not None
    assert (len(room.peers), room.max) == (3, 2)


def test_nobody_kicks_themselves_or_strangers() -> None:
    world, ann, _ = call("bob")
    eve = world.enter("eve", room="green")[0]
    for to in (ann.id, eve.id, "nobody"):
        assert ann.ask("mod", op="kick", to=to)["code"] == "no_such_peer"
    assert eve.cid


def test_whoever_waits_at_the_door_can_be_kicked() -> None:
    world, ann, _ = call("bob")
    ann.ask("mod", op="lock", value="knock")
    eve = world.client("eve")
    eve.open()
    eve.hello()
    eve.join()
    assert ann.ask("mod", op="kick", to=eve.id)["t"] == "ok"
    assert eve.closed_with == 4410


def test_an_administrator_kicks() -> None:
    world, ann, (bob,) = call("bob")
    assert not world.hub.kick("blue", "nobody", "x", world.now)
    assert not world.hub.kick("green", bob.id, "x", world.now)
    world.operate("kick", room="blue", peer=bob.id, reason="y" * 1000)
    assert bob.closed_with == 4410
    assert [frame["t"] for frame in ann.drain()] == ["peer_leave"]


def test_an_administrator_closes_a_room() -> None:
    world, ann, (bob, cem) = call("bob", "cem")
    ann.ask("mod", op="lock", value="knock")
    eve = world.client("eve")
    eve.open()
    eve.hello()
    eve.join()
    eve.drain()
    cem.cut()
    assert not world.hub.close_room("green", world.now)
    world.operate("close_room", room="blue")
    assert [client.closed_with for client in (ann, bob)] == [4410, 4410]
    assert ann.drain()[-1]["code"] == "room_closed"
    assert [frame["code"] for frame in eve.drain()] == ["room_closed"]
    assert world.hub.room_count == 0
    assert len(world.revoked()) == 3
    cem.open()
    assert cem.resume()["code"] == "room_closed"


# Hosts


def test_a_host_appoints_another_and_steps_down() -> None:
    """Everybody hears of it; who waits at the door is told to the new host; the role goes with the seat."""
    world, ann, (bob, cem) = call("bob", "cem")
    ann.ask("mod", op="lock", value="knock")
    dan = world.client("dan")
    dan.open()
    dan.hello()
    dan.say("join", id="j", room="blue", name="dan")
    for client in (ann, bob, cem):
        client.drain()
    assert ann.ask("mod", op="member")["code"] == "bad_message", "a room needs a host"
    assert ann.ask("mod", op="host", to=bob.id)["t"] == "ok"
    assert [(frame["t"], frame.get("role")) for frame in bob.drain()] == [("role", "host"), ("knock", None)]
    (news,) = cem.drain()
    assert (news["t"], news["id"], news["role"]) == ("peer_update", bob.id, "host")
    assert ann.ask("mod", op="host", to=bob.id)["t"] == "ok", "and nothing more happens"
    assert ann.ask("mod", op="member")["t"] == "ok"
    assert [frame["role"] for frame in ann.drain() if frame["t"] == "role"] == ["member"]
    assert ann.ask("mod", op="kick", to=cem.id)["code"] == "forbidden"
    assert bob.ask("mod", op="admit", to=dan.id)["t"] == "ok"
    bob.cut()
    bob.open()
    assert bob.resume()["you"]["role"] == "host"
    bob.ask("leave")
    bob.drain()
    bob.ask("join", room="green", name="bob")
    assert bob.ask("mod", op="lock")["code"] == "forbidden", "elsewhere it is what its token says"


def test_a_host_ends_the_call_for_all() -> None:
    world, ann, (bob, cem) = call("bob", "cem")
    ann.say("mod", op="close")
    assert world.hub.room_count == 0
    for client in (ann, bob, cem):
        assert (client.closed_with, client.drain()[-1]["code"]) == (4410, "room_closed")


# The spotlight


def test_a_host_puts_somebody_in_the_spotlight_and_everybody_knows_who_did_it() -> None:
    world, ann, (bob, cem) = call("bob", "cem")
    assert ann.ask("mod", op="spotlight", to=bob.id)["t"] == "ok"
    light = {"id": bob.id, "what": "camera", "by": ann.id}
    for client in (ann, bob, cem):
        assert [(frame["t"], frame["spotlight"]) for frame in client.drain() if frame["t"] != "ok"] == [
            ("room_update", light)
        ]
    assert ann.ask("mod", op="spotlight", to=bob.id, value="camera")["t"] == "ok"
    assert bob.drain() == [], "nothing has changed"
    late = world.client("late")
    late.open()
    late.hello()
    assert late.join()["room"]["spotlight"] == light, "who comes later is told, too"
    bob.drain()
    assert ann.ask("mod", op="spotlight", to=ann.id)["t"] == "ok"
    assert bob.drain()[-1]["spotlight"] == {"id": ann.id, "what": "camera", "by": ann.id}
    assert ann.ask("mod", op="spotlight")["t"] == "ok"
    assert "spotlight" not in bob.drain()[-1]


def test_a_screen_is_in_the_spotlight_only_while_it_is_shared() -> None:
    _, ann, (bob, cem) = call("bob", "cem")
    assert ann.ask("mod", op="spotlight", to=bob.id, value="screen")["d"]["path"] == "to"
    bob.say("update", media={"a": 1, "v": 1, "s": 1})
    assert ann.ask("mod", op="spotlight", to=bob.id, value="screen")["t"] == "ok"
    assert cem.drain()[-1]["spotlight"]["what"] == "screen"
    bob.say("update", media={"a": 0, "v": 1, "s": 1})
    assert [frame["t"] for frame in cem.drain()] == ["peer_update"]
    bob.say("update", media={"a": 0, "v": 1, "s": 0})
    frames = cem.drain()
    assert [frame["t"] for frame in frames] == ["peer_update", "room_update"]
    assert "spotlight" not in frames[-1]


def test_the_spotlight_ends_with_whoever_is_in_it() -> None:
    _, ann, (bob, cem) = call("bob", "cem")
    ann.ask("mod", op="spotlight", to=bob.id)
    cem.drain()
    bob.ask("leave")
    frames = cem.drain()
    assert [frame["t"] for frame in frames] == ["peer_leave", "room_update"]
    assert "spotlight" not in frames[-1]
    assert "spotlight" not in bob.ask("join", room="blue", name="bob")["room"]


@pytest.mark.parametrize(
    ("fields", "code"),
    [({"to": "nobody"}, "no_such_peer"), ({"value": "smell"}, "bad_message"), ({"value": 1}, "bad_message")],
    ids=str,
)
def test_what_cannot_be_in_the_spotlight(fields: dict[str, Any], code: str) -> None:
    _, ann, (bob,) = call("bob")
    assert ann.ask("mod", **{"op": "spotlight", "to": bob.id} | fields)["code"] == code
    assert bob.drain() == []


# Invitations


def test_a_host_invites() -> None:
    """For the room, with what was asked for; who is no host may not, nor may anybody where nothing can be signed."""
    world, ann, (bob,) = call("bob")
    answer = ann.ask("invite", ttl=600, uses=3)
    assert (answer["t"], answer["token"], answer["exp"], answer["uses"]) == (
        "invitation",
        "blue-ann-3",
        int(WALL) + 600,
        3,
    )
    assert [fact for fact in world.facts if isinstance(fact, InvitationMade)] == [
        InvitationMade("blue", ann.id, int(WALL) + 600, 3)
    ]
    usual = ann.ask("invite")
    assert (usual["exp"], usual["uses"]) == (int(WALL) + 86_400, 20)
    assert bob.ask("invite")["code"] == "forbidden"
    world.hub._state.invite = None
    assert ann.ask("invite")["code"] == "forbidden"


@pytest.mark.parametrize("fields", [{"ttl": 59}, {"ttl": 604_801}, {"uses": 0}, {"uses": 101}])
def test_invitations_have_bounds(fields: dict[str, int]) -> None:
    _, ann, _ = call()
    ann.raw(json.dumps({"t": "invite", "id": "x", **fields}))
    (frame,) = ann.drain()
    assert (frame["code"], frame["d"]["path"]) == ("bad_message", next(iter(fields)))
