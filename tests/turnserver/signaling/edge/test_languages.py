"""The texts of the pages: that every one there is is used, that none is missing, and how they get into a page."""

import json
import re
from functools import cache
from html.parser import HTMLParser
from pathlib import Path

import pytest

from turnserver.signaling.edge.languages import (
    ENGLISH,
    PageText,
    languages_of,
    looked_up,
    named_in,
    negotiated,
    translated,
)
from turnserver.signaling.truth.sentences import TEXTS, case_of

ROOT = Path(__file__).resolve().parents[4] / "turnserver" / "signaling"
PAGE = ROOT / "page"
KEY = r"[a-z]+(?:\.[a-z0-9_]+)+"
CALL = r"\b(?:text|hasText|put|putLabel|say|markup)\((?:[^;`\n]*?, )?"
"""How texts are asked for; `put` and `putLabel` have an element before the key."""

FILES = {
    "texts/en.json": b'{"language.name": "English", "language.direction": "ltr", "a.b": "One", "a.c": "Two <i>",'
    b' "a.d": {"one": "{count} thing", "other": "{count} things"}}',
    "texts/ar.json": '{"language.name": "العربية", "language.direction": "rtl", "a.b": "\\"أ\\""}'.encode(),
    "app.js": b"",
}


@cache
def texts(code: str) -> dict[str, PageText]:
    found = json.loads((PAGE / "texts" / f"{code}.json").read_text())
    assert isinstance(found, dict)
    return found


@cache
def sources() -> str:
    """The modules, and the server's own pages."""
    paths = [*PAGE.glob("*.js"), *(ROOT / "edge").glob("*.py")]
    return "\n".join(path.read_text() for path in sorted(paths))


def asked_for() -> set[str]:
    """Keys that a module asks for by name."""
    called = re.findall(rf"{CALL}['\"]({KEY})['\"]", sources())
    marked = re.findall(rf'data-(?:text|label|title|placeholder)="({KEY})"', (PAGE / "call.html").read_text())
    return {*called, *marked}


def patterns() -> list[re.Pattern[str]]:
    """Keys that are put together: `ending.${code}`."""
    made = {*re.findall(rf"{CALL}`([a-z]+\.[^`]*)`", sources())}
    return [re.compile(re.sub(r"\\\$\\\{.*?\\\}", "[a-z0-9_]+", re.escape(each))) for each in made]


def test_every_text_that_is_asked_for_is_there() -> None:
    """By name, or by a name that is put together."""
    assert asked_for() - set(texts(ENGLISH)) == set()
    for pattern in patterns():
        assert any(pattern.fullmatch(key) for key in texts(ENGLISH)), pattern.pattern


def test_every_text_that_is_there_is_asked_for() -> None:
    """In a call, in a table of keys, or by a name that is put together."""
    named = asked_for() | set(re.findall(rf"['\"]({KEY})['\"]", sources()))
    unused = set(texts(ENGLISH)) - named
    assert {key for key in unused if not any(pattern.fullmatch(key) for pattern in patterns())} == set()


def test_values_are_sentences_or_plurals() -> None:
    """Every plural has the category that every language has."""
    for key, value in texts(ENGLISH).items():
        assert re.fullmatch(KEY, key)
        for each in [value] if isinstance(value, str) else value.values():
            assert each == each.strip() != "", key
        assert isinstance(value, str) or "other" in value, key


CATEGORIES = {
    "ar": {"zero", "one", "two", "few", "many", "other"},
    "de": {"one", "other"},
    "en": {"one", "other"},
    "es": {"one", "many", "other"},
    "fr": {"one", "many", "other"},
}
"""The plural categories of each language for whole numbers (CLDR); a browser test compares them with Intl's."""


def placeholders(value: str) -> set[str]:
    return set(re.findall(r"\{(\w+)\}", value))


def test_there_are_texts_in_five_languages() -> None:
    """A new language has its line in the table."""
    assert {path.stem for path in (PAGE / "texts").iterdir()} == set(CATEGORIES)
    assert [texts(code)["language.direction"] for code in CATEGORIES] == ["rtl", "ltr", "ltr", "ltr", "ltr"]


@pytest.mark.parametrize("code", CATEGORIES)
def test_every_language_says_all(code: str) -> None:
    """The same keys, the same values in them, and the plurals that the language has."""
    assert set(texts(code)) == set(texts(ENGLISH))
    for key, value in texts(code).items():
        english = texts(ENGLISH)[key]
        assert isinstance(value, str) == isinstance(english, str), key
        if isinstance(value, str):
            assert isinstance(english, str)
            assert placeholders(value) == placeholders(english), key
        else:
            assert not isinstance(english, str)
            assert set(value) == CATEGORIES[code], key
            assert placeholders(value["other"]) == placeholders(english["other"]), key
            assert all(placeholders(each) <= placeholders(value["other"]) for each in value.values()), key


def test_verdicts_are_those_of_the_server() -> None:
    """Every sentence that the server can say has its key, by code and case."""
    said = {f"verdict.{code}_{case_of(key)}": text for code, cases in TEXTS.items() for key, text in cases.items()}
    assert said.items() <= texts(ENGLISH).items()


