"""The call page in Debian's Firefox ESR, in calls with Chromium: what the page promises holds in both."""

import base64
import io
import json
from typing import TYPE_CHECKING

import av
import pytest

from tests.support.call_links import Link
from tests.support.call_page import CallPage, call_page

if TYPE_CHECKING:
    from playwright.sync_api import Browser

NARROW = {"width": 320, "height": 640}
SCREEN = "[data-testid=screen-tile] video"

PICTURE = """
const getDisplayMedia = async () => {
  const canvas = document.createElement('canvas');
  const context = canvas.getContext('2d');
  let shade = 0;
  setInterval(() => { context.fillStyle = `hsl(${shade += 9} 80% 50%)`; context.fillRect(0, 0, 300, 150); }, 100);
  return canvas.captureStream(10);
};
if (navigator.mediaDevices) Object.assign(navigator.mediaDevices, {getDisplayMedia});
"""
"""A headless Firefox has no screen, and its question for one is never answered."""

ASKED = """
const getUserMedia = () => { globalThis.asked = true; throw 0; };
if (navigator.mediaDevices) Object.assign(navigator.mediaDevices, {getUserMedia});
"""


@pytest.fixture
def firefox(browsers: "tuple[Browser, Browser]") -> "Browser":
    return browsers[0]


@pytest.fixture
def browser(browsers: "tuple[Browser, Browser]") -> "Browser":
    return browsers[1]


def toast(page: CallPage, text: str) -> None:
    """Wait until a line says so, for everybody to see."""
    page.page.wait_for_selector(f".toasts .toast:has-text({json.dumps(text)})", state="visible")


def test_a_call_of_firefox_with_chromium(firefox: "Browser", browser: "Browser", link: Link) -> None:
    """A host in a narrow Firefox invites, sees and hears, shares, watches, mutes, reloads, and keeps somebody out."""
    with (
        call_page(firefox, schema=False, permissions=None, viewport=NARROW) as ann,
        call_page(browser) as ben,
    ):
        ann.page.add_init_script(PICTURE)
        ann.open(link("both", "--role", "host", "--name", "Ann"))
        assert ann.page.get_attribute("[data-testid=name-input]", "readonly") is not None
        ann.join_as_told()
        ann.click("copy-link")
        toast(ann, "Link copied.")
        given = str(ann.page.evaluate("navigator.clipboard.readText()"))
        ben.open(given)
        ben.join("Ben")
        for page in (ann, ben):
            page.connected()
            page.frames()
        toast(ann, "Ben has joined.")
        assert ann.page.evaluate("document.documentElement.scrollWidth <= innerWidth")

        for one, other in ((ann, ben), (ben, ann)):
            one.click("screen-button")
            one.see("sharing")
            other.see("screen-tile")
            other.frames(3, SCREEN)
            one.click("stop-sharing")
            other.page.wait_for_selector("[data-testid=screen-tile]", state="detached")

        ann.click("mic-button")
        ben.until("[...meshturn.mesh.peers.values()][0].info.media.a === 0")
        me = ann.page.evaluate("meshturn.mesh.you.id")
        ann.page.reload()
        ann.see("self-tile")
        assert ann.page.get_attribute("[data-testid=mic-button]", "aria-pressed") == "false"
        assert ann.page.get_attribute("[data-testid=cam-button]", "aria-pressed") == "true"
        assert ann.page.evaluate("meshturn.mesh.you.id") == me
        for page in (ann, ben):
            page.connected()
            page.frames(5)

        ann.click("kick-button")
        ann.see("ask-dialog")
        ann.page.click("[data-answer=ban]")
        ben.see("error-page", code="banned")
        ann.connected(0)


