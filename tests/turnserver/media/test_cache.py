"""Packets that are kept, numbers that are asked for, and RTX; aiortc is the other side of the latter."""

import pytest
from aiortc.rtp import RtpPacket, unwrap_rtx, wrap_rtx
from hypothesis import given
from hypothesis import strategies as st

from turnserver.media.cache import (
    LARGEST_KEPT,
    MOST_KEPT,
    MOST_MISSING,
    MOST_TRIES,
    PATIENCE,
    REORDERING,
    LossDetector,
    PacketCache,
    original,
    rtx,
)
from turnserver.media.rtp import build_packet, read_header


def test_a_packet_is_kept_as_it_was() -> None:
    cache = PacketCache()
    cache.put(65535, b"packet")
    assert cache.get(65535) == b"packet"
    assert cache.get(0) is None


def test_what_is_too_large_is_not_kept() -> None:
    cache = PacketCache()
    cache.put(1, bytes(LARGEST_KEPT))
    cache.put(2, bytes(LARGEST_KEPT + 1))
    assert (cache.get(1), cache.get(2)) == (bytes(LARGEST_KEPT), None)


@given(st.integers(0, 0xFFFF), st.lists(st.integers(-20, 300), max_size=200))
def test_the_last_packets_are_kept_and_no_others(first: int, steps: list[int]) -> None:
    """Whatever is lost, comes late or comes twice, and where numbers begin again."""
    cache = PacketCache()
    newest = first
    put = {}
    for time, step in enumerate([0, *steps]):
        number = newest + step
        cache.put(number & 0xFFFF, b"%d" % time)
        put[number] = b"%d" % time
        newest = max(newest, number)
    recent = range(newest - MOST_KEPT + 21, newest + 1)
    assert {number: cache.get(number & 0xFFFF) for number in recent} == {number: put.get(number) for number in recent}
    assert all(cache.get(number & 0xFFFF) in {None, packet} for number, packet in put.items())


def test_a_missing_number_is_asked_for_until_it_comes() -> None:
    losses = LossDetector()
    for number in (65536, 65537, 65540):
        losses.received(number, 1.0)
    assert losses.due(1.0) == [], "it may have been overtaken"
    assert losses.due(1.0 + REORDERING) == [65538, 65539]
    assert losses.due(1.05) == [], "the answer is on its way"
    losses.received(65539, 1.06)
    assert losses.due(1.2) == [65538]
    losses.received(65538, 1.25)
    losses.received(65538, 1.25)
    losses.received(65541, 1.25)
    assert losses.due(9.0) == []
    assert (losses.lost, losses.recovered, losses.given_up, len(losses)) == (2, 2, 0, 0)


def test_what_was_only_overtaken_is_not_asked_for() -> None:
    losses = LossDetector()
    for number in (5, 7, 6, 4):
        losses.received(number, 1.0)
    assert losses.due(9.0) == []
    assert (losses.lost, losses.recovered) == (1, 1)


@pytest.mark.parametrize(("round_trip", "tries"), [(0.0, MOST_TRIES), (0.1, MOST_TRIES), (0.3, 5), (60.0, 3)])
def test_a_number_is_given_up(round_trip: float, tries: int) -> None:
    """After so many tries, or so long."""
    losses = LossDetector()
    losses.round_trip = round_trip
    losses.received(1, 0.0)
    losses.received(3, 0.0)
    asked = sum(losses.due(step / 1000) == [2] for step in range(1, 5000))
    assert asked == tries
    assert (losses.given_up, len(losses)) == (1, 0)
    losses.received(2, 5.0)
    assert losses.recovered == 0


def test_a_long_silence_between_questions_gives_up_at_once() -> None:
    losses = LossDetector()
    losses.received(1, 0.0)
    losses.received(3, 0.0)
    assert losses.due(PATIENCE + 0.1) == []
    assert losses.given_up == 1


def test_a_jump_is_not_asked_for_as_a_whole() -> None:
    losses = LossDetector()
    losses.received(1, 0.0)
    losses.received(30_000, 0.0)
    assert losses.due(1.0) == list(range(30_000 - MOST_MISSING, 30_000))
    assert (losses.lost, losses.given_up) == (29_998, 29_998 - MOST_MISSING)
    losses.received(30_010, 1.0)
    assert len(losses) == MOST_MISSING, "the oldest give way"
    assert losses.given_up == losses.lost - MOST_MISSING


