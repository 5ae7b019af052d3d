"""What a receiver is offered, what it gets of it, and what its reports change."""

from stun.address import Address
from tests.support.media_world import Encoder, Sink, entropy, header_of, sequences, voice
from turnserver.media.codecs import CODECS
from turnserver.media.dtls import Fingerprint
from turnserver.media.facts import TrackSource
from turnserver.media.ice import IceCredentials
from turnserver.media.negotiation import OfferedMedia, SubscribedMedia, offer_to_subscriber
from turnserver.media.repair import BURST, SHARE
from turnserver.media.router import ReceiverConstraints, Wish
from turnserver.media.rtcp import Fir, Nack, Pli, ReceiverReport, Remb, ReportBlock
from turnserver.media.rtp import build_packet
from turnserver.media.sdp import LocalTransport, read_description
from turnserver.media.subscriber import (
    KEYFRAME_INTERVAL,
    KEYFRAMES,
    MOST_REPEATS,
    MOST_SECTIONS,
    REPEATS_PER_SECOND,
    Subscriber,
)
from turnserver.media.track import PublishedTrack
from turnserver.signaling.protocol.fields import MAX_SDP


def track(peer: str = "alice", source: TrackSource = "camera", layers: tuple[str, ...] = ("",)) -> PublishedTrack:
    """What somebody publishes."""
    codec = CODECS["opus" if "audio" in source else "vp8"]
    return PublishedTrack(peer, source, codec, "1", layers=layers, now=0.0)


def agree(subscriber: Subscriber, *, rtx: bool = True, refused: tuple[str, ...] = ()) -> list[OfferedMedia]:
    """The receiver answers the next offer."""
    offered = subscriber.offer()
    subscriber.answered([SubscribedMedia(o.mid, o.active and o.mid not in refused, rtx, {}) for o in offered])
    return offered


def receiver(*tracks: PublishedTrack) -> tuple[Subscriber, Sink]:
    """A receiver whose connection stands, and that has taken these tracks."""
    sink = Sink()
    subscriber = Subscriber("bob", sink, entropy)
    for each in tracks:
        subscriber.add(each)
    agree(subscriber)
    subscriber.connect(-1.0)
    return subscriber, sink


def play(published: PublishedTrack, encoder: Encoder, now: float, *, key: bool = False, rid: str = "") -> None:
    """A frame of a picture arrives and is forwarded."""
    stream = published.stream(encoder.ssrc, rid)
    assert stream is not None
    for packet in encoder.frame(key=key, size=800):
        published.receive(stream, packet, len(packet), header_of(packet), now)


def test_one_offer_at_a_time_and_what_changes_meanwhile_is_in_the_next() -> None:
    subscriber = Subscriber("bob", Sink(), entropy)
    assert not subscriber.needs_offer
    subscriber.add(track())
    assert subscriber.needs_offer
    (first,) = subscriber.offer()
    assert (first.mid, first.encoding, first.stream_id, first.cname, first.active) == (
        "0",
        "vp8",
        "alice",
        "alice",
        True,
    )
    subscriber.add(track("carol", "screen"))
    assert not subscriber.needs_offer
    subscriber.answered([SubscribedMedia("0", True, True, {})])
    assert subscriber.needs_offer
    assert [each.stream_id for each in subscriber.offer()] == ["alice", "carol.screen"]


def test_sections_keep_their_place_and_are_used_again_when_their_end_was_answered() -> None:
    alice, carol, dave = track("alice"), track("carol"), track("dave")
    subscriber, _ = receiver(alice, carol)
    before = subscriber.slots[0].stream
    subscriber.remove(alice)
    subscriber.add(dave)
    assert [(o.mid, o.stream_id, o.active) for o in agree(subscriber)] == [
        ("0", "", False),
        ("1", "carol", True),
        ("2", "dave", True),
    ]
    subscriber.add(track("alice"))
    (again, _, _) = agree(subscriber)
    assert (again.mid, again.stream_id, again.active) == ("0", "alice", True)
    assert again.stream != before, "the receiver would take it for the old stream"


