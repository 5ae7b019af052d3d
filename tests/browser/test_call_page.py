"""The call page, looked at and used as people do: lobby, call, controls, drawer, endings; in real Chromium."""

import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.browser import ADDRESS, ARGUMENTS, ORIGIN, command_in, launched, serving_calls
from tests.support.call_links import Link
from tests.support.call_page import SMALL, TINY, CallPage, call_page, picture
from tests.support.certificates import issue
from tests.support.netns import NetworkNamespace
from tests.support.process import wait_until
from tests.support.server import REALM, SHARED_SECRET, TurnServerProcess

if TYPE_CHECKING:
    from playwright.sync_api import Browser

WAYS = (("udp", 3478), ("tcp", 3478), ("shared", 443))
SMALL_WINDOW = {"width": 400, "height": 400}
"""For those who are not looked at: to draw four large pictures costs more than to decode them."""

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def server(
    inside: NetworkNamespace, tmp_path_factory: pytest.TempPathFactory, directory: Path
) -> Iterator[TurnServerProcess]:
    """A server whose rooms are open to everybody, with all ways to a relay."""
    with serving_calls(inside, tmp_path_factory, directory, WAYS, open=True, credential_lifetime="2m") as process:
        yield process


@pytest.fixture
def refusing(browser: "Browser", inside: NetworkNamespace, tmp_path: Path) -> "Iterator[Browser]":
    """Another one, whose user says no when a page asks for camera and microphone."""
    arguments = [each for each in ARGUMENTS if "fake-ui" not in each]
    arguments.append("--use-fake-ui-for-media-stream=deny")
    with launched(browser.browser_type, command_in(inside), tmp_path, arguments) as running:
        yield running


def url(room: str, options: str = SMALL) -> str:
    return f"{ORIGIN}/call/{room}{options}"


def no_scrolling(page: CallPage) -> bool:
    return bool(
        page.page.evaluate(
            "document.documentElement.scrollHeight <= innerHeight && document.documentElement.scrollWidth <= innerWidth"
        )
    )


@pytest.mark.usefixtures("server")
class TestLobby:
    """Before the call."""

    def test_shows_a_picture_devices_who_is_there_and_what_the_network_does(self, browser: "Browser") -> None:
        with call_page(browser, viewport={"width": 1280, "height": 800}) as ann:
            ann.open(url("lobby-1"))
            ann.page.wait_for_selector("#net-check[data-done]", state="attached")
            assert ann.text("net-summary") == "The network is good for calls"
            ann.click("net-summary")
            lines = ann.page.locator("[data-testid=net-check] li").all_inner_texts()
            assert [line for line in lines if "works" in line] == lines, lines
            assert {way for way in ("UDP", "TCP", "TLS") if any(way in line for line in lines)} == {"UDP", "TCP", "TLS"}
            ann.until("document.querySelector('#room-count').textContent === 'Nobody is here yet.'")
            ann.until("document.querySelectorAll('[data-testid=camera-select] option').length >= 1")
            ann.until("document.querySelectorAll('[data-testid=microphone-select] option').length >= 2")
            ann.until("document.querySelector('#level').value > 0.01")  # the fake device beeps
            ann.frames(5, "#preview")
            ann.shot("lobby")

    @pytest.mark.parametrize(
        ("name", "context"),
        [
            ("lobby-dark", {"viewport": {"width": 1280, "height": 800}, "color_scheme": "dark"}),
            ("lobby-phone", {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}),
        ],
    )
    def test_fits_other_screens(self, browser: "Browser", name: str, context: dict[str, Any]) -> None:
        with call_page(browser, **context) as ann:
            ann.open(url("lobby-2"))
            ann.page.wait_for_selector("#net-check[data-done]", state="attached")
            assert ann.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
            ann.shot(name)

    def test_says_who_is_there(self, browser: "Browser") -> None:
        with call_page(browser) as ann, call_page(browser) as ben:
            ann.open(url("lobby-3"))
            ann.join("Ann")
            ben.open(url("lobby-3"))
            ben.until("document.querySelector('#room-count').textContent === 'One person is here.'")

    def test_camera_and_microphone_can_be_off_from_the_start(self, browser: "Browser") -> None:
        with call_page(browser) as ann, call_page(browser) as ben:
            ann.open(url("lobby-4"))
            for button in ("lobby-mic-button", "lobby-cam-button"):
                ann.page.wait_for_selector(f"[data-testid={button}][aria-pressed=true]")
                ann.click(button)
                ann.page.wait_for_selector(f"[data-testid={button}][aria-pressed=false]")
            ann.until("document.querySelector('#join-how').innerText.includes('listener')")
            ann.join("Ann")
            ben.open(url("lobby-4"))
            ben.join("Ben")
            ben.connected()
            ben.page.wait_for_selector("[data-testid=tile][aria-label^='Ann, microphone off, camera off']")


