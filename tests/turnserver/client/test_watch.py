"""The looks at connections: when one is dead, and how long another one is given."""

from collections.abc import Sequence

import pytest

from turnserver.client.watch import Watch


class Looks:
    """Looks at connections, with the bytes that come in between."""

    def __init__(self, misses: int = 3) -> None:
        self.watch = Watch(misses)
        self.received = 0
        self.probes = 0
        self.probing = True

    def probe(self) -> bool:
        self.probes += 1
        return self.probing

    def see(self, more: int = 0, *, able: bool = True) -> bool:
        self.received += more
        return self.watch.look(self.received, able=able, probe=self.probe)

    def until_dead(self) -> int:
        """How many looks without anything it takes."""
        return next(count for count in range(1, 1000) if self.see())


def seen(looks: Looks, *more: int) -> Sequence[bool]:
    return [looks.see(each) for each in more]


def test_what_comes_keeps_it_alive_and_nothing_is_asked_for() -> None:
    looks = Looks()
    assert not any(seen(looks, *[1] * 20))
    assert looks.probes == 0


def test_looks_in_a_row_without_anything_are_the_end_of_it() -> None:
    looks = Looks()
    assert seen(looks, 100, 0, 0, 1, 0, 0, 0) == [False] * 6 + [True]
    assert looks.probes == 5


def test_a_new_connection_begins_without_bytes_and_without_misses() -> None:
    """Its first look finds as many bytes as the one before had at its last: none."""
    looks = Looks()
    assert seen(looks, 0, 0, 0) == [False] * 3
    looks.watch.begin()
    assert seen(looks, 0, 0, 0, 0) == [False, False, False, True]


def test_each_remedy_has_twice_the_time_of_the_one_before() -> None:
    """A minute at most, and as long as at first once something has come for as long."""
    looks = Looks()
    looks.see(1)
    assert [looks.until_dead() for _ in range(7)] == [3, 6, 12, 24, 48, 60, 60]
    assert seen(looks, 1, 1, 1) == [False] * 3
    assert looks.until_dead() == 60, "not for long enough"
    assert seen(looks, 1, 1, 1, 1) == [False] * 4
    assert looks.until_dead() == 3


@pytest.mark.parametrize("why", ["nothing can be done", "nothing need come"])
def test_looks_that_do_not_count(why: str) -> None:
    """Neither while signaling is away, nor where nobody has to answer."""
    looks = Looks()
    looks.see(1)
    looks.probing = why == "nothing can be done"
    able = not looks.probing
    assert not any(looks.see(able=able) for _ in range(20))
    assert looks.probes == (20 if able else 0)
    looks.probing = True
    assert looks.until_dead() == 3
