"""A room: who gets whose packets, who speaks, and what publishers are asked for."""

from typing import Any

import pytest

from tests.support.media_world import Encoder, Sink, entropy, header_of, voice
from tests.turnserver.media.test_publisher import IDS, audio, video
from turnserver.media.facts import LayersWanted, MediaFact, SpeakerChanged
from turnserver.media.negotiation import ABS_SEND_TIME, AUDIO_LEVEL, SubscribedMedia
from turnserver.media.publisher import Publisher
from turnserver.media.room import TICK, MediaPeer, MediaRoom
from turnserver.media.router import ReceiverConstraints
from turnserver.media.rtcp import Nack, Pli, SenderReport, SourceDescription
from turnserver.media.sdp import RtpStream
from turnserver.media.subscriber import Subscriber


class Call:
    """A room with people who publish sound and a picture each, and receive those of the others."""

    def __init__(self, *names: str) -> None:
        self.now = 100.0
        self.facts: list[MediaFact] = []
        self.room = MediaRoom("r", 1, self.now, self.facts.append)
        self.people: dict[str, MediaPeer] = {}
        self.encoders: dict[str, Encoder] = {}
        self.voices = dict.fromkeys(names, 0)
        self.up: dict[str, Sink] = {}
        self.down: dict[str, Sink] = {}
        for name in names:
            self.join(name)

    def join(self, name: str) -> None:
        """Somebody joins, publishes and subscribes."""
        number = len(self.people)
        self.voices.setdefault(name, 0)
        peer = self.people[name] = self.room.peers[name] = MediaPeer(name, name)
        self.up[name], self.down[name] = Sink(), Sink()
        peer.publisher, peer.uplink = Publisher(name, self.now), self.up[name]
        subscriber = Subscriber(name, self.down[name], entropy)
        self.room.subscribe(peer, subscriber)
        subscriber.connect(self.now - 1)
        encoder = self.encoders[name] = Encoder(600 + 10 * number)
        encoder.extensions = {IDS[ABS_SEND_TIME]: bytes(3)}
        sections = [
            audio(streams=(RtpStream(500 + 10 * number),)),
            video(streams=(RtpStream(encoder.ssrc, encoder.ssrc + 1),)),
        ]
        self.room.publish(peer, *peer.publisher.describe(sections, {}, self.now))
        self.answer()

    def answer(self) -> None:
        """Everybody answers what it is offered."""
        for peer in self.room.peers.values():
            if peer.subscriber is not None and peer.subscriber.needs_offer:
                offered = peer.subscriber.offer()
                peer.subscriber.answered([SubscribedMedia(o.mid, o.active, True, {}) for o in offered])

    def give(self, name: str, packets: list[bytearray]) -> None:
        """Packets of somebody arrive."""
        for packet in packets:
            self.room.packet(self.people[name], packet, len(packet), header_of(packet), self.now)

    def say(self, name: str, level: int) -> None:
        """A packet of a voice arrives."""
        self.voices[name] += 1
        packet = voice(
            self.voices[name], 500 + 10 * list(self.people).index(name), level=level, level_id=IDS[AUDIO_LEVEL]
        )
        self.give(name, [packet])

    def wait(self, seconds: float, *, loud: str = "") -> None:
        """Time passes; everybody sends sound and pictures, with keyframes where they are asked for."""
        for tick in range(round(seconds / TICK)):
            self.now += TICK
            for name in list(self.room.peers):
                self.say(name, 20 if name == loud else 127)
                if tick % 3 == 0:
                    asked = any(isinstance(each, Pli) for each in self.up[name].rtcp)
                    self.up[name].rtcp.clear()
                    self.give(name, self.encoders[name].frame(key=asked))
            if self.now >= self.room.due:
                self.room.tick(self.now)

    def heard(self, name: str, kind: int = 111) -> set[int]:
        """The SSRCs with sound, or with pictures, that somebody has been sent since the last time."""
        return {each.header.ssrc for each in self.down[name].take() if each.header.payload_type == kind}


def test_everybody_hears_and_sees_all_others_and_not_themselves() -> None:
    call = Call("a", "b", "c", "d")
    call.wait(1.0)
    for name in call.people:
        got = call.down[name].rtp
        assert len({each.header.ssrc for each in got if each.header.payload_type == 111}) == 3
        assert len({each.header.ssrc for each in got if each.header.payload_type == 96}) == 3
        assert len({each.header.ssrc for each in got}) == 6


def test_whoever_comes_later_sees_the_others_and_whoever_leaves_is_gone() -> None:
    call = Call("a", "b")
    call.wait(0.5)
    call.join("c")
    call.wait(0.5)
    assert len(call.heard("c", 96)) == 2
    call.heard("a")
    call.room.leave(call.people["b"], call.now)
    call.answer()
    call.wait(0.5)
    assert len(call.heard("a", 96)) == 1
    assert set(call.room.peers) == {"a", "c"}


def test_the_one_who_makes_sound_is_told_to_all() -> None:
    call = Call("a", "b", "c")
    call.wait(1.0)
    call.wait(1.0, loud="b")
    assert SpeakerChanged("r", "b") in call.facts
    call.facts.clear()
    call.wait(2.0, loud="c")
    assert [fact for fact in call.facts if isinstance(fact, SpeakerChanged)][-1] == SpeakerChanged("r", "c")
    assert len(call.facts) <= 4


def test_last_n_follows_the_speaker() -> None:
    call = Call("a", "b", "c", "d")
    call.room.choose(call.people["d"], ReceiverConstraints(1))
    call.wait(2.0, loud="b")
    call.heard("d")
    call.wait(1.0, loud="b")
    (first,) = call.heard("d", 96)
    call.wait(3.0, loud="c")
    call.heard("d")
    call.wait(1.0, loud="c")
    (second,) = call.heard("d", 96)
    assert first != second


