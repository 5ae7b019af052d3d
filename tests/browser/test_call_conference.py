"""The call page in a call through the server's SFU: what it says, what it asks for, many tiles; in real Chromium."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.aiortc_sfu import AiortcSfu
from tests.support.call_page import SMALL, CallPage, call_page
from tests.support.netns import NetworkNamespace
from tests.support.signal_lab import SignalLab
from turnserver.signaling.rooms.media_port import SfuSpeaker

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

SEEN = "() => [...lab.grid.tiles].filter(([, tile]) => !tile.hidden).map(([key]) => key)"


@pytest.fixture(scope="module")
def rooms(inside: NetworkNamespace) -> Iterator[SignalLab]:
    """Rooms whose meshes are for two, and that go through the SFU with more."""
    with SignalLab(inside, {}, sfu=AiortcSfu, room_size=2) as lab:
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
