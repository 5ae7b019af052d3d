/**
 * What goes over a reload of this tab, and is this tab's own: `sessionStorage`. Some browsers let frames of other sites
 * store nothing (Chromium in private windows); there it is in the state of the frame's entry in the session history, which a
 * reload keeps, too.
 */

const MARK = 'meshturn';

class HistoryStorage {
  /** @param {string} key @returns {string | null} */
  getItem(key) { return new Map(Object.entries(history.state?.[MARK] ?? {})).get(key) ?? null; }

  /** @param {string} key @param {string} value */
  setItem(key, value) { this.#write({...history.state?.[MARK], [key]: value}); }

  /** @param {string} key */
  removeItem(key) {
    const {[key]: _, ...rest} = history.state?.[MARK] ?? {};
    this.#write(rest);
  }

  #write(all) { history.replaceState({...history.state, [MARK]: all}, ''); }
}

function sessionStore() {
  try {
    return sessionStorage;
  } catch {
    return null;
  }
}

const session = sessionStore();

/** @type {Pick<Storage, 'getItem' | 'setItem' | 'removeItem'>} */
export const storage = session ?? new HistoryStorage();

/** The last event of a page at which something can be stored: the history is not written any more once a page is hidden. */
export const LAST_MOMENT = session ? 'pagehide' : 'beforeunload';
