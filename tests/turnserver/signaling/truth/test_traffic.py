"""The meter: what ICE alone sends never counts as a call, whatever the interval; the faintest call does."""

import pytest

from turnserver.core.types import Counters
from turnserver.signaling.truth.traffic import CHECK_BURST, FULL, LEAK, Traffic

INTERVALS = [0.5, 2.0, 5.0]


class Flow:
    """Traffic at steady rates, in packets per second and bytes per packet, both ways."""

    def __init__(self, interval: float) -> None:
        self.interval = interval
        self.now = 100.0
        self.counters = Counters()
        self.traffic = Traffic(self.counters, self.now)

    def run(self, seconds: float, up: tuple[float, int], down: tuple[float, int]) -> "Flow":
        for _ in range(round(seconds / self.interval)):
            self.now += self.interval
            packets = [round(rate * self.interval) for rate, _ in (up, down)]
            grown = (packets[0], packets[0] * up[1], packets[1], packets[1] * down[1], 0)
            self.counters = Counters(*(a + b for a, b in zip(self.counters, grown, strict=True)))
            self.traffic.update(self.counters, self.now)
        return self

    @property
    def carries(self) -> bool:
        return self.traffic.carries


CHECKS = {
    "consent of one pair (RFC 7675)": ((0.4, 100), (0.4, 64)),
    "a selected pair of Chromium, both ends' checks and answers": ((4, 100), (4, 100)),
    "all pairs of a browser while it looks for a path": ((21, 110), (21, 110)),
    "checks that nobody answers": ((40, 120), (0, 0)),
    "nothing": ((0, 0), (0, 0)),
}

CALLS = {
    "microphone off: Opus silence, 50 packets a second": ((50, 38), (50, 38)),
    "one speaks": ((50, 110), (2, 80)),
    "one is a listener": ((2, 80), (50, 110)),
    "sound and picture at 320x180": ((70, 500), (70, 500)),
    "a data channel at work": ((10, 1100), (10, 60)),
}


@pytest.mark.parametrize("interval", INTERVALS)
@pytest.mark.parametrize("name", CHECKS)
def test_checks_are_not_a_call(name: str, interval: float) -> None:
    """RFC 8445 §6.1.4, RFC 7675 §5.1: pacing and consent bound what an unused relay carries."""
    flow = Flow(interval)
    for _ in range(20):
        assert not flow.run(6.0 if interval != 5.0 else 5.0, *CHECKS[name]).carries


@pytest.mark.parametrize("interval", INTERVALS)
@pytest.mark.parametrize("name", CALLS)
def test_a_call_is_noticed(name: str, interval: float) -> None:
    """Within a quarter of a minute even when nobody speaks; and it stays so."""
    flow = Flow(interval).run(15, *CALLS[name])
    assert flow.carries
    for _ in range(10):
        assert flow.run(10, *CALLS[name]).carries


@pytest.mark.parametrize("interval", INTERVALS)
def test_a_picture_is_noticed_at_the_first_look(interval: float) -> None:
    assert Flow(interval).run(interval, (70, 900), (70, 900)).carries


@pytest.mark.parametrize("interval", INTERVALS)
def test_a_pause_does_not_make_it_flap_and_an_end_is_noticed(interval: float) -> None:
    """Hysteresis: five seconds of checks alone change nothing, twenty do."""
    flow = Flow(interval).run(20, *CALLS["sound and picture at 320x180"])
    checks = CHECKS["a selected pair of Chromium, both ends' checks and answers"]
    assert flow.run(5, *checks).carries
    assert flow.run(10, *CALLS["sound and picture at 320x180"]).carries
    assert not flow.run(20, *checks).carries


def test_what_is_never_answered_is_not_a_path() -> None:
    """Somebody floods a relay whose owner never sends: many bytes, no call."""
    flow = Flow(2.0).run(20, (0, 0), (1000, 1000))
    assert not flow.carries
    assert not flow.traffic.both_ways
    assert flow.run(2.0, (1, 100), (1000, 1000)).carries


def test_growth_is_given_and_counters_that_fall_are_none() -> None:
    """RFC 8656 §8.2: when one half of a dual allocation is deleted, its counters go with it."""
    traffic = Traffic(Counters(), 0.0)
    assert traffic.update(Counters(10, 1000, 5, 400), 1.0) == (1000, 400)
    assert traffic.update(Counters(2, 100, 1, 60), 2.0) == (0, 0)
    assert traffic.update(Counters(3, 150, 1, 60), 3.0) == (50, 0)
    assert traffic.moved_at == 3.0


def test_a_stream_has_no_packets_and_every_byte_counts() -> None:
    """RFC 6062: nobody sends checks over a TCP relay."""
    traffic = Traffic(Counters(), 0.0)
    traffic.update(Counters(bytes_to_peers=6000, bytes_to_client=10), 1.0)
    assert traffic.carries
    assert traffic.busy_at == 1.0


def test_a_clock_that_stands_still_or_runs_back_is_harmless() -> None:
    traffic = Traffic(Counters(), 10.0)
    assert traffic.update(Counters(100, 90_000, 100, 90_000), 10.0) == (90_000, 90_000)
    assert traffic.update(Counters(100, 90_000, 100, 90_000), 5.0) == (0, 0)
    assert traffic.carries


def test_a_minute_of_silence_is_not_held_against_what_follows() -> None:
    """An idle meter keeps its clock: the leak of the silence does not swallow the first sound."""
    flow = Flow(2.0).run(10, (50, 110), (50, 110)).run(60, (0, 0), (0, 0))
    assert (flow.carries, flow.traffic.pace) == (False, 0.0)
    assert flow.run(4, (50, 110), (50, 110)).carries


def test_the_bucket_is_bounded() -> None:
    """A gigabyte does not keep a relay "carrying" any longer than a megabyte does."""
    traffic = Traffic(Counters(), 0.0)
    traffic.update(Counters(10**6, 10**9, 10**6, 10**9), 1.0)
    assert traffic.carries
    still = Counters(10**6, 10**9, 10**6, 10**9)
    traffic.update(still, 1.0 + FULL / LEAK)
    assert not traffic.carries
    assert CHECK_BURST < 10**3
