"""Live credentials, paths, and verdicts."""

from itertools import pairwise
from typing import Any

from tests.support.signal_hub import World
from turnserver.signaling.rooms.assistance import LONGEST_TOOK
from turnserver.signaling.rooms.facts import PairConnected, Revoke, VerdictGiven
from turnserver.signaling.truth.relays import PairPath

__all__: list[str] = []


def ids(world: World) -> dict[str, str]:
    room = world.hub.room("blue")
    assert room is not None
    return {peer.id: peer.user_id for peer in room.peers}


def path_frames(client: Any) -> list[Any]:
    return [frame["list"] for frame in client.drain() if frame["t"] == "paths"]


class TestIce:
    """Fresh ICE to every participant, before the old expires."""

    def test_it_is_pushed_at_three_quarters_of_its_life(self) -> None:
        """75 % ± 5 %, not at the same time for all, and again and again."""
        world = World(room_size=8, sockets_per_address=99)
        clients = world.enter(*"abcdefgh")
        for client in clients:
            client.drain()
        times: dict[str, list[float]] = {client.name: [] for client in clients}
        for _ in range(1300):
            world.pass_time(1.0)
            for client in clients:
                for frame in client.drain():
                    assert (frame["t"], frame["why"]) == ("ice", "refresh")
                    assert frame["ice"]["exp"] >= 1_700_000_000 + world.time + 598
                    times[client.name].append(world.time)
        for found in times.values():
            assert len(found) >= 2
            for before, after in pairwise([0.0, *found]):
                assert 0.70 * 600 - 1 <= after - before <= 0.80 * 600 + 1

    def test_the_moment_is_drawn(self) -> None:
        draws = []
        for first in (b"\x00", b"\x80", b"\xff"):
            world = World()
            world.hub._state.entropy = lambda size, first=first: first * size
            draws.append(0.75 + 0.05 * (2 * world.hub._state.fraction() - 1))
        assert [round(draw, 3) for draw in draws] == [0.7, 0.75, 0.8]

    def test_an_answer_restarts_the_clock(self) -> None:
        world = World()
        ann = world.enter("ann")[0]
        world.pass_time(400.0)
        assert ann.ask("ice_get", why="user")["why"] == "user"
        ann.drain()
        world.pass_time(400.0)
        assert ann.drain() == []
        world.pass_time(81.0)
        assert ann.types() == ["ice"]

    def test_it_is_pushed_to_who_has_no_socket_too(self) -> None:
        world = World()
        ann = world.enter("ann")[0]
        world.pass_time(419.0)
        ann.cut()
        world.pass_time(59.0)
        ann.open()
        ann.resume()
        world.pass_time(5.0)
        frames = [frame for frame in ann.drain() if frame["t"] == "ice"]
        assert [frame["ice"]["exp"] > 1_700_001_000 for frame in frames] == [True]

    def test_not_any_more_after_a_leave(self) -> None:
        world = World()
        ann = world.enter("ann")[0]
        ann.ask("leave")
        ann.drain()
        world.pass_time(1000.0)
        assert ann.drain() == []

    def test_before_a_join_it_is_for_the_lobby(self) -> None:
        world = World()
        ann = world.client("ann")
        ann.open()
        ann.hello()
        answer = ann.ask("ice_get", why="check")
        assert answer["ice"]["servers"][0]["username"].endswith(f":lobby.{ann.id}")
        ann.say("bye")
        world.pass_time(3.0)
        assert world.revoked() == [f"lobby.{ann.id}"]

    def test_all_get_new_ones_when_keys_are_changed(self) -> None:
        world = World()
        ann, bob = world.enter("ann", "bob")
        ann.drain()
        world.operate("rotate")
        assert [(frame["t"], frame["why"]) for frame in ann.drain() + bob.drain()] == [("ice", "rotate")] * 2


