"""Rates from samples of counters."""

from turnserver.media.stats import RateMeter


def test_a_rate_needs_two_samples_and_settles() -> None:
    meter = RateMeter()
    assert meter.sample(1000, 10.0) == 0
    assert meter.sample(2000, 10.1) == 0, "too soon"
    assert meter.sample(11_000, 11.0) == 80_000
    total = 11_000
    for second in range(12, 22):
        total += 20_000
        meter.sample(total, float(second))
    assert meter.newest == 160_000
    assert abs(meter.bitrate - 160_000) < 1000


def test_a_counter_that_stands_still_has_no_rate_soon() -> None:
    meter = RateMeter()
    meter.sample(0, 0.0)
    meter.sample(100_000, 1.0)
    for second in range(2, 14):
        meter.sample(100_000, float(second))
    assert meter.bitrate == 0
