"""What people expect of the call page beyond talking: spotlight, zoom, screen sound, recording, tabs; in Chromium."""

import io
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import av
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


def enter(page: CallPage, address: str, name: str) -> None:
    """Go into a call, and keep what is announced from then on, which is to be seen for some seconds only."""
    page.open(address)
    page.page.evaluate(
        "globalThis.said = []; new MutationObserver((list) => { for (const {addedNodes} of list)"
        " for (const {textContent} of addedNodes) said.push(textContent); })"
        ".observe(document.querySelector('.toasts'), {subtree: true, childList: true})"
    )
    page.join(name)


def told(page: CallPage, text: str) -> None:
    """Wait until it has been announced, to everybody or to screen readers alone."""
    page.until("(text) => said.some((each) => each.includes(text))", text)


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
        enter(ann, link("light", "--role", "host"), "Ann")
        enter(ben, url("light"), "Ben")
        ann.connected()
        ann.click("people-button")
        ann.page.locator("[data-testid=person] [aria-label='Show Ben large to everybody']").click()
        ben.see("spotlight")
        assert ben.text("spotlight").startswith("Ann shows you large to everybody.")
        assert ben.page.locator("[data-testid=spotlight-leave]").count() == 0, "oneself is not shown to oneself"
        enter(cyd, url("light"), "Cyd")
        on_stage(cyd, "[aria-label^='Ben,']")
        told(cyd, "Ann shows Ben large to everybody.")
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
        told(cyd, "Nobody is shown large to everybody any more.")
        cyd.page.wait_for_selector("[data-testid=spotlight]", state="hidden")


def test_a_shared_screen_comes_closer_by_wheel_keys_and_touch(browser: "Browser") -> None:
    """The picture never leaves its place, and all of it can be done by the keyboard; its sound has a volume."""
    with call_page(browser) as ann, call_page(browser, viewport=WIDE) as ben:
        for page, name in ((ann, "Ann"), (ben, "Ben")):
            enter(page, url("zoom"), name)
        ben.connected()
        ann.click("screen-button")
        ben.see("screen-tile")
        ben.frames(3, "[data-testid=screen-tile] video")
        tile = "[data-testid=screen-tile]"
        shown = f"document.querySelector('{tile} [data-testid=zoom-reset]')?.textContent"
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
        enter(ann, url("alone"), "Ann")
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
        told(ann, "Link copied.")
        assert ann.page.evaluate("navigator.clipboard.readText()") == link
        assert [each for each in asked if "/call-assets/" not in each] == [], "the link goes to nobody else"


def test_a_call_in_a_window_of_its_own_in_front_of_others(browser: "Browser") -> None:
    """It has the others' pictures, and buttons that do what those of the page do."""
    with call_page(browser) as ann, call_page(browser) as ben:
        for page, name in ((ann, "Ann"), (ben, "Ben")):
            enter(page, url("apart"), name)
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


def another_tab(page: CallPage) -> CallPage:
    """One more tab of the same browser, with everything that it knows."""
    return CallPage(page.page.context.new_page())


def answer(page: CallPage, value: str) -> None:
    """Give that answer to the question which the page asks."""
    page.see("ask-dialog")
    page.page.click(f"#ask-dialog [data-answer={value}]")


def test_of_two_tabs_of_one_person_the_person_chooses(browser: "Browser") -> None:
    """The call moves without anybody leaving it, and back; nobody is put out unasked; both tabs are possible."""
    with call_page(browser) as ann, call_page(browser) as ben:
        enter(ben, url("tabs"), "Ben")
        enter(ann, url("tabs"), "Ann")
        ann.click("mic-button")
        ben.until("[...meshturn.mesh.peers.values()][0]?.info.media.a === 0")
        second = another_tab(ann)
        second.open(url("tabs"))
        second.page.press("[data-testid=join-button]", "Enter")
        answer(second, "here")
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
        ann.page.evaluate(
            "globalThis.said = []; new MutationObserver((list) => list.forEach(({addedNodes}) => addedNodes.forEach("
            "({textContent}) => said.push(textContent)))).observe(document.querySelector('.toasts'),"
            " {subtree: true, childList: true})"
        )
        second.page.press("[data-testid=join-button]", "Enter")
        answer(second, "there")
        second.see("error-page", code="elsewhere")
        told(ann, "This is the tab with the call.")
        second.page.reload()
        second.see("lobby")
        second.page.press("[data-testid=join-button]", "Enter")
        answer(second, "both")
        second.see("self-tile")
        ben.connected(2)
        assert second.faults == []


def test_an_invitation_for_one_is_in_one_tab_and_one_browser(browser: "Browser", link: Link) -> None:
    """A second tab asks before it says anything to the server, which would refuse it; another browser is told why."""
    only = link("single", "--once")
    with call_page(browser) as ann, call_page(browser) as elsewhere:
        enter(ann, only, "Ann")
        second = another_tab(ann)
        second.page.goto(only)
        second.see("ask-dialog")
        assert second.page.locator("#ask-dialog [data-answer=both]").count() == 0
        assert second.sent == []
        answer(second, "here")
        ann.see("error-page", code="moved")
        second.see("self-tile")
        elsewhere.page.goto(only)
        elsewhere.see("error-page", code="token_used")
        assert second.faults == []


