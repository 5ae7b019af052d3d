"""Limits: buckets, floods, and books of counts that end."""

import pytest

from turnserver.signaling.rooms.throttle import Book, Bucket, Flood, address_key

__all__: list[str] = []


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("no address", "no address"),
        ("x" * 1000, "x" * 64),
    ],
)
def test_limits_go_by_address_and_of_ipv6_by_site(address: str, key: str) -> None:
    """RFC 6177: a site has at least a /64."""
    assert address_key(address) == key


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


def test_a_book_counts_until_the_end() -> None:
    book: Book[str] = Book(10)
    for moment in (0.0, 5.0, 9.0):
        book.add("a", moment, moment + 10.0)
    assert (book.count("a", 9.9), book.end("a")) == (3, 10.0)
    assert book.count("a", 10.0) == 0
    book.add("a", 11.0, 21.0)
    assert (book.count("a", 12.0), book.end("a")) == (1, 21.0)
    book.extend("a", 12.0, 50.0)
    book.extend("a", 12.0, 30.0)
    assert (book.count("a", 49.0), book.end("a")) == (3, 50.0)


def test_a_book_has_an_end_too() -> None:
    """The oldest is forgotten first; what has ended takes no place for long."""
    book: Book[int] = Book(3)
    for number in range(3):
        book.add(number, 0.0, 10.0 + number)
    assert book.is_full(5.0)
    book.add(3, 5.0, 100.0)
    assert [book.count(number, 5.0) for number in range(4)] == [0, 1, 1, 1]
    assert not book.is_full(11.5)
    for number in range(100):
        book.add(number, 20.0, 30.0)
        assert len(book) <= 3
