"""Many call pages in one browser that a weak machine bears; and how long their pictures and sound stood still.

Pages are as small as they can be, and what is sent as sound is a tone: Chromium's own is a short beep, between two of
which nobody could tell silence from a loss.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bench import procfs
from tests.support.call_page import CallPage, call_page
from tests.support.process import wait_until

if TYPE_CHECKING:
    from playwright.sync_api import Browser

__all__ = [
    "Alone",
    "Stood",
    "crowd_page",
    "moving",
    "open_connections",
    "routed",
    "seen",
    "stood",
    "udp_ports",
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

PATIENCE = 180.0
"""Seconds until a page is where it should be. Five others who load and join at once take a small machine a while."""

ROUTED = """([count, mode]) => {
  const tiles = [...document.querySelectorAll('[data-testid=tile]')];
  const {room} = meshturn.mesh;
  return tiles.length === count && tiles.every(({dataset}) => dataset.state === 'connected')
    && room.mode === mode && !room.changing;
}"""

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
    wait_until(lambda: bool(page.page.evaluate(ROUTED, [count, mode])), f"{count} others by {mode}", PATIENCE)


def moving(page: CallPage) -> None:
    """Wait until all pictures of the others move."""
    for key in page.page.evaluate("() => [...meshturn.mesh.peers.keys()]"):
        page.frames(5, f".tile[data-peer='{key}'] video")


def seen(page: CallPage, count: int, mode: str) -> None:
    """Wait until a page shows so many others, in that mode, and all of their pictures move."""
    routed(page, count, mode)
    moving(page)


def open_connections(page: CallPage) -> int:
    """How many peer connections the page has."""
    return int(page.page.evaluate("() => pcs.filter(({connectionState}) => connectionState !== 'closed').length"))


def udp_ports(pid: int) -> set[int]:
    """The UDP ports that a process has bound, in its network namespace."""
    held = set()
    for each in Path(f"/proc/{pid}/fd").iterdir():
        try:
            held.add(os.readlink(each))
        except OSError:
            continue
    rows = [line.split() for line in Path(f"/proc/{pid}/net/udp").read_text().splitlines()[1:]]
    return {int(row[1].split(":")[1], 16) for row in rows if f"socket:[{row[9]}]" in held}


def watch(page: CallPage) -> None:
    """Begin to measure how long pictures and sound stand still."""
    page.page.evaluate(MEASURE)


def stood(page: CallPage) -> dict[str, Stood]:
    """What was measured since the last call, by the ids of those who are there."""
    found = page.page.evaluate("() => stood()")
    return {key: Stood(**{each: value[each] for each in Stood._fields}) for key, value in found.items()}


class Alone:
    """Whether what is measured has the machine to itself: what others have used of it, until `end`."""

    MOST = 0.1
    """Share of all cores that others may use. More, and what stands still may do so because of them."""

    def __init__(self) -> None:
        self._began = self._look()
        self.others = 0.0

    @staticmethod
    def _look() -> tuple[float, float]:
        """Seconds, and CPU seconds of others on all cores."""
        return time.monotonic(), procfs.core_times(None).busy - procfs.cpu_seconds(os.getpid())

    def end(self) -> bool:
        """Whether it was alone; ``others`` says how much they used."""
        now, used = self._look()
        began, before = self._began
        self.others = max(0.0, used - before) / (now - began) / (os.cpu_count() or 1)
        return self.others < self.MOST
