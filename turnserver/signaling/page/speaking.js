/**
 * Who speaks just now, oneself included, ten times a second; and whether one speaks while muted.
 *
 * The level of the others is what their packets say (RFC 6464), or what `getStats` has found where they do not. One's own is
 * measured on a copy of the microphone's track: the track itself is silent while it is muted. The copy is sent to nobody, it ends
 * with the track, and with `listens` off it is as silent as the track.
 */

import {Meter} from './meter.js';

const EVERY = 100; // ms
const LOUD = 0.02; // RMS
const HOLD = 5; // ticks for which a frame stays after the last loud one: between two words
const STALE = 5; // ticks without a packet after which nothing is heard
const SHARE = {loud: 4, of: 10}; // ticks, for somebody to count as speaking while muted: no cough, no key
const AGAIN = 20_000; // ms until it is said again

export class Speaking {
  /**
   * @param {object} parts
   * @param {import('./mesh.js').Mesh} parts.mesh @param {import('./devices.js').Devices} parts.devices
   * @param {import('./stats.js').StatsMonitor} parts.stats
   * @param {(key: string) => HTMLElement | undefined} parts.tile 'self', or the id of a peer
   * @param {() => void} parts.muted one speaks, and nobody hears it
   */
  constructor({mesh, devices, stats, tile, muted}) {
    Object.assign(this, {mesh, devices, stats, tile, muted});
    /** Whether the microphone is listened to while it is muted. */
    this.listens = true;
    this.timer = null;
    this.meter = null;
    this.heard = new WeakMap(); // by receiver: the last packet, and how many ticks ago it came
    this.frames = new Map(); // by key: ticks that the frame still stays
    this.lately = [];
    this.saidAt = -Infinity;
    devices.addEventListener('renew', () => this.#let());
  }

  /** Begin. */
  start() {
    this.timer ??= setInterval(() => this.#tick(), EVERY);
  }

  /** Let go of the microphone, too. */
  stop() {
    clearInterval(this.timer);
    this.timer = null;
    this.frames.clear();
    this.#let();
  }

  #tick() {
    for (const peer of this.mesh.peers.values()) this.#show(peer.id, peer.info.media?.a ? this.#levelOf(peer) : 0);
    const on = this.devices.microphoneOn;
    const level = this.#own(on);
    this.#show('self', on ? level : 0);
    this.#notice(on, level);
  }

  /** Only an attribute, and only when it changes: it is painted, and nothing is laid out anew. */
  #show(key, level) {
    const left = level > LOUD ? HOLD : (this.frames.get(key) ?? 0) - 1;
    this.frames.set(key, left);
    this.tile(key)?.toggleAttribute('data-speaking', left > 0);
  }

  #levelOf(peer) {
    const [track] = peer.streams.camera.getAudioTracks();
    const receiver = track && peer.pc?.getReceivers().find((each) => each.track === track);
    const [source] = receiver?.getSynchronizationSources?.() ?? [];
    if (source === undefined) return 0;
    const before = this.heard.get(receiver);
    const age = before?.timestamp === source.timestamp ? before.age + 1 : 0;
    this.heard.set(receiver, {timestamp: source.timestamp, age});
    if (age > STALE) return 0;
    return source.audioLevel ?? this.stats.latest.get(peer.id)?.audioLevel ?? 0;
  }

  #own(on) {
    const {audio} = this.devices;
    if (audio !== this.track) this.#let();
    if (this.meter === null && audio?.readyState === 'live') {
      this.track = audio;
      this.meter = new Meter(audio.clone());
    }
    if (this.meter === null) return 0;
    this.meter.track.enabled = on || this.listens;
    return this.meter.level();
  }

  #notice(on, level) {
    if (on) {
      this.lately = [];
      return;
    }
    this.lately.push(level > LOUD * 2);
    if (this.lately.length <= SHARE.of) return; // what was being said when it was muted does not count
    this.lately.shift();
    const now = performance.now();
    if (this.lately.filter(Boolean).length < SHARE.loud || now - this.saidAt < AGAIN) return;
    this.saidAt = now;
    this.muted();
  }

  #let() {
    this.meter?.track.stop();
    this.meter?.close();
    this.meter = null;
    this.track = null;
  }
}
