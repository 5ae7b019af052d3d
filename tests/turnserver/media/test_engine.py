"""The engine: from descriptions and datagrams of participants to those of others, in memory."""

import pytest

from stun.address import Address
from tests.support.sfu_world import ENGINE, PICTURE, EngineWorld
from turnserver.media.engine import MOST_PEERS, MOST_ROOMS, MediaEngine
from turnserver.media.facts import (
    LayersWanted,
    OfferReady,
    RoomLost,
    SideConnected,
    SideFailed,
)
from turnserver.media.room import MediaRoom
from turnserver.media.router import Wish
from turnserver.media.sdp import read_description


def test_three_people_hear_and_see_each_other() -> None:
    world = EngineWorld()
    people = world.join("ann", "bob", "cid")
    world.wait(1.0)
    for person in people:
        assert person.subscribe is not None
        assert len(person.got(111)) == 2
        assert len({each[8:12] for each in person.kept if each[1] & 0x7F == 96}) == 2
    connected = [fact for fact in world.facts if isinstance(fact, SideConnected)]
    assert {(fact.peer, fact.side) for fact in connected} == {
        (name, side) for name in ("ann", "bob", "cid") for side in ("publish", "subscribe")
    }
    assert world.strays == 0


def test_an_answer_names_where_the_engine_is_and_an_offer_who_sends_what() -> None:
    world = EngineWorld()
    world.join("ann")
    world.engine.join("r", "bob", "Bob", now=world.now)
    offer = next(fact for fact in world.facts if isinstance(fact, OfferReady))
    assert (offer.room, offer.peer) == ("r", "bob")
    assert f"{ENGINE.host} {ENGINE.port} typ host" in offer.sdp
    assert [(each.kind, each.stream_id) for each in read_description(offer.sdp).media] == [
        ("audio", "ann"),
        ("video", "ann"),
    ]


def test_a_fault_in_one_room_is_not_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is raised once for each time, and both rooms go on."""
    world = EngineWorld()
    for room in ("a", "b", "c"):
        world.engine.open(room, 1, now=world.now)
    ticks: list[str] = []
    tick = MediaRoom.tick

    def counted(room: MediaRoom, now: float) -> None:
        ticks.append(room.name)
        tick(room, now)
        if room.name == "b":
            raise ValueError("a fault of this room")

    monkeypatch.setattr(MediaRoom, "tick", counted)
    for _ in range(2):
        ticks.clear()
        world.now += 1.0
        with pytest.raises(ValueError, match="a fault of this room"):
            world.engine.expire(world.now)
        assert sorted(ticks) == ["a", "b", "c", "r"]


def test_nobody_is_offered_anything_before_somebody_publishes() -> None:
    world = EngineWorld()
    world.engine.join("r", "ann", "Ann", now=world.now)
    world.engine.join("r", "bob", "Bob", now=world.now)
    assert world.facts == []


def test_whoever_is_removed_is_gone_at_once() -> None:
    world = EngineWorld()
    ann, bob = world.join("ann", "bob")
    world.wait(0.5)
    bob.got(96)
    world.engine.leave("r", "ann", now=world.now)
    world.settle()
    assert ann.publish is not None
    publish, ann.publish = ann.publish, None
    for packet in ann.encoder.frame(key=True):
        publish.put(publish.protected(packet), world.now)
    world.wait(0.5)
    assert bob.got(96) == set()
    assert bob.got(111) == set()
    assert bob.offers == 2, "it was told that what it saw has ended"
    assert [peer.peer for room in world.engine.rooms(world.now) for peer in room.peers] == ["bob"]


@pytest.mark.parametrize("ends", ["leave", "mute"])
def test_what_waits_for_its_turn_ends_with_its_publisher_or_its_permission(ends: str) -> None:
    """Nothing of a burst that a slow receiver has not got yet is sent to it later."""
    world = EngineWorld()
    ann, bob = world.join("ann", "bob")
    world.wait(0.5)
    assert ann.publish is not None
    world.now += 0.02
    for packet in ann.encoder.frame(key=True, packets=100, size=1000):
        ann.publish.put(ann.publish.protected(packet), world.now)
    world.exchange()
    bob.got(96)
    assert len([each for each in bob.kept if each[1] & 0x7F == 96]) < 100
    if ends == "leave":
        world.engine.leave("r", "ann", now=world.now)
    else:
        world.engine.mute("r", "ann", "camera", True, now=world.now)
    publish, ann.publish = ann.publish, None
    assert publish is not None
    world.wait(1.0)
    assert bob.got(96) == set()


def test_who_finds_no_place_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    world = EngineWorld()
    world.join("ann", "bob")
    world.facts.clear()
    monkeypatch.setattr("turnserver.media.demux.MOST_CONNECTIONS", 4)
    world.engine.join("r", "cid", "Cid", now=world.now)
    ann = world.people["ann"]
    world.engine.offer("r", "cid", "p1", ann.description([PICTURE]), {}, now=world.now)
    assert world.facts
    assert {(fact.peer, fact.why) for fact in world.facts if isinstance(fact, SideFailed)} == {
        ("cid", "the server has too many connections")
    }
    assert not [fact for fact in world.facts if not isinstance(fact, SideFailed)]
    world.wait(0.5)
    assert ann.got(96), "and nobody else has lost anything"


def test_what_is_sent_by_itself_is_sent_at_its_time() -> None:
    """The pacing of a room's own packets, and handshakes that a description begins, go by the present time."""
    world = EngineWorld()
    world.join("ann", "bob")
    world.now += 5.0
    world.engine.expire(world.now)
    assert world.engine.wire.now == world.now
    world.now += 5.0
    ann = world.people["ann"]
    world.engine.offer("r", "ann", "p1", ann.description([PICTURE]), {}, now=world.now)
    assert world.engine.wire.now == world.now
    offer = next(fact for fact in world.facts if isinstance(fact, OfferReady))
    world.now += 5.0
    world.people["bob"].answer(offer)
    assert world.engine.wire.now == world.now


