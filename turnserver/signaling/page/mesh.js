/**
 * Everything of one room: a `Peer` for each of the others, and what all of them share (tracks, credentials, quality).
 *
 * Some keys of `meta` are used here: `screen` is the id of the stream that is the shared screen, `hide` names those whose
 * picture is not looked at just now, who can spare themselves the sending, and `show` says how large those of the others are
 * shown; `link` is what one has to say of one's own connection; and after a lost session `was` says who one was.
 */

import {PeerMeter} from './stats.js';

/** `Ways`, whose modules are loaded with the first `join()`: a lobby needs none of them. */
let Ways = null;

const STAT_EVERY = 10_000; // ms
const LINGER = 30_000; // ms that the media of a lost session go on without having been recognized in the new one
const REJOIN_EVERY = 3000; // ms between attempts while the room is full with our own earlier self
const CLAIM = 1000; // ms after a reload within which the page has to join again what the session is still in
const META_DELAY = 100; // ms

/** What to send of a picture, by the number of people in the room. */
export const QUALITY = Object.freeze({
  2: Object.freeze({height: 720, maxBitrate: 1_500_000, screenBitrate: 2_500_000}),
  3: Object.freeze({height: 480, maxBitrate: 700_000, screenBitrate: 1_500_000}),
  4: Object.freeze({height: 360, maxBitrate: 400_000, screenBitrate: 1_000_000}),
});

/**
 * One room.
 *
 * Events: `joined` (in, also after a knock or anew after a lost session); `peers` (somebody came or went); `peer` `{peer}`
 * (something of one has changed); `room`; `ice` `{ice, why}`; `paths`; `message` `{from, data, to?}`; `data` `{peer, data}`;
 * `mute` `{from, what}` (a host asks); `knock` `{id, name, gone?}`; `gap` `{peer, gap}`; `verdict` `{peer, verdict, text, case, tried}`;
 * `speaker` `{id}` (who speaks, as the SFU hears it; null for nobody); `sfu` (the connections with the SFU do differently);
 * `ended` `{code, msg}` (no longer in the room, and not by `leave()`).
 */
export class Mesh extends EventTarget {
  #signal; #Pc; #quality; #timing; #later; #never; #tracks = new Map(); #home = new MediaStream(); #hidden = new Set(); #shown = {}; #link = null; #ways = null; #choice = null;
  #wanted = null; #meta = {}; #screen = null; #was = null; #at = 0; #fresh = false; #joining = 0; #lingering = new Map();
  #metaTimer = null; #statTimer = null; #retryTimer = null; #rejoinUntil = 0; #meters = new WeakMap();

  /**
   * @param {import('./signal.js').Signal} signal
   * @param {object} [options]
   * @param {typeof RTCPeerConnection} [options.RTCPeerConnection]
   * @param {Record<number, object>} [options.quality] see `QUALITY`; the largest entry holds for more people, too
   * @param {object} [options.timing] see `recovery.js`
   * @param {typeof setTimeout} [options.setTimeout] @param {typeof clearTimeout} [options.clearTimeout]
   */
  constructor(signal, {
    RTCPeerConnection: Pc = globalThis.RTCPeerConnection, quality = QUALITY, timing, setTimeout: later = globalThis.setTimeout,
    clearTimeout: never = globalThis.clearTimeout,
  } = {}) {
    super();
    this.#signal = signal;
    this.#Pc = Pc;
    this.#quality = quality;
    this.#timing = timing;
    this.#later = (call, delay) => later(call, delay);
    this.#never = (timer) => never(timer);
    /** The others, by id. @type {Map<string, Peer>} */
    this.peers = new Map();
    /** `{id, max, mode, epoch, changing, unready, why, locked, speaker}` of the room; null outside. */
    this.room = null;
    /** `{id, role, name, caps, media}` of this participant; null outside. */
    this.you = null;
    /** ICE servers and credentials in use. */
    this.ice = null;
    /** What the server's own tables say of the path to each peer. */
    this.serverPaths = new Map();
    this.#hear();
  }

