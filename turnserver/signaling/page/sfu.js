/**
 * The two connections with the server's SFU: one through which we send, which we offer, and one through which the others
 * come, which the SFU offers. Each has a name, chosen by whoever offers it, and a connection with another name replaces it.
 *
 * The SFU is at a public address, answers checks and sends none (ICE-lite), so our candidates need not be told, and none of a
 * relay is needed where UDP passes: two allocations for each connection. They are made when the direct way does
 * not come about, and when it breaks. A connection that has failed is made anew, after longer and longer pauses; the one
 * before goes on until the new one stands.
 */

import {configuration} from './connection.js';
import {randomName} from './signal.js';

const RETRIES = [0, 1000, 2000, 5000, 10_000]; // ms until a connection that has failed is made anew; the last for all further ones
const SETTLE = 2000; // ms for which a path may be in doubt
const DIRECT = 3000; // ms of checks without relays: some round trips, with one of the checks lost, on the longest way
const PATIENCE = 15_000; // ms for a new connection
const MOST_QUEUED = 64;
const MAIN = ['audio', 'video'];

/** The layers of a picture, the smallest first. Which of them are sent the SFU says. */
const RIDS = Object.freeze(['l', 'm', 'h']);

/** Chromium sends so many layers of a picture with that many pixels, the first of those it was given. */
const COUNTS = [[960 * 540, 3], [480 * 270, 2], [0, 1]];
const MOST = 1_200_000; // bit/s

/** What a picture of so many pixels may cost, in bit/s. */
function rateFor(pixels) {
  return Math.min(MOST, Math.round((400_000 * (pixels / (640 * 360)) ** 0.85) / 1000) * 1000);
}

/**
 * What is sent of a picture, by rid: the largest layer that is sent has all of its lines, and each before it half as many.
 * @param {number} [width] @param {number} [height] of the picture, in pixels; one whose size is not known counts as large
 * @returns {{rid: string, scale: number, maxBitrate: number, sent: boolean}[]}
 */
function layersOf(width = 0, height = 0) {
  const pixels = width * height || 1280 * 720;
  const [, count] = COUNTS.find(([least]) => pixels >= least);
  return RIDS.map((rid, index) => {
    const scale = 2 ** Math.max(0, count - 1 - index);
    return {rid, scale, maxBitrate: rateFor(pixels / scale ** 2), sent: index < count};
  });
}

/** The same for what a track has now. @param {MediaStreamTrack|null} track */
function layersOfTrack(track) {
  const {width, height} = track?.getSettings?.() ?? {};
  return layersOf(width, height);
}

const SOURCES = {audio: 'audio', video: 'camera', screen: 'screen', screenAudio: 'screen_audio'};
const KINDS = {camera: 'video', screen: 'screen'};

/** What a description offers to send, by the id of the stream: `{audio, video}`, which are `mid`s. */
export function offered(sdp) {
  const found = new Map();
  for (const section of sdp.split(/^m=/m).slice(1)) {
    const kind = /^(audio|video) [1-9]/.exec(section)?.[1];
    const mid = /^a=mid:(\S+)/m.exec(section)?.[1];
    const stream = /^a=msid:(\S+)/m.exec(section)?.[1];
    if (!kind || mid === undefined || !stream || /^a=(?:recvonly|inactive)\s*$/m.test(section)) continue;
    found.set(stream, {...found.get(stream), [kind]: mid});
  }
  return found;
}

/** `RTCConfiguration` with relays or without. */
function servers(ice, relays) {
  const all = configuration(ice);
  return relays ? all : {...all, iceServers: []};
}

/** One thing after the other, for one connection. */
class Line {
  #chain = Promise.resolve(); #queued = 0;

  constructor(pc, id, relays) {
    this.pc = pc;
    /** Whether it may go through a relay. */
    this.relays = relays;
    this.id = id;
    this.closed = false;
    /** Whether it has stood. */
    this.stood = false;
    /** What comes through it, see `offered`. */
    this.byStream = new Map();
  }

