"""What happens to a call, and for how long its pictures stand: each measurement makes a call of two and disturbs it.

The pages are the real ones, on two hosts of the laboratory of ``tests/net``, with the real server between them. Every
page notes by itself when it shows a picture of another one, when it shows its own, and when a call has ended in it; all
times are the machine's clock, in milliseconds, and so are comparable between pages and browsers.
"""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import jwt
import pytest
from playwright.sync_api import sync_playwright

from bench.plan import BenchError
from tests.net.browsers import STEADY, TONES, Participant, browser_on
from tests.net.lab import Lab, Nat
from tests.net.public_server import PublicServer
from tests.net.scripts import DEAF, FRAGMENTS
from tests.net.stage import Cast, Stage, rooms_config
from tests.support.certificates import issue
from tests.support.firefox import firefox_in

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

__all__ = ["BROWSERS", "MEASURES", "Call", "Gaps", "Measure", "calls"]

BROWSERS = ("chromium", "firefox")
"""What the one to whom it happens may use; the other one uses Chromium."""

KEY = "the benchmark signs its tokens with this key"
LOST = ["WebSocket connection to", "net::ERR_"]
"""What Chromium itself writes to the console when the network is away."""
LATE = 1000
"""Milliseconds between two pictures that are no longer one after the other."""
RESTARTS = 3
BETWEEN_RESTARTS = 6500
"""Milliseconds: each comes when the one before is over, or nearly so."""
AFTER_RESTARTS = 10_000
"""Milliseconds that the pictures are watched after the last one: silence may begin late."""

Gaps = Mapping[str, float]
"""For each view its gap, in seconds."""

NOTE = """
(() => {
  if (globalThis.noted || window !== top) return;
  const noted = globalThis.noted = {others: [], self: [], ended: null, left: null};
  const asked = new WeakMap();
  const ask = (video, times) => {
    const shown = () => {
      times.push(Date.now());
      ask(video, times);
    };
    asked.set(video, {at: Date.now(), handle: video.requestVideoFrameCallback(shown)});
  };
  const look = (selector, times) => {
    for (const video of document.querySelectorAll(`[data-testid=${selector}] video`)) {
      const {at, handle} = asked.get(video) ?? {at: -Infinity};
      // An element that has begun to show something else may have forgotten who has asked.
      if (Date.now() - at < 250) continue;
      if (handle !== undefined) video.cancelVideoFrameCallback(handle);
      ask(video, times);
    }
  };
  setInterval(() => {
    look('tile', noted.others);
    look('self-tile', noted.self);
    const ending = document.querySelector('[data-testid=error-page]');
    if (ending?.checkVisibility()) noted.ended ??= {at: Date.now(), code: ending.dataset.code};
    if (!document.querySelector('[data-testid=self-tile]')?.checkVisibility()) return;
    if (document.querySelector('[data-testid=tile]')) noted.left = null;
    else noted.left ??= Date.now();
  }, 20);
})();
"""
FLOWING = f"""
({{since, frames}}) => {{
  const times = noted.others.filter((time) => time > since).slice(-frames);
  if (times.length < frames || Date.now() - times.at(-1) > {LATE}) return false;
  return times.every((time, index) => index === 0 || time - times[index - 1] < {LATE});
}}
"""
LONGEST = """
(since) => {
  const before = noted.others.filter((time) => time <= since).slice(-1);
  const times = [...before, ...noted.others.filter((time) => time > since)];
  return Math.max(...times.slice(1).map((time, index) => time - times[index]));
}
"""
FIRST = "(whose) => globalThis.noted?.[whose]?.[0] ?? 0"
PRESS = "(selector) => { const now = Date.now(); document.querySelector(selector).click(); return now; }"


def now() -> float:
    """Milliseconds, by the clock that the pages have."""
    return time.time() * 1000


class Call:
    """A call of two, of whom ``ann`` is the one to whom it happens; ``bob`` sees it."""

    def __init__(self, stage: Stage, cast: Cast, room: str) -> None:
        self.stage = stage
        self.room = room
        self.ann = cast(0, expected=LOST)
        self.bob = cast(1, expected=LOST)
        for each in (self.ann, self.bob):
            each.page.add_init_script(NOTE)

    def begin(self) -> None:
        """Join, and wait until both see a picture that moves. Ann comes first, and Bob is a host."""
        claims = {"room": self.room, "role": "host", "aud": "meshturn", "exp": 4_000_000_000}
        self.ann.join(self.room)
        self.bob.join(self.room, token=jwt.encode(claims, KEY, algorithm="HS256"))
        for each in (self.ann, self.bob):
            each.meet(1)
            self.flows(each, 0)

    def flows(self, who: Participant, since: float) -> None:
        """Wait until the other one's picture moves again."""
        who.wait(FLOWING, {"since": since, "frames": STEADY}, what="the picture moves")

    def gap(self, who: Participant, since: float) -> float:
        """The longest time without a new picture, once it moves again, in seconds."""
        self.flows(who, since)
        return float(who.ask(LONGEST, since)) / 1000

    def first(self, page: "Page", whose: str, since: float) -> float:
        """Seconds until the page, which has been loaded anew, shows its first picture: ``others`` or ``self``."""
        give_up = time.monotonic() + 90
        while True:
            with contextlib.suppress(Exception):  # Playwright's: the page is being loaded
                if shown := page.evaluate(FIRST, whose):
                    return float(shown - since) / 1000
            if time.monotonic() > give_up:
                raise AssertionError(f"the page shows no picture of {whose}")
            page.wait_for_timeout(50)


