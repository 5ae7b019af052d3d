"""Call pages and a real server whose rooms go through its SFU with more than two people, in real Chromium."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.support.browser import ADDRESS, serving_calls
from tests.support.call_crowd import seen
from tests.support.call_page import TINY, CallPage, call_page
from tests.support.netns import NetworkNamespace
from tests.support.server import TurnServerProcess

if TYPE_CHECKING:
    from playwright.sync_api import Browser

NAMES = ("Ann", "Ben", "Cat")

GAPS = """() => {
  globalThis.gaps = {};
  for (const tile of document.querySelectorAll('.tile[data-kind=peer]')) {
    const video = tile.querySelector('video');
    let last = performance.now();
    const next = () => {
      const now = performance.now();
      gaps[tile.dataset.peer] = Math.max(gaps[tile.dataset.peer] ?? 0, now - last);
      last = now;
      video.requestVideoFrameCallback(next);
    };
    video.requestVideoFrameCallback(next);
  }
}"""

CANNOT_REACH = """(() => {
  const plain = RTCPeerConnection.prototype.setRemoteDescription;
  RTCPeerConnection.prototype.setRemoteDescription = function ({type, sdp}) {
    const elsewhere = sdp.replace(/(a=candidate:\\S+ \\d+ \\S+ \\d+ \\S+) \\d+/g, '$1 9');
    return plain.call(this, {type, sdp: sdp.includes('a=ice-lite') ? elsewhere : sdp});
  };
})();"""
"""Gives the SFU's candidates, which are the only ones of an ICE-lite agent, the port of nobody."""


@pytest.fixture(scope="module", autouse=True)
def server(inside: NetworkNamespace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TurnServerProcess]:
    """A server whose rooms are open to everybody, and go through its SFU when they are large."""
    with serving_calls(inside, tmp_path_factory, open=True, mode="auto", room_size=2) as process:
        yield process


def test_the_third_brings_the_sfu_and_nobody_is_gone_meanwhile(
    browser: "Browser", record_property: Callable[[str, object], None]
) -> None:
    """Everybody sees everybody, by two connections a page; how long a picture stood meanwhile goes into the report."""
    with ExitStack() as stack:
        pages = []
        for name in NAMES:
            allowed = {"ignore_https_errors": True, "permissions": ["camera", "microphone"]}
            page = stack.enter_context(call_page(browser, **allowed))
            page.open(f"https://{ADDRESS}/call/many{TINY}")
            if len(pages) == 2:
                for other in pages:
                    seen(other, 1, "mesh")
                    other.page.evaluate(GAPS)
            pages.append(page)
            page.join(name)
        for page in pages:
            seen(page, 2, "sfu")
        for page, name in zip(pages[:2], NAMES, strict=False):
            record_property(f"gaps_{name}", page.page.evaluate("() => gaps"))
        for page in pages:
            assert [frame["t"] for frame in page.received if frame["t"] == "peer_leave"] == []
            assert "through the server" in page.text("way")
            states = "() => [meshturn.mesh.sfu.sending, meshturn.mesh.sfu.pc].map((pc) => pc.connectionState)"
            assert page.page.evaluate(states) == ["connected", "connected"]


@contextmanager
def two_and_a_lost_one(browser: "Browser", room: str) -> Iterator[tuple[CallPage, CallPage, CallPage]]:
    """A mesh of two, and a third who brings the SFU but cannot reach it. The change has begun."""
    with ExitStack() as stack:
        ann, ben, cat = (stack.enter_context(call_page(browser)) for _ in NAMES)
        cat.page.add_init_script(CANNOT_REACH)
        for page, name in ((ann, "Ann"), (ben, "Ben")):
            page.open(f"https://{ADDRESS}/call/{room}{TINY}")
            page.join(name)
        for page in (ann, ben):
            seen(page, 1, "mesh")
            page.listen()
        cat.open(f"https://{ADDRESS}/call/{room}{TINY}")
        cat.join("Cat")
        for page in (ann, ben):
            page.until("() => meshturn.mesh.room.mode === 'sfu' && meshturn.mesh.room.changing")
        yield ann, ben, cat


def test_the_third_leaves_during_the_change(browser: "Browser") -> None:
    """The mesh that was there goes on, by the connection that it had."""
    with two_and_a_lost_one(browser, "leaves") as (ann, ben, cat):
        mine = "() => [...meshturn.mesh.peers.values()].find(({info}) => info.name === 'Ben').pc"
        before = ann.page.evaluate_handle(mine)
        gone = cat.page.evaluate("() => meshturn.mesh.you.id")
        cat.click("leave-button")
        for page in (ann, ben):
            seen(page, 1, "mesh")
            page.until("() => meshturn.mesh.sfu === null")
            page.told("from person to person")
        assert ann.page.evaluate(f"(before) => before === ({mine})()", before)
        for page in (ann, ben):
            assert [frame["id"] for frame in page.received if frame["t"] == "peer_leave"] == [gone]


def test_one_cannot_reach_the_sfu(browser: "Browser") -> None:
    """The others see and hear one another through it, and everybody is told who is missing."""
    with two_and_a_lost_one(browser, "unreachable") as (ann, ben, cat):
        for page, other in ((ann, ben), (ben, ann)):
            page.until("() => !meshturn.mesh.room.changing && meshturn.mesh.room.unready?.length === 1")
            who = other.page.evaluate("() => meshturn.mesh.you.id")
            page.frames(5, f".tile[data-peer='{who}'] video")
            page.told("No connection to the server yet: Cat")
        cat.until("() => document.querySelector('[data-testid=way]')?.textContent.startsWith('You have no connection')")
        for page in (ann, ben, cat):
            assert [frame["t"] for frame in page.received if frame["t"] == "peer_leave"] == []
