"""The client's `ways.js`, `sfu.js` and `sfupeer.js` in headless Chromium, with an SFU of aiortc."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import pytest

from tests.support.aiortc_sfu import AiortcSfu
from tests.support.netns import NetworkNamespace
from tests.support.signal_lab import LabPage, SignalLab, lab_page
from turnserver.signaling.rooms import switching
from turnserver.signaling.rooms.media_port import SfuLayers, SfuSpeaker
from turnserver.signaling.rooms.settings import Grant

if TYPE_CHECKING:
    from playwright.sync_api import Browser

GRANTS = {"listener": Grant(caps=frozenset())}

ROUTED = """([who, mode, count]) => {
  const {mesh} = lab.runs[who];
  const {room, peers} = mesh;
  return room?.mode === mode && !room.changing && peers.size === count
    && [...peers.values()].every((peer) => peer.way === mode && peer.state === 'connected');
}"""

SHOWN = """([who, name]) => {
  const run = lab.runs[who];
  const peer = [...run.mesh.peers.values()].find(({info}) => info.name === name);
  const [video] = peer?.streams.camera.getVideoTracks() ?? [];
  if (!video) return false;
  run.screens ??= {};
  const make = () => document.body.appendChild(document.createElement('video'));
  const element = run.screens[name] ??= Object.assign(make(), {autoplay: true, muted: true});
  if (element.srcObject !== peer.streams.camera) element.srcObject = peer.streams.camera;
  const shown = element.getVideoPlaybackQuality().totalVideoFrames;
  element.began ??= shown;
  return shown > element.began + 5;
}"""

CAMERA_OF = """([who, name]) =>
  [...lab.runs[who].mesh.peers.values()].find(({info}) => info.name === name).streams.camera.id
"""


@pytest.fixture(scope="module")
def rooms(inside: NetworkNamespace) -> Iterator[SignalLab]:
    """Rooms whose meshes are for two, and that go through the SFU with more."""
    with SignalLab(inside, GRANTS, sfu=AiortcSfu, room_size=2) as lab:
        yield lab
        lab.run(lab.media.stop())


@pytest.fixture
def page(browser: "Browser", lab: SignalLab) -> Iterator[LabPage]:
    """One page for all participants."""
    with lab_page(browser, lab) as found:
        yield found


def routed(page: LabPage, mode: str, *names: str, sends: Sequence[str] | None = None) -> None:
    """Wait until all go that way, and see those who send."""
    for who in names:
        page.until(ROUTED, [who, mode, len(names) - 1])
    for who in names:
        for name in names if sends is None else sends:
            if name != who:
                page.until(SHOWN, [who, name])


def told(lab: SignalLab, who: str) -> list[tuple[str, int, bool]]:
    return [
        (frame["mode"], frame["epoch"], frame.get("changing", False))
        for frame in lab.of(who, "client", "room_update")
        if "unready" not in frame
    ]


def three(page: LabPage) -> None:
    """A call through the SFU."""
    for who in ("ann", "ben", "cat"):
        page.enter(who, "blue")
    routed(page, "sfu", "ann", "ben", "cat")


def test_a_third_brings_the_sfu_and_the_picture_stays_where_it_is(page: LabPage, lab: SignalLab) -> None:
    """The element that shows somebody keeps its stream, and nothing of the mesh is left."""
    page.enter("ann", "blue")
    page.enter("ben", "blue")
    routed(page, "mesh", "ann", "ben")
    stream = page.run(CAMERA_OF, ["ann", "ben"])
    page.run("() => { lab.old = lab.runs.ann.peer().pc; }")
    page.enter("cat", "blue")
    routed(page, "sfu", "ann", "ben", "cat")
    assert told(lab, "ann") == [("sfu", 2, True), ("sfu", 2, False)]
    assert page.run(CAMERA_OF, ["ann", "ben"]) == stream
    assert page.run("() => lab.old.connectionState") == "closed"
    offer = lab.of("ann", "server", "desc")[-1]
    assert offer["to"] == "sfu"
    assert {frame["t"] for frame in lab.of("cat", "server") if frame.get("to") not in (None, "sfu")} == set()


NOT_YET = """() => {
  const plain = RTCPeerConnection.prototype.getStats;
  RTCPeerConnection.prototype.getStats = async function (...rest) {
    const found = await plain.apply(this, rest);
    if (lab.arrives || this !== lab.runs.ann.mesh.sfu?.pc) return found;
    return new Map([...found].filter(([, {type}]) => type !== 'inbound-rtp'));
  };
}"""
"""Until `lab.arrives`, nothing that the SFU sends seems to arrive at Ann."""


def test_who_still_comes_the_way_before_is_not_left_for_one_without_media(
    page: LabPage, lab: SignalLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until the server ends the change."""
    monkeypatch.setattr(switching, "PATIENCE", 8.0)
    page.enter("ann", "blue")
    page.enter("ben", "blue")
    routed(page, "mesh", "ann", "ben")
    page.run(NOT_YET)
    page.enter("cat", "blue")
    page.until("() => lab.runs.ben.mesh.room.mode === 'sfu' && !lab.runs.ben.mesh.room.changing")
    assert lab.of("ben", "server", "mode_ready")
    assert lab.of("ann", "server", "mode_ready") == []
    routed(page, "sfu", "ann", "ben", "cat")


