"""Rule 24: names and phrases are hostile text; what reaches a terminal cannot steer it."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnserver.text import amount, one_line, printable


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("coturn 4.6", "coturn 4.6"),
        ("\x1b[2Jgone", "\\x1b[2Jgone"),
        ("a\nb\r\tc", "a\\x0ab\\x0d\\x09c"),
        ("\x9b31m", "\\x9b31m"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("a\u2028b", "a\\u2028b"),
        ("zero\u200bwidth", "zero\\u200bwidth"),
        ("\U000e0041tag", "\\U000e0041tag"),
        ("\ud800", "\\ud800"),
        ("[bold red]markup[/]", "[bold red]markup[/]"),
        ("Jürgen 日本", "Jürgen 日本"),
    ],
)
def test_what_could_steer_a_terminal_is_spelled_out(hostile: str, shown: str) -> None:
    """Rule 24: escape sequences, direction overrides and invisible characters are shown as escapes."""
    assert printable(hostile) == shown


@given(st.text())
def test_nothing_hidden_is_left(text: str) -> None:
    """Rule 24: whatever the text, no control, format, surrogate or separator character is left in it."""
    assert not {unicodedata.category(char) for char in printable(text)} & {"Cc", "Cf", "Cs", "Zl", "Zp"}


@given(st.text(max_size=60), st.integers(1, 40))
def test_one_line_is_bounded(text: str, limit: int) -> None:
    """Rule 24: hostile text cannot fill the screen."""
    assert len(one_line(text, limit)) <= limit
    assert one_line("x" * 41, 40) == "x" * 39 + "…"


@pytest.mark.parametrize(
    ("size", "said"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (1_234_567, "1.2 MB"), (5e9, "5.0 GB"), (7.25e15, "7250.0 TB")],
)
def test_amounts(size: float, said: str) -> None:
    assert amount(size) == said
