/**
 * What our uplink carries, and who gets how much of it. No DOM and no clock here: time and statistics are arguments.
 *
 * In a mesh each connection looks for its own bandwidth. On a slow uplink they all stand in one queue, which never
 * empties: each takes the delay that the others make for the way it is. So there is one estimate for all of them. It is
 * unknown, and nothing is limited, until our own queue shows: the round trips to all of the others have grown, or packets
 * to all of them are lost. Then the uplink carries what arrives. The budget is a bit less, and less still until the queue
 * has emptied. It grows while all goes well, more slowly where it went wrong before, until nothing is limited any more.
 *
 * Sound comes first, then a shared screen, then cameras by the size at which the others show them. With less than
 * `SOUND_BELOW` for each of them there is only sound. That says nothing of what else the uplink would carry; so now and
 * then the camera is tried, for one after the other, and ever more rarely where that fails.
 */

import {ONLY_SOUND} from './speech.js';

/** @typedef {{maxBitrate?: number, maxFramerate?: number, height?: number, active?: boolean}} Limit bit/s, 1/s, lines */
/** @typedef {{audio?: Limit, video?: Limit, screen?: Limit, packetTime?: number, by?: string, shape?: number}} Limits of one connection; `by`: what the camera is limited by; `shape`: which of `SHAPES` */

const SOUND_BELOW = 80_000; // bit/s for each of the others
const HOPELESS = SOUND_BELOW / 2; // what speech needs by itself
const SLOW_BELOW = 160_000;
const ROOM_ABOVE = 1.25; // times these, until it counts as better
const PROVEN = 1.1; // times this has been sent without a queue, once a trial is through
const ENOUGH = 1.15; // times what is wanted: there is no limit any more
const PATIENCE = 2000; // ms below, until it counts as worse; and
const DOUBT = 6; // times as long where it is not by much
const QUEUE = 0.15; // s of our own queue that are too much
const CALM = 0.07; // s of it that do no harm
const LOSS = 0.1;
const STRAIN = 0.85; // of what is sent
const ROOMY = 1.3;
const STRAINED = 3; // times in a row
const TRIES = 3; // of emptying the queue to know
const FAR = 0.25; // s: a least round trip that may be one with a queue in it
const FLOOR = 20_000; // bit/s for each: less than speech needs
const FULL = 0.6; // s: the queue of a router, at most
const DRAIN = 0.45; // of the capacity, while a queue empties
const HOLD = 2500; // ms after that until what was reduced can be seen
const REST = 3000; // ms without growth after that
const WINDOW = 3000; // ms over which is measured
const FRESH = 8000; // ms for which a round trip says something
const BASE = 150_000; // ms; the least round trip is that of the last one or two of these
const FORGET = 60_000; // ms for which is known where it went wrong
const TRIAL = Object.freeze({first: 5000, hopeless: 20_000, most: 120_000, step: 3000});

const PACKET_TIMES = Object.freeze({good: 0, slow: 40, sound: ONLY_SOUND}); // ms of speech in a packet; 0: as the browsers agree, 20
const PACKET = 58 * 8; // bits of IP, UDP, RTP and SRTP around speech
const BESIDES = 4000; // bit/s for each: RTCP, STUN
const SIGNALING = 6000; // bit/s
const SPEECH = Object.freeze({least: 8000, slow: 20_000, most: 24_000});
const PICTURE = 0.85; // of what the camera takes, the rest is headers
const LEAST_PICTURE = 22_000; // bit/s: less is no picture

/** Widths in pixels that a picture is said to be shown at; a little more is the next. */
const WIDTHS = [160, 320, 480, 640, 960, 1280, 1920];

/** @param {number} pixels @returns {number} the class of a picture that is shown so wide; 0: not shown */
export function widthClass(pixels) {
  if (!(pixels > 0)) return 0;
  return WIDTHS.find((width) => width * 1.1 >= pixels) ?? WIDTHS.at(-1);
}

