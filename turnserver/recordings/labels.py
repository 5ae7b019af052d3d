"""Names in a film: what a participant is called, on a dark strip in the lower left of the tile.

Names are whatever people have typed. What steers the text or shows as nothing is left out, and what is too long ends
with an ellipsis. The font is the one that has most of the letters: where the usual ones lack some, fontconfig is asked
for another one. Letters that no font has become question marks; where nothing else is left, another word takes the
place.
"""

import contextlib
import shutil
import subprocess
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Final, NamedTuple

from PIL import Image, ImageDraw, ImageFont

from meshturn.root import MeshturnError
from turnserver.children import child_environment

__all__ = ["FontError", "Label", "Labels", "shown_name"]

_LONGEST: Final = 120
"""Characters of a name that are looked at."""

_MOST_MARKS: Final = 2
"""Accents on one letter: more of them are a tower."""

_HIDDEN: Final = frozenset({"Cf", "Cs", "Co", "Cn"})

_USUAL: Final = ("DejaVuSans.ttf", "NotoSans-Regular.ttf", "LiberationSans-Regular.ttf")
"""Fonts that have the letters of many languages, and are looked for first."""

_SMALLEST: Final = 12
"""Pixels of a letter that can just be read."""

_LARGEST_SHARE: Final = 24
_TILE_SHARE: Final = 12
"""A letter has this part of the film's height at most, and else of its tile's."""

_NARROWEST: Final = 4
"""Widths of a letter that a tile has at least, or it has no name;"""

_LOWEST: Final = 3
"""and heights of a strip."""

_STRIP: Final = 16
_TEXT: Final = 235
"""Black and white in the luminance of films (ITU-R BT.709)."""

_FONT_SEARCH: Final = 10.0
"""Seconds that fontconfig may take: the first time it reads all fonts."""

_NO_CHARACTER: Final = "\uffff"

_ERRORS: Final = (OSError, ValueError, RuntimeError)
"""What Pillow raises for a font, and for a text that cannot be laid out."""


class FontError(MeshturnError):
    """A font cannot be used; the text is one sentence."""


class Label(NamedTuple):
    """A strip with a name, as a picture in shades of grey: its size in pixels, and the luminance row by row."""

    width: int
    height: int
    luminance: bytes


class _Face(NamedTuple):
    """A file with a font in it; an empty one is the font that is part of Pillow."""

    path: str
    number: int = 0


