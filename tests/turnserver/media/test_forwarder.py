"""One continuous stream for a receiver, whatever it is made of."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.media_world import FRAME, Encoder, World, sequences
from turnserver.media.forwarder import send_time
from turnserver.media.layers import EVERY_FRAME
from turnserver.media.repair import LEAST_PAUSE
from turnserver.media.rtcp import SenderReport
from turnserver.media.rtp import find_extension


def test_a_receiver_begins_with_a_keyframe_and_gets_everything_after_it() -> None:
    world, encoder = World(), Encoder()
    forwarder, sink = world.receiver()
    world.frames(encoder, 3)
    world.track.take(forwarder, "", world.now)
    world.frames(encoder, 2)
    assert sink.take() == []
    world.frames(encoder, 4, key=True, packets=3)
    got = sink.take()
    assert sequences(got) == list(range(12))
    assert got[0].descriptor.keyframe
    assert {each.header.payload_type for each in got} == {98}
    assert [each.header.marker for each in got] == [False, False, True] * 4
    steps = {b.header.timestamp - a.header.timestamp & 0xFFFFFFFF for a, b in pairwise(got)}
    assert steps == {0, FRAME}


def test_a_switch_between_layers_goes_on_in_numbers_and_time() -> None:
    world, low, high = World("l", "h"), Encoder(1), Encoder(2, start=30_000)
    forwarder, sink = world.receiver()
    world.track.take(forwarder, "l", world.now)
    world.frames(low, 5, "l", key=True)
    world.track.take(forwarder, "h", world.now)
    world.frames(high, 2, "h")
    world.frames(low, 2, "l")
    assert sequences(sink.take()) == list(range(7)), "the old layer goes on until the keyframe"
    before = forwarder.last
    world.frames(high, 3, "h", key=True)
    world.frames(low, 3, "l")
    got = sink.take()
    assert [each.header.sequence for each in got] == [before + number & 0xFFFF for number in (1, 2, 3)]
    assert got[0].descriptor.keyframe


def test_timestamps_follow_the_clock_of_the_publisher_where_it_is_known() -> None:
    """RFC 3550 §6.4.1: sender reports say when a timestamp was taken."""
    world, low, high = World("l", "h"), Encoder(1), Encoder(2, start=900_000)
    forwarder, sink = world.receiver()
    world.track.take(forwarder, "l", world.now)
    world.frames(low, 1, "l", key=True)
    for encoder, rid, ahead in ((low, "l", 0), (high, "h", 0.25)):
        report = SenderReport(encoder.ssrc, int((5000 + ahead) * (1 << 32)), encoder.timestamp, 1, 1, ())
        world.stream(encoder, rid).take_report(report, world.now)
    world.track.take(forwarder, "h", world.now)
    world.now += 0.1
    world.frames(high, 1, "h", key=True)
    first, second = sink.take()
    passed = second.header.timestamp - first.header.timestamp & 0xFFFFFFFF
    assert abs(passed - (0.25 * 90_000 + FRAME)) <= 1


@given(st.lists(st.sampled_from(["forward", "lost", "late"]), max_size=60), st.integers(0, 2))
def test_what_is_left_out_leaves_no_gap_and_what_is_lost_does(fates: list[str], limit: int) -> None:
    """Temporal layers are left out; the receiver asks for what is missing, and for nothing else."""
    world, encoder = World(), Encoder(temporal=(0, 2, 1, 2))
    forwarder, sink = world.receiver()
    forwarder.wanted_temporal = limit
    world.track.take(forwarder, "", world.now)
    world.frames(encoder, 1, key=True)
    held, missing, passed = [], 0, 1
    for number, fate in enumerate(fates):
        layer = (0, 2, 1, 2)[(number + 1) % 4]
        (packet,) = encoder.frame()
        if fate == "forward":
            world.send(encoder, [packet])
            passed += layer <= limit
        elif fate == "late":
            held.append(packet)
        else:
            missing += 1
    world.frames(encoder, 4)
    kept = sum((0, 2, 1, 2)[(len(fates) + 1 + number) % 4] <= limit for number in range(4))
    world.send(encoder, held)
    numbers = sequences(sink.take())
    assert len(set(numbers)) == len(numbers)
    assert max(numbers) + 1 - len(numbers) <= missing, "only what was lost is missing"
    assert len(numbers) >= passed + kept


def test_fewer_frames_at_once_and_more_where_nothing_is_missing() -> None:
    world, encoder = World(), Encoder(temporal=(0, 1))
    forwarder, sink = world.receiver()
    world.track.take(forwarder, "", world.now)
    world.frames(encoder, 4, key=True)
    forwarder.wanted_temporal = 0
    world.frames(encoder, 6)
    forwarder.wanted_temporal = EVERY_FRAME
    world.frames(encoder, 4)
    got = sink.take()
    assert sequences(got) == list(range(4 + 3 + 4))
    assert {each.descriptor.temporal for each in got[4:7]} == {0}


def test_a_layer_that_is_left_out_for_its_place_is_replaced_by_padding() -> None:
    world, encoder = World(), Encoder(temporal=(0, 1))
    forwarder, sink = world.receiver()
    forwarder.wanted_temporal = 0
    world.track.take(forwarder, "", world.now)
    world.frames(encoder, 1, key=True)
    late = encoder.frame()
    world.frames(encoder, 1)
    world.send(encoder, late)
    filler = sink.take()[-1]
    assert sequences([filler]) == [0]
    assert filler.header.payload == filler.header.end
    assert filler.header.sequence == forwarder.last - 1 & 0xFFFF


def test_what_the_receiver_asks_for_comes_as_rtx() -> None:
    """RFC 4588 §4."""
    world, encoder = World(), Encoder(temporal=(0, 1))
    forwarder, sink = world.receiver()
    forwarder.wanted_temporal = 0
    world.track.take(forwarder, "", world.now)
    world.frames(encoder, 9, key=True, packets=2)
    sent = sink.take()
    wanted = sent[5]
    packet = forwarder.repeat(wanted.header.sequence, world.now)
    assert packet is not None
    assert packet[1] & 0x7F == 99
    assert int.from_bytes(packet[8:12], "big") == 7001
    at = wanted.header.payload
    assert int.from_bytes(packet[at : at + 2], "big") == wanted.header.sequence
    assert packet[at + 2 :] == wanted.packet[at:]
    assert packet[4:8] == wanted.packet[4:8]
    assert forwarder.repeat(wanted.header.sequence, world.now + LEAST_PAUSE / 2) is None, "it is on its way"
    again = forwarder.repeat(wanted.header.sequence, world.now + 2 * LEAST_PAUSE)
    assert again is not None
    assert again[2:4] != packet[2:4], "repetitions have numbers of their own"
    assert (forwarder.nacked, forwarder.repeated) == (3, 2)


def test_what_was_sent_before_a_switch_can_still_be_had() -> None:
    world, low, high = World("l", "h"), Encoder(1), Encoder(2, start=30_000)
    forwarder, sink = world.receiver()
    world.track.take(forwarder, "l", world.now)
    world.frames(low, 3, "l", key=True)
    world.track.take(forwarder, "h", world.now)
    world.frames(high, 3, "h", key=True)
    for sent in sink.take():
        packet = forwarder.repeat(sent.header.sequence, world.now)
        assert packet is not None
        assert packet[sent.header.payload + 2 :] == sent.packet[sent.header.payload :]


@pytest.mark.parametrize("rtx", [True, False])
def test_what_was_never_sent_cannot_be_had(rtx: bool) -> None:
    world, encoder = World(), Encoder()
    forwarder, _ = world.receiver(rtx=rtx)
    assert forwarder.repeat(5, world.now) is None
    world.track.take(forwarder, "", world.now)
    world.frames(encoder, 3, key=True)
    assert forwarder.repeat(forwarder.last + 1 & 0xFFFF, world.now) is None
    assert forwarder.repeat(forwarder.last - 3 & 0xFFFF, world.now) is None
    assert (forwarder.repeat(forwarder.last & 0xFFFF, world.now) is not None) == rtx, "no number is used twice"


def test_repetitions_are_bounded_by_what_is_sent() -> None:
    world, encoder = World(), Encoder()
    forwarder, _ = world.receiver()
    world.track.take(forwarder, "", world.now)
    for _ in range(200):
        world.send(encoder, encoder.frame(key=True, size=1000))
    sent = forwarder.bytes
    again = 0
    for round_ in range(10_000):
        packet = forwarder.repeat(forwarder.last - round_ % 100 & 0xFFFF, world.now + round_)
        again += 0 if packet is None else len(packet)
    assert sent / 3 < again < sent


def test_a_trial_repeats_what_is_known_or_is_padding() -> None:
    world, encoder = World(), Encoder()
    forwarder, _ = world.receiver()
    padding = forwarder.probe(world.now)
    assert padding is not None
    assert padding[0] & 0x20
    world.track.take(forwarder, "", world.now)
    world.frames(encoder, 1, key=True)
    probe = forwarder.probe(12.5)
    assert probe is not None
    assert len(probe) > 100
    assert int.from_bytes(probe[8:12], "big") == 7001
    assert send_time(12.5) in bytes(probe), "the receiver's estimate needs the time of sending"
    assert world.receiver(rtx=False)[0].probe(world.now) is None


def test_a_sender_report_speaks_of_the_receivers_stream() -> None:
    world, encoder = World(), Encoder()
    forwarder, sink = world.receiver()
    assert forwarder.sender_report(SenderReport(1000, 1 << 40, 5000, 9, 9, ())) is None
    world.track.take(forwarder, "", world.now)
    taken = encoder.timestamp
    world.frames(encoder, 1, key=True)
    report = forwarder.sender_report(SenderReport(1000, 1 << 40, taken, 9, 9, ()))
    (sent,) = sink.take()
    assert report == SenderReport(7000, 1 << 40, sent.header.timestamp, 1, len(sent.packet), ())


def test_the_time_of_sending_is_written_in_place() -> None:
    world, encoder = World(), Encoder()
    forwarder, sink = world.receiver()
    world.track.take(forwarder, "", world.now)
    world.frames(encoder, 1, key=True)
    again = forwarder.repeat(forwarder.last & 0xFFFF, 77.25)
    assert again is not None
    sent = sink.take()[0]
    found = find_extension(again, sent.header, 2)
    assert found is not None
    assert again[found[0] : found[0] + 3] == send_time(77.25)


@pytest.mark.parametrize("late", [False, True])
def test_pictures_are_numbered_without_gaps_across_switches_and_what_is_left_out(late: bool) -> None:
    """RFC 7741 §4.2: receivers wait for a picture whose number is missing."""
    world = World("l", "h")
    low, high = Encoder(1, temporal=(0, 1)), Encoder(2, temporal=(0, 1), start=40_000)
    forwarder, sink = world.receiver()
    forwarder.wanted_temporal = 0
    world.track.take(forwarder, "l", world.now)
    world.frames(low, 7, "l", key=True)
    world.track.take(forwarder, "h", world.now)
    world.frames(high, 2, "h", key=True)
    delayed = high.frame() if late else []
    world.frames(high, 3, "h")
    world.send(high, delayed, "h")
    got = sorted(sink.take(), key=lambda each: each.header.sequence)
    pictures = [each.descriptor.picture or 0 for each in got]
    assert [picture - pictures[0] for picture in pictures] == list(range(len(got)))
    again = forwarder.repeat(got[2].header.sequence, world.now)
    assert again is not None
    assert again[got[2].header.payload + 2 :] == got[2].packet[got[2].header.payload :]


def test_what_has_not_arrived_for_a_while_is_overdue() -> None:
    world, encoder = World(), Encoder()
    forwarder, _ = world.receiver()
    assert forwarder.overdue(7, world.now) == 0
    world.track.take(forwarder, "", world.now)
    world.frames(encoder, 30, key=True)
    now = world.now - FRAME / 90_000
    assert forwarder.overdue(forwarder.last & 0xFFFF, now + 5) == 0, "it has all that was sent"
    behind = forwarder.overdue(forwarder.last - 15 & 0xFFFF, now)
    assert 0.8 < behind < 1.1
    assert forwarder.overdue(forwarder.last - 3000 & 0xFFFF, now) > 1.5
