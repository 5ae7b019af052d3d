"""Sessions: who gets one, who goes on with one, and that no break of a socket loses or doubles anything."""

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest

from tests.support.signal_hub import World
from tests.support.signal_party import RELAYED, Party, settle
from turnserver.signaling.protocol.errors import Denial, SignalCode

__all__: list[str] = []

Step = Callable[[Party, Party], None]


def join_and_hear(ann: Party, bob: Party) -> None:
    """Ann comes in, and before she has the answer, Bob talks to her, if he has heard of her."""
    ann.ask("join", room="blue", name="ann")
    bob.pump()
    if bob.peers:
        bob.say("msg", data="welcome")


SCRIPT: list[Step] = [
    lambda ann, bob: bob.ask("join", room="blue", name="bob") and None,
    join_and_hear,
    lambda ann, bob: ann.say("desc", to=bob.id, pc="a1", desc={"type": "offer", "sdp": "v=0"}),
    lambda ann, bob: ann.say("cand", to=bob.id, pc="a1", list=[{"candidate": "candidate:1", "sdpMid": "0"}]),
    lambda ann, bob: bob.say("desc", to=ann.id, pc="b1", rpc="a1", desc={"type": "answer", "sdp": "v=0"}),
    lambda ann, bob: bob.say("cand", to=ann.id, pc="b1", rpc="a1", list=[{"candidate": "candidate:2"}, None]),
    lambda ann, bob: ann.say("cand", to=bob.id, pc="a1", rpc="b1", list=[None]),
    lambda ann, bob: ann.say("update", media={"a": 0, "v": 1, "s": 0}),
    lambda ann, bob: ann.ask("restart", to=bob.id, why="user") and None,
    lambda ann, bob: bob.ask("msg", data="hello") and None,
    lambda ann, bob: ann.say("reset", to=bob.id, pc="a2", why="test"),
    lambda ann, bob: ann.say("msg", to=bob.id, data={"bye": True}),
]


def act(*, budget: dict[str, int] | None = None, after: int = 0, notices: bool = True) -> tuple[Party, Party]:
    """Play the script; before step ``after`` ann's socket gets a budget of frames, after which it is lost."""
    world = World()
    ann, bob = Party(world, "ann"), Party(world, "bob")
    ann.notices = notices
    if after == 0 and budget:
        vars(ann).update(budget)
    settle([bob, ann])
    for number, step in enumerate(SCRIPT):
        if number == after and number and budget:
            vars(ann).update(budget)
        step(ann, bob)
        settle([bob, ann])
    ann.notice()
    settle([bob, ann])
    return ann, bob


def shown(party: Party) -> list[tuple[Any, ...]]:
    """What the others have said to this one, without what differs between runs: names and numbers."""
    kept = []
    for frame in party.told:
        if frame["t"] in RELAYED and frame.get("data") != "welcome":
            kept.append(tuple((key, str(value)) for key, value in sorted(frame.items()) if key not in {"seq", "from"}))
    return kept


@cache
def whole() -> tuple[Party, Party]:
    """The play without any loss."""
    return act()


def boundaries() -> list[tuple[str, int]]:
    """Every frame of the whole play, from ann and to ann."""
    ann, _ = whole()
    return [("out_budget", k) for k in range(ann.frames_out)] + [("in_budget", k) for k in range(ann.frames_in)]


@pytest.mark.parametrize("notices", [True, False], ids=["noticed", "unnoticed"])
@pytest.mark.parametrize(("side", "k"), boundaries())
def test_a_socket_lost_at_any_frame_loses_and_doubles_nothing(side: str, k: int, notices: bool) -> None:
    """Resume at every message boundary of a join and a negotiation, in both directions.

    ``unnoticed``: the server still holds the old socket when the new one comes, and hears of the loss only at the end.
    """
    ann, bob = act(budget={side: k}, notices=notices)
    whole_ann, whole_bob = whole()
    assert shown(ann) == shown(whole_ann)
    assert shown(bob) == shown(whole_bob)
    assert [frame["t"] for frame in bob.told].count("peer_join") == 1
    assert not [frame for frame in bob.told if frame["t"] == "peer_leave"]
    assert set(ann.peers) == {bob.id}
    assert set(bob.peers) == {ann.id}
    assert "gap" not in bob.peers[ann.id]
    assert not ann.asked
    assert ann.sessions + bob.sessions <= 3
    room = ann.world.hub.room("blue")
    assert room is not None
    assert {(peer.id, peer.connected, peer.media.v) for peer in room.peers} == {(ann.id, True, 1), (bob.id, True, 0)}
    assert ann.closed_with is None


