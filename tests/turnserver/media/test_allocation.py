"""How a downlink is shared among the pictures of one receiver, now and over time."""

from hypothesis import given
from hypothesis import strategies as st

from turnserver.media.allocation import PAUSED, Allocator, PictureDemand, allot
from turnserver.media.layers import EVERY_FRAME, Quality

LOW, MIDDLE, HIGH = 150_000.0, 500_000.0, 1_500_000.0
RUNGS = [
    Quality(0, EVERY_FRAME, LOW, 180),
    Quality(1, EVERY_FRAME, MIDDLE, 360),
    Quality(2, EVERY_FRAME, HIGH, 720),
]


def demands(*priorities: int, top: int = 2) -> list[PictureDemand]:
    return [PictureDemand(chr(97 + number), RUNGS, top, priority) for number, priority in enumerate(priorities)]


def test_everybody_is_seen_before_anybody_is_seen_well() -> None:
    assert allot(demands(3, 0, 0), 3 * LOW) == {"a": 0, "b": 0, "c": 0}
    assert allot(demands(3, 0, 0), 2.5 * LOW) == {"a": 0, "b": 0, "c": PAUSED}
    assert allot(demands(3, 0, 0), HIGH + 2 * LOW) == {"a": 2, "b": 0, "c": 0}
    assert allot(demands(0, 0), 2 * MIDDLE) == {"a": 1, "b": 1}
    assert allot(demands(0, 0), LOW - 1) == {"a": PAUSED, "b": PAUSED}


def test_nobody_gets_more_than_makes_sense() -> None:
    assert allot(demands(0, 0, top=1), 1e9) == {"a": 1, "b": 1}
    assert allot([PictureDemand("a", [], -1, 0)], 1e9) == {"a": PAUSED}


@given(
    st.lists(st.tuples(st.integers(-1, 2), st.integers(0, 3)), max_size=8),
    st.floats(0, 1e7),
)
def test_an_allotment_fits_and_leaves_no_step_that_would_fit(asked: list[tuple[int, int]], budget: float) -> None:
    asked.sort(key=lambda demand: -demand[1])
    wanted = [PictureDemand(str(number), RUNGS, top, priority) for number, (top, priority) in enumerate(asked)]
    chosen = allot(wanted, budget)
    spent = sum(RUNGS[rung].bitrate for rung in chosen.values() if rung >= 0)
    assert spent <= budget or not spent
    for demand in wanted:
        rung = chosen[demand.key]
        assert rung <= demand.top
        if rung < demand.top:
            before = RUNGS[rung].bitrate if rung >= 0 else 0.0
            assert RUNGS[rung + 1].bitrate - before > budget - spent


def test_down_at_once_and_up_after_a_while() -> None:
    allocator = Allocator()
    assert allocator.allocate(demands(0), 2e6, 0.0) == {"a": 2}
    assert allocator.allocate(demands(0), 6e5, 10.0) == {"a": 1}
    assert allocator.allocate(demands(0), 2e6, 10.5) == {"a": 1}
    assert allocator.allocate(demands(0), 2e6, 10.0 + Allocator.PATIENCE) == {"a": 2}


def test_it_stays_where_it_is_while_the_estimate_swings_a_little() -> None:
    allocator = Allocator()
    allocator.allocate(demands(0), MIDDLE * 1.2, 0.0)
    for second, estimate in enumerate((MIDDLE * 0.97, MIDDLE * 1.02, MIDDLE, MIDDLE * 1.08), start=10):
        assert allocator.allocate(demands(0), estimate, float(second)) == {"a": 1}
    fresh = Allocator()
    assert fresh.allocate(demands(0), MIDDLE * 1.02, 0.0) == {"a": 0}, "going up needs room"


def test_going_up_by_mistake_makes_it_patient() -> None:
    allocator = Allocator()
    allocator.allocate(demands(0), LOW * 1.2, 0.0)
    now, waits = 10.0, []
    for _ in range(4):
        since = now
        while allocator.allocate(demands(0), 6e5, now)["a"] == 0:
            now += 0.5
        waits.append(now - since)
        now += 1.0
        assert allocator.allocate(demands(0), LOW * 1.2, now) == {"a": 0}
    assert waits == sorted(waits)
    assert waits[-1] > 2 * Allocator.PATIENCE
    assert allocator.allocate(demands(0), 6e5, now + Allocator.MOST_PATIENCE) == {"a": 1}


def test_while_it_waits_a_new_picture_gets_what_is_left_and_a_hidden_one_ends() -> None:
    allocator = Allocator()
    allocator.allocate(demands(0, 0), 2e6, 0.0)
    assert allocator.allocate(demands(0, 0), 3 * LOW, 10.0) == {"a": 0, "b": 0}
    assert allocator.allocate(demands(0, 0, 0), 3.5 * LOW, 10.1) == {"a": 0, "b": 0, "c": 0}
    assert allocator.allocate(demands(0, top=0), 3 * LOW, 10.2) == {"a": 0}
    assert allocator.allocate([PictureDemand("a", RUNGS, -1, 0)], 3 * LOW, 10.3) == {"a": PAUSED}


def test_the_more_important_picture_is_raised_and_the_other_gives_way() -> None:
    allocator = Allocator()
    assert allocator.allocate(demands(0, 0), 2.2 * MIDDLE, 0.0) == {"a": 1, "b": 1}
    swapped = [PictureDemand("b", RUNGS, 2, 3), PictureDemand("a", RUNGS, 2, 0)]
    assert allocator.allocate(swapped, HIGH + LOW * 2, 10.0) == {"b": 2, "a": 0}


def test_the_smallest_pictures_stay_where_the_downlink_carries_them_for_certain() -> None:
    allocator = Allocator()
    assert allocator.allocate(demands(0, 0, 0), 2e6, 0.0, least=1e6) == {"a": 1, "b": 1, "c": 1}
    assert allocator.allocate(demands(0, 0, 0), 1e5, 9.0, least=1e6) == {"a": 0, "b": 0, "c": 0}
    assert allocator.allocate(demands(0, 0, 0), 1e5, 10.0, least=2.5 * LOW) == {"a": 0, "b": 0, "c": PAUSED}
