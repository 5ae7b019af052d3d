"""The machine's clocks."""

import time

from turnserver.clock import system_clock


def test_both_clocks_are_read() -> None:
    before = time.monotonic(), time.time()
    now = system_clock()
    assert before[0] <= now.mono <= time.monotonic()
    assert before[1] <= now.wall <= time.time()