def test_a_track_that_ends_before_the_answer_does_not_begin() -> None:
    alice = track()
    subscriber = Subscriber("bob", Sink(), entropy)
    subscriber.connect(-1.0)
    subscriber.add(alice)
    subscriber.offer()
    subscriber.remove(alice)
    subscriber.answered([SubscribedMedia("0", True, True, {})])
    subscriber.allocate((), 0.0)
    assert alice.targets == {}
    assert subscriber.needs_offer


def test_nothing_is_sent_before_the_connection_stands_or_of_what_was_refused() -> None:
    alice, carol = track(), track("carol", "audio")
    subscriber = Subscriber("bob", Sink(), entropy)
    subscriber.add(alice)
    subscriber.add(carol)
    agree(subscriber, refused=("1",))
    subscriber.allocate((), 0.0)
    assert alice.targets == {}
    subscriber.connect(-1.0)
    subscriber.allocate((), 0.0)
    assert list(alice.targets.values()) == [""]
    assert carol.targets == {}


def test_all_sound_is_sent_and_of_the_pictures_what_is_shown() -> None:
    microphones = [track(peer, "audio") for peer in "abc"]
    cameras = [track(peer) for peer in "abc"]
    subscriber, _ = receiver(*microphones, *cameras)
    subscriber.constraints = ReceiverConstraints(1, 180, [Wish("c", 180, pinned=True)])
    subscriber.allocate(["b", "a"], 0.0)
    assert all(each.targets for each in microphones)
    assert [bool(each.targets) for each in cameras] == [False, True, True]
    subscriber.allocate(["a", "b"], 1.0)
    assert [bool(each.targets) for each in cameras] == [True, False, True]


def test_the_height_of_a_tile_chooses_the_layer() -> None:
    camera, low, high = track(layers=("l", "h")), Encoder(1), Encoder(2, height=360)
    subscriber, _ = receiver(camera)
    for number in range(10):
        play(camera, low, number / 15, key=True, rid="l")
        play(camera, high, number / 15, key=True, rid="h")
    subscriber.constraints = ReceiverConstraints(None, 180)
    subscriber.allocate((), 1.0)
    assert list(camera.targets.values()) == ["l"]
    assert subscriber.invited(camera, camera.qualities(1.0)) == {"l"}
    subscriber.constraints = ReceiverConstraints(None, 300)
    subscriber.allocate((), 1.1)
    assert list(camera.targets.values()) == ["h"]
    assert subscriber.invited(camera, camera.qualities(1.1)) == {"l", "h"}


def test_a_full_downlink_gets_less_and_then_trials_for_more() -> None:
    camera, low, high = track(layers=("l", "h")), Encoder(1), Encoder(2, height=360)
    subscriber, sink = receiver(camera)
    now = 0.0
    for number in range(60):
        now = number / 15
        play(camera, low, now, key=number % 15 == 0, rid="l")
        for _ in range(6):
            play(camera, high, now, key=number % 15 == 0, rid="h")
        for stream in camera.streams.values():
            stream.sample(now)
        if number % 4 == 0:
            subscriber.allocate((), now)
    assert list(camera.targets.values()) == ["h"]
    assert subscriber.sent.bitrate > 400_000
    late = [ReportBlock(slot.stream.ssrc, 0, 0, slot.forwarder.last - 60, 0, 0, 0) for slot in subscriber.slots]
    subscriber.take_reports([ReceiverReport(1, tuple(late)), Remb(1, 300_000, ())], now)
    subscriber.allocate((), now + 0.1)
    assert list(camera.targets.values()) == ["l"]
    assert sink.paced > 700_000
    assert subscriber.padding(now + 0.1) == []
    for tick in range(400):
        now += 0.025
        if tick % 10 == 0:
            play(camera, low, now, rid="l")
            play(camera, high, now, rid="h")
            subscriber.take_reports([Remb(1, 300_000 + tick * 2000, ())], now)
            subscriber.allocate((), now)
        if subscriber.padding(now):
            break
    else:
        raise AssertionError("no trial")
    subscriber.take_reports([Remb(1, 1_500_000, ())], now)
    subscriber.allocate((), now + 0.01)
    assert list(camera.targets.values()) == ["h"]
    assert subscriber.padding(now + 1) == []


