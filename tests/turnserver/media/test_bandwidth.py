"""Estimates of a downlink from REMB and losses, and when more than that is tried."""

from turnserver.media.bandwidth import INITIAL_BITRATE, STALE, Prober, RembEstimator


def test_nothing_is_known_until_the_first_report() -> None:
    estimator = RembEstimator()
    assert not estimator.reported
    assert estimator.bitrate(0.0) == INITIAL_BITRATE
    estimator.remb(300_000, 1.0)
    assert estimator.reported
    assert estimator.bitrate(1.0) == 300_000


def test_a_low_remb_that_is_old_is_tried_again_with_the_initial_bitrate() -> None:
    estimator = RembEstimator()
    estimator.remb(300_000, 1.0)
    assert estimator.bitrate(1.0 + STALE) == 300_000
    assert estimator.bitrate(1.1 + STALE) == INITIAL_BITRATE
    estimator.remb(3_000_000, 20.0)
    assert estimator.bitrate(21.0 + STALE) == 3_000_000


def test_loss_by_chance_changes_nothing_and_loss_by_congestion_cuts_what_is_sent() -> None:
    estimator = RembEstimator()
    estimator.remb(2_000_000, 0.0)
    for second in range(5):
        estimator.loss(0.05, 500_000, float(second))
    assert estimator.bitrate(5.0) == 2_000_000
    estimator.loss(0.2, 500_000, 5.0)
    assert estimator.bitrate(5.0) == 450_000
    estimator.loss(0.2, 500_000, 5.1)
    assert estimator.bitrate(5.1) == 450_000, "the reports of other streams tell of the same loss"
    estimator.loss(0.0, 400_000, 6.0)
    assert 450_000 < estimator.bitrate(6.0) < 500_000


def test_impossible_reports_stay_within_bounds() -> None:
    estimator = RembEstimator()
    estimator.remb(1e18, 0.0)
    assert estimator.bitrate(0.0) == 100_000_000
    estimator.remb(0, 1.0)
    assert estimator.bitrate(1.0) == 30_000
    for second in range(100):
        estimator.loss(1.0, 0.0, float(second))
    assert estimator.bitrate(5.0) == 30_000


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
