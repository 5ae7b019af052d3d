/** How each connection does, and which ways to a relay are open. */

const GATHER_PATIENCE = 8000; // ms

/**
 * @typedef {object} PeerStats
 * @property {'direct'|'relay'|'server'|'unknown'} path `server`: through its SFU @property {boolean} relayed whether a relay is on the way
 * @property {'udp'|'tcp'|'tls'|null} transport to our relay, or between us
 * @property {string|null} via the relay's name @property {string} pathText `relay TLS via turn.example.org`
 * @property {number|null} rtt ms @property {number|null} up kbit/s @property {number|null} down kbit/s @property {number|null} loss %
 * @property {number|null} fps @property {number|null} width @property {number|null} height of the picture received
 * @property {string|null} limitation why our picture is not better: `cpu`, `bandwidth`, `other` or `none`
 * @property {number} framesDecoded @property {number|null} audioLevel of what is received, 0 to 1
 * @property {number} nacks how often packets were asked for again @property {number} plis how often a whole picture was
 */

/**
 * @typedef {object} Sending What goes to an SFU.
 * @property {{height: number, fps: number}[]} layers of the pictures, the smallest first: those that anybody receives
 * @property {number|null} estimate kbit/s that the browser believes there is room for
 */

/** The host of a `turn:` or `stun:` URL. */
function hostOf(url) {
  return /^(?:turns?|stuns?):(\[[^\]]+\]|[^:?]+)/i.exec(url ?? '')?.[1] ?? null;
}

/** `udp`, `tcp` or `tls`: how a TURN URL is reached. @param {string} url */
export function transportOf(url) {
  if (/^turns:/i.test(url)) return /transport=udp/i.test(url) ? 'udp' : 'tls';
  return /transport=tcp/i.test(url) ? 'tcp' : 'udp';
}

/** The candidate pair in use, from a statistics report of any browser. */
function selectedPair(reports) {
  const pairs = [];
  for (const report of reports.values()) {
    if (report.type === 'transport' && report.selectedCandidatePairId) {
      const pair = reports.get(report.selectedCandidatePairId);
      if (pair) return pair;
    }
    if (report.type === 'candidate-pair') pairs.push(report);
  }
  const busiest = (list) => list.sort((one, other) => (other.bytesReceived ?? 0) - (one.bytesReceived ?? 0))[0] ?? null;
  return pairs.find(({selected}) => selected) ?? busiest(pairs.filter(({state, nominated}) => state === 'succeeded' && nominated));
}

/** Whether a candidate is a relay's: its type may say `prflx` of one that was met before it was announced. */
function isRelay(candidate) {
  return Boolean(candidate) && (candidate.candidateType === 'relay' || Boolean(candidate.relayProtocol) || /^turns?:/i.test(candidate.url ?? ''));
}

/**
 * Which way the media take.
 * @param {RTCStatsReport|Map<string, object>} reports
 * @param {{path: string, proto: string|null, by: string|null}} [server] what the server's table says of the pair
 * @param {object} [ice] servers, for the name of a relay that the browser does not name
 */
export function pathOf(reports, server, ice) {
  const pair = selectedPair(reports);
  const nothing = {pair: null, path: 'unknown', transport: null, via: null, pathText: 'not connected'};
  if (!pair) return nothing;
  const local = reports.get(pair.localCandidateId);
  const remote = reports.get(pair.remoteCandidateId);
  if (!local || !remote) return {...nothing, pair};
  const ours = isRelay(local);
  // A peer-reflexive candidate can hide the other end's relay; the server knows its own relays.
  const theirs = isRelay(remote) || (!ours && remote.candidateType === 'prflx' && server?.path === 'relay');
  if (!ours && !theirs) {
    const transport = (local.protocol ?? 'udp').toLowerCase();
    return {pair, path: 'direct', transport, via: null, pathText: `direct ${transport.toUpperCase()}`};
  }
  const named = local.relayProtocol ?? (local.url ? transportOf(local.url) : null);
  const transport = (ours ? named ?? server?.proto : server?.proto) ?? null;
  const via = (ours ? hostOf(local.url) : null) ?? hostOf(ice?.servers?.[0]?.urls?.[0]);
  const words = ['relay', transport?.toUpperCase(), via && `via ${via}`].filter(Boolean);
  return {pair, path: 'relay', transport: transport?.toLowerCase() ?? null, via, pathText: words.join(' ')};
}

/** The same for somebody whose media come through the server's SFU. @param {RTCStatsReport|Map<string, object>} reports @param {object} [ice] */
export function pathThrough(reports, ice) {
  const {path, pathText, ...way} = pathOf(reports, undefined, ice);
  if (path === 'unknown') return {path, pathText, ...way, relayed: false};
  return {...way, path: 'server', relayed: path === 'relay', pathText: path === 'relay' ? `server, ${pathText}` : `server ${way.transport.toUpperCase()}`};
}

/** Measures one connection, or what comes from one participant through that with an SFU, from one call to the next. */
export class PeerMeter {
  #before = null;

