"""What people expect of the call page beyond talking: spotlight, zoom, screen sound, tabs; in Chromium."""

import io
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pytest
import zxingcpp
from PIL import Image

from tests.support.browser import ORIGIN
from tests.support.call_links import Link
from tests.support.call_page import SMALL, CallPage, call_page

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.usefixtures("server")

WIDE = {"width": 1280, "height": 800}


@pytest.fixture(scope="module")
def signaling() -> dict[str, Any]:
    """Rooms that are open to everybody; a token makes hosts."""
    return {"open": True}


def url(room: str) -> str:
    return f"{ORIGIN}/call/{room}{SMALL}"


def on_stage(page: CallPage, tile: str) -> None:
    """Wait until this tile has the stage."""
    page.page.wait_for_selector(f"{tile}[data-stage]", state="visible")


def test_a_host_shows_somebody_large_to_everybody_and_each_may_leave_that(browser: "Browser", link: Link) -> None:
    """Everybody is told who did it, who comes later as well; a screen that is not shared any more is not shown."""
    with (
        call_page(browser, viewport=WIDE) as ann,
        call_page(browser) as ben,
        call_page(browser) as cyd,
    ):
        ann.enter(link("light", "--role", "host"), "Ann")
        ben.enter(url("light"), "Ben")
        ann.connected()
        ann.click("people-button")
        ann.page.locator("[data-testid=person] [aria-label='Show Ben large to everybody']").click()
        ben.see("spotlight")
        assert ben.text("spotlight").startswith("Ann shows you large to everybody.")
        assert ben.page.locator("[data-testid=spotlight-leave]").count() == 0, "oneself is not shown to oneself"
        cyd.enter(url("light"), "Cyd")
        on_stage(cyd, "[aria-label^='Ben,']")
        cyd.told("Ann shows Ben large to everybody.")
        assert cyd.page.locator("[data-testid=spotlight-stop]").count() == 0
        cyd.click("spotlight-leave")
        cyd.page.wait_for_selector("[data-stage]", state="detached")
        cyd.click("spotlight-leave")
        on_stage(cyd, "[aria-label^='Ben,']")
        ann.page.keyboard.press("Escape")
        ben.click("screen-button")
        ann.see("screen-tile")
        ann.page.hover("[data-testid=screen-tile]")
        ann.page.locator("[data-testid=screen-tile] [data-testid=spot-button]").click()
        on_stage(cyd, "[data-testid=screen-tile]")
        ben.click("stop-sharing")
        cyd.told("Nobody is shown large to everybody any more.")
        cyd.page.wait_for_selector("[data-testid=spotlight]", state="hidden")


