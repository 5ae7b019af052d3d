"""What goes between participants and the SFU. Kind: an engine that says what the test lets it say."""

from typing import Any

from tests.support.signal_hub import Client, World
from tests.support.signal_scenarios import SDP
from turnserver.signaling.rooms.facts import MediaLost
from turnserver.signaling.rooms.media_port import (
    SfuAnswered,
    SfuConnected,
    SfuFailed,
    SfuGone,
    SfuLayers,
    SfuOffered,
    SfuSpeaker,
    Tile,
)

OFFER = {"type": "offer", "sdp": SDP}
ANSWER = {"type": "answer", "sdp": SDP}


def pair(**grants: Any) -> tuple[World, Client, Client]:
    """Two in a room of a server whose rooms all go through the SFU."""
    world = World(sfu={"mode": "sfu"}, grants=grants)
    clients = []
    for name in ("ann", "bob"):
        clients += world.enter(name, join={"mode": "auto"}, **({"token": name} if name in grants else {}))
    world.media.take()
    clients[0].drain()
    return world, clients[0], clients[1]


def test_descriptions_and_candidates_reach_the_engine_under_the_sender_s_name() -> None:
    world, ann, _ = pair()
    ann.say("desc", to="sfu", pc="p1", desc=OFFER, sources={"0": "audio", "2": "screen"})
    ann.say("desc", to="sfu", pc="s1", desc=ANSWER)
    line = "candidate:1 1 udp 2122260223 192.0.2.7 50000 typ host"
    ann.say("cand", to="sfu", pc="s1", list=[{"candidate": line, "sdpMid": "0"}, {"candidate": ""}, None])
    ann.say("reset", to="sfu", pc="s1", why="failed")
    assert world.media.take() == [
        ("offer", "blue", ann.id, "p1", SDP, {"0": "audio", "2": "screen"}),
        ("answer", "blue", ann.id, "s1", SDP),
        ("candidates", "blue", ann.id, "s1", [line]),
        ("reset", "blue", ann.id),
    ]
    assert ann.drain() == []


def test_the_engine_s_descriptions_reach_one_participant() -> None:
    world, ann, bob = pair()
    world.reports(SfuAnswered("blue", ann.id, "p1", SDP))
    world.reports(SfuOffered("blue", ann.id, "s1", SDP))
    assert [(frame["from"], frame["pc"], frame["desc"]) for frame in ann.drain()] == [
        ("sfu", "p1", ANSWER),
        ("sfu", "s1", OFFER),
    ]
    assert bob.drain() == []


def test_an_answer_of_the_engine_survives_the_loss_of_the_socket() -> None:
    world, ann, _ = pair()
    ann.cut()
    world.reports(SfuAnswered("blue", ann.id, "p1", SDP))
    ann.open()
    ann.resume()
    assert [frame["pc"] for frame in ann.drain() if frame["t"] == "desc"] == ["p1"]


def test_late_reports_are_ignored() -> None:
    world, ann, bob = pair()
    for room, peer in (("blue", "aaaaaaaaaa"), ("green", ann.id)):
        world.reports(SfuAnswered(room, peer, "p1", SDP))
        world.reports(SfuConnected(room, peer, "publish"))
        world.reports(SfuFailed(room, peer, "publish", "late"))
        world.reports(SfuLayers(room, peer, "camera", ()))
    world.reports(SfuSpeaker("green", ann.id))
    world.reports(SfuGone("green", 1, "late"))
    assert (ann.drain(), bob.drain()) == ([], [])
    assert [fact for fact in world.facts if isinstance(fact, MediaLost)] == []


def test_a_mesh_has_no_sfu_to_talk_to() -> None:
    world = World(sfu={})
    (ann,) = world.enter("ann", join={"mode": "auto"})
    for t, fields in (
        ("desc", {"to": "sfu", "pc": "p", "desc": OFFER}),
        ("cand", {"to": "sfu", "pc": "p", "list": [None]}),
        ("reset", {"to": "sfu", "pc": "p"}),
        ("choose", {}),
    ):
        assert ann.ask(t, **fields)["code"] == "no_such_peer"
    assert world.media.take() == []


def test_who_may_not_send_offers_nothing_and_still_receives() -> None:
    grants = {"ann": {"caps": frozenset({"message"})}, "bob": {"caps": frozenset({"publish"})}}
    world, ann, bob = pair(**grants)
    assert ann.ask("desc", to="sfu", pc="p", desc=OFFER)["code"] == "forbidden"
    silent = {**OFFER, "sdp": OFFER["sdp"].replace("a=sendrecv", "a=sendonly\r\na=inactive")}
    assert ann.ask("desc", to="sfu", pc="p", desc=silent)["code"] == "forbidden", "however it is to be read"
    ann.say("desc", to="sfu", pc="s", desc={"type": "answer", "sdp": SDP.replace("sendrecv", "recvonly")})
    refused = bob.ask("desc", to="sfu", pc="p", desc=OFFER, sources={"1": "screen_audio"})
    assert (refused["code"], refused["d"]["path"]) == ("forbidden", "sources")
    assert [name for name, *_ in world.media.take()] == ["answer"]


