/** How the call adapts to the connections of those who are in it, and what they are told about that. */

import {announce} from './dom.js';
import {text} from './texts.js';
import {Arrivals, Estimate, Mode, blame, counters, divide, shownWidth, widthClass, wish} from './uplink.js';

const LATE = 1600; // ms between two rounds, which come each second, that mean that the machine is too busy
const LATE_HIDDEN = 3500; // the same where browsers slow timers down
const APART = 640; // pixels: a window of its own is at least that wide

export class Quality {
  #mesh; #stats; #devices; #estimate = new Estimate(); #mode = new Mode(); #arrivals = new Arrivals(); #limits = new Map(); #told = new Map(); #marks = null; #at = -Infinity;

  /**
   * @param {import('./mesh.js').Mesh} mesh @param {import('./stats.js').StatsMonitor} stats
   * @param {import('./devices.js').Devices} devices
   */
  constructor(mesh, stats, devices) {
    this.#mesh = mesh;
    this.#stats = stats;
    this.#devices = devices;
  }

  /** The call is over: what was learned about the uplink is of no use for another one. */
  end() {
    this.#estimate = new Estimate();
    this.#mode = new Mode();
    this.#arrivals = new Arrivals();
    this.#limits.clear();
    this.#told.clear();
    this.#marks = null;
  }

  /** For support and tests. */
  get state() {
    const {capacity, budget, queue, loss, rate} = this.#estimate;
    const {name: mode, trial} = this.#mode;
    return {mode, trial, capacity, budget, queue, loss, rate, limits: Object.fromEntries(this.#limits)};
  }

  /** After each round of statistics. @param {Map<string, HTMLElement>} tiles by key @param {number} [now] ms */
  round(tiles, now = performance.now()) {
    const everybody = [...this.#mesh.peers.values()];
    const peers = everybody.filter(({way}) => way === 'mesh'); // what goes to an SFU is one stream, which the browser adapts
    if (peers.length === 0 && everybody.length > 0) this.end();
    const counted = new Map();
    for (const {id, state} of peers) {
      const raw = this.#stats.raw.get(id);
      if (raw && state === 'connected') counted.set(id, counters(raw.reports, raw.pair));
    }
    const since = now - this.#at;
    this.#at = now;
    const busy = since > (document.hidden ? LATE_HIDDEN : LATE);
    if (busy) this.#estimate.skip(now, counted);
    else if (peers.length === everybody.length) this.#learn(now, counted, peers);
    this.#limits = this.#divide(peers, this.#estimate.budget, this.#mode.name, this.#mode.trial);
    for (const peer of peers) this.#apply(peer);
    for (const id of this.#told.keys()) if (!this.#mesh.peers.has(id)) this.#told.delete(id);
    this.#tell(everybody, tiles, busy);
  }

  #learn(now, counted, peers) {
    const before = this.#mode.name;
    const wanted = wish(this.#divide(peers, Infinity, 'good', 0), this.#mesh.quality);
    this.#estimate.step(now, counted, wanted);
    if (this.#mode.step(now, this.#estimate, peers.length)) this.#say(before);
  }

  #divide(peers, budget, mode, trial) {
    const you = this.#mesh.you?.id;
    return divide({
      budget,
      mode,
      trial,
      peers: peers.map((peer) => ({id: peer.id, width: shownWidth(peer.info.meta, you), paused: peer.paused, packetTime: peer.packetTime, before: this.#limits.get(peer.id)})),
      screen: this.#devices.screen !== null,
      quality: this.#mesh.quality,
    });
  }

  #apply(peer) {
    const limits = this.#limits.get(peer.id);
    const now = JSON.stringify(limits);
    const told = this.#told.get(peer.id);
    if (told?.peer === peer && told.now === now) return;
    this.#told.set(peer.id, {peer, now});
    peer.setLimits(limits);
  }

  /** What the others have to know: how large we show them, and how our own connection does. */
  #tell(peers, tiles, busy) {
    const you = this.#mesh.you?.id;
    const connected = peers.filter(({state}) => state === 'connected');
    const bad = this.#arrivals.step(new Map(connected.map(({id}) => [id, busy ? {} : this.#stats.latest.get(id) ?? {}])));
    const mode = this.#mode.name;
    this.#marks = blame(you, mode, bad, peers.map(({id, info}) => ({id, link: info.meta?.link})));
    const link = {...(mode === 'good' ? {} : {up: mode}), ...(bad.length > 0 ? {bad} : {})};
    this.#mesh.setLink(Object.keys(link).length > 0 ? link : null);
    const shown = peers.filter(({id}) => tiles.has(id)).map(({id}) => [id, widthClass(pixels(tiles.get(id)))]);
    this.#mesh.setShown(Object.fromEntries(shown));
  }

  #say(before) {
    const {name} = this.#mode;
    const sends = this.#devices.cameraOn || this.#devices.screen !== null;
    if (name === 'sound') {
      announce(text(sends ? 'quality.paused' : 'quality.sound_only'));
    } else if (before === 'sound') {
      announce(text(sends ? 'quality.resumed' : 'quality.better'));
    }
  }

  /** How our own uplink does, in words. */
  get text() {
    const {capacity} = this.#estimate;
    if (!Number.isFinite(capacity)) return text('quality.no_limit');
    const rate = Math.round(capacity / 1000);
    return text(this.#mode.name === 'sound' ? 'quality.limit_sound' : 'quality.limit', {rate});
  }

  /** What is sent to one of the others, at most. @param {string} id @returns {import('./uplink.js').Limits|undefined} */
  limitsOf(id) {
    return this.#limits.get(id);
  }

  /**
   * What a tile shows of this, for `TileView`.
   * @param {string} [id] of a peer; one's own tile without it @param {string} [name] @returns {{bars: number, linkText: string, soundOnly: boolean}}
   */
  view(id, name) {
    if (id === undefined) {
      const bars = this.#marks?.you ?? 0;
      const soundOnly = this.#mode.name === 'sound';
      return {bars, linkText: bars === 0 ? '' : text(soundOnly ? 'quality.yours_sound' : 'quality.yours'), soundOnly: false};
    }
    const mark = this.#marks?.peers.get(id);
    if (!mark) return {bars: 0, linkText: '', soundOnly: false};
    const key = mark.sound ? 'quality.theirs_sound' : mark.whose === 'theirs' ? 'quality.theirs' : 'quality.between';
    return {bars: mark.bars, linkText: text(key, {name}), soundOnly: mark.sound};
  }
}

/** How many pixels wide a picture has to be to fill a tile. */
function pixels(tile) {
  const wide = Math.max(tile.offsetWidth, (tile.offsetHeight * 4) / 3);
  const apart = document.pictureInPictureElement === tile.querySelector('video') ? APART : 0;
  return Math.max(wide, apart) * Math.min(2, globalThis.devicePixelRatio || 1);
}
