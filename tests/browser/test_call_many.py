"""Call pages and a real server whose rooms go through its SFU with more than two people, in real Chromium."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from tests.support.browser import ADDRESS, serving_calls
from tests.support.call_crowd import seen
from tests.support.call_page import TINY, call_page
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
