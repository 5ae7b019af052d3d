"""The hub as a whole: limits, floods, slow clients, drain, and everything that a hostile client can think of."""

import json
from collections.abc import Callable
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.examples import scaled
from tests.support.room_options import hub_settings
from tests.support.signal_hub import World, entropy, kept
from turnserver.core.types import Now
from turnserver.signaling.rooms.facts import ClientRefused, Close, MessageRefused, PeerLeft, Revoke
from turnserver.signaling.rooms.hub import SLICE, Hub
from turnserver.signaling.truth.relays import NoRelays, PairPath

__all__: list[str] = []

OFFER = {"type": "offer", "sdp": "v=0"}


class TestSockets:
    def test_twenty_from_one_address(self) -> None:
        """200 sockets from one address: 20 are served, the others told why; the other addresses do not notice."""
        world = World(sockets_per_address=20)
        clients = [world.client(str(number)) for number in range(200)]
        for client in clients:
            client.open()
        assert [client.closed_with for client in clients] == [None] * 20 + [4429] * 180
        goodbye = clients[-1].drain()[-1]
        assert (goodbye["t"], goodbye["code"], goodbye["reconnect"]) == ("goodbye", "rate_limited", "fresh")
        other = world.client("other", address="198.51.100.1")
        other.open()
        assert other.closed_with is None
        clients[0].cut()
        clients[-1].open()
        assert clients[-1].closed_with is None

    def test_of_ipv6_a_site_is_one_address(self) -> None:
        world = World(sockets_per_address=2)
        addresses = ["2001:db8::1", "2001:db8::2", "2001:db8::3:0:0:1", "2001:db8:0:1::1", "::ffff:192.0.2.1"]
        clients = [world.client(address, address=address) for address in addresses]
        for client in clients:
            client.open()
        assert [client.closed_with for client in clients] == [None, None, 4429, None, None]

    def test_who_says_nothing_does_not_stay(self) -> None:
        world = World()
        ann = world.client("ann")
        ann.open()
        world.pass_time(9.0)
        ann.say("ping")
        world.pass_time(1.0)
        assert (ann.closed_with, ann.drain()[-1]["code"]) == (4408, "idle")

    def test_a_socket_that_is_not_known_is_ignored(self) -> None:
        world = World()
        world.hub.text(99, "{}", world.now)
        world.hub.binary(99, world.now)
        world.hub.closed(99, world.now)
        assert world.hub.take(99) is None

    def test_nothing_is_heard_after_a_goodbye(self) -> None:
        world = World(open=False)
        hub = world.hub
        hub.opened(1, "192.0.2.1", "h", world.now)
        hub.text(1, '{"t":"hello","v":1}', world.now)
        before = len(hub.commands())
        hub.text(1, '{"t":"ping","id":"x"}', world.now)
        hub.binary(1, world.now)
        assert (before, hub.commands()) == (2, [])
        frames = [json.loads(text)["t"] for text in iter(lambda: hub.take(1), None)]
        assert frames == ["welcome", "error", "goodbye"]
        hub.closed(1, world.now)
        assert hub.deadline() is None


class TestBrokenFrames:
    def test_five_and_out(self) -> None:
        world = World()
        ann, bob = world.enter("ann", "bob")
        bob.drain()
        for number in range(5):
            assert ann.cid, number
            ann.raw('{"t":"wave"}')
        assert ann.closed_with == 4400
        frames = ann.drain()
        assert [frame.get("code") for frame in frames if frame["t"] == "error"] == ["unknown_type"] * 5
        assert frames[-1]["reconnect"] == "fresh"
        assert bob.types() == ["peer_leave"]

    def test_one_now_and_then_is_survived(self) -> None:
        """A newer client may try a type that we do not know, every quarter of a minute, for ever."""
        world = World()
        ann = world.enter("ann")[0]
        for _ in range(100):
            ann.raw('{"t":"wave","id":"w"}')
            world.pass_time(15.0)
        assert ann.cid

    def test_binary_is_broken(self) -> None:
        world = World()
        ann = world.enter("ann")[0]
        world.hub.binary(ann.cid, world.now)
        world.work()
        assert ann.drain()[-1]["code"] == "bad_message"

    def test_too_large_is_said(self) -> None:
        world = World()
        ann = world.enter("ann")[0]
        world.hub.text(ann.cid, "x" * 65_537, world.now)
        world.work()
        error = ann.drain()[-1]
        assert (error["code"], error["d"]["max"]) == ("too_large", 65_536)

    def test_the_answer_names_the_request(self) -> None:
        world = World()
        ann = world.enter("ann")[0]
        ann.raw('{"t":"join","id":"j9","room":7}')
        error = ann.drain()[-1]
        assert (error["re"], error["d"]["path"]) == ("j9", "room")


