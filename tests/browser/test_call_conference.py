"""The call page in a call through the server's SFU: what it says, what it asks for, many tiles; in real Chromium."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.aiortc_sfu import AiortcSfu
from tests.support.call_page import SMALL, CallPage, call_page
from tests.support.netns import NetworkNamespace
from tests.support.signal_lab import SignalLab
from turnserver.signaling.rooms import switching
from turnserver.signaling.rooms.media_port import SfuSpeaker
from turnserver.signaling.rooms.settings import Grant

if TYPE_CHECKING:
    from playwright.sync_api import Browser

EARLY = """
() => {
  globalThis.lab ??= {};
  Object.assign(lab, {early: false, changed: false});
  const look = () => {
    const {mode, changing} = meshturn.mesh.room ?? {};
    if (mode !== 'mesh' || !changing) return;
    lab.changed = true;
    lab.early ||= document.getElementById('way') === null;
  };
  meshturn.mesh.addEventListener('room', () => requestAnimationFrame(look));
}
"""
"""Notices whether the sentence about the server goes before the change to a mesh is complete."""

IDENTITY = "(name) => [...meshturn.mesh.peers.values()].find(({info}) => info.name === name).id"

CROWD = """async (count) => {
  const {Grid} = await import('/call-assets/tiles.js');
  document.getElementById('call').hidden = false;
  const does = {zoom: () => {}};
  const [place, template] = ['grid', 'tile-template'].map((id) => document.getElementById(id));
  globalThis.lab = {grid: new Grid(place, template, does)};
  const view = (index) => ({
    key: `p${index}`, kind: 'peer', id: `p${index}`, name: `P ${index}`, stream: null, silent: false, microphone: true,
    camera: true, state: 'connected', stateText: '', busy: false, retry: false, path: 'unknown', pathText: '',
    moderated: false,
  });
  lab.grid.show(Array.from({length: count}, (_, index) => view(index)));
}"""

PAGER = """async () => {
  const {Conference} = await import('/call-assets/conference.js');
  const state = {room: {mode: 'sfu'}, peers: new Map(), you: {id: 'me'}, choose: () => {}};
  const mesh = Object.assign(new EventTarget(), state);
  const parts = {nameOf: (id) => id, recording: () => false, apart: () => new Map()};
  lab.conference = new Conference(mesh, lab.grid, parts);
  lab.conference.show();
}"""
"""The buttons to turn the pages of a crowd with, which is there without a server."""

CLASS = """async () => {
  const {heightClass} = await import('/call-assets/conference.js');
  return heightClass(innerHeight * Math.min(2, devicePixelRatio));
}"""

LOST = """
RTCPeerConnection.prototype.setRemoteDescription = () => new Promise(() => {});
"""
"""Keeps every connection of a page from coming about."""

SEEN = "() => [...lab.grid.tiles].filter(([, tile]) => !tile.hidden).map(([key]) => key)"


@pytest.fixture(scope="module")
def rooms(inside: NetworkNamespace) -> Iterator[SignalLab]:
    """Rooms whose meshes are for two, and that go through the SFU with more."""
    with SignalLab(inside, {"host": Grant(role="host")}, sfu=AiortcSfu, room_size=2) as lab:
        yield lab
        lab.run(lab.media.stop())


def wanted(lab: SignalLab, page: CallPage) -> dict[str, Any]:
    """What a page has asked the SFU for: heights by the name of who is shown."""
    chosen = lab.media.chosen.get(page.page.evaluate("() => meshturn.mesh.you.id"))
    if chosen is None:
        return {}
    _, others, tiles = chosen
    names = page.page.evaluate("() => [...meshturn.mesh.peers.values()].map(({id, info}) => [id, info.name])")
    found = {dict(names)[tile.peer]: tile.height for tile in tiles}
    return {**found, "others": others}


def test_three_people_are_told_that_the_server_sees_them(browser: "Browser", lab: SignalLab) -> None:
    """All are seen, pictures are asked for as large as they are shown, and who speaks can have the stage."""
    with ExitStack() as stack:
        ann, ben, cat = (
            stack.enter_context(call_page(browser, permissions=["camera", "microphone"])) for _ in range(3)
        )
        for page, name in ((ann, "Ann"), (ben, "Ben")):
            page.open(f"{lab.url}/call/blue{SMALL}")
            page.join(name)
        ann.connected(1)
        assert ann.page.locator("[data-testid=way]").count() == 0, "in a mesh the server sees nothing"
        cat.open(f"{lab.url}/call/blue{SMALL}")
        cat.join("Cat")
        for page in (ann, ben, cat):
            page.connected(2)
            page.until("() => meshturn.mesh.room.mode === 'sfu' && !meshturn.mesh.room.changing")
            page.see("way")
            for key in page.page.evaluate("() => [...meshturn.mesh.peers.keys()]"):
                page.frames(3, f".tile[data-peer='{key}'] video")
        ann.until("() => document.getElementById('way').textContent.includes('through the server')")
        lab.wait(lambda: set(wanted(lab, ann)) == {"Ben", "Cat", "others"}, "what Ann asks for")
        assert wanted(lab, ann)["others"] == 0
        assert wanted(lab, ann)["Ben"] in (180, 270, 360)
        told = ann.page.locator(".plate-path:visible")
        ann.page.wait_for_selector(".plate-path >> nth=1", state="visible")
        assert set(told.all_inner_texts()) == {"through the server"}
        ann.click("more-button")
        ann.click("stats-button")
        ann.until("() => document.getElementById('uplink-text').textContent.startsWith('Sent to the server: ')")
        rows = ann.page.locator("[data-testid=peer-stats] dt:visible").all_inner_texts()
        assert rows.count("Path") == rows.count("Repairs asked for") == 2
        assert {"Server sees", "Up", "Sent at most"}.isdisjoint(rows), "what goes to the server goes to all at once"
        assert "server UDP" in ann.page.locator("[data-testid=peer-stats] dd:visible").all_inner_texts()
        ann.click("more-button")
        ann.click("stats-button")
        ann.click("more-button")
        ann.click("speaker-view")
        speaker = cat.page.evaluate("() => meshturn.mesh.you.id")
        lab.do(lambda: lab.service.on_media(SfuSpeaker("blue", speaker)))
        ann.until("(id) => document.querySelector('.tile[data-stage]')?.dataset.peer === id", speaker)
        lab.wait(lambda: wanted(lab, ann)["Cat"] > wanted(lab, ann)["Ben"], "a larger picture of who speaks")
        tile = f".tile[data-peer='{ann.page.evaluate(IDENTITY, 'Ben')}']"
        ann.page.hover(tile)
        ann.page.click(f"{tile} .tile-full")
        ann.until("(tile) => document.fullscreenElement?.matches(tile)", tile)
        lab.wait(lambda: wanted(lab, ann)["Ben"] == ann.page.evaluate(CLASS), "a picture for the whole screen")
        ann.page.evaluate("() => document.exitFullscreen()")
        lab.wait(lambda: wanted(lab, ann)["Ben"] < ann.page.evaluate(CLASS), "a small one again")
        ann.page.evaluate(EARLY)
        for page in (cat, ben):
            page.click("leave-button")
        ann.until("() => meshturn.mesh.room.mode === 'mesh' && !meshturn.mesh.room.changing")
        ann.page.wait_for_selector("[data-testid=way]", state="detached")
        assert ann.page.evaluate("() => lab.changed && !lab.early"), "the server sees it until the change is complete"


def test_a_crowd_has_pages(browser: "Browser", lab: SignalLab) -> None:
    """Nine tiles at a time; with somebody on the stage, six beside."""
    with call_page(browser) as page:
        page.open(f"{lab.url}/call/blue{SMALL}")
        page.page.evaluate(CROWD, 20)
        assert page.page.evaluate(SEEN) == [f"p{index}" for index in range(9)]
        page.page.evaluate("() => { lab.grid.page = 2; lab.grid.show(lab.grid.views); }")
        assert page.page.evaluate(SEEN) == ["p18", "p19"]
        page.page.evaluate("() => { lab.grid.page = 7; lab.grid.pin('p3'); }")
        assert page.page.evaluate("() => [lab.grid.page, lab.grid.pages]") == [3, 4]
        assert page.page.evaluate(SEEN) == ["p3", "p19"]


def test_pages_are_turned_with_buttons_that_have_names(browser: "Browser", lab: SignalLab) -> None:
    with call_page(browser) as page:
        page.open(f"{lab.url}/call/blue{SMALL}")
        page.page.evaluate(CROWD, 20)
        page.page.evaluate(PAGER)
        pager = page.page.get_by_role("group", name="Pages of pictures", exact=True)
        back, on = (pager.get_by_role("button", name=f"{way} page", exact=True) for way in ("Previous", "Next"))
        assert "Page 1 of 3" in pager.inner_text()
        assert [back.get_attribute("aria-disabled"), on.get_attribute("aria-disabled")] == ["true", "false"]
        on.click()
        on.click()
        assert page.page.evaluate(SEEN) == ["p18", "p19"]
        assert "Page 3 of 3" in pager.inner_text()
        assert [back.get_attribute("aria-disabled"), on.get_attribute("aria-disabled")] == ["false", "true"]
        on.press("Enter")
        assert "Page 3 of 3" in pager.inner_text(), "there is no next one"
        back.press("Enter")
        assert page.page.evaluate(SEEN) == [f"p{index}" for index in range(9, 18)]


def test_a_host_stops_what_somebody_shares(browser: "Browser", lab: SignalLab) -> None:
    """The button is on the screen's tile, and only hosts have it."""
    with call_page(browser) as ann, call_page(browser) as ben, call_page(browser) as cat:
        for page, name, token in ((ann, "Ann", "#token=host"), (ben, "Ben", ""), (cat, "Cat", "")):
            page.open(f"{lab.url}/call/red{SMALL}{token}")
            page.join(name)
        for page in (ann, ben, cat):
            page.connected(2)
            page.until("() => meshturn.mesh.room.mode === 'sfu' && !meshturn.mesh.room.changing")
        ben.click("screen-button")
        for page in (ann, cat):
            page.see("screen-tile")
            page.frames(2, "[data-testid=screen-tile] video")
        assert not cat.page.locator("[data-testid=screen-tile] .tile-stop").is_visible()
        ann.page.hover("[data-testid=screen-tile]")
        ann.page.get_by_role("button", name="Stop what Ben shares", exact=True).click()
        for page in (ann, cat):
            page.page.wait_for_selector("[data-testid=screen-tile]", state="detached")
        ben.page.wait_for_selector("[data-testid=sharing]", state="hidden")
        ben.page.wait_for_selector(".toast:has-text('A host has stopped the sharing of your screen')")


def test_who_has_no_connection_with_the_server_has_a_sign(
    browser: "Browser", lab: SignalLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others see it on the tile and in the line above."""
    monkeypatch.setattr(switching, "PATIENCE", 3.0)
    with call_page(browser) as ann, call_page(browser) as ben, call_page(browser) as cat:
        cat.page.add_init_script(LOST)
        for page, name in ((ann, "Ann"), (ben, "Ben"), (cat, "Cat")):
            page.open(f"{lab.url}/call/green{SMALL}")
            page.join(name)
        identity = cat.page.evaluate("() => meshturn.mesh.you.id")
        for page in (ann, ben):
            page.until("(id) => meshturn.mesh.room.unready?.includes(id)", identity)
            tile = page.page.locator(f".tile[data-peer='{identity}']")
            tile.get_by_text("No connection to the server yet", exact=True).wait_for(state="visible")
            page.until("() => document.getElementById('way').textContent === 'No connection to the server yet: Cat'")
        cat.until("() => document.getElementById('way').textContent.startsWith('You have no connection')")