  /** @param {() => Promise<void>} job @param {(error: Error) => void} failed */
  enqueue(job, failed) {
    if (this.closed || this.#queued > MOST_QUEUED) return;
    this.#queued += 1;
    this.#chain = this.#chain.then(async () => {
      this.#queued -= 1;
      if (this.closed) return;
      try {
        await job();
      } catch (error) {
        if (!this.closed) failed(error);
      }
    });
  }

  close() {
    this.closed = true;
    this.pc.close();
  }
}

/**
 * Events: `state`; `tracks` (what comes from somebody has changed); `problem` `{error}`.
 */
export class Sfu extends EventTarget {
  #signal; #publishes; #ice; #tracks; #Pc; #later; #never; #home; #out = null; #in = null; #before = []; #expected = new Set();
  #relays = false; #senders = {}; #wanted = new Map(); #choice = null; #failures = 0; #timers = new Map(); #stood = {in: false, out: false}; #state = 'connecting'; #closed = false;

  /**
   * @param {object} options
   * @param {import('./signal.js').Signal} options.signal @param {object} options.ice as the server gave it
   * @param {boolean} options.publishes whether we may send at all
   * @param {Map<string, {track: MediaStreamTrack|null, stream: MediaStream}>} options.tracks what to send, by kind; kept by the owner
   * @param {object|null} [options.choice] what to receive, see `choose`
   * @param {MediaStream} options.home the stream that microphone and camera are said to belong to
   * @param {typeof RTCPeerConnection} options.RTCPeerConnection
   * @param {typeof setTimeout} options.setTimeout @param {typeof clearTimeout} options.clearTimeout
   */
  constructor({signal, ice, publishes, tracks, home, choice = null, RTCPeerConnection: Pc, setTimeout: later, clearTimeout: never}) {
    super();
    this.#signal = signal;
    this.#ice = ice;
    this.#relays = ice?.policy === 'relay';
    this.#publishes = publishes;
    this.#tracks = tracks;
    this.#home = home;
    this.#choice = choice;
    this.#Pc = Pc;
    this.#later = later;
    this.#never = never;
    this.#publish();
    this.#refresh();
  }