def test_a_shared_screen_comes_closer_by_wheel_keys_and_touch(browser: "Browser") -> None:
    """The picture never leaves its place, and all of it can be done by the keyboard; its sound has a volume."""
    with call_page(browser) as ann, call_page(browser, viewport=WIDE) as ben:
        for page, name in ((ann, "Ann"), (ben, "Ben")):
            page.enter(url("zoom"), name)
        ben.connected()
        ann.click("screen-button")
        ben.see("screen-tile")
        ben.frames(3, "[data-testid=screen-tile] video")
        tile = "[data-testid=screen-tile]"
        shown = f"document.querySelector('{tile} [data-testid=zoom-whole]')?.textContent"
        ben.page.wait_for_selector(f"{tile} [data-testid=zoom-in]", state="attached")
        ben.page.focus(tile)
        ben.page.evaluate("meshturn.stats.onupdate()")  # whatever is shown anew, the focus stays
        for key in ("+", "+", "+"):
            ben.page.keyboard.press(key)
        ben.until(f"{shown} === '195%'")
        covers = (
            f"(() => {{ const v = document.querySelector('{tile} video').getBoundingClientRect();"
            f" const t = document.querySelector('{tile}').getBoundingClientRect();"
            " return v.left <= t.left + 4 && v.right >= t.right - 4 && v.top <= t.top + 4 && v.bottom >= t.bottom - 4;"
            " })()"
        )
        left = f"document.querySelector('{tile} video').getBoundingClientRect().left"
        before = ben.page.evaluate(left)
        for _ in range(12):
            ben.page.keyboard.press("ArrowLeft")
        assert ben.page.evaluate(left) > before
        assert ben.page.evaluate(covers), "however far it is moved"
        ben.page.keyboard.press("-")
        ben.until(f"{shown} === '156%'")
        ben.page.keyboard.press("0")
        ben.until(f"{shown} === '100%'")
        box = ben.page.locator(tile).bounding_box()
        assert box is not None
        ben.page.mouse.move(box["x"] + box["width"] * 0.8, box["y"] + box["height"] * 0.8)
        ben.page.mouse.wheel(0, -300)
        ben.until(f"parseInt({shown}) > 150")
        assert ben.page.evaluate(covers)
        before = ben.page.evaluate(left)
        ben.page.mouse.down()
        ben.page.mouse.move(box["x"] + box["width"] * 0.8 + 60, box["y"] + box["height"] * 0.8, steps=3)
        ben.page.mouse.up()
        assert ben.page.evaluate(left) > before
        ben.page.mouse.dblclick(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        ben.until(f"{shown} === '100%'")
        ben.page.evaluate(PINCH, tile)
        ben.until(f"{shown} === '300%'")
        assert ben.page.evaluate(covers)
        # What the screen plays comes as a second track, beside the microphone, and is as loud as one likes.
        peer = "[...meshturn.mesh.peers.values()][0]"
        assert ben.page.evaluate(f"{peer}.streams.screen.getAudioTracks().length") == 1
        assert ben.page.evaluate(f"{peer}.streams.camera.getAudioTracks().length") == 1
        ben.until(SOUND_COMES)
        ben.page.locator(f"{tile} [data-testid=screen-volume]").fill("0.25")
        assert ben.page.evaluate(f"document.querySelector('{tile} video').volume") == 0.25
        assert ben.page.evaluate(f"document.querySelector('{tile} video').muted") is False
        ann.click("stop-sharing")
        ben.page.wait_for_selector(tile, state="detached")
        ben.until(f"{peer}.streams.camera.getAudioTracks()[0].muted === false")
        ann.click("screen-button")
        ben.see("screen-tile")
        ben.until(f"{peer}.streams.screen?.getAudioTracks().length === 1")


def test_somebody_alone_is_offered_ways_to_invite_others(browser: "Browser") -> None:
    """The QR code and the letter have the very link; a share sheet is offered where the system has one."""
    with call_page(browser, permissions=["camera", "microphone", "clipboard-read", "clipboard-write"]) as ann:
        # Headless Chromium has no share sheet; the page is to use the one that others have.
        ann.page.add_init_script("navigator.share = async (what) => { globalThis.shared = what; };")
        ann.enter(url("alone"), "Ann")
        asked: list[str] = []
        ann.page.on("request", lambda request: asked.append(request.url))
        ann.click("alone-invite")
        ann.see("invite-dialog")
        link = ann.page.input_value("[data-testid=invite-link]")
        assert link == f"{ORIGIN}/call/alone"
        picture = Image.open(io.BytesIO(ann.page.locator("[data-testid=qr] svg").screenshot()))
        assert [each.text for each in zxingcpp.read_barcodes(picture)] == [link]
        letter = ann.page.get_attribute("[data-testid=invite-mail]", "href")
        assert letter is not None
        assert letter.startswith("mailto:?subject=Call%3A%20alone&body=")
        assert link in unquote(letter).splitlines()
        ann.click("invite-share")
        ann.until("globalThis.shared?.url === location.origin + '/call/alone'")
        ann.click("invite-copy")
        ann.told("Link copied.")
        assert ann.page.evaluate("navigator.clipboard.readText()") == link
        assert [each for each in asked if "/call-assets/" not in each] == [], "the link goes to nobody else"


def test_a_call_in_a_window_of_its_own_in_front_of_others(browser: "Browser") -> None:
    """It has the others' pictures, and buttons that do what those of the page do."""
    with call_page(browser) as ann, call_page(browser) as ben:
        for page, name in ((ann, "Ann"), (ben, "Ben")):
            page.enter(url("apart"), name)
        ann.connected()
        ann.click("more-button")
        ann.click("small-window-button")
        inside = "documentPictureInPicture.window?.document"
        ann.until(f"{inside}?.querySelector('[data-testid=apart-tile] video')?.videoWidth > 0")
        assert ann.page.evaluate(f"{inside}.querySelector('.plate-name').textContent") == "Ben"
        assert ann.page.evaluate(f"getComputedStyle({inside}.body).display") == "grid", "it has the page's style"
        ann.page.evaluate(f"{inside}.querySelector('#mic').click()")
        ben.until("[...meshturn.mesh.peers.values()][0].info.media.a === 0")
        ann.until(f"{inside}.querySelector('#mic').getAttribute('aria-pressed') === 'false'")
        ann.page.evaluate(f"{inside}.querySelector('#leave').click()")
        ann.see("error-page", code="left")
        ann.until("documentPictureInPicture.window === null")


def test_of_two_tabs_of_one_person_the_person_chooses(browser: "Browser") -> None:
    """The call moves without anybody leaving it, and back; nobody is put out unasked; both tabs are possible."""
    with call_page(browser) as ann, call_page(browser) as ben:
        ben.enter(url("tabs"), "Ben")
        ann.enter(url("tabs"), "Ann")
        ann.click("mic-button")
        ben.until("[...meshturn.mesh.peers.values()][0]?.info.media.a === 0")
        second = ann.another_tab()
        second.open(url("tabs"))
        second.page.press("[data-testid=join-button]", "Enter")
        second.answer("here")
        ann.see("error-page", code="moved")
        second.see("self-tile")
        second.connected()
        assert second.page.get_attribute("#mic", "aria-pressed") == "false", "as muted as before"
        ben.connected()
        assert not any("has left" in each for each in ben.page.evaluate("said"))
        ann.click("again-button")
        second.see("error-page", code="moved")
        ann.connected()
        ben.connected()
        second.page.reload()
        second.see("lobby")
        ann.listen()
        second.page.press("[data-testid=join-button]", "Enter")
        second.answer("there")
        second.see("error-page", code="elsewhere")
        ann.told("This is the tab with the call.")
        second.page.reload()
        second.see("lobby")
        second.page.press("[data-testid=join-button]", "Enter")
        second.answer("both")
        second.see("self-tile")
        ben.connected(2)
        assert second.faults == []


def test_an_invitation_for_one_is_in_one_tab_and_one_browser(browser: "Browser", link: Link) -> None:
    """A second tab asks before it says anything to the server, which would refuse it; another browser is told why."""
    only = link("single", "--once")
    with call_page(browser) as ann, call_page(browser) as elsewhere:
        ann.enter(only, "Ann")
        second = ann.another_tab()
        second.page.goto(only)
        second.see("ask-dialog")
        assert second.page.locator("#ask-dialog [data-answer=both]").count() == 0
        assert second.sent == []
        second.answer("here")
        ann.see("error-page", code="moved")
        second.see("self-tile")
        elsewhere.page.goto(only)
        elsewhere.see("error-page", code="token_used")
        assert second.faults == []


PINCH = """
(selector) => {
  const tile = document.querySelector(selector);
  const {x, y, width, height} = tile.getBoundingClientRect();
  const tell = (type, pointerId, dx) => tile.dispatchEvent(new PointerEvent(type, {
    pointerId, pointerType: 'touch', bubbles: true, clientX: x + width / 2 + dx, clientY: y + height / 2,
  }));
  tell('pointerdown', 71, -50);
  tell('pointerdown', 72, 50);
  tell('pointermove', 71, -150);
  tell('pointermove', 72, 150);
  tell('pointerup', 71, -150);
  tell('pointerup', 72, 150);
}
"""

SOUND_COMES = """
async () => {
  const [peer] = meshturn.mesh.peers.values();
  const [track] = peer.streams.screen.getAudioTracks();
  const reports = [...(await peer.pc.getStats(track)).values()];
  return reports.some(({type, totalAudioEnergy}) => type === 'inbound-rtp' && totalAudioEnergy > 0);
}
"""
