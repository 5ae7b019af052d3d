"""OpaqueString against the examples of RFC 8265, and against precis-i18n without a bound for its work."""

import sys
import unicodedata
from collections.abc import Iterator

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from precis_i18n import get_profile

from auth.errors import InvalidString
from auth.precis import opaque_string

ORACLE = get_profile("OpaqueString")

# Where the rules of PRECIS meet: joiners and viramas, cursive and combining letters, digits, exceptions, jamo, spaces.
CROSSROADS = (
    "aAl \u00a0\u00b7\u00df\u0375\u03b1\u05d0\u05f3\u05f4\u0628\u0627\u0640\u064b\u0660\u0669\u06f0\u06f9\u06fd"
    "\u0915\u094d\u200b\u200c\u200d\u1100\u1161\u3000\u302e\u3007\u303b\u30fb\u30a2\u3042\u4e00\ua872\u0301\u00ad"
    "\u0378\ufdd0\uffff\ue000\ud800\U0001f469\U0001e900\U000e0001\n\x7f\u2028\u2126\u2168\u00aa\uff21"
)


def enforced(text: str) -> str | None:
    try:
        return opaque_string(text)
    except InvalidString:
        return None


def oracle(text: str) -> str | None:
    try:
        return str(ORACLE.enforce(text))
    except UnicodeEncodeError:
        return None


def differs(text: str) -> bool:
    return enforced(text) != oracle(text)


def code_points_to_compare() -> Iterator[str]:
    """All that have a character of their own; of ideographs, private use and unassigned ones, one in 61."""
    for code in range(0x80, sys.maxunicode + 1):
        if code % 61 == 0 or (code < 0x3400 or unicodedata.category(chr(code)) not in {"Lo", "Co", "Cn", "Cs"}):
            yield chr(code)


REPEATED = "\u30fb\u30fb\u30a2\u0660\u0661\u06f0\u06f1\u0628\u200c\u00b7l\u0375\u05f3\u094d\u200d\u0301 0a"
"""The code points whose occurrences are judged together, and what their neighbours may look at."""


@given(
    st.text(st.characters())
    | st.text(st.sampled_from(CROSSROADS), max_size=12)
    | st.text(st.sampled_from(REPEATED), max_size=24)
)
@example("\u30fb\u30fb\u30fb")
@example("\u30fb\u30fb\u30a2\u30fb")
@example("\u0660\u0661\u06f0")
@example("\u0660\u0661\u0628\u200c\u0628\u0660")
@example("\u0628\u0660\u0660\u200c\u0660\u0628")
@example("l\u30fb\u30fb\u00b7l\u30a2")
@example("a\u0628\u200c\u0628")
@example("\u0915\u094d\u200d\u0915")
@example("\ua872\u200c\u0627")
@example("\u0627\u200c\u0627")
@example("\u0628\u200c\ua872")
@example("\u0628\u064b\u200c\u064b\u0627")
@example("l\u00b7l")
@example("\u0660\u06f0")
@example("\u30fb\u30a2")
def test_the_bound_changes_no_verdict(text: str) -> None:
    """RFC 8265 §4.2: every text is refused, or prepared to the same, as by the library alone."""
    assert enforced(text) == oracle(text)


def calls(text: str) -> int:
    """How many functions are called for a text: a measure of the work that is the same on every machine."""
    counted = 0

    def count(_frame: object, event: str, _argument: object) -> None:
        nonlocal counted
        counted += event in {"call", "c_call"}

    sys.setprofile(count)
    try:
        enforced(text)
    finally:
        sys.setprofile(None)
    return counted


@pytest.mark.parametrize(
    ("before", "repeated", "after"),
    [
        ("", "\u30fb", "\u30a2"),
        ("", "\u30fb", ""),
        ("", "\u0660", ""),
        ("\u06f0", "\u06f1", ""),
        ("", "\u0660\u06f0", ""),
        ("\u0628", "\u064b", "\u200c\u064b\u0628"),
        ("\u0628", "\u200c\u0628", ""),
        ("", "l\u00b7", "l"),
        ("a", "\u0301", ""),
        ("", "\u1112\u1161", ""),
        ("", "\u01e8", ""),
    ],
)
def test_the_work_grows_with_the_length_only(before: str, repeated: str, after: str) -> None:
    """Kind: work that strangers choose. The library alone takes 168 dots before a letter 168 times through the text."""
    few, many = (calls(before + repeated * count + after) for count in (40, 160))
    assert many <= 4.5 * few + 50


def test_agrees_on_every_code_point() -> None:
    """RFC 8264 §8: each code point by itself is judged as by the library alone."""
    differing = [f"U+{ord(character):04X}" for character in code_points_to_compare() if differs(character)]
    assert differing == []


@given(st.text(st.characters()) | st.text(st.sampled_from(CROSSROADS), max_size=12))
def test_is_idempotent(text: str) -> None:
    """RFC 8264 §7: what has been prepared is not changed by preparing it again."""
    prepared = enforced(text)
    if prepared is not None:
        assert opaque_string(prepared) == prepared


@pytest.mark.parametrize(
    ("text", "allowed"),
    [
        ("\ua872\u200c\u0627", True),  # joins to the left of the joiner, and to its right
        ("\u0628\u064b\u200c\u064b\u0627", True),  # through vowel signs
        ("\u0627\u200c\u0627", False),  # alef does not join what follows it
        ("\u0628\u200c\ua872", False),
        ("\u0628\u200c", False),
        ("\u0915\u094d\u200c", True),  # after a virama
    ],
)
def test_zero_width_non_joiner(text: str, allowed: bool) -> None:
    """RFC 5892 appendix A.1: between letters that would join, or after a virama."""
    assert (enforced(text) is not None) is allowed


@pytest.mark.parametrize(
    ("text", "prepared"),
    [
        ("correct horse battery staple", "correct horse battery staple"),
        ("Correct Horse Battery Staple", "Correct Horse Battery Staple"),
        ("\u03c0\u00df\u00e5", "\u03c0\u00df\u00e5"),
        ("Jack of \u2666s", "Jack of \u2666s"),
        ("foo\u1680bar", "foo bar"),
        ("\uff21", "\uff21"),
        ("cafe\u0301", "caf\u00e9"),
    ],
)
def test_examples_that_are_allowed(text: str, prepared: str) -> None:
    """RFC 8265 §4.2.4, examples 1 to 5; width is left alone (§4.2.2 rule 1) and NFC applied (rule 4)."""
    assert opaque_string(text) == prepared


@pytest.mark.parametrize(
    "text", ["", "my cat is a \tby", "a\nb", "The\u00adMatrix", "a\u200bb", "\U000e0001", "\ud800"]
)
def test_examples_that_are_refused(text: str) -> None:
    """RFC 8265 §4.2.4, examples 6 and 7 (empty; a control), and what is invisible or half a code point."""
    with pytest.raises(InvalidString):
        opaque_string(text)


def test_error_names_the_code_point_and_not_the_text() -> None:
    """RFC 8265 §4.2: an error about a password must not carry the password."""
    with pytest.raises(InvalidString) as caught:
        opaque_string("hunter2\x07")
    assert str(caught.value) == "U+0007 is not allowed (character 8)"
    assert "hunter2" not in repr(caught.value)
