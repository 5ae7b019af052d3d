"""The OpaqueString profile (RFC 8265 §4.2) over the FreeformClass of PRECIS (RFC 8264 §4.3), with the standard
library.

A text is mapped (non-ASCII spaces become U+0020) and normalized (NFC). Then every code point must be allowed, either
always or in its context (RFC 5892 appendix A). Case, width and direction are left alone. As in RFC 8264 §7, the rules
apply to the mapped and normalized text.

This is our own code because strangers choose the text before they have proven an address. The library precis-i18n
agrees with this module on every code point (a test compares them), but scans the whole text again for each Arabic digit
and each katakana middle dot: a USERNAME of 168 dots takes it 44 ms, and this module 0.1 ms.
"""

import unicodedata
from collections.abc import Callable

from auth import precis_tables as tables
from auth.errors import InvalidString

__all__ = ["opaque_string"]

_VIRAMA = 9
_ZERO_WIDTH_NON_JOINER = "\u200c"
_ZERO_WIDTH_JOINER = "\u200d"

_ARABIC_INDIC = frozenset(map(chr, range(0x0660, 0x066A)))
_EXTENDED_ARABIC_INDIC = frozenset(map(chr, range(0x06F0, 0x06FA)))

# RFC 8264 §9.6 (the table of RFC 5892 §2.6): code points whose general category would give the wrong answer.
_EXCEPTIONS_ALLOWED = frozenset("\u00df\u03c2\u06fd\u06fe\u0f0b\u3007")
_EXCEPTIONS_DISALLOWED = frozenset("\u0640\u07fa\u302e\u302f\u3031\u3032\u3033\u3034\u3035\u303b")

_LETTERS_AND_DIGITS = {"Ll", "Lu", "Lo", "Nd", "Lm", "Mn", "Mc"}  # RFC 8264 §9.1
_OTHER_LETTERS_AND_DIGITS = {"Lt", "Nl", "No", "Me"}  # §9.18
_SPACES = {"Zs"}  # §9.14
_SYMBOLS = {"Sm", "Sc", "Sk", "So"}  # §9.15
_PUNCTUATION = {"Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po"}  # §9.16
_ALLOWED_CATEGORIES = _LETTERS_AND_DIGITS | _OTHER_LETTERS_AND_DIGITS | _SPACES | _SYMBOLS | _PUNCTUATION


def opaque_string(text: str) -> str:
    """Return the text as the OpaqueString profile prepares and enforces it (RFC 8265 §4.2.2).

    Raises InvalidString for an empty text and for any code point that the FreeformClass does not allow where it
    stands: controls, invisible code points, unassigned ones, unpaired surrogates, joiners out of context. The work is
    linear in the length of the text; callers bound the length.
    """
    if text.isascii() and text.isprintable():
        prepared = text
    else:
        spaced = "".join(" " if unicodedata.category(character) == "Zs" else character for character in text)
        prepared = unicodedata.normalize("NFC", spaced)
        _enforce(prepared)
    if not prepared:
        raise InvalidString("the text is empty")
    return prepared


def _enforce(text: str) -> None:
    for character in frozenset(text):
        text_rule = _TEXT_RULES.get(character)
        if text_rule is not None and not text_rule(text):
            raise InvalidString(f"U+{ord(character):04X} is not allowed in this text")
    for index, character in enumerate(text):
        place_rule = _PLACE_RULES.get(character)
        if place_rule is not None:
            if not place_rule(text, index):
                raise InvalidString(f"U+{ord(character):04X} is not allowed where it stands (character {index + 1})")
        elif character not in _TEXT_RULES and not _is_allowed(character):
            raise InvalidString(f"U+{ord(character):04X} is not allowed (character {index + 1})")


def _is_allowed(character: str) -> bool:
    """RFC 8264 §8, for the FreeformClass: the first property that the code point has decides; contexts apart."""
    if "!" <= character <= "~" or character in _EXCEPTIONS_ALLOWED:
        return True
    if (
        character in _EXCEPTIONS_DISALLOWED
        or character in tables.OLD_HANGUL_JAMO
        or character in tables.DEFAULT_IGNORABLE
    ):
        return False
    # Controls (Cc), unassigned code points and noncharacters (Cn), surrogates, private use and the remaining format
    # characters have no category in the list. HasCompat (§9.17) allows none that its category does not.
    return unicodedata.category(character) in _ALLOWED_CATEGORIES


def _follows_virama(text: str, index: int) -> bool:
    """RFC 5892 appendix A.2, and the first half of A.1."""
    return index > 0 and unicodedata.combining(text[index - 1]) == _VIRAMA


def _joins(text: str, start: int, step: int, side: tables.CodePoints) -> bool:
    """Say whether the nearest character that is not transparent, from ``start`` on, joins on the wanted side."""
    while 0 <= start < len(text):
        if text[start] in side or text[start] in tables.JOINING_DUAL:
            return True
        if text[start] not in tables.JOINING_TRANSPARENT:
            return False
        start += step
    return False


def _zero_width_non_joiner(text: str, index: int) -> bool:
    """RFC 5892 appendix A.1."""
    return _follows_virama(text, index) or (
        _joins(text, index - 1, -1, tables.JOINING_LEFT) and _joins(text, index + 1, 1, tables.JOINING_RIGHT)
    )


def _middle_dot(text: str, index: int) -> bool:
    """RFC 5892 appendix A.3: between two l, as Catalan writes it."""
    return index > 0 and text[index - 1] == "l" and text[index + 1 : index + 2] == "l"


def _greek_keraia(text: str, index: int) -> bool:
    """RFC 5892 appendix A.4."""
    return index + 1 < len(text) and text[index + 1] in tables.GREEK


def _hebrew_punctuation(text: str, index: int) -> bool:
    """RFC 5892 appendices A.5 and A.6."""
    return index > 0 and text[index - 1] in tables.HEBREW


def _has_kana_or_han(text: str) -> bool:
    """RFC 5892 appendix A.7."""
    return any(character in tables.KANA_OR_HAN for character in text)


def _has_one_kind_of_arabic_digits(text: str) -> bool:
    """RFC 5892 appendices A.8 and A.9."""
    return _ARABIC_INDIC.isdisjoint(text) or _EXTENDED_ARABIC_INDIC.isdisjoint(text)


_PLACE_RULES: dict[str, Callable[[str, int], bool]] = {
    _ZERO_WIDTH_NON_JOINER: _zero_width_non_joiner,
    _ZERO_WIDTH_JOINER: _follows_virama,
    "\u00b7": _middle_dot,
    "\u0375": _greek_keraia,
    "\u05f3": _hebrew_punctuation,
    "\u05f4": _hebrew_punctuation,
}

_TEXT_RULES: dict[str, Callable[[str], bool]] = {
    "\u30fb": _has_kana_or_han,
    **dict.fromkeys(_ARABIC_INDIC | _EXTENDED_ARABIC_INDIC, _has_one_kind_of_arabic_digits),
}