@given(st.lists(st.tuples(st.integers(-20, 40), st.floats(0, 0.3)), max_size=60))
def test_every_number_is_counted_once_and_asked_for_in_order(steps: list[tuple[int, float]]) -> None:
    losses = LossDetector()
    newest = first = 1000
    losses.received(first, 0.0)
    came = {first}
    now = 0.0
    for step, wait in steps:
        now += wait
        number = newest + step
        losses.received(number, now)
        came.add(number)
        newest = max(newest, number)
        asked = losses.due(now)
        assert asked == sorted(asked)
        assert not came & set(asked)
        assert all(first < each < newest for each in asked)
        assert len(losses) <= MOST_MISSING
    missed = set(range(first, newest)) - came
    assert losses.lost == losses.recovered + losses.given_up + len(losses)
    assert losses.given_up + len(losses) >= len(missed)


@given(st.binary(max_size=40), st.integers(0, 20), st.booleans(), st.integers(0, 0xFFFF), st.integers(0, 0xFFFF))
def test_aiortc_reads_a_retransmission(
    payload: bytes, padding: int, marker: bool, sequence: int, original: int
) -> None:
    packet = build_packet(
        payload_type=96,
        sequence=original,
        timestamp=7,
        ssrc=1,
        payload=payload,
        marker=marker,
        padding=padding,
        extensions={2: b"abc"},
    )
    theirs = RtpPacket.parse(bytes(packet))
    again = rtx(packet, ssrc=2, payload_type=97, sequence=sequence, original=original)
    assert again is packet
    read = RtpPacket.parse(bytes(again))
    assert (read.ssrc, read.payload_type, read.sequence_number) == (2, 97, sequence)
    assert read.payload == wrap_rtx(theirs, payload_type=97, sequence_number=sequence, ssrc=2).payload
    restored = unwrap_rtx(read, payload_type=96, ssrc=1)
    assert (restored.sequence_number, restored.marker, restored.timestamp, restored.payload) == (
        original,
        theirs.marker,
        7,
        payload,
    )


def test_what_is_no_packet_is_not_sent_again() -> None:
    with pytest.raises(ValueError, match="RTP"):
        rtx(bytearray(11), ssrc=1, payload_type=97, sequence=1, original=2)


def test_what_comes_very_late_does_not_take_the_place_of_a_newer_one() -> None:
    cache = PacketCache()
    for number in range(65_000, 65_000 + 1000):
        cache.put(number & 0xFFFF, b"new")
    for number in range(65_000, 65_000 + 400):
        cache.put(number & 0xFFFF, b"old")
    assert all(cache.get(number & 0xFFFF) == b"new" for number in range(66_000 - MOST_KEPT, 66_000))
    cache.put(20_000, b"far away: it begins anew")
    cache.put(20_001, b"next")
    assert (cache.get(20_000), cache.get(20_001)) == (b"far away: it begins anew", b"next")
    cache.clear()
    assert cache.get(20_001) is None


def test_the_round_trip_is_that_of_repetitions() -> None:
    """One that was asked for twice says nothing about it."""
    detector, now = LossDetector(), 0.0
    for number in range(0, 200, 2):
        detector.received(number, now)
        detector.received(number + 2, now)
        now += 0.02
        assert detector.due(now) == [number + 1]
        now += 0.3
        detector.received(number + 1, now)
    assert detector.round_trip == pytest.approx(0.3, abs=0.01)
    detector.received(203, now)
    detector.due(now + 0.02)
    detector.due(now + 1.0)
    detector.received(202, now + 1.1)
    assert detector.round_trip == pytest.approx(0.3, abs=0.01)


def test_rtx_and_back() -> None:
    """RFC 4588 §4."""
    sent = build_packet(payload_type=96, sequence=77, timestamp=5, ssrc=9, payload=b"payload", marker=True)
    again = rtx(bytearray(sent), ssrc=10, payload_type=97, sequence=3, original=77)
    header = read_header(again, len(again))
    assert header is not None
    found = original(again, len(again), header, ssrc=9, payload_type=96)
    assert found is not None
    assert found[0] == sent
    assert found[1].sequence == 77
    padding = build_packet(payload_type=97, sequence=4, timestamp=0, ssrc=10, padding=200)
    header = read_header(padding, len(padding))
    assert header is not None
    assert original(padding, len(padding), header, ssrc=9, payload_type=96) is None
