"""The whole call for everybody: axe-core over every state, every width, by keyboard alone, by accessible names alone.

With ``MESHTURN_PICTURES=1`` every state leaves a screenshot at each width, light and dark, in ``artifacts``.
"""

import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.browser import ORIGIN
from tests.support.call_links import Link
from tests.support.call_page import PICTURES, CallPage, call_page

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator

pytestmark = pytest.mark.usefixtures("server")

GRANTED = ["camera", "microphone", "clipboard-read", "clipboard-write"]
WIDTHS = (320, 390, 768, 1280, 1920, 2560)

TOO_WIDE = """
async () => {
  const wide = () => document.documentElement.scrollWidth - innerWidth;
  // Some of it is placed after the window has its new size.
  for (let frame = 0; wide() > 0 && frame < 120; frame += 1) await new Promise(requestAnimationFrame);
  return wide() <= 0 ? '' : `${wide()} px too wide: ` + [...document.querySelectorAll('body *')]
    .filter((each) => each.checkVisibility() && each.getBoundingClientRect().right > innerWidth + 0.5)
    .map((each) => each.id || each.className).slice(0, 5).join(', ');
}
"""

COVERED = """
async () => {
  const covered = () => [...document.querySelectorAll('button, select, input, a[href]')].filter((each) => {
    if (!each.checkVisibility({opacityProperty: true, visibilityProperty: true})) return false;
    if (each.closest('[inert]')) return false;
    if (document.querySelector('dialog[open]') && !each.closest('dialog[open]')) return false;
    const box = each.getBoundingClientRect();
    const at = [box.x + box.width / 2, box.y + box.height / 2];
    if (box.width <= 1 || at[0] < 0 || at[1] < 0 || at[0] >= innerWidth || at[1] >= innerHeight) return false;
    const top = document.elementFromPoint(...at);
    if (top?.closest('.drawer') || top?.closest('label')?.control === each) return false;
    return !top || !(each.contains(top) || top.contains(each));
  }).map((each) => each.dataset.testid || each.id || each.className);
  for (let frame = 0; covered().length > 0 && frame < 120; frame += 1) await new Promise(requestAnimationFrame);
  return covered().length === 0 ? '' : `covered: ${covered().slice(0, 5).join(', ')}`;
}
"""
"""Controls that something lies on, but for a drawer, which takes the place of the call in a narrow window."""