@pytest.mark.parametrize("first", range(0, 12))
def test_a_socket_lost_twice_in_a_row(first: int) -> None:
    """The socket of the resume is lost, too, before, in the middle of, and after what is sent again."""
    for second in range(6):
        world = World()
        ann, bob = Party(world, "ann"), Party(world, "bob")
        settle([bob, ann])
        for party in (bob, ann):
            party.ask("join", room="blue")
            settle([bob, ann])
        ann.in_budget = first
        for number in range(8):
            bob.say("msg", data=number)
            bob.pump()
        ann.pump()
        ann.drop()
        ann.connect()
        ann.in_budget = second
        ann.pump()
        settle([bob, ann])
        assert [frame["data"] for frame in ann.told if frame["t"] == "msg"] == list(range(8))


def test_hello_and_what_it_says() -> None:
    world = World()
    ann = world.client("ann")
    ann.open()
    welcome = ann.heard.popleft()
    assert (welcome["v"], welcome["hb"], welcome["resume"]) == ([1], 15000, 60000)
    answer = ann.hello(client={"name": "page", "ver": "1"}, feat=["x"], more="is ignored")
    assert answer["resumed"] is False
    assert answer["you"] == {"id": ann.id, "role": "member", "caps": ["message", "publish", "screen"]}
    assert answer["cid"] == welcome["cid"]
    assert len(answer["sid"]) == 16
    assert len(answer["key"]) >= 32


def test_the_key_before_is_good_until_the_new_one_has_been_used() -> None:
    """A hello_ok that is lost on the wire must not lock its client out."""
    world = World()
    ann = world.enter("ann")[0]
    first = ann.session
    ann.cut()
    for _ in range(3):  # the answer is lost, again and again
        ann.open()
        assert ann.resume(key=first["key"])["t"] == "hello_ok"
        ann.cut()
    ann.open()
    ann.ask("ping")  # no session on this socket yet: this confirms nothing
    second = ann.resume(key=first["key"])
    assert second["key"] != first["key"]
    ann.say("ping")
    ann.cut()
    ann.open()
    assert ann.resume(key=first["key"])["code"] == "session_gone"
    assert ann.resume(key=second["key"])["t"] == "hello_ok"


def test_the_key_last_received_is_good_too() -> None:
    world = World()
    ann = world.enter("ann")[0]
    ann.cut()
    ann.open()
    second = ann.resume()
    ann.cut()
    ann.open()
    assert ann.resume(key=second["key"])["t"] == "hello_ok"


@pytest.mark.parametrize("resume", [{"sid": "a" * 16}, {"key": "b" * 32}, {"key": ""}, {"key": "ü"}])
def test_a_session_needs_its_id_and_its_key(resume: dict[str, str]) -> None:
    world = World()
    ann = world.enter("ann")[0]
    ann.cut()
    ann.open()
    assert ann.resume(**resume)["code"] == "session_gone"
    assert ann.cid, "the client may begin afresh on this socket"
    assert ann.hello()["resumed"] is False


def test_a_second_socket_replaces_the_first_and_nobody_hears_of_it() -> None:
    world = World()
    ann, bob = world.enter("ann", "bob")
    second = world.client("ann again")
    second.open()
    second.session, second.seq = ann.session, ann.seq
    assert second.resume()["resumed"] is True
    assert ann.closed_with == 4409
    goodbye = ann.drain()[-1]
    assert (goodbye["code"], goodbye["reconnect"]) == ("replaced", "never")
    assert goodbye["cid"] != second.session["cid"]
    assert bob.types() == ["peer_join"] or bob.types() == []
    bob.say("msg", data=1)
    assert second.drain()[-1]["data"] == 1


def test_two_sockets_race_with_one_key() -> None:
    """Both have the key; the later one wins, and the first one's late end does not touch it."""
    world = World()
    ann, bob = world.enter("ann", "bob")
    ann.cut()
    one, two = world.client("one"), world.client("two")
    for each in (one, two):
        each.session, each.seq = ann.session, ann.seq
        each.open()
    assert one.resume()["t"] == "hello_ok"
    assert two.resume(key=ann.session["key"])["t"] == "hello_ok"
    assert (one.closed_with, two.closed_with) == (4409, None)
    assert [t for t in bob.types() if t.startswith("peer_")][-2:] == ["peer_gap", "peer_back"]


