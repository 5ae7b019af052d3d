/**
 * One pair: this client and one other participant. Perfect negotiation with roles from the server, ICE restarts that
 * are agreed on by way of the server, connections rebuilt when nothing else helps. A lost signaling socket changes
 * nothing here: media go on, and what has to be said is said when the socket is back.
 *
 * Each end names its `RTCPeerConnection` (`pc`) and says which one of the other end it means (`rpc`). What is meant for
 * a connection that is gone is dropped, and answered with one `reset`; what comes from one that is gone is dropped.
 */

import {Closed, Connection} from './connection.js';
import {Recovery} from './recovery.js';
import {randomName} from './signal.js';
import {Received} from './streams.js';
import {Watch, flowOf} from './watch.js';

const OFFER_PATIENCE = 2000; // ms that the one who does not start waits for an offer
const ANSWER_PATIENCE = 8000; // ms until an unanswered offer is sent again
const FRESH_PATIENCE = 1500; // ms that a restart waits for fresh credentials once the server has agreed
const MOST_RETIRED = 16;
const MOST_QUEUED = 256;
const MOST_ERRORS = 3;
const DEFAULT_QUALITY = Object.freeze({height: 720, maxBitrate: 1_500_000, screenBitrate: 2_500_000});

/**
 * One participant and the connection with it.
 *
 * Events: `state`; `streams` (what `streams` holds has changed); `data` `{data}`; `verdict` `{verdict, text, case, tried}` when all
 * has been tried; `path` (the selected candidate pair has changed); `open` (the data channel can be used); `doubt` (it
 * is connected, and what was asked for has not come).
 */
export class Peer extends EventTarget {
  #signal; #me; #info; #ice; #tracks; #quality; #paused = false; #limits = {}; #Pc; #home; #publishes; #later; #never; #recovery; #watch; #unheard = false;
  #connection = null; #remote = null; #retired = new Set(); #answered = new Set(); #early = null;
  #chain = Promise.resolve(); #queued = 0; #state = 'connecting'; #was = false; #gap; #gaveUp = false; #errors = 0; #closed = false;
  #began = performance.now(); #took = null; #restarting = false; #yields = false; #again = null; #awaitFresh = null; #startTimer = null; #answerTimer = null; #received = new Received();