  /** The report that was last measured, and the candidate pair in use. @type {{reports: RTCStatsReport, pair: object|null}|null} */
  raw = null;

  /**
   * @param {import('./peer.js').Peer} peer @param {import('./mesh.js').Mesh} [mesh]
   * @param {(pc: RTCPeerConnection) => Promise<RTCStatsReport|null>} [shared] gives the reports of connections that several have in common
   * @returns {Promise<PeerStats|null>} null if the connection went away meanwhile
   */
  async measure(peer, mesh, shared) {
    const {pc} = peer;
    const reports = await (shared?.(pc) ?? reportsOf(pc));
    if (reports === null) return null;
    const through = peer.way === 'sfu';
    const {pair, ...way} = through ? pathThrough(reports, mesh?.ice) : {relayed: false, ...pathOf(reports, mesh?.serverPaths.get(peer.id), mesh?.ice)};
    this.raw = {reports, pair};
    const found = media(reports, peer.cameraMid, peer.microphoneMid, through ? new Set(peer.mids) : null);
    const received = through ? found.bytes : pair?.bytesReceived ?? 0;
    const now = {pc, at: performance.now(), sent: pair?.bytesSent ?? 0, ...found, received};
    const before = this.#before?.pc === pc && this.#before.pair === pair?.id ? this.#before : null;
    this.#before = {...now, pair: pair?.id};
    const seconds = before ? (now.at - before.at) / 1000 : 0;
    const rate = (key) => (seconds > 0 ? Math.max(0, ((now[key] - before[key]) * 8) / 1000 / seconds) : null);
    const roundTrip = pair?.currentRoundTripTime;
    return {
      ...way,
      rtt: typeof roundTrip === 'number' ? roundTrip * 1000 : null,
      up: through ? null : rate('sent'), // what we send goes to all of them at once
      down: rate('received'),
      loss: lossBetween(before, now),
      fps: now.fps ?? (seconds > 0 ? Math.max(0, (now.framesDecoded - before.framesDecoded) / seconds) : null),
      width: now.width,
      height: now.height,
      limitation: now.limitation,
      framesDecoded: now.framesDecoded,
      audioLevel: now.audioLevel,
      nacks: now.nacks,
      plis: now.plis,
    };
  }
}

function lossBetween(before, now) {
  if (!before) return null;
  const lost = Math.max(0, now.lost - before.lost);
  const all = lost + Math.max(0, now.packets - before.packets);
  return all > 0 ? (lost * 100) / all : null;
}

/** @param {RTCPeerConnection|null} pc @returns {Promise<RTCStatsReport|null>} null if the connection went away meanwhile */
async function reportsOf(pc) {
  try {
    return await pc.getStats();
  } catch {
    return null;
  }
}

/** @param {Set<string>|null} mids the sections that count, if not all do */
function media(reports, cameraMid, microphoneMid, mids) {
  const found = {lost: 0, packets: 0, bytes: 0, nacks: 0, plis: 0, fps: null, width: null, height: null, limitation: null, framesDecoded: 0, audioLevel: null};
  for (const report of reports.values()) {
    const kind = report.kind ?? report.mediaType;
    if (report.type === 'inbound-rtp') {
      if (mids && report.mid !== undefined && !mids.has(report.mid)) continue;
      found.bytes += (report.bytesReceived ?? 0) + (report.headerBytesReceived ?? 0);
      found.nacks += report.nackCount ?? 0;
      found.plis += report.pliCount ?? 0;
      found.lost += report.packetsLost ?? 0;
      found.packets += report.packetsReceived ?? 0;
      if (kind === 'audio') {
        if (!microphoneMid || report.mid === undefined || report.mid === microphoneMid) found.audioLevel = report.audioLevel ?? found.audioLevel;
      } else if (report.mid === undefined || report.mid === cameraMid) {
        found.framesDecoded = report.framesDecoded ?? 0;
        found.fps = report.framesPerSecond ?? null;
        found.width = report.frameWidth ?? null;
        found.height = report.frameHeight ?? null;
      }
    } else if (report.type === 'outbound-rtp' && kind === 'video' && (report.mid === undefined || report.mid === cameraMid)) {
      found.limitation = report.qualityLimitationReason ?? found.limitation;
    }
  }
  return found;
}

/** Measures every connection of a room, once a second while it runs. */
export class StatsMonitor {
  #mesh; #interval; #meters = new WeakMap(); #timer = null; #run = 0;

  /** @param {import('./mesh.js').Mesh} mesh @param {{interval?: number}} [options] ms */
  constructor(mesh, {interval = 1000} = {}) {
    this.#mesh = mesh;
    this.#interval = interval;
    /** The last measurement of each peer. @type {Map<string, PeerStats>} */
    this.latest = new Map();
    /** What the last measurements come from. @type {Map<string, {reports: RTCStatsReport, pair: object|null}>} */
    this.raw = new Map();
    /** What goes to the server's SFU; null in a mesh. @type {Sending|null} */
    this.sending = null;
    /** Called after each round. @type {((latest: Map<string, PeerStats>) => void)|null} */
    this.onupdate = null;
  }

