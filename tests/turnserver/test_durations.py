"""Times as people write them."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnserver.durations import PATTERN, read_duration, spell_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0), ("90", 90), ("90s", 90), ("15m", 900), ("1h30m", 5400), ("1d", 86400), ("2w", 1209600), ("1h1h", 7200)],
)
def test_durations(text: str, seconds: int) -> None:
    assert read_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", " 1", "1 ", "-1", "1.5h", "1H", "h", "1h30", "1x", "٣m", "9" * 10, "1s" * 6, "1m\n"]
)
def test_what_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        read_duration(text)


@given(st.text(max_size=12))
def test_any_text_is_read_or_refused(text: str) -> None:
    if re.fullmatch(PATTERN, text, re.ASCII):
        assert read_duration(text) >= 0
    else:
        with pytest.raises(ValueError, match="duration"):
            read_duration(text)


@given(st.integers(0, 10**8))
def test_what_is_spelt_is_read(seconds: int) -> None:
    assert read_duration(spell_duration(seconds)) == seconds


def test_the_largest_unit_is_used() -> None:
    assert [spell_duration(each) for each in (0, 59, 60, 5400, 7200, 604800)] == ["0s", "59s", "1m", "90m", "2h", "7d"]