def test_what_the_receiver_asks_for() -> None:
    """RFC 4585 §6.2.1, §6.3.1; RFC 5104 §4.3.1."""
    camera, encoder = track(), Encoder(1)
    subscriber, sink = receiver(camera)
    subscriber.allocate((), 0.0)
    play(camera, encoder, 0.2, key=True)
    for _ in range(5):
        play(camera, encoder, 0.3)
    sent = sink.take()
    ssrc = subscriber.slots[0].stream.ssrc
    assert sequences(sent, ssrc) == list(range(6))
    wanted = sent[3].header.sequence
    (again,) = subscriber.take_reports([Nack(1, ssrc, [wanted, wanted + 100])], 0.4)
    assert int.from_bytes(again[8:12], "big") == subscriber.slots[0].stream.rtx
    assert subscriber.take_reports([Nack(1, 12345, [wanted])], 0.5) == []
    stream = camera.streams[""]
    stream.needs_keyframe(0.5)
    for request in (Pli(1, ssrc), Fir(1, (ssrc,))):
        subscriber.take_reports([request, request, Pli(1, 4)], 0.6)
        subscriber.allocate((), 0.7)
        stream.keyframe_asked = None
        assert stream.needs_keyframe(0.8)
        play(camera, encoder, 0.9, key=True)
        assert not stream.needs_keyframe(20.0)


def test_one_request_brings_back_a_bounded_number_of_packets() -> None:
    camera, encoder = track(), Encoder(1)
    subscriber, _ = receiver(camera)
    camera.stream(1, "")
    subscriber.allocate((), 0.0)
    play(camera, encoder, 0.1, key=True)
    slot = subscriber.slots[0]
    many = [slot.forwarder.last & 0xFFFF] * 1000
    subscriber.take_reports([Nack(1, slot.stream.ssrc, many)] * 20, 0.4)
    assert slot.forwarder.nacked == MOST_REPEATS
    for step in range(1000):
        subscriber.take_reports([Nack(1, slot.stream.ssrc, many)], 0.4 + step / 1000)
    assert slot.forwarder.nacked <= MOST_REPEATS + REPEATS_PER_SECOND


def test_loss_of_pictures_counts_for_the_estimate() -> None:
    camera, encoder = track(), Encoder(1)
    subscriber, _ = receiver(camera)
    camera.stream(1, "")
    subscriber.allocate((), 0.0)
    for number in range(30):
        play(camera, encoder, number / 15, key=not number)
        subscriber.allocate((), number / 15)
    block = ReportBlock(subscriber.slots[0].stream.ssrc, 128, 0, 0, 0, 0, 0)
    before = subscriber.estimator.bitrate(2.0)
    subscriber.take_reports([ReceiverReport(1, (block,))], 2.0)
    assert subscriber.estimator.bitrate(2.0) < before / 4


def test_without_rtx_nothing_is_repeated() -> None:
    camera, encoder = track(), Encoder(1)
    subscriber = Subscriber("bob", Sink(), entropy)
    subscriber.add(camera)
    agree(subscriber, rtx=False)
    subscriber.connect(-1.0)
    camera.stream(1, "")
    subscriber.allocate((), 0.0)
    play(camera, encoder, 0.1, key=True)
    slot = subscriber.slots[0]
    assert subscriber.take_reports([Nack(1, slot.stream.ssrc, [slot.forwarder.last & 0xFFFF])], 0.4) == []


def test_a_closed_connection_gets_nothing_more() -> None:
    camera, microphone, encoder = track(), track("alice", "audio"), Encoder(1)
    subscriber, sink = receiver(camera, microphone)
    subscriber.allocate((), 0.0)
    subscriber.close()
    play(camera, encoder, 0.1, key=True)
    assert sink.take() == []
    assert (camera.targets, microphone.targets) == ({}, {})


