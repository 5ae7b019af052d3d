"""The SFU's process is killed under call pages, in real Chromium: the call goes on, and each page says why."""

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.browser import ADDRESS, serving_calls
from tests.support.call_crowd import seen
from tests.support.call_page import TINY, call_page
from tests.support.netns import NetworkNamespace
from tests.support.server import TurnServerProcess

if TYPE_CHECKING:
    from playwright.sync_api import Browser


HEARD = """() => {
  globalThis.ways = [];
  const look = () => {
    const line = document.querySelector('[data-testid=way]')?.textContent ?? '';
    if (line !== ways.at(-1)) ways.push(line);
  };
  new MutationObserver(look).observe(document.body, {subtree: true, childList: true, characterData: true});
  look();
}"""


@pytest.fixture(scope="module", autouse=True)
def server(inside: NetworkNamespace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TurnServerProcess]:
    """A server whose rooms are meshes of two, and go through its SFU with three."""
    with serving_calls(inside, tmp_path_factory, open=True, mode="auto", room_size=2) as process:
        yield process


def child_of(pid: int) -> int:
    """The process of the SFU: the one child that the server has."""
    (child,) = [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return child


def test_killed_during_the_switch_and_after_it(browser: "Browser", server: TurnServerProcess) -> None:
    """Nobody is gone, pictures come again through another process, and the log has the cause."""
    with ExitStack() as stack:
        pages = [stack.enter_context(call_page(browser)) for _ in range(3)]
        for number, page in enumerate(pages):
            page.open(f"https://{ADDRESS}/call/killed{TINY}")
            if number == 2:
                seen(pages[0], 1, "mesh")
            page.join(f"P{number}")
            page.page.evaluate(HEARD)
        pages[0].until("() => meshturn.mesh.room.mode === 'sfu' && meshturn.mesh.room.changing")
        first = child_of(server.pid)
        os.kill(first, signal.SIGKILL)
        for page in pages:
            seen(page, 2, "sfu")
        second = child_of(server.pid)
        assert second != first
        os.kill(second, signal.SIGKILL)
        for page in pages:
            page.until("() => ways.some((line) => line.includes('was lost'))")
            page.until("() => meshturn.mesh.room.why === undefined || meshturn.mesh.room.why === null")
        for page in pages:
            seen(page, 2, "sfu")
            assert "through the server" in page.text("way")
            assert [frame["t"] for frame in page.received if frame["t"] == "peer_leave"] == []
    lines = [line for line in server.log.splitlines() if "process ended" in line or "did not start" in line]
    assert [f"pid={pid}" in line and "SIGKILL" in line for pid, line in zip((first, second), lines, strict=True)] == [
        True,
        True,
    ]


def test_with_few_people_the_call_goes_from_person_to_person(browser: "Browser", server: TurnServerProcess) -> None:
    """One has left, and the room is about to be a mesh again: without its SFU it is one at once, and says why."""
    with ExitStack() as stack:
        pages = [stack.enter_context(call_page(browser)) for _ in range(3)]
        for number, page in enumerate(pages):
            page.open(f"https://{ADDRESS}/call/few{TINY}")
            page.join(f"P{number}")
        for page in pages:
            seen(page, 2, "sfu")
        pages[2].page.close()
        for page in pages[:2]:
            page.connected(1)
            page.page.evaluate(HEARD)
        os.kill(child_of(server.pid), signal.SIGKILL)
        for page in pages[:2]:
            page.until("() => ways.some((line) => line.includes('from person to person'))")
            seen(page, 1, "mesh")
