"""Calls between real browsers behind real NATs: the page as people use it, and what the server says of the paths."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.net import scripts
from tests.net.browsers import SMALL, TONES, Participant
from tests.net.lab import Firewall, Nat
from tests.net.robot import Robot
from tests.net.stage import Cast, Stage
from tests.support.mesh import Member, flows

pytestmark = pytest.mark.browser

TONE = 997
"""Hertz: what the Python client says."""
ARTIFACTS = Path(__file__).resolve().parents[2] / "artifacts"


def pair_of(room: Mapping[str, Any], *people: Participant) -> dict[str, Any]:
    """What the server's table says of two people."""
    wanted = {each.id for each in people}
    (found,) = (pair for pair in room["pairs"] if {pair["a"], pair["b"]} == wanted)
    pair: dict[str, Any] = found
    return pair


def relayed_pairs(room: Mapping[str, Any]) -> int:
    """How many pairs the server knows to go through its relays."""
    return sum(pair["path"] == "relay" for pair in room["pairs"])


def see_and_hear(ann: Participant, bob: Participant) -> None:
    """Decoded pictures grow at both ends, and each end hears the other's tone."""
    for one, other, tone in ((ann, bob, TONES[1]), (bob, ann, TONES[0])):
        one.see(other.id)
        one.hear(other.id, tone)


@pytest.mark.parametrize(
    ("nat", "firewall", "path", "transport"),
    [
        (Nat.SYMMETRIC, Firewall.OPEN, "relay", "udp"),
        (Nat.PORT_PRESERVING, Firewall.OPEN, "direct", None),
        (Nat.SYMMETRIC, Firewall.NO_UDP, "relay", "tcp"),
        (Nat.SYMMETRIC, Firewall.ONLY_443, "relay", "tls"),
    ],
    ids=["symmetric", "port-preserving", "udp-blocked", "only-443"],
)
def test_a_call_behind_two_nats(
    stage: Stage, cast: Cast, nat: Nat, firewall: Firewall, path: str, transport: str | None
) -> None:
    """RFC 8445, RFC 8656: two people join by the button, see and hear each other; page and server name one path."""
    stage.arrange(nat, firewall)
    room = f"call-{nat}-{firewall}"
    ann, bob = cast.pair(room)
    see_and_hear(ann, bob)
    for one, other in ((ann, bob), (bob, ann)):
        one.take(path, other.id)

    # A call may begin on another path; and of a direct one the server only knows what pages report now and then.
    def shown() -> dict[str, Any]:
        return pair_of(stage.room(room), ann, bob)

    def settled() -> bool:
        pair = shown()
        return pair["path"] == path and (path == "direct" or pair["proto"] == transport)

    ann.until(settled, lambda: f"the server says {path} over {transport}, and not {shown()}")
    pair = shown()
    assert pair["seen_by"] == ("server" if path == "relay" else "clients")
    if path == "relay":
        assert min(pair["bytes"].values()) > 0


def test_four_people_and_a_fifth(stage: Stage, cast: Cast) -> None:
    """The cap of the room: four are connected, each pair of them; the fifth is told so, and disturbs nobody."""
    stage.arrange(Nat.SYMMETRIC)
    people = [cast(place, name, size=SMALL) for name, place in (("Ann", 0), ("Bob", 1), ("Cal", 0), ("Dan", 1))]
    for each in people:
        each.join("four")
    for each in people:
        assert sorted(each.meet(3)) == sorted(other.id for other in people if other is not each)
    for each in people:
        for peer in each.peers():
            each.see(peer)
    # Those at one browser meet directly, those at two by way of the relay.
    people[0].until(lambda: relayed_pairs(stage.room("four")) == 4, lambda: "the server knows four relayed pairs")
    pairs = {frozenset((pair["a"], pair["b"])): pair for pair in stage.room("four")["pairs"]}
    assert len(pairs) == 6
    for one, other in ((0, 1), (0, 3), (2, 1), (2, 3)):
        people[one].take("relay", people[other].id)
        assert pairs[frozenset((people[one].id, people[other].id))]["path"] == "relay"
    people[0].picture(ARTIFACTS / "net-four-people.png")

    eve = cast(0, "Eve")
    eve.join("four")
    page = eve.page.get_by_test_id("error-page")
    page.wait_for()
    assert page.get_attribute("data-code") == "room_full"
    assert "full" in page.inner_text()
    eve.picture(ARTIFACTS / "net-room-full.png")
    assert len(stage.room("four")["peers"]) == 4
    for each in people:
        assert len(each.meet(3)) == 3


def test_chromium_and_aiortc(stage: Stage, cast: Cast) -> None:
    """Two implementations of WebRTC, each behind its own symmetric NAT: media and data both ways through the relay."""
    stage.arrange(Nat.SYMMETRIC)
    ann = cast(0)
    ann.join("robot")
    ann.wait("() => meshturn.mesh.you?.id", what="Ann is in")
    with Robot(stage.hosts[1], "robot") as robot:
        (peer,) = ann.meet(1)
        ann.see(peer)
        ann.hear(peer, TONE)
        ann.take("relay", peer)

        async def watch(member: Member) -> float:
            """Wait for sound and picture from Chromium; how much of the sound is its tone."""
            await member.until(flows(member))
            await member.until(lambda: member.pairs[0].received.tone > 0.5)
            return member.pairs[0].received.tone

        watched = robot.ask(watch)
        ann.until(watched.done, lambda: "the robot sees and hears")
        assert watched.result() > 0.5

        ann.ask(scripts.LISTEN_FOR_DATA, peer)
        assert ann.ask("(peer) => meshturn.mesh.peers.get(peer).send('from Chromium')", peer)

        async def answer(member: Member) -> list[str | bytes]:
            await member.until(lambda: bool(member.data()))
            member.mesh.broadcast("from Python")
            return member.data()

        answered = robot.ask(answer)
        ann.until(answered.done, lambda: "data reaches the robot")
        assert answered.result() == ["from Chromium"]
        assert ann.wait("() => testData.length && testData", what="data comes from the robot") == ["from Python"]

        async def path(member: Member) -> str:
            await member.until(lambda: {path.path for path in member.mesh.server_paths.values()} == {"relay"})
            (report,) = await member.mesh.reports()
            return report.path

        told = robot.ask(path)
        ann.until(told.done, lambda: "the robot is told its path")
        assert told.result() == "relay"
        (pair,) = stage.room("robot")["pairs"]
        assert (pair["path"], pair["seen_by"]) == ("relay", "server")
