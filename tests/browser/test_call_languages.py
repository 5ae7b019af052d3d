"""The call page in other languages: nothing left in English, right to left, chosen and remembered; in real Chromium."""

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.browser import ORIGIN
from tests.support.call_links import Link
from tests.support.call_page import SMALL, CallPage, call_page

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.usefixtures("server")

APP = "https://app.example"
TEXTS = Path(__file__).resolve().parents[2] / "turnserver" / "signaling" / "page" / "texts"

SEEN = """() => {
  const found = [document.title];
  const shown = (node) => node.checkVisibility({visibilityProperty: true});
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const {data, parentElement: around} = walker.currentNode;
    const read = !['SCRIPT', 'STYLE', 'NOSCRIPT'].includes(around.tagName) && shown(around);
    if (read && data.trim()) found.push(data.trim());
  }
  for (const each of document.querySelectorAll('[aria-label], [title], [placeholder]')) {
    if (!shown(each)) continue;
    for (const name of ['aria-label', 'title', 'placeholder']) found.push(each.getAttribute(name) ?? '');
  }
  return found;
}"""

OVERFLOWS = """() => {
  const outside = (each) => {
    const {left, right, width} = each.getBoundingClientRect();
    return width > 0 && (left < -1 || right > innerWidth + 1);
  };
  return [...document.querySelectorAll('body *')]
    .filter((each) => each.checkVisibility() && outside(each) && !each.closest('svg, .unseen, video, .reaction'))
    .map((each) => `${each.tagName} ${each.id} ${each.className} ${JSON.stringify(each.getBoundingClientRect())}`);
}"""

COUNTED = """async (counts) => {
  const {text} = await import('/call-assets/texts.js');
  return counts.map((count) => text('lobby.here', {count}));
}"""

ISOLATED = """async (names) => {
  const {complete, text} = await import('/call-assets/texts.js');
  await complete();
  return names.map((name) => text('knock.wants_in', {name}));
}"""


def texts(code: str) -> dict[str, Any]:
    found = json.loads((TEXTS / f"{code}.json").read_text())
    assert isinstance(found, dict)
    return found


def sentences(code: str) -> set[str]:
    """All that a language says, each plural by itself."""
    return {each for value in texts(code).values() for each in ([value] if isinstance(value, str) else value.values())}


def in_english(page: CallPage, code: str) -> list[str]:
    """What can be read on the page, or heard by a screen reader, that only English says."""
    only = sentences("en") - sentences(code)
    pieces = [re.split(r"\{\w+\}", each) for each in only]
    patterns = [
        re.compile(".+".join(map(re.escape, each))) for each in pieces if re.search("[A-Za-z]{3}", "".join(each))
    ]
    seen = page.page.evaluate(SEEN)
    assert len(seen) > 5
    return [line for line in seen if any(pattern.fullmatch(line) for pattern in patterns)]


@pytest.fixture(scope="module")
def signaling() -> dict[str, Any]:
    """Rooms that are open to everybody."""
    return {"open": True, "origins": [APP], "frame_ancestors": [APP]}


def test_a_call_in_german_and_arabic(browser: "Browser") -> None:
    """Lobby, call, chat, people, statistics and ending; Arabic from the right, on a small phone, too."""
    narrow, wide = {"width": 320, "height": 640}, {"width": 1280, "height": 800}
    with (
        call_page(browser, locale="de-DE", viewport=wide) as german,
        call_page(browser, locale="ar-EG", viewport=narrow) as arabic,
    ):
        both = ((german, "de"), (arabic, "ar"))

        def all_is_said() -> None:
            for page, code in both:
                assert in_english(page, code) == []
                assert page.page.evaluate(OVERFLOWS) == []

        for page, _ in both:
            page.open(f"{ORIGIN}/call/languages{SMALL}")
            page.until("document.querySelector('[data-testid=net-check]').dataset.done === 'true'")
            page.page.click("#lobby-devices summary")
            page.page.click("#net-summary")
        assert german.page.evaluate("document.documentElement.lang") == "de"
        assert arabic.page.evaluate("getComputedStyle(document.body).direction") == "rtl"
        all_is_said()

        german.join("Änne")
        arabic.join("Ann (host)")
        for page, _ in both:
            page.connected()
        all_is_said()
        # One's own small tile is at the end of the line, the left; the arrow keys move it where they point.
        self_tile = arabic.page.locator("[data-testid=self-tile]")
        middle = narrow["width"] / 2
        assert self_tile.bounding_box()["x"] < middle / 2  # type: ignore[index]
        self_tile.press("ArrowRight")
        assert self_tile.bounding_box()["x"] > middle  # type: ignore[index]
        for page, _ in both:
            page.click("chat-button")
            page.page.fill("[data-testid=chat-text]", "مرحبا hello")
            page.page.press("[data-testid=chat-text]", "Enter")
        for page, _ in both:
            page.until("document.querySelectorAll('[data-testid=chat-line]').length === 2")
        all_is_said()
        for page, _ in both:
            page.page.keyboard.press("Escape")
            page.click("people-button")
            page.until("document.querySelectorAll('[data-testid=person]').length === 2")
        assert arabic.page.locator(".person-name", has_text="Ann").evaluate("(each) => each.dir") == "auto"
        all_is_said()
        for page, _ in both:
            page.page.keyboard.press("Escape")
            page.click("more-button")
            page.click("stats-button")
            page.see("peer-stats")
            page.until("document.querySelector('[data-testid=credential-life]').textContent !== ''")
        all_is_said()
        arabic.page.set_viewport_size({"width": 1280, "height": 800})
        assert arabic.page.evaluate(OVERFLOWS) == []
        # The drawer is at the end of the line, which is the left.
        assert arabic.page.locator("#drawer").bounding_box()["x"] == 0  # type: ignore[index]

        arabic.click("leave-button")
        arabic.see("error-page")
        all_is_said()


