"""JavaScript that tests run in call pages, by way of what ``app.js`` shows as ``globalThis.meshturn``."""

import json
from typing import Any

__all__ = [
    "CONNECTED",
    "DEAF",
    "EXPIRY",
    "FLOWING",
    "FRAGMENTS",
    "FRAMES_DECODED",
    "LISTEN_FOR_DATA",
    "LONGEST_GAP",
    "LOUDEST_TONE",
    "MORE_FRAMES_DECODED",
    "RESTART_AT",
    "SETTLED",
    "SHOWS_PATH",
    "STATE",
    "WATCH",
    "read_frame",
]

LATE = 1000
"""Milliseconds between two pictures that are no longer one after the other."""


def read_frame(frame: str | bytes) -> dict[str, Any]:
    """A frame of the signaling socket, which has to be text."""
    assert isinstance(frame, str), "a binary frame"
    message: dict[str, Any] = json.loads(frame)
    return message


CONNECTED = """
(count) => {
  const tiles = [...document.querySelectorAll('[data-testid=tile]')];
  return tiles.length === count && tiles.every((tile) => tile.dataset.state === 'connected');
}
"""

DEAF = """
for (const name of ['online', 'offline']) addEventListener(name, (event) => event.stopImmediatePropagation(), true);
"""
"""For ``add_init_script``: the page's own listeners come later, and hear nothing of the network."""

_DECODED = """
const decoded = async (peer) => {
  let frames = 0;
  for (const report of (await meshturn.mesh.peers.get(peer).pc.getStats()).values()) {
    if (report.type === 'inbound-rtp' && report.kind === 'video') frames += report.framesDecoded ?? 0;
  }
  return frames;
};
"""
FRAMES_DECODED = f"async (peer) => {{ {_DECODED} return decoded(peer); }}"
MORE_FRAMES_DECODED = f"async ({{peer, more}}) => {{ {_DECODED} return (await decoded(peer)) >= more; }}"

LOUDEST_TONE = """
async (peer) => {
  const context = globalThis.testContext ??= new AudioContext();
  const analysers = globalThis.testAnalysers ??= new Map();
  const track = meshturn.mesh.peers.get(peer).streams.camera?.getAudioTracks()[0];
  if (!track) return {frequency: 0, level: -Infinity};
  if (!analysers.has(track.id)) {
    const analyser = new AnalyserNode(context, {fftSize: 16384, smoothingTimeConstant: 0});
    context.createMediaStreamSource(new MediaStream([track])).connect(analyser);
    analysers.set(track.id, analyser);
  }
  const analyser = analysers.get(track.id);
  const levels = new Float32Array(analyser.frequencyBinCount);
  analyser.getFloatFrequencyData(levels);
  const loudest = levels.indexOf(Math.max(...levels));
  const level = Number.isFinite(levels[loudest]) ? levels[loudest] : -1000;
  return {frequency: loudest * context.sampleRate / analyser.fftSize, level};
}
"""

SHOWS_PATH = """
({peer, path}) => document.querySelector(`[data-testid=tile][data-peer="${peer}"]`)?.dataset.path === path
"""

WATCH = """
() => {
  const times = globalThis.testPictures = [];
  const watched = new Map();
  const ask = (video) => {
    const shown = () => {
      times.push(performance.now());
      ask(video);
    };
    watched.set(video, {asked: performance.now(), handle: video.requestVideoFrameCallback(shown)});
  };
  setInterval(() => {
    for (const video of document.querySelectorAll('[data-testid=tile] video')) {
      const {asked, handle} = watched.get(video) ?? {asked: -Infinity};
      // An element that has begun to show something else may have forgotten who has asked.
      if (performance.now() - asked < 250) continue;
      if (handle !== undefined) video.cancelVideoFrameCallback(handle);
      ask(video);
    }
  }, 50);
}
"""

FLOWING = f"""
({{since, frames}}) => {{
  const times = testPictures.filter((time) => time > since).slice(-frames);
  if (times.length < frames || performance.now() - times.at(-1) > {LATE}) return false;
  return times.every((time, index) => index === 0 || time - times[index - 1] < {LATE});
}}
"""

LONGEST_GAP = """
(since) => {
  const before = testPictures.filter((time) => time <= since).slice(-1);
  const times = [...before, ...testPictures.filter((time) => time > since)];
  return Math.max(...times.slice(1).map((time, index) => time - times[index]));
}
"""

STATE = """
() => {
  const {mesh, signal, diagnostics} = globalThis.meshturn ?? {};
  const peers = [...(mesh?.peers.values() ?? [])].map((peer) => ({
    id: peer.id, state: peer.state, pc: peer.pc?.connectionState, ice: peer.pc?.iceConnectionState,
    gathering: peer.pc?.iceGatheringState, signaling: peer.pc?.signalingState,
  }));
  const tiles = [...document.querySelectorAll('[data-testid=tile]')].map((tile) => tile.innerText.trim());
  const text = document.body.innerText.slice(0, 300);
  const log = diagnostics?.lines?.slice(-30);
  return JSON.stringify({signal: signal?.state, you: mesh?.you, peers, tiles, text, log});
}
"""

FRAGMENTS = """
(peer) => {
  const {localDescription, remoteDescription} = meshturn.mesh.peers.get(peer).pc;
  return [localDescription, remoteDescription].map((found) => /a=ice-ufrag:(\\S+)/.exec(found?.sdp)?.[1] ?? null);
}
"""

EXPIRY = "() => meshturn.mesh.ice.exp"

RESTART_AT = """
({peer, at}) => { setTimeout(() => meshturn.mesh.restart(peer, 'user'), at - Date.now()); }
"""

SETTLED = """
() => [...meshturn.mesh.peers.values()].every(({pc, state}) => state === 'connected' && pc.signalingState === 'stable')
"""

LISTEN_FOR_DATA = """
(peer) => {
  globalThis.testData = [];
  meshturn.mesh.peers.get(peer).addEventListener('data', ({detail}) => testData.push(detail.data));
}
"""
