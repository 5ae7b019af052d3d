"""Participants and strangers who want of the SFU what is not theirs: nothing is forwarded, and memory is bounded."""

import tracemalloc
from dataclasses import replace

import pytest

from stun.address import Address
from tests.support.media_peer import identity
from tests.support.media_world import Encoder, voice
from tests.support.sfu_world import PICTURE, EngineWorld
from turnserver.media.facts import SideConnected, SideFailed
from turnserver.media.publisher import MOST_ROUTES
from turnserver.media.router import Wish
from turnserver.media.rtcp import Nack, Pli, write

STRANGER = Address.parse("203.0.113.66", 6666)


def received(world: EngineWorld, name: str) -> int:
    """How much somebody has got since the last time."""
    person = world.people[name]
    person.got(0)
    return len(person.kept)


def test_a_certificate_that_is_not_that_of_the_description() -> None:
    """Nothing of it is forwarded, and the others go on."""
    world = EngineWorld()
    world.join("ann", "bob")
    eve = world.people["eve"] = type(world.people["ann"])(world, "r", "eve", 9)
    world.engine.join("r", "eve", "eve", now=world.now)
    text = eve.description([PICTURE]).replace(str(identity("client").fingerprint), str(identity("other").fingerprint))
    world.engine.offer("r", "eve", "p1", text, {}, now=world.now)
    world.settle()
    world.wait(0.5, silent=("eve",))
    failed = [fact for fact in world.facts if isinstance(fact, SideFailed)]
    assert ("eve", "publish") in {(fact.peer, fact.side) for fact in failed}
    assert ("eve", "publish") not in {(fact.peer, fact.side) for fact in world.facts if isinstance(fact, SideConnected)}
    assert received(world, "bob") > 0
    (room,) = world.engine.rooms(world.now)
    assert not next(peer for peer in room.peers if peer.peer == "eve").publishing


def test_genuine_packets_from_elsewhere_are_nobodys() -> None:
    """A stranger has overheard them, or a participant's address is forged; so are its checks with a wrong name."""
    world = EngineWorld()
    ann, _ = world.join("ann", "bob")
    world.wait(0.5)
    assert ann.publish is not None
    received(world, "bob")
    for number in range(50):
        packet = ann.publish.protected(voice(1000 + number, level_id=13))
        world.engine.receive(bytearray(packet), len(packet), STRANGER, world.now)
    check = bytearray(ann.publish.check(nominate=True))
    ufrag = bytes(check).find(ann.publish.server.local.ufrag.encode())
    check[ufrag] ^= 1
    world.engine.receive(check, len(check), STRANGER, world.now)
    world.exchange()
    assert world.strays == 0, "nobody is answered who knows no name"
    assert received(world, "bob") == 0


def test_somebody_elses_ssrc_is_ones_own() -> None:
    """Everybody here sends under the same SSRCs: what tells them apart is the connection."""
    world = EngineWorld()
    ann, bob, _ = world.join("ann", "bob", "cid")
    world.wait(0.5)
    (room,) = world.engine.rooms(world.now)
    before = {peer.peer: [layer.packets for track in peer.tracks for layer in track.layers] for peer in room.peers}
    assert ann.encoder.ssrc == bob.encoder.ssrc
    world.now += 0.02
    bob.speak()
    bob.show()
    (room,) = world.engine.rooms(world.now)
    after = {peer.peer: [layer.packets for track in peer.tracks for layer in track.layers] for peer in room.peers}
    assert after["ann"] == before["ann"]
    assert after["bob"] == [count + 1 for count in before["bob"]]


def test_a_publisher_of_ever_new_streams_takes_little_memory() -> None:
    """Full-size packets under more SSRCs than are told apart, with the receivers' requests for all of them."""
    world = EngineWorld()
    ann, bob = world.join("ann", "bob")
    world.engine.offer("r", "ann", "p1", ann.description([replace(PICTURE, streams=())]), {}, now=world.now)
    world.settle()
    world.wait(0.3, silent=("ann",))
    assert ann.publish is not None
    tracemalloc.start()
    try:
        begun, _ = tracemalloc.get_traced_memory()
        for ssrc in range(5000, 5000 + 2 * MOST_ROUTES):
            encoder = Encoder(ssrc)
            encoder.extensions = {12: bytes(3)}
            for packet in encoder.frame(key=True, packets=200, size=1100):
                ann.publish.put(ann.publish.protected(packet), world.now)
            world.wait(0.04, silent=("ann", "bob"))
            bob.got(0)
        used = tracemalloc.get_traced_memory()[0] - begun
    finally:
        tracemalloc.stop()
    assert used < 4_000_000


def test_requests_without_end_have_an_end() -> None:
    """Ten seconds of NACKs, requests for keyframes and choices: the work is bounded, so is what the publisher does."""
    world = EngineWorld()
    ann, bob = world.join("ann", "bob")
    world.wait(0.5)
    assert bob.subscribe is not None
    assert bob.subscribe.sender is not None
    (ssrc,) = bob.got(96)
    numbers = tuple(int.from_bytes(each[2:4], "big") for each in bob.kept if each[1] & 0x7F == 96)
    repeated = keyframes = 0
    for _ in range(100):
        for _ in range(10):
            compound = bob.subscribe.sender.protect_rtcp(write([Nack(1, ssrc, numbers * 20)] * 3 + [Pli(1, ssrc)] * 10))
            assert compound is not None
            bob.subscribe.put(compound, world.now)
        world.engine.choose("r", "bob", None, 360, [Wish("ann", 180 + len(numbers) % 2)], now=world.now)
        world.wait(0.1, silent=("ann",))
        keyframes += ann.asked()
        ann.show(key=True)
        bob.got(97)
        repeated += sum(each[1] & 0x7F == 97 for each in bob.kept)
    assert 0 < repeated < 10 * 1000
    assert keyframes <= 7


@pytest.mark.parametrize("end", ["leave", "mute"])
def test_a_kick_ends_media_at_once(end: str) -> None:
    world = EngineWorld()
    ann, _ = world.join("ann", "bob")
    world.wait(0.5)
    received(world, "bob")
    if end == "leave":
        world.engine.leave("r", "ann", now=world.now)
    else:
        for source in ("audio", "camera"):
            world.engine.mute("r", "ann", source, True, now=world.now)  # type: ignore[arg-type]
    assert ann.publish is not None
    publish, ann.publish = ann.publish, None
    for number in range(5000, 5100):
        publish.put(publish.protected(voice(number, level_id=13)), world.now)
        world.wait(0.02)
    assert received(world, "bob") == 0