/** What another one says of how wide it shows us: anything may come. @returns {number|null} null: nothing */
export function shownWidth(meta, id) {
  const said = meta?.show?.[id];
  return Number.isFinite(said) ? Math.min(Math.max(said, 0), WIDTHS.at(-1)) : null;
}

/**
 * What of a statistics report matters here, in counters.
 * @param {Map<string, object>} reports @param {object|null} pair the candidate pair in use
 */
export function counters(reports, pair) {
  const found = {pair: pair?.id ?? null, available: pair?.availableOutgoingBitrate ?? null, sent: pair?.bytesSent ?? 0, packets: pair?.packetsSent ?? 0, expected: 0, lost: 0, trips: pair?.responsesReceived ?? 0, travelled: pair?.totalRoundTripTime ?? 0, speech: 0};
  for (const report of reports.values()) {
    if (report.type === 'outbound-rtp') {
      found.expected += report.packetsSent ?? 0;
      if ((report.kind ?? report.mediaType) === 'audio') found.speech += report.packetsSent ?? 0;
    } else if (report.type === 'remote-inbound-rtp') {
      found.lost += report.packetsLost ?? 0;
      // Firefox counts no round trips; a changed value is a new one.
      found.trips += report.roundTripTimeMeasurements ?? 0;
      found.travelled += report.totalRoundTripTime ?? 0;
    }
  }
  if (pair && pair.responsesReceived === undefined) {
    const last = [...reports.values()].find(({type, roundTripTime}) => type === 'remote-inbound-rtp' && roundTripTime > 0)?.roundTripTime;
    found.last = pair.currentRoundTripTime ?? last ?? null;
  }
  if (found.packets === 0) found.packets = found.expected;
  return found;
}

/** The round trips of one connection, and by how much they have grown over the least. */
class Trips {
  #before = null; #recent = []; #least = [Infinity, Infinity]; #turned = 0; #tries = 0;

  note(now, counted) {
    const before = this.#before;
    this.#before = counted;
    if (before?.pair !== counted.pair) {
      this.#recent = [];
      this.#least = [Infinity, Infinity];
      this.#turned = now;
      this.#tries = 0;
      if (before !== null) return;
    }
    const count = counted.trips - (before?.trips ?? 0);
    let trip = count > 0 ? (counted.travelled - (before?.travelled ?? 0)) / count : null;
    if (trip === null && counted.last > 0 && counted.last !== before?.last) trip = counted.last;
    if (!(trip > 0)) return;
    if (now - this.#turned > BASE) {
      this.#least = [this.#least[1], Infinity];
      this.#turned = now;
    }
    this.#least[1] = Math.min(this.#least[1], trip);
    this.#recent = [...this.#recent, {at: now, trip}].slice(-2);
  }