class TestRevocation:
    """Whoever leaves loses the relays after a grace, whoever is sent out at once."""

    def test_a_leave_has_a_grace_that_a_return_ends(self) -> None:
        world = World()
        ann, _ = world.enter("ann", "bob")
        user = ids(world)[ann.id]
        ann.ask("leave")
        world.pass_time(2.9)
        assert world.revoked() == []
        ann.join()
        world.pass_time(100.0)
        assert world.revoked() == []
        assert ids(world)[ann.id] == user
        ann.ask("leave")
        world.pass_time(3.1)
        assert world.revoked() == [user]

    def test_a_revoked_user_id_is_never_used_again(self) -> None:
        """Its credentials are dead until they expire: who comes back later gets others."""
        world = World()
        ann, _ = world.enter("ann", "bob")
        user = ids(world)[ann.id]
        ann.ask("leave")
        world.pass_time(10.0)
        answer = ann.join()
        again = ids(world)[ann.id]
        assert again == f"{user}-1"
        assert answer["ice"]["servers"][0]["username"].endswith(f":{again}")
        assert answer["you"]["id"] == ann.id

    def test_until_the_last_credentials_have_expired(self) -> None:
        world = World()
        ann, _ = world.enter("ann", "bob")
        world.pass_time(100.0)
        ann.ask("ice_get")
        ann.say("bye")
        world.pass_time(3.0)
        assert [c.until for c in world.commands if isinstance(c, Revoke)] == [1_700_000_700.0]

    def test_a_timeout_is_a_leave(self) -> None:
        world = World()
        ann, _ = world.enter("ann", "bob")
        user = ids(world)[ann.id]
        ann.cut()
        world.pass_time(60.0)
        assert world.revoked() == []
        world.pass_time(3.1)
        assert world.revoked() == [user]

    def test_another_room_is_another_user(self) -> None:
        world = World()
        ann = world.enter("ann")[0]
        blue = ids(world)[ann.id]
        ann.ask("leave")
        answer = ann.join("green")
        assert blue not in answer["ice"]["servers"][0]["username"]
        world.pass_time(3.0)
        assert world.revoked() == [blue]
        room = world.hub.room("green")
        assert room is not None
        assert room.peers[0].user_id not in world.revoked()


