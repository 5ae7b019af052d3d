"""Counting connections."""

from stun.address import Address
from tests.support.limits import limits
from turnserver.transports.limits import ConnectionLimiter

ONE = Address.parse("192.0.2.1", 0).ip
OTHER = Address.parse("192.0.2.2", 0).ip


def test_the_total_is_kept() -> None:
    """Rule 3: so many connections and no more, until one has gone."""
    limiter = ConnectionLimiter(limits(connections=2, connections_per_address=10))
    first, second = limiter.admit(), limiter.admit()
    assert first is not None
    assert second is not None
    assert limiter.admit() is None
    first.release()
    first.release()
    assert limiter.count == 1
    assert limiter.admit() is not None
    assert limiter.admit() is None


def test_each_address_has_its_share() -> None:
    """Rule 3: an address that has its fill does not concern the others."""
    limiter = ConnectionLimiter(limits(connections=10, connections_per_address=1))
    slots = [limiter.admit() for _ in range(3)]
    one, again, other = (slot for slot in slots if slot is not None)
    assert one.claim(ONE)
    assert not again.claim(ONE)
    assert other.claim(OTHER)
    one.release()
    assert again.claim(ONE)
    for slot in (again, other):
        slot.release()
    assert limiter.count == 0


def test_a_slot_is_claimed_once_and_not_after_it_was_given_back() -> None:
    """Rule 25: what was counted once is given back once."""
    limiter = ConnectionLimiter(limits(connections=10, connections_per_address=10))
    slot = limiter.admit()
    assert slot is not None
    assert slot.claim(ONE)
    assert not slot.claim(OTHER)
    slot.release()
    assert not slot.claim(ONE)
    assert limiter.count == 0


def test_an_ipv6_network_counts_as_one_address() -> None:
    """Rule 3: whoever has one IPv6 address has 2^64 of them."""
    limiter = ConnectionLimiter(limits(connections=10, connections_per_address=1))
    one, same, other = limiter.admit(), limiter.admit(), limiter.admit()
    assert one is not None
    assert same is not None
    assert other is not None
    assert one.claim(Address.parse("2001:db8::1", 0).ip)
    assert not same.claim(Address.parse("2001:db8::ffff", 0).ip)
    assert other.claim(Address.parse("2001:db8:0:1::1", 0).ip)


def test_other_limits_hold_for_who_comes_later() -> None:
    """Nobody who is there has to go."""
    limiter = ConnectionLimiter(limits(connections=2, connections_per_address=2))
    slots = [limiter.admit(), limiter.admit()]
    limiter.limits = limits(connections=1, connections_per_address=1)
    assert limiter.count == 2
    assert limiter.admit() is None
    for slot in slots:
        assert slot is not None
        slot.release()
    assert limiter.admit() is not None
