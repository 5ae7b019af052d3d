"""Timestamps on the clock of the recording."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnserver.recordings.timeline import PeerClock, TrackClock

NTP = 3_900_000_000 << 32
"""The participant's clock at second 0 of these tests."""


class Stream:
    """A stream whose timestamps begin anywhere; what is taken at a second arrives ``delay`` seconds later."""

    def __init__(self, peer: PeerClock, rate: int, start: int, delay: float) -> None:
        self.clock, self.rate, self.start, self.delay = TrackClock(peer, rate), rate, start, delay

    def stamp(self, second: float) -> int:
        return (self.start + round(second * self.rate)) & 0xFFFFFFFF

    def send(self, second: float, late: float = 0.0) -> float:
        self.clock.heard(self.stamp(second), second + self.delay + late)
        return self.clock.time(self.stamp(second))

    def report(self, second: float) -> None:
        self.clock.relate(NTP + int(second * (1 << 32)), self.stamp(second))


def test_reports_bring_picture_and_sound_together() -> None:
    """A picture that takes 200 ms longer is at the same moment as its sound, as soon as that can be."""
    peer = PeerClock()
    sound, picture = Stream(peer, 48_000, 1 << 31, 0.02), Stream(peer, 90_000, 0xFFFFFF00, 0.22)
    assert picture.send(0.0) - sound.send(0.0) == pytest.approx(0.2)
    sound.report(0.1)
    picture.report(0.1)
    apart = [picture.send(n / 50) - sound.send(n / 50) for n in range(1, 400)]
    assert apart[-1] == pytest.approx(0, abs=0.002)
    assert all(after <= before + 0.001 for before, after in pairwise(apart)), "it only gets better"


def test_without_reports_the_fastest_arrival_tells() -> None:
    stream = Stream(PeerClock(), 90_000, 77, 0.05)
    for number in range(200):
        at = stream.send(number / 15, late=0.3 if number % 7 else 0.0)
    assert at == pytest.approx(199 / 15 + 0.05, abs=0.01)


def test_a_report_that_cannot_be_is_not_believed() -> None:
    peer = PeerClock()
    stream = Stream(peer, 48_000, 5, 0.02)
    for number in range(100):
        stream.send(number / 50)
    stream.clock.relate(7, stream.stamp(2.0))
    other = Stream(peer, 90_000, 5, 0.02)
    other.report(0.0)
    for number in range(100, 200):
        at, seen = stream.send(number / 50), other.send(number / 50)
    assert (at, seen) == (pytest.approx(199 / 50 + 0.02), pytest.approx(199 / 50 + 0.02))


@given(st.lists(st.tuples(st.integers(0, 0xFFFFFFFF), st.integers(0, (1 << 64) - 1)), max_size=30))
def test_whatever_comes_is_a_time(stamps: list[tuple[int, int]]) -> None:
    clock = TrackClock(PeerClock(), 90_000)
    for number, (timestamp, ntp) in enumerate(stamps):
        clock.heard(timestamp, float(number))
        clock.relate(ntp, timestamp)
        assert abs(clock.time(timestamp)) < 1e12