  /** `connecting`, `connected`, `reconnecting` or `closed`. */
  get state() { return this.#state; }

  /** The connection through which the others come; null before the SFU has offered one. @type {RTCPeerConnection|null} */
  get pc() { return this.#coming?.pc ?? null; }

  /** The connection before goes on to be shown until the next one stands. */
  get #coming() {
    return this.#in?.stood ? this.#in : this.#before.findLast(({side}) => side === 'in') ?? this.#in;
  }

  /** The connection through which we send. @type {RTCPeerConnection|null} */
  get sending() { return this.#out?.pc ?? null; }

  /** In which section a stream of somebody's comes, by kind. @param {string} stream the peer's id, or that with `.screen` after it */
  midOf(stream, kind) { return this.#coming?.byStream.get(stream)?.[kind] ?? null; }

  /** @param {string} stream @param {'audio'|'video'} kind @returns {MediaStreamTrack|null} */
  trackOf(stream, kind) {
    const mid = this.midOf(stream, kind);
    const track = mid === null ? null : this.pc?.getTransceivers().find((each) => each.mid === mid)?.receiver.track;
    return track?.readyState === 'live' ? track : null;
  }

  /** Say whether somebody sends anything: as long as nobody does, there is no connection to receive through. @param {string} id @param {boolean} sends */
  expect(id, sends) {
    if (sends) this.#expected.add(id);
    else this.#expected.delete(id);
    this.#refresh();
  }

  /** @param {object} ice fresh servers and credentials */
  setIce(ice) {
    this.#ice = ice;
    this.#relays ||= ice?.policy === 'relay';
    for (const line of [this.#out, this.#in]) {
      try {
        line?.pc.setConfiguration(servers(ice, line.relays));
      } catch {
        // a browser that cannot change its servers goes on with those it has
      }
    }
  }

  /** Send what `tracks` has for that kind now; only a screen that comes or goes needs a negotiation. */
  setTrack(kind) {
    const out = this.#out;
    if (!out || !this.#publishes) return;
    const {track = null, stream} = this.#tracks.get(kind) ?? {};
    const sender = this.#senders[kind];
    const transceiver = sender && out.pc.getTransceivers().find((each) => each.sender === sender);
    if (MAIN.includes(kind)) sender.replaceTrack(track).catch(() => {});
    else if (!track) {
      sender?.replaceTrack(null).catch(() => {});
      if (transceiver) transceiver.direction = 'inactive';
    } else if (transceiver) {
      if (transceiver.direction !== 'sendonly') this.#wanted.delete(kind); // to the SFU it is another track
      sender.replaceTrack(track).catch(() => {});
      transceiver.direction = 'sendonly';
    } else this.#add(kind, track, stream);
    this.#tune(kind);
  }

  /**
   * What to receive. @param {{last?: number, others?: number, tiles?: {id: string, what: 'camera'|'screen', h: number, pin?: boolean}[]}} choice
   */
  choose(choice) {
    const before = JSON.stringify(this.#choice);
    this.#choice = choice;
    if (before !== JSON.stringify(choice)) this.#sayChoice();
  }

  /** A `desc` or `reset` of the SFU's, or its `layers`. @param {object} frame */
  receive(frame) {
    if (this.#closed) return;
    if (frame.t === 'reset') this.renew();
    else if (frame.t === 'layers') this.#layers(frame.list);
    else if (frame.t === 'desc' && frame.desc.type === 'offer') this.#offered(frame);
    else if (frame.t === 'desc') this.#answered(frame);
  }

  /** Both connections anew: there is nothing left of them at the other end. */
  renew() {
    if (this.#closed) return;
    this.#retire(this.#in);
    this.#in = null;
    this.#failures = 0;
    this.#publish();
    this.#refresh();
  }

  /** The signaling is back: what was said meanwhile may not have been heard. */
  back() {
    this.#sayChoice();
    if (this.#out?.pc.signalingState === 'have-local-offer') this.#publish();
  }

  /** The machine's network has changed. */
  restart() {
    if (this.#closed) return;
    this.#failures = 0;
    this.#relays = true; // the other network may have no direct way, and there is no time to find out
    this.#publish();
    if (this.#in) this.#signal.send('reset', {to: 'sfu', pc: this.#in.id, why: 'online'});
  }

  /** End both. */
  close() {
    if (this.#closed) return;
    this.#closed = true;
    for (const timer of this.#timers.values()) this.#never(timer);
    for (const line of [this.#out, this.#in, ...this.#before]) line?.close();
    this.#setState('closed');
  }

  // ---- sending

  #publish() {
    this.#retire(this.#out);
    this.#senders = {};
    this.#wanted.clear(); // was said of tracks that are gone
    this.#out = null;
    if (!this.#publishes) return;
    const line = this.#line(randomName(8), 'out');
    this.#out = line;
    for (const kind of MAIN) this.#add(kind, this.#tracks.get(kind)?.track ?? null, this.#home);
    for (const kind of ['screen', 'screenAudio']) if (this.#tracks.get(kind)?.track) this.setTrack(kind);
    line.pc.addEventListener('negotiationneeded', () => this.#offer(line));
    this.#offer(line);
  }

  #add(kind, track, stream) {
    const init = {direction: 'sendonly', streams: [stream ?? new MediaStream(track ? [track] : [])]};
    if (kind === 'video') init.sendEncodings = layersOfTrack(track).map(({rid, scale, maxBitrate}) => ({rid, scaleResolutionDownBy: scale, maxBitrate}));
    const of = track ?? (kind === 'audio' || kind === 'screenAudio' ? 'audio' : 'video');
    this.#senders[kind] = this.#out.pc.addTransceiver(of, init).sender;
    this.#tune(kind);
  }

  #offer(line) {
    line.enqueue(async () => {
      if (line !== this.#out || line.pc.signalingState !== 'stable') return; // after the answer there is another event
      await line.pc.setLocalDescription();
      this.#sayOffer(line);
    }, (error) => this.#failed(line, error));
  }

  #sayOffer(line) {
    const {type, sdp} = line.pc.localDescription;
    const sources = {};
    for (const [kind, sender] of Object.entries(this.#senders)) {
      const {mid} = line.pc.getTransceivers().find((each) => each.sender === sender) ?? {};
      if (mid) sources[mid] = SOURCES[kind];
    }
    this.#signal.send('desc', {to: 'sfu', pc: line.id, desc: {type, sdp}, sources});
  }

  #answered({pc: id, desc}) {
    const line = this.#out;
    if (line?.id !== id) return;
    line.enqueue(async () => {
      if (line.pc.signalingState !== 'have-local-offer') return;
      await line.pc.setRemoteDescription(desc);
      for (const kind of Object.keys(this.#senders)) this.#tune(kind);
    }, (error) => this.#failed(line, error));
  }

  #layers(list) {
    if (!this.#out?.pc.remoteDescription) return; // said of a connection that is gone: the SFU does not know this one yet
    for (const {what, rids} of list) {
      const kind = KINDS[what];
      if (!kind) continue;
      this.#wanted.set(kind, new Set(rids));
      this.#tune(kind);
    }
  }

  /** Speech first; of a picture only the layers that somebody receives. */
  #tune(kind) {
    const line = this.#out;
    const sender = this.#senders[kind];
    if (!line || !sender?.setParameters) return;
    line.enqueue(async () => {
      const parameters = sender.getParameters();
      if (!parameters.encodings?.length) return;
      const wanted = this.#wanted.get(kind);
      const layers = kind === 'video' ? layersOfTrack(sender.track) : [];
      const single = parameters.encodings.length === 1; // which keeps its rid in Chromium where the answer refused layers
      for (const encoding of parameters.encodings) {
        if (kind === 'audio') Object.assign(encoding, {priority: 'high', networkPriority: 'high'});
        else encoding.active = !wanted || (single ? wanted.size > 0 : wanted.has(encoding.rid));
        if (kind !== 'video') continue;
        // Where the other end takes no layers, one picture of full size remains.
        const {scale, maxBitrate, sent} = single ? layers.findLast((layer) => layer.sent) : layers.find(({rid}) => rid === encoding.rid);
        Object.assign(encoding, {scaleResolutionDownBy: scale, maxBitrate});
        if (line.pc.remoteDescription && !sent) encoding.active = false; // before, Chromium would keep layers that the answer refuses
      }
      if (kind === 'video') parameters.degradationPreference = 'maintain-framerate';
      if (kind === 'screen') parameters.degradationPreference = 'maintain-resolution';
      await sender.setParameters(parameters);
    }, () => {}); // what a browser does not let itself be told it decides by itself
  }

  // ---- receiving

  #offered({pc: id, desc}) {
    if (this.#in?.id !== id) {
      this.#retire(this.#in);
      this.#in = this.#line(id, 'in');
      this.#sayChoice();
    }
    const line = this.#in;
    line.enqueue(async () => {
      await line.pc.setRemoteDescription(desc);
      await line.pc.setLocalDescription();
      if (line !== this.#in) return;
      const {type, sdp} = line.pc.localDescription;
      this.#signal.send('desc', {to: 'sfu', pc: id, desc: {type, sdp}});
      line.byStream = offered(desc.sdp);
      this.#emit('tracks', {});
    }, (error) => this.#failed(line, error));
  }

  #sayChoice() {
    if (this.#choice && this.#in) this.#signal.send('choose', this.#choice);
  }

  // ---- both

  #line(id, side) {
    const line = new Line(new this.#Pc(servers(this.#ice, this.#relays)), id, this.#relays);
    line.side = side;
    line.pc.addEventListener('iceconnectionstatechange', () => this.#checks(line));
    line.pc.addEventListener('connectionstatechange', () => this.#changed(line));
    line.pc.addEventListener('track', () => this.#emit('tracks', {}));
    this.#patience(line, PATIENCE);
    return line;
  }

  /** The connection that was goes on until the next one stands. */
  #retire(line) {
    if (!line) return;
    this.#never(this.#timers.get(line));
    this.#timers.delete(line);
    if (line.pc.connectionState === 'connected') this.#before.push(line);
    else line.close();
  }

  #changed(line) {
    if (line.closed || (line !== this.#out && line !== this.#in)) return;
    const {connectionState} = line.pc;
    if (connectionState === 'connected') {
      line.stood = true;
      this.#stood[line.side] = true;
      this.#never(this.#timers.get(line));
      this.#timers.delete(line);
      for (const old of this.#before.filter(({side}) => side === line.side)) old.close();
      this.#before = this.#before.filter(({side}) => side !== line.side);
      this.#emit('tracks', {});
    } else if (connectionState === 'disconnected') this.#patience(line, SETTLE);
    else if (connectionState === 'failed') this.#failed(line, new Error('The connection has failed.'));
    this.#refresh();
  }

  /** The direct way has so long; once it has not come about, no connection goes without relays any more. */
  #checks(line) {
    if (line.relays || line.deadline || line.pc.iceConnectionState !== 'checking') return;
    line.deadline = this.#later(() => {
      if (!this.#relays && !line.closed && !line.stood && !['connected', 'completed'].includes(line.pc.iceConnectionState)) this.#relay();
    }, DIRECT);
  }

  /** There is no direct way: what does not stand is made anew, with relays. */
  #relay() {
    this.#relays = true;
    for (const line of [this.#out, this.#in]) {
      if (!line || line.relays || line.pc.connectionState === 'connected') continue;
      this.#never(this.#timers.get(line));
      this.#replace(line);
    }
  }

  /** A connection that does not come about, or is in doubt, for so long has failed. */
  #patience(line, delay) {
    this.#never(this.#timers.get(line));
    this.#timers.set(line, this.#later(() => {
      if (line.pc.connectionState !== 'connected') this.#failed(line, new Error('No path was found.'));
    }, delay));
  }

  #failed(line, error) {
    if (this.#closed || line.closed || (line !== this.#out && line !== this.#in)) return;
    if (!this.#relays && !line.stood && line.pc.iceConnectionState === 'failed') {
      this.#relay();
      return;
    }
    this.#relays ||= line.stood; // what has broken is mended by whatever way there is, at once
    this.#emit('problem', {error});
    const pause = RETRIES[Math.min(this.#failures, RETRIES.length - 1)];
    this.#failures += 1;
    this.#never(this.#timers.get(line));
    this.#timers.set(line, this.#later(() => this.#replace(line), pause));
  }

  #replace(line) {
    this.#timers.delete(line);
    if (this.#closed) return;
    if (line === this.#out) this.#publish();
    else if (line === this.#in) {
      this.#signal.send('reset', {to: 'sfu', pc: line.id, why: 'failed'});
      this.#patience(line, PATIENCE);
    }
  }

  #refresh() {
    if (this.#closed) return;
    const stands = (line) => line?.pc.connectionState === 'connected';
    const missing = [];
    if ((this.#in !== null || this.#expected.size > 0) && !stands(this.#in)) missing.push('in');
    if (this.#publishes && !stands(this.#out)) missing.push('out');
    if (missing.length === 0) this.#failures = 0;
    // The first that comes from anybody makes a connection that there was not: nothing has been lost.
    const lost = missing.some((side) => this.#stood[side]);
    this.#setState(missing.length === 0 ? 'connected' : lost ? 'reconnecting' : 'connecting');
  }

  #setState(state) {
    if (state === this.#state) return;
    this.#state = state;
    this.#emit('state', {state});
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, {detail}));
  }
}
