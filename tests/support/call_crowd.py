"""Many call pages in one browser that a weak machine bears; and how long their pictures and sound stood still.

Pages are as small as they can be, and what is sent as sound is a tone: Chromium's own is a short beep, between two of
which nobody could tell silence from a loss.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from tests.support.call_page import CallPage, call_page

if TYPE_CHECKING:
    from playwright.sync_api import Browser

__all__ = [
    "Stood",
    "crowd_page",
    "moving",
    "routed",
    "seen",
    "stood",
    "watch",
]

TONE = """
(() => {
  globalThis.pcs = [];
  globalThis.RTCPeerConnection = class extends RTCPeerConnection {
    constructor(...rest) { super(...rest); pcs.push(this); }
  };
  const plain = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  navigator.mediaDevices.getUserMedia = async (wanted) => {
    const stream = await plain(wanted);
    if (!wanted.audio) return stream;
    const context = new AudioContext();
    const [sound, gain] = [new OscillatorNode(context), new GainNode(context, {gain: 0.2})];
    const out = context.createMediaStreamDestination();
    sound.connect(gain).connect(out);
    sound.start();
    globalThis.tone = gain.gain;
    for (const track of stream.getAudioTracks()) {
      stream.removeTrack(track);
      track.stop();
    }
    stream.addTrack(out.stream.getAudioTracks()[0]);
    return stream;
  };
})();
"""
"""Puts a tone in the place of the microphone, whose volume is `tone`, and keeps all connections in `pcs`."""

MEASURE = """
() => {
  if (globalThis.stood) return;
  const people = {};
  const fresh = (now) => ({picture: 0, late: 0, sound: 0, frames: 0, at: now});
  let last = performance.now();
  let late = 0;
  const watch = (id, video) => {
    const one = people[id] = {...fresh(performance.now()), lateAt: late};
    const next = () => {
      const now = performance.now();
      const gap = now - one.at;
      if (gap > one.picture) Object.assign(one, {picture: gap, late: late - one.lateAt});
      Object.assign(one, {at: now, lateAt: late, frames: one.frames + 1});
      video.requestVideoFrameCallback(next);
    };
    video.requestVideoFrameCallback(next);
  };
  const look = () => {
    for (const tile of document.querySelectorAll('.tile[data-kind=peer]')) {
      if (!people[tile.dataset.peer]) watch(tile.dataset.peer, tile.querySelector('video'));
    }
  };
  new MutationObserver(look).observe(document.getElementById('grid'), {childList: true});
  look();
  const listen = () => {
    const open = pcs.filter(({connectionState}) => connectionState !== 'closed');
    const receivers = open.flatMap((pc) => pc.getReceivers());
    for (const [id, one] of Object.entries(people)) {
      const track = meshturn.mesh.peers.get(id)?.streams.camera?.getAudioTracks()[0];
      const [source] = receivers.find((each) => each.track === track)?.getSynchronizationSources() ?? [];
      if (!source) continue;
      one.heard = Math.max(one.heard ?? 0, source.timestamp);
      one.sound = Math.max(one.sound, performance.timeOrigin + performance.now() - one.heard);
    }
  };
  setInterval(() => {
    const now = performance.now();
    late += Math.max(0, now - last - 100);
    last = now;
    listen();
  }, 100);
  globalThis.stood = () => {
    const now = performance.now();
    const found = {};
    for (const [id, one] of Object.entries(people)) {
      if (!meshturn.mesh.peers.has(id)) continue;
      if (now - one.at > one.picture) Object.assign(one, {picture: now - one.at, late: late - one.lateAt});
      found[id] = {picture: one.picture, late: one.late, sound: one.sound, frames: one.frames};
      Object.assign(one, {picture: 0, late: 0, sound: 0, frames: 0});
    }
    return found;
  };
}
"""
"""How long each picture stood, and for how long nothing of each one's sound arrived, since the last `stood()`.

`late` is how long this page's own timers were late within the longest gap of a picture: that is the machine's. Sound
that arrives is told by when its last packet was played, and not by when this page looks.
"""


class Stood(NamedTuple):
    """Of one participant, as another one has it: milliseconds, and the number of frames that were shown."""

    picture: float
    late: float
    sound: float
    frames: int


@contextmanager
def crowd_page(browser: "Browser") -> "Iterator[CallPage]":
    """A small page with a tone."""
    with call_page(browser, viewport={"width": 480, "height": 320}) as page:
        page.page.add_init_script(TONE)
        yield page


def routed(page: CallPage, count: int, mode: str) -> None:
    """Wait until a page shows so many others, connected in that mode, and the change to it is complete."""
    page.connected(count)
    page.until("(mode) => meshturn.mesh.room.mode === mode && !meshturn.mesh.room.changing", mode)


def moving(page: CallPage) -> None:
    """Wait until all pictures of the others move."""
    for key in page.page.evaluate("() => [...meshturn.mesh.peers.keys()]"):
        page.frames(5, f".tile[data-peer='{key}'] video")


def seen(page: CallPage, count: int, mode: str) -> None:
    """Wait until a page shows so many others, in that mode, and all of their pictures move."""
    routed(page, count, mode)
    moving(page)


def watch(page: CallPage) -> None:
    """Begin to measure how long pictures and sound stand still."""
    page.page.evaluate(MEASURE)


def stood(page: CallPage) -> dict[str, Stood]:
    """What was measured since the last call, by the ids of those who are there."""
    found = page.page.evaluate("() => stood()")
    return {key: Stood(**{each: value[each] for each in Stood._fields}) for key, value in found.items()}