def test_rooms_are_apart() -> None:
    world = EngineWorld()
    world.engine.open("q", 1, now=world.now)
    world.join("ann", "bob")
    cid, dan = world.join("cid", "dan", room="q")
    world.wait(0.5)
    assert [len(person.got(111)) for person in (cid, dan)] == [1, 1]
    world.engine.close("r", now=world.now)
    world.wait(0.3, silent=("ann", "bob"))
    assert len(cid.got(111)) == 1
    assert [room.room for room in world.engine.rooms(world.now)] == ["q"]


def test_a_participant_that_is_offered_media_again_goes_on() -> None:
    world = EngineWorld()
    ann, bob = world.join("ann", "bob")
    world.wait(0.5)
    world.engine.reset("r", "bob", now=world.now)
    world.settle()
    bob.got(96)
    world.wait(0.8)
    assert len(bob.got(96)) == 1
    assert ann.got(96)


def test_a_new_publish_connection_takes_the_place_of_the_one_before() -> None:
    world = EngineWorld()
    ann, bob = world.join("ann", "bob")
    world.wait(0.5)
    before = bob.got(96)
    sdp = ann.description([])
    world.engine.offer("r", "ann", "p2", sdp, {}, now=world.now)
    assert world.facts[-1] == SideFailed("r", "ann", "publish", "its offer cannot be used: no media section"), (
        "and what it has stays"
    )
    ann.join()
    world.wait(0.5)
    assert bob.got(96) == before


def test_descriptions_that_cannot_be_used_are_reported() -> None:
    world = EngineWorld()
    world.join("ann", "bob")
    world.facts.clear()
    world.engine.offer("r", "ann", "p9", "v=0\r\nnonsense", {}, now=world.now)
    (fact,) = world.facts
    assert isinstance(fact, SideFailed)
    assert (fact.peer, fact.side) == ("ann", "publish")
    world.facts.clear()
    name = next(iter(world.engine.rooms(world.now))).room
    assert name == "r"
    world.engine.answer("r", "bob", "s-unknown", "nonsense", now=world.now)
    assert world.facts == [], "an answer for a connection that is gone is late"