@pytest.mark.usefixtures("server")
class TestCall:
    """In the call."""

    def test_two_people_see_each_other_and_every_control_works(self, browser: "Browser") -> None:
        """Toggles keep their names and change their state; nothing is renegotiated for mute, camera or device."""
        with call_page(browser, viewport={"width": 1280, "height": 800}) as ann, call_page(browser) as ben:
            ann.open(url("call-1"))
            ann.join("Ann")
            ben.open(url("call-1"))
            ben.join("Ben")
            for page in (ann, ben):
                page.connected()
                page.frames(10)
            assert picture(ann)["width"] > 0
            ann.page.wait_for_selector("[data-testid=tile][data-path=direct]")
            assert no_scrolling(ann)
            ann.shot("call-2")
            descriptions = len([frame for frame in ann.sent if frame["t"] == "desc"])

            ann.click("mic-button")
            ann.page.wait_for_selector('[data-testid=mic-button][aria-pressed="false"][aria-label="Microphone"]')
            ben.page.wait_for_selector('[data-testid=tile][aria-label^="Ann, microphone off"]')
            ann.page.keyboard.press("Control+d")
            ben.page.wait_for_selector('[data-testid=tile][aria-label^="Ann, microphone on"]')

            ann.click("cam-button")
            ben.page.wait_for_selector("[data-testid=tile][data-picture=off]")
            ann.until("meshturn.devices.video === null")  # the light goes out
            ann.click("cam-button")
            ben.page.wait_for_selector("[data-testid=tile][data-picture=on]")
            ben.frames(10)

            ann.click("more-button")
            ann.click("settings-button")
            before = ann.page.evaluate("meshturn.devices.audio.getSettings().deviceId")
            ann.page.select_option("[data-testid=call-microphone-select]", index=1)
            ann.until("(id) => meshturn.devices.audio.getSettings().deviceId !== id", before)
            ann.page.keyboard.press("Escape")
            assert len([frame for frame in ann.sent if frame["t"] == "desc"]) == descriptions

    def test_a_screen_has_a_tile_of_its_own(self, browser: "Browser") -> None:
        with call_page(browser) as ann, call_page(browser) as ben:
            ann.open(url("call-2"))
            ann.join("Ann")
            ben.open(url("call-2"))
            ben.join("Ben")
            ann.connected()
            ann.click("screen-button")
            ann.page.wait_for_selector("[data-testid=screen-button][aria-pressed=true]")
            ben.see("screen-tile")
            ben.frames(3, "[data-testid=screen-tile] video")
            ben.until("document.querySelector('[data-testid=screen-tile] video').videoWidth > 320")
            ben.frames(5)
            ben.shot("call-screen")
            ann.click("screen-button")
            ben.page.wait_for_selector("[data-testid=screen-tile]", state="detached")
            ben.frames(5)

    def test_the_drawer_tells_the_path_and_copies_diagnostics_without_addresses(self, browser: "Browser") -> None:
        with (
            call_page(browser, permissions=["camera", "microphone", "clipboard-read", "clipboard-write"]) as ann,
            call_page(browser) as ben,
        ):
            ann.open(url("call-3"))
            ann.page.wait_for_selector("#net-check[data-done]", state="attached")  # the diagnostics have its result
            ann.join("Ann")
            ben.open(url("call-3"))
            ben.join("Ben <b>bold</b>")
            ann.connected()
            ann.click("more-button")
            ann.click("stats-button")
            ann.see("drawer")
            ann.until("/direct/.test(document.querySelector('[data-testid=peer-stats]')?.innerText)")
            ann.until(r"/Down\s+[1-9]\d* kbit/.test(document.querySelector('[data-testid=peer-stats]')?.innerText)")
            assert ann.page.inner_text("[data-testid=peer-stats] h3") == "Ben <b>bold</b>"
            assert "credential is good for" in ann.text("credential-life")
            ann.shot("drawer")
            ann.click("copy-diagnostics")
            ann.until("document.querySelector('#copy-diagnostics').textContent === 'Copied'")
            copied = ann.page.evaluate("navigator.clipboard.readText()")
            found = json.loads(copied)
            assert found["peers"][0]["state"] == "connected"
            assert found["network"]["udp"] == "ok"
            assert ADDRESS not in copied
            assert not re.search(r"credential\"|password|key\"", copied)

    def test_leaving(self, browser: "Browser") -> None:
        with call_page(browser) as ann, call_page(browser) as ben:
            ann.open(url("call-4"))
            ann.join("Ann")
            ben.open(url("call-4"))
            ben.join("Ben")
            ann.connected()
            ben.click("leave-button")
            ben.see("error-page", code="left")
            ann.connected(0)
            ann.until("/Ben has left/.test(document.querySelector('#live-status').textContent)")
            assert ben.page.evaluate("meshturn.devices.audio") is None

    def test_shortcuts_can_be_switched_off(self, browser: "Browser") -> None:
        with call_page(browser) as ann:
            ann.open(url("call-5"))
            ann.page.wait_for_selector("[data-testid=lobby-mic-button][aria-pressed=true]")
            ann.join("Ann")
            ann.click("more-button")
            ann.click("keys-button")
            ann.page.uncheck("[data-testid=keys-on]")
            ann.page.keyboard.press("Escape")
            ann.page.keyboard.press("Control+d")
            ann.page.keyboard.press("Control+e")
            assert ann.page.get_attribute("[data-testid=mic-button]", "aria-pressed") == "true"
            assert ann.page.get_attribute("[data-testid=cam-button]", "aria-pressed") == "true"

    def test_everything_has_a_name_a_size_and_a_place_in_the_tab_order(self, browser: "Browser") -> None:
        """WCAG 2.2: 4.1.2 names, 2.5.8 target size, 2.4.3 focus order, 2.4.7 visible focus."""
        with call_page(browser) as ann:
            ann.open(url("call-6"))
            ann.join("Ann")
            buttons = ann.page.evaluate(
                """() => [...document.querySelectorAll('button, select, input')].filter((e) => e.checkVisibility())
                .map((e) => [e.getAttribute('aria-label') || e.innerText.trim(), e.offsetWidth, e.offsetHeight])"""
            )
            assert len(buttons) >= 7
            for name, width, height in buttons:
                assert name
                assert width >= 44, name
                assert height >= 44, name
            order = []
            for _ in range(11):
                ann.page.keyboard.press("Tab")
                order.append(ann.page.evaluate("document.activeElement.dataset.testid"))
                assert ann.page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
            assert order == [
                "copy-link",
                "people-button",
                "alone-copy",
                "alone-invite",
                "mic-button",
                "cam-button",
                "screen-button",
                "hand-button",
                "chat-button",
                "more-button",
                "leave-button",
            ]

    def test_four_fit_and_the_fifth_is_told(self, browser: "Browser") -> None:
        """The grid never scrolls, whatever the screen; `room_full` is a page, not a bad call."""
        with (
            call_page(browser, viewport={"width": 1280, "height": 800}, color_scheme="dark") as ann,
            call_page(browser, viewport=SMALL_WINDOW) as ben,
            call_page(browser, viewport=SMALL_WINDOW) as cyd,
            call_page(browser, viewport=SMALL_WINDOW) as dan,
            call_page(browser, viewport={"width": 1280, "height": 800}) as eve,
        ):
            people = {"Ann": ann, "Ben": ben, "Cyd": cyd, "Dan": dan}
            for person, page in people.items():
                page.open(url("four", TINY))
                page.join(person)
            for page in people.values():
                page.connected(3)
            for index in range(3):
                ann.frames(3, f"[data-testid=grid] > :nth-child({index + 1}) video")
            assert no_scrolling(ann)
            ann.shot("call-4")
            for name, width, height in (("call-4-phone", 390, 844), ("call-4-lying-phone", 844, 390)):
                ann.page.set_viewport_size({"width": width, "height": height})
                ann.page.wait_for_timeout(300)  # for the picture; the next line is what is tested
                assert no_scrolling(ann), name
                ann.shot(name)
            eve.open(url("four", TINY))
            eve.until("/is full: 4 of 4/.test(document.querySelector('#room-count').textContent)")
            eve.click("join-button")
            eve.see("error-page", code="room_full")
            eve.shot("failure")


