"""What a participant publishes: reception, who gets which layer, and what the publisher is asked for."""

from tests.support.media_world import FRAME, Encoder, Sink, World, header_of, sequences, voice
from turnserver.media.codecs import CODECS
from turnserver.media.rtcp import SenderReport
from turnserver.media.rtp import build_packet
from turnserver.media.track import ALIVE, AUDIO_BITRATE, IDLE, KEYFRAME_AGAIN, PATIENCE, IncomingStream, PublishedTrack


def voices() -> tuple[World, IncomingStream, Sink]:
    """A track of sound with its stream, and somebody who gets it."""
    world = World()
    world.track = PublishedTrack("alice", "audio", CODECS["opus"], "0", now=world.now)
    forwarder, sink = world.receiver(payload_type=111)
    stream = world.track.stream(500, "")
    assert stream is not None
    world.track.take(forwarder, "", world.now)
    return world, stream, sink


def test_a_keyframe_is_asked_for_while_somebody_waits_but_not_all_the_time() -> None:
    world, encoder = World(), Encoder()
    forwarder, _ = world.receiver()
    world.frames(encoder, 1)
    stream = world.stream(encoder)
    assert not stream.needs_keyframe(world.now)
    world.track.take(forwarder, "", world.now)
    assert stream.needs_keyframe(world.now)
    assert not stream.needs_keyframe(world.now + KEYFRAME_AGAIN / 2)
    assert stream.needs_keyframe(world.now + KEYFRAME_AGAIN)
    world.frames(encoder, 1, key=True)
    assert not stream.needs_keyframe(world.now + 10)
    assert stream.plis == 2


def test_until_the_wanted_layer_is_there_another_one_stands_in_for_it() -> None:
    world, low, high = World("l", "h"), Encoder(1), Encoder(2, start=500)
    forwarder, sink = world.receiver()
    world.frames(low, 1, "l")
    world.track.take(forwarder, "h", world.now)
    world.frames(low, 3, "l", key=True)
    assert forwarder.stream is world.stream(low, "l")
    world.frames(high, 2, "h", key=True)
    world.frames(low, 2, "l", key=True)
    assert forwarder.stream is world.stream(high, "h"), "it does not come back to what stood in"
    assert sequences(sink.take()) == list(range(5))


def test_a_new_ssrc_takes_the_place_of_the_one_before() -> None:
    world, first, second = World(), Encoder(1), Encoder(2, start=70)
    forwarder, sink = world.receiver()
    world.track.take(forwarder, "", world.now)
    world.frames(first, 3, key=True)
    world.frames(second, 1)
    assert world.stream(second).needs_keyframe(world.now)
    world.frames(second, 2, key=True)
    assert sequences(sink.take()) == list(range(5))
    assert world.track.stream(9, "nonsense") is None


def test_what_has_been_here_before_is_not_forwarded_again() -> None:
    world, encoder = World(), Encoder()
    forwarder, sink = world.receiver()
    world.track.take(forwarder, "", world.now)
    frame = encoder.frame(key=True, packets=3)
    world.send(encoder, frame)
    world.send(encoder, frame[:2])
    assert sequences(sink.take()) == [0, 1, 2]


def test_after_a_pause_by_the_server_it_goes_on_with_a_keyframe() -> None:
    world, encoder = World(), Encoder()
    forwarder, sink = world.receiver()
    world.track.take(forwarder, "", world.now)
    world.frames(encoder, 2, key=True)
    world.track.mute(True)
    world.frames(encoder, 20, key=True)
    world.track.mute(False)
    assert forwarder.stream is None, "it takes any stream's next keyframe"
    world.frames(encoder, 2)
    world.frames(encoder, 2, key=True)
    got = sink.take()
    assert sequences(got) == [0, 1, 2, 3], "nothing is asked for that was never sent"
    assert got[2].descriptor.keyframe


def test_whoever_is_released_gets_nothing_more() -> None:
    world, encoder = World(), Encoder()
    forwarder, sink = world.receiver()
    world.track.take(forwarder, "", world.now)
    world.frames(encoder, 1, key=True)
    world.track.release(forwarder)
    world.frames(encoder, 2, key=True)
    assert len(sink.take()) == 1
    assert not world.stream(encoder).needs_keyframe(world.now)


def test_a_voice_begins_with_any_packet() -> None:
    world, stream, sink = voices()
    packet = voice(7)
    assert world.track.receive(stream, packet, len(packet), header_of(packet), world.now) == 1
    (out,) = sink.take()
    assert len(out.packet) == len(packet)