def test_a_gap_ends_in_a_return_or_in_a_timeout() -> None:
    world = World()
    ann, bob = world.enter("ann", "bob")
    ann.drain()
    bob.cut()
    gap = ann.drain()[-1]
    assert (gap["t"], gap["id"], gap["until"]) == ("peer_gap", bob.id, 1_700_000_060_000)
    world.pass_time(59.9)
    bob.open()
    bob.resume()
    assert ann.types() == ["peer_back"]
    bob.cut()
    world.pass_time(60.1)
    assert [frame.get("reason") for frame in ann.drain()] == [None, "timeout"]
    bob.open()
    assert bob.resume()["code"] == "session_gone"


def test_who_comes_in_during_a_gap_is_told_of_it() -> None:
    world = World()
    ann = world.enter("ann")[0]
    ann.cut()
    bob = world.client("bob")
    bob.open()
    bob.hello()
    assert bob.join()["peers"][0]["gap"] == 1_700_000_060_000


def test_bye_ends_the_session_at_once() -> None:
    world = World()
    ann, bob = world.enter("ann", "bob")
    ann.drain()
    bob.say("bye")
    assert bob.closed_with == 1000
    assert [frame["reason"] for frame in ann.drain()] == ["left"]
    bob.open()
    assert bob.resume()["code"] == "session_gone"


def test_bye_for_a_while_keeps_the_seat_for_a_page_that_reloads() -> None:
    """`keep` says how long, and no longer than any other gap: a closed tab is no ghost for a minute."""
    world = World()
    ann, bob = world.enter("ann", "bob")
    bob.say("bye", keep=5000)
    assert bob.closed_with == 1000
    (gap,) = ann.drain()
    assert (gap["t"], gap["until"]) == ("peer_gap", 1_700_000_005_000)
    world.pass_time(4.9)
    bob.open()
    assert bob.resume()["t"] == "hello_ok"
    assert ann.types() == ["peer_back"]
    bob.say("bye", keep=5000)
    world.pass_time(5.0)
    assert [frame["t"] for frame in ann.drain()] == ["peer_gap", "peer_leave"]
    short = World(resume=2.0)
    (cem,) = short.enter("cem")
    cem.say("bye", keep=60_000)
    short.pass_time(2.0)
    assert short.hub.room_count == 0


def test_a_late_bye_for_a_while_changes_nothing() -> None:
    """The session is detached already, and waits as long as after any lost socket."""
    world = World()
    _, bob = world.enter("ann", "bob")
    cid = bob.cid
    world.hub.drain(1.0, world.now)
    world.hub.text(cid, '{"t":"bye","keep":1}', world.now)
    world.pass_time(59.0)
    assert world.hub.peer_count == 2


def test_an_overflow_is_said_and_a_snapshot_takes_the_place_of_news() -> None:
    """`resume_lost` and `sync` instead of silence; descriptions and messages that are left come after it."""
    world = World(replay_messages=8)
    ann, bob = world.enter("ann", "bob")
    bob.cut()
    ann.say("msg", data="kept")
    for number in range(9):
        other = world.enter(f"c{number % 2}")[0]
        other.say("bye")
    ann.say("msg", data="kept, too")
    bob.open()
    assert bob.resume()["resumed"] is True
    heard = bob.drain()
    assert [frame.get("code", frame["t"]) for frame in heard] == ["welcome", "resume_lost", "sync", "msg", "msg"]
    sync = heard[2]
    assert [peer["id"] for peer in sync["peers"]] == [ann.id]
    assert sync["lost"] is False
    assert [frame["data"] for frame in heard[3:]] == ["kept", "kept, too"]
    assert all(frame["seq"] > sync["at"] for frame in heard[3:])


def test_an_overflow_of_messages_is_said_as_well() -> None:
    world = World(replay_messages=8)
    ann, bob = world.enter("ann", "bob")
    bob.cut()
    for number in range(20):
        ann.say("msg", data=number)
    bob.open()
    bob.resume()
    heard = bob.drain()
    sync = next(frame for frame in heard if frame["t"] == "sync")
    assert sync["lost"] is True
    assert [frame["data"] for frame in heard if frame["t"] == "msg"] == [18, 19], "what came after the overflow"


def test_a_sync_that_is_lost_comes_again() -> None:
    world = World(replay_messages=4)
    ann, bob = world.enter("ann", "bob")
    bob.cut()
    for _ in range(3):
        world.enter("c")[0].say("bye")
    ann.say("msg", data="kept")
    seq = bob.seq
    for _ in range(3):
        bob.open()
        bob.resume(seq=seq)
        assert [frame.get("code", frame["t"]) for frame in bob.drain()] == ["welcome", "resume_lost", "sync", "msg"]
        bob.cut()
        bob.seq = 0
    bob.open()
    bob.resume(seq=seq + 100)
    assert "sync" not in bob.types(), "a client that has them all is told nothing"