class TestRate:
    def test_a_burst_and_then_thirty_a_second(self) -> None:
        world = World()
        ann = world.enter("ann")[0]
        world.pass_time(10.0)
        for number in range(130):
            ann.say("ping", id=f"p{number}")
        frames = ann.drain()
        assert [frame["t"] for frame in frames] == ["pong"] * 120 + ["error"] * 10
        assert 0 < frames[-1]["retry"] <= 35
        world.pass_time(1.0)
        for number in range(31):
            ann.say("ping", id=f"q{number}")
        assert ann.types() == ["pong"] * 30 + ["error"]

    def test_ten_seconds_of_it_and_out(self) -> None:
        world = World()
        ann, bob = world.enter("ann", "bob")
        while ann.cid and world.time < 60:
            for _ in range(50):
                if ann.cid:
                    ann.say("ping")
            world.pass_time(0.5)
        assert ann.closed_with == 4429
        assert 10.0 <= world.time <= 20.0
        assert ann.drain()[-1]["reconnect"] == "resume"
        assert bob.types()[-1] == "peer_gap"

    def test_descriptions_pass_while_others_do_not(self) -> None:
        """`desc` is never dropped by rate limiting; but it does not go on for ever."""
        world = World()
        ann, bob = world.enter("ann", "bob")
        world.pass_time(10.0)
        for _ in range(130):
            ann.say("cand", to=bob.id, pc="p", list=[None])
        bob.drain()
        refused = [frame["d"]["n"] for frame in ann.drain() if frame["t"] == "error"]
        assert refused == list(range(121, 131)), "a refused message is done with; the error says which it was"
        for _ in range(100):
            ann.say("desc", to=bob.id, pc="p", desc=OFFER)
        assert bob.types() == ["desc"] * 100
        for _ in range(100):
            if ann.cid:
                ann.say("desc", to=bob.id, pc="p", desc=OFFER)
        assert ann.closed_with == 4429

    def test_bytes_to_relay_are_limited(self) -> None:
        """Large messages fill the others' queues long before there are many of them."""
        world = World()
        ann, bob = world.enter("ann", "bob")
        many = [{"candidate": "c" * 1000}] * 60
        codes = [ann.ask("cand", to=bob.id, pc="p", list=many).get("code") for _ in range(30)]
        assert 0 < codes.count("rate_limited") < 30
        world.pass_time(1.0)
        for _ in range(60):
            if ann.cid:
                ann.say("desc", to=bob.id, pc="p", desc={"type": "offer", "sdp": "x" * 50_000})
        assert ann.closed_with == 4429
        assert bob.cid

    def test_before_hello_as_well(self) -> None:
        world = World()
        ann = world.client("ann")
        ann.open()
        for number in range(125):
            ann.say("ping", id=f"p{number}")
        assert ann.types().count("error") == 5