def test_another_language_takes_effect_at_once_and_is_remembered(browser: "Browser") -> None:
    """What a link asks for; then what is chosen: in the lobby, in a call without a reload, and afterwards."""
    with call_page(browser, locale="nl-NL") as page:
        page.open(f"{ORIGIN}/call/chosen{SMALL}&lang=de-AT")
        assert page.text("join-button") == texts("de")["lobby.join"]
        page.page.select_option("[data-testid=language-select]", "ar")
        page.until(
            "(text) => document.querySelector('[data-testid=join-button]').textContent === text",
            texts("ar")["lobby.join"],
        )
        page.until("document.querySelector('[data-testid=net-check]').dataset.done === 'true'")
        assert in_english(page, "ar") == []
        page.join("Ann")
        sent = len(page.sent)
        page.click("more-button")
        page.click("settings-button")
        assert page.page.input_value("[data-testid=call-language-select]") == "ar"
        page.page.select_option("[data-testid=call-language-select]", "fr")
        page.until("document.documentElement.lang === 'fr' && document.documentElement.dir === 'ltr'")
        page.page.keyboard.press("Escape")
        page.until("(text) => document.querySelector('#call-count').textContent === text", texts("fr")["call.only_you"])
        assert in_english(page, "fr") == []
        assert {frame["t"] for frame in page.sent[sent:]} <= {"ping", "stat"}
        # Left and come back to by the browser's own buttons: a tab that is duplicated then has nothing to go back to.
        kept = "Object.keys(sessionStorage).filter((each) => each.startsWith('meshturn.call.')).length"
        page.page.evaluate("dispatchEvent(new PageTransitionEvent('pagehide', {persisted: true}))")
        assert page.page.evaluate(kept) == 1
        page.page.evaluate("dispatchEvent(new PageTransitionEvent('pageshow', {persisted: true}))")
        assert page.page.evaluate(kept) == 0
        page.page.reload()
        page.see("self-tile")
        assert page.page.inner_text("#call-count") == texts("fr")["call.only_you"]
        page.page.goto(f"{ORIGIN}/")
        assert page.page.evaluate("document.documentElement.lang") == "fr"
        page.page.click("a[lang=es]")
        page.open(f"{ORIGIN}/call/chosen-again{SMALL}&lang=de")
        assert page.text("join-button") == texts("es")["lobby.join"]
        page.page.select_option("[data-testid=language-select]", "")
        page.until("document.documentElement.lang === 'de'")
        page.open(f"{ORIGIN}/call/chosen-again{SMALL}")
        assert page.text("join-button") == texts("en")["lobby.join"]


