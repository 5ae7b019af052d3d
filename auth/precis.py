"""The OpaqueString profile (RFC 8265 §4.2) of PRECIS (RFC 8264), by the library precis-i18n, in bounded time.

A text is mapped (non-ASCII spaces become U+0020) and normalized (NFC). Then every code point must be allowed, either
always or in its context (RFC 5892 appendix A).

Strangers choose the text before they have proven who they are, and the library scans the whole text again for each
Arabic digit and each katakana middle dot: a USERNAME of 168 dots takes it 12 ms. The rules for these say the same of
each occurrence, so the library is shown the first one only. The work is then linear: 0.7 ms at most for 513 bytes.
"""

import re
from typing import Final

from precis_i18n import get_profile

from auth.errors import InvalidString

__all__ = ["opaque_string"]

_PROFILE: Final = get_profile("OpaqueString")

_WHOLE_TEXT_RULES: Final = re.compile("\u30fb|[\u0660-\u0669]|[\u06f0-\u06f9]")
"""Code points whose rule looks at the whole text and not at their place (RFC 5892 appendices A.7 to A.9)."""

_NEUTRAL: Final = "0"
"""Takes the place of a further occurrence. It is allowed, joins with nothing and is of no script that a rule names, as
is true of those; so no rule for another code point sees a difference."""


def opaque_string(text: str) -> str:
    """Return the text as the OpaqueString profile prepares and enforces it (RFC 8265 §4.2.2).

    Raises InvalidString for an empty text and for any code point that the FreeformClass does not allow where it
    stands: controls, invisible code points, unassigned ones, unpaired surrogates, joiners out of context. The work is
    linear in the length of the text; callers bound the length.
    """
    if not text:
        raise InvalidString("the text is empty")
    if text.isascii() and text.isprintable():
        return text
    prepared = _PROFILE.apply_five_rules(text)
    try:
        _PROFILE.base.enforce(_without_repetitions(prepared))
    except UnicodeEncodeError as error:
        code = ord(prepared[error.start])
        # The library's error carries the text, which may be a password.
        raise InvalidString(f"U+{code:04X} is not allowed (character {error.start + 1})") from None
    return prepared


def _without_repetitions(text: str) -> str:
    """The text with only the first katakana middle dot, and the first digit of each kind of Arabic digits."""
    seen: set[str] = set()

    def first(match: re.Match[str]) -> str:
        kind = match[0] if match[0] == "\u30fb" else "\u0660" if match[0] <= "\u0669" else "\u06f0"
        if kind in seen:
            return _NEUTRAL
        seen.add(kind)
        return match[0]

    return _WHOLE_TEXT_RULES.sub(first, text)
