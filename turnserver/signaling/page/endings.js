/** The page that says why there is no call, or no call any more: what happened, and what to do. */

import {announce, element, note, showView} from './dom.js';
import {hasText, put, text} from './texts.js';

const FINAL = new Set(['kicked', 'banned', 'replaced', 'room_closed', 'auth_required', 'bad_token', 'token_used', 'token_expired', 'forbidden', 'other_room']);
const HERE = new Set(['moved', 'elsewhere']); // the call goes on, in another tab
const URGENT = new Set(['kicked', 'banned', 'room_closed']);

/**
 * Show the ending page.
 * @param {string} code an error or close code of the protocol, 'left' or 'unreachable'
 * @param {{room: string, message?: string}} facts `message` is the server's own sentence
 */
export function showEnding(code, {room, message = ''}) {
  const known = hasText(`ending.${code}`) ? code : 'other';
  const title = text(`ending.${known}`);
  const what = text(`ending.${known}_text`);
  const page = element('end');
  page.dataset.code = code;
  element('end-room').textContent = room;
  element('end-title').textContent = title;
  element('end-text').textContent = known === code ? what : message || what;
  note(element('end-hint'), hasText(`ending.${known}_hint`) ? text(`ending.${known}_hint`) : '');
  element('end-again').hidden = FINAL.has(code) && code !== 'replaced';
  put(element('end-again'), HERE.has(code) ? 'tabs.here' : 'end.join_again');
  element('end-diagnostics').hidden = code === 'left' || HERE.has(code);
  document.title = `${title} · ${room}`;
  showView('end');
  announce(`${title}. ${what}`, {urgent: URGENT.has(code), unseen: true});
}