OCCUPY = """
async ([room, tokens]) => {
  globalThis.others = await Promise.all(tokens.map((token) => new Promise((resolve, reject) => {
    const socket = new WebSocket(`wss://${location.host}/v1/ws`, ['signal.v1.json']);
    socket.onclose = reject;
    socket.onmessage = ({data}) => {
      const frame = JSON.parse(data);
      if (frame.t === 'welcome') socket.send(JSON.stringify({t: 'hello', id: 'h', v: 1, token}));
      if (frame.t === 'hello_ok') socket.send(JSON.stringify({t: 'join', id: 'j', room, name: 'Lost'}));
      if (frame.t === 'joined') resolve(socket);
      if (frame.t === 'error') reject(new Error(data));
    };
  })));
}
"""
"""Fill a room with people who have no page."""


@pytest.mark.usefixtures("server")
class TestSeats:
    """A room for two, in which one has crashed. Kind: places that the dead hold."""

    def test_the_page_says_when_a_seat_is_free_and_waits_if_asked(self, browser: "Browser", link: Link) -> None:
        token = link.token("seats", "--max", "2")
        with call_page(browser) as ann:
            ann.open(url("seats"))
            ann.page.evaluate(OCCUPY, ["seats", [token, token]])
            ann.page.evaluate("() => { others[1].onclose = null; others[1].close(); }")
            ann.until(
                "/lost the connection: there is a seat in/.test(document.querySelector('#room-count').textContent)"
            )
            ann.click("join-button")
            ann.until("/seat will be free in .* second/.test(document.querySelector('#seat').textContent)")
            assert ann.text("join-button") == "Wait for the seat"
            ann.click("join-button")
            assert re.fullmatch(r"You will join in .* seconds?, unless .* comes back\.", ann.text("seat"))
            assert ann.text("join-button") == "Stop waiting"
            ann.click("join-button")
            assert ann.text("join-button") == "Wait for the seat"
            ann.click("join-button")
            ann.see("self-tile")
            assert [frame["retry"] > 0 for frame in ann.received if frame.get("code") == "room_full"][:1] == [True]

    def test_whoever_opens_the_same_link_again_is_in_at_once(self, browser: "Browser", link: Link) -> None:
        token = link.token("again", "--max", "2")
        with call_page(browser) as ann:
            ann.open(f"{url('again')}#token={token}")
            ann.page.evaluate(OCCUPY, ["again", [token, token]])
            ann.page.evaluate("() => { others[1].onclose = null; others[1].close(); }")
            ann.until("/you can have the seat/.test(document.querySelector('#room-count').textContent)")
            ann.join("Ann")
            assert [frame for frame in ann.received if frame["t"] == "error"] == []


