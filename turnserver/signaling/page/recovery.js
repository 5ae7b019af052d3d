/**
 * When a connection is in trouble, and what to do about it: the steps and their times, and nothing of how they are done.
 *
 *     disconnected for 2 s without a byte  → restart ICE; so is a connection that is suspected
 *     failed                               → restart ICE; rebuild if that cannot help any more (DTLS has failed)
 *     restarted, and no pair after 5 s     → rebuild; after 2.5 s if Chromium has chosen a pair that nothing comes over
 *     not connected 10 s after a rebuild   → rebuild again; after the third, give up
 *     not failed, but never connected 20 s → as if failed
 *
 * Steps that need the other end wait while it, or the server, is away. The impolite end of a pair goes first.
 */

/** Times in ms, and how many rebuilds. */
export const TIMING = Object.freeze({
  silence: 2000, pair: 5000, early: 1500, sure: 1000, step: 10_000, politeness: 3000, stuck: 20_000, away: 2000, rebuilds: 3,
});

export class Recovery {
  #act; #flow; #broken; #ready; #polite; #timing; #later; #never; #state = 'new'; #watch = null; #ladder = null; #rebuilds = 0; #restart = null;

  /**
   * @param {object} options
   * @param {{restart: (why: string) => void, rebuild: () => void, giveUp: () => void, settled?: () => void}} options.act
   * @param {() => Promise<import('./watch.js').Flow>} options.flow @param {() => boolean} [options.broken] no restart can help
   * @param {() => boolean} options.ready the other end can be reached
   * @param {() => boolean} options.polite @param {Partial<typeof TIMING>} [options.timing]
   * @param {typeof setTimeout} options.setTimeout @param {typeof clearTimeout} options.clearTimeout
   */
  constructor({act, flow, broken = () => false, ready, polite, timing, setTimeout: later, clearTimeout: never}) {
    this.#act = act;
    this.#flow = flow;
    this.#broken = broken;
    this.#ready = ready;
    this.#polite = polite;
    this.#timing = {...TIMING, ...timing};
    this.#later = later;
    this.#never = never;
  }

  /** Rebuilds since the connection last held. */
  get rebuilds() { return this.#rebuilds; }

  /** There is a new connection. @param {boolean} [passive] because the other end has rebuilt its own */
  begun(passive = false) {
    this.#state = 'new';
    this.#restart = null;
    if (passive) this.#rebuilds = Math.min(this.#rebuilds + 1, this.#timing.rebuilds);
    this.#stopWatching();
    this.#arm(this.#rebuilds > 0 ? this.#step : this.#timing.stuck);
  }

  /** @param {RTCPeerConnectionState} state of the connection */
  changed(state) {
    if (state === this.#state) return;
    this.#state = state;
    if (state === 'connected') {
      if (this.#restart) this.#rebuilds = 0; // whether it has a pair is looked at in time
      else this.reset();
      this.#stopWatching();
      return;
    }
    if (state === 'disconnected') this.#startWatching();
    else this.#stopWatching();
    if (state !== 'failed' || this.#rebuilds > 0) return; // a rebuilt one has its time
    if (this.#broken()) {
      this.#arm(this.#polite() ? this.#timing.politeness : 0);
      return;
    }
    this.#act.restart('failed');
    this.#arm(this.#step);
  }

  /** A restart is asked for, or has been negotiated: from then on it has its time to find a pair. */
  async restarted() {
    if (this.#state === 'new' || this.#state === 'closed' || this.#rebuilds > 0) return;
    const restart = {bytes: -1, lost: false, waited: false};
    this.#restart = restart;
    this.#arm(this.#timing.early);
    const {bytes} = await this.#flow();
    if (this.#restart === restart) restart.bytes = bytes;
  }

  /** All is well, or somebody takes it in hand: nothing is due, and the count begins anew. */
  reset() {
    this.#rebuilds = 0;
    this.#restart = null;
    this.#stopWatching();
    this.#never(this.#ladder);
    this.#ladder = null;
  }

  /** It says that it is connected, and may be wrong (the server's relays may have gone with its sessions): watch it. */
  suspect() {
    if (this.#state === 'connected') this.#startWatching();
  }

  /** No more of this. */
  stop() {
    this.reset();
    this.#state = 'closed';
  }

  get #step() { return this.#timing.step + (this.#polite() ? this.#timing.politeness : 0); }

  #arm(delay) {
    this.#never(this.#ladder);
    this.#ladder = this.#later(() => this.#due(), delay);
  }

  /** Whether a restart has led to a pair, or has more time. */
  async #settles(restart) {
    const {bytes, pair, pairBytes} = await this.#flow();
    if (restart !== this.#restart) return true; // another one, with a time of its own
    if (pair === 'current' && this.#state === 'connected') {
      this.#restart = null;
      this.#act.settled?.();
      return true;
    }
    const {pair: whole, early, sure, politeness} = this.#timing;
    const lost = pair === 'mixed' && pairBytes === 0;
    let more = 0; // ms until the next look; without one it is given up
    if (lost) more = restart.lost ? 0 : sure;
    else if (!restart.waited) more = whole - early + (this.#polite() ? politeness / 3 : 0);
    else if (this.#state === 'connected' && bytes !== restart.bytes) more = whole / 2;
    Object.assign(restart, {bytes, lost, waited: restart.waited || !lost});
    if (more > 0) this.#arm(more);
    return more > 0;
  }

  async #due() {
    this.#ladder = null;
    if (this.#restart && await this.#settles(this.#restart)) return;
    if ((this.#state === 'connected' && !this.#restart) || this.#state === 'closed') return;
    if (!this.#ready()) {
      this.#arm(this.#timing.away);
    } else if (this.#rebuilds < this.#timing.rebuilds) {
      this.#rebuilds += 1;
      this.#act.rebuild(); // tells us by `begun`
    } else this.#act.giveUp();
  }

  async #startWatching() {
    const watch = {timer: null};
    this.#stopWatching();
    this.#watch = watch;
    let before = (await this.#flow()).bytes;
    const look = async () => {
      if (this.#watch !== watch) return;
      const now = (await this.#flow()).bytes;
      if (this.#watch !== watch) return;
      if (now <= before) {
        this.#act.restart('disconnected');
      } else if (this.#state !== 'connected') {
        before = now;
        watch.timer = this.#later(look, this.#timing.silence);
      }
    };
    if (this.#watch === watch) watch.timer = this.#later(look, this.#timing.silence);
  }

  #stopWatching() {
    if (this.#watch) this.#never(this.#watch.timer);
    this.#watch = null;
  }
}
