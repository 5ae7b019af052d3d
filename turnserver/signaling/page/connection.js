/**
 * One `RTCPeerConnection` of a pair: descriptions, candidates, senders. It knows nothing of signaling or recovery.
 *
 * Microphone and camera have their senders from the beginning, filled or empty, so that mute, camera off and another
 * device are `replaceTrack` and never a negotiation. The first audio and the first video section are microphone and
 * camera; further ones are the sound and the picture of a shared screen.
 */

import {fragments} from './watch.js';

const BATCH = 50; // ms that candidates are collected for
const MOST_AT_ONCE = 20; // candidates in a message
const MOST_EARLY = 128; // candidates kept for a description that has yet to come
const MOST_ERRORS = 16;
const MOST_STATES = 32;
const SCREEN = ['screen', 'screenAudio']; // kinds that come and go
const CHANNEL_FULL = 1 << 20; // bytes that may wait in the data channel

/** Thrown into whatever was under way when the connection was closed. */
export class Closed extends Error {
  constructor() {
    super('The connection has been closed.');
    this.name = 'Closed';
  }
}

let speech = null;

/** What descriptions say of Opus: loaded with the first connection, the lobby does not need it. */
function loadSpeech() {
  speech ??= import('./speech.js').catch((error) => {
    speech = null; // the next connection may find the network better
    throw error;
  });
  return speech;
}

const placeholders = new WeakMap();

/**
 * A track of nothing. A section made by `addTrack` is matched with the section of an offer that wins against ours, one
 * made by `addTransceiver` is not; so senders begin with a track even if there is nothing to send yet.
 */
function placeholder(Connection, kind) {
  if (!placeholders.has(Connection)) {
    const pc = new Connection();
    const track = (of) => pc.addTransceiver(of).receiver.track;
    placeholders.set(Connection, {audio: track('audio'), video: track('video'), pc});
  }
  return placeholders.get(Connection)[kind];
}

/** `RTCConfiguration` for what the server calls `ice`. */
export function configuration(ice) {
  return {iceServers: ice?.servers ?? [], iceTransportPolicy: ice?.policy === 'relay' ? 'relay' : 'all', bundlePolicy: 'max-bundle'};
}

/** Set a bound, or have none. */
function most(encoding, name, value) {
  if (Number.isFinite(value)) encoding[name] = value;
  else delete encoding[name];
}

function typeOf(candidate) {
  return / typ (\w+)/.exec(candidate ?? '')?.[1] ?? null;
}

export class Connection {
  #later; #never; #on; #gone; #fail; #batch = []; #batchTimer = null; #holding = 0; #early = []; #home; #mozilla = false; #theirs = ''; #heard = ''; #streams = {}; // of the screen and its sound, as last said

  /**
   * @param {object} options
   * @param {string} options.id our name for it, told as `pc`
   * @param {object} options.ice @param {typeof RTCPeerConnection} options.RTCPeerConnection
   * @param {Map<string, {track: MediaStreamTrack|null, stream: MediaStream}>} options.tracks what to send, by kind
   * @param {MediaStream} options.home the stream that microphone and camera are said to belong to
   * @param {boolean} options.publishes whether we may send at all
   * @param {number} [options.packetTime] ms of speech in a packet; 0: as the browsers agree
   * @param {object} options.on callbacks: `needed()`, `candidates(list)`, `state()`, `tracks()`, `channel(event)`, `path()`
   * @param {typeof setTimeout} options.setTimeout @param {typeof clearTimeout} options.clearTimeout
   */
  constructor({id, ice, RTCPeerConnection: Pc, tracks, home, publishes, packetTime = 0, on, setTimeout: later, clearTimeout: never}) {
    this.id = id;
    this.tracks = tracks;
    this.publishes = publishes;
    this.packetTime = packetTime;
    /** The same, as far as it has been negotiated. */
    this.packetTimeInUse = 0;
    /** Their connection's name, once a description of theirs has been applied. */
    this.bound = null;
    /** Whether we may offer yet, or wait for theirs. */
    this.mayOffer = false;
    this.closed = false;
    /** Whether the first offer was theirs. */
    this.answered = false;
    /** An ICE restart of ours has yet to be answered. */
    this.restarting = false;
    this.errors = [];
    this.states = [];
    this.types = {local: new Set(), remote: new Set()};
    this.senders = {};
    this.#home = home;
    this.#on = on;
    this.#later = later;
    this.#never = never;
    this.#gone = new Promise((_, reject) => { this.#fail = reject; });
    this.#gone.catch(() => {});
    this.pc = new Pc(configuration(ice));
    for (const kind of ['audio', 'video']) this.#addSender(Pc, kind);
    this.channel = this.pc.createDataChannel('mesh', {negotiated: true, id: 0});
    this.channel.binaryType = 'arraybuffer';
    this.#watch();
    for (const kind of SCREEN) if (tracks.get(kind)?.track) this.setTrack(kind);
  }