@pytest.mark.usefixtures("server")
class TestHosts:
    """What a host can do, and what becomes of the others."""

    def test_mute_lock_and_remove(self, browser: "Browser", link: Link) -> None:
        with call_page(browser) as ann, call_page(browser) as ben, call_page(browser) as cyd:
            ann.open(link("hosted", "--role", "host"))
            assert "token" not in ann.page.url  # it is not left in the address bar
            ann.join("Ann")
            ben.open(url("hosted"))
            ben.page.wait_for_selector("[data-testid=lobby-mic-button][aria-pressed=true]")
            ben.join("Ben")
            ann.connected()
            ann.page.click('[aria-label="Ask Ben to mute"]')
            ben.page.wait_for_selector('[data-testid=mic-button][aria-pressed="false"]')
            ben.until("/muted by the host/.test(document.querySelector('#live-alert').textContent)")
            ann.click("people-button")
            ann.page.select_option("[data-testid=door-select]", "closed")
            ann.until("meshturn.mesh.room.locked && !meshturn.mesh.room.knock")
            ann.page.keyboard.press("Escape")
            cyd.open(url("hosted"))
            cyd.click("join-button")
            cyd.see("error-page", code="room_locked")
            ann.click("kick-button")
            ann.page.click("[data-answer=kick]")
            ben.see("error-page", code="kicked")
            ben.shot("removed")
            ann.connected(0)


