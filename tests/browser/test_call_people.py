"""Who may do what on the page of a server with tokens: invitations, listeners, hosts, reloads; in real Chromium."""

import json
from typing import TYPE_CHECKING

import pytest

from tests.support.browser import ORIGIN
from tests.support.call_links import Link
from tests.support.call_page import CallPage, call_page

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.usefixtures("server")

GRANTED = ["camera", "microphone", "clipboard-read", "clipboard-write"]


def copied(page: CallPage) -> str:
    """The link that the button copies, and that this is to be seen."""
    page.click("copy-link")
    page.page.wait_for_selector("#live-status .toast:has-text('Link copied.')", state="visible")
    return str(page.page.evaluate("navigator.clipboard.readText()"))


def toast(page: CallPage, text: str) -> None:
    """Wait until a line says so, for everybody to see."""
    page.page.wait_for_selector(f".toasts .toast:has-text({json.dumps(text)})", state="visible")


# Invitations


def test_a_host_copies_a_link_that_lets_guests_in(browser: "Browser", link: Link) -> None:
    """It lets them in as members; they can pass it on, and whoever has a link of their own cannot."""
    with call_page(browser, permissions=GRANTED) as ann, call_page(browser, permissions=GRANTED) as ben:
        ann.open(link("invites", "--role", "host"))
        ann.join("Ann")
        given = copied(ann)
        assert given.startswith(f"{ORIGIN}/call/invites#token=")
        ben.open(given)
        ben.join("Ben")
        ben.connected()
        assert ben.page.evaluate("meshturn.mesh.you.role") == "member"
        assert copied(ben) == given
        toast(ann, "Ben has joined.")


def test_who_may_not_invite_has_no_button_and_is_told(browser: "Browser", link: Link) -> None:
    with call_page(browser) as ann:
        ann.open(link("personal", "--name", "Ann"))
        assert ann.page.get_attribute("[data-testid=name-input]", "readonly") is not None
        ann.join_as_told()
        assert not ann.page.is_visible("[data-testid=copy-link]")
        assert ann.text("alone") == "Nobody else is here yet. Only a host can invite others."
        assert "Ann (you)" in ann.page.inner_text("[data-testid=self-tile] .plate-name")


def test_an_invitation_for_another_room_is_said_at_once(browser: "Browser", link: Link) -> None:
    """Before the browser asks for the camera."""
    with call_page(browser) as ann:
        ann.page.goto(link("one", to="another"))
        ann.see("error-page", code="other_room")
        assert ann.page.evaluate("meshturn.devices.stream.getTracks().length") == 0


# Listeners


def test_a_listener_is_asked_for_nothing_and_has_no_buttons_that_lie(browser: "Browser", link: Link) -> None:
    with call_page(browser) as ann, call_page(browser, permissions=[]) as ben:
        ann.open(link("listen", "--role", "host"))
        ann.join("Ann")
        ben.page.add_init_script("navigator.mediaDevices.getUserMedia = () => { globalThis.asked = true; throw 0; }")
        ben.open(link("listen", "--cap", "message"))
        assert not ben.page.is_visible("[data-testid=lobby-mic-button]")
        ben.page.fill("[data-testid=name-input]", "Ben")
        ben.page.press("[data-testid=join-button]", "Enter")
        ben.connected()
        ben.frames(5)
        for button in ("mic-button", "cam-button", "screen-button", "self-tile"):
            assert not ben.page.is_visible(f"[data-testid={button}]"), button
        assert ben.page.inner_text("#call-count") == "2 people · you listen"
        assert ben.page.evaluate("globalThis.asked") is None
        assert ann.page.evaluate("[...meshturn.mesh.peers.values()][0].info.media") == {"a": 0, "v": 0, "s": 0}
        ben.shot("listener")


# What is wrong is to be seen


def test_a_camera_that_cannot_be_had_opens_the_devices_with_the_reason(browser: "Browser", link: Link) -> None:
    with call_page(browser) as ann:
        ann.open(link("broken", "--role", "host"))
        ann.join("Ann")
        ann.click("cam-button")
        ann.until("meshturn.devices.video === null")
        ann.page.evaluate(
            "() => { navigator.mediaDevices.getUserMedia = () =>"
            " Promise.reject(new DOMException('busy', 'NotReadableError')); }"
        )
        ann.click("cam-button")
        ann.see("call-device-problem")
        assert ann.text("call-device-problem").startswith("The camera is in use by another program")
        ann.shot("devices-problem")


# Reload, and a tab that is closed


