"""A receiver behind a downlink that is slow, lossy or shared, simulated: the server and the reports are real ones."""

import pytest

from tests.support.downlink_world import Watched
from turnserver.media.repair import BURST, LEAST, SHARE


def well(**settings: float) -> Watched:
    """The large picture is there, and nothing is limited."""
    watched = Watched(**settings)
    watched.run(8.0)
    assert watched.rid == "h"
    return watched


@pytest.mark.parametrize("seed", [1, 2])
def test_a_full_downlink_is_not_filled_with_repetitions(seed: int) -> None:
    """What is sent again stays within its share of the estimate in each second, and the sound comes through
    once the estimate is known."""
    watched = well(seed=seed)
    subscriber = watched.subscriber
    watched.link.bits = 250_000
    forwarders = [slot.forwarder for slot in subscriber.slots]
    repeated, estimates = [0], [subscriber.estimator.bitrate(watched.now)]
    for step in range(16):
        if step == 8:
            watched.forget()
        watched.run(0.5)
        repeated.append(sum(forwarder.repeated for forwarder in forwarders))
        estimates.append(subscriber.estimator.bitrate(watched.now))
    for place in range(2, len(repeated)):
        most = max(estimates[place - 2 : place + 1]) / 8 * SHARE * (1 + BURST) + LEAST
        assert (repeated[place] - repeated[place - 2]) * 700 <= most, "of packets that have 700 bytes at least"
    assert watched.rid == "l"
    assert watched.missing() < 0.02
    assert max(sent for when, _, _, sent in watched.story if when > 11) < 500_000


def test_loss_by_chance_is_repaired() -> None:
    """One packet of twenty: the picture stays, and everything comes in the end."""
    watched = well()
    watched.link.loss = 0.05
    watched.run(10.0)
    assert {rid for _, rid, _, _ in watched.story[-18:]} == {"h"}
    (heard,) = watched.viewer.video.values()
    assert watched.viewer.repeated > 15
    assert len(heard.numbers) > (heard.highest - heard.first + 1) * 0.99