def test_who_is_left_is_a_mesh_again(page: LabPage, lab: SignalLab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(switching, "CALM", 0.5)
    with lab.with_settings(room_size=3):
        for who in ("ann", "ben"):
            page.enter(who, "blue")
        for who in ("cat", "dan"):
            page.enter(who, "blue", media=False, token="listener")
        routed(page, "sfu", "ann", "ben", "cat", "dan", sends=["ann", "ben"])
        stream = page.run(CAMERA_OF, ["ann", "ben"])
        page.exit("cat", "dan")
        routed(page, "mesh", "ann", "ben")
        assert page.run(CAMERA_OF, ["ann", "ben"]) == stream
        assert page.run("() => lab.runs.ann.mesh.sfu") is None
        assert told(lab, "ann")[-2:] == [("mesh", 3, True), ("mesh", 3, False)]


def test_who_may_not_send_has_one_connection_and_sees_the_others(page: LabPage, lab: SignalLab) -> None:
    page.enter("ann", "blue")
    page.enter("ben", "blue")
    page.enter("eve", "blue", media=False, token="listener")
    routed(page, "sfu", "ann", "ben", "eve", sends=["ann", "ben"])
    assert page.run("() => lab.runs.eve.mesh.sfu.sending") is None
    assert {frame["desc"]["type"] for frame in lab.of("eve", "server", "desc") if frame["to"] == "sfu"} == {"answer"}


def test_who_sends_to_listeners_only_is_connected_by_one_connection(page: LabPage, lab: SignalLab) -> None:
    """Nobody sends it anything, so the SFU offers it nothing."""
    page.enter("ann", "blue")
    for who in ("eve", "fay"):
        page.enter(who, "blue", media=False, token="listener")
        page.run("(who) => lab.runs[who].mesh.setMedia({a: 0, v: 0})", who)
    routed(page, "sfu", "ann", "eve", "fay", sends=["ann"])
    assert page.run("() => lab.runs.ann.mesh.sfu.pc") is None
    assert page.run("() => lab.runs.ann.mesh.sfu.sending.connectionState") == "connected"


def test_the_first_to_be_received_is_connected_with_and_not_again(page: LabPage, lab: SignalLab) -> None:
    """There was no connection to receive through, so none has been lost."""
    page.enter("ann", "blue")
    for who in ("eve", "fay"):
        page.enter(who, "blue", media=False, token="listener")
        page.run("(who) => lab.runs[who].mesh.setMedia({a: 0, v: 0})", who)
    routed(page, "sfu", "ann", "eve", "fay", sends=["ann"])
    page.run(
        "() => lab.runs.ann.mesh.sfu.addEventListener('state', ({detail}) => (lab.states ??= []).push(detail.state))"
    )
    page.enter("ben", "blue")
    routed(page, "sfu", "ann", "eve", "fay", "ben", sends=["ann", "ben"])
    assert page.run("() => lab.states.slice(0, 2)") == ["connecting", "connected"]


def test_an_sfu_that_is_lost_is_connected_with_anew(page: LabPage, lab: SignalLab) -> None:
    three(page)
    stream = page.run(CAMERA_OF, ["ann", "ben"])
    page.run("() => { lab.old = lab.runs.ann.mesh.sfu.pc; }")
    page.run("() => { for (const each of Object.values(lab.runs.ann.screens)) each.began = null; }")
    lab.run(lab.media.lose())
    page.until("() => lab.runs.ann.mesh.room.epoch === 3")
    routed(page, "sfu", "ann", "ben", "cat")
    assert page.run("() => lab.runs.ann.mesh.sfu.pc !== lab.old && lab.old.connectionState === 'closed'")
    assert page.run(CAMERA_OF, ["ann", "ben"]) == stream
    assert [frame["why"] for frame in lab.of("ann", "client", "reset") if frame["from"] == "sfu"] == ["sfu_gone"]


def test_a_screen_comes_and_goes(page: LabPage, lab: SignalLab) -> None:
    three(page)
    page.run("(who) => { lab.share(who); lab.runs[who].mesh.setMedia({s: 1}); }", "ann")
    screen = "() => [...lab.runs.ben.mesh.peers.values()].find(({info}) => info.name === 'ann').streams.screen"
    page.until(f"{screen} !== null")
    assert set(lab.of("ann", "server", "desc")[-1]["sources"].values()) >= {"audio", "camera"}
    assert any("screen" in frame.get("sources", {}).values() for frame in lab.of("ann", "server", "desc"))
    page.run("(who) => { lab.send(who, 'screen', null); lab.runs[who].mesh.setMedia({s: 0}); }", "ann")
    page.until(f"{screen} === null")


def test_what_is_wanted_is_said_and_what_nobody_wants_is_not_sent(page: LabPage, lab: SignalLab) -> None:
    three(page)
    ids = {who: page.run("(who) => lab.runs[who].mesh.you.id", who) for who in ("ann", "ben")}
    tiles = [{"id": ids["ben"], "what": "camera", "h": 180}]
    page.run("(tiles) => lab.runs.ann.mesh.choose({others: 0, tiles})", tiles)
    lab.wait(lambda: lab.media.chosen.get(ids["ann"]), "what Ann wants")
    last, others, wanted = lab.media.chosen[ids["ann"]]
    assert (last, others, [(tile.peer, tile.height) for tile in wanted]) == (None, 0, [(ids["ben"], 180)])
    # aiortc takes no layers, so one picture of full size remains.
    active = """(wanted) => {
      const [, sender] = lab.runs.ann.mesh.sfu.sending.getSenders();
      const {encodings} = sender.getParameters();
      return encodings.length === 1 && encodings[0].active === wanted && encodings[0].scaleResolutionDownBy === 1;
    }"""
    for rids, wanted_now in (((), False), (("",), True)):
        event = SfuLayers("blue", ids["ann"], "camera", rids)
        lab.do(lambda event=event: lab.service.on_media(event))
        page.until(active, wanted_now)
    lab.do(lambda: lab.service.on_media(SfuSpeaker("blue", ids["ben"])))
    page.until("(id) => lab.runs.ann.mesh.room.speaker === id", ids["ben"])


def test_a_network_that_changes_and_a_connection_that_fails_are_replaced(page: LabPage, lab: SignalLab) -> None:
    three(page)
    page.run(
        """() => {
          const {sfu} = lab.runs.ann.mesh;
          lab.old = [sfu.sending, sfu.pc];
          lab.shown = [];
          sfu.addEventListener('tracks', () => lab.shown.push(sfu.pc.connectionState));
        }"""
    )
    page.run("() => lab.runs.ann.signal.dispatchEvent(new CustomEvent('network'))")
    page.until(
        """() => {
          const {sfu} = lab.runs.ann.mesh;
          const now = [sfu.sending, sfu.pc];
          return sfu.state === 'connected' && now.every((pc, index) => pc && pc !== lab.old[index])
            && lab.old.every((pc) => pc.connectionState === 'closed');
        }"""
    )
    shown = page.run("() => lab.shown")
    assert {"new", "connecting"}.isdisjoint(shown), "the one before is shown until the next one stands"
    page.run("() => { for (const each of Object.values(lab.runs.ann.screens)) each.began = null; }")
    routed(page, "sfu", "ann", "ben", "cat")
