"""From one client to another: as it was said, by whom it was said, within the room."""

from typing import Any

import pytest

from stun.address import Address
from tests.support.signal_hub import World
from turnserver.signaling.rooms.facts import CandidatesSeen

__all__: list[str] = []

OFFER = {"type": "offer", "sdp": "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\n"}
RELAY = "candidate:1 1 udp 33562623 203.0.113.9 50000 typ relay raddr 192.0.2.7 rport 4000"


def said(frames: list[dict[str, Any]], *types: str) -> list[dict[str, Any]]:
    return [{key: value for key, value in frame.items() if key != "seq"} for frame in frames if frame["t"] in types]


def test_a_description_goes_through_unchanged() -> None:
    world = World()
    ann, bob = world.enter("ann", "bob")
    desc = {"type": "offer", "sdp": "v=0\r\n\u2028ü\r\n" + "x" * 50_000}
    ann.say("desc", to=bob.id, pc="p1", rpc="q1", desc=desc, restart=True)
    wanted = {"t": "desc", "from": ann.id, "pc": "p1", "rpc": "q1", "desc": desc, "restart": True}
    assert said(bob.drain(), "desc") == [wanted]


def test_from_is_the_servers_word() -> None:
    world = World()
    ann, bob, cem = world.enter("ann", "bob", "cem")
    ann.say("desc", to=bob.id, pc="p1", desc=OFFER, **{"from": cem.id})
    assert bob.drain()[-1]["from"] == ann.id


@pytest.mark.parametrize("t", ["desc", "cand", "reset", "restart", "msg"])
def test_nothing_leaves_the_room(t: str) -> None:
    """A peer id that exists elsewhere is nobody here, and nothing tells it from one that exists nowhere."""
    world = World()
    ann = world.enter("ann")[0]
    eve = world.enter("eve", room="green")[0]
    fields: dict[str, Any] = {
        "desc": {"pc": "p", "desc": OFFER},
        "cand": {"pc": "p", "list": [None]},
        "reset": {"pc": "p"},
        "restart": {},
        "msg": {"data": 1},
    }[t]
    answers = [ann.ask(t, to=to, **fields) for to in (eve.id, "aaaaaaaaaa", ann.id)]
    assert [answer["code"] for answer in answers] == ["no_such_peer"] * 3
    assert len({answer["msg"] for answer in answers}) == 1
    assert eve.drain() == []
    assert world.hub.room("blue") is not None
    ann.ask("leave")
    assert ann.ask(t, to=eve.id, **fields)["code"] == "not_joined"


def test_candidates_are_noted_for_the_relays() -> None:
    world = World()
    ann, bob = world.enter("ann", "bob")
    ann.say("cand", to=bob.id, pc="p", list=[{"candidate": RELAY}, {"candidate": "nonsense"}, None])
    ann.say("desc", to=bob.id, pc="p", desc={"type": "offer", "sdp": f"v=0\r\na={RELAY}\r\n"})
    facts = [fact for fact in world.facts if isinstance(fact, CandidatesSeen)]
    room = world.hub.room("blue")
    assert room is not None
    users = {peer.id: peer.user_id for peer in room.peers}
    wanted = CandidatesSeen("blue", users[ann.id], users[bob.id], (Address.parse("203.0.113.9", 50000),))
    assert facts == [wanted, wanted]


def test_no_token_no_media() -> None:
    world = World(grants={"t": {"caps": frozenset({"message"})}})
    ann = world.enter("ann")[0]
    bob = world.enter("bob", token="t")[0]
    assert bob.ask("desc", to=ann.id, pc="p", desc=OFFER)["code"] == "forbidden"
    listening = {"type": "offer", "sdp": "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=recvonly\r\n"}
    assert bob.ask("desc", to=ann.id, pc="p", desc=listening)["t"] == "ok"
    assert said(ann.drain(), "desc")[0]["desc"] == listening


def test_messages_to_one_and_to_all() -> None:
    world = World()
    ann, bob, cem = world.enter("ann", "bob", "cem")
    for client in (ann, bob, cem):
        client.drain()
    assert ann.ask("msg", data="all")["t"] == "ok"
    assert ann.ask("msg", to=bob.id, data="one")["t"] == "ok"
    assert said(bob.drain(), "msg") == [
        {"t": "msg", "from": ann.id, "data": "all"},
        {"t": "msg", "from": ann.id, "to": bob.id, "data": "one"},
    ]
    assert said(cem.drain(), "msg") == [{"t": "msg", "from": ann.id, "data": "all"}]
    assert ann.drain() == []


def test_what_is_repeated_is_ignored_and_what_is_missing_is_said() -> None:
    """`n`: at most once, in order."""
    world = World()
    ann, bob = world.enter("ann", "bob")
    bob.drain()
    for n, data in [(1, "a"), (1, "a"), (2, "b"), (1, "a"), (2, "b")]:
        ann.say("msg", n=n, data=data)
    assert [frame["data"] for frame in bob.drain()] == ["a", "b"]
    ann.drain()
    ann.say("msg", n=4, data="d")
    answer = ann.drain()[-1]
    assert (answer["code"], answer["d"]["path"]) == ("bad_message", "n")
    ann.say("msg", n=3, data="c")
    assert [frame["data"] for frame in bob.drain()] == ["c"]


