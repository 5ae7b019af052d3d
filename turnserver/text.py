"""Text from elsewhere, made safe to show: nothing a file or a server says may steer the terminal."""

import unicodedata

__all__ = ["amount", "one_line", "printable"]

_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Unicode categories that move the cursor, turn the writing direction, or show as nothing at all."""

_LONGEST = 400


def _visible(char: str) -> str:
    if char == " " or unicodedata.category(char) not in _HIDDEN:
        return char
    number = ord(char)
    if number < 0x100:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def printable(text: str) -> str:
    r"""Spell every control, format and unassigned character as an escape (``\x1b``, ``\u202e``), newlines included."""
    return text if text.isascii() and text.isprintable() else "".join(map(_visible, text))


def one_line(text: str, limit: int = _LONGEST) -> str:
    """`printable` text, cut to ``limit`` characters with an ellipsis."""
    shown = printable(text[: limit + 1])
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def amount(size: float) -> str:
    """Bytes as people write them, in decimal units: 1.2 MB."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(size) < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