def recorded(file: Path, until: float) -> dict[str, float]:
    """What is in a recording: lengths in seconds, how colorful the last picture is, how loud it is before and after."""
    with av.open(str(file)) as container:
        pictures = sounds = 0
        ends = {"video": 0.0, "audio": 0.0}
        loud = {"before": 0.0, "after": 0.0}
        last = None
        for frame in container.decode(video=0, audio=0):
            if isinstance(frame, av.VideoFrame):
                pictures += 1
                ends["video"] = float(frame.time or 0)
                last = frame
            else:
                sounds += 1
                ends["audio"] = float(frame.time or 0)
                samples = memoryview(bytes(frame.planes[0])).cast("f" if "flt" in frame.format.name else "h")
                level = max((abs(each) for each in samples), default=0) / (1 if "flt" in frame.format.name else 32768)
                where = "before" if ends["audio"] < until else "after"
                loud[where] = max(loud[where], float(level))
    assert last is not None
    image = last.to_image().convert("HSV")  # type: ignore[no-untyped-call]
    left, right = image.crop((300, 200, 500, 500)), image.crop((1150, 305, 1260, 375))
    vivid = [sum(each.getchannel("S").histogram()[100:]) / (each.width * each.height) for each in (left, right)]
    return {"pictures": pictures, "sounds": sounds, **ends, **loud, "left": vivid[0], "right": vivid[1]}


def seconds(page: CallPage) -> float:
    """The clock of the recording."""
    found = re.match(r"(\d+):(\d+)", page.page.inner_text(".recorder-time"))
    assert found is not None
    return int(found[1]) * 60 + int(found[2])


def record(page: CallPage) -> None:
    page.click("more-button")
    page.click("record-button")
    answer(page, "record")
    page.see("recorder")


def clock_at(page: CallPage, least: float) -> None:
    """Wait until the recording is that long."""
    page.until(
        "(least) => { const [, m, s] = /(\\d+):(\\d+)/.exec(document.querySelector('.recorder-time').textContent);"
        " return Number(m) * 60 + Number(s) >= least; }",
        least,
    )


def test_a_recording_has_all_pictures_and_voices_and_everybody_is_told(browser: "Browser", tmp_path: Path) -> None:
    """First Ann alone is to be heard, then Ben alone, who records; what a page that dies has recorded is offered."""
    with call_page(browser, viewport=WIDE) as ben, call_page(browser) as ann, call_page(browser) as cyd:
        enter(ben, url("record"), "Ben")
        enter(ann, url("record"), "Ann")
        ben.connected()
        ben.frames(5)
        ben.page.hover("[data-testid=tile]")
        ben.page.locator("[aria-label='Keep Ann large']").click()
        ben.click("mic-button")
        record(ben)
        told(ann, "Ben is recording the call.")
        ann.see("recorded")
        ann.page.wait_for_selector("[aria-label='Ben, microphone off, recording']")
        clock_at(ben, 4)
        ann.click("mic-button")
        ben.until("[...meshturn.mesh.peers.values()][0].info.media.a === 0")
        ben.click("mic-button")
        switched = seconds(ben)
        enter(cyd, url("record"), "Cyd")
        told(cyd, "Ben is recording the call.")
        cyd.see("recorded")
        cyd.click("leave-button")
        ben.connected()
        clock_at(ben, switched + 4)
        with ben.page.expect_download() as download:
            clock = ben.page.evaluate(STOP)  # read and pressed at once: on a busy machine a click takes seconds
        length = int(clock[0]) * 60 + int(clock[1])
        assert re.fullmatch(r"meshturn-record-\d{4}-\d\d-\d\d-\d{4}\.webm", download.value.suggested_filename)
        told(ann, "Ben does not record any more.")
        ann.page.wait_for_selector("[data-testid=recorded]", state="detached")
        file = tmp_path / "call.webm"
        download.value.save_as(file)
        found = recorded(file, switched)
        assert found["pictures"] > 10, found
        for kind in ("video", "audio"):
            assert length / 2 < found[kind] < length + 4, (found, "on a busy machine the last pictures come late")
        assert found["before"] > 0.01, (found, "Ann's voice")
        assert found["after"] > 0.01, (found, "one's own")
        assert found["left"] > 0.1, (found, "Ann's picture; what is no picture has no color")
        assert found["right"] > 0.1, (found, "one's own, in the strip")
        # Leaving saves.
        record(ben)
        clock_at(ben, 1)
        with ben.page.expect_download() as download:
            ben.click("leave-button")
        download.value.save_as(file)
        assert recorded(file, 0)["pictures"] > 3
        # A disk that is full ends it, and loses nothing.
        ben.click("again-button")
        ben.see("lobby")
        ben.join("Ben")
        quota = ben.page.context.new_cdp_session(ben.page)
        record(ben)
        clock_at(ben, 5)
        ben.until("JSON.parse(localStorage.getItem('meshturn.recordings')).some(({saved}) => !saved)")
        quota.send("Storage.overrideQuotaForOrigin", {"origin": ORIGIN, "quotaSize": 1000})
        with ben.page.expect_download() as download:
            pass
        download.value.save_as(file)
        assert recorded(file, 0)["video"] > 3
        quota.send("Storage.overrideQuotaForOrigin", {"origin": ORIGIN})
        # So does a page that dies: the others see that it records no more, and the next page has what there was.
        record(ben)
        ann.see("recorded")
        clock_at(ben, 5)
        later = another_tab(ben)
        ben.page.close()
        ann.page.wait_for_selector("[data-testid=recorded]", state="detached")
        later.open(url("record"))
        later.join("Ben")
        later.see("ask-dialog")
        with later.page.expect_download() as download:
            answer(later, "save")
        download.value.save_as(file)
        assert recorded(file, 0)["pictures"] > 3
        assert later.faults == []


STOP = """
() => {
  const [, minutes, seconds] = /(\\d+):(\\d+)/.exec(document.querySelector('.recorder-time').textContent);
  document.querySelector('[data-testid=recorder-stop]').click();
  return [minutes, seconds];
}
"""

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