def test_reception_is_reported_as_rfc_3550_says() -> None:
    """RFC 3550 §6.4.1 and appendix A.3."""
    world, encoder = World(), Encoder()
    stream = world.stream(encoder)
    assert stream.reception(world.now) is None
    for number in range(10):
        frame = encoder.frame(key=not number)
        if number not in {3, 4}:
            world.send(encoder, frame)
        else:
            world.now += FRAME / 90_000
    stream.take_report(SenderReport(1000, 0x1234_5678_9ABC_DEF0, encoder.timestamp, 1, 1, ()), world.now)
    block = stream.reception(world.now + 0.5)
    assert block is not None
    assert (block.ssrc, block.packets_lost, block.fraction_lost) == (1000, 2, 2 * 256 // 10)
    assert block.highest_sequence & 0xFFFF == encoder.sequence
    assert (block.last_report, block.delay) == (0x5678_9ABC, 32768)
    assert block.jitter < 10
    early = stream.reception(world.now - 0.01)
    assert early is not None
    assert early.delay == 0, "a tick that was late has the time at which it was due"
    world.frames(encoder, 5)
    again = stream.reception(world.now)
    assert again is not None
    assert (again.packets_lost, again.fraction_lost) == (2, 0)


def test_rates_are_those_of_the_temporal_layers() -> None:
    world, encoder = World(), Encoder(temporal=(0, 1))
    for _ in range(40):
        world.send(encoder, encoder.frame(key=True, size=1000))
        world.send(encoder, encoder.frame(size=500))
        world.stream(encoder).sample(world.now)
    ((bitrates, height, available),) = world.track.rates(world.now)
    assert available
    assert height == 180
    assert len(bitrates) == 2
    assert abs(bitrates[0] / (1030 * 8 * 7.5) - 1) < 0.1
    assert abs(bitrates[1] / ((1030 + 530) * 8 * 7.5) - 1) < 0.1


def test_what_does_not_come_although_it_is_asked_for_cannot_be_had() -> None:
    world, low = World("l", "h"), Encoder(1)
    assert [rates.available for rates in world.track.rates(world.now)] == [True, True]
    world.now += PATIENCE
    world.frames(low, 1, "l")
    assert [rates.available for rates in world.track.rates(world.now)] == [True, False]
    world.now += ALIVE + 1
    assert [rates.available for rates in world.track.rates(world.now)] == [True, False], "the smallest may come"


def test_the_publisher_is_asked_for_what_somebody_takes() -> None:
    world, low, high = World("l", "h"), Encoder(1), Encoder(2)
    forwarder, _ = world.receiver()
    for _ in range(4):
        world.frames(low, 1, "l", key=True)
        world.frames(high, 1, "h", key=True)
    world.track.take(forwarder, "l", world.now)
    assert world.track.ask((), world.now) is None
    assert world.track.ask((), world.now + IDLE) == ("l",)
    world.track.take(forwarder, "h", world.now)
    assert world.track.ask((), world.now + IDLE + 0.1) == ("l", "h"), "going up is asked for at once"
    world.track.release(forwarder)
    world.track.ask((), world.now + 3)
    assert world.track.ask((), world.now + 3 + IDLE) == ()


def test_a_layer_that_has_not_come_yet_stays_invited_and_one_that_was_stopped_does_not_come_back_by_that() -> None:
    world, low = World("l", "h"), Encoder(1)
    forwarder, _ = world.receiver()
    world.frames(low, 1, "l")
    world.track.take(forwarder, "l", world.now)
    for second in range(5):
        assert world.track.ask({"h"}, world.now + second) is None
    world.track.ask((), world.now + 6)
    assert world.track.ask((), world.now + 6 + IDLE) == ("l",)
    assert world.track.ask({"h"}, world.now + 9) is None


def test_statistics_of_a_track() -> None:
    world, encoder = World(), Encoder()
    world.frames(encoder, 3, key=True)
    view = world.track.view()
    assert (view.source, view.codec, view.muted) == ("camera", "vp8", False)
    assert [(layer.rid, layer.height, layer.packets) for layer in view.layers] == [("", 180, 3)]


def test_sound_beyond_what_browsers_send_is_not_forwarded() -> None:
    """50 Mbit/s that are called sound: the others get a small part of it, and later sound passes as before."""
    world, stream, _ = voices()
    loud = bytes(1200)
    passed = sent = number = 0
    for _ in range(10_000):
        number += 1
        packet = build_packet(payload_type=111, sequence=number & 0xFFFF, timestamp=0, ssrc=500, payload=loud)
        world.now += len(packet) * 8 / 50e6
        sent += len(packet)
        passed += len(packet) * world.track.receive(stream, packet, len(packet), header_of(packet), world.now)
        stream.sample(world.now)
    assert sent * 8 > 90e6
    assert passed * 8 < AUDIO_BITRATE * 3, "two seconds, and a burst"
    assert world.track.surplus > 9000
    assert stream.bitrate < 2 * AUDIO_BITRATE
    later = 0
    for step in range(1, 101):
        world.now += 0.02
        packet = voice(number + step)
        later += world.track.receive(stream, packet, len(packet), header_of(packet), world.now)
    assert later == 100


def test_many_small_packets_of_sound_are_bounded_too() -> None:
    world, stream, _ = voices()
    passed = 0
    for number in range(20_000):
        packet = build_packet(payload_type=111, sequence=number & 0xFFFF, timestamp=0, ssrc=500, payload=b"x")
        world.now += 1e-4
        passed += world.track.receive(stream, packet, len(packet), header_of(packet), world.now)
    assert passed < 2000