def test_sections_are_bounded() -> None:
    """Everybody of a full room is heard and seen, whatever else they send, and the offer is never too long."""
    subscriber = Subscriber("bob", Sink(), entropy)
    names = [f"{number:010}" for number in range(29)]
    for name in names:
        subscriber.add(track(name))
        subscriber.add(track(name, "audio"))
    for name in names:
        subscriber.add(track(name, "screen"))
        subscriber.add(track(name, "screen_audio"))
    offered = subscriber.offer()
    assert len(offered) == MOST_SECTIONS
    assert {(each.stream_id, each.encoding) for each in offered} >= {(n, e) for n in names for e in ("opus", "vp8")}
    longest = [each._replace(encoding="h264" if each.encoding == "vp8" else "opus") for each in offered]
    addresses = [Address.parse("198.51.100.100", 65535), Address.parse("2001:db8:1234:5678:9abc:def0:1234:5678", 65535)]
    transport = LocalTransport(
        IceCredentials("u" * 8, "p" * 24), Fingerprint("sha-256", bytes(32)), addresses, "actpass", 2**56, 1
    )
    text = offer_to_subscriber(longest, transport)
    assert len(text) <= MAX_SDP
    assert read_description(text).media[-1].stream_id


def test_a_track_without_a_section_gets_the_next_one_that_is_free() -> None:
    cameras = [track(f"p{number}") for number in range(60)]
    subscriber, _ = receiver(*cameras)
    seen = [slot.track for slot in subscriber.slots]
    later = cameras[len(seen)]
    assert later not in seen
    subscriber.remove(cameras[-1])
    subscriber.remove(cameras[3])
    assert later not in [slot.track for slot in subscriber.slots], "the end of the one before is not answered yet"
    agree(subscriber)
    assert subscriber.needs_offer
    assert subscriber.slots[3].track is later
    assert agree(subscriber)[3].stream_id == later.peer
    for each in cameras:
        subscriber.remove(each)
    agree(subscriber)
    assert [slot.track for slot in subscriber.slots if slot.track is not None] == []
    assert not subscriber.needs_offer


def test_offers_without_an_answer_use_no_more_sections() -> None:
    """Somebody begins and ends a picture all the time, in all codecs, while a receiver answers slowly or never."""
    subscriber = Subscriber("bob", Sink(), entropy)
    for number in range(300):
        codec = CODECS[("vp8", "h264", "vp9")[number % 3]]
        each = PublishedTrack("alice", "camera", codec, "1", now=0.0)
        subscriber.add(each)
        if number % 10 == 0 and subscriber.needs_offer:
            subscriber.offer()
        if number % 30 == 20:
            subscriber.answered([SubscribedMedia(s.mid, True, True, {}) for s in subscriber.slots])
        subscriber.remove(each)
    assert len(subscriber.slots) <= 3


def test_statistics_say_what_is_forwarded() -> None:
    camera, encoder = track(), Encoder(1)
    subscriber, _ = receiver(camera)
    (view,) = subscriber.views()
    assert (view.peer, view.source, view.rid) == ("alice", "camera", None)
    camera.stream(1, "")
    subscriber.allocate((), 0.0)
    play(camera, encoder, 0.1, key=True)
    (view,) = subscriber.views()
    assert (view.rid, view.packets) == ("", 1)


def test_padding_of_the_publisher_is_passed_on_as_it_is() -> None:
    camera = track()
    subscriber, sink = receiver(camera)
    stream = camera.stream(1, "")
    assert stream is not None
    subscriber.allocate((), 0.0)
    encoder = Encoder(1)
    play(camera, encoder, 0.1, key=True)
    encoder.sequence += 1
    packet = build_packet(payload_type=96, sequence=encoder.sequence, timestamp=0, ssrc=1, padding=100)
    camera.receive(stream, packet, len(packet), header_of(packet), 0.2)
    assert sequences(sink.take(), subscriber.slots[0].stream.ssrc) == [0, 1]
    assert voice(1)[0] == 0x90


def test_pictures_make_room_for_a_bounded_amount_of_sound() -> None:
    microphones = [track(f"p{number}", "audio") for number in range(20)]
    camera = track()
    subscriber, _ = receiver(camera, *microphones)
    now = 0.0
    for number in range(60):
        now = number / 20
        for place, each in enumerate(microphones):
            stream = each.stream(500 + place, "")
            assert stream is not None
            packet = build_packet(
                payload_type=111, sequence=number, timestamp=number * 960, ssrc=500 + place, payload=bytes(1150)
            )
            each.receive(stream, packet, len(packet), header_of(packet), now)
            stream.sample(now)
    assert sum(stream.bitrate for each in microphones for stream in each.streams.values()) > 3_500_000
    subscriber.allocate((), now)
    assert camera.targets != {}, "the picture is not paused"


