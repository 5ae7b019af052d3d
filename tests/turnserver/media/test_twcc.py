"""Transport-wide feedback: statuses, deltas, and what has no room."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnserver.media.twcc import (
    MOST_ARRIVALS,
    MOST_NUMBERS,
    MOST_READ,
    TransportFeedback,
    read_feedback,
    write_feedback,
)

HEAD = struct.Struct("!HHI")

DELTAS = st.lists(st.one_of(st.none(), st.integers(0, 255), st.integers(-0x8000, 0x7FFF)), min_size=1, max_size=60)


def body(first: int, statuses: int, reference: int, count: int, rest: str) -> bytes:
    return HEAD.pack(first, statuses, (reference & 0xFFFFFF) << 8 | count) + bytes.fromhex(rest)


@pytest.mark.parametrize(
    ("rest", "deltas"),
    [
        ("2003 010203", (1, 2, 3)),
        ("0003 2002 0405", (None, None, None, 4, 5)),
        ("4001 ff9c", (-100,)),
        ("9a1d 010203040506 0708", (None, 1, 2, None, 3, None, None, None, None, 4, 5, 6, None, 7)),
        ("d852 01 fffe 02 03 0004", (1, -2, None, 2, 3, None, 4)),
    ],
    ids=["a run", "a run of missing ones", "a large delta", "a bit for each", "two bits for each"],
)
def test_each_kind_of_chunk_is_read(rest: str, deltas: tuple[int | None, ...]) -> None:
    """As in the examples of §3.1.3 and §3.1.4 of the draft."""
    assert read_feedback(1, 2, body(7, len(deltas), -9, 3, rest)) == TransportFeedback(1, 2, 3, 7, -9, deltas)


@pytest.mark.parametrize(
    "wrong",
    [
        b"",
        body(7, 1, 9, 3, "")[:7],
        body(7, 0, 9, 3, "2001"),
        body(7, 1, 9, 3, ""),
        body(7, 3, 9, 3, "2002 0102"),
        body(7, 2, 9, 3, "2002 01"),
        body(7, 1, 9, 3, "4001 01"),
        body(7, 1, 9, 3, "6001 0101"),
        body(7, MOST_READ + 1, 9, 3, "1fff 1fff"),
    ],
    ids=[
        "nothing",
        "cut",
        "about nothing",
        "no chunk",
        "too few statuses",
        "too few deltas",
        "half a delta",
        "a reserved status",
        "more than anybody sends",
    ],
)
def test_what_is_malformed_is_not_read(wrong: bytes) -> None:
    assert read_feedback(1, 2, wrong) is None


@given(st.integers(0, 0xFFFF), st.integers(-0x800000, 0x7FFFFF), st.integers(0, 255), DELTAS, st.integers(0, 300))
def test_what_is_written_is_read_again(
    first: int, reference: int, count: int, deltas: list[int | None], run: int
) -> None:
    feedback = TransportFeedback(1, 2, count, first, reference, (*deltas, *deltas[-1:] * run, *deltas))
    assert read_feedback(1, 2, write_feedback(feedback) + b"\0\0\0") == feedback


@pytest.mark.parametrize(
    ("deltas", "size"),
    [((5,) * 14, 2 + 14), ((5,) * 280, 2 + 280), ((None,) * 300 + (5,), 2 + 2 + 1), ((5, None) * 7, 2 + 7)],
    ids=["a bit for each", "a run", "a gap", "in turns"],
)
def test_statuses_need_little_room(deltas: tuple[int | None, ...], size: int) -> None:
    assert len(write_feedback(TransportFeedback(1, 2, 0, 0, 0, deltas))) == HEAD.size + size


@pytest.mark.parametrize("wrong", [{"count": 256}, {"reference": 1 << 23}], ids=["count", "reference"])
def test_what_has_no_room_is_not_written(wrong: dict[str, int]) -> None:
    values = {"count": 0, "first": 0, "reference": 0} | wrong
    with pytest.raises(ValueError, match="bits"):
        write_feedback(TransportFeedback(1, 2, deltas=(1,), **values))


def test_arrivals_become_feedback_to_a_quarter_of_a_millisecond() -> None:
    feedback = TransportFeedback.of(1, 2, 300, {65536 + 10: 100.0, 65536 + 12: 100.5, 65536 + 11: 100.0005})
    assert (feedback.first, feedback.count) == (10, 44)
    assert feedback.reference == int(100.0 / 0.064)
    assert list(feedback.arrivals) == [(10, 100.0), (11, 100.0005), (12, 100.5)]
    with pytest.raises(ValueError, match="arrivals"):
        TransportFeedback.of(1, 2, 0, {})


def test_numbers_begin_again_after_sixteen_bits() -> None:
    feedback = TransportFeedback.of(1, 2, 0, {65535: 1.0, 65537: 2.0})
    assert list(feedback.arrivals) == [(65535, 1.0), (0, None), (1, 2.0)]


@given(
    st.dictionaries(st.integers(0, 6000), st.floats(0, 100), min_size=1, max_size=50),
    st.integers(0, 700),
)
def test_as_many_feedbacks_as_it_takes_say_when_everything_has_arrived(arrivals: dict[int, float], burst: int) -> None:
    arrivals = {**arrivals, **{7000 + number: 100 + number / 1000 for number in range(burst)}}
    said: dict[int, float] = {}
    for count, feedback in enumerate(TransportFeedback.several(1, 2, 250, arrivals)):
        assert feedback.count == 250 + count & 0xFF
        written = write_feedback(feedback)
        assert len(written) <= 1_100
        read = read_feedback(1, 2, written)
        assert read is not None
        said.update((number, when) for number, when in read.arrivals if when is not None)
        assert len(feedback.deltas) <= MOST_NUMBERS
        assert sum(delta is not None for delta in feedback.deltas) <= MOST_ARRIVALS
    assert said.keys() == arrivals.keys()
    assert all(0 <= arrivals[number] - when < 0.00026 for number, when in said.items())


def test_the_time_begins_again_after_twelve_days() -> None:
    """24 bits of 64 ms; what counts are the differences."""
    start = 0x800000 * 0.064 - 1
    first, second = (TransportFeedback.of(1, 2, 0, {1: start + late}) for late in (0, 2))
    assert second.reference - first.reference + (1 << 24) in {31, 32}