  /**
   * s; null if there is nothing new to go by. A single late answer does not count; of `several` connections each has one.
   * @param {number} now ms @param {boolean} several
   */
  growth(now, several) {
    const fresh = this.#recent.filter(({at}) => now - at <= FRESH).map(({trip}) => trip).slice(several ? -1 : -2);
    return fresh.length === 0 ? null : Math.min(...fresh) - Math.min(...this.#least);
  }

  /** Whether the least round trip may have been measured behind a queue: a call that begins on a slow uplink knows no other. */
  get doubtful() { return this.#tries < TRIES && Math.min(...this.#least) > FAR && Math.min(...this.#least) < Infinity; }

  /** s by which the last one has, if it is of now. */
  last(now) {
    const found = this.#recent.at(-1);
    return found?.at === now ? found.trip - Math.min(...this.#least) : 0;
  }

  /** What has been measured now says nothing. */
  skip(counted) {
    this.#before = counted;
    this.#recent = [];
  }

  /** A queue has been emptied: what was measured is over. */
  forget() {
    this.#recent = [];
    if (!this.doubtful) return;
    this.#least = [Infinity, Infinity];
    this.#tries += 1;
  }

  /** The delay is not ours: take it as it is. */
  accept() {
    this.#least = [Infinity, Math.min(...this.#recent.map(({trip}) => trip))];
  }
}

/** One estimate for all connections. */
export class Estimate {
  #trips = new Map(); #before = new Map(); #history = []; #at = null; #capacity = Infinity; #until = -Infinity; #grow = -Infinity;
  #drain = -Infinity;
  #wrong = null; #blamed = 0; #seen = 0; #strained = 0; #doubtful = false; #late = false; #roomy = false;

  /** Bit/s on the wire that the uplink carries; Infinity while nothing is known of a limit. */
  get capacity() { return this.#capacity; }

  /** s of our own queue, as far as is known. */
  queue = 0;

  /** The part of the packets that gets lost on the way out. */
  loss = 0;

  /** bit/s on the wire. */
  rate = 0;

  /** Bit/s that may be sent now: less than the capacity while a queue empties. */
  get budget() {
    return this.#capacity * (this.draining ? DRAIN : 1 - Math.min(1 - DRAIN, 2 * Math.max(0, this.queue - CALM)));
  }

  /** Whether a queue is being emptied. */
  get draining() { return this.#at < this.#drain; }

  /** Whether there is too much just now. */
  get congested() {
    return ((this.queue > QUEUE || this.loss > LOSS) && !this.#roomy) || this.#doubtful || (this.#strained >= STRAINED && !this.limited);
  }

  /** Whether there may be too much: reason enough to end what is only tried. */
  get uneasy() { return this.congested || (!this.#roomy && (this.#strained > 1 || this.#late)); }

  /** Whether a limit is known. */
  get limited() { return this.#capacity < Infinity; }

  /**
   * @param {number} now ms @param {Map<string, ReturnType<typeof counters>>} counted by connection
   * @param {number} wanted bit/s that would be sent if nothing were limited
   */
  step(now, counted, wanted) {
    const sum = {at: now, bits: 0, packets: 0, lost: 0, ms: this.#at === null ? 0 : now - this.#at};
    const growths = [];
    let late = false;
    const drained = this.#at < this.#drain && now >= this.#drain;
    for (const [id, one] of counted) {
      const trips = this.#trips.get(id) ?? new Trips();
      this.#trips.set(id, trips);
      if (drained) trips.forget();
      trips.note(now, one);
      const growth = trips.growth(now, counted.size > 1);
      if (growth !== null) growths.push(growth);
      late ||= trips.last(now) > QUEUE;
      const before = this.#before.get(id);
      if (before?.pair !== one.pair) continue;
      const packets = Math.max(0, one.packets - before.packets);
      sum.bits += Math.max(0, one.sent - before.sent) * 8 + packets * 28 * 8;
      sum.packets += Math.max(0, one.expected - before.expected);
      // What was lost before less was sent is told late.
      if (now >= this.#until) sum.lost += Math.max(0, one.lost - before.lost);
      sum.available = one.available === null ? NaN : (sum.available ?? 0) + one.available;
    }
    for (const id of this.#trips.keys()) if (!counted.has(id)) this.#trips.delete(id);
    this.#before = new Map(counted);
    this.#at = now;
    this.#history = [...this.#history, sum].filter(({at}) => now - at < WINDOW);
    this.#late = late;
    this.queue = growths.length === 0 ? 0 : Math.min(...growths);
    const total = (key) => this.#history.reduce((all, each) => all + each[key], 0);
    this.loss = total('packets') >= 20 ? Math.min(1, total('lost') / total('packets')) : 0;
    this.rate = total('ms') > 0 ? (total('bits') * 1000) / total('ms') : 0;
    // The browsers would send less than they do: sound, or a picture, cannot get smaller by itself.
    const last = (sum.bits * 1000) / Math.max(1, sum.ms);
    // Where the browsers expect more than is sent, a delay is not that of our queue.
    this.#roomy = sum.available > last * ROOMY;
    this.#strained = now < this.#until || !(sum.available < last * STRAIN) ? 0 : sum.available < last / 2 ? STRAINED : this.#strained + 1;
    // Far away, or behind our own queue? Where there seems to be little room the queue is emptied once, to know.
    const little = sum.available >= 0 ? sum.available < wanted / 2 : this.loss > LOSS / 3 || this.limited;
    this.#doubtful = little && counted.size > 0 && [...counted.keys()].every((id) => this.#trips.get(id).doubtful);
    if (sum.ms > 0) this.#judge(now, sum, counted.size, wanted);
  }

  /**
   * The machine is too busy for what has been measured to say anything of the uplink: late timers are late answers, too.
   * @param {number} now ms @param {Map<string, ReturnType<typeof counters>>} counted by connection
   */
  skip(now, counted) {
    for (const [id, one] of counted) this.#trips.get(id)?.skip(one);
    this.#before = new Map(counted);
    this.#at = now;
    this.#history = [];
    this.queue = 0;
    this.loss = 0;
    this.#strained = 0;
    this.#doubtful = false;
    this.#late = false;
    this.#until = Math.max(this.#until, now + HOLD);
    this.#grow = Math.max(this.#grow, now + HOLD);
  }

  #judge(now, {ms, available}, count, wanted) {
    if (this.congested) {
      if (now >= this.#until) this.#reduce(now, available, count);
    } else {
      this.#blamed = 0;
      if (this.#strained > 0) this.#grow = now + REST; // the browsers go back already, before our queue shows
      else if (this.queue > CALM) this.#capacity *= 1 - 0.04 * (ms / 1000);
      else if (this.loss < LOSS / 3 && now >= this.#grow) this.#raise(now, ms / 1000, this.#capacity / count < HOPELESS);
    }
    if (this.#capacity > wanted * ENOUGH) this.#capacity = Infinity;
  }

  #reduce(now, available, count) {
    // Less was sent, and the delay is what it was: somebody else's, or a longer way.
    this.#blamed = this.loss <= LOSS && this.queue > this.#seen * 0.8 ? this.#blamed + 1 : 0;
    this.#seen = this.queue;
    if (this.#blamed > 3) {
      for (const trips of this.#trips.values()) trips.accept();
      this.#blamed = 0;
      return;
    }
    const arrived = Math.max(...this.#history.map(({bits, ms}) => (bits * 1000) / Math.max(1, ms))) * (1 - this.loss);
    const sent = Math.min(this.#capacity, arrived);
    // Where the browsers estimate it, too, their estimates together are near it, and below.
    const least = this.loss > 2.5 * LOSS || available < sent / 2 ? 0.35 : this.loss > LOSS ? 0.5 : 0.9;
    const estimated = available < sent ? Math.max(available, sent * least) : sent * 0.95;
    this.#wrong = {at: now, capacity: sent};
    this.#capacity = Math.max(FLOOR * count, estimated);
    const unknown = this.loss > LOSS / 3 || this.#doubtful || available < sent / 2;
    this.#drain = now + (unknown ? 3000 : 500 + (Math.min(FULL, this.queue) * 1000) / (1 - DRAIN));
    this.#until = this.#drain + HOLD;
    this.#grow = this.#until + REST;
    this.#history = [];
  }

  /** @param {number} now ms @param {number} seconds since the last time @param {boolean} hopeless speech alone fills it: a queue would be heard, and trials say more */
  #raise(now, seconds, hopeless) {
    if (this.#wrong !== null && now - this.#wrong.at > FORGET) this.#wrong = null;
    if (hopeless && this.#capacity > this.#wrong?.capacity * 0.92) return;
    const careful = hopeless || (this.#wrong !== null && this.#capacity > this.#wrong.capacity * 0.85);
    const grown = this.#capacity * (1 + (careful ? 0.015 : 0.06) * seconds);
    // Of what is not used nobody knows whether there is more.
    const used = this.rate > this.#capacity * 0.5;
    this.#capacity = used ? Math.max(this.#capacity, Math.min(grown, this.rate * 1.25)) : this.#capacity * (1 + 0.01 * seconds);
  }

  /** What was tried has filled our queue, and ends: empty it. @param {number} now ms */
  undo(now) {
    this.#drain = Math.max(this.#drain, now + 500 + (FULL * 1000) / (1 - DRAIN));
    this.#until = Math.max(this.#until, this.#drain + HOLD);
    this.#grow = Math.max(this.#grow, this.#until + REST);
    this.#history = [];
  }

  /** Something has been tried that took so much, and it went well. @param {number} bits bit/s */
  proven(bits) {
    if (this.#capacity < bits) this.#capacity = bits;
  }
}

/** Whether there is room for pictures: `good`, `slow`, or `sound` only. */
export class Mode {
  #since = null; #trialAt = null; #wait = TRIAL.first; #stepAt = 0;

  /** `good`, `slow` or `sound`. */
  name = 'good';

  /** How many of the others get a picture in a trial; 0: there is none. */
  trial = 0;

  /** @param {number} now ms @param {Estimate} estimate @param {number} count of the others @returns {boolean} whether the mode has changed */
  step(now, estimate, count) {
    const share = estimate.capacity / Math.max(1, count);
    const before = this.name;
    if (this.name === 'sound') this.#try(now, estimate, share, count);
    else {
      let wanted = share < SOUND_BELOW ? 'sound' : share < (this.name === 'slow' ? ROOM_ABOVE : 1) * SLOW_BELOW ? 'slow' : 'good';
      const doubt = wanted === 'sound' && share > SOUND_BELOW * 0.75;
      if (doubt && this.name === 'good') wanted = 'slow';
      if (wanted === this.name) this.#since = null;
      else if (this.#since === null) this.#since = now;
      const clear = share < HOPELESS && estimate.congested;
      const patience = clear ? 0 : PATIENCE * (doubt && wanted === 'sound' ? DOUBT : 1);
      if (this.#since !== null && now - this.#since >= patience) {
        this.name = wanted;
        this.#since = null;
        if (wanted === 'sound') this.#later(now, share);
        else if (wanted === 'good') this.#wait = TRIAL.first;
      }
    }
    return this.name !== before;
  }

  /** Try later, and still later after a trial that has failed. */
  #later(now, share) {
    if (this.trial > 0) this.#wait = Math.min(TRIAL.most, this.#wait * 2);
    if (share < HOPELESS) this.#wait = Math.max(TRIAL.hopeless, this.#wait);
    this.trial = 0;
    this.#trialAt = now + this.#wait;
  }

  #try(now, estimate, share, count) {
    if (this.trial > 0 ? estimate.uneasy : estimate.congested) {
      if (this.trial > 0) estimate.undo(now);
      this.#later(now, share);
    } else if (this.trial === 0) {
      if (now < this.#trialAt && share < 2 * SOUND_BELOW) return;
      this.trial = 1;
      this.#stepAt = now;
    } else if (now - this.#stepAt >= TRIAL.step) {
      this.#stepAt = now;
      if (this.trial < count) this.trial += 1;
      else {
        this.trial = 0;
        this.name = 'slow';
        estimate.proven(SOUND_BELOW * PROVEN * count);
      }
    }
  }
}

/** What a picture of so many lines takes at most. */
function enough(lines) {
  return Math.round(200_000 * (lines / 180) ** 1.45);
}

/** How a picture is made of few bits: `from` so many on. */
const SHAPES = Object.freeze([
  {from: 0, height: 180, maxFramerate: 10},
  {from: 60_000, height: 240, maxFramerate: 15},
  {from: 120_000, height: 360, maxFramerate: 20},
  {from: 250_000},
]);
const TRIED = Object.freeze({active: true, maxBitrate: 25_000, height: 120, maxFramerate: 5});
const LARGER = 1.25; // times `from`, until a picture becomes larger
const SMALLER = 0.8; // times `from`, until it becomes smaller again

/**
 * Which of the shapes. Another one begins with a whole picture, which takes a slow uplink a while: so it is not changed to and fro.
 * @param {number} bits bit/s @param {number} [before] the one in force @param {boolean} may become larger
 */
function shapeOf(bits, before, may) {
  const fits = SHAPES.findLastIndex(({from}) => bits >= from);
  if (before === undefined || fits === before) return fits;
  if (fits < before) return bits >= SHAPES[before].from * SMALLER ? before : fits;
  return may && bits >= SHAPES[before + 1].from * LARGER ? before + 1 : before;
}

/** In steps, so that a browser is not told something else each second. */
function rounded(bits) {
  const step = 10 ** Math.floor(Math.log10(Math.max(bits, 10))) / 10;
  return Math.floor(bits / step) * step;
}

/**
 * Divide the budget.
 * @param {object} state
 * @param {number} state.budget bit/s; Infinity: no limit @param {'good'|'slow'|'sound'} state.mode @param {number} [state.trial]
 * @param {{id: string, width: number|null, paused: boolean, packetTime: number, before?: Limits}[]} state.peers `width` as the other end says; `packetTime` in force; `before`: the limits that were
 * @param {boolean} state.screen whether one is shared
 * @param {{height: number, maxBitrate: number, screenBitrate: number}} state.quality what the room allows
 * @returns {Map<string, Limits>}
 */
export function divide({budget, mode, trial = 0, peers, screen, quality}) {
  const found = new Map();
  const count = peers.length;
  const share = Math.max(0, budget - SIGNALING) / Math.max(1, count);
  const packetTime = PACKET_TIMES[mode];
  let rest = Math.max(0, budget - SIGNALING);
  for (const {id, packetTime: used} of peers) {
    const headers = (PACKET * 1000) / (used || 20) + BESIDES;
    const most = mode === 'sound' ? SPEECH.most : mode === 'slow' || share < SLOW_BELOW ? SPEECH.slow : Infinity;
    const speech = Math.min(most, Math.max(SPEECH.least, share - headers));
    found.set(id, {packetTime, audio: Number.isFinite(most) ? {maxBitrate: rounded(speech)} : {}});
    rest -= Math.min(speech, 32_000) + headers;
  }
  const sound = mode === 'sound';
  const watching = peers.filter(({width, paused}) => !paused && width !== 0).sort((one, other) => (other.width ?? 640) - (one.width ?? 640));
  for (const {id} of peers) found.get(id).video = {active: !sound && watching.some((peer) => peer.id === id)};
  if (screen) {
    const each = sound ? 0 : Math.min(quality.screenBitrate, (rest * PICTURE * 0.8) / Math.max(1, count));
    const shared = each < LEAST_PICTURE ? {active: false} : {active: true, maxBitrate: rounded(each), ...(each < 150_000 ? {maxFramerate: 5} : {})};
    for (const {id} of peers) found.get(id).screen = shared;
    if (Number.isFinite(rest)) rest = Math.max(0, rest - (each * count) / PICTURE);
  }
  if (sound) {
    for (const peer of peers) found.get(peer.id).by = 'uplink';
    const {from, ...smallest} = SHAPES[0];
    const video = share < HOPELESS ? TRIED : {active: true, maxBitrate: 40_000, ...smallest};
    for (const {id} of watching.slice(0, trial)) Object.assign(found.get(id), {video, packetTime: PACKET_TIMES.slow, shape: 0});
    return found;
  }
  cameras(found, watching, rest * PICTURE, quality);
  return found;
}

/** The smallest first: what they do not need is the others'. One at a time begins anew: each takes a whole picture. */
function cameras(found, watching, bits, quality) {
  let weights = watching.reduce((sum, {width}) => sum + (width ?? 640), 0);
  let whole = Number.isFinite(bits) ? 1 : Infinity;
  for (const {id, width, before} of [...watching].reverse()) {
    const weight = width ?? 640;
    const lines = Math.min(quality.height, width === null ? Infinity : Math.round((width * 9) / 16));
    const most = Math.min(quality.maxBitrate, enough(lines));
    const part = (bits * weight) / weights;
    const given = Math.max(0, Math.min(most, part));
    bits -= given;
    weights -= weight;
    const limits = found.get(id);
    limits.by = part < most ? 'uplink' : lines < quality.height ? 'size' : 'room';
    const shape = part < most ? shapeOf(given, before?.shape, whole > 0) : undefined;
    const begins = before?.video?.active === false || shape > before?.shape;
    if (given < LEAST_PICTURE || (begins && whole <= 0)) {
      limits.video = {active: false};
      continue;
    }
    if (begins) whole -= 1;
    const {from, ...less} = SHAPES[shape] ?? {};
    limits.shape = shape;
    limits.video = {active: true, maxBitrate: rounded(given), ...less, height: Math.min(lines, less.height ?? Infinity)};
  }
}

/** @returns {number} bit/s that would be sent if nothing were limited; of `divide` without a budget */
export function wish(limits, quality) {
  let sum = SIGNALING;
  for (const {video, screen} of limits.values()) {
    sum += 32_000 + PACKET * 50 + BESIDES;
    if (video?.active) sum += (video.maxBitrate ?? quality.maxBitrate) / PICTURE;
    if (screen?.active) sum += (screen.maxBitrate ?? quality.screenBitrate) / PICTURE;
  }
  return sum;
}

const BAD = 3; // rounds in a row; and then as many without until it is good again

/** From whom things arrive badly: only what lasts counts. */
export class Arrivals {
  #streaks = new Map();

  /** @param {Map<string, {loss: number|null, rtt: number|null}>} latest statistics @returns {string[]} ids */
  step(latest) {
    const bad = [];
    for (const [id, {loss, rtt}] of latest) {
      const poor = loss > 8 || rtt > 700;
      const before = this.#streaks.get(id) ?? 0;
      const streak = poor ? before + 1 : Math.max(0, before - 1);
      this.#streaks.set(id, poor && streak >= BAD ? 2 * BAD : streak);
      if (this.#streaks.get(id) >= BAD) bad.push(id);
    }
    for (const id of this.#streaks.keys()) if (!latest.has(id)) this.#streaks.delete(id);
    return bad.sort();
  }
}

/**
 * Which connections are bad, and whose fault it is, as far as both ends together can tell.
 * @param {string} you @param {'good'|'slow'|'sound'} mode ours @param {string[]} bad from whom things arrive badly here
 * @param {{id: string, link: unknown}[]} peers and what they say of their connection: anything may come
 * @returns {{you: 0|1|2, peers: Map<string, {bars: 1|2, whose: 'theirs'|'between', sound: boolean}>}} bars: of three; 0 for none to be shown
 */
export function blame(you, mode, bad, peers) {
  const said = new Map(peers.map(({id, link}) => [id, {up: link?.up, bad: Array.isArray(link?.bad) ? link.bad : []}]));
  const hurt = (id) => [...said].filter(([other, {bad: list}]) => other !== id && list.includes(id)).length;
  const marks = new Map();
  const ours = mode !== 'good' || (peers.length > 1 && (bad.length === peers.length || hurt(you) === peers.length));
  for (const {id} of peers) {
    const {up} = said.get(id);
    const poor = bad.includes(id);
    if (up === 'sound') marks.set(id, {bars: 1, whose: 'theirs', sound: true});
    else if (up === 'slow' || (poor && hurt(id) > 0)) marks.set(id, {bars: 2, whose: 'theirs', sound: false});
    else if (poor && !ours) marks.set(id, {bars: 2, whose: 'between', sound: false});
  }
  return {you: mode === 'sound' ? 1 : ours ? 2 : 0, peers: marks};
}