class Marks(HTMLParser):
    """The marks of a page, each with the text that stands there."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, str]] = []
        self.open: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert self.open is None, f"an element in the text {self.open}"
        at = {name: value or "" for name, value in attrs}
        names = (("data-label", "aria-label"), ("data-title", "title"), ("data-placeholder", "placeholder"))
        self.found += [(at[mark], at.get(attribute, "")) for mark, attribute in names if mark in at]
        if "data-text" in at:
            self.open = at["data-text"]
            self.found.append((self.open, ""))

    def handle_data(self, data: str) -> None:
        if self.open is not None:
            self.found[-1] = (self.open, self.found[-1][1] + data)

    def handle_endtag(self, tag: str) -> None:
        self.open = None


def test_the_markup_is_in_english() -> None:
    """What stands in the file is what English says, and a text has no elements in it."""
    marks = Marks()
    marks.feed((PAGE / "call.html").read_text())
    assert marks.found
    for key, shown in marks.found:
        assert shown == texts(ENGLISH)[key], key


def test_a_page_in_another_language() -> None:
    """Contents, attributes, direction, and all texts for the scripts; English where one lacks."""
    languages = languages_of(FILES)
    page = (
        '<!doctype html>\n<html lang="en">\n<head>\n<title data-text="a.b">One</title>\n</head>\n'
        '<input aria-label="One" data-label="a.b" title="x"><b id="c" data-text="a.c">Two</b><i>as it is</i>\n</html>'
    )
    found = translated(page, languages["ar"], languages, {"a.b", "a.d"})
    assert '<html lang="ar" dir="rtl">' in found
    assert '<title data-text="a.b">"أ"</title>' in found
    assert '<input aria-label="&quot;أ&quot;" data-label="a.b" title="x">' in found
    assert '<b id="c" data-text="a.c">Two &lt;i&gt;</b><i>as it is</i>' in found
    data = re.search(r'<script type="application/json" id="texts">(.*?)</script>', found)
    assert data is not None
    assert "<" not in data[1]
    assert json.loads(data[1]) == {
        "language": "ar",
        "direction": "rtl",
        "languages": {"ar": "العربية", "en": "English"},
        "texts": {"a.b": '"أ"', "a.d": languages["en"].texts["a.d"]},
    }
    assert languages["ar"].texts["a.d"] == {"one": "{count} thing", "other": "{count} things"}
    assert translated(page, languages["en"], languages, ()).count("One") == page.count("One")


def test_the_texts_that_a_script_names() -> None:
    """In quotes, or by their beginning; the rest can come later."""
    keys = ["a.b", "a.c", "end.left", "end.full_text", "ending.left", "call.x_1"]
    assert named_in("text('a.b') // a.c\n text(`end.${code}`) put(x, y ? 'call.x_1' : null)", keys) == {
        *("a.b", "call.x_1", "end.left", "end.full_text")
    }
    assert named_in("", keys) == set()


@pytest.mark.parametrize("files", [{}, {"app.js": b""}, {"texts/de.json": FILES["texts/ar.json"]}])
def test_without_english_there_is_no_language(files: dict[str, bytes]) -> None:
    """The page is then what its file says."""
    assert languages_of(files) == {}


FIVE = languages_of(
    {
        f"texts/{code}.json": json.dumps({"language.name": code, "language.direction": "ltr"}).encode()
        for code in ("ar", "de", "en", "fr", "pt-BR")
    }
)


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ("", "en"),
        ("de", "de"),
        ("de-AT,de;q=0.9,en;q=0.8", "de"),
        ("DE-at", "de"),
        ("nl, fr;q=0.3, de;q=0.7", "de"),
        ("fr;q=0.5, de;q=0.5", "fr"),
        ("nl;q=1.0, *;q=0.5", "en"),
        ("*", "en"),
        ("de;q=0, fr;q=0.1", "fr"),
        ("de;q=0, de-AT", "en"),
        ("pt", "en"),
        ("pt-br", "pt-BR"),
        ("zh-Hant-TW, ar-EG;q=0.9", "ar"),
        ("de;q=5", "en"),
        ("de;q=1.5", "de"),
        ("de;q=x, fr", "fr"),
        ("de; q = 0.2 ,fr;q=0.1", "de"),
        (";;;,,, ,=q", "en"),
        ("nl," * 40 + "de", "en"),
        ("a" * 100_000, "en"),
        ("de\x00", "en"),
        ("../../etc/passwd", "en"),
    ],
)
def test_the_language_that_a_browser_prefers(header: str, code: str) -> None:
    """RFC 9110 §12.5.4: by weight, and of one weight the first; of a list without end, the beginning."""
    assert negotiated(FIVE, header) == code


@pytest.mark.parametrize(
    ("wanted", "code"),
    [("de", "de"), ("de_CH", "de"), ("de-CH-1996", "de"), ("pt-BR-x", "pt-BR"), ("xx", None), ("", None)],
)
def test_the_language_of_a_tag(wanted: str, code: str | None) -> None:
    """RFC 4647 §3.4."""
    assert looked_up(FIVE, wanted) == code
