/**
 * One person, one tab: whether another tab of this browser is in the call, and how the call goes from one to the other.
 * A tab in a call holds a Web Lock, which dies with it; what tabs tell one another goes through a BroadcastChannel.
 */

const PATIENCE = 2000; // ms for another tab to answer; one that is frozen does not

/**
 * @typedef {object} Given what a tab needs to go on with the call of another one
 * @property {[string, string] | null} session a key and a value for `sessionStorage`, with which `Signal` resumes the session
 * @property {{name: string, a: boolean, v: boolean}} as for `returning.js`
 */

export class Tabs {
  #name; #mark; #give; #seen; #channel = null; #me = crypto.randomUUID?.() ?? String(Math.random()); #release = null; #waiting = new Map();

  /**
   * @param {string} room
   * @param {{sub?: string}} claims of the token @param {string | undefined} token
   * @param {{give: (mark: string) => Given, seen: () => void}} does `give` leaves the call, for a tab whose token ends with
   *   `mark`; `seen` draws attention to this tab
   */
  constructor(room, {sub}, token = '', {give, seen}) {
    this.#mark = token.slice(-16);
    // Whom a token names is one person in all links; otherwise whoever has the same link in the same browser is.
    this.#name = `meshturn.call ${room} ${sub ? `sub ${sub}` : `link ${this.#mark}`}`;
    this.#give = give;
    this.#seen = seen;
    if (!globalThis.BroadcastChannel || !navigator.locks) return;
    this.#channel = new BroadcastChannel(this.#name);
    this.#channel.addEventListener('message', ({data}) => this.#heard(data ?? {}));
  }

  /** Whether another tab of this browser is in the call. */
  async taken() {
    if (this.#channel === null) return false;
    try {
      return (await navigator.locks.query()).held.some(({name}) => name === this.#name);
    } catch {
      return false; // browsers may forbid it where they forbid storage
    }
  }

  /** This tab is in the call from now on. */
  hold() {
    if (this.#channel === null || this.#release) return;
    navigator.locks.request(this.#name, {mode: 'shared'}, () => new Promise((resolve) => { this.#release = resolve; })).catch(() => {});
  }

  /** It no longer is. */
  drop() {
    this.#release?.();
    this.#release = null;
  }

  /** Have the other tab leave the call. @returns {Promise<Given | null>} null if it does not answer */
  async take() {
    const other = await this.#ask('who');
    return other === null ? null : (await this.#ask('give', {to: other.me, mark: this.#mark}))?.given ?? null;
  }

  /** Have the other tab draw attention to itself. */
  show() {
    this.#channel?.postMessage({t: 'show', me: this.#me});
  }

  /** The first answer to a message, or null. */
  #ask(t, fields = {}) {
    if (this.#channel === null) return Promise.resolve(null);
    return new Promise((resolve) => {
      const timer = setTimeout(() => {
        this.#waiting.delete(t);
        resolve(null);
      }, PATIENCE);
      this.#waiting.set(t, (answer) => {
        clearTimeout(timer);
        this.#waiting.delete(t);
        resolve(answer);
      });
      this.#channel.postMessage({t, me: this.#me, ...fields});
    });
  }

  #heard({t, me, to, re, mark, ...rest}) {
    if (re !== undefined) {
      if (to === this.#me) this.#waiting.get(re)?.({me, ...rest});
      return;
    }
    if (this.#release === null) return;
    if (t === 'who') this.#channel.postMessage({re: t, me: this.#me, to: me});
    else if (t === 'show') this.#seen();
    else if (t === 'give' && to === this.#me) {
      const given = this.#give(String(mark));
      this.drop();
      this.#channel.postMessage({re: t, me: this.#me, to: me, given});
    }
  }
}