class Reviewer:
    """Looks at a page in one state: what axe-core finds in both schemes, and whether it fits every width."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self.states: set[str] = set()
        self._axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()

    def __call__(self, page: CallPage, state: str) -> None:
        self.states.add(state)
        shown = page.page
        before = shown.viewport_size
        for scheme, options in (
            ("light", {"resultTypes": ["violations"]}),
            ("dark", {"resultTypes": ["violations"], "runOnly": ["color-contrast"]}),
        ):
            shown.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            for violation in self._axe.run(shown, options=options).response["violations"]:
                where = "; ".join(str(node["target"]) for node in violation["nodes"][:4])
                self.found.append(f"{state}, {scheme}: {violation['id']}: {violation['help']}: {where}")
            for width in WIDTHS:
                if scheme == "dark" and not PICTURES:
                    break
                shown.set_viewport_size({"width": width, "height": 568 if width < 390 else 844 if width < 768 else 900})
                wide = shown.evaluate(TOO_WIDE)
                if wide:
                    self.found.append(f"{state} at {width}: {wide}")
                covered = shown.evaluate(COVERED)
                if covered:
                    self.found.append(f"{state} at {width}: {covered}")
                page.shot(f"{state}-{width}-{scheme}")
            assert before is not None
            shown.set_viewport_size(before)
        shown.emulate_media(color_scheme="light")


def shut(page: CallPage) -> None:
    """Close what is open above the call."""
    page.page.keyboard.press("Escape")
    page.until("document.querySelector('dialog[open]') === null")


@pytest.mark.timeout(900)
def test_axe_finds_nothing_and_every_width_fits(browser: "Browser", link: Link) -> None:
    """Every state of the page, in both schemes; from 320 px on nothing is wider than the window or covers a control."""
    review = Reviewer()
    with (
        call_page(browser, permissions=GRANTED, reduced_motion="reduce") as ann,
        call_page(browser, permissions=GRANTED, reduced_motion="reduce") as ben,
        call_page(browser, permissions=[], reduced_motion="reduce") as cyd,
    ):
        for path, state in (("/", "start"), ("/call/-", "no-such-call")):
            cyd.page.goto(ORIGIN + path)
            review(cyd, state)
        cyd.faults.clear()  # the browser writes a 404 to the console
        ann.open(link("states", "--role", "host"))
        ann.page.wait_for_selector("#net-check[data-done]", state="attached")
        review(ann, "lobby")
        for summary in ann.page.query_selector_all("#lobby summary"):
            summary.click()
        review(ann, "lobby-details")
        ann.join("Ann Ångström-Λεωνίδας of the very long name that somebody has")
        review(ann, "alone")
        ann.click("alone-invite")
        ann.page.wait_for_selector("dialog[open]")
        review(ann, "invite")
        shut(ann)
        ben.open(link("states"))
        ben.join("Ben")
        ann.connected()
        ben.frames(5)
        review(ben, "two")
        ben.click("hand-button")
        ben.page.wait_for_selector("[data-testid=hand-button][aria-pressed=true]")
        ben.click("chat-button")
        for said in ("Look at https://example.org/" + "long/" * 30, "word" * 60):
            ben.page.fill("[data-testid=chat-text]", said)
            ben.page.press("[data-testid=chat-text]", "Enter")
        ann.until("document.querySelector('[data-testid=chat-unread]').textContent === '2'")
        review(ann, "unread")
        review(ben, "chat")
        ben.page.keyboard.press("Escape")
        for button, state in (
            ("more-button", "menu"),
            ("settings-button", "devices"),
            ("keys-button", "keys"),
            ("stats-button", "statistics"),
        ):
            if state != "menu":
                ann.click("more-button")
            ann.click(button)
            review(ann, state)
            if state == "statistics":
                ann.click("more-button")
                ann.click(button)
                ann.page.keyboard.press("Escape")
            else:
                shut(ann)
        ann.click("people-button")
        review(ann, "people")
        ann.page.locator("[data-testid=person] [aria-label='Show Ben large to everybody']").click()
        ben.see("spotlight")
        shut(ann)
        review(ann, "spotlight")
        ann.click("spotlight-stop")
        ben.page.wait_for_selector("[data-testid=spotlight]", state="hidden")
        ann.click("more-button")
        ann.click("record-button")
        ann.see("ask-dialog")
        review(ann, "record-question")
        ann.page.click("[data-answer=record]")
        ben.see("recorded")
        review(ann, "recording")
        review(ben, "recorded")
        with ann.page.expect_download():
            ann.click("recorder-stop")
        ben.page.wait_for_selector("[data-testid=recorded]", state="detached")
        ann.click("people-button")
        ann.page.select_option("[data-testid=door-select]", "knock")
        ann.until("meshturn.mesh.room.knock")
        shut(ann)
        cyd.open(link("states", "--cap", "message"))
        cyd.page.fill("[data-testid=name-input]", "Cyd")
        cyd.page.press("[data-testid=join-button]", "Enter")
        ann.see("knock")
        review(cyd, "waiting")
        review(ann, "knocking")
        ann.click("admit-button")
        cyd.connected(2)
        review(cyd, "listener")
        ann.click("screen-button")
        ben.see("screen-tile")
        review(ann, "sharing")
        review(ben, "screen")
        ben.page.focus("[data-testid=screen-tile]")
        for _ in range(3):
            ben.page.keyboard.press("+")
        ben.until(
            "document.querySelector('[data-testid=screen-tile] [data-testid=zoom-whole]')?.textContent === '195%'"
        )
        review(ben, "zoomed")
        ann.click("stop-sharing")
        named(ann, "button", "Remove Ben from the call").focus()
        ann.page.keyboard.press("Enter")
        ann.see("ask-dialog")
        review(ann, "question")
        ann.page.click("[data-answer=ban]")
        ben.see("error-page", code="banned")
        review(ben, "banned")
        ann.click("leave-button")
        ann.see("error-page", code="left")
        review(ann, "left")
    assert not review.found, "\n".join(review.found)


# By keyboard alone, and by names alone


MARKED = """
() => {
  const here = document.activeElement;
  const style = getComputedStyle(here);
  const box = here.getBoundingClientRect();
  const top = document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2);
  return {
    body: here === document.body,
    outlined: style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2,
    free: top !== null && (here.contains(top) || top.contains(here)),
  };
}
"""


class Keyboard:
    """Somebody without a mouse, who goes from control to control by Tab, and has to see where the focus is."""

    def __init__(self, page: CallPage) -> None:
        self._page = page.page

    @property
    def focus(self) -> str:
        """Role and name of what has the focus, such as ``button "Leave the call"``."""
        if self._page.evaluate("document.activeElement === document.body"):
            return "body"
        return self._page.locator(":focus").aria_snapshot().split("\n", 1)[0].removeprefix("- ").rstrip(":")

    def to(self, name: str, key: str = "Tab") -> None:
        """Press Tab until a control has the focus whose role and name match; the focus is to be seen at each stop."""
        passed: list[str] = []
        while len(passed) < 60:
            self._page.keyboard.press(key)
            passed.append(self.focus)
            if passed[-1] != "body":
                marked = self._page.evaluate(MARKED)
                assert marked["outlined"], f"no mark of the focus: {passed[-1]}"
                assert marked["free"], f"something covers what has the focus: {passed[-1]}"
            if re.match(name, passed[-1]):
                return
        raise AssertionError(f"{key} never comes to {name}, but to {passed}")

    def go(self, name: str, *keys: str) -> None:
        """Go to a control, and press keys there: Enter if none are given."""
        self.to(name)
        for key in keys or ("Enter",):
            self._page.keyboard.press(key)

    def write(self, text: str) -> None:
        """Type into what has the focus."""
        self._page.keyboard.type(text)


def named(page: CallPage, role: Any, name: str) -> "Locator":
    """A control as a screen reader or a voice names it; there is exactly one."""
    return page.page.get_by_role(role, name=name, exact=True)


@pytest.mark.timeout(900)
def test_a_call_by_keyboard_alone_and_one_by_names_alone(browser: "Browser", link: Link) -> None:
    """Ann has no mouse. Ben knows roles and names only. Both do all that one can do."""
    with call_page(browser, permissions=GRANTED) as ann, call_page(browser, permissions=GRANTED) as ben:
        ann.open(link("everybody", "--role", "host"))
        keys = Keyboard(ann)
        keys.to('textbox "Your name"')
        keys.write("Ann")
        keys.to('button "Camera"', "Shift+Tab")
        ann.page.keyboard.press("Space")
        ann.until("meshturn.devices.video === null")
        keys.go('button "Join the call"')
        ann.see("self-tile")
        keys.go('button "Microphone"', "Space")
        ann.page.wait_for_selector("[data-testid=mic-button][aria-pressed=false]")

        ben.page.goto(link("everybody"))
        named(ben, "textbox", "Your name").fill("Ben")
        named(ben, "button", "Microphone").click()
        named(ben, "button", "Join the call").click()
        named(ben, "button", "Leave the call").wait_for()
        ann.connected()
        ben.page.get_by_role("region", name=re.compile("Ann")).first.wait_for()

        keys.go('button "Camera"')
        ben.frames(3)
        keys.go('button "Raise hand"')
        ben.page.get_by_text("Ann has raised a hand").first.wait_for()
        keys.go('button "Chat')
        keys.write("hello")
        ann.page.keyboard.press("Enter")
        ann.page.keyboard.press("Escape")
        assert keys.focus.startswith('button "Chat')
        named(ben, "button", "Chat, 1 unread").or_(ben.page.get_by_role("button", name=re.compile("^Chat"))).click()
        assert "hello" in ben.page.get_by_role("list", name="Messages").inner_text()
        named(ben, "textbox", "Message to everybody").fill("hi")
        named(ben, "button", "Send").click()
        named(ben, "button", "Close chat").click()

        keys.go('button "Share screen"')
        ben.see("screen-tile")
        keys.go('button "Stop"')
        ben.page.wait_for_selector("[data-testid=screen-tile]", state="detached")
        keys.go('button "Keep Ben large"')
        ann.page.wait_for_selector("[aria-label='Keep Ben large'][aria-pressed=true]")

        keys.go('button "More"')
        keys.go('button "Devices"')
        keys.to('combobox "Microphone"')
        keys.go('button "Close"')
        assert keys.focus == 'button "More"'
        keys.go('button "More"')
        keys.go('button "Statistics"')
        keys.go('button "Close statistics"')

        keys.go('button "People"', "Enter")
        keys.go('button "Make Ben a host"')
        ann.page.wait_for_selector("[data-testid=person][data-host=true]:has-text('Ben')")
        ann.page.keyboard.press("Escape")
        assert keys.focus.startswith('button "People')

        ben.page.get_by_role("button", name=re.compile("^People")).click()
        people = named(ben, "dialog", "People")
        people.get_by_role("combobox", name="Who may join").select_option("Nobody else")
        ann.until("meshturn.mesh.room.locked")
        people.get_by_role("button", name="Remove Ann from the call").click()
        named(ben, "dialog", "Remove Ann from the call?").get_by_role("button", name="Cancel").click()
        people.get_by_role("button", name="Close").click()
        keys.go('button "Leave the call"')
        ann.see("error-page", code="left")
        named(ben, "button", "Leave the call").click()
        named(ben, "heading", "You have left the call").wait_for()
        keys.go('button "Join again"')
        ann.see("lobby")
