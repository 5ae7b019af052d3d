"""Estimates of a downlink from REMB and losses, and when more than that is tried."""

import pytest

from turnserver.media.bandwidth import INITIAL_BITRATE, STALE, Prober, RembEstimator


def test_a_low_estimate_means_nothing_without_evidence() -> None:
    estimator = RembEstimator()
    assert not estimator.reported
    assert estimator.bitrate(0.0) == INITIAL_BITRATE
    estimator.remb(300_000, 400_000, 1.0)
    assert estimator.reported
    assert estimator.bitrate(1.0) == INITIAL_BITRATE, "the receiver's machine may be busy"
    estimator.report(0.0, 0.1, 400_000, 2.0)
    estimator.remb(300_000, 400_000, 2.0)
    assert estimator.bitrate(2.0) == INITIAL_BITRATE


@pytest.mark.parametrize(("lost", "late"), [(0.3, 0.0), (0.0, 0.5)])
@pytest.mark.parametrize("remb_first", [True, False])
def test_what_is_lost_or_late_is_evidence(lost: float, late: float, remb_first: bool) -> None:
    estimator = RembEstimator()
    if remb_first:
        estimator.remb(300_000, 400_000, 1.0)
        estimator.report(lost, late, 400_000, 1.1)
    else:
        estimator.report(lost, late, 400_000, 1.0)
        estimator.remb(300_000, 400_000, 1.1)
    assert estimator.bitrate(1.1) == 300_000
    estimator.remb(350_000, 200_000, 3.0)
    assert estimator.bitrate(3.0) == 350_000


def test_an_estimate_follows_what_is_sent_so_a_low_one_of_little_means_nothing() -> None:
    estimator = RembEstimator()
    estimator.report(0.09, 0.5, 90_000, 1.0)
    estimator.remb(50_000, 90_000, 1.1)
    assert estimator.bitrate(1.1) == INITIAL_BITRATE


def test_a_high_estimate_counts_at_once() -> None:
    estimator = RembEstimator()
    estimator.remb(9_000_000, 6_000_000, 1.0)
    assert estimator.bitrate(1.0) == 9_000_000
    assert estimator.bitrate(1.1 + STALE) == INITIAL_BITRATE


def test_loss_by_chance_changes_nothing_and_loss_by_congestion_cuts_what_is_sent() -> None:
    estimator = RembEstimator()
    estimator.remb(2_000_000, 3_000_000, 0.0)
    for second in range(5):
        estimator.report(0.05, 0.0, 500_000, float(second))
    assert estimator.bitrate(5.0) == INITIAL_BITRATE
    estimator.report(0.2, 0.0, 500_000, 5.0)
    assert estimator.bitrate(5.0) == INITIAL_BITRATE, "one report is about few packets"
    estimator.report(0.2, 0.0, 500_000, 6.0)
    assert estimator.bitrate(6.0) == 450_000
    for when in (6.1, 7.0):
        estimator.report(0.6, 0.0, 300_000, when)
        assert estimator.bitrate(when) == 450_000, "other streams, and later reports, tell of the same loss"
    estimator.report(0.6, 0.0, 300_000, 8.1)
    assert estimator.bitrate(8.1) == pytest.approx(210_000)


def test_without_evidence_it_goes_up_again_as_far_as_it_was_tried() -> None:
    estimator = RembEstimator()
    estimator.report(0.0, 1.0, 400_000, 0.0)
    estimator.remb(200_000, 400_000, 0.1)
    for second in range(1, 20):
        estimator.report(0.0, 0.0, 200_000, float(second))
        estimator.remb(100_000, 90_000, float(second))
    assert estimator.bitrate(19.0) == 300_000
    for second in range(20, 60):
        estimator.report(0.0, 0.0, 9e6, float(second))
    assert estimator.bitrate(59.0) >= INITIAL_BITRATE


def test_only_much_loss_says_what_the_downlink_carries_at_least() -> None:
    estimator = RembEstimator()
    estimator.report(0.05, 2.0, 800_000, 0.0)
    estimator.remb(100_000, 800_000, 0.1)
    assert estimator.least == INITIAL_BITRATE
    estimator.report(0.6, 0.0, 800_000, 1.0)
    assert estimator.least == pytest.approx(288_000), "the receiver's estimate is lower than what has arrived"
    for second in range(2, 100):
        estimator.report(0.0, 0.0, 400_000, float(second))
    assert estimator.least == 600_000, "as far as it was tried"