class Labels:
    """Makes the strips for a film of ``height`` pixels, in the font of a file where one is given.

    Raises `FontError` for a file that is none.
    """

    def __init__(self, height: int, font: Path | None = None) -> None:
        self._largest = max(height // _LARGEST_SHARE, _SMALLEST)
        self._own = None if font is None else _Face(str(font))
        if self._own is not None:
            try:
                _font(self._own, _SMALLEST)
            except _ERRORS as error:
                raise FontError(f"{font} is no font that can be used.") from error
        self._made = lru_cache(256)(self._make)
        self._face_for = lru_cache(256)(self._find)

    def label(self, name: str, instead: str, width: int, height: int) -> Label | None:
        """The strip for a tile of that size; None if it is too small for one.

        ``instead`` is shown where nothing of the name can be, and is of ASCII.
        """
        return self._made(name[:_LONGEST], instead, width, height)

    def _make(self, name: str, instead: str, width: int, height: int) -> Label | None:
        size = max(min(height // _TILE_SHARE, self._largest), _SMALLEST)
        shown = shown_name(name)
        for text, face in ((shown, self._face_for(shown)), (instead, _Face(""))):
            with contextlib.suppress(*_ERRORS):
                font = _font(face, size)
                drawn = _drawable(text, face)
                if any(each.isalnum() or each not in "? " for each in drawn):
                    return _strip(drawn, font, size, width, height)
        return None

    def _find(self, text: str) -> _Face:
        """The font that has most of a text."""
        letters = "".join(sorted(set(text)))
        if self._own is not None:
            return self._own
        best, least = _Face(""), _lacks(letters, _Face(""))
        for face in _known(letters):
            with contextlib.suppress(*_ERRORS):
                lacks = _lacks(letters, face)
                if not lacks:
                    return face
                if lacks < least:
                    best, least = face, lacks
        return best


def shown_name(name: str) -> str:
    """A name in one line, without what steers the text or towers above it; empty if nothing is left."""
    kept: list[str] = []
    marks = 0
    for each in unicodedata.normalize("NFC", name[:_LONGEST]):
        category = unicodedata.category(each)
        marks = marks + 1 if category in {"Mn", "Me"} else 0
        if category in _HIDDEN or marks > _MOST_MARKS:
            continue
        kept.append(" " if category[0] in "CZ" else each)
    return " ".join("".join(kept).split())


def _known(letters: str) -> Iterator[_Face]:
    """The fonts of this machine that may have these letters; each is looked for when it is asked for."""
    yield from map(_Face, _USUAL)
    found = _by_fontconfig(letters)
    if found is not None:
        yield found


def _by_fontconfig(letters: str) -> _Face | None:
    program = shutil.which("fc-match")
    if program is None:
        return None
    wanted = " ".join(f"{ord(each):x}" for each in letters if not each.isspace())
    pattern = f"sans-serif:scalable=true:color=false:charset={wanted}" if wanted else "sans-serif:scalable=true"
    try:
        done = subprocess.run(  # noqa: S603  numbers are all that comes from elsewhere
            [program, "-f", "%{file}\n%{index}\n", pattern],
            env=child_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_FONT_SEARCH,
            check=True,
        )
        path, index, *_ = done.stdout.decode().split("\n")
        return _Face(path, int(index)) if path else None
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


@lru_cache(64)
def _font(face: _Face, size: int) -> ImageFont.FreeTypeFont:
    """Raises OSError where there is no such font."""
    if not face.path:
        font = ImageFont.load_default(size)
        if not isinstance(font, ImageFont.FreeTypeFont):
            raise OSError("this Pillow was built without FreeType")
        return font
    return ImageFont.truetype(face.path, size, index=face.number)


def _has(font: ImageFont.FreeTypeFont, letter: str) -> bool:
    """Whether a font has a letter: what it lacks looks like what no font has."""
    if letter.isspace():
        return True
    found, none = font.getmask(letter), font.getmask(_NO_CHARACTER)
    return found.size != none.size or bytes(found) != bytes(none)


def _lacks(letters: str, face: _Face) -> int:
    font = _font(face, _SMALLEST * 2)
    return sum(not _has(font, each) for each in letters)


def _drawable(text: str, face: _Face) -> str:
    """The text as a font can draw it: letters without their accents rather than none."""
    font = _font(face, _SMALLEST * 2)
    made: list[str] = []
    for each in text:
        if _has(font, each):
            made.append(each)
            continue
        plain = [part for part in unicodedata.normalize("NFKD", each) if not unicodedata.combining(part)]
        if plain and plain != [each] and all(_has(font, part) for part in plain):
            made += plain
        elif unicodedata.category(each)[0] in "LN":
            made.append("?")
    return " ".join("".join(made).split())


def _strip(text: str, font: ImageFont.FreeTypeFont, size: int, width: int, height: int) -> Label | None:
    edge = max(size // 3, 2)
    ascent, descent = font.getmetrics()
    # What an unusual font says of itself is not trusted: it would make a strip of any height.
    ascent, descent = min(ascent, 2 * size), min(descent, size)
    high = _even(ascent + descent + edge)
    if width < _NARROWEST * size or high * _LOWEST > height:
        return None
    fitted = _fitted(text, font, width - 4 * edge)
    wide = min(_even(font.getlength(fitted) + 2 * edge), width // 2 * 2)
    picture = Image.new("L", (wide, high), _STRIP)
    ImageDraw.Draw(picture).text((edge, edge // 2 + ascent), fitted, fill=_TEXT, font=font, anchor="ls")
    return Label(wide, high, picture.tobytes())


def _fitted(text: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    """As much of a text as fits."""
    if font.getlength(text) <= width:
        return text
    end = "…" if _has(font, "…") else "..."
    while text and font.getlength(text + end) > width:
        text = text[:-1].rstrip()
    return text + end


def _even(value: float) -> int:
    return int(value + 1.999) // 2 * 2
