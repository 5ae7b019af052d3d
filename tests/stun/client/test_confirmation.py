"""When a client that has moved says so, if it has nothing to send (RFC 8016 §3.2.2)."""

from stun.client.confirmation import Confirmation, nobody
from stun.constants import AddressFamily


def test_nothing_is_due_before_a_move() -> None:
    confirmation = Confirmation()
    assert not confirmation.due(1e9)
    assert confirmation.deadline() is None


def test_four_times_at_growing_intervals() -> None:
    confirmation = Confirmation()
    confirmation.begin(100.0)
    moments = []
    while (moment := confirmation.deadline()) is not None:
        assert not confirmation.due(moment - 0.01)
        assert confirmation.due(moment)
        moments.append(moment)
    assert moments == [100.0, 100.5, 101.5, 103.5]


def test_it_ends_and_begins_anew() -> None:
    confirmation = Confirmation()
    confirmation.begin(100.0)
    assert confirmation.due(100.0)
    confirmation.end()
    assert not confirmation.due(200.0)
    confirmation.begin(300.0)
    assert confirmation.due(300.0)


def test_nobody_is_of_the_relays_family() -> None:
    """Another family would be refused, not dropped, by a server that looks at it first."""
    assert [nobody(family).family for family in AddressFamily] == list(AddressFamily)
