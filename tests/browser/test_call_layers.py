"""What each of several call pages receives of a real SFU: layers, who speaks, and as many pictures as it wants."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from tests.support.browser import ORIGIN, serving_calls
from tests.support.call_crowd import crowd_page, moving, stood, watch
from tests.support.call_page import TINY, CallPage
from tests.support.netns import NetworkNamespace
from tests.support.process import wait_until
from tests.support.server import TurnServerProcess

if TYPE_CHECKING:
    from playwright.sync_api import Browser

LARGE = "?width=640&height=360&fps=15"

WIDTH = """async (id) => {
  const {sfu} = meshturn.mesh;
  const mid = sfu.midOf(id, 'video');
  const received = [...(await sfu.pc.getStats()).values()].filter(({type}) => type === 'inbound-rtp');
  return received.find((each) => each.mid === mid)?.frameWidth ?? 0;
}"""

SENT = """async () => {
  const found = {};
  for (const {type, kind, rid, bytesSent} of (await meshturn.mesh.sfu.sending.getStats()).values()) {
    if (type === 'outbound-rtp' && kind === 'video') found[rid] = bytesSent;
  }
  return found;
}"""

FRAMES = """async () => {
  const {sfu, peers} = meshturn.mesh;
  const reports = [...(await sfu.pc.getStats()).values()].filter(({type}) => type === 'inbound-rtp');
  const of = (id) => reports.find(({mid}) => mid === sfu.midOf(id, 'video'))?.framesDecoded ?? 0;
  return Object.fromEntries([...peers.keys()].map((id) => [id, of(id)]));
}"""

SPEAKERS = """() => {
  globalThis.spoke = [];
  meshturn.mesh.addEventListener('speaker', ({detail}) => spoke.push([performance.now(), detail.id]));
}"""


@pytest.fixture(scope="module", autouse=True)
def server(inside: NetworkNamespace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TurnServerProcess]:
    """A server whose rooms are open to everybody, and go through its SFU."""
    with serving_calls(inside, tmp_path_factory, open=True, mode="sfu", room_size=6) as process:
        yield process


def enter(stack: ExitStack, browser: "Browser", url: str, *names: str) -> list[CallPage]:
    """Pages of those people, who all see one another."""
    pages = []
    for name in names:
        page = stack.enter_context(crowd_page(browser))
        page.open(f"{ORIGIN}/call/{url}")
        page.join(name)
        pages.append(page)
    for page in pages:
        page.connected(len(names) - 1)
        moving(page)
    return pages


def me(page: CallPage) -> str:
    return str(page.page.evaluate("() => meshturn.mesh.you.id"))


def growing(page: CallPage) -> set[str]:
    """Which layers a page sends: those of which there is more once there are 5000 more bytes of the smallest."""
    before = page.page.evaluate(SENT)
    wait_until(lambda: page.page.evaluate(SENT)["l"] > before["l"] + 5000, "more of the smallest layer")
    after = page.page.evaluate(SENT)
    return {rid for rid, sent in after.items() if sent > before.get(rid, 0)}


def test_each_receives_the_layer_of_its_size_and_what_nobody_takes_is_not_sent(
    browser: "Browser", record_property: Callable[[str, object], None]
) -> None:
    """Who has the picture small gets it small, and does not notice that somebody else has it large."""
    with ExitStack() as stack:
        ann, ben, cat = enter(stack, browser, f"layers{LARGE}", "Ann", "Ben", "Cat")
        shown = me(ann)
        tile = f".tile[data-peer='{shown}']"
        for page in (ben, cat):
            wait_until(lambda page=page: page.page.evaluate(WIDTH, shown) == 320, "the small layer")
        watch(ben)
        stood(ben)
        for _ in range(4):
            moving(ben)
        idle = stood(ben)[shown]
        cat.page.set_viewport_size({"width": 1280, "height": 720})
        cat.page.hover(tile)
        cat.page.click(f"{tile} [data-testid=pin-button]")
        wait_until(lambda: cat.page.evaluate(WIDTH, shown) == 640, "the large layer")
        assert ben.page.evaluate(WIDTH, shown) == 320
        assert growing(ann) >= {"l", "m"}
        cat.page.click(f"{tile} [data-testid=pin-button]")
        cat.page.set_viewport_size({"width": 480, "height": 320})
        wait_until(lambda: cat.page.evaluate(WIDTH, shown) == 320, "the small layer again")
        wait_until(lambda: growing(ann) == {"l"}, "the end of the layer that nobody takes")
        assert ben.page.evaluate(WIDTH, shown) == 320
        moving(ben)
        busy = stood(ben)[shown]
        record_property("stood", (idle, busy))
        assert busy.picture - busy.late <= max(1000.0, 2 * idle.picture), (idle, busy)


def test_who_makes_sound_is_told_as_the_speaker_and_not_more_often_than_once_a_second(browser: "Browser") -> None:
    with ExitStack() as stack:
        pages = enter(stack, browser, f"speaker{TINY}", "Ann", "Ben", "Cat")
        for page in pages:
            page.page.evaluate("() => { tone.value = 0; }")
            page.page.evaluate(SPEAKERS)
        for page in pages[:2]:
            page.page.evaluate("() => { tone.value = 0.5; }")
            for other in pages:
                other.until("(id) => meshturn.mesh.room.speaker === id", me(page))
            page.page.evaluate("() => { tone.value = 0; }")
        for number in range(12):
            page = pages[number % 2]
            page.page.evaluate("() => { tone.value = 0.5; }")
            page.page.wait_for_timeout(250)
            page.page.evaluate("() => { tone.value = 0; }")
        for page in pages:
            spoke = page.page.evaluate("() => spoke")
            assert len(spoke) >= 2
            assert len(spoke) - 1 <= (spoke[-1][0] - spoke[0][0]) / 1000 + 1, "one change a second"


def test_the_last_two_and_what_is_pinned_are_all_that_comes(browser: "Browser") -> None:
    with ExitStack() as stack:
        ann, *others = enter(stack, browser, f"last{TINY}", "Ann", "Ben", "Cat", "Dan", "Eve")
        ids = [me(page) for page in others]
        for page in others[2:]:
            page.page.evaluate("() => { tone.value = 0; }")
        choose = "(choice) => { meshturn.stats.onupdate = null; meshturn.mesh.choose(choice); }"

        def coming() -> set[str]:
            """Whose pictures come: of whom there is another one by the time somebody has twenty more."""
            before = ann.page.evaluate(FRAMES)
            wait_until(
                lambda: max(now - before[key] for key, now in ann.page.evaluate(FRAMES).items()) >= 20, "pictures"
            )
            return {key for key, now in ann.page.evaluate(FRAMES).items() if now > before[key]}

        assert coming() == set(ids)
        ann.page.evaluate(choose, {"last": 2, "others": 360, "tiles": []})
        wait_until(lambda: len(coming()) == 2, "two pictures")
        assert coming() == set(ids[:2]), "of those who speak"
        pinned = next(iter(set(ids) - coming()))
        tiles = [{"id": pinned, "what": "camera", "h": 360, "pin": True}]
        ann.page.evaluate(choose, {"last": 2, "others": 360, "tiles": tiles})
        wait_until(lambda: pinned in coming(), "the pinned picture")
        wait_until(lambda: len(coming()) == 3, "two pictures, and the pinned one")
        assert len(coming()) == 3