def test_what_nobody_watches_is_not_asked_for() -> None:
    call = Call("a", "b")
    call.wait(1.0)
    call.room.choose(call.people["b"], ReceiverConstraints(0))
    call.wait(2.5)
    assert call.facts == [LayersWanted("r", "a", "camera", ())]
    call.room.choose(call.people["b"], ReceiverConstraints())
    call.wait(0.5)
    assert call.facts[-1] == LayersWanted("r", "a", "camera", ("",))


def test_the_server_mutes_now_and_later() -> None:
    call = Call("a", "b", "c")
    call.wait(0.5)
    call.room.mute(call.people["a"], "audio", True, call.now)
    call.heard("b")
    call.wait(0.5, loud="a")
    assert len(call.heard("b")) == 1
    assert not [fact for fact in call.facts if isinstance(fact, SpeakerChanged) and fact.peer == "a"]
    call.room.mute(call.people["a"], "audio", False, call.now)
    call.wait(0.5)
    assert len(call.heard("b")) == 2
    call.room.mute(call.people["c"], "camera", True, call.now)
    call.room.unpublish(call.people["c"])
    call.join("c")
    call.people["c"].muted = {"camera"}
    call.room.mute(call.people["c"], "camera", True, call.now)
    call.answer()
    call.heard("b")
    call.wait(0.5)
    assert len(call.heard("b", 96)) == 1


def test_the_speaker_who_leaves_or_is_muted_speaks_no_more() -> None:
    for end in ("leave", "mute"):
        call = Call("a", "b", "c")
        call.wait(2.0, loud="b")
        assert [fact.peer for fact in call.facts if isinstance(fact, SpeakerChanged)] == ["b"]
        if end == "leave":
            call.room.leave(call.people["b"], call.now)
        else:
            call.room.mute(call.people["b"], "audio", True, call.now)
        assert [fact.peer for fact in call.facts if isinstance(fact, SpeakerChanged)] == ["b", None]


def test_choosing_all_the_time_costs_little(monkeypatch: pytest.MonkeyPatch) -> None:
    """It allocates the one who chooses, ten times a second at most, and all others as often as before."""
    counts = dict.fromkeys("abcd", 0)
    allocate = Subscriber.allocate

    def counted(subscriber: Subscriber, *rest: Any) -> None:
        counts[subscriber.peer] += 1
        allocate(subscriber, *rest)

    call = Call("a", "b", "c", "d")
    call.wait(1.0)
    monkeypatch.setattr(Subscriber, "allocate", counted)
    for step in range(80):
        call.room.choose(call.people["d"], ReceiverConstraints(step % 2))
        call.wait(TICK)
    assert {counts[name] for name in "abc"} <= set(range(7, 10))
    assert counts["d"] <= 24
    call.room.choose(call.people["d"], ReceiverConstraints(0))
    call.wait(0.15)
    assert not any(
        forwarder.owner is call.people["d"].subscriber
        for name in "abc"
        for track in call.people[name].tracks
        if track.kind == "video"
        for forwarder in track.targets
    )


def test_lip_sync_survives_the_way_through_the_server() -> None:
    """RFC 3550 §6.4.1, §6.5.1: one canonical name, and timestamps on the publisher's clock."""
    call = Call("a", "b")
    call.wait(0.5)
    for ssrc in (500, 600):
        call.room.reports(call.people["a"], [SenderReport(ssrc, 77 << 32, 1, 1, 1, ())], call.now)
    told = call.down["b"].rtcp
    assert [each.ntp for each in told if isinstance(each, SenderReport)] == [77 << 32, 77 << 32]
    names = [each.names for each in told if isinstance(each, SourceDescription)]
    assert [set(each.values()) for each in names] == [{"a"}, {"a"}]
    assert {each.header.ssrc for each in call.down["b"].rtp} == {ssrc for each in names for ssrc in each}


def test_what_a_receiver_lost_is_sent_again() -> None:
    call = Call("a", "b")
    call.wait(1.0)
    sent = [each for each in call.down["b"].take() if each.header.payload_type == 96]
    lost = sent[-2].header
    call.room.requests(call.people["b"], [Nack(1, lost.ssrc, [lost.sequence])], call.now)
    (again,) = call.down["b"].take()
    assert again.header.payload_type == 97


def test_a_room_without_connections_does_nothing() -> None:
    call = Call("a", "b")
    call.wait(0.5)
    call.room.unsubscribe(call.people["b"])
    call.room.unpublish(call.people["a"])
    call.heard("b")
    call.give("a", call.encoders["a"].frame())
    call.room.reports(call.people["a"], [], call.now)
    call.room.requests(call.people["b"], [], call.now)
    call.room.tick(call.now)
    assert call.heard("b") == set()
    assert not call.room.lacks(call.people["b"])
    assert not call.room.lacks(call.people["a"])


def test_statistics_of_a_room() -> None:
    call = Call("a", "b", "c")
    call.wait(2.0, loud="a")
    view = call.room.view(call.now)
    assert (view.room, view.epoch, view.speaker) == ("r", 1, "a")
    assert view.packets_out > view.packets_in > 100
    assert [peer.peer for peer in view.peers] == ["a", "b", "c"]
    assert [len(peer.tracks) for peer in view.peers] == [2, 2, 2]
    assert [len(peer.forwarded) for peer in view.peers] == [4, 4, 4]
    assert all(peer.publishing and peer.subscribing and peer.sending > 0 for peer in view.peers)
