/**
 * Whether something comes from the other end while the browser says `connected`. ICE alone cannot tell: after a restart
 * Chromium may have chosen the address that Firefox is about to give up, where checks are answered and media are lost.
 */

/** Times in ms; `doubts`, `misses`: looks in a row that find nothing until there is doubt, and silence; `slowest`: between remedies, at most. */
export const WATCH = Object.freeze({look: 1000, doubts: 2, misses: 6, slowest: 60_000});

/**
 * @typedef {object} Flow
 * @property {number} bytes of media and data that have come, without the checks of ICE
 * @property {'none'|'current'|'mixed'|'old'} pair the one in use: of the generation of both descriptions, of one of them, or of neither
 * @property {number} pairBytes what has come over that one
 */

/** The `ice-ufrag`s of a description. */
export function fragments(description) {
  return new Set([...(description?.sdp ?? '').matchAll(/^a=ice-ufrag:(\S+)/gm)].map((match) => match[1]));
}

/** @param {RTCPeerConnection} pc @returns {Promise<Flow>} of its statistics; all nothing if it has been closed meanwhile */
export async function flowOf(pc) {
  let bytes = 0;
  let chosen = null;
  let reports = new Map();
  try {
    reports = await pc.getStats();
  } catch {
    // closed
  }
  for (const report of reports.values()) {
    if (report.type === 'candidate-pair') {
      bytes += report.bytesReceived ?? 0;
      if (report.selected) chosen ??= report;
    } else if (report.type === 'transport') chosen = reports.get(report.selectedCandidatePairId) ?? chosen;
  }
  if (!chosen) return {bytes, pair: 'none', pairBytes: 0};
  const ofNow = [[chosen.localCandidateId, pc.localDescription], [chosen.remoteCandidateId, pc.remoteDescription]].map(([id, description]) => {
    const fragment = reports.get(id)?.usernameFragment;
    return !fragment || fragments(description).has(fragment);
  });
  const pair = ofNow.every(Boolean) ? 'current' : ofNow.some(Boolean) ? 'mixed' : 'old';
  return {bytes, pair, pairBytes: chosen.bytesReceived ?? 0};
}

/** Looks at a connection again and again, and says when nothing comes any more, and when something comes again. */
export class Watch {
  #flow; #probe; #ready; #told; #doubt; #timing; #later; #never; #timer = null; #run = null; #patience; #silent = false;

  /**
   * @param {object} options
   * @param {() => Promise<Flow>} options.flow
   * @param {() => boolean} options.probe make the other end send something; false if nothing need come
   * @param {() => boolean} options.ready something could be done about silence now
   * @param {(silent: boolean, again: boolean) => void} options.told silence (`again`: a remedy has not helped), or its end
   * @param {() => void} [options.doubt] what was asked for has not come: the network may have changed
   * @param {Partial<typeof WATCH>} [options.timing]
   * @param {typeof setTimeout} options.setTimeout @param {typeof clearTimeout} options.clearTimeout
   */
  constructor({flow, probe, ready, told, doubt = () => {}, timing, setTimeout: later, clearTimeout: never}) {
    this.#flow = flow;
    this.#probe = probe;
    this.#ready = ready;
    this.#told = told;
    this.#doubt = doubt;
    this.#timing = {...WATCH, ...timing};
    this.#patience = this.#timing.misses;
    this.#later = later;
    this.#never = never;
  }

  /** Whether nothing comes. */
  get silent() { return this.#silent; }

  /** Whether what was asked for has not come yet. */
  get doubtful() { return this.#silent || this.#run?.misses >= this.#timing.doubts; }

  /** @param {boolean} connected there is something to watch */
  set on(connected) {
    if (connected === (this.#run !== null)) return;
    this.#never(this.#timer);
    this.#run = connected ? {bytes: -1, misses: 0, good: 0} : null;
    this.#silent = false;
    if (connected) this.#look(this.#run);
  }

  async #look(run) {
    const {bytes} = await this.#flow();
    if (run !== this.#run) return;
    if (bytes !== run.bytes) this.#heard(run);
    else if (this.#ready()) this.#missed(run);
    run.bytes = bytes;
    if (run === this.#run) this.#timer = this.#later(() => this.#look(run), this.#timing.look);
  }

  #heard(run) {
    run.misses = 0;
    run.good += 1;
    if (run.good > this.#timing.misses) this.#patience = this.#timing.misses;
    if (!this.#silent) return;
    this.#silent = false;
    this.#told(false, false);
  }

  /** The first looks without anything ask for something; each remedy has twice the time of the one before. */
  #missed(run) {
    run.good = 0;
    run.misses = this.#probe() ? run.misses + 1 : 0;
    if (run.misses === this.#timing.doubts) this.#doubt();
    if (run.misses < this.#patience) return;
    run.misses = 0;
    const again = this.#patience > this.#timing.misses;
    this.#patience = Math.min(this.#patience * 2, Math.ceil(this.#timing.slowest / this.#timing.look));
    this.#silent = true;
    this.#told(true, again);
  }
}
