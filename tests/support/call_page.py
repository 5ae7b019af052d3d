"""The call page in headless Chromium: opening it, joining, and the promises that hold for every page that is opened.

A page that is closed has thrown nothing, written no error to its console, and has exchanged only frames that fit the
published schema.
"""

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support.signal_schema import validate_client, validate_server

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, WebSocket

__all__ = ["ARTIFACTS", "PICTURES", "SMALL", "TINY", "CallPage", "call_page", "picture"]

ARTIFACTS = Path(__file__).resolve().parents[2] / "artifacts"
"""Where tests leave what people look at."""

PICTURES = bool(os.environ.get("MESHTURN_PICTURES"))
"""Whether screenshots are wanted: there are more than a hundred, and nothing is tested by them."""

SMALL = "?width=320&height=180&fps=15"
"""What a weak machine can do for several people at once."""

TINY = "?width=160&height=90&fps=10"
"""What it can do for more."""

PATIENCE = 90_000
"""Milliseconds until what a page waits for counts as failed."""

FRAMES = """
async ([selector, more]) => {
  const video = document.querySelector(selector);
  const seen = () => video.mozPaintedFrames ?? video.getVideoPlaybackQuality().totalVideoFrames; // Firefox: the former
  const first = seen();
  while (seen() < first + more) await new Promise((resolve) => setTimeout(resolve, 50));
  return seen();
}
"""

LISTEN = """
() => {
  globalThis.said = [];
  new MutationObserver((list) => {
    for (const {addedNodes} of list) for (const {textContent} of addedNodes) said.push(textContent);
  }).observe(document.querySelector('.toasts'), {subtree: true, childList: true});
}
"""

TWO_FRAMES = "() => new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(() => drawn())))"


class CallPage:
    """One page of one person, with what it has said and heard."""

    def __init__(self, page: "Page", *, schema: bool = True) -> None:
        self.page = page
        self.faults: list[str] = []
        self.sent: list[dict[str, Any]] = []
        self.received: list[dict[str, Any]] = []
        self._schema = schema
        page.set_default_timeout(PATIENCE)
        page.on("pageerror", lambda error: self.faults.append(f"page error: {error}"))
        page.on("console", lambda line: self.faults.append(f"console: {line.text}") if line.type == "error" else None)
        page.on("websocket", self._listen)

    def _listen(self, socket: "WebSocket") -> None:
        socket.on("framesent", lambda frame: self._keep(self.sent, frame, validate_client))
        socket.on("framereceived", lambda frame: self._keep(self.received, frame, validate_server))

    def _keep(self, where: list[dict[str, Any]], frame: str | bytes, validate: Any) -> None:
        found = json.loads(frame)
        where.append(found)
        if not self._schema:
            return
        try:
            validate(found)
        except Exception as error:  # jsonschema's; kept for the test's own thread
            self.faults.append(f"not in the schema: {found.get('t')}: {str(error)[:300]}")

    def open(self, url: str) -> None:
        """Go to the page and wait for the lobby."""
        self.page.goto(url)
        self.see("lobby")

    def join(self, name: str) -> None:
        """Join by the button, and wait for the call."""
        self.page.fill("[data-testid=name-input]", name)
        # By the keyboard: a mouse that is pressed where the button was, before the lobby grew, is released beside it.
        self.page.press("[data-testid=join-button]", "Enter")
        self.see("self-tile")

    def join_as_told(self) -> None:
        """The same under the name that the token says."""
        self.page.press("[data-testid=join-button]", "Enter")
        self.see("self-tile")

    def enter(self, url: str, name: str) -> None:
        """Open the page, `listen`, and join."""
        self.open(url)
        self.listen()
        self.join(name)

    def listen(self) -> None:
        """Keep what is announced from now on, which is to be seen for some seconds only, for `told`."""
        self.page.evaluate(LISTEN)

    def told(self, text: str) -> None:
        """Wait until it has been announced, to everybody or to screen readers alone."""
        self.until("(text) => said.some((each) => each.includes(text))", text)

    def answer(self, value: str) -> None:
        """Give that answer to the question which the page asks."""
        self.see("ask-dialog")
        self.page.click(f"#ask-dialog [data-answer={value}]")

    def another_tab(self) -> "CallPage":
        """One more tab of the same browser, with everything that it knows."""
        return CallPage(self.page.context.new_page())

    def see(self, testid: str, **data: str) -> None:
        """Wait until an element with that test id, and those data attributes, can be seen."""
        wanted = "".join(f'[data-{name}="{value}"]' for name, value in data.items())
        self.page.wait_for_selector(f"[data-testid={testid}]{wanted}", state="visible")

    def click(self, testid: str) -> None:
        """Press a button."""
        self.page.click(f"[data-testid={testid}]")

    def text(self, testid: str) -> str:
        """What is to be read there."""
        return self.page.inner_text(f"[data-testid={testid}]")

    def until(self, expression: str, argument: Any = None) -> None:
        """Wait until an expression, or a function of the argument, is true in the page.

        Playwright's own ``wait_for_function`` evaluates text inside the page, which the page's policy forbids.
        """
        give_up = time.monotonic() + PATIENCE / 1000
        while not self._holds(expression, argument):
            assert time.monotonic() < give_up, f"never true: {expression}; faults: {self.faults}"
            self.page.wait_for_timeout(50)

    def _holds(self, expression: str, argument: Any) -> bool:
        try:
            return bool(self.page.evaluate(expression, argument))
        except Exception as error:
            if "Execution context was destroyed" not in str(error):
                raise
            return False  # the page is being loaded anew

    def connected(self, peers: int = 1) -> None:
        """Wait until so many others are connected, and only so many are shown."""
        self.until(
            "(count) => document.querySelectorAll('[data-testid=tile]').length === count"
            " && document.querySelectorAll('[data-testid=tile][data-state=connected]').length === count",
            peers,
        )

    def frames(self, more: int = 10, selector: str = "[data-testid=tile] video") -> int:
        """Wait for so many more frames of a picture."""
        return int(self.page.evaluate(FRAMES, [selector, more]))

    def settled(self) -> None:
        """Wait until the page has been laid out and drawn as it is now."""
        self.page.evaluate(TWO_FRAMES)

    def shot(self, name: str) -> None:
        """Leave a screenshot for people to look at, if these are wanted."""
        if PICTURES:
            self.settled()
            ARTIFACTS.mkdir(exist_ok=True)
            self.page.screenshot(path=str(ARTIFACTS / f"{name}.png"))


@contextmanager
def call_page(browser: "Browser", *, schema: bool = True, **context: Any) -> Iterator[CallPage]:
    """A page of somebody new; ``context`` are options of Playwright's ``new_context``."""
    opened = browser.new_context(**{"ignore_https_errors": True, "permissions": ["camera", "microphone"]} | context)
    try:
        page = CallPage(opened.new_page(), schema=schema)
        yield page
        assert not page.faults, page.faults
    finally:
        opened.close()


def picture(page: CallPage, testid: str = "tile") -> dict[str, Any]:
    """Size and liveliness of the picture in a tile."""
    found = page.page.evaluate(
        "(selector) => { const v = document.querySelector(selector);"
        " return {width: v.videoWidth, height: v.videoHeight, paused: v.paused}; }",
        f"[data-testid={testid}] video",
    )
    assert isinstance(found, dict)
    return found