def test_a_full_downlink_delivers_what_it_carries() -> None:
    """250 kbit/s of 900 arrive: the smallest picture fits, whatever the receiver's estimate is in the first moment."""
    estimator = RembEstimator()
    estimator.remb(150_000, 900_000, 0.5)
    estimator.report(0.72, 0.4, 900_000, 1.0)
    assert 200_000 < estimator.bitrate(1.0) < 250_000
    estimator.remb(140_000, 300_000, 1.5)
    assert 200_000 < estimator.bitrate(1.5) < 250_000
    estimator.remb(140_000, 240_000, 5.0)
    estimator.report(0.0, 0.5, 240_000, 5.1)
    assert estimator.bitrate(5.1) == 140_000, "what arrived seconds ago says nothing any more"


def test_a_little_loss_by_chance_is_no_evidence() -> None:
    """However low the receiver's estimate is: it begins low, and follows what is sent."""
    estimator = RembEstimator()
    for second in range(20):
        estimator.remb(160_000 + 10_000 * second, 500_000, second)
        estimator.report(0.2 if second % 3 == 1 else 0.08, 0.1, 500_000, second + 0.1)
        assert estimator.bitrate(second + 0.1) == INITIAL_BITRATE


def test_impossible_reports_stay_within_bounds() -> None:
    estimator = RembEstimator()
    estimator.remb(1e18, 0.0, 0.0)
    assert estimator.bitrate(0.0) == 100_000_000
    for second in range(100):
        estimator.report(1.0, 1e9, 1e9, float(second))
        estimator.remb(0, 1e9, float(second))
    assert estimator.bitrate(99.0) == 30_000


def test_no_trial_while_everything_fits() -> None:
    prober = Prober()
    assert prober.padding(1_000_000, 500_000, 900_000, 0.0) == 0
    assert not prober.active


def test_a_trial_sends_a_little_more_than_the_estimate_until_the_aim_is_reached() -> None:
    prober = Prober()
    assert prober.padding(400_000, 300_000, 1_000_000, 0.0) == 400_000 * Prober.OVERSHOOT - 300_000
    assert prober.padding(700_000, 500_000, 1_000_000, 1.0) == 700_000 * Prober.OVERSHOOT - 500_000
    assert prober.padding(900_000, 500_000, 1_000_000, 2.0) == 500_000, "no more than what is wanted"
    assert prober.padding(1_000_000, 500_000, 1_000_000, 3.0) == 0
    assert not prober.active
    assert prober.padding(900_000, 500_000, 1_000_000, 3.0 + Prober.SOONEST) > 0


def test_a_trial_ends_when_the_estimate_falls_and_the_next_ones_come_later_and_later() -> None:
    prober, now, pauses = Prober(), 0.0, []
    for _ in range(4):
        assert prober.padding(400_000, 300_000, 1_000_000, now) > 0
        assert prober.padding(350_000, 300_000, 1_000_000, now + 0.5) == 0
        began = now = now + 0.5
        while not prober.padding(400_000, 300_000, 1_000_000, now):
            now += 0.25
        pauses.append(now - began)
        prober.padding(300_000, 300_000, 1_000_000, now)
        now += Prober.LATEST
    assert pauses == sorted(pauses)
    assert pauses[0] > Prober.SOONEST
    assert pauses[-1] == Prober.LATEST


def test_a_trial_that_does_not_help_ends() -> None:
    prober = Prober()
    assert prober.padding(400_000, 300_000, 1_000_000, 0.0) > 0
    assert prober.padding(400_000, 300_000, 1_000_000, Prober.LONGEST + 0.1) == 0
    assert not prober.active


def test_congestion_ends_a_trial_and_puts_the_next_off() -> None:
    prober = Prober()
    prober.padding(400_000, 300_000, 1_000_000, 0.0)
    prober.congested(1.0)
    assert not prober.active
    assert prober.padding(400_000, 300_000, 1_000_000, 1.0 + Prober.SOONEST) == 0
