"""Who is how large on the call page: two people, a shared screen on the stage, what is pinned; in real Chromium."""

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.browser import ORIGIN
from tests.support.call_page import SMALL, CallPage, call_page

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.usefixtures("server")

WIDE = {"width": 1280, "height": 800}
PHONE = {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def signaling() -> dict[str, Any]:
    """Rooms that are open to everybody."""
    return {"open": True}


def url(room: str) -> str:
    return f"{ORIGIN}/call/{room}{SMALL}"


def box(page: CallPage, testid: str) -> dict[str, float]:
    """Where something is, in pixels of the window."""
    found = page.page.locator(f"[data-testid={testid}]").bounding_box()
    assert found is not None
    return dict(found)


def area(page: CallPage, testid: str) -> float:
    found = box(page, testid)
    return found["width"] * found["height"]


def inside_window(page: CallPage, testid: str) -> bool:
    found, size = box(page, testid), page.page.viewport_size
    assert size is not None
    return (
        found["x"] >= 0
        and found["y"] >= 0
        and found["x"] + found["width"] <= size["width"]
        and found["y"] + found["height"] <= size["height"]
    )


def test_of_two_people_the_other_fills_the_stage_and_oneself_is_small_and_can_be_moved(browser: "Browser") -> None:
    """By dragging, and by the arrow keys; where it stands is remembered."""
    with call_page(browser, viewport=WIDE) as ann, call_page(browser, viewport=PHONE) as ben:
        for page, name in ((ann, "Ann"), (ben, "Ben")):
            page.open(url("two"))
            page.join(name)
        for page in (ann, ben):
            page.connected()
            assert area(page, "tile") > 8 * area(page, "self-tile")
            assert inside_window(page, "self-tile")
            page.shot(f"two-{'wide' if page is ann else 'phone'}")
        before = box(ann, "self-tile")
        ann.page.focus("[data-testid=self-tile]")
        ann.page.keyboard.press("ArrowLeft")
        ann.until("(x) => document.querySelector('[data-testid=self-tile]').getBoundingClientRect().x < x", before["x"])
        left = box(ann, "self-tile")
        ann.page.mouse.move(left["x"] + 20, left["y"] + 20)
        ann.page.mouse.down()
        ann.page.mouse.move(left["x"] + 40, 120, steps=3)
        ann.page.mouse.up()
        ann.until("(y) => document.querySelector('[data-testid=self-tile]').getBoundingClientRect().y < y", left["y"])
        assert inside_window(ann, "self-tile")
        assert ann.page.evaluate("localStorage.getItem('meshturn.corner')") == "tl"


def test_a_shared_screen_takes_the_stage_and_who_shares_it_can_stop(browser: "Browser") -> None:
    """At every size it is far larger than the faces; who shares sees no hall of mirrors, but a bar with a button."""
    with call_page(browser, viewport=WIDE) as ann, call_page(browser, viewport=WIDE) as ben:
        for page, name in ((ann, "Ann"), (ben, "Ben")):
            page.open(url("screen"))
            page.join(name)
        ben.connected()
        ann.click("screen-button")
        ann.see("sharing")
        assert ann.page.locator("[data-testid=screen-tile]").count() == 0
        ben.see("screen-tile")
        ben.frames(3, "[data-testid=screen-tile] video")
        for name, size in (("wide", WIDE), ("phone", PHONE)):
            ben.page.set_viewport_size(size)  # type: ignore[arg-type]
            ben.until(
                "() => { const area = (id) => { const b = document.querySelector(`[data-testid=${id}]`)"
                ".getBoundingClientRect(); return b.width * b.height; };"
                " return area('screen-tile') > 6 * area('tile') && area('tile') > 0; }"
            )
            for each in ("screen-tile", "tile", "self-tile"):
                assert inside_window(ben, each), (name, each)
            ben.shot(f"screen-{name}")
        ann.click("stop-sharing")
        ben.page.wait_for_selector("[data-testid=screen-tile]", state="detached")
        assert ann.page.is_hidden("[data-testid=sharing]")


def test_what_is_pinned_has_the_stage(browser: "Browser") -> None:
    with (
        call_page(browser, viewport=WIDE) as ann,
        call_page(browser, viewport=PHONE) as ben,
        call_page(browser, viewport=PHONE) as cyd,
    ):
        for page, name in ((ann, "Ann"), (ben, "Ben"), (cyd, "Cyd")):
            page.open(url("three"))
            page.join(name)
        ann.connected(2)
        tiles = "[...document.querySelectorAll('#grid > *')].map((each) => each.getBoundingClientRect().width)"
        assert len(set(ann.page.evaluate(tiles))) == 1
        ann.shot("three")
        ann.page.locator("[aria-label='Keep Cyd large']").click()
        ann.until(f"() => {{ const all = {tiles}; return Math.max(...all) > 3 * Math.min(...all); }}")
        assert ann.page.get_attribute("[aria-label='Keep Cyd large']", "aria-pressed") == "true"
        ann.shot("pinned")
        ann.page.locator("[aria-label='Keep Cyd large']").click()
        ann.until(f"() => new Set({tiles}).size === 1")


def test_a_name_in_emoji_has_whole_ones_for_initials(browser: "Browser") -> None:
    with call_page(browser) as ann:
        ann.open(url("emoji"))
        ann.join("👩‍🚀 Ŋína")
        assert ann.page.inner_text("[data-testid=self-tile] .avatar") in ("👩‍🚀Ŋ", "")
        assert ann.page.evaluate("document.querySelector('[data-testid=self-tile] .avatar').textContent") == "👩‍🚀Ŋ"
