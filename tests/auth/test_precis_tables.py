"""The tables of code points: in order, and true where the standard library can tell."""

import unicodedata

import pytest

from auth import precis_tables as tables
from auth.precis_tables import CodePoints


def test_ranges_and_single_code_points() -> None:
    """RFC 8264 §9: a set holds its ranges with both ends, and nothing beside them."""
    points = CodePoints("41-43 61 1F600-1F601")
    inside = "ABCa\U0001f600\U0001f601"
    outside = "@D`b\x00\U0001f5ff\U0001f602\U0010ffff"
    assert [character for character in inside + outside if character in points] == list(inside)
    assert "A" not in CodePoints("")


@pytest.mark.parametrize(
    ("points", "words"),
    [
        (tables.GREEK, ["GREEK", "BETA", "DELTA", "CHI", "THETA", "OHM SIGN"]),
        (tables.HEBREW, ["HEBREW"]),
        (tables.KANA_OR_HAN, ["HIRAGANA", "KATAKANA", "IDEOGRAPHIC", "HANGZHOU"]),
        (tables.OLD_HANGUL_JAMO, ["HANGUL"]),
    ],
)
def test_scripts_have_their_names(points: CodePoints, words: list[str]) -> None:
    """RFC 5892 appendix A: letters in a table of a script have it in their names."""
    letters = [chr(code) for code in range(0x3400) if chr(code) in points and unicodedata.category(chr(code))[0] == "L"]
    assert letters
    assert [letter for letter in letters if not any(word in unicodedata.name(letter) for word in words)] == []


def test_transparent_letters_are_marks_or_formats() -> None:
    """RFC 5892 appendix A.1: what joins through is a mark or a format character, and joins nothing itself."""
    sides = (tables.JOINING_DUAL, tables.JOINING_LEFT, tables.JOINING_RIGHT)
    for code in range(0x110000):
        character = chr(code)
        if character in tables.JOINING_TRANSPARENT:
            assert unicodedata.category(character) in {"Mn", "Me", "Cf", "Lm", "Mc", "Cn"}
            assert not any(character in side for side in sides)
