"""What the pages say: one file of texts for each language, ``page/texts/LANGUAGE.json``.

A file is one flat JSON object. A value is a sentence, or one sentence for each plural category of the language (CLDR).
English is complete; what another file lacks is said in English. In the page's own markup the text is English, and marks
say which text it is: ``data-text`` for an element's content; ``data-label``, ``data-title``, ``data-placeholder`` for
attributes.
"""

import html
import json
import re
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple, TypeAlias

__all__ = ["ENGLISH", "Language", "PageText", "languages_of", "translated"]

ENGLISH: Final = "en"
"""The language that has every text."""

PageText: TypeAlias = str | Mapping[str, str]
"""A sentence, or one for each plural category."""

_FILE: Final = re.compile(r"texts/([a-z]{2,3}(?:-[A-Za-z0-9]{2,8})*)\.json")

_NAME: Final = "language.name"
_DIRECTION: Final = "language.direction"

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


def translated(page: str, language: Language, languages: Mapping[str, Language]) -> str:
    """A page in a language, with all texts for its scripts: as data, which no content security policy forbids."""
    page = _TAG.sub(lambda tag: _with_attributes(tag[0], language.say), page)
    page = _CONTENT.sub(lambda found: found[1] + html.escape(language.say(found[3]), quote=False), page)
    page = page.replace('<html lang="en">', f'<html lang="{language.code}" dir="{language.direction}">', 1)
    data = {
        "language": language.code,
        "direction": language.direction,
        "languages": {code: each.name for code, each in languages.items()},
        "texts": language.texts,
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
