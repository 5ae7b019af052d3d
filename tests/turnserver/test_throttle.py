"""Limits: buckets, floods, and those who guess."""

from ipaddress import ip_address
from math import inf

import pytest

from turnserver.throttle import Bucket, Buckets, Flood, Guesses, packed_prefix, prefix_of

__all__: list[str] = []

FAILURES, WINDOW, SIZE = 10, 1800.0, 4096


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("no address", "no address"),
        ("elsewhere", "elsewhere"),
        ("x" * 1000, "x" * 64),
    ],
)
def test_limits_go_by_address_and_of_ipv6_by_site(address: str, key: str) -> None:
    """RFC 6177: a site has at least a /64."""
    assert prefix_of(address) == key


def test_a_bucket_fills_up_again() -> None:
    bucket = Bucket(2.0, 3, 10.0)
    assert [bucket.take(10.0) for _ in range(3)] == [0.0, 0.0, 0.0]
    assert bucket.take(10.0) == 0.5
    assert bucket.take(10.25) == 0.25
    assert bucket.take(10.5) == 0.0
    assert [bucket.take(1000.0) for _ in range(4)] == [0.0, 0.0, 0.0, 0.5]


def test_a_bucket_may_go_into_debt_so_far() -> None:
    bucket = Bucket(1.0, 2, 0.0)
    assert [bucket.take(0.0, debt=2) for _ in range(5)] == [0.0, 0.0, 0.0, 0.0, 1.0]
    assert bucket.in_debt
    assert bucket.take(0.0) == 3.0
    assert bucket.take(3.0) == 0.0
    assert not bucket.in_debt


def test_a_flood_is_as_long_as_it_goes_on() -> None:
    flood = Flood()
    assert [flood.refused(moment) for moment in (0.0, 1.0, 3.0, 5.0)] == [0.0, 1.0, 3.0, 5.0]
    assert flood.refused(7.5) == 0.0, "there was a pause"


@pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"])
def test_packed_addresses_count_as_their_texts_do(address: str) -> None:
    packed = ip_address(address).packed
    assert packed_prefix(packed) in packed
    assert (len(packed_prefix(packed)) == 4) == (prefix_of(address) == address)


def test_what_is_spent_is_gone_however_little_there_was() -> None:
    """`spend` never refuses: it says how long to wait until the debt is paid."""
    bucket = Bucket(2.0, 2, 0.0)
    assert [bucket.spend(0.0) for _ in range(4)] == [0.0, 0.0, 0.5, 1.0]
    assert bucket.in_debt
    assert bucket.spend(1.0) == 0.5
    assert bucket.spend(100.0) == 0.0
    assert not bucket.in_debt


def test_a_bucket_that_nothing_flows_into_never_has_more() -> None:
    bucket = Bucket(0.0, 1, 0.0)
    assert [bucket.take(0.0), bucket.take(1e9), bucket.spend(1e9)] == [0.0, inf, inf]


def test_what_is_given_back_does_not_exceed_the_burst() -> None:
    bucket = Bucket(0.0, 3, 0.0)
    assert bucket.take(0.0, 2) == 0.0
    bucket.refund(0.0, 100)
    assert (bucket.take(0.0, 3), bucket.take(0.0)) == (0.0, inf)


def test_each_key_has_its_own_bucket_and_the_least_used_is_forgotten() -> None:
    buckets: Buckets[str] = Buckets(1.0, 1, 2)
    assert [buckets.take(key, 0.0) for key in ("a", "b", "a", "c")] == [0.0, 0.0, 1.0, 0.0]
    assert len(buckets) == 2
    assert buckets.take("a", 0.0) == 1.0, "used later than b, which made room for c"
    assert buckets.take("b", 0.0) == 0.0, "begins anew"


def test_giving_back_to_a_key_that_is_not_remembered_makes_no_entry() -> None:
    buckets: Buckets[str] = Buckets(0.0, 2, 2)
    buckets.refund("a", 0.0, 5)
    assert len(buckets) == 0
    assert buckets.take("a", 0.0, 2) == 0.0
    buckets.refund("a", 0.0, 1)
    assert [buckets.take("a", 0.0), buckets.take("a", 0.0)] == [0.0, inf]


def test_the_door_closes_after_so_many_wrong_keys_and_opens_again() -> None:
    guesses = Guesses[str](FAILURES, WINDOW, SIZE)
    for second in range(FAILURES):
        assert guesses.wait("192.0.2.1", 100.0 + second) == 0
        guesses.failed("192.0.2.1", 100.0 + second)
    assert guesses.wait("192.0.2.1", 110.0) == WINDOW - 10
    assert guesses.wait("192.0.2.2", 110.0) == 0, "others are not affected"
    assert guesses.wait("192.0.2.1", 100.0 + WINDOW) == 0


def test_who_goes_on_guessing_goes_on_waiting() -> None:
    guesses = Guesses[str](2, WINDOW, SIZE)
    for moment in (0.0, 1.0, 2.0):
        guesses.failed("192.0.2.1", moment)
    assert guesses.wait("192.0.2.1", WINDOW) == 1.0


def test_one_household_is_one_guesser() -> None:
    """A client has a whole IPv6 /64 to guess from."""
    guesses = Guesses[str](2, WINDOW, SIZE)
    guesses.failed(prefix_of("2001:db8::1"), 0)
    guesses.failed(prefix_of("2001:db8::ffff:2"), 0)
    assert guesses.wait(prefix_of("2001:db8::3"), 0) == WINDOW
    assert guesses.wait(prefix_of("2001:db8:0:1::3"), 0) == 0


def test_the_table_is_bounded_and_forgets_the_oldest() -> None:
    guesses = Guesses[str](1, WINDOW, SIZE)
    for number in range(SIZE + 10):
        guesses.failed(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", 0)
    assert len(guesses) == SIZE
    assert guesses.wait("10.0.0.9", 0) == 0
    assert guesses.wait("10.0.0.10", 0) == WINDOW