  /** Begin. */
  start() {
    if (this.#timer !== null) return;
    this.#run += 1;
    const run = this.#run;
    const round = async () => {
      await this.measure();
      if (run !== this.#run) return;
      this.#timer = setTimeout(round, this.#interval);
      this.onupdate?.(this.latest);
    };
    this.#timer = setTimeout(round, 0);
  }

  /** Stop; what was measured last remains. */
  stop() {
    clearTimeout(this.#timer);
    this.#timer = null;
    this.#run += 1;
  }

  async #measureSending() {
    const pc = this.#mesh.sfu?.sending;
    const reports = pc ? await reportsOf(pc) : null;
    return reports && sendingOf(reports);
  }

  /** One round, now. */
  async measure() {
    const peers = [...this.#mesh.peers.values()];
    const once = new Map();
    const shared = (pc) => {
      if (!once.has(pc)) once.set(pc, reportsOf(pc));
      return once.get(pc);
    };
    this.sending = await this.#measureSending();
    const found = await Promise.all(peers.map((peer) => {
      if (!this.#meters.has(peer)) this.#meters.set(peer, new PeerMeter());
      return this.#meters.get(peer).measure(peer, this.#mesh, shared);
    }));
    peers.forEach((peer, index) => {
      if (!found[index]) return;
      this.latest.set(peer.id, found[index]);
      this.raw.set(peer.id, this.#meters.get(peer).raw);
    });
    for (const map of [this.latest, this.raw]) for (const id of [...map.keys()]) if (!this.#mesh.peers.has(id)) map.delete(id);
    return this.latest;
  }
}

/**
 * What a connection sends to an SFU.
 * @param {RTCStatsReport|Map<string, object>} reports
 * @returns {Sending}
 */
export function sendingOf(reports) {
  const layers = [...reports.values()]
    .filter(({type, kind, active, framesPerSecond}) => type === 'outbound-rtp' && kind === 'video' && active !== false && framesPerSecond > 0)
    .map(({frameHeight, framesPerSecond}) => ({height: frameHeight ?? 0, fps: framesPerSecond}))
    .sort((one, other) => one.height - other.height);
  const estimate = selectedPair(reports)?.availableOutgoingBitrate;
  return {layers, estimate: typeof estimate === 'number' ? estimate / 1000 : null};
}

/**
 * Try every way to a relay, each with a connection of its own that is thrown away.
 * @param {object} ice as the server gave it
 * @param {{RTCPeerConnection?: typeof RTCPeerConnection, timeout?: number}} [options] ms
 * @returns {Promise<{udp: 'ok'|'blocked'|null, tcp: 'ok'|'blocked'|null, tls: 'ok'|'blocked'|null, host: boolean, srflx: boolean,
 *   errors: {transport: string, code: number, url: string, text: string}[]}>} null: the server offers no such way
 */
export async function checkNetwork(ice, {RTCPeerConnection: Pc = globalThis.RTCPeerConnection, timeout = GATHER_PATIENCE} = {}) {
  const result = {udp: null, tcp: null, tls: null, host: false, srflx: false, errors: []};
  const gathered = await Promise.all(['udp', 'tcp', 'tls'].map(async (transport) => {
    const servers = (ice?.servers ?? [])
      .map((server) => ({...server, urls: [server.urls].flat().filter((url) => /^turns?:/i.test(url) && transportOf(url) === transport)}))
      .filter(({urls}) => urls.length > 0);
    if (servers.length === 0) return null;
    const {types, errors} = await gather(Pc, {iceServers: servers, iceTransportPolicy: transport === 'udp' ? 'all' : 'relay'}, timeout);
    result[transport] = types.has('relay') ? 'ok' : 'blocked';
    result.errors.push(...errors.map((error) => ({transport, ...error})));
    return types;
  }));
  let types = gathered[0];
  if (!types) ({types} = await gather(Pc, {iceServers: []}, timeout));
  result.host = types.has('host');
  result.srflx = types.has('srflx');
  return result;
}

/** The types of candidate that a configuration gives; ends with the first relay (which comes last), or when all are there. */
async function gather(Pc, configuration, timeout) {
  const pc = new Pc(configuration);
  const types = new Set();
  const errors = [];
  let timer;
  try {
    const done = new Promise((resolve) => {
      timer = setTimeout(resolve, timeout);
      pc.addEventListener('icecandidate', ({candidate}) => {
        const type = / typ (\w+)/.exec(candidate?.candidate ?? '')?.[1];
        if (type) types.add(type);
        if (candidate === null || type === 'relay') resolve();
      });
      pc.addEventListener('icecandidateerror', ({errorCode, url, errorText}) => {
        if (errors.length < 16) errors.push({code: errorCode ?? 0, url: url ?? '', text: errorText ?? ''});
      });
    });
    pc.createDataChannel('check');
    await pc.setLocalDescription(await pc.createOffer());
    await done;
  } finally {
    clearTimeout(timer);
    pc.close();
  }
  return {types, errors};
}