def test_who_only_listens_in_firefox_and_closes_the_tab(firefox: "Browser", browser: "Browser", link: Link) -> None:
    """Nobody is asked for devices; and whoever is gone is so after five seconds."""
    with call_page(browser) as ann:
        ann.open(link("listen", "--role", "host"))
        ann.join("Ann")
        with call_page(firefox, schema=False, permissions=None) as ben:
            ben.page.add_init_script(ASKED)
            ben.open(link("listen", "--cap", "message"))
            assert not ben.page.is_visible("[data-testid=lobby-mic-button]")
            ben.page.fill("[data-testid=name-input]", "Ben")
            ben.page.press("[data-testid=join-button]", "Enter")
            ben.connected()
            ben.frames(5)
            for button in ("mic-button", "cam-button", "screen-button", "self-tile"):
                assert not ben.page.is_visible(f"[data-testid={button}]"), button
            assert ben.page.evaluate("globalThis.asked") is None
            before = ann.page.evaluate("Date.now()")
        ann.connected(0)
        for frame in ann.received:
            if frame["t"] == "peer_gap":  # 60 seconds where nothing is said; a busy machine comes on top of five
                assert frame["until"] - before < 45_000
        (left,) = [frame for frame in ann.received if frame["t"] == "peer_leave"]
        assert left["reason"] in ("timeout", "left")


RECORD = """
async () => {
  const {finished} = await import('/call-assets/webm.js');
  const canvas = document.createElement('canvas');
  const context = canvas.getContext('2d');
  const timer = setInterval(() => context.fillRect(Math.random() * 300, Math.random() * 150, 9, 9), 50);
  const sound = new AudioContext().createMediaStreamDestination();
  const stream = new MediaStream([...canvas.captureStream(15).getTracks(), ...sound.stream.getTracks()]);
  const recorder = new MediaRecorder(stream, {mimeType: 'video/webm'});
  const pieces = [];
  recorder.ondataavailable = ({data}) => { pieces.push(data); if (pieces.length === 5) recorder.stop(); };
  const stopped = new Promise((resolve) => { recorder.onstop = resolve; });
  recorder.start(500);
  await stopped;
  clearInterval(timer);
  const whole = new Blob(pieces, {type: 'video/webm'});
  const text = async (blob) => {
    const bytes = new Uint8Array(await blob.arrayBuffer());
    return Array.from(bytes, (byte) => String.fromCharCode(byte)).join('');
  };
  return [btoa(await text(whole)), btoa(await text(await finished(whole)))];
}
"""


def test_a_recording_of_firefox_gets_a_length(firefox: "Browser", link: Link) -> None:
    """Firefox writes it otherwise than Chromium; what was recorded stays as it was."""
    with call_page(firefox, schema=False, permissions=None) as ann:
        ann.open(link("recorded"))
        before, after = (io.BytesIO(base64.b64decode(each)) for each in ann.page.evaluate(RECORD))
    with av.open(before) as recorded, av.open(after) as finished:
        packets = [[(each.pts, bytes(each)) for each in film.demux() if each.size] for film in (recorded, finished)]
        assert packets[0] == packets[1]
        assert len(packets[0]) > 10
        assert finished.duration is not None
        last = max(pts for pts, _ in packets[1] if pts is not None)
        assert abs(finished.duration / 1000 - last) < 100  # what libav skips at the beginning of Opus


def test_three_restarts_across_browsers(firefox: "Browser", browser: "Browser", link: Link) -> None:
    """Firefox gives its old addresses up, Chromium chooses them: nobody waits until ICE fails, and all goes on.

    Each restart begins when the picture moves again after the one before.
    """
    with (
        call_page(firefox, schema=False, permissions=None) as ann,
        call_page(browser) as ben,
    ):
        for page, name in ((ann, "Ann"), (ben, "Ben")):
            page.open(link("restarts"))
            page.join(name)
        for page in (ann, ben):
            page.connected()
            page.frames()
        fragment = "() => [...meshturn.mesh.peers.values()][0].pc.localDescription?.sdp.match(/ice-ufrag:(.*)/)?.[1]"
        for _ in range(3):
            before = ben.page.evaluate(fragment)
            ben.page.evaluate("() => { meshturn.mesh.restart(undefined, 'user'); }")
            ben.until(f"(before) => ![before, undefined].includes(({fragment})())", before)
            for page in (ann, ben):
                page.until("[...meshturn.mesh.peers.values()][0].pc.signalingState === 'stable'")
                page.connected()
                page.frames(30)
        assert "failed" not in [frame["why"] for frame in ben.received if frame["t"] == "restart"]