@pytest.mark.usefixtures("server")
class TestEndings:
    """When it does not work."""

    def test_without_permission_one_can_still_listen(self, browser: "Browser", refusing: "Browser") -> None:
        """One is told what is wrong, and may join all the same."""
        with call_page(refusing, permissions=[]) as ann, call_page(browser) as ben:
            ann.open(url("end-1"))
            ann.see("device-problem")
            assert "does not let this page use the camera and the microphone" in ann.text("device-problem")
            ann.shot("lobby-denied")
            ann.join("Ann")
            ben.open(url("end-1"))
            ben.join("Ben")
            ann.connected()
            ann.frames(5)

    def test_an_invitation_that_is_none(self, browser: "Browser") -> None:
        with call_page(browser) as ann:
            ann.page.goto(f"{url('end-2')}#token=nonsense")
            ann.see("error-page", code="bad_token")

    def test_the_same_call_in_a_second_window_takes_over(self, browser: "Browser") -> None:
        """A reload keeps the place in the room: no second Ann is left behind."""
        with call_page(browser) as ann, call_page(browser) as ben:
            ann.open(url("end-3"))
            ann.join("Ann")
            ben.open(url("end-3"))
            ben.join("Ben")
            ben.connected()
            ann.page.reload()
            ann.see("self-tile")
            for page in (ann, ben):
                page.connected()
                page.frames(5)


@pytest.mark.usefixtures("server")
def test_the_page_needs_nothing_from_anywhere_else(browser: "Browser") -> None:
    """Strict CSP, no third party, no inline script or style; every file comes from the server itself."""
    with call_page(browser) as ann:
        asked: list[str] = []
        ann.page.on("request", lambda request: asked.append(request.url))
        response = ann.page.goto(url("csp"))
        assert response is not None
        policy = response.headers["content-security-policy"]
        assert "default-src 'self'" in policy or "default-src 'none'" in policy
        assert "unsafe" not in policy
        ann.see("lobby")
        assert all(each.startswith((f"{ORIGIN}/", "blob:", f"wss://{ADDRESS}/")) for each in asked), asked
    html = (ROOT / "turnserver" / "signaling" / "page" / "call.html").read_text(encoding="utf-8")
    assert not re.search(r"\sstyle=|\son[a-z]+=|<script(?![^>]*\ssrc=)|<style", html)


@pytest.fixture
def closing(inside: NetworkNamespace, tmp_path: Path) -> Iterator[TurnServerProcess]:
    """Another server, by invitation only, which a test may drain."""
    config = {
        "realm": REALM,
        "listeners": [
            {"transport": way, "address": ADDRESS, "port": port} for way, port in (("udp", 3480), ("shared", 8443))
        ],
        "auth": {"shared_secrets": [SHARED_SECRET]},
        "tls": {"certificates": [issue(tmp_path).config]},
    }
    with inside.entered():
        process = TurnServerProcess(config, tmp_path)
        process.start()
    try:
        yield process
    finally:
        process.kill()


def test_invitations_and_the_end_of_a_server(browser: "Browser", closing: TurnServerProcess, tmp_path: Path) -> None:
    """One link opens in two tabs and is passed on; without it a sentence says so; a drain is announced, and ends."""
    links = Link(f"{ORIGIN}:8443", tmp_path / "meshturn.yml")
    link, other = links("tea"), links("other")
    token = link.partition("#token=")[2]
    with call_page(browser) as ann, call_page(browser) as bob, call_page(browser) as eve:
        eve.page.goto(link.partition("#")[0])
        eve.see("error-page", code="auth_required")
        assert "You need an invitation" in eve.text("error-page")
        for page, name in ((ann, "Ann"), (bob, "Bob")):
            page.open(link)
            assert token not in page.page.url
            page.join(name)
        ann.connected()
        ann.page.evaluate("navigator.clipboard.writeText = async (text) => { globalThis.copied = text; }")
        ann.click("copy-link")
        ann.until("globalThis.copied !== undefined")
        assert ann.page.evaluate("globalThis.copied") == link.replace(SMALL, "")
        eve.open(other)
        os.kill(closing.pid, signal.SIGUSR1)
        for page in (ann, bob):
            page.see("banner")
            assert "The server is about to stop. This call goes on until" in page.text("banner")
        eve.until("document.getElementById('join-problem').textContent.includes('about to stop')")
        eve.page.press("[data-testid=join-button]", "Enter")
        eve.see("error-page", code="draining")
        ann.connected()
        ann.click("leave-button")
        bob.click("leave-button")
        wait_until(lambda: not closing.is_running, "the server ends with the last call")
    assert "drained" in closing.log
    assert token not in closing.log