  #addSender(Pc, kind) {
    const track = this.tracks.get(kind)?.track ?? null;
    const sender = this.pc.addTrack(this.publishes && track ? track : placeholder(Pc, kind), this.#home);
    this.senders[kind] = sender;
    if (!this.publishes) this.transceiver(sender).direction = 'recvonly';
    if (!this.publishes || !track) sender.replaceTrack(null).catch(() => {});
  }

  #watch() {
    const {pc, channel} = this;
    const hear = (target, type, call) => target.addEventListener(type, (event) => { if (!this.closed) call(event); });
    hear(pc, 'negotiationneeded', () => this.#on.needed());
    hear(pc, 'icecandidate', ({candidate}) => this.#gathered(candidate));
    hear(pc, 'icecandidateerror', ({errorCode, url}) => {
      if (this.errors.length < MOST_ERRORS) this.errors.push({code: errorCode ?? 0, url: (url ?? '').slice(0, 256)});
    });
    for (const type of ['connectionstatechange', 'iceconnectionstatechange']) hear(pc, type, () => this.#stateChanged());
    hear(pc, 'track', ({track}) => {
      for (const type of ['mute', 'unmute', 'ended']) hear(track, type, () => this.#on.tracks());
      this.#on.tracks();
    });
    for (const type of ['open', 'close', 'message']) hear(channel, type, (event) => this.#on.channel(event));
  }

  #stateChanged() {
    const {connectionState, iceConnectionState} = this.pc;
    this.states.push(`${connectionState}/${iceConnectionState}`);
    if (this.states.length > MOST_STATES) this.states.shift();
    this.#on.state();
  }

  /** Wait for the connection to do something, but not longer than it lives: a closed one never answers. */
  #until(promise) {
    return Promise.race([promise, this.#gone]);
  }

  #live() {
    if (this.closed) throw new Closed();
  }

  /** End it; nothing is heard of it any more. */
  close() {
    if (this.closed) return;
    this.closed = true;
    this.#never(this.#batchTimer);
    this.#fail(new Closed());
    this.pc.close();
  }

  /** @param {object} ice new servers and credentials; used from the next gathering on */
  configure(ice) {
    if (this.closed) return;
    try {
      this.pc.setConfiguration(configuration(ice));
    } catch {
      // a browser that cannot change its servers goes on with those it has
    }
  }

  /** Gather anew; the offer follows by way of `needed()`. */
  restartIce() {
    if (this.closed) return;
    this.restarting = true;
    this.pc.restartIce();
  }

  // ---- descriptions; the owner calls one at a time

  /** Whether an offer of ours waits for an answer. */
  get offering() { return this.pc.signalingState === 'have-local-offer'; }

  /**
   * Offer, if there is nothing under way.
   * @param {(description: RTCSessionDescription) => void} send
   */
  async offer(send) {
    if (this.closed || !this.mayOffer || this.pc.signalingState !== 'stable') return;
    await this.#describe(send);
  }

  async #describe(send) {
    this.#holding += 1; // our candidates follow the description that they belong to
    try {
      await this.#until(this.pc.setLocalDescription());
      this.#live();
      const {type, sdp} = this.#told();
      const {asWeLikeIt} = await this.#until(loadSpeech());
      send({type, sdp: asWeLikeIt(sdp)});
    } finally {
      this.#holding -= 1;
      this.#schedule();
    }
  }

  /**
   * Our description as it is told. Firefox (153) answers a later offer as the DTLS client whatever it was before, which
   * Chromium refuses; so the offer says who is what, and leaves it no choice.
   */
  #told() {
    const {type, sdp} = this.pc.localDescription;
    const answer = [this.pc.currentLocalDescription, this.pc.currentRemoteDescription].find((each) => each?.type === 'answer');
    const role = /^a=setup:(active|passive)/m.exec(answer?.sdp ?? '')?.[1];
    if (type !== 'offer' || !role || !this.#mozilla) return {type, sdp};
    const ours = answer === this.pc.currentLocalDescription ? role : {active: 'passive', passive: 'active'}[role];
    return {type, sdp: sdp.replaceAll('a=setup:actpass', `a=setup:${ours}`)};
  }

  /** The ICE user fragment of theirs; undefined before their first description. */
  get generation() { return fragments(this.pc.remoteDescription).values().next().value; }

  /** Whether DTLS has failed: then no path helps any more. */
  get broken() { return this.senders.audio.transport?.state === 'failed'; }

  /**
   * Whether taking it would take back an offer of ours where Chromium (156) does not survive that: at the end that
   * answered the first offer it goes on decoding the picture, and never shows it again, whatever is negotiated afterwards.
   * @param {RTCSessionDescriptionInit} description
   */
  cannotGiveWay(description) {
    return description.type === 'offer' && this.offering && this.answered;
  }

  /**
   * Take a description of theirs, and answer an offer.
   * @param {RTCSessionDescriptionInit} description @param {string} theirs name of their connection
   * @param {boolean} polite whether we give way @param {(description: RTCSessionDescription) => void} send
   * @returns {Promise<boolean>} whether it was taken; not, if offers crossed and ours holds, or an answer is not asked for
   */
  async accept(description, theirs, polite, send) {
    this.#live();
    if (description.type === 'answer' ? !this.offering : !polite && this.pc.signalingState !== 'stable') return false;
    if (description.type !== 'answer' && description.type !== 'offer') return false;
    if (this.bound === null) this.answered = description.type === 'offer';
    this.bound = theirs;
    this.#mozilla = /^o=mozilla/m.test(description.sdp); // as it came: a browser tells a description of others in its own words
    const {type, sdp} = description;
    const {packetTime} = this;
    const {asAnswer, inLongerPackets} = await this.#until(loadSpeech());
    await this.#until(this.pc.setRemoteDescription({type, sdp: inLongerPackets(sdp, packetTime)}));
    this.packetTimeInUse = packetTime;
    this.#live();
    this.mayOffer = true;
    this.restarting = false;
    for (const [, type] of description.sdp.matchAll(/^a=candidate:.* typ (\w+)/gm)) this.types.remote.add(type);
    if (description.type === 'offer') await this.#describe(send);
    this.#theirs = asAnswer(sdp, this.pc.currentLocalDescription?.sdp ?? '');
    this.#heard = inLongerPackets(this.#theirs, packetTime);
    await this.#hearAgain();
    await this.#addEarly();
    this.#watchPath();
    this.#on.tracks();
    return true;
  }

  #watchPath() {
    const transport = this.senders.audio.transport?.iceTransport;
    if (!transport || this.transport === transport) return;
    this.transport = transport;
    transport.addEventListener?.('selectedcandidatepairchange', () => { if (!this.closed) this.#on.path(); });
  }

  // ---- candidates

  #gathered(candidate) {
    if (candidate && !candidate.candidate) return; // the end of one section; the null is the end of all
    const plain = candidate?.toJSON?.() ?? candidate ?? null;
    if (plain) this.types.local.add(typeOf(plain.candidate));
    this.#batch.push(plain && {
      candidate: plain.candidate,
      sdpMid: plain.sdpMid ?? undefined,
      sdpMLineIndex: plain.sdpMLineIndex ?? undefined,
      usernameFragment: plain.usernameFragment ?? undefined,
    });
    this.#schedule();
  }