def test_what_is_paused_is_not_taken_for_what_is_sent() -> None:
    """A trial for the first picture goes on as it began: its own packets do not count as what there is to send."""
    camera, high = track(layers=("l", "h")), Encoder(2, height=360)
    subscriber, sink = receiver(camera)
    now, tries = 0.0, []
    for number in range(600):
        now = number / 25
        for _ in range(12):
            play(camera, high, now, key=True, rid="h")
        for each in camera.streams.values():
            each.sample(now)
        block = ReportBlock(subscriber.slots[0].stream.ssrc, 255, 0, 0, 0, 0, 0)
        subscriber.take_reports([ReceiverReport(1, (block,)), Remb(1, 150_000, ())], now)
        if number % 5 == 0:
            subscriber.allocate((), now)
        before = sum(len(each.packet) for each in sink.rtp)
        for packet in subscriber.padding(now):
            subscriber.send(packet, audio=False)
        tries.append(sum(len(each.packet) for each in sink.rtp) - before)
    assert camera.targets == {}
    flow = "".join("x" if size else " " for size in tries)
    longest = max(flow.split(), key=len)
    assert len(longest) > 100, "some seconds"
    at = flow.index(longest)
    assert sum(tries[at + 60 : at + 100]) * 8 / 1.6 > 125_000, "all but the room for a voice"


def test_trials_have_an_end_however_high_pictures_claim_to_be() -> None:
    cameras = [track(peer) for peer in "abcd"]
    subscriber, _ = receiver(*cameras)
    subscriber.constraints = ReceiverConstraints(None, 8000)
    pace = 0.0
    for step in range(100):
        now = step / 4
        for number, camera in enumerate(cameras):
            play(camera, Encoder(number + 1, height=16_000), now, key=True)
        subscriber.take_reports([Remb(1, 9_900_000, ())], now)
        subscriber.allocate((), now)
        sent = sum(len(packet) for tick in range(10) for packet in subscriber.padding(now + tick / 40))
        pace = max(pace, sent * 8 * 4)
    assert 5_000_000 < pace < 11_500_000


def test_what_ended_is_not_repeated_and_what_waits_of_it_is_dropped() -> None:
    camera, encoder = track(), Encoder(1)
    subscriber, sink = receiver(camera)
    camera.stream(1, "")
    subscriber.allocate((), 0.0)
    play(camera, encoder, 0.1, key=True)
    slot = subscriber.slots[0]
    last = slot.forwarder.last & 0xFFFF
    subscriber.stop(camera)
    assert sink.purged == {slot.stream.ssrc, slot.stream.rtx}
    sink.purged.clear()
    subscriber.remove(camera)
    assert sink.purged == {slot.stream.ssrc, slot.stream.rtx}
    assert subscriber.take_reports([Nack(1, slot.stream.ssrc, [last])], 0.4) == []


def test_one_receiver_does_not_have_everybody_sent_keyframes_all_the_time() -> None:
    camera, encoder = track(), Encoder(1)
    subscriber, _ = receiver(camera)
    camera.stream(1, "")
    subscriber.allocate((), 0.0)
    play(camera, encoder, 0.1, key=True)
    ssrc = subscriber.slots[0].stream.ssrc
    asked = 0
    for step in range(400):
        now = 1.0 + step / 10
        subscriber.take_reports([Pli(1, ssrc)] * 5, now)
        if camera.streams[""].needs_keyframe(now):
            asked += 1
            play(camera, encoder, now, key=True)
    assert asked <= 40 / KEYFRAME_INTERVAL + KEYFRAMES
    assert asked >= 10


