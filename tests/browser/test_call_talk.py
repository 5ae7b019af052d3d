"""What people tell one another on the call page besides speaking: chat, hands, reactions; in real Chromium."""

import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.browser import ORIGIN
from tests.support.call_page import SMALL, CallPage, call_page

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.usefixtures("server")


@pytest.fixture(scope="module")
def signaling() -> dict[str, Any]:
    """Rooms that are open to everybody."""
    return {"open": True}


def url(room: str) -> str:
    return f"{ORIGIN}/call/{room}{SMALL}"


def say(page: CallPage, text: str) -> None:
    page.page.fill("[data-testid=chat-text]", text)
    page.page.press("[data-testid=chat-text]", "Enter")


def lines(page: CallPage) -> list[str]:
    return list(page.page.locator("[data-testid=chat-line] .chat-body").all_inner_texts())


def test_chat_with_links_an_unread_mark_and_what_was_said_before(browser: "Browser") -> None:
    """Markup is text, a link is a link, and who comes later gets what was said, also more than one frame holds."""
    with call_page(browser) as ann, call_page(browser) as ben, call_page(browser) as cyd:
        for page, name in ((ann, "Ann"), (ben, "Ben")):
            page.open(url("chat"))
            page.join(name)
        ann.connected()
        ann.click("chat-button")
        said = [
            "<b>hello</b> https://example.org/a?b=1, or javascript:alert(1)",
            *("ü" * 900 + str(n) for n in range(5)),
        ]
        for each in said:
            say(ann, each)
        ben.until("document.querySelector('[data-testid=chat-unread]').textContent === '6'")
        ben.shot("chat-unread")
        ben.click("chat-button")
        assert ben.page.is_hidden("[data-testid=chat-unread]")
        assert lines(ben) == said
        links = ben.page.locator("[data-testid=chat-line] a")
        assert links.all_inner_texts() == ["https://example.org/a?b=1"]
        assert links.first.get_attribute("rel") == "noopener noreferrer nofollow"
        assert ben.page.locator("[data-testid=chat-line] b").count() == 0
        say(ben, "hi Ann")
        ann.until("document.querySelectorAll('[data-testid=chat-line]').length === 7")
        cyd.open(url("chat"))
        cyd.join("Cyd")
        cyd.until("document.querySelectorAll('[data-testid=chat-line]').length === 7")
        cyd.click("chat-button")
        assert lines(cyd) == [*said, "hi Ann"]
        heads = cyd.page.locator(".chat-head bdi").all_inner_texts()
        assert heads == ["Ann"] * 6 + ["Ben"]
        cyd.shot("chat")


def test_what_others_send_as_chat_is_hostile(browser: "Browser") -> None:
    """Nothing of it breaks the page, and nobody speaks under somebody else's name."""
    with call_page(browser) as ann, call_page(browser) as ben:
        for page, name in ((ann, "Ann"), (ben, "Ben")):
            page.open(url("hostile"))
            page.join(name)
        ann.connected()
        for data in (
            "{chat: null}",
            "{chat: 7}",
            "{chat: {}}",
            "{chat: {id: 'x', name: 'Ann', text: ' ', at: 1}}",
            "{chat: {id: 'x', name: 'Ann', text: 'far', at: 1e308}}",
            "{chat: {id: 'y'.repeat(50), name: 'Ann', text: 'long id', at: 1}}",
            "{chat: [[], null, {id: 1}]}",
            "{react: '<img src=x>'}",
            "{react: {}}",
            "{chat: {id: 'z', name: 'Ann', text: 'as Ann', at: 1}}",
        ):
            ben.page.evaluate(f"meshturn.mesh.message({data})")
        ann.until("[...document.querySelectorAll('.chat-body')].some((each) => each.textContent === 'as Ann')")
        heads = ann.page.evaluate("[...document.querySelectorAll('.chat-head bdi')].map((each) => each.textContent)")
        assert set(heads) == {"Ben"}


def test_hands_and_reactions(browser: "Browser") -> None:
    with call_page(browser) as ann, call_page(browser) as ben:
        for page, name in ((ann, "Ann"), (ben, "Ben")):
            page.open(url("hands"))
            page.join(name)
        ann.connected()
        ann.click("hand-button")
        ben.page.wait_for_selector(".toast:has-text('Ann has raised a hand')")
        ben.page.wait_for_selector("[data-testid=tile] .plate-hand", state="visible")
        assert "hand raised" in str(ben.page.get_attribute("[data-testid=tile]", "aria-label"))
        ann.click("hand-button")
        ben.page.wait_for_selector("[data-testid=tile] .plate-hand", state="hidden")
        ann.click("more-button")
        ann.page.click("[data-testid=reaction] >> nth=0")
        ben.see("shown-reaction")
        ben.shot("reaction")
        ben.page.wait_for_selector("[data-testid=shown-reaction]", state="detached")


def test_both_ends_see_the_same_code_and_another_pair_sees_another(browser: "Browser") -> None:
    """It is made of both certificates, so whoever stood in between would be seen."""
    with call_page(browser) as ann, call_page(browser) as ben, call_page(browser) as cyd:
        for page, name in ((ann, "Ann"), (ben, "Ben"), (cyd, "Cyd")):
            page.open(url("code"))
            page.join(name)
        codes: dict[tuple[str, str], str] = {}
        for page, name in ((ann, "Ann"), (ben, "Ben"), (cyd, "Cyd")):
            page.connected(2)
            page.click("people-button")
            page.until(
                "[...document.querySelectorAll('[data-testid=person-code]')].filter((e) => e.textContent).length === 2"
            )
            found = page.page.evaluate(
                "[...document.querySelectorAll('[data-testid=person]')].map((row) => [row.dataset.name,"
                " row.querySelector('[data-testid=person-code]').textContent])"
            )
            codes |= {(name, other): code for other, code in found if code}
        ann.shot("codes")
        assert re.fullmatch(r"Code \d{5} \d{5} \d{5} \d{5}", codes["Ann", "Ben"])
        assert codes["Ann", "Ben"] == codes["Ben", "Ann"]
        assert codes["Ann", "Cyd"] == codes["Cyd", "Ann"]
        assert len(set(codes.values())) == 3
