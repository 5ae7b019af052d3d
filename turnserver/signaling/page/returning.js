/** Back into the call after a reload, as muted as before. Kept only between the end of a page and its next load. */

import {storage} from './storing.js';

const FRESH = 60_000; // ms after which a reload is no reload of the call any more

/** @param {string} room @returns {string} where it is kept */
const place = (room) => `meshturn.call.${room}`;

/** The page ends while its user is in a call. @param {string} room @param {{name: string, a: boolean, v: boolean}} as */
export function keep(room, as) {
  try {
    storage.setItem(place(room), JSON.stringify({...as, at: Date.now()}));
  } catch { /* then the way back leads through the lobby */ }
}

/**
 * What was kept; null if nothing was, or too long ago. It is taken out, so that a duplicated tab does not find it.
 * @param {string} room @returns {{name: string, a: boolean, v: boolean} | null}
 */
export function take(room) {
  try {
    const text = storage.getItem(place(room));
    storage.removeItem(place(room));
    const kept = text === null ? null : JSON.parse(text);
    return kept !== null && Date.now() - kept.at < FRESH ? kept : null;
  } catch {
    return null;
  }
}