class TestSlowClients:
    def test_one_of_four_does_not_read(self) -> None:
        """It is parted with, resumably, and finds everything; the others wait for nothing."""
        world = World(burst=10_000, relay_burst=10**9)
        ann, bob, cem, dan = world.enter("ann", "bob", "cem", "dan")
        for client in (bob, cem, dan):
            client.drain()
        dan.stall()
        sent = 0
        while dan.cid:
            ann.say("msg", data="x" * 4000)
            sent += 1
            assert sent < 100
        assert dan.closed_with == 4413
        for client in (bob, cem):
            assert client.types() == ["msg"] * sent + ["peer_gap"]
        goodbye = dan.drain()[-1]
        assert (goodbye["code"], goodbye["reconnect"]) == ("slow_consumer", "resume")
        dan.open()
        assert dan.resume()["resumed"] is True
        assert dan.types() == ["welcome"] + ["msg"] * sent

    def test_a_bye_that_comes_after_we_began_to_close_ends_the_session(self) -> None:
        """It was sent before the client could know, and its seat must not stay for a minute."""
        world, ann, bob = self.parted()
        assert ann.types()[-1] == "peer_gap"
        world.hub.text(bob, '{"t":"bye"}', world.now)
        world.work()
        assert [(frame["t"], frame["reason"]) for frame in ann.drain()] == [("peer_leave", "left")]

    def test_a_late_bye_does_not_end_a_session_that_went_on_elsewhere(self) -> None:
        world, ann, old = self.parted()
        bob = world.client("bob")
        bob.session, bob.seq, bob.n = self.session, 1, 0
        bob.open()
        assert bob.resume()["resumed"] is True
        bob.cut()
        ann.drain()
        for frame in ('{"t":"bye"}', '{"t":"ping"}', "{"):
            world.hub.text(old, frame, world.now)
        world.work()
        assert ann.types() == []

    def parted(self) -> tuple[World, Any, int]:
        """Two in a room; the socket of the second, who reads nothing, is about to be closed."""
        world = World(burst=10_000, relay_burst=10**9)
        ann, bob = world.enter("ann", "bob")
        self.session = bob.session
        bob.stall()
        cid = bob.cid
        del world.clients[cid]  # the edge still has frames to send there
        ann.drain()
        while "peer_gap" not in [frame["t"] for frame in ann.heard]:
            ann.say("msg", data="x" * 4000)
        return world, ann, cid

    def test_who_asks_and_does_not_read_the_answers(self) -> None:
        world = World(burst=100_000)
        ann = world.enter("ann")[0]
        ann.stall()
        for number in range(10_000):
            if ann.cid:
                ann.say("peek", id=f"p{number}", room="blue")
        assert ann.closed_with == 4413
        assert kept(world.hub._state.sessions[ann.session["sid"]].outbox)[0] < 10

    def test_what_waits_is_bounded_however_long_it_goes_on(self) -> None:
        world = World(burst=10**6, relay_burst=10**9)
        ann, bob = world.enter("ann", "bob")
        bob.cut()
        for number in range(3_000):
            ann.say("msg", data="x" * 1000)
            ann.heard.clear()
            if number % 100 == 0:
                for session in world.hub._state.sessions.values():
                    assert kept(session.outbox)[0] <= 257
                    assert kept(session.outbox)[1] <= 2 * 262_144


class TestDrain:
    def test_everybody_is_told_when_to_come_back(self) -> None:
        world = World()
        clients = world.enter("ann", "bob", "cem")
        world.operate("drain", after=2.0)
        assert [client.closed_with for client in clients] == [4503] * 3
        goodbyes = [client.drain()[-1] for client in clients]
        assert {(frame["code"], frame["reconnect"]) for frame in goodbyes} == {("draining", "resume")}
        assert all(0 <= frame["after"] < 2000 for frame in goodbyes)
        late = world.client("late")
        late.open()
        assert late.closed_with == 4503
        assert late.drain()[-1]["reconnect"] == "fresh"


class TestOutputs:
    def test_commands_and_facts_are_given_once(self) -> None:
        world = World()
        world.hub.opened(1, "192.0.2.1", "h", world.now)
        assert len(world.hub.commands()) == 1
        assert world.hub.commands() == []
        assert world.hub.events() == []

    def test_a_refusal_is_a_fact_without_the_token(self) -> None:
        world = World(open=False)
        ann = world.client("ann")
        ann.open()
        ann.hello(token="hunter2")
        facts = [fact for fact in world.facts if isinstance(fact, ClientRefused)]
        assert [(fact.address, fact.code) for fact in facts] == [("192.0.2.1", "bad_token")]
        assert "hunter2" not in repr(world.facts) + repr(world.commands)

    def test_a_refused_join_is_a_fact_though_the_connection_goes_on(self) -> None:
        """The kind: a refusal that only the client sees."""
        world = World(open=True, room_size=2)
        for name in ("ann", "bob", "carol"):
            client = world.client(name)
            client.open()
            client.hello()
            client.join("demo")
        facts = [fact for fact in world.facts if isinstance(fact, MessageRefused)]
        assert [(fact.code, fact.room) for fact in facts] == [("room_full", "demo")]

    def test_a_hub_without_a_minter_gives_no_servers(self) -> None:
        options, _ = hub_settings(open=True, credential_lifetime=60)
        hub = Hub(options, entropy(), None, None, NoRelays())
        now = Now(0.0, 1000.0)
        hub.opened(1, "192.0.2.1", "h", now)
        hub.text(1, '{"t":"hello","v":1}', now)
        hub.text(1, '{"t":"join","room":"blue"}', now)
        frames = [json.loads(text) for text in iter(lambda: hub.take(1), None)]
        assert frames[-1]["ice"] == {"servers": [], "exp": 1060, "policy": "all"}
        assert hub.peer_count == hub.room_count == 1

    def test_views_are_of_one_moment(self) -> None:
        world = World()
        ann, _ = world.enter("ann", "bob")
        before = world.hub.room("blue")
        ann.say("bye")
        assert before is not None
        assert [peer.connected for peer in before.peers] == [True, True]
        assert world.hub.room("green") is None

    def test_the_host_by_which_a_client_came_is_the_minters(self) -> None:
        world = World()
        ann = world.client("ann", host="calls.example")
        ann.open()
        ann.hello()
        assert ann.join()["ice"]["servers"][0]["urls"] == ["turn:calls.example:3478?transport=udp"]
        ann.cut()
        ann.host = "2001:db8::1"
        ann.open()
        ann.resume()
        assert "2001:db8::1" in ann.ask("ice_get")["ice"]["servers"][0]["urls"][0]