  /** The session underneath. */
  get signal() { return this.#signal; }

  /**
   * Go into a room.
   * @param {string} room @param {{name?: string, meta?: object, media?: {a: 0|1, v: 0|1, s: 0|1}}} [as]
   * @returns {Promise<object>} `joined`; rejects with `SignalError`. After `waiting` the event `joined` may still come
   */
  async join(room, {name = '', meta = {}, media = {a: 1, v: 1, s: 0}} = {}) {
    this.#meta = meta;
    const wanted = {room, name: plainName(name, this.#signal.limits?.name), media: {...media}};
    this.#wanted = wanted;
    if (this.#signal.room && this.#signal.room !== room) await this.#signal.request('leave').catch(() => {});
    try {
      Ways ??= (await import('./ways.js')).Ways;
      this.#ways ??= this.#makeWays();
      if (this.#wanted !== wanted) throw Object.assign(new Error('Left, or asked for anew, meanwhile.'), {code: 'closed'});
      return await this.#ask();
    } catch (error) {
      if (error.code !== 'waiting' && this.#wanted === wanted) this.#wanted = null;
      throw error;
    }
  }

  /** Out of the room; all connections end. */
  leave() {
    const inside = this.room !== null || this.#wanted !== null;
    this.#clear();
    if (inside && this.#signal.state !== 'closed') this.#signal.request('leave').catch(() => {});
  }

  /**
   * Send something else to all from now on: null for nothing. No negotiation, but for a screen that comes or goes.
   * `screenAudio` is the sound of the screen, in the same stream.
   * @param {'audio'|'video'|'screen'|'screenAudio'} kind @param {MediaStreamTrack|null} track @param {MediaStream} [stream]
   */
  setTrack(kind, track, stream) {
    if (kind === 'screen') {
      if (track && !stream) stream = new MediaStream([track]);
      if (track && !track.contentHint) track.contentHint = 'detail';
      this.#screen = track ? stream.id : null;
    }
    this.#tracks.set(kind, {track, stream});
    for (const peer of this.#meshed) peer.setTrack(kind, track, stream);
    this.sfu?.setTrack(kind);
    if (kind === 'screen') this.#tellMeta(0);
  }

  /** Tell the others what is on. @param {{a?: 0|1, v?: 0|1, s?: 0|1}} media */
  setMedia(media) {
    if (!this.#wanted) return;
    Object.assign(this.#wanted.media, media);
    if (this.room) this.#signal.send('update', {media: {...this.#wanted.media}});
  }

  /** Tell the others another name. @param {string} name */
  rename(name) {
    if (!this.#wanted) return;
    this.#wanted.name = plainName(name, this.#signal.limits?.name);
    if (this.room) this.#signal.send('update', {name: this.#wanted.name});
  }

  /** Tell the others something of your own. @param {object} meta at most 2 KiB; `screen`, `hide`, `show`, `link` and `was` are taken */
  setMeta(meta) {
    this.#meta = meta;
    this.#tellMeta(0);
  }

  /** The same, key by key: null takes one away, and what is not named stays. @param {object} change */
  patchMeta(change) {
    const meta = {...this.#meta, ...change};
    for (const [key, value] of Object.entries(change)) if (value === null) delete meta[key];
    this.setMeta(meta);
  }

  /** A message by way of the server. @param {*} data JSON, at most 4 KiB @param {string} [to] one peer; all without it */
  message(data, to) {
    this.#signal.send('msg', to === undefined ? {data} : {data, to});
  }

  /**
   * As a host: `kick`, `ban`, `mute` (value `audio`, `video` or `screen`; without `to` all others), `lock` (value `closed` or `knock`), `unlock`,
   * `cap` (value: a number), `admit`, `host` and `member` (another one's role; `member` without `to` one's own), `spotlight` (value `camera` or `screen`; without `to` nobody), `record` (value `start` or `stop`: at the server), `close`.
   * @param {string} op @param {{to?: string, value?: string|number, reason?: string}} [fields]
   * @returns {Promise<object>} rejects with `SignalError`
   */
  moderate(op, fields = {}) {
    return this.#signal.request('mod', {op, ...fields});
  }

  /**
   * As a host: a member's token for others. @param {{ttl?: number, uses?: number}} [fields] seconds, and sessions
   * @returns {Promise<{token: string, exp: number, uses: number}>} rejects with `SignalError`
   */
  invite(fields = {}) {
    return this.#signal.request('invite', fields);
  }

  /** The connections with the server's SFU; null in a mesh. @type {import('./sfu.js').Sfu|null} */
  get sfu() { return this.#ways?.sfu ?? null; }

  /** What to receive of the SFU, see `Sfu.choose`; kept for the next one. @param {object} choice */
  choose(choice) {
    this.#choice = choice;
    this.sfu?.choose(choice);
  }

  get #meshed() { return this.#ways?.meshed ?? []; }

  /** Say whether the picture of a peer is looked at; it stops sending one that is not. @param {string} id @param {boolean} hidden */
  setHidden(id, hidden) {
    if (hidden === this.#hidden.has(id)) return;
    if (hidden) this.#hidden.add(id);
    else this.#hidden.delete(id);
    this.#tellShown(hidden ? META_DELAY * 5 : META_DELAY);
  }

  /** Say how wide the pictures of the others are shown here, in pixels: they do not send larger ones. @param {Record<string, number>} shown by id */
  setShown(shown) {
    if (JSON.stringify(shown) === JSON.stringify(this.#shown)) return;
    this.#shown = shown;
    this.#tellShown(META_DELAY * 3);
  }

  /** The SFU is told by `choose`, and then the others need not know. */
  #tellShown(delay) {
    if (this.room?.mode !== 'sfu') this.#tellMeta(delay);
  }

  /** Tell the others how our connection does. @param {{up?: string, bad?: string[]}|null} link */
  setLink(link) {
    if (JSON.stringify(link) === JSON.stringify(this.#link)) return;
    this.#link = link;
    this.#tellMeta(META_DELAY);
  }

  /** Look for paths anew. @param {string} [id] one peer; all without it @param {'online'|'disconnected'|'failed'|'user'} [why] */
  restart(id, why = 'user') {
    if (id === undefined) this.sfu?.restart();
    for (const peer of id === undefined ? this.#meshed : [this.peers.get(id)]) peer?.restart(why);
  }

  // ---- what the server says

  #hear() {
    const on = (type, call) => this.#signal.addEventListener(type, ({detail}) => call(detail));
    const news = (type, call) => on(type, (frame) => {
      if (this.room && !(frame.seq <= this.#at)) call(frame); // else the snapshot had it already
    });
    on('joined', (frame) => this.#entered(frame));
    on('sync', (frame) => this.#entered(frame, Boolean(frame.lost)));
    news('peer_join', ({peer}) => this.#came(peer));
    news('peer_leave', ({id}) => this.#left(id));
    news('peer_gap', ({id}) => this.#gap(id, true));
    news('peer_back', ({id}) => this.#gap(id, false));
    news('peer_update', ({t, seq, id, ...change}) => this.#updated(id, change));
    news('room_update', ({t, seq, ...change}) => {
      const {mode} = this.room;
      this.room = {...this.room, spotlight: undefined, changing: undefined, unready: undefined, why: undefined, recording: undefined, unrecorded: undefined, ...change};
      this.#ways.follow(this.room);
      if (this.room.mode !== mode) this.#tellShown(META_DELAY);
      this.#emit('room', {room: this.room});
    });
    for (const type of ['desc', 'cand', 'reset', 'restart', 'layers']) on(type, (frame) => this.#ways?.receive(frame));
    news('speaker', ({peer = null}) => {
      this.room = {...this.room, speaker: peer ?? undefined};
      this.#emit('speaker', {id: peer});
    });
    on('ice', ({ice, why}) => this.#freshIce(ice, why));
    on('paths', ({list}) => this.#paths(list));
    on('msg', ({from, data, to}) => this.#emit('message', {from, data, to}));
    on('mute', ({from, what}) => this.#emit('mute', {from, what}));
    on('role', ({role}) => {
      if (this.you === null) return;
      this.you = {...this.you, role};
      this.#emit('room', {room: this.room});
    });
    on('knock', ({id, name, gone}) => this.#emit('knock', {id, name, gone}));
    on('draining', ({until}) => this.#emit('draining', {until}));
    on('network', () => this.restart(undefined, 'online'));
    on('restarted', () => this.#anew());
    on('resumed', () => this.#resumed());
    on('gone', ({code, msg}) => this.#ended(code, msg));
  }

  async #ask() {
    const {room, name, media} = this.#wanted;
    this.#joining += 1;
    try {
      const mode = this.#signal.features?.includes('sfu') ? {mode: 'auto'} : {};
      return await this.#signal.request('join', {room, name, meta: this.#wholeMeta(), media, ...mode});
    } finally {
      this.#joining -= 1;
    }
  }

  #wholeMeta() {
    const meta = {...this.#meta};
    if (this.#screen) meta.screen = this.#screen;
    const tells = this.room?.mode !== 'sfu';
    if (tells && this.#hidden.size > 0) meta.hide = [...this.#hidden];
    if (tells && Object.keys(this.#shown).length > 0) meta.show = this.#shown;
    if (this.#link) meta.link = this.#link;
    if (this.#was) meta.was = this.#was;
    return meta;
  }

  #tellMeta(delay) {
    this.#never(this.#metaTimer);
    this.#metaTimer = null;
    const tell = () => {
      if (this.room) this.#signal.send('update', {meta: this.#wholeMeta()});
    };
    if (delay === 0) tell();
    else this.#metaTimer = this.#later(tell, delay);
  }

  /** A snapshot: the whole truth about who is here. */
  #entered(frame, lost = false) {
    if (!this.#ways || !this.#wanted || this.#wanted.room !== frame.room.id) return; // not asked yet, or left meanwhile
    const first = this.room === null;
    const announce = first && this.#signal.recovered;
    const fresh = this.#fresh;
    this.#fresh = false;
    this.#at = frame.at ?? 0;
    this.room = frame.room;
    this.you = {...this.#signal.you, ...frame.you};
    this.#signal.you = this.you;
    this.#signal.room = frame.room.id;
    this.#was = fresh ? this.#was : null;
    this.#freshIce(frame.ice, 'joined');
    this.#ways.enter(this.room, fresh);
    const present = new Set(frame.peers.map(({id}) => id));
    for (const id of [...this.peers.keys()]) {
      if (present.has(id)) continue;
      if (fresh) this.#linger(id);
      else this.#remove(id);
    }
    for (const peer of frame.peers) this.#reconcile(peer, {fresh, lost, announce});
    if (lost) this.sfu?.restart(); // an offer of its may have been among what was lost
    this.#ways.follow(this.room);
    this.#resize();
    this.#statTimer ??= this.#later(() => this.#tellStats(), STAT_EVERY);
    this.#emit('joined', frame);
    this.#emit('peers', {});
    this.#emit('room', {room: this.room});
  }

  #reconcile(info, {fresh, lost, announce}) {
    const known = this.peers.get(info.id);
    if (known && !fresh) {
      known.update({...info, gap: info.gap ?? null});
      if (lost) known.resync?.();
      this.#changed(known);
      return;
    }
    if (known) this.#remove(info.id); // it has dropped the connection with the one we were
    if (!this.#recognize(info)) this.#add(info, announce);
  }

  /** Somebody of a lost session under a new id: the connection is as good as before. */
  #recognize(info) {
    const was = info.meta?.was;
    if (typeof was !== 'string' || !this.#lingering.has(was)) return false;
    const peer = this.peers.get(was);
    this.#never(this.#lingering.get(was));
    this.#lingering.delete(was);
    this.peers.delete(was);
    this.#ways.drop(was);
    const known = peer.way === 'mesh' ? peer : this.#ways.make(info); // what there was with the SFU is gone
    this.peers.set(info.id, known);
    if (known === peer) peer.adopt(info, this.you);
    else {
      known.received.takeOver(peer.received);
      peer.close();
    }
    this.#changed(known);
    return true;
  }

  #linger(id) {
    if (this.#lingering.has(id)) return;
    this.peers.get(id).setGap(true);
    this.#lingering.set(id, this.#later(() => {
      this.#remove(id);
      this.#emit('peers', {});
    }, LINGER));
  }

  #add(info, announce = false) {
    const peer = this.#ways.make(info, announce);
    this.peers.set(info.id, peer);
    this.#changed(peer);
  }

  #makeWays() {
    const shared = () => ({signal: this.#signal, ice: this.ice, home: this.#home, RTCPeerConnection: this.#Pc, setTimeout: this.#later, clearTimeout: this.#never});
    return new Ways({
      peers: this.peers,
      peer: (info, announce) => ({...shared(), me: this.you, peer: info, localTracks: this.#tracks, quality: this.#qualityNow(), announce, timing: this.#timing}),
      sfu: () => ({...shared(), publishes: this.you?.caps?.includes('publish') ?? true, tracks: this.#tracks, choice: this.#choice}),
      wire: (peer) => this.#wire(peer),
      exchanged: (peer) => this.#changed(peer),
      changed: () => this.#emit('sfu', {}),
      signal: this.#signal,
      setTimeout: this.#later,
      clearTimeout: this.#never,
    });
  }

  #wire(peer) {
    const shown = () => this.peers.get(peer.id) === peer;
    for (const type of ['state', 'streams', 'path', 'open']) peer.addEventListener(type, () => shown() && this.#emit('peer', {peer}));
    // An address that has changed takes the server's socket along, and no event may tell of it.
    peer.addEventListener('state', () => peer.state === 'reconnecting' && this.#signal.probe?.());
    peer.addEventListener('doubt', () => this.#signal.probe?.());
    peer.addEventListener('data', ({detail}) => this.#emit('data', {peer, data: detail.data}));
    peer.addEventListener('verdict', ({detail}) => shown() && this.#emit('verdict', {peer, ...detail}));
  }

  #remove(id) {
    this.#never(this.#lingering.get(id));
    this.#lingering.delete(id);
    this.#hidden.delete(id);
    this.serverPaths.delete(id);
    const peer = this.peers.get(id);
    this.peers.delete(id);
    this.#ways?.drop(id);
    peer?.close();
  }

  #came(info) {
    const known = this.peers.get(info.id);
    if (known) known.update({...info, gap: info.gap ?? null});
    else if (!this.#recognize(info)) this.#add(info);
    this.#resize();
    if (known) this.#changed(known);
    this.#emit('peers', {});
  }

  #left(id) {
    if (!this.peers.has(id)) return;
    this.#remove(id);
    this.#resize();
    this.#emit('peers', {});
  }

  #gap(id, gap) {
    const peer = this.peers.get(id);
    if (!peer) return;
    peer.setGap(gap);
    this.#ways.update(id, {gap});
    this.#emit('gap', {peer, gap});
    this.#changed(peer);
  }

  #updated(id, change) {
    const peer = this.peers.get(id);
    if (!peer) return;
    peer.update(change);
    this.#ways.update(id, change);
    this.#changed(peer);
  }

  #changed(peer) {
    peer.setPaused?.(Array.isArray(peer.info.meta?.hide) && peer.info.meta.hide.includes(this.you?.id));
    this.#emit('peer', {peer});
  }

  #freshIce(ice, why) {
    if (!this.room || !ice) return;
    this.ice = ice;
    for (const peer of this.#meshed) peer.setIce(ice, why);
    this.sfu?.setIce(ice);
    this.#emit('ice', {ice, why});
  }

  #paths(list) {
    for (const entry of list) if (this.peers.has(entry.id)) this.serverPaths.set(entry.id, entry);
    this.#emit('paths', {list});
  }

  // ---- sessions that end

  /** The session was lost, and with it our id: join again; connections go on until the others are recognized. */
  #anew() {
    if (!this.#ways || !this.#wanted) return;
    if (this.room) {
      this.#fresh = true;
      this.#was = this.you.id;
      for (const id of this.peers.keys()) this.#linger(id);
    }
    if (this.#joining > 0) return; // asked again by `Signal`
    this.#rejoinUntil = Date.now() + this.#signal.resumeWindow;
    this.#rejoin();
  }

  async #rejoin() {
    this.#never(this.#retryTimer);
    try {
      await this.#ask();
    } catch (error) {
      if (!this.#wanted || ['waiting', 'session_gone', 'closed'].includes(error.code)) return;
      const again = error.code === 'rate_limited' || (error.code === 'room_full' && Date.now() < this.#rejoinUntil);
      if (again) this.#retryTimer = this.#later(() => this.#rejoin(), error.retry > 0 ? error.retry : REJOIN_EVERY);
      else this.#ended(error.code, error.msg);
    }
  }

  #resumed() {
    for (const peer of this.#meshed) peer.back();
    this.sfu?.back();
    if (this.#wanted && this.room && this.#signal.room === null) this.#anew();
    if (this.#wanted || !this.#signal.room) return;
    // After a reload the session is still in the room; a page that does not go on with that leaves nobody waiting.
    this.#later(() => {
      if (!this.#wanted && this.#signal.room && this.#signal.state === 'open') {
        this.#signal.room = null;
        this.#signal.request('leave').catch(() => {});
      }
    }, CLAIM);
  }

  #ended(code, msg) {
    const inside = this.room !== null || this.#wanted !== null;
    this.#clear();
    if (inside) this.#emit('ended', {code, msg});
  }

  #clear() {
    for (const timer of [this.#metaTimer, this.#statTimer, this.#retryTimer]) this.#never(timer);
    this.#metaTimer = this.#statTimer = this.#retryTimer = null;
    this.#wanted = null;
    this.#fresh = false;
    this.#was = null;
    for (const id of [...this.peers.keys()]) this.#remove(id);
    this.#hidden.clear();
    this.#shown = {};
    this.#link = null;
    this.serverPaths.clear();
    this.#ways?.clear();
    this.#choice = null;
    this.room = null;
    this.#signal.room = null;
    this.#emit('peers', {});
  }

  // ---- what all share

  #qualityNow() {
    const people = this.peers.size - this.#lingering.size + 1;
    const sizes = Object.keys(this.#quality).map(Number).sort((one, other) => one - other);
    return this.#quality[sizes.find((size) => size >= people) ?? sizes.at(-1)];
  }

  /** What the size of the room allows each picture. */
  get quality() { return this.#qualityNow(); }

  #resize() {
    const quality = this.#qualityNow();
    for (const peer of this.#meshed) peer.setQuality(quality);
  }

  async #tellStats() {
    this.#statTimer = this.#later(() => this.#tellStats(), STAT_EVERY);
    for (const peer of [...this.peers.values()]) {
      if (peer.state !== 'connected' || peer.way !== 'mesh') continue;
      if (!this.#meters.has(peer)) this.#meters.set(peer, new PeerMeter());
      const found = await this.#meters.get(peer).measure(peer, this);
      if (!found || found.path === 'unknown' || !this.peers.has(peer.id)) continue;
      const {path, transport: proto, rtt, down: rx, up: tx, loss, fps, width: w} = found;
      const fields = {to: peer.id, path, proto, rtt, rx, tx, loss, fps, w, took: peer.took};
      const known = Object.entries(fields).filter(([, value]) => value !== null && value !== undefined);
      this.#signal.send('stat', Object.fromEntries(known.map(([key, value]) => [key, typeof value === 'number' ? Math.round(value * 10) / 10 : value])));
    }
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, {detail}));
  }
}

/** A name as the server takes it. */
function plainName(name, most = 64) {
  // eslint-disable-next-line no-control-regex
  return [...String(name).replace(/[\u0000-\u001f\u007f]/g, ' ').trim()].slice(0, most).join('');
}