def test_what_stands_in_a_call_already_takes_another_language(browser: "Browser", link: Link) -> None:
    """A shared screen, a recording, who shows it to all, who knocks, keys, and a server that is about to stop."""
    wide = {"width": 1280, "height": 800}
    room = f"{ORIGIN}/call/standing{SMALL}"
    with (
        call_page(browser, locale="en-GB", viewport=wide) as ann,
        call_page(browser) as ben,
        call_page(browser) as cyd,
    ):
        ann.open(link("standing", "--role", "host"))
        ann.join("Ann")
        ben.open(room)
        ben.join("Ben")
        ann.connected()
        ben.click("screen-button")
        ann.see("screen-tile")
        ann.page.hover("[data-testid=screen-tile]")
        ann.page.wait_for_selector("[data-testid=screen-tile] [data-testid=zoom-in]")
        ann.page.click("[data-testid=screen-tile] [data-testid=spot-button]")
        ann.see("spotlight")
        for button in ("more-button", "record-button"):
            ann.click(button)
        ann.page.click("[data-answer=record]")
        ann.see("recorder")
        ann.click("people-button")
        ann.page.select_option("[data-testid=door-select]", "knock")
        ann.page.keyboard.press("Escape")
        ann.until("meshturn.mesh.room.locked && meshturn.mesh.room.knock")
        cyd.open(room)
        cyd.page.fill("[data-testid=name-input]", "Cyd")
        cyd.page.press("[data-testid=join-button]", "Enter")
        ann.see("knock")
        ann.click("more-button")
        ann.click("settings-button")
        ann.page.evaluate(
            "meshturn.signal.dispatchEvent(new CustomEvent('draining', {detail: {until: Date.now() + 600000}}))"
        )
        ann.see("banner")
        # What only passes by is not said again.
        ann.page.evaluate("document.querySelectorAll('.toasts > *').forEach((region) => region.replaceChildren())")
        ann.page.select_option("[data-testid=call-language-select]", "de")
        ann.until("document.documentElement.lang === 'de'")
        drain = re.escape(texts("de")["call.draining"]).replace(re.escape("{time}"), r"\d\d:\d\d")
        assert re.fullmatch(drain, ann.page.inner_text("#banner-text"))
        ann.page.keyboard.press("Escape")
        ann.page.hover("[data-testid=screen-tile]")
        for testid in ("recorder", "spotlight", "knock", "zoom-in"):
            ann.see(testid)
        assert in_english(ann, "de") == []
        ann.click("more-button")
        ann.click("keys-button")
        assert ann.page.inner_text("#keys-dialog dt >> nth=0") == "Strg + D"
        ann.page.keyboard.press("Escape")
        ann.page.wait_for_selector("[data-testid=banner]", state="hidden")  # it covers what is to be pressed
        with ann.page.expect_download():
            ann.click("recorder-stop")


def test_plurals_numbers_and_names(browser: "Browser") -> None:
    """Arabic has six plurals; the categories of all files are those that Intl has; a name turns nothing around it."""
    with call_page(browser, locale="ar-EG") as page:
        page.open(f"{ORIGIN}/call/plurals{SMALL}")
        plural = texts("ar")["lobby.here"]
        number = page.page.evaluate(
            "(values) => values.map((each) => new Intl.NumberFormat('ar-EG').format(each))", [3, 11, 100]
        )
        assert page.page.evaluate(COUNTED, [0, 1, 2, 3, 11, 100]) == [
            *(plural[category] for category in ("zero", "one", "two")),
            *(
                plural[category].replace("{count}", each)
                for category, each in zip(("few", "many", "other"), number, strict=True)
            ),
        ]
        for path in TEXTS.iterdir():
            wanted = page.page.evaluate(
                "(code) => new Intl.PluralRules(code).resolvedOptions().pluralCategories", path.stem
            )
            assert {*texts(path.stem)["lobby.here"]} == {*wanted}
        said = page.page.evaluate(ISOLATED, ["Ann", "a\u2069\u202eb"])
        assert said == [
            texts("ar")["knock.wants_in"].replace("{name}", f"\u2068{name}\u2069") for name in ("Ann", "a\u202eb")
        ]
    with call_page(browser, locale="en-GB") as page:
        page.open(f"{ORIGIN}/call/plurals{SMALL}")
        assert page.page.evaluate(COUNTED, [1, 2000]) == ["One person is here.", "2,000 people are here."]
        assert page.page.evaluate(ISOLATED, ["Ann", "דנה"]) == [
            "Ann would like to join.",
            "\u2068דנה\u2069 would like to join.",
        ]


def test_a_call_that_does_not_load_is_said_once(browser: "Browser") -> None:
    """It is in the diagnostics; what the server says meanwhile throws nothing."""
    with call_page(browser) as page:
        page.page.route("**/callview.js", lambda route: route.abort())
        page.open(f"{ORIGIN}/call/half{SMALL}")
        page.until("meshturn.diagnostics.lines.some(({what}) => what === 'the call did not load')")
        page.page.evaluate(
            "meshturn.signal.dispatchEvent(new CustomEvent('draining', {detail: {until: Date.now() + 60000}}))"
        )
        page.see("join-problem")
        assert [each for each in page.faults if "ERR_FAILED" not in each] == []
        page.faults.clear()


def test_a_page_around_the_call_says_its_language(browser: "Browser") -> None:
    """The attribute `lang` of the element."""
    html = f"""<!doctype html><title>App</title><script type="module" src="{ORIGIN}/call-assets/embed.js"></script>
    <meshturn-call src="{ORIGIN}/call/framed{SMALL}" lang="es"></meshturn-call>"""
    with call_page(browser, locale="fr-FR", schema=False) as app:
        app.page.route(f"{APP}/", lambda route: route.fulfill(body=html, content_type="text/html"))
        app.page.goto(f"{APP}/")
        join = app.page.frame_locator("iframe").locator("[data-testid=join-button]")
        join.wait_for(state="visible")
        assert join.inner_text() == texts("es")["lobby.join"]
        title = "(title) => document.querySelector('iframe').title === title"
        app.until(title, texts("es")["page.title"])
        app.page.frames[1].select_option("[data-testid=language-select]", "de")
        app.until(title, texts("de")["page.title"])