class TestMemory:
    """Whatever comes, tables have an end."""

    def test_sessions_that_come_and_go(self) -> None:
        world = World(sessions=50, sockets_per_address=10**6)
        for number in range(500):
            client = world.client(str(number))
            client.open()
            if client.hello()["t"] == "hello_ok":
                client.join(f"room{number}")
            client.cut()
        state = world.hub._state
        assert len(state.sessions) <= 50
        assert state.connections == {}
        assert state.sockets == {}
        world.pass_time(100.0)
        assert (state.sessions, state.peers, state.rooms, state.leaving, len(state.deadlines)) == ({}, {}, {}, {}, 0)

    def test_bad_tokens_from_everywhere(self) -> None:
        world = World(open=False)
        for number in range(9_000):
            world.hub.opened(1, f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", "h", world.now)
            world.hub.text(1, '{"t":"hello","v":1,"token":"x"}', world.now)
            world.hub.closed(1, world.now)
        assert len(world.hub._state.failures) <= 8192

    def test_bans_and_tokens(self) -> None:
        state = World().hub._state
        for number in range(20_000):
            state.bans.add(("blue", "address", str(number)), "blue", 0.0, 600.0)
        assert len(state.bans) <= 8192


CROWD = 400


def crowd() -> World:
    """A hub with `CROWD` participants in rooms of four, who have read everything."""
    world = World(room_size=4)
    for number in range(CROWD):
        cid = world.next_cid()
        world.hub.opened(cid, f"10.0.{number >> 8}.{number & 255}", "h", world.now)
        world.hub.text(cid, '{"t":"hello","v":1,"id":"h"}', world.now)
        world.hub.text(cid, f'{{"t":"join","id":"j","room":"r{number // 4}","name":"A"}}', world.now)
    relay_all(world)
    work_of(world)
    return world


def relay_all(world: World) -> None:
    """Every pair is relayed."""
    users = [[peer.user_id for peer in room.peers] for room in world.hub.rooms()]
    world.relays.paths = {pair: PairPath("relay", "udp", "a") for room in users for pair in permutations(room, 2)}


def work_of(world: World) -> int:
    """What an input has led to: frames that the clients read now, sockets that are closed, participants who end."""
    read = sum(1 for cid in list(world.hub._state.connections) for _ in iter(lambda cid=cid: world.hub.take(cid), None))
    done = [*world.hub.commands(), *world.hub.events()]
    return read + sum(isinstance(each, Close | Revoke | PeerLeft) for each in done)


def lose_all(world: World) -> None:
    for cid in list(world.hub._state.connections):
        world.hub.closed(cid, world.now)
    work_of(world)
    world.time += 61.0
    world.hub.expire(world.now)


def end_all_graces(world: World) -> None:
    for cid in list(world.hub._state.connections):
        world.hub.text(cid, '{"t":"bye"}', world.now)
    work_of(world)
    world.time += 4.0
    world.hub.expire(world.now)


TOGETHER: dict[str, tuple[Callable[[World], None], int]] = {
    "sessions end": (lose_all, CROWD),
    "relays end": (end_all_graces, CROWD),
    "credentials rotate": (lambda world: world.hub.rotate(world.now), CROWD),
    "paths change": (lambda world: world.hub.report_paths(world.now), CROWD),
    "the end is announced": (lambda world: world.hub.wind_down(world.now.wall + 60.0, world.now), CROWD),
    "the server ends": (lambda world: world.hub.drain(2.0, world.now), 2 * CROWD),
}
"""What happens to all at once, and to how much that leads: frames, closed sockets, participants who end."""


@pytest.mark.parametrize("what", TOGETHER)
def test_no_work_in_one_piece(what: str) -> None:
    """Kind: what happens to thousands in the same moment, while nobody else is served. One input does one slice."""
    act, total = TOGETHER[what]
    world = crowd()
    act(world)
    done = [work_of(world)]
    while (due := world.hub.deadline()) is not None and due <= world.now.mono:
        world.hub.expire(world.now)
        done.append(work_of(world))
    assert sum(done) == total
    assert max(done) <= 4 * SLICE
    assert len(done) >= total // (4 * SLICE)


def test_what_is_asked_for_while_much_waits_does_one_slice_too() -> None:
    """Not one of what has been waiting, and then one of its own."""
    world = crowd()
    world.hub.rotate(world.now)
    first = work_of(world)
    world.hub.rotate(world.now)
    assert work_of(world) == first == SLICE


FRAMES: list[dict[str, Any]] = [
    {"t": "hello", "v": 1, "id": "h"},
    {"t": "hello", "v": 1, "resume": {"sid": "aiaaaaaaaaaaaaaa", "key": "x", "seq": 0}},
    {"t": "join", "room": "blue", "id": "j"},
    {"t": "join", "room": "green"},
    {"t": "leave"},
    {"t": "peek", "room": "blue", "id": "p"},
    {"t": "ping", "ack": 3},
    {"t": "ice_get"},
    {"t": "bye"},
    {"t": "stat", "to": "TO"},
    {"t": "diag", "to": "TO", "id": "d"},
    {"t": "desc", "n": 1, "to": "TO", "pc": "p", "desc": OFFER},
    {"t": "cand", "n": 2, "to": "TO", "pc": "p", "rpc": "q", "list": [None]},
    {"t": "reset", "n": 2, "to": "TO", "pc": "q"},
    {"t": "restart", "n": 3, "to": "TO", "id": "r"},
    {"t": "update", "n": 1, "name": "x"},
    {"t": "msg", "n": 1, "data": 1, "id": "m"},
    {"t": "mod", "n": 1, "op": "kick", "to": "TO"},
    {"t": "mod", "n": 2, "op": "lock", "value": "knock"},
    {"t": "mod", "n": 3, "op": "unlock"},
]

changes = st.dictionaries(
    st.sampled_from(["n", "to", "id", "ack", "t", "room", "list"]),
    st.none() | st.integers(-1, 5) | st.text(max_size=5),
    max_size=3,
)
garbage = st.one_of(
    st.text(max_size=40),
    st.sampled_from(FRAMES).map(json.dumps),
    st.tuples(st.sampled_from(FRAMES), changes).map(lambda pair: json.dumps({**pair[0], **pair[1]})),
)


@settings(max_examples=scaled(150), deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["text", "open", "cut", "wait", "binary", "paths"]), st.integers(0, 3), garbage),
        max_size=60,
    )
)
def test_nothing_a_client_does_raises(steps: list[tuple[str, int, str]]) -> None:
    """Fuzz: any frames at any time from several sockets, some of them hosts; a bystander's call goes on."""
    world = World(grants={"host": {"role": "host"}}, burst=10_000)
    ann = world.enter("ann", room="quiet")[0]
    clients = [world.client(str(number)) for number in range(4)]
    for kind, pick, text in steps:
        client = clients[pick]
        if kind == "open" and not client.cid:
            client.open()
            client.raw('{"t":"hello","v":1,"token":"host"}')
            client.raw('{"t":"join","room":"blue"}')
        elif kind == "cut":
            client.cut()
        elif kind == "wait":
            world.pass_time(float(len(text)))
        elif kind == "paths":
            world.hub.report_paths(world.now)
        elif client.cid and kind == "binary":
            world.hub.binary(client.cid, world.now)
        elif client.cid:
            peers = [peer.id for room in world.hub.rooms() for peer in room.peers]
            client.raw(text.replace("TO", peers[pick % len(peers)]))
        client.seq = 0
        world.work()
    assert ann.ask("ping")["t"] == "pong"
    assert {frame["t"] for frame in ann.drain()} <= {"ice", "paths"}
    closes = [command for command in world.commands if isinstance(command, Close)]
    assert all(command.code == 1000 or 4400 <= command.code <= 4503 for command in closes)