def test_what_is_sent_again_has_a_share_of_the_estimate() -> None:
    """However much is asked for, and however often: the rest of it is counted, and may be asked for later."""
    camera, encoder = track(), Encoder(1)
    subscriber, sink = receiver(camera)
    camera.stream(1, "")
    subscriber.allocate((), 0.0)
    now = 0.0
    for number in range(120):
        now = number / 15
        for _ in range(3):
            play(camera, encoder, now, key=not number)
        if number % 4 == 0:
            subscriber.allocate((), now)
    block = ReportBlock(subscriber.slots[0].stream.ssrc, 128, 0, 0, 0, 0, 0)
    subscriber.take_reports([ReceiverReport(1, (block,)), Remb(1, 200_000, ())], now)
    subscriber.allocate((), now + 0.1)
    estimate = subscriber.estimator.bitrate(now)
    assert 100_000 < estimate < 300_000
    forwarder, ssrc = subscriber.slots[0].forwarder, subscriber.slots[0].stream.ssrc
    missing = [forwarder.last - number & 0xFFFF for number in range(150)]
    pace = sink.paced
    sizes = []
    for _ in range(40):
        now += 0.1
        again = subscriber.take_reports([Nack(1, ssrc, missing)], now)
        for each in again:
            subscriber.send(each, audio=False)
        sizes.append(sum(map(len, again)))
        subscriber.allocate((), now)
    assert estimate * SHARE * 0.8 < sum(sizes) * 8 / 4 < estimate * SHARE * (1 + BURST)
    assert forwarder.nacked > 1_000
    assert sink.paced <= pace, "what is sent again is no reason to send faster"


def test_a_picture_does_not_make_room_for_a_voice_that_nobody_has() -> None:
    """The smallest one is not paused for somebody who may speak later; a better one waits for what is left then."""

    def chosen(estimate: float, *, microphones: int, speaking: bool) -> str | None:
        camera, low, high = track(layers=("l", "h")), Encoder(1), Encoder(2, height=360)
        voices = [track(f"p{number}", "audio") for number in range(microphones)]
        subscriber, _ = receiver(camera, *voices)
        subscriber.estimator = Fixed(estimate)
        for number in range(60):
            now = number / 15
            play(camera, low, now, key=True, rid="l")
            for _ in range(3):
                play(camera, high, now, key=True, rid="h")
            for place, each in enumerate(voices):
                stream = each.stream(500 + place, "")
                assert stream is not None
                packet = voice(number, 500 + place)
                if speaking:
                    for _ in range(4):
                        each.receive(stream, packet, len(packet), header_of(packet), now)
                        packet = voice(1000 + number, 500 + place)
                stream.sample(now)
            for each in camera.streams.values():
                each.sample(now)
            if number % 4 == 3:
                subscriber.allocate((), now)
        return next(iter(camera.targets.values()), None)

    low, high = 104_000, 312_000
    assert chosen(low * 1.1, microphones=0, speaking=False) == "l"
    assert chosen(low * 1.1, microphones=1, speaking=False) == "l", "it may be paused when somebody speaks"
    assert chosen(high * 1.15, microphones=0, speaking=False) == "h"
    assert chosen(high * 1.15, microphones=1, speaking=False) == "l"
    assert chosen(low * 0.5, microphones=0, speaking=False) is None


def test_sound_that_does_not_come_needs_no_room() -> None:
    camera, microphone = track(), track("bob", "audio")
    subscriber, _ = receiver(camera, microphone)
    stream = microphone.stream(500, "")
    assert stream is not None
    for number in range(100):
        packet = build_packet(payload_type=111, sequence=number, timestamp=number, ssrc=500, payload=bytes(400))
        microphone.receive(stream, packet, len(packet), header_of(packet), number / 50)
        stream.sample(number / 50)
    assert subscriber._voices(2.0)[0] > 150_000
    assert subscriber._voices(30.0) == (0.0, 32_000.0)
    microphone.mute(True)
    assert subscriber._voices(2.0) == (0.0, 0.0)


class Fixed:
    """An estimate that does not change."""

    reported = True
    least = 0.0

    def __init__(self, bitrate: float) -> None:
        self._bitrate = bitrate

    def remb(self, bitrate: float, sending: float, now: float) -> None:
        """Nothing changes."""

    def report(self, lost: float, late: float, sending: float, now: float) -> None:
        """Nothing changes."""

    def bitrate(self, now: float) -> float:
        """The estimate."""
        return self._bitrate