def test_after_lost_answers_a_repeated_request_is_told_so() -> None:
    """Whether a counted request was done is not known any more: an error says so, where silence would wait forever."""
    world = World(replay_messages=2)
    ann, bob = world.enter("ann", "bob")
    bob.stall()
    bob.say("msg", id="q", data=1)
    bob.cut()
    for number in range(4):
        ann.say("msg", data=number)
    bob.open()
    bob.stalled = False
    bob.read()
    bob.resume()
    bob.drain()
    bob.say("msg", id="q", n=1, data=1)
    assert [frame["code"] for frame in bob.drain()] == ["resume_lost"]


def test_a_token_is_needed_unless_the_hub_is_open() -> None:
    world = World(open=False)
    ann = world.client("ann")
    ann.open()
    assert ann.hello()["code"] == "auth_required"
    assert ann.closed_with == 4401
    goodbye = ann.drain()[-1]
    assert (goodbye["t"], goodbye["reconnect"]) == ("goodbye", "never")


@pytest.mark.parametrize(
    ("refusal", "reconnect"),
    [
        (Denial(SignalCode.TOKEN_EXPIRED, "expired"), "never"),
        (Denial(SignalCode.TOKEN_NOT_YET, "not yet", retry=5000), "fresh"),
        (Denial(SignalCode.BAD_TOKEN, "bad"), "never"),
    ],
)
def test_a_token_that_is_no_good(refusal: Denial, reconnect: str) -> None:
    world = World(open=False, grants={"t": refusal})
    ann = world.client("ann")
    ann.open()
    assert ann.hello(token="t")["code"] == refusal.code
    assert ann.closed_with == 4401
    assert ann.drain()[-1]["reconnect"] == reconnect


def test_ten_bad_tokens_and_the_address_has_to_wait() -> None:
    """Half an hour, with wrong tokens, for that address only; an IPv6 site is one; who has a session may resume it."""
    world = World(open=False, grants={"good": {}}, sockets_per_address=99)
    friend = world.client("friend", address="2001:db8:0:1::1")
    friend.open()
    friend.hello(token="good")
    for number in range(10):
        ann = world.client("ann", address=f"2001:db8:0:1::{number:x}")
        ann.open()
        assert ann.hello(token="bad")["code"] == "bad_token"
    ann = world.client("ann", address="2001:db8:0:1:ffff::")
    ann.open()
    answer = ann.hello(token="bad")
    assert (answer["code"], ann.closed_with) == ("rate_limited", 4429)
    assert 0 < answer["retry"] <= 1_800_001
    ann.open()
    assert ann.hello(token="good")["t"] == "hello_ok", "a right token is never refused because of others' wrong ones"
    friend.cut()
    friend.open()
    assert friend.resume()["t"] == "hello_ok"
    elsewhere = world.client("eve", address="2001:db8:0:2::1")
    elsewhere.open()
    assert elsewhere.hello(token="good")["t"] == "hello_ok"
    world.pass_time(1800.0)
    late = world.client("late", address="2001:db8:0:1::1")
    late.open()
    assert late.hello(token="bad")["code"] == "bad_token"


def test_a_token_for_one_use_opens_one_session() -> None:
    grant = {"token_id": "j1", "once": True, "expires": 1_700_000_100.0}
    world = World(open=False, grants={"t": grant})
    ann, eve = world.client("ann"), world.client("eve")
    ann.open()
    assert ann.hello(token="t")["t"] == "hello_ok"
    ann.cut()
    ann.open()
    assert ann.hello(token="t")["t"] == "hello_ok", "the answer to the first hello may have been lost"
    ann.say("ping")
    eve.open()
    assert eve.hello(token="t")["code"] == "bad_token"
    assert eve.closed_with == 4401
    ann.cut()
    ann.open()
    assert ann.resume()["t"] == "hello_ok"


def test_a_token_with_a_number_of_uses_opens_so_many_sessions() -> None:
    """Each takes one, also of the same person; a resume takes none."""
    world = World(open=False, grants={"t": {"token_id": "j1", "uses": 3, "expires": 1_700_000_100.0}})
    guests = [world.client(f"guest{number}") for number in range(4)]
    for guest in guests[:3]:
        guest.open()
        assert guest.hello(token="t")["t"] == "hello_ok"
        guest.say("ping")
    guests[0].cut()
    guests[0].open()
    assert guests[0].resume()["t"] == "hello_ok"
    guests[3].open()
    refusal = guests[3].hello(token="t")
    assert (refusal["code"], refusal["d"]["path"]) == ("bad_token", "uses")
    assert guests[3].closed_with == 4401