def reload(call: Call) -> Gaps:
    """Ann reloads her page."""
    call.begin()
    since = now()
    call.ann.page.reload(wait_until="commit")
    return {
        "others see one again": call.gap(call.bob, since),
        "one sees others again": call.first(call.ann.page, "others", since),
        "one sees oneself again": call.first(call.ann.page, "self", since),
    }


def closed_tab(call: Call) -> Gaps:
    """Ann closes her tab; her tile goes when the server takes her for gone."""
    call.begin()
    since = now()
    call.ann.page.close()
    gone = call.bob.wait("() => noted.left", what="Ann is gone")
    return {"others show one gone": (gone - since) / 1000}


def kick(call: Call) -> Gaps:
    """Bob removes Ann; the clock starts when he has confirmed it."""
    call.begin()
    tile = call.bob.page.locator(f'[data-testid=tile][data-peer="{call.ann.id}"]')
    tile.hover()
    tile.get_by_test_id("kick-button").click()
    call.bob.page.wait_for_selector("[data-answer=kick]")
    since = call.bob.ask(PRESS, "[data-answer=kick]")
    ended = call.ann.wait("() => noted.ended", what="Ann is told")
    if ended["code"] != "kicked":
        raise AssertionError(f"Ann's call ended by {ended['code']}")
    left = call.bob.wait("() => noted.left", what="Ann is gone")
    return {"one is told": (ended["at"] - since) / 1000, "others show one gone": (left - since) / 1000}


def second_tab(call: Call) -> Gaps:
    """Ann opens the call in a second tab and goes on there."""
    call.begin()
    page = call.ann.context.new_page()
    page.set_default_timeout(90_000)
    page.add_init_script(NOTE)
    page.goto(call.ann.page.url)
    page.get_by_test_id("join-button").press("Enter")
    page.wait_for_selector("#ask-dialog [data-answer=here]")
    since = page.evaluate(PRESS, "#ask-dialog [data-answer=here]")
    return {
        "others see one again": call.gap(call.bob, since),
        "one sees others again": call.first(page, "others", since),
    }


def three_restarts(call: Call) -> Gaps:
    """Bob's Chromium restarts ICE three times, as after changes of its network."""
    call.begin()
    since = now()
    for _ in range(RESTARTS):
        before = call.bob.ask(FRAGMENTS, call.ann.id)
        call.bob.ask("() => { meshturn.mesh.restart(undefined, 'user'); }")
        call.bob.page.wait_for_timeout(BETWEEN_RESTARTS)
        if set(before) & set(call.bob.ask(FRAGMENTS, call.ann.id)):
            raise AssertionError("not both ends have restarted")
    call.bob.page.wait_for_timeout(AFTER_RESTARTS - BETWEEN_RESTARTS)
    return {"seen by the other browser": call.gap(call.ann, since), "seen by Chromium": call.gap(call.bob, since)}


def address_change(call: Call) -> Gaps:
    """Ann's computer changes to another network, and her browser does not say so."""
    call.ann.page.add_init_script(DEAF)
    call.begin()
    gate = call.stage.lab.gate(call.stage.hosts[0].gate.nat)
    since = now()
    call.stage.hosts[0].move(gate)
    return {"one sees others again": call.gap(call.ann, since), "others see one again": call.gap(call.bob, since)}


Measure = Callable[[Call], Gaps]
MEASURES: Mapping[str, Measure] = {
    "reload": reload,
    "closed tab": closed_tab,
    "kick": kick,
    "second tab": second_tab,
    "three restarts": three_restarts,
    "address change": address_change,
}


@contextmanager
def calls(browser: str, nat: Nat, directory: Path) -> Iterator[Callable[[Measure, str], Gaps]]:
    """What measures: each use makes a call in a room of that name, disturbs it and ends it.

    Raises `BenchError` where laboratory or browsers are lacking, and from a use in which a page has not got so far.
    """

    def measured(measure: Measure, room: str) -> Gaps:
        stage.arrange(nat)
        cast = Cast(stage)
        try:
            return measure(Call(stage, cast, room))
        except Exception as error:  # Playwright's, or that of a wait without an end
            raise BenchError(str(error)) from error
        finally:
            cast.close()

    with ExitStack() as stack:
        try:
            lab = stack.enter_context(Lab())
            server = PublicServer(lab, issue(directory), directory, signaling=rooms_config(key=KEY))
            stack.enter_context(server)
            hosts = [lab.host(name, nat) for name in ("ann", "bob")]
            playwright = stack.enter_context(sync_playwright())
            browsers: list[Browser] = []
            for host, tone, kind in zip(hosts, TONES, (browser, "chromium"), strict=True):
                home = directory / host.name
                home.mkdir()
                made = (
                    firefox_in(host.inside, playwright, home)
                    if kind == "firefox"
                    else browser_on(playwright, host, home, tone)
                )
                browsers.append(stack.enter_context(made))
        except pytest.skip.Exception as error:
            raise BenchError(f"the calls cannot be made here: {error}") from error
        stage = Stage(lab, server, hosts, browsers)
        yield measured
