/**
 * When a connection is in trouble, and what to do about it: the steps and their times, and nothing of how they are done.
 *
 *     disconnected for 2 s without a byte  → restart ICE; so is a connection that is suspected
 *     failed                               → restart ICE, and after 10 s rebuild
 *     not connected 10 s after a rebuild   → rebuild again; after the third, give up
 *     not failed, but never connected 20 s → as if failed
 *
 * Steps that need the other end wait while it, or the server, is away. The impolite end of a pair goes first.
 */

/** Times in ms, and how many rebuilds. */
export const TIMING = Object.freeze({silence: 2000, step: 10_000, politeness: 3000, stuck: 20_000, away: 2000, rebuilds: 3});

export class Recovery {
  #act; #bytes; #ready; #polite; #timing; #later; #never; #state = 'new'; #watch = null; #ladder = null; #rebuilds = 0;

  /**
   * @param {object} options
   * @param {{restart: (why: string) => void, rebuild: () => void, giveUp: () => void}} options.act
   * @param {() => Promise<number>} options.bytes received so far @param {() => boolean} options.ready the other end can be reached
   * @param {() => boolean} options.polite @param {Partial<typeof TIMING>} [options.timing]
   * @param {typeof setTimeout} options.setTimeout @param {typeof clearTimeout} options.clearTimeout
   */
  constructor({act, bytes, ready, polite, timing, setTimeout: later, clearTimeout: never}) {
    this.#act = act;
    this.#bytes = bytes;
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
    if (passive) this.#rebuilds = Math.min(this.#rebuilds + 1, this.#timing.rebuilds);
    this.#stopWatching();
    this.#arm(this.#rebuilds > 0 ? this.#step : this.#timing.stuck);
  }

  /** @param {RTCPeerConnectionState} state of the connection */
  changed(state) {
    if (state === this.#state) return;
    this.#state = state;
    if (state === 'connected') {
      this.reset();
      return;
    }
    if (state === 'disconnected') this.#startWatching();
    else this.#stopWatching();
    if (state !== 'failed' || this.#rebuilds > 0) return; // a rebuilt one has its time
    this.#act.restart('failed');
    this.#arm(this.#step);
  }

  /** All is well, or somebody takes it in hand: nothing is due, and the count begins anew. */
  reset() {
    this.#rebuilds = 0;
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

  #due() {
    this.#ladder = null;
    if (this.#state === 'connected' || this.#state === 'closed') return;
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
    let before = await this.#bytes();
    const look = async () => {
      if (this.#watch !== watch) return;
      const now = await this.#bytes();
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
