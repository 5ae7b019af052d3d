/**
 * The call page in a frame of another page: what that page may do, and what it is told. The server says which pages may
 * show it (`signaling.frame_ancestors`), so whoever is the parent is one of them.
 */

/** In every message either way; the number grows when old messages change their meaning. */
const MARK = 'meshturn';
const VERSION = 1;

/**
 * @typedef {object} Does
 * @property {(name: string | undefined, on: {microphone?: boolean, camera?: boolean}) => void} join
 * @property {() => void} leave @property {(on: boolean) => void} microphone @property {(on: boolean) => void} camera
 */

/**
 * @param {object} parts
 * @param {Does} parts.does
 * @param {Window} [parts.parent] @param {Window} [parts.here]
 * @returns {(event: string, facts?: object) => void} tells the page around; it does nothing without one
 */
export function embedding({does, parent = globalThis.parent, here = globalThis}) {
  if (parent === here) return () => {};
  const tell = (event, facts = {}) => parent.postMessage({[MARK]: VERSION, event, ...facts}, '*');
  here.addEventListener('message', ({source, data}) => {
    if (source !== parent || data === null || typeof data !== 'object' || data[MARK] !== VERSION) return;
    const on = (device) => (typeof data[device] === 'boolean' ? data[device] : undefined);
    if (data.do === 'join') does.join(typeof data.name === 'string' ? data.name : undefined, {microphone: on('microphone'), camera: on('camera')});
    else if (data.do === 'leave') does.leave();
    else if (data.do === 'microphone' || data.do === 'camera') does[data.do](Boolean(data.on));
  });
  return tell;
}
