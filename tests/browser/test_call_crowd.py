"""Rooms of five and six call pages on a real server, in real Chromium, and the ways to there and back.

Five pages fill two cores by themselves. So limits for how long something may stand still, and for how much is decoded,
hold where nothing else runs at that time (`make test ARGS=tests/browser/test_call_crowd.py`); what else is tested here
holds on any machine. The report of the test says which it was.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from tests.support.browser import ORIGIN, serving_calls
from tests.support.call_crowd import (
    Alone,
    Stood,
    crowd_page,
    moving,
    open_connections,
    routed,
    stood,
    udp_ports,
    watch,
)
from tests.support.call_page import CallPage
from tests.support.netns import NetworkNamespace
from tests.support.process import wait_until
from tests.support.server import TurnServerProcess

if TYPE_CHECKING:
    from playwright.sync_api import Browser

PAGE = "?width=320&height=240&fps=15"
SMALL = "?width=160&height=90&fps=5"
"""While the way changes, everybody sends twice."""
PATIENCE = 90.0
NAMES = ("Ann", "Ben", "Cat", "Dan", "Eve", "Fay")
PICTURE = 1000.0
"""Milliseconds for which a picture may stand."""
SILENCE = 500.0
LISTENERS = {3478}
ENDING = 10.0
"""Seconds until the connections of the mode before are gone."""
TRIES = 2
FRAMES = 5
"""A second, of each picture."""
LOSS = 0.01
SECONDS = 10.0
LONGEST = 180.0
"""Seconds until there must have been ten in which all was well, or others were at work."""


REACHED = """async () => {
  const found = [];
  for (const pc of [meshturn.mesh.sfu.sending, meshturn.mesh.sfu.pc]) {
    const reports = await pc.getStats();
    const transport = [...reports.values()].find(({type}) => type === 'transport');
    const {address, port} = reports.get(reports.get(transport.selectedCandidatePairId).remoteCandidateId);
    found.push([address, port]);
  }
  return found;
}"""

CHEAP = """() => {
  meshturn.stats.stop();
  for (const video of document.querySelectorAll('video')) video.style.visibility = 'hidden';
}"""
"""What is decoded is counted, and need not be drawn."""

DECODED = """async () => {
  const found = {};
  for (const report of (await meshturn.mesh.sfu.pc.getStats()).values()) {
    if (report.type !== 'inbound-rtp') continue;
    found[`${report.kind}:${report.mid}`] = [report.framesDecoded ?? 0, report.packetsReceived, report.packetsLost];
  }
  return found;
}"""


@pytest.fixture(scope="module", autouse=True)
def server(inside: NetworkNamespace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TurnServerProcess]:
    """A server whose rooms are open to everybody, and go through its SFU when they are large."""
    with serving_calls(inside, tmp_path_factory, open=True, mode="auto") as process:
        yield process


def lobby(stack: ExitStack, browser: "Browser", room: str, how: str) -> CallPage:
    """A page before it joins."""
    page = stack.enter_context(crowd_page(browser))
    page.open(f"{ORIGIN}/call/{room}{how}")
    return page


def enter(stack: ExitStack, browser: "Browser", room: str, name: str, how: str) -> CallPage:
    page = lobby(stack, browser, room, how)
    page.join(name)
    return page


def reached(page: CallPage) -> set[tuple[str, int]]:
    """The addresses and ports of the SFU that a page's two connections have with it."""
    return {(ip, port) for ip, port in page.page.evaluate(REACHED)}


def quiet(pages: list[CallPage]) -> list[dict[str, Stood]]:
    """How long things stand while nothing happens, for some seconds."""
    for page in pages:
        moving(page)
        watch(page)
        stood(page)
    for page in pages:
        moving(page)
    return [stood(page) for page in pages]


def too_long(before: list[dict[str, Stood]], pages: list[CallPage]) -> list[str]:
    """What has stood for too long since `quiet`, in words."""
    found = []
    for was, page in zip(before, pages, strict=True):
        for key, now in stood(page).items():
            if key not in was:
                continue  # somebody who has just come
            if now.picture > PICTURE:
                found.append(f"a picture stood: {now}, {was[key]} before")
            if now.sound > SILENCE:
                found.append(f"no sound: {now}, {was[key]} before")
    return found


def ended(pages: list[CallPage], server: TurnServerProcess, relays: set[int], began: float) -> float:
    """Wait until each page has two connections, and those allocations are gone; seconds since ``began``."""
    for page in pages:
        wait_until(lambda page=page: open_connections(page) == 2, "the end of the connections before", PATIENCE)
    wait_until(lambda: not relays & udp_ports(server.pid), "the end of their allocations", PATIENCE)
    return time.monotonic() - began


Report = Callable[[str, object], None]