def test_a_broken_message_that_is_next_is_done_with() -> None:
    """It will not get better by repeating, and what comes after it must not be a gap."""
    world = World()
    ann, bob = world.enter("ann", "bob")
    bob.drain()
    ann.raw('{"t":"msg","n":1,"data":"' + "x" * 5000 + '"}')
    answer = ann.drain()[-1]
    assert (answer["code"], answer["d"]) == ("bad_message", {"path": "data", "n": 1})
    ann.say("msg", n=2, data="b")
    assert [frame["data"] for frame in bob.drain()] == ["b"]


class TestConnections:
    """`pc` and `rpc`: a frame for a connection that its receiver has replaced goes nowhere."""

    def test_a_frame_for_the_present_connection_passes(self) -> None:
        world = World()
        ann, bob = world.enter("ann", "bob")
        ann.say("desc", to=bob.id, pc="a1", desc=OFFER)
        bob.say("desc", to=ann.id, pc="b1", rpc="a1", desc={"type": "answer", "sdp": "v=0"})
        ann.say("cand", to=bob.id, pc="a1", rpc="b1", list=[None])
        assert [frame["t"] for frame in bob.drain()] == ["desc", "cand"]

    def test_one_that_crosses_the_news_is_dropped_in_silence(self) -> None:
        """The sender is about to hear of the new connection: a reset on top would make it begin twice."""
        world = World()
        ann, bob = world.enter("ann", "bob")
        ann.say("desc", to=bob.id, pc="a1", desc=OFFER)
        bob.say("reset", to=ann.id, pc="b2", why="failed")
        bob.drain()
        ann.drain()
        ann.say("cand", to=bob.id, pc="a1", rpc="b1", list=[None])
        assert bob.drain() == []
        assert ann.drain() == []

    def test_one_that_ignores_the_news_gets_one_reset(self) -> None:
        world = World()
        ann, bob = world.enter("ann", "bob")
        bob.say("desc", to=ann.id, pc="b2", desc=OFFER)
        ann.say("ping", ack=ann.seq)
        bob.drain()
        ann.drain()
        for _ in range(5):
            ann.say("cand", to=bob.id, pc="a1", rpc="b1", list=[None])
        ann.say("desc", to=bob.id, pc="a1", rpc="b1", desc=OFFER)
        assert said(ann.drain(), "reset") == [{"t": "reset", "from": bob.id, "pc": "b2", "why": "stale"}]
        assert bob.drain() == []
        bob.say("reset", to=ann.id, pc="b3", why="again")
        ann.say("ping", ack=ann.seq)
        ann.drain()
        ann.say("cand", to=bob.id, pc="a1", rpc="b2", list=[None])
        assert [frame["pc"] for frame in said(ann.drain(), "reset")] == ["b3"], "one for each connection"

    def test_there_is_no_reset_for_a_reset(self) -> None:
        world = World()
        ann, bob = world.enter("ann", "bob")
        bob.say("reset", to=ann.id, pc="b2", why="x")
        ann.say("ping", ack=ann.seq)
        ann.drain()
        ann.say("reset", to=bob.id, pc="a2", why="y")
        assert said(bob.drain(), "reset") == [{"t": "reset", "from": ann.id, "pc": "a2", "why": "y"}]
        assert ann.drain() == []

    def test_glare_goes_through_both_ways(self) -> None:
        """Offers that cross are the clients' affair; each arrives."""
        world = World()
        ann, bob = world.enter("ann", "bob")
        ann.say("desc", to=bob.id, pc="a1", desc=OFFER)
        bob.say("desc", to=ann.id, pc="b1", desc=OFFER)
        assert [frame["pc"] for frame in said(ann.drain(), "desc")] == ["b1"]
        assert [frame["pc"] for frame in said(bob.drain(), "desc")] == ["a1"]

    def test_who_comes_back_into_the_room_begins_afresh(self) -> None:
        world = World()
        ann, bob = world.enter("ann", "bob")
        bob.say("desc", to=ann.id, pc="b1", desc=OFFER)
        bob.ask("leave")
        bob.join()
        bob.drain()
        ann.say("desc", to=bob.id, pc="a1", rpc="b0", desc=OFFER)
        assert [frame["t"] for frame in bob.drain()] == ["desc"]


class TestRestart:
    """Coordinated ICE restart: fresh ICE to both ends, before the other end hears of it."""

    def test_ice_comes_before_restart_at_both_ends(self) -> None:
        world = World()
        ann, bob, cem = world.enter("ann", "bob", "cem")
        world.pass_time(100.0)
        for client in (ann, bob, cem):
            client.drain()
        answer = ann.ask("restart", to=bob.id, why="online")
        assert (answer["t"], answer["why"], answer["ice"]["exp"]) == ("ice", "restart", 1_700_000_700)
        heard = bob.drain()
        assert [(frame["t"], frame["why"]) for frame in heard] == [("ice", "restart"), ("restart", "online")]
        assert heard[0]["ice"]["exp"] == 1_700_000_700
        assert heard[0]["ice"] != answer["ice"]
        assert heard[1]["from"] == ann.id
        assert cem.drain() == []

    def test_a_restart_without_an_id_brings_ice_too(self) -> None:
        world = World()
        ann, bob = world.enter("ann", "bob")
        ann.drain()
        ann.say("restart", to=bob.id)
        assert ann.types() == ["ice"]

    def test_both_at_once(self) -> None:
        world = World()
        ann, bob = world.enter("ann", "bob")
        ann.say("restart", to=bob.id, why="online")
        bob.say("restart", to=ann.id, why="online")
        assert [t for t in ann.types() if t != "peer_join"] == ["ice", "ice", "restart"]
        assert bob.types() == ["ice", "restart", "ice"]