def test_the_sfu_knows_no_other_descriptions() -> None:
    world, ann, _ = pair()
    answer = ann.ask("desc", to="sfu", pc="p", desc={"type": "rollback"})
    assert (answer["code"], answer["d"]["path"]) == ("bad_message", "desc.type")
    assert world.media.take() == []


def test_candidates_for_the_sfu_count_against_the_rate() -> None:
    world = World(sfu={"mode": "sfu"}, relay_burst=600, relay_rate=1)
    (ann,) = world.enter("ann", join={"mode": "auto"})
    frame = {"to": "sfu", "pc": "s", "list": [{"candidate": "x" * 400}]}
    assert ann.ask("cand", **frame)["t"] == "ok"
    assert ann.ask("cand", **frame)["code"] == "rate_limited"


def test_what_is_chosen_names_only_those_who_are_there() -> None:
    world, ann, bob = pair()
    tiles = [{"id": bob.id, "what": "screen", "h": 720, "pin": True}, {"id": "aaaaaaaaaa", "h": 90}]
    ann.say("choose", last=2, others=0, tiles=tiles)
    ann.say("choose")
    assert world.media.take() == [
        ("choose", "blue", ann.id, 2, 0, [Tile(bob.id, "screen", 720, pinned=True)]),
        ("choose", "blue", ann.id, None, 8192, []),
    ]


def test_the_speaker_is_told_once_and_is_in_snapshots() -> None:
    world, ann, bob = pair()
    for _ in range(2):
        world.reports(SfuSpeaker("blue", bob.id))
    assert [frame.get("peer") for frame in ann.drain()] == [bob.id]
    assert ann.join(mode="auto")["room"]["speaker"] == bob.id
    world.reports(SfuSpeaker("blue", None))
    assert ann.drain() == [{"t": "speaker", "seq": ann.seq}]
    world.reports(SfuSpeaker("blue", bob.id))
    bob.say("bye")
    assert "speaker" not in ann.join(mode="auto")["room"]


def test_a_speaker_without_a_socket_is_told_only_the_last_one() -> None:
    world, ann, bob = pair()
    ann.cut()
    for peer in (ann.id, bob.id, ann.id, bob.id):
        world.reports(SfuSpeaker("blue", peer))
    ann.open()
    ann.resume()
    assert [frame["peer"] for frame in ann.drain() if frame["t"] == "speaker"] == [bob.id]


def test_layers_are_told_whole_and_again_to_who_comes_back() -> None:
    world, ann, bob = pair()
    world.reports(SfuLayers("blue", ann.id, "camera", ("l",)))
    world.reports(SfuLayers("blue", ann.id, "screen", ()))
    both = [{"what": "camera", "rids": ["l"]}, {"what": "screen", "rids": []}]
    assert [frame["list"] for frame in ann.drain()] == [both[:1], both]
    ann.cut()
    ann.open()
    ann.resume()
    assert [frame["list"] for frame in ann.drain() if frame["t"] == "layers"] == [both]
    assert "layers" not in bob.types()


def test_a_connection_that_fails_is_in_the_log() -> None:
    world, ann, _ = pair()
    world.reports(SfuConnected("blue", ann.id, "publish"))
    world.reports(SfuFailed("blue", ann.id, "publish", "DTLS: handshake failed"))
    assert [fact for fact in world.facts if isinstance(fact, MediaLost)] == [
        MediaLost("blue", ann.id, "DTLS: handshake failed")
    ]


def test_a_host_mutes_at_the_server_until_the_participant_turns_it_on() -> None:
    world, ann, bob = pair(ann={"role": "host", "subject": "ann"}, bob={"subject": "bob"})
    bob.say("update", media={"a": 1, "v": 1, "s": 1})
    ann.drain()
    assert ann.ask("mod", op="mute", to=bob.id, value="screen")["t"] == "ok"
    assert world.media.take() == [
        ("mute", "blue", bob.id, "screen", True),
        ("mute", "blue", bob.id, "screen_audio", True),
    ]
    assert [frame["media"] for frame in ann.drain()] == [{"a": 1, "v": 1, "s": 0}]
    assert [frame["what"] for frame in bob.drain()] == ["screen"]
    ann.say("mod", op="mute")
    assert world.media.take() == [("mute", "blue", bob.id, "audio", True)]
    world.reports(SfuGone("blue", 1, "killed"))
    asked = world.media.take()
    assert {each[3] for each in asked if each[0] == "mute"} == {"audio", "screen", "screen_audio"}
    bob.say("update", media={"a": 1, "v": 1, "s": 0})
    assert world.media.take() == [("mute", "blue", bob.id, "audio", False)]


def test_in_a_mesh_a_host_can_only_ask() -> None:
    world = World(sfu={}, grants={"ann": {"role": "host", "subject": "ann"}, "bob": {"subject": "bob"}})
    (ann,) = world.enter("ann", token="ann", join={"mode": "auto"})
    (bob,) = world.enter("bob", token="bob", join={"mode": "auto", "media": {"a": 1}})
    ann.drain()
    assert ann.ask("mod", op="mute", value="audio")["t"] == "ok"
    assert [frame["t"] for frame in bob.drain()] == ["mute"]
    assert (world.media.take(), ann.drain()) == ([], [])