def test_calls_about_what_is_gone_change_nothing() -> None:
    world = EngineWorld()
    world.join("ann")
    world.facts.clear()
    engine: MediaEngine = world.engine
    for room, peer in (("r", "nobody"), ("nowhere", "ann")):
        engine.offer(room, peer, "p", "v=0", {}, now=world.now)
        engine.answer(room, peer, "p", "v=0", now=world.now)
        engine.reset(room, peer, now=world.now)
        engine.choose(room, peer, 1, 1, (), now=world.now)
        engine.mute(room, peer, "audio", True, now=world.now)
        engine.leave(room, peer, now=world.now)
    engine.join("nowhere", "ann", "Ann", now=world.now)
    engine.close("nowhere", now=world.now)
    assert world.facts == []


def test_what_is_chosen_is_sent() -> None:
    world = EngineWorld()
    ann, bob, cid = world.join("ann", "bob", "cid")
    world.engine.choose("r", "bob", 0, 360, [Wish("cid", 180, pinned=True)], now=world.now)
    world.wait(0.5)
    bob.got(96)
    world.wait(0.5)
    assert len(bob.got(96)) == 1
    world.engine.choose("r", "ann", 0, 0, (), now=world.now)
    world.engine.choose("r", "cid", 0, 0, (), now=world.now)
    world.wait(2.5)
    assert LayersWanted("r", "ann", "camera", ()) in world.facts
    assert LayersWanted("r", "cid", "camera", ()) not in world.facts
    world.engine.mute("r", "cid", "camera", True, now=world.now)
    bob.got(96)
    world.wait(0.5)
    assert bob.got(96) == set()
    assert ann.got(111)
    assert cid.got(111)


def test_a_connection_without_consent_is_lost_and_the_others_go_on() -> None:
    """RFC 7675: whoever does not check any more gets nothing."""
    world = EngineWorld()
    ann, bob = world.join("ann", "bob")
    world.wait(0.2)
    world.now += 60
    world.engine.expire(world.now)
    failed = [fact for fact in world.facts if isinstance(fact, SideFailed)]
    assert {(fact.peer, fact.side) for fact in failed} >= {("ann", "publish"), ("bob", "publish")}
    assert all(room.peers for room in world.engine.rooms(world.now))
    ann.publish = bob.publish = None


def test_strangers_reach_nothing() -> None:
    world = EngineWorld()
    ann, bob = world.join("ann", "bob")
    world.wait(0.3)
    bob.got(96)
    stranger = Address.parse("203.0.113.9", 9)
    assert ann.publish is not None
    check = ann.publish.check(pwd="x" * 24)
    datagrams = [check, bytes(ann.encoder.frame(key=True)[0]), b"\x16\xfe\xfd" + bytes(60), b"", bytes(2000)]
    for datagram in datagrams:
        world.engine.receive(bytearray(datagram), len(datagram), stranger, world.now)
    (refusal,) = [data for data, to in world.engine.wire.take() if to == stranger]
    assert len(refusal) <= len(check)
    assert bob.got(96) == set()


def test_a_room_begins_afresh_with_another_epoch() -> None:
    world = EngineWorld()
    world.join("ann", "bob")
    world.engine.open("r", 1, now=world.now)
    assert [len(room.peers) for room in world.engine.rooms(world.now)] == [2]
    world.engine.open("r", 2, now=world.now)
    assert [(room.epoch, len(room.peers)) for room in world.engine.rooms(world.now)] == [(2, 0)]


def test_rooms_and_people_are_bounded() -> None:
    world = EngineWorld()
    for number in range(MOST_ROOMS + 1):
        world.engine.open(f"room{number}", 1, now=world.now)
    lost = [fact for fact in world.facts if isinstance(fact, RoomLost)]
    assert [fact.room for fact in lost] == [f"room{MOST_ROOMS - 1}", f"room{MOST_ROOMS}"]
    for number in range(2 * MOST_PEERS):
        world.engine.join("r", f"peer{number}", "", now=world.now)
    assert len(world.engine.rooms(world.now)[0].peers) == MOST_PEERS


def test_the_end_of_a_room_leaves_no_deadline() -> None:
    world = EngineWorld()
    world.join("ann", "bob")
    world.wait(0.2)
    world.engine.close("r", now=world.now)
    assert world.engine.deadline is None
    assert world.engine.rooms(world.now) == []