  #schedule() {
    if (this.closed || this.#batchTimer !== null || this.#batch.length === 0 || this.#holding > 0) return;
    this.#batchTimer = this.#later(() => {
      this.#batchTimer = null;
      if (this.closed || this.#holding > 0) return;
      while (this.#batch.length > 0) this.#on.candidates(this.#batch.splice(0, MOST_AT_ONCE));
    }, BATCH);
  }

  /** @param {(RTCIceCandidateInit|null)[]} list theirs; those of a description that we do not have are kept for a while */
  async add(list) {
    for (const candidate of list) {
      if (candidate) this.types.remote.add(typeOf(candidate.candidate));
      this.#early.push(candidate);
    }
    this.#early.splice(0, this.#early.length - MOST_EARLY);
    await this.#addEarly();
  }

  async #addEarly() {
    if (this.closed || !this.pc.remoteDescription) return;
    const known = fragments(this.pc.remoteDescription);
    const waiting = [];
    for (const candidate of this.#early.splice(0)) {
      const fragment = candidate?.usernameFragment;
      if (fragment && !known.has(fragment)) waiting.push(candidate);
      else await this.#addOne(candidate);
    }
    this.#early.unshift(...waiting);
  }

  async #addOne(candidate) {
    try {
      await this.#until(candidate === null ? this.pc.addIceCandidate() : this.pc.addIceCandidate(candidate));
    } catch (error) {
      if (this.closed) throw error;
      // of a generation that has passed, or of a kind that this browser does not know: the others remain
    }
  }

  // ---- media

  /** The transceiver of a sender. */
  transceiver(sender) {
    return this.pc.getTransceivers().find((each) => each.sender === sender);
  }

  /** Send what `tracks` has for that kind now. Only a screen that comes or goes needs a negotiation. */
  setTrack(kind) {
    if (this.closed || !this.publishes) return;
    const {track = null, stream} = this.tracks.get(kind) ?? {};
    if (!SCREEN.includes(kind)) this.senders[kind].replaceTrack(track).catch(() => {});
    else if (track) this.#show(kind, track, stream ?? new MediaStream([track]));
    else if (this.senders[kind]) {
      this.senders[kind].replaceTrack(null).catch(() => {});
      const transceiver = this.transceiver(this.senders[kind]);
      if (transceiver) transceiver.direction = 'recvonly';
    }
  }

  #show(kind, track, stream) {
    const transceiver = this.senders[kind] && this.transceiver(this.senders[kind]);
    if (transceiver && (transceiver.sender.setStreams || this.#streams[kind] === stream.id)) {
      transceiver.sender.setStreams?.(stream);
      transceiver.sender.replaceTrack(track).catch(() => {});
      transceiver.direction = 'sendrecv';
    } else this.senders[kind] = this.pc.addTransceiver(track, {direction: 'sendrecv', streams: [stream]}).sender;
    this.#streams[kind] = stream.id;
  }

  /**
   * How much speech goes in a packet from now on. Our browser takes that from their description, so it gets their last one
   * again, changed, as the answer to an offer that nobody else sees: where the uplink is full, nothing more has to pass it.
   * @param {number} packetTime ms; 0: as the browsers agree
   */
  async setPacketTime(packetTime) {
    if (this.closed || packetTime === this.packetTime) return;
    this.packetTime = packetTime;
    await this.#hearAgain();
  }

  /** Have our browser take their last description as `packetTime` wants it, if it has taken another one. */
  async #hearAgain() {
    const {pc, packetTime} = this;
    if (!this.publishes || this.bound === null || pc.signalingState !== 'stable') return; // the next description of theirs has it
    try {
      const {ONLY_SOUND, inLongerPackets, outline, withoutPicture} = await this.#until(loadSpeech());
      const heard = inLongerPackets(this.#theirs, packetTime);
      const sdp = packetTime >= ONLY_SOUND ? withoutPicture(heard) : heard;
      if (sdp === this.#heard) return;
      const offer = await this.#until(pc.createOffer());
      if (pc.signalingState !== 'stable' || outline(offer.sdp) !== outline(pc.currentLocalDescription.sdp)) return; // there is something to negotiate anyway
      await this.#until(pc.setLocalDescription(offer));
      await this.#until(pc.setRemoteDescription({type: 'answer', sdp}));
      this.#heard = sdp;
      this.packetTimeInUse = packetTime;
    } catch {
      this.#live();
      if (this.offering) await this.#until(pc.setLocalDescription({type: 'rollback'})); // a browser that does not do that goes on as before
    }
  }

  /**
   * How much to send: what the size of the room allows, and no more than `limits`.
   * @param {{height: number, maxBitrate: number, screenBitrate?: number}} quality @param {boolean} paused no picture: it is not looked at
   * @param {import('./uplink.js').Limits} [limits]
   */
  async tune(quality, paused, {audio, video, screen} = {}) {
    if (this.closed || !this.publishes) return;
    await this.#set('audio', (encoding) => {
      Object.assign(encoding, {priority: 'high', networkPriority: 'high'});
      most(encoding, 'maxBitrate', audio?.maxBitrate);
    });
    await this.#set('video', (encoding, track) => {
      const {width = 0, height = 0} = track?.getSettings?.() ?? {};
      const lines = Math.min(quality.height, video?.height ?? Infinity);
      encoding.maxBitrate = Math.min(quality.maxBitrate, video?.maxBitrate ?? Infinity);
      encoding.scaleResolutionDownBy = Math.max(1, Math.min(width, height) / lines);
      most(encoding, 'maxFramerate', video?.maxFramerate);
      encoding.active = !paused && video?.active !== false;
    }, 'maintain-framerate');
    await this.#set('screen', (encoding) => {
      most(encoding, 'maxBitrate', Math.min(quality.screenBitrate ?? Infinity, screen?.maxBitrate ?? Infinity));
      most(encoding, 'maxFramerate', screen?.maxFramerate);
      encoding.active = !paused && screen?.active !== false;
    }, 'maintain-resolution');
    await this.#set('screenAudio', (encoding) => {
      most(encoding, 'maxBitrate', audio?.maxBitrate);
      encoding.active = screen?.active !== false; // speech comes first
    });
  }

  async #set(kind, change, preference) {
    const sender = this.senders[kind];
    if (!sender?.setParameters) return;
    try {
      const parameters = sender.getParameters();
      if (!parameters.encodings?.length) return;
      for (const encoding of parameters.encodings) change(encoding, sender.track);
      if (preference) parameters.degradationPreference = preference;
      await this.#until(sender.setParameters(parameters));
    } catch {
      // what a browser does not let itself be told it decides by itself
    }
  }

  /**
   * What we receive, by kind.
   * @param {string|null} screen the stream that the other end calls its screen
   * @returns {{audio: MediaStreamTrack|null, video: MediaStreamTrack|null, screen: MediaStreamTrack|null, screenAudio: MediaStreamTrack|null}}
   */
  received(screen) {
    const found = {audio: null, video: null, screen: null, screenAudio: null};
    const {cameraMid, microphoneMid} = this;
    for (const {mid, receiver, currentDirection} of this.pc.getTransceivers()) {
      if (mid === null || receiver.track?.readyState !== 'live') continue;
      const sound = receiver.track.kind === 'audio';
      const main = mid === (sound ? microphoneMid : cameraMid);
      const kind = sound ? (main ? 'audio' : 'screenAudio') : main ? 'video' : 'screen';
      const comes = currentDirection === 'sendrecv' || currentDirection === 'recvonly';
      if (main ? found[kind] === null : screen && comes) found[kind] = receiver.track;
    }
    return found;
  }

  /** The section of the camera, in statistics and descriptions. */
  get cameraMid() {
    return this.#first('video');
  }

  /** The section of the microphone. */
  get microphoneMid() {
    return this.#first('audio');
  }

  #first(kind) {
    return this.pc.getTransceivers().find((each) => each.mid !== null && each.receiver.track?.kind === kind)?.mid ?? null;
  }

  /** @param {string|ArrayBuffer|ArrayBufferView} data @returns {boolean} whether it was taken */
  send(data) {
    if (this.channel.readyState !== 'open' || this.channel.bufferedAmount > CHANNEL_FULL) return false;
    this.channel.send(data);
    return true;
  }
}
