/** The page that says why there is no call, or no call any more: what happened, and what to do. */

import {announce, element, note, showView} from './dom.js';

const ENDINGS = {
  left: ['You have left the call', 'The others go on without you.', ''],
  room_full: ['This room is full', 'As many people as fit are already in the call.', 'Ask somebody in the call to make room, or use another room.'],
  room_locked: ['This room is locked', 'A host lets nobody else in at the moment.', 'Ask the host to unlock the room, and join again.'],
  kicked: ['You were removed from the call', 'A host has removed you.', ''],
  banned: ['You may not join this room', 'A host has removed you, and does not let you in again.', ''],
  room_closed: ['The call was closed', 'The room was closed for everybody.', ''],
  replaced: ['The call goes on in another window', 'It was opened in another tab or window, which has taken it over.', 'You can close this one.'],
  auth_required: ['You need an invitation', 'This server lets people in by a link with an invitation in it.', 'Ask whoever invited you for the whole link, including what stands after the #.'],
  bad_token: ['The invitation is not valid', 'The link is damaged, is for another room or has been used already.', 'Ask for a new link.'],
  token_expired: ['The invitation has expired', 'The link was good for a limited time only.', 'Ask for a new link.'],
  token_not_yet: ['The invitation is not valid yet', 'The link is for a later time.', 'Come back then.'],
  other_room: ['The invitation is for another room', 'The link has an invitation in it that is not for this room.', 'Ask whoever invited you for the whole link.'],
  forbidden: ['You may not join this room', 'Your invitation does not allow it.', 'Ask for a link for this room.'],
  unsupported_version: ['This page is out of date', 'The server speaks a newer protocol than the page.', 'Load the page again.'],
  draining: ['No new calls here at the moment', 'The server is about to stop, so no call can be started on it.', 'Try again in a few minutes.'],
  rate_limited: ['Too many attempts', 'The server takes no more from here for a while.', 'Wait a few minutes and join again.'],
  refused: ['The server does not let this page in', 'It answers, but takes no connection for calls from here. Most often a proxy in front of it is not set up for WebSockets, or does not pass the name of the page on.', 'Tell whoever runs this server: the reason is in its log.'],
  unreachable: ['The server cannot be reached', 'The network is down, or it does not let the connection through.', 'Check the network, and join again.'],
};
const OTHER = ['The call has ended', 'Something went wrong.', 'Join again; if that does not help, send the diagnostics to whoever runs this server.'];
const FINAL = new Set(['kicked', 'banned', 'replaced', 'room_closed', 'auth_required', 'bad_token', 'token_expired', 'forbidden', 'other_room']);
const URGENT = new Set(['kicked', 'banned', 'room_closed']);

/**
 * Show the ending page.
 * @param {string} code an error or close code of the protocol, 'left' or 'unreachable'
 * @param {{room: string, message?: string}} facts `message` is the server's own sentence
 */
export function showEnding(code, {room, message = ''}) {
  const [title, text, hint] = ENDINGS[code] ?? OTHER;
  const page = element('end');
  page.dataset.code = code;
  element('end-room').textContent = room;
  element('end-title').textContent = title;
  element('end-text').textContent = ENDINGS[code] ? text : message || text;
  note(element('end-hint'), hint);
  element('end-again').hidden = FINAL.has(code) && code !== 'replaced';
  element('end-diagnostics').hidden = code === 'left';
  document.title = `${title} · ${room}`;
  showView('end');
  announce(`${title}. ${text}`, {urgent: URGENT.has(code), unseen: true});
}
