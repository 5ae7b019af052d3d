"""What the pages say: one file of texts for each language, ``page/texts/LANGUAGE.json``.

A file is one flat JSON object. A value is a sentence, or one sentence for each plural category of the language (CLDR).
English is complete; what another file lacks is said in English. In the page's own markup the text is English, and marks
say which text it is: ``data-text`` for an element's content; ``data-label``, ``data-title``, ``data-placeholder`` for
attributes.
"""

import html
import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Final, NamedTuple, TypeAlias

__all__ = ["ENGLISH", "Language", "PageText", "languages_of", "looked_up", "named_in", "negotiated", "translated"]

ENGLISH: Final = "en"
"""The language that has every text."""

PageText: TypeAlias = str | Mapping[str, str]
"""A sentence, or one for each plural category."""

_FILE: Final = re.compile(r"texts/([a-z]{2,3}(?:-[A-Za-z0-9]{2,8})*)\.json")

_NAME: Final = "language.name"
_DIRECTION: Final = "language.direction"

_RANGE: Final = re.compile(r"([A-Za-z]{1,8}(?:-[A-Za-z0-9]{1,8})*|\*)(?:\s*;\s*q\s*=\s*([01](?:\.[0-9]{0,3})?))?")
"""A language range with its weight (RFC 9110 §12.4.2, §12.5.4)."""

_MOST_RANGES: Final = 32
"""Browsers send as many as their user has set: a few. The rest of a longer list is not read."""

_TAG: Final = re.compile(r"<[a-z][^>]*\sdata-(?:text|label|title|placeholder)=[^>]*>")
_CONTENT: Final = re.compile(r'(<([a-z][a-z0-9]*)\s[^>]*?data-text="([^"]+)"[^>]*>)[^<]*(?=</\2>)')
_ATTRIBUTES: Final = {"label": "aria-label", "title": "title", "placeholder": "placeholder"}


class Language(NamedTuple):
    """One language: its tag (BCP 47), its own name for itself, its direction, and all texts."""

    code: str
    name: str
    direction: str
    texts: Mapping[str, PageText]

    def say(self, key: str) -> str:
        """A text without plurals."""
        found = self.texts[key]
        return found if isinstance(found, str) else found["other"]

    def markup(self, key: str, **values: str) -> str:
        """The same for a page: escaped, with markup in place of ``{names}``."""
        text = html.escape(self.say(key), quote=False)
        return re.sub(r"\{(\w+)\}", lambda found: values[found[1]], text)


def languages_of(files: Mapping[str, bytes]) -> dict[str, Language]:
    """The languages by tag, from files by name; empty if there is no English."""
    found: dict[str, dict[str, PageText]] = {
        match[1]: json.loads(content) for name, content in files.items() if (match := _FILE.fullmatch(name))
    }
    if ENGLISH not in found:
        return {}
    english = found[ENGLISH]
    return {
        code: Language(code, str(texts[_NAME]), str(texts[_DIRECTION]), english | texts)
        for code, texts in sorted(found.items())
    }


def looked_up(languages: Mapping[str, Language], wanted: str) -> str | None:
    """The language for a tag: itself, or else what it is a kind of, so that ``de-AT`` finds ``de`` (RFC 4647 §3.4)."""
    by_tag = {code.lower(): code for code in languages}
    parts = wanted.lower().replace("_", "-").split("-", 8)
    for length in range(len(parts), 0, -1):
        if (found := by_tag.get("-".join(parts[:length]))) is not None:
            return found
    return None


def negotiated(languages: Mapping[str, Language], header: str) -> str:
    """The language that an Accept-Language header prefers of these (RFC 9110 §12.5.4); English if it prefers none."""
    ranges = sorted(_ranges(header), key=lambda each: -each[1])
    refused = {tag for tag, weight in ranges if weight == 0}
    for tag, weight in ranges:
        found = ENGLISH if tag == "*" else looked_up(languages, tag)
        if weight > 0 and found is not None and found.lower() not in refused:
            return found
    return ENGLISH


def _ranges(header: str) -> Iterator[tuple[str, float]]:
    for part in header.split(",", _MOST_RANGES)[:_MOST_RANGES]:
        if (found := _RANGE.fullmatch(part.strip())) is not None:
            yield found[1].lower(), min(1.0, float(found[2] or 1))


def named_in(source: str, keys: Iterable[str]) -> set[str]:
    """The keys that a script names, in quotes or by their beginning: `ending.${code}`."""
    beginnings = tuple(re.findall(r"`([a-z]+\.[a-z0-9_]*)\$\{", source))
    return {key for key in keys if f"'{key}'" in source or key.startswith(beginnings)}


def translated(page: str, language: Language, languages: Mapping[str, Language], keys: Collection[str]) -> str:
    """A page in a language. It has the texts of ``keys`` for its first scripts, as data, which its policy allows."""
    page = _TAG.sub(lambda tag: _with_attributes(tag[0], language.say), page)
    page = _CONTENT.sub(lambda found: found[1] + html.escape(language.say(found[3]), quote=False), page)
    page = page.replace('<html lang="en">', f'<html lang="{language.code}" dir="{language.direction}">', 1)
    data = {
        "language": language.code,
        "direction": language.direction,
        "languages": {code: each.name for code, each in languages.items()},
        "texts": {key: text for key, text in language.texts.items() if key in keys},
    }
    # A closing tag in a text must not end the element.
    written = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    return page.replace("</head>", f'<script type="application/json" id="texts">{written}</script>\n</head>', 1)


def _with_attributes(tag: str, say: Callable[[str], str]) -> str:
    for mark, attribute in _ATTRIBUTES.items():
        key = re.search(rf'\sdata-{mark}="([^"]+)"', tag)
        if key is not None:
            before, start, rest = tag.partition(f' {attribute}="')
            if start:
                tag = before + start + html.escape(say(key[1])) + rest[rest.index('"') :]
    return tag