@pytest.mark.parametrize(("uses", "last", "live"), [(1, "hello_ok", [1]), (2, "error", [0, 1])])
def test_only_a_token_of_one_use_takes_an_unconfirmed_session_back(uses: int, last: str, live: list[int]) -> None:
    """Of several people with one link, the one whose answer is on its way does not lose it to a latecomer."""
    world = World(open=False, grants={"t": {"token_id": "j1", "uses": uses, "expires": 1_700_000_100.0}})
    guests = [world.client(f"guest{number}") for number in range(uses + 1)]
    for guest in guests[:-1]:
        guest.open()
        assert guest.hello(token="t")["t"] == "hello_ok"
    guests[-1].open()
    assert guests[-1].hello(token="t")["t"] == last
    assert [guests[number].ask("peek", room="blue")["t"] for number in live] == ["room_info"] * len(live)


@pytest.mark.parametrize("grant", [{"once": True}, {"uses": 2}], ids=str)
def test_a_token_for_one_use_without_an_id_is_none(grant: dict[str, Any]) -> None:
    world = World(open=False, grants={"t": grant})
    ann = world.client("ann")
    ann.open()
    assert ann.hello(token="t")["code"] == "bad_token"


def test_a_server_has_so_many_sessions() -> None:
    world = World(sessions=2)
    world.enter("ann", "bob")
    eve = world.client("eve")
    eve.open()
    assert eve.hello()["code"] == "server_full"
    assert eve.closed_with == 4503
    assert eve.drain()[-1]["reconnect"] == "fresh"


def test_an_address_has_so_many_sessions() -> None:
    """Sessions wait a minute for their client: one address must not fill the server with those it leaves behind."""
    world = World(sockets_per_address=2)
    codes = []
    for number in range(9):
        client = world.client(str(number))
        client.open()
        codes.append(client.hello().get("code"))
        client.cut()
    assert codes == [None] * 8 + ["rate_limited"]
    other = world.client("other", address="198.51.100.1")
    other.open()
    assert other.hello()["t"] == "hello_ok"
    world.pass_time(60.0)
    assert set(world.hub._state.held) == {("198.51.100.1", False)}


def test_those_with_a_token_do_not_count_as_strangers() -> None:
    """A school behind one address: strangers leave them room, and they leave strangers theirs; both have an end."""
    world = World(grants={"pupil": {}}, sockets_per_address=2)
    pupils = [world.client(f"pupil{number}") for number in range(16)]
    for pupil in pupils:
        pupil.open()
        assert pupil.hello(token="pupil")["t"] == "hello_ok"
    strangers = [world.client(f"stranger{number}") for number in range(3)]
    for stranger in strangers:
        stranger.open()
    assert [each.closed_with for each in strangers] == [None, None, 4429]
    assert [each.hello()["t"] for each in strangers[:2]] == ["hello_ok", "hello_ok"]
    late = world.client("late")
    late.open()
    assert late.closed_with == 4429, "before a token has been shown, everybody is a stranger"
    strangers[0].cut()
    late.open()
    answer = late.hello(token="pupil")
    assert (answer["code"], late.closed_with) == ("rate_limited", 4429), "eight for each socket of strangers"
    late.cut()
    pupils[0].cut()
    pupils[0].open()
    assert pupils[0].resume()["t"] == "hello_ok"
    for number in range(2):
        strangers[number].cut()
        strangers[number].open()
        assert strangers[number].resume()["t"] == "hello_ok"
    assert world.hub._state.sockets == {"192.0.2.1": 2}
    for client in (*pupils, *strangers[:2]):
        client.cut()
    assert world.hub._state.sockets == {}
    assert dict(world.hub._state.held) == {("192.0.2.1", True): 16, ("192.0.2.1", False): 2}


def test_a_session_that_moves_counts_where_it_is() -> None:
    world = World()
    ann = world.enter("ann")[0]
    ann.cut()
    ann.address = "198.51.100.1"
    ann.open()
    ann.resume()
    assert dict(world.hub._state.held) == {("198.51.100.1", False): 1}
    ann.say("bye")
    assert dict(world.hub._state.held) == {}


def test_a_version_that_we_do_not_speak() -> None:
    world = World()
    ann = world.client("ann")
    ann.open()
    answer = ann.ask("hello", v=2)
    assert (answer["code"], answer["d"]["v"], ann.closed_with) == ("unsupported_version", [1], 4426)


def test_hello_is_said_once_and_first() -> None:
    world = World()
    ann = world.client("ann")
    ann.open()
    assert ann.ask("join", room="blue")["d"]["path"] == "t"
    ann.hello()
    assert ann.ask("hello", v=1)["code"] == "bad_message"
    assert ann.cid