class TestPaths:
    """Relay truth, told to whom it concerns."""

    def test_each_end_sees_it_from_its_side(self) -> None:
        world = World()
        ann, bob, cem = world.enter("ann", "bob", "cem")
        users = ids(world)
        world.relays.paths = {(users[ann.id], users[bob.id]): PairPath("relay", "tcp", "a", 10, 20)}
        world.hub.report_paths(world.now)
        world.work()
        unknown = {"path": "unknown", "tx": 0, "rx": 0}
        shown = {"path": "relay", "proto": "tcp"}
        assert path_frames(ann) == [
            [{"id": bob.id, **shown, "by": "you", "tx": 10, "rx": 20}, {"id": cem.id, **unknown}],
        ]
        assert path_frames(bob) == [
            [{"id": ann.id, **shown, "by": "peer", "tx": 20, "rx": 10}, {"id": cem.id, **unknown}],
        ]
        assert path_frames(cem) == [[{"id": ann.id, **unknown}, {"id": bob.id, **unknown}]]

    def test_only_what_has_changed_is_told(self) -> None:
        world = World()
        ann, bob = world.enter("ann", "bob")
        users = ids(world)
        for number in range(4):
            world.relays.paths = {(users[ann.id], users[bob.id]): PairPath("relay", "udp", "both", number // 2, 0)}
            world.hub.report_paths(world.now)
            world.work()
        assert [found[0]["tx"] for found in path_frames(ann)] == [0, 1]

    def test_a_client_that_does_not_read_gets_the_last_one_only(self) -> None:
        world = World()
        ann, bob = world.enter("ann", "bob")
        users = ids(world)
        ann.stall()
        for number in range(100):
            world.relays.paths = {(users[ann.id], users[bob.id]): PairPath("relay", "udp", "b", number, 0)}
            world.hub.report_paths(world.now)
            world.work()
        ann.stalled = False
        ann.read()
        assert [found[0]["tx"] for found in path_frames(ann)] == [99]

    def test_after_a_resume_they_are_told_anew(self) -> None:
        world = World()
        ann, _ = world.enter("ann", "bob")
        world.hub.report_paths(world.now)
        world.work()
        assert len(path_frames(ann)) == 1
        ann.cut()
        world.hub.report_paths(world.now)
        ann.open()
        ann.resume()
        world.hub.report_paths(world.now)
        world.work()
        assert len(path_frames(ann)) == 1

    def test_a_direct_path_is_the_clients_word(self) -> None:
        """Where no relay of ours carries; a relay that does knows better."""
        world = World()
        ann, bob = world.enter("ann", "bob")
        users = ids(world)
        bob.say("stat", to=ann.id, path="direct", rtt=5)
        world.hub.report_paths(world.now)
        world.relays.paths = {(users[ann.id], users[bob.id]): PairPath("relay", "udp", "a", 1, 1)}
        world.hub.report_paths(world.now)
        world.work()
        assert [found[0]["path"] for found in path_frames(ann)][-1] == "relay"
        room = world.hub.room("blue")
        assert room is not None
        stats = {peer.id: peer.stats for peer in room.peers}
        assert stats[bob.id][ann.id].rtt == 5

    def test_how_many_pairs_take_which_path(self) -> None:
        world = World()
        ann, bob, cat = world.enter("ann", "bob", "cat")
        users = ids(world)
        bob.say("stat", to=ann.id, path="direct")
        world.relays.paths = {(users[ann.id], users[cat.id]): PairPath("relay", "udp", "a", 1, 1)}
        assert world.hub.census.paths == {}
        world.hub.report_paths(world.now)
        assert world.hub.census.paths == {"direct": 1, "relay": 1, "unknown": 1}
        census = world.hub.census
        assert (census.modes, census.connected, census.away, census.sessions) == ({"mesh": 1}, 3, 0, 3)
        cat.say("bye")
        world.hub.report_paths(world.now)
        assert world.hub.census.paths == {"direct": 1}

    def test_the_time_to_connect_is_told_once_for_each_pair(self) -> None:
        """The client's word, so it has bounds; a second one of either end, also after one without, does not count."""
        world = World()
        ann, bob, cat = world.enter("ann", "bob", "cat")
        bob.say("stat", to=ann.id, path="direct")
        bob.say("stat", to=ann.id, path="direct", took=1500)
        ann.say("stat", to=bob.id, path="direct", took=1600)
        bob.say("stat", to=ann.id, path="direct")
        bob.say("stat", to=ann.id, path="direct", took=1700)
        cat.say("stat", to=ann.id, path="direct", took=1e12)
        cat.say("stat", to=bob.id, path="direct", took=-1)
        world.work()
        facts = [fact for fact in world.facts if isinstance(fact, PairConnected)]
        assert [(fact.peer, fact.to, fact.seconds) for fact in facts] == [
            (bob.id, ann.id, 1.5),
            (cat.id, ann.id, LONGEST_TOOK),
            (cat.id, bob.id, 0.0),
        ]

    def test_a_report_about_somebody_who_has_just_left_is_no_error(self) -> None:
        world = World()
        ann, bob = world.enter("ann", "bob")
        bob.say("bye")
        ann.drain()
        ann.say("stat", to=bob.id)
        assert ann.drain() == []
        assert ann.ask("stat", to=bob.id)["code"] == "no_such_peer"

    def test_what_is_known_of_somebody_goes_with_them(self) -> None:
        world = World()
        ann, bob = world.enter("ann", "bob")
        ann.say("stat", to=bob.id, path="direct")
        bob.say("bye")
        room = world.hub.room("blue")
        assert room is not None
        assert room.peers[0].stats == {}


class TestDiag:
    """Why a call fails, as a code and a sentence."""

    def test_a_verdict_about_a_pair(self) -> None:
        world = World()
        ann, bob = world.enter("ann", "bob")
        bob.cut()
        answer = ann.ask("diag", to=bob.id, states=["checking", "failed"], cands={"local": ["host"], "remote": []})
        assert (answer["t"], answer["to"], answer["verdict"]) == ("diag", bob.id, "peer_gap")
        assert answer["text"].endswith(".")
        assert [fact.verdict for fact in world.facts if isinstance(fact, VerdictGiven)] == ["peer_gap"]

    def test_both_ends_count(self) -> None:
        """What the other end reported before, and what of its candidates went by."""
        world = World()
        ann, bob = world.enter("ann", "bob")
        bob.ask("diag", to=ann.id, states=["connected"], cands={"local": ["relay"]})
        one = ann.ask("diag", to=bob.id, states=["connected"], cands={"local": ["relay"], "remote": ["relay"]})
        assert one["verdict"] == "media_flows"

    def test_only_about_somebody_in_the_room(self) -> None:
        world = World()
        ann = world.enter("ann")[0]
        assert ann.ask("diag", to="nobody")["code"] == "no_such_peer"
        ann.ask("leave")
        assert ann.ask("diag", to="nobody")["code"] == "not_joined"