def test_a_reload_goes_straight_back_as_muted_as_before(browser: "Browser", link: Link) -> None:
    """It is the same participant, in the same place: nobody leaves, nobody joins, and there is no lobby."""
    with call_page(browser) as ann, call_page(browser) as ben:
        ann.open(link("reload", "--role", "host"))
        ann.join("Ann")
        ben.open(link("reload"))
        ben.join("Ben")
        ben.connected()
        ann.click("mic-button")
        ben.until("[...meshturn.mesh.peers.values()][0].info.media.a === 0")
        me = ann.page.evaluate("meshturn.mesh.you.id")
        ann.page.reload()
        ann.see("self-tile")
        assert ann.page.is_hidden("[data-testid=lobby]")
        assert ann.page.get_attribute("[data-testid=mic-button]", "aria-pressed") == "false"
        assert ann.page.get_attribute("[data-testid=cam-button]", "aria-pressed") == "true"
        for page in (ann, ben):
            page.connected()
            page.frames(5)
        assert ann.page.evaluate("meshturn.mesh.you.id") == me
        assert ben.page.evaluate("[...meshturn.mesh.peers.values()][0].info.media") == {"a": 0, "v": 1, "s": 0}
        assert not [frame for frame in ben.received if frame["t"] == "peer_leave"]


def test_a_closed_tab_is_no_ghost_for_a_minute(browser: "Browser", link: Link) -> None:
    """The others are told that it may come back for five seconds, and then that it has left."""
    with call_page(browser) as ann:
        ann.open(link("ghost", "--role", "host"))
        ann.join("Ann")
        with call_page(browser) as ben:
            ben.open(link("ghost"))
            ben.join("Ben")
            ann.connected()
            before = ann.page.evaluate("Date.now()")
            ben.page.close(run_before_unload=False)
            ann.connected(0)
        (gap,) = [frame for frame in ann.received if frame["t"] == "peer_gap"]
        (left,) = [frame for frame in ann.received if frame["t"] == "peer_leave"]
        assert left["reason"] in ("timeout", "left")
        # 60 seconds where nothing is said; what a busy machine takes until the page has closed comes on top of five.
        assert gap["until"] - before < 45_000


# Hosts


def test_a_door_to_knock_at(browser: "Browser", link: Link) -> None:
    with call_page(browser) as ann, call_page(browser) as ben:
        ann.open(link("door", "--role", "host"))
        ann.join("Ann")
        ann.click("people-button")
        ann.page.select_option("[data-testid=door-select]", "knock")
        ann.until("meshturn.mesh.room.locked && meshturn.mesh.room.knock")
        ann.shot("people")
        ann.page.keyboard.press("Escape")
        ben.open(link("door"))
        ben.page.fill("[data-testid=name-input]", "Ben")
        ben.click("join-button")
        ann.see("knock")
        ann.click("admit-button")
        ben.see("self-tile")
        ann.connected()
        assert ann.page.locator("[data-testid=knock]").count() == 0


def test_who_is_kept_out_stays_out_and_a_slip_removes_nobody(browser: "Browser", link: Link) -> None:
    """Remove asks. A reload shows why one is not in the call; the link does not help any more."""
    bens = link("kept-out", "--name", "Ben")
    with call_page(browser) as ann, call_page(browser) as ben:
        ann.open(link("kept-out", "--role", "host"))
        ann.join("Ann")
        ben.open(bens)
        ben.join_as_told()
        ann.connected()
        ann.click("kick-button")
        ann.see("ask-dialog")
        ann.shot("remove")
        ann.page.click("[data-answer='']")
        ann.connected()
        ann.click("kick-button")
        ann.page.click("[data-answer=ban]")
        ben.see("error-page", code="banned")
        ann.connected(0)
        ben.page.reload()
        ben.see("error-page", code="banned")
    with call_page(browser) as ben:
        ben.page.goto(bens)
        ben.see("lobby")
        ben.page.press("[data-testid=join-button]", "Enter")
        ben.see("error-page", code="banned")


def test_mute_all_another_host_and_the_end_for_all(browser: "Browser", link: Link) -> None:
    with call_page(browser) as ann, call_page(browser) as ben:
        ann.open(link("hosts", "--role", "host"))
        ann.join("Ann")
        ben.open(link("hosts"))
        ben.join("Ben")
        ann.connected()
        ann.click("people-button")
        ann.click("mute-all-button")
        ben.page.wait_for_selector('[data-testid=mic-button][aria-pressed="false"]')
        toast(ben, "You are muted by the host")
        assert not ben.page.is_visible("[data-testid=kick-button]")
        ann.page.click('[aria-label="Make Ben a host"]')
        ben.page.wait_for_selector("[data-testid=kick-button]", state="visible")
        ben.click("people-button")
        ben.page.wait_for_selector("[data-testid=person]:has-text('Ann (host)')")
        ben.click("end-all-button")
        ben.page.click("[data-answer=end]")
        for page in (ann, ben):
            page.see("error-page", code="room_closed")