def go_over(four: list[CallPage], fifth: CallPage, server: TurnServerProcess, record: Report) -> None:
    """The fifth comes; nobody notices."""
    before = quiet(four)
    relays = udp_ports(server.pid) - LISTENERS
    assert relays, "a mesh has allocations"
    alone = Alone()
    fifth.join(NAMES[4])
    everybody = [*four, fifth]
    for page in everybody:
        routed(page, 4, "sfu")
    changed = time.monotonic()
    media = {port for _, port in reached(four[0])}
    took = ended(everybody, server, relays - media, changed)
    for page in everybody:
        moving(page)
    stands, judged = too_long(before, four), alone.end()
    record("over", (alone.others, took, stands))
    if judged:
        assert stands == []
        assert took < ENDING
    for page in everybody:
        assert "through the server" in page.text("way")
        assert [frame for frame in page.received if frame["t"] == "peer_leave"] == []


def go_back(three: list[CallPage], server: TurnServerProcess, media: set[int], record: Report) -> None:
    """Two have left; nobody notices the way back to a mesh."""
    for page in three:
        page.connected(2)
    before = quiet(three)
    relays = udp_ports(server.pid) - LISTENERS - media
    alone = Alone()
    for page in three:
        routed(page, 2, "mesh")
    changed = time.monotonic()
    for page in three:
        wait_until(lambda page=page: page.page.evaluate("() => meshturn.mesh.sfu") is None, "the end of the SFU")
    took = ended(three, server, relays, changed)
    for page in three:
        moving(page)
    stands, judged = too_long(before, three), alone.end()
    record("back", (alone.others, took, stands))
    if judged:
        assert stands == []
        assert took < ENDING


@pytest.mark.timeout(840)
def test_the_fifth_brings_the_sfu_and_is_not_noticed_and_neither_is_the_way_back(
    browser: "Browser", server: TurnServerProcess, record_property: Report
) -> None:
    """Nobody is gone, pictures and sound go on, and what is not needed any more ends with its allocations."""
    with ExitStack() as stack:
        three = [enter(stack, browser, "switch", name, SMALL) for name in NAMES[:3]]
        with ExitStack() as two:
            fourth = enter(two, browser, "switch", NAMES[3], SMALL)
            fifth = lobby(two, browser, "switch", SMALL)
            for page in (*three, fourth):
                page.received.clear()
                page.connected(3)
            go_over([*three, fourth], fifth, server, record_property)
            media = {port for _, port in reached(fourth)}
            for page in (fourth, fifth):
                page.click("leave-button")
        go_back(three, server, media, record_property)


def receives(before: dict[str, list[int]], after: dict[str, list[int]], seconds: float) -> bool:
    """Whether all five others are decoded with five frames a second, and of their sound not more than 1 % is lost."""
    enough = []
    for key, (frames, packets, lost) in after.items():
        was = before.get(key, [0, 0, 0])
        if key.startswith("video"):
            enough.append(frames - was[0] >= FRAMES * seconds)
        else:
            gone = max(0, lost - was[2])
            enough.append(packets > was[1] and gone <= LOSS * (gone + packets - was[1]))
    return len(enough) == 10 and all(enough)


def all_arrive(found: dict[str, list[int]]) -> bool:
    """Whether pictures and sound of five others have been received."""
    return len(found) == 10 and all(
        frames or (key.startswith("audio") and packets) for key, (frames, packets, _) in found.items()
    )


def least(before: list[dict[str, list[int]]], after: list[dict[str, list[int]]], seconds: float) -> list[list[float]]:
    """Of each page, the frames of each picture in a second, the fewest first."""
    return [
        sorted((now[key][0] - was.get(key, [0])[0]) / seconds for key in now if key.startswith("video"))
        for was, now in zip(before, after, strict=True)
    ]


@pytest.mark.timeout(840)
def test_six_pages_see_and_hear_one_another(
    browser: "Browser", server: TurnServerProcess, record_property: Report
) -> None:
    """For ten seconds, each by two connections, and all through one port of the server."""
    with ExitStack() as stack:
        pages = [enter(stack, browser, "six", name, PAGE) for name in NAMES]
        for page in pages:
            routed(page, 5, "sfu")
            page.page.evaluate(CHEAP)
        for page in pages:
            wait_until(lambda page=page: all_arrive(page.page.evaluate(DECODED)), "everybody's media", PATIENCE)
        give_up = time.monotonic() + LONGEST
        while True:
            alone = Alone()
            before = [page.page.evaluate(DECODED) for page in pages]
            began = time.monotonic()
            time.sleep(SECONDS)  # what is asked is how much comes in this time
            after = [page.page.evaluate(DECODED) for page in pages]
            seconds = time.monotonic() - began
            fine = all(receives(*each, seconds) for each in zip(before, after, strict=True))
            judged = alone.end()
            record_property("decoded", (alone.others, least(before, after, seconds)))
            if fine or time.monotonic() > give_up:
                break
        assert fine or not judged, least(before, after, seconds)
        assert [open_connections(page) for page in pages] == [2] * 6
        ports = set().union(*(reached(page) for page in pages))
        assert len(ports) == 1, ports
        assert {port for _, port in ports} <= udp_ports(server.pid)
