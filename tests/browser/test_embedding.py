"""A call in a frame of another page: the element `<meshturn-call>`, what it may do and what it is told; in Chromium."""

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.browser import ORIGIN
from tests.support.call_links import Link
from tests.support.call_page import SMALL, call_page

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.usefixtures("server")

APP = "https://app.example"
PAGE = f"""<!doctype html><title>App</title>
<script type="module" src="{ORIGIN}/call-assets/embed.js"></script>
<meshturn-call src="{ORIGIN}/call/framed{SMALL}" name="Ann" style="width: 640px; height: 480px"></meshturn-call>
<script>
  globalThis.heard = [];
  for (const name of ['ready', 'joined', 'people', 'media', 'left'])
    document.querySelector('meshturn-call').addEventListener(name, ({{detail}}) => heard.push([name, detail]));
</script>"""


@pytest.fixture(scope="module")
def signaling() -> dict[str, Any]:
    """Rooms that are open, also in pages of one other origin."""
    return {"open": True, "origins": [APP], "frame_ancestors": [APP]}


def show(page: "Page", origin: str) -> None:
    """The page of another site, which is nowhere but here."""
    page.route(f"{origin}/", lambda route: route.fulfill(body=PAGE, content_type="text/html"))
    page.goto(f"{origin}/")


def test_the_page_around_a_call_lets_in_mutes_and_is_told(browser: "Browser") -> None:
    with call_page(browser, schema=False) as app, call_page(browser) as ben:
        show(app.page, APP)
        app.until("heard.some(([name]) => name === 'ready')")
        app.page.evaluate("document.querySelector('meshturn-call').join()")
        app.until("heard.some(([name, {name: who}]) => name === 'joined' && who === 'Ann')")
        ben.open(f"{ORIGIN}/call/framed{SMALL}")
        ben.join("Ben")
        ben.connected()
        ben.frames(5)
        app.until("heard.some(([name, {count}]) => name === 'people' && count === 2)")
        app.page.evaluate("document.querySelector('meshturn-call').setMicrophone(false)")
        ben.until("[...meshturn.mesh.peers.values()][0].info.media.a === 0")
        app.until("heard.some(([name, {microphone}]) => name === 'media' && microphone === false)")
        app.page.evaluate("document.querySelector('meshturn-call').leave()")
        app.until("heard.some(([name, {code}]) => name === 'left' && code === 'left')")
        ben.connected(0)


def test_with_the_attribute_join_the_page_and_a_reload_of_the_frame_go_straight_into_the_call(
    browser: "Browser",
) -> None:
    """Nobody presses a button, before or after, though this browser lets frames of other sites store nothing."""
    with call_page(browser, schema=False) as app:
        page = PAGE.replace('name="Ann"', 'name="Ann" join').replace("/call/framed", "/call/straight")
        app.page.route(f"{APP}/", lambda route: route.fulfill(body=page, content_type="text/html"))
        app.page.goto(f"{APP}/")
        joined = "heard.filter(([name, {name: who}]) => name === 'joined' && who === 'Ann').length"
        for loads in (1, 2):
            app.until(f"{joined} === {loads}")
            (frame,) = app.page.frames[1:]
            frame.wait_for_selector("[data-testid=self-tile]")
            assert frame.is_hidden("[data-testid=lobby]")
            frame.evaluate("location.reload()") if loads == 1 else None


def test_a_frame_that_may_store_nothing_comes_back_as_muted_as_before(browser: "Browser", link: Link) -> None:
    """Reloaded alone, the frame is the same participant, with its token; with the page around it, it is another one."""
    with call_page(browser, schema=False) as app, call_page(browser) as ben:
        page = PAGE.replace(f"{ORIGIN}/call/framed{SMALL}", link("again", "--role", "host"))
        app.page.route(f"{APP}/", lambda route: route.fulfill(body=page, content_type="text/html"))
        app.page.goto(f"{APP}/")
        app.until("heard.some(([name]) => name === 'ready')")
        (frame,) = app.page.frames[1:]
        denied = "() => { try { return sessionStorage.length; } catch { return 'denied'; } }"
        assert frame.evaluate(denied) == "denied", "this browser lets frames store something: the test shows nothing"
        app.page.evaluate("document.querySelector('meshturn-call').join()")
        frame.wait_for_selector("[data-testid=self-tile]")
        ben.open(f"{ORIGIN}/call/again{SMALL}")
        ben.join("Ben")
        ben.connected()
        frame.click("[data-testid=mic-button]")
        ben.until("[...meshturn.mesh.peers.values()][0].info.media.a === 0")
        me = frame.evaluate("meshturn.mesh.you.id")

        for reload, same in (("frame", True), ("page", False), ("frame", True)):
            app.page.evaluate("heard.length = 0")
            frame.evaluate("location.reload()") if reload == "frame" else app.page.reload()
            app.until("heard.some(([name]) => name === 'joined')")
            (frame,) = app.page.frames[1:]
            frame.wait_for_selector("[data-testid=self-tile]")
            assert (frame.evaluate("meshturn.mesh.you.id") == me) == same
            me = frame.evaluate("meshturn.mesh.you.id")
            assert frame.evaluate("meshturn.mesh.you.role") == "host"
            assert frame.get_attribute("[data-testid=mic-button]", "aria-pressed") == "false"
            assert frame.get_attribute("[data-testid=cam-button]", "aria-pressed") == "true"
            ben.until("(me) => meshturn.mesh.peers.get(me)?.info.media.a === 0", me)
            ben.connected()
            ben.frames(5)
        app.page.evaluate("document.querySelector('meshturn-call').leave()")
        app.until("heard.some(([name]) => name === 'left')")
        app.page.reload()
        app.until("heard.some(([name]) => name === 'ready')")
        app.page.frames[1].wait_for_selector("[data-testid=lobby]")


def test_a_page_that_is_not_named_shows_no_call(browser: "Browser") -> None:
    """CSP frame-ancestors: the browser does not show it; the module of the element is not for that page either."""
    with call_page(browser, schema=False) as app:
        refused: list[str] = []
        app.page.on("requestfailed", lambda request: refused.append(request.url))
        app.page.route("https://evil.example/", lambda route: route.fulfill(body=PAGE, content_type="text/html"))
        app.page.goto("https://evil.example/")
        app.page.evaluate(
            f"() => {{ const frame = document.createElement('iframe'); frame.src = '{ORIGIN}/call/framed';"
            " document.body.append(frame); }"
        )
        app.until("document.querySelector('iframe') !== null")
        app.page.wait_for_event("requestfailed") if not refused else None
        assert app.page.evaluate("customElements.get('meshturn-call') === undefined")
        assert all("meshturn" not in frame.content() for frame in app.page.frames[1:])
        app.faults.clear()  # the browser says on the console what it has refused
