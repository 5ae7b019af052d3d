"""Rates from samples of counters, and budgets."""

import json

from hypothesis import given
from hypothesis import strategies as st

from turnserver.media.stats import (
    Budget,
    ForwardingView,
    LayerView,
    MediaPeerView,
    MediaRoomView,
    RateMeter,
    TrackView,
    room_as_json,
)


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


def test_a_room_for_programs() -> None:
    """The names of the views, and nothing that JSON has not."""
    layer = LayerView("h", 1_200_000.4, 720, 900, 3, 2, 1)
    forwarded = ForwardingView("bob", "camera", None, 0, 5, 4, 3)
    ann = MediaPeerView(
        "ann", True, False, 2e6 + 0.25, 1e6, (TrackView("camera", "vp8", False, (layer,)),), (forwarded,)
    )
    found = room_as_json(MediaRoomView("tea", 3, "ann", 10, 20, (ann,)))
    assert json.loads(json.dumps(found)) == found
    assert found == {
        "epoch": 3,
        "speaker": "ann",
        "packets_in": 10,
        "packets_out": 20,
        "peers": [
            {
                "id": "ann",
                "publishing": True,
                "subscribing": False,
                "estimate": 2_000_000,
                "sending": 1_000_000,
                "tracks": [
                    {
                        "source": "camera",
                        "codec": "vp8",
                        "muted": False,
                        "layers": [layer._asdict() | {"bitrate": 1_200_000}],
                    }
                ],
                "forwarded": [forwarded._asdict()],
            }
        ],
    }


@given(st.lists(st.tuples(st.floats(0, 2), st.floats(0, 30)), max_size=60))
def test_a_budget_is_never_overdrawn(steps: list[tuple[float, float]]) -> None:
    """Of ten at once and five a second: in any time no more is done than that, and what fits is not refused."""
    budget, now, done = Budget(10, 5), 100.0, 0.0
    for pause, amount in steps:
        now += pause
        left = budget.left(now)
        assert 0 <= left <= 10
        taken = budget.take(amount, now)
        assert taken == (amount <= left)
        done += amount if taken else 0
        assert done <= 10 + 5 * (now - 100.0) + 1e-6
    before = budget.left(now)
    assert budget.left(now - 50) == before, "time that goes back gives nothing"