  /**
   * @param {object} options
   * @param {import('./signal.js').Signal} options.signal
   * @param {{id: string, caps?: string[]}} options.me @param {object} options.peer `P` of `joined`
   * @param {object} options.ice as the server gave it
   * @param {Map<string, {track: MediaStreamTrack|null, stream: MediaStream}>} options.localTracks by kind; shared, and kept by the owner
   * @param {{height: number, maxBitrate: number, screenBitrate: number}} [options.quality]
   * @param {MediaStream} [options.home] the stream that microphone and camera are said to belong to
   * @param {boolean} [options.announce] the other end may have a connection with an earlier life of ours
   * @param {object} [options.timing] see `recovery.js`
   * @param {typeof RTCPeerConnection} [options.RTCPeerConnection]
   * @param {typeof setTimeout} [options.setTimeout] @param {typeof clearTimeout} [options.clearTimeout]
   */
  constructor({
    signal, me, peer, ice, localTracks = new Map(), quality = DEFAULT_QUALITY, home = new MediaStream(), announce = false, timing,
    RTCPeerConnection: Pc = globalThis.RTCPeerConnection, setTimeout: later = globalThis.setTimeout,
    clearTimeout: never = globalThis.clearTimeout,
  }) {
    super();
    this.#signal = signal;
    this.#me = me;
    this.#info = {...peer};
    this.#ice = ice;
    this.#tracks = localTracks;
    this.#quality = quality;
    this.#home = home;
    this.#publishes = me?.caps?.includes('publish') ?? true;
    this.#Pc = Pc;
    this.#later = (call, delay) => later(call, delay);
    this.#never = (timer) => never(timer);
    this.#gap = Boolean(peer.gap);
    const shared = {
      flow: () => flowOf(this.pc),
      ready: () => this.#signal.state === 'open' && !this.#gap,
      timing,
      setTimeout: this.#later,
      clearTimeout: this.#never,
    };
    this.#recovery = new Recovery({
      ...shared,
      act: {
        restart: (why) => this.restart(why),
        rebuild: () => this.#rebuild('failed'),
        giveUp: () => this.#giveUp(),
        settled: () => this.#setUnheard(false),
      },
      broken: () => this.#connection.broken,
      polite: () => Boolean(this.#info.polite),
    });
    this.#watch = new Watch({
      ...shared,
      probe: () => this.#probe(),
      told: (silent, again) => this.#silence(silent, again),
      doubt: () => this.dispatchEvent(new CustomEvent('doubt', {detail: {}})),
    });
    if (announce) this.#rebuild('reload');
    else this.#begin(Boolean(peer.start));
  }

  /** The other participant. */
  get id() { return this.#info.id; }

  /** What the server says of it: `{id, name, meta, media, role, since, polite, start}`. */
  get info() { return this.#info; }

  /** The `RTCPeerConnection` of the moment: another one after a rebuild. */
  get pc() { return this.#connection.pc; }

  /** Its name in the protocol. */
  get pcId() { return this.#connection.id; }

  /** Which section the camera of the other end is in. */
  get cameraMid() { return this.#connection.cameraMid; }

  /** Which section its microphone is in. */
  get microphoneMid() { return this.#connection.microphoneMid; }

  /** `connecting`, `connected`, `reconnecting`, `lost` (its signaling is away, too), `failed` or `closed`. */
  get state() { return this.#state; }

  /** How long it took to connect for the first time, in ms; null until then. */
  get took() { return this.#took; }

  /** Whether its signaling is away; media may go on. */
  get gap() { return this.#gap; }

  /** What it sends: `camera` (with the microphone; always the same stream) and `screen` (with its sound, if it has one), or null. */
  get streams() { return this.#received.streams; }

  /** What comes from it. */
  get received() { return this.#received; }

  /** How its media go. */
  get way() { return 'mesh'; }

  /** Rebuilds since the connection last held. */
  get rebuilds() { return this.#recovery.rebuilds; }

  /** @param {object} ice fresh servers and credentials @param {string} [why] as the server said */
  setIce(ice, why) {
    this.#ice = ice;
    this.#connection.configure(ice);
    if (why === 'restart') this.#awaitFresh?.();
  }

  /**
   * Send something else from now on. Without a negotiation, but for a screen that comes or goes.
   * @param {'audio'|'video'|'screen'|'screenAudio'} kind @param {MediaStreamTrack|null} track @param {MediaStream} [stream]
   */
  setTrack(kind, track, stream) {
    this.#tracks.set(kind, {track, stream});
    this.#connection.setTrack(kind);
    this.#tune();
  }

  /** @param {{height: number, maxBitrate: number, screenBitrate: number}} quality how much to send */
  setQuality(quality) {
    this.#quality = quality;
    this.#tune();
  }

  /** @param {boolean} paused send no picture: the other end does not look at it */
  setPaused(paused) {
    if (paused === this.#paused) return;
    this.#paused = paused;
    this.#tune();
  }

  /** @param {import('./uplink.js').Limits} limits what our uplink has room for, and the other end shows */
  setLimits(limits) {
    this.#limits = limits;
    const connection = this.#connection;
    this.#enqueue(() => connection.setPacketTime(limits.packetTime ?? 0));
    this.#tune();
  }

  /** ms of speech in the packets to it; 0: as the browsers agree. */
  get packetTime() { return this.#connection.packetTimeInUse; }

  /** Whether the picture for it is paused. */
  get paused() { return this.#paused; }

  /**
   * Look for a path anew: fresh credentials to both ends, then an ICE restart; a rebuild if all had been given up.
   * @param {'online'|'disconnected'|'failed'|'silent'|'user'} [why]
   */
  async restart(why = 'user') {
    if (this.#closed) return;
    if (this.#gaveUp || (why === 'user' && this.pc.connectionState === 'failed')) {
      this.#gaveUp = false;
      this.#recovery.reset();
      this.#rebuild(why);
      return;
    }
    if (this.#restarting) {
      this.#again = why;
      return;
    }
    if (this.#connection.bound === null) return; // the first path is still being looked for
    this.#restarting = true;
    this.#yields = false;
    const connection = this.#connection;
    try {
      await this.#freshIce(why);
    } finally {
      this.#restarting = false;
    }
    if (this.#closed) return;
    if (connection === this.#connection) {
      if (this.#yields) this.#expectOffer(connection);
      else this.#restartIce(connection);
    }
    const again = this.#again;
    this.#again = null;
    if (again) this.restart(again);
  }

  /** Have the server give fresh credentials to both ends; go on without them if it cannot. */
  async #freshIce(why) {
    const fresh = new Promise((resolve) => { this.#awaitFresh = resolve; });
    try {
      await this.#signal.request('restart', {to: this.id, why});
      await Promise.race([fresh, this.#pause(FRESH_PATIENCE)]);
    } catch (error) {
      if (error.retry > 0) await this.#pause(Math.min(error.retry, 5000));
    } finally {
      this.#awaitFresh = null;
    }
  }

  #restartIce(connection) {
    connection.restartIce();
    this.#recovery.restarted();
  }

  /** The other end was first to ask for a restart: its offer renews our path, too, and offers do not cross. */
  #expectOffer(connection) {
    const before = this.pc.remoteDescription;
    this.#later(() => {
      if (connection === this.#connection && this.pc.remoteDescription?.sdp === before?.sdp) this.#restartIce(connection);
    }, OFFER_PATIENCE);
  }

  #pause(delay) {
    return new Promise((resolve) => this.#later(resolve, delay));
  }

  /** @param {string|ArrayBuffer|ArrayBufferView} data over the data channel @returns {boolean} whether it was taken */
  send(data) {
    return this.#connection.send(data);
  }

  /** End it. */
  close() {
    if (this.#closed) return;
    this.#closed = true;
    this.#recovery.stop();
    this.#watch.on = false;
    this.#never(this.#startTimer);
    this.#never(this.#answerTimer);
    this.#connection.close();
    this.#setState('closed');
  }

  // ---- what Mesh tells

  /** @param {object} frame a `desc`, `cand`, `reset` or `restart` from the other end */
  receive(frame) {
    if (this.#closed || this.#queued > MOST_QUEUED) return;
    if (frame.t === 'restart') {
      // The server takes one request after the other: of two ends that restart at once, one hears this before its answer.
      this.#yields = this.#restarting;
      this.#recovery.restarted();
      if (frame.why === 'silent') this.#setUnheard(true);
      return;
    }
    this.#enqueue(() => this.#handle(frame));
  }

  /** @param {object} change of what the server says of the participant */
  update(change) {
    this.#info = {...this.#info, ...change};
    if ('gap' in change) this.setGap(Boolean(change.gap));
    this.#showStreams();
  }

  /** @param {boolean} gap whether its signaling is away */
  setGap(gap) {
    if (gap === this.#gap) return;
    this.#gap = gap;
    this.#refresh();
    if (!gap && this.#was && this.pc.connectionState !== 'connected') this.restart('disconnected');
  }

  /** Messages may be lost in both directions: what was under way begins anew, what stands remains. */
  resync() {
    if (this.#closed) return;
    if (this.pc.signalingState !== 'stable' || this.pc.connectionState !== 'connected') this.#rebuild('resync');
  }

  /** Our signaling was away, and is back: what stood still meanwhile has lost its network, too. */
  back() {
    if (this.#watch.doubtful) this.restart('disconnected');
  }

  /** Both ends have new sessions, and recognize each other: the connection remains. @param {object} peer @param {object} me */
  adopt(peer, me) {
    this.#me = me;
    this.#info = {...peer};
    this.#gap = Boolean(peer.gap);
    this.resync();
    this.#recovery.suspect(); // a server that has forgotten us may have dropped our relays as well
    this.#refresh();
  }

  // ---- one thing after the other

  #enqueue(job) {
    this.#queued += 1;
    this.#chain = this.#chain.then(async () => {
      this.#queued -= 1;
      if (this.#closed) return;
      const connection = this.#connection;
      try {
        await job();
      } catch (error) {
        if (error instanceof Closed || this.#closed || connection !== this.#connection) return;
        this.dispatchEvent(new CustomEvent('problem', {detail: {error}}));
        this.#errors += 1;
        if (this.#errors <= MOST_ERRORS) this.#rebuild('error'); // else the times of `Recovery` are fast enough
      }
    });
  }

  async #handle(frame) {
    const {t, pc: theirs, rpc} = frame;
    if (this.#retired.has(theirs)) return;
    if (t === 'reset') {
      this.#heardReset(theirs);
      return;
    }
    if (rpc !== undefined && rpc !== this.#connection.id) {
      this.#sayReset(theirs, 'stale');
      return;
    }
    if (t === 'cand') await this.#candidates(theirs, frame.list);
    else if (t === 'desc') await this.#description(theirs, frame.desc);
  }

  async #candidates(theirs, list) {
    if (theirs === this.#remote) await this.#connection.add(list);
    else if (this.#early?.pc === theirs) this.#early.list = [...this.#early.list, ...list].slice(-MOST_QUEUED);
    else this.#early = {pc: theirs, list}; // of a connection that has yet to describe itself
  }

  async #description(theirs, description) {
    if (theirs !== this.#remote && !this.#meet(theirs, description.type)) return;
    const connection = this.#connection;
    const {generation} = connection;
    if (this.#info.polite && connection.cannotGiveWay(description)) {
      this.#rebuild('glare');
      return;
    }
    const taken = await connection.accept(description, theirs, Boolean(this.#info.polite), (answer) => this.#describe(connection, answer));
    if (!taken) return;
    if (generation && generation !== connection.generation) this.#recovery.restarted();
    this.#never(this.#startTimer);
    if (!connection.offering) this.#never(this.#answerTimer);
    if (this.#early?.pc === theirs) {
      const {list} = this.#early;
      this.#early = null;
      await connection.add(list);
    }
    this.#tune();
  }

  /** A connection of theirs that we had not heard of. @returns {boolean} whether to listen to it */
  #meet(theirs, type) {
    if (this.#connection.bound !== null) {
      if (type !== 'offer') return false;
      this.#renew();
    }
    this.#knowRemote(theirs);
    return true;
  }

  #knowRemote(theirs) {
    if (this.#remote !== null && this.#remote !== theirs) {
      this.#retired.add(this.#remote);
      if (this.#retired.size > MOST_RETIRED) this.#retired.delete(this.#retired.values().next().value);
    }
    this.#remote = theirs;
  }

  // ---- connections

  #heardReset(theirs) {
    if (theirs === this.#remote) return; // we know, and have one for it
    const {bound} = this.#connection;
    this.#knowRemote(theirs);
    if (bound !== null) this.#renew();
  }

  /** Tell that what they have is gone; once for each of theirs, and never because they told us so. */
  #sayReset(theirs, why) {
    if (this.#answered.has(theirs)) return;
    if (theirs) this.#answered.add(theirs);
    if (this.#answered.size > MOST_RETIRED) this.#answered.delete(this.#answered.values().next().value);
    this.#signal.send('reset', {to: this.id, pc: this.#connection.id, why});
  }

  /** A new connection because they have a new one; they offer, or else we do after a while. */
  #renew() {
    if (this.#gaveUp) this.#recovery.reset();
    this.#gaveUp = false;
    this.#begin(false, true);
  }

  /** A new connection because the one there was is of no use. */
  #rebuild(why) {
    if (this.#closed) return;
    if (this.#remote !== null) this.#answered.add(this.#remote); // the reset that follows answers all that it still says
    this.#begin(true);
    this.#signal.send('reset', {to: this.id, pc: this.#connection.id, why});
  }

  #begin(start, passive = false) {
    this.#never(this.#startTimer);
    this.#never(this.#answerTimer);
    this.#connection?.close();
    const connection = new Connection({
      id: randomName(8),
      ice: this.#ice,
      RTCPeerConnection: this.#Pc,
      tracks: this.#tracks,
      home: this.#home,
      publishes: this.#publishes,
      packetTime: this.#limits.packetTime ?? 0,
      setTimeout: this.#later,
      clearTimeout: this.#never,
      on: {
        needed: () => this.#offer(connection),
        candidates: (list) => this.#tell('cand', {list}),
        state: () => this.#refresh(),
        tracks: () => this.#showStreams(),
        channel: (event) => this.#channelEvent(event),
        path: () => this.dispatchEvent(new CustomEvent('path', {detail: {}})),
      },
    });
    this.#connection = connection;
    this.#unheard = false;
    this.#recovery.begun(passive);
    this.#refresh();
    if (start) this.#startNow(connection);
    else this.#startTimer = this.#later(() => this.#startNow(connection), OFFER_PATIENCE);
    this.#tune();
  }

  #startNow(connection) {
    connection.mayOffer = true;
    this.#offer(connection);
  }

  #offer(connection) {
    if (this.#closed || !connection.mayOffer) return;
    this.#enqueue(async () => {
      if (connection === this.#connection) await connection.offer((offer) => this.#describe(connection, offer));
    });
  }

  #describe(connection, description) {
    const {type, sdp} = description;
    const fields = {desc: {type, sdp}};
    if (type === 'offer' && connection.restarting) fields.restart = true;
    this.#tell('desc', fields);
    if (type === 'offer') this.#awaitAnswer(connection, fields);
  }

  /** An offer that nobody answers is said again: the other end may not have been able to hear it. */
  #awaitAnswer(connection, fields) {
    this.#never(this.#answerTimer);
    this.#answerTimer = this.#later(() => {
      if (connection !== this.#connection || this.#closed || !connection.offering) return;
      if (this.#signal.state === 'open' && !this.#gap) this.#tell('desc', fields);
      this.#awaitAnswer(connection, fields);
    }, ANSWER_PATIENCE);
  }

  #tell(t, fields) {
    const rpc = this.#remote === null ? {} : {rpc: this.#remote};
    // Before they have taken something of this connection they may have another one by now than the one we know.
    this.#signal.send(t, {to: this.id, pc: this.#connection.id, ...(this.#connection.bound === null ? {} : rpc), ...fields});
  }

  #giveUp() {
    this.#gaveUp = true;
    this.#refresh();
    this.diagnose().then(
      ({verdict, text, case: which, tried}) => {
        if (this.#gaveUp) this.dispatchEvent(new CustomEvent('verdict', {detail: {verdict, text, case: which, tried}}));
      },
      () => {
        const text = 'No connection could be made, and the server could not say why.';
        if (this.#gaveUp) this.dispatchEvent(new CustomEvent('verdict', {detail: {verdict: 'unknown', text, case: 'not_said'}}));
      },
    );
  }

  /**
   * Ask the server why it does not work.
   * @returns {Promise<{verdict: string, text: string}>}
   */
  diagnose() {
    const {states, types, errors} = this.#connection;
    const list = (set) => [...set].filter(Boolean).slice(0, 16);
    return this.#signal.request('diag', {to: this.id, states, cands: {local: list(types.local), remote: list(types.remote)}, errors});
  }

  // ---- what the connection tells

  #refresh() {
    if (this.#closed || !this.#connection) return;
    const {connectionState} = this.pc;
    if (connectionState === 'connected') {
      this.#was = true;
      this.#errors = 0;
      this.#gaveUp = false;
    }
    this.#recovery.changed(connectionState);
    this.#watch.on = connectionState === 'connected';
    let state = this.#was ? 'reconnecting' : 'connecting';
    if (connectionState === 'connected' && !this.#watch.silent && !this.#unheard) state = 'connected';
    else if (this.#gaveUp) state = 'failed';
    else if (this.#gap) state = 'lost';
    this.#setState(state);
  }

  #setState(state) {
    if (state === this.#state) return;
    if (state === 'connected') this.#took ??= performance.now() - this.#began;
    this.#state = state;
    this.dispatchEvent(new CustomEvent('state', {detail: {state}}));
  }

  #showStreams() {
    if (this.#closed || !this.#connection) return;
    const changed = this.#received.show(this.#connection.received(this.#info.meta?.screen ?? null));
    if (changed) this.dispatchEvent(new CustomEvent('streams', {detail: {}}));
  }

  #channelEvent(event) {
    if (event.type === 'message' && event.data === '') return; // a probe
    if (event.type === 'message') this.dispatchEvent(new CustomEvent('data', {detail: {data: event.data}}));
    else if (event.type === 'open') this.dispatchEvent(new CustomEvent('open', {detail: {}}));
  }

  #tune() {
    this.#enqueue(() => this.#connection.tune(this.#quality, this.#paused, this.#limits));
  }

  // ---- silence

  /** Have the other end send something: its SCTP acknowledges even what is empty. @returns {boolean} whether something has to come */
  #probe() {
    const {channel} = this.#connection;
    const {a, v, s} = this.#info.media ?? {};
    if (channel.readyState !== 'open') return Boolean(a || v || s);
    this.#connection.send('');
    return true;
  }

  #silence(silent, again) {
    if (silent && again) this.#rebuild('silent');
    else if (silent) this.restart('silent');
    this.#refresh();
  }

  /** @param {boolean} unheard nothing of ours arrives there, as the other end says */
  #setUnheard(unheard) {
    if (unheard === this.#unheard) return;
    this.#unheard = unheard;
    this.#refresh();
  }
}
