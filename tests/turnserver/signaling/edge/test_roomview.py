"""What an administrator is shown of a room."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from stun.address import Address
from turnserver.signaling.edge.roomview import room_json, summary_json
from turnserver.signaling.protocol.client_messages import Stat
from turnserver.signaling.protocol.fields import Media
from turnserver.signaling.rooms.views import PeerView, RoomView
from turnserver.signaling.truth.relays import NoRelays, PairPath, RefusalFact, UserFacts

RELAYED = Address.parse("198.51.100.7", 50000)


class Relays(NoRelays):
    """One relayed pair, the first two participants."""

    def pair(self, a: str, b: str) -> PairPath:
        if {a, b} != {"hash.ann", "hash.bob"}:
            return PairPath()
        forth = PairPath("relay", "tls", "a", 1000, 2000, (RELAYED,))
        return forth if a == "hash.ann" else forth._replace(by="b", bytes_ab=2000, bytes_ba=1000)

    def facts(self, user_id: str) -> UserFacts:
        if user_id != "hash.ann":
            return UserFacts()
        proven = RefusalFact(486, "quota", "udp", 3, 1_700_000_000.0, True)
        return UserFacts(
            heard=True, live=1, protos=("tls",), relayed=(RELAYED,), refusals=(proven, proven._replace(proven=False))
        )


def peer(name: str, **stats: Stat) -> PeerView:
    return PeerView(name, f"hash.{name}", name.title(), "member", 1_700_000_000.0, True, Media(a=1, v=0, s=0), stats)


def room(*peers: PeerView) -> RoomView:
    return RoomView("demo", 1_700_000_000.0, False, False, 4, "mesh", peers, 0)


def pairs(*peers: PeerView) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = room_json(room(*peers), Relays())["pairs"]
    return found


def test_a_room_in_short() -> None:
    assert summary_json(room(peer("ann"), peer("bob"))) == {
        "id": "demo",
        "created": 1_700_000_000.0,
        "count": 2,
        "max": 4,
        "mode": "mesh",
        "locked": False,
        "knock": False,
        "waiting": 0,
        "recorded": None,
    }


def test_a_participant() -> None:
    (shown,) = room_json(room(peer("ann")), Relays())["peers"]
    assert shown == {
        "id": "ann",
        "name": "Ann",
        "role": "member",
        "joined": 1_700_000_000.0,
        "connected": True,
        "media": {"a": 1, "v": 0, "s": 0},
        "turn": {
            "user": "hash.ann",
            "allocations": 1,
            "protos": ["tls"],
            "relayed": ["198.51.100.7:50000"],
            "bytes_up": 0,
            "bytes_down": 0,
            "refused": [{"code": 486, "reason": "quota", "proto": "udp", "times": 3, "at": 1_700_000_000.0}],
        },
    }, "a refusal that anybody could have provoked is not shown as the participant's"


def test_every_pair_is_there_once() -> None:
    found = pairs(peer("ann"), peer("bob"), peer("cat"), peer("dan"))
    assert [(pair["a"], pair["b"]) for pair in found] == [
        ("ann", "bob"), ("ann", "cat"), ("ann", "dan"), ("bob", "cat"), ("bob", "dan"), ("cat", "dan"),
    ]  # fmt: skip


def test_a_pair_that_is_relayed() -> None:
    (found,) = pairs(peer("bob"), peer("ann", bob=Stat(to="bob", path="relay", proto="tls", rtt=40, fps=15)))
    report = {"path": "relay", "proto": "tls", "rtt": 40, "rx": None, "tx": None, "loss": None, "fps": 15, "w": None}
    assert found == {
        "a": "bob",
        "b": "ann",
        "path": "relay",
        "proto": "tls",
        "seen_by": "server",
        "relay_of": "b",
        "bytes": {"a_to_b": 2000, "b_to_a": 1000},
        "relayed": ["198.51.100.7:50000"],
        "candidates": {"a": [], "b": []},
        "reports": {"a": None, "b": report},
    }


def test_the_types_of_candidates_that_each_end_has_sent() -> None:
    ann, bob = peer("ann"), peer("bob")
    (found,) = pairs(replace(ann, candidates={"bob": ["host", "relay"]}), replace(bob, candidates={"cat": ["host"]}))
    assert found["candidates"] == {"a": ["host", "relay"], "b": []}


def test_what_the_sfu_says_is_passed_on() -> None:
    assert room_json(room(), Relays())["media"] is None
    assert room_json(room(), Relays(), {"epoch": 1})["media"] == {"epoch": 1}


def test_the_documentation_shows_what_there_is() -> None:
    page = (Path(__file__).resolve().parents[4] / "docs" / "api.md").read_text(encoding="utf-8")
    (example,) = [block for block in re.findall(r"```json\n(.*?)```", page, re.DOTALL) if '"pairs"' in block]
    told = json.loads(example)
    stat = Stat(to="bob", path="relay", proto="tls", rtt=41, rx=90, tx=120, loss=0, fps=15, w=640)
    shown = room_json(room(peer("ann", bob=stat), peer("bob")), Relays())
    assert told.keys() == shown.keys()
    for told_one, shown_one in ((told["peers"][0], shown["peers"][0]), (told["pairs"][0], shown["pairs"][0])):
        assert told_one.keys() == shown_one.keys()
    assert told["peers"][0]["turn"].keys() == shown["peers"][0]["turn"].keys()
    assert told["pairs"][0]["reports"]["a"].keys() == shown["pairs"][0]["reports"]["a"].keys()


def test_what_only_the_clients_know() -> None:
    """A direct path, or a relay that is not ours."""
    direct = Stat(to="x", path="direct")
    (found,) = pairs(peer("cat", dan=direct), peer("dan", cat=direct))
    assert (found["path"], found["seen_by"], found["proto"]) == ("direct", "clients", None)
    (found,) = pairs(peer("cat", dan=direct), peer("dan", cat=Stat(to="cat", path="relay", proto="udp")))
    assert (found["path"], found["seen_by"]) == ("relay", "clients")
    (found,) = pairs(peer("cat"), peer("dan"))
    assert (found["path"], found["seen_by"]) == ("unknown", None)
