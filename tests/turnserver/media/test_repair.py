"""How much is sent again, and how soon the same once more."""

import pytest

from turnserver.media.repair import BURST, LEAST, LEAST_PAUSE, MOST_PAUSE, SHARE, Repair
from turnserver.media.rtcp import ReportBlock, SenderReport


def block(ssrc: int, last: int, delay: float) -> ReportBlock:
    """A receiver has got a sender report so many seconds ago."""
    return ReportBlock(ssrc, 0, 0, 0, 0, last, int(delay * 65536))


def spent(repair: Repair, now: float, size: int = 1000) -> int:
    """All that may be sent again now, in packets of a size."""
    packets = 0
    while repair.allows(now):
        repair.spend(size)
        packets += 1
    return packets


def test_repetitions_have_a_share_of_the_estimate() -> None:
    repair = Repair(800_000.0)
    at_once = spent(repair, 0.0)
    assert at_once == pytest.approx(100 * SHARE * BURST, abs=1)
    assert spent(repair, 0.0) == 0
    assert sum(spent(repair, step / 40) for step in range(1, 401)) == pytest.approx(1000 * SHARE, abs=2)
    assert spent(repair, 1000.0) <= at_once + 1, "a pause saves up no more"


def test_a_lower_estimate_counts_at_once() -> None:
    repair = Repair(8_000_000.0)
    repair.limit(80_000.0, 1.0)
    assert spent(repair, 1.0) == LEAST / 1000
    repair.limit(0.0, 1.0)
    assert spent(repair, 9.0) == 0
    repair.limit(8_000_000.0, 9.0)
    assert spent(repair, 10.0) > 100


def test_a_packet_is_not_sent_twice_in_a_round_trip() -> None:
    """RFC 3550 §6.4.1: the time of the last sender report, and the delay since it came."""
    repair = Repair(800_000.0)
    assert repair.pause == LEAST_PAUSE
    repair.reported(SenderReport(7, 0x1234_5678_9ABC_DEF0, 0, 0, 0), 10.0)
    repair.answered(block(7, 0x5678_9ABC, 0.5), 10.9)
    assert repair.round_trip == pytest.approx(0.4, abs=0.001)
    assert 0.3 <= repair.pause <= 0.4
    repair.reported(SenderReport(7, 0x1235_5678_9ABC_DEF0, 0, 0, 0), 11.0)
    repair.answered(block(7, 0x5678_9ABC, 0.0), 11.1)
    assert 0.1 < repair.round_trip < 0.4, "it falls slowly"


def test_a_round_trip_that_grows_is_a_queue_until_it_stays_so() -> None:
    repair = Repair(800_000.0)
    seen = []
    for number in range(1, 400):
        now = float(number)
        repair.reported(SenderReport(7, number << 16, 0, 0, 0), now)
        repair.answered(block(7, number, 0.0), now + (0.05 if number < 50 else 0.5))
        seen.append(repair.queued)
    assert not any(seen[:49])
    assert all(seen[49:75])
    assert not any(seen[150:])


@pytest.mark.parametrize(
    "wrong",
    [block(7, 0, 0.0), block(8, 0x5678_9ABC, 0.0), block(7, 1, 0.0), block(7, 0x5678_9ABC, 60_000.0)],
    ids=["no report", "another stream", "another report", "a delay that cannot be"],
)
def test_what_cannot_be_is_not_believed(wrong: ReportBlock) -> None:
    repair = Repair(800_000.0)
    repair.reported(SenderReport(7, 0x1234_5678_9ABC_DEF0, 0, 0, 0), 10.0)
    repair.answered(wrong, 10.9)
    assert repair.round_trip == 0
    repair.answered(block(7, 0x5678_9ABC, 0.0), 1000.0)
    assert repair.pause <= MOST_PAUSE


def test_few_reports_are_remembered() -> None:
    repair = Repair(800_000.0)
    for number in range(10_000):
        repair.reported(SenderReport(number, 0x1234_5678_9ABC_DEF0, 0, 0, 0), 10.0)
    assert len(repair._sent) < 1_000
