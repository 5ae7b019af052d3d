/** The admin page: logs in with a key, then shows the server every few seconds, until the page is left or reloaded. */

import {Api, Refused, isOver, meaning} from './api.js';
import {charts} from './charts.js';
import {confirmed, element, note, say, setText, wireDialog} from './dom.js';
import {Figures, Rooms, Sessions, banner, configuration, statusTables} from './sections.js';
import {clock} from './units.js';

const EVERY = 3000; // ms
const SESSIONS = '/v1/allocations?sort=bytes&limit=1000';
const NOT_FOUND = 404;

let api = null;
let scopes = [];
let timer = null;
let paused = false;
let lost = false;
let looking = false;
let again = false;
let listed = true; // whether the server has a list of sessions

const mayChange = () => scopes.includes('admin');
const mayModerate = () => mayChange() || scopes.includes('rooms');
const path = (...parts) => `/v1/rooms/${parts.map(encodeURIComponent).join('/')}`;

const figures = new Figures();
const showTables = statusTables();
const draw = charts(element('charts'));
const showConfiguration = configuration();
const sessions = new Sessions(mayChange, kill);
const rooms = new Rooms(mayModerate, {look: showRoom, close, remove});

/** Do what was confirmed, say how it ended, and look at once. */
async function act(done, ...request) {
  try {
    await api.ask(...request);
    say(done);
    banner('');
  } catch (error) {
    failed(error);
  }
  refresh();
}

async function kill(row) {
  const text = `${row.user} from ${row.client} loses the relay at once. Its client is told, and may allocate again.`;
  if (await confirmed('Kill this session?', text, 'Kill')) {
    await act('The session has ended.', `/v1/allocations/${encodeURIComponent(row.id)}`, 'DELETE');
  }
}

async function close(row) {
  if (await confirmed('Close this room?', `All ${row.count} participants of ${row.id} are removed.`, 'Close the room')) {
    await act('The room is closed.', path(row.id), 'DELETE');
  }
}

async function remove(row) {
  const room = rooms.open;
  if (await confirmed('Remove this participant?', `${row.name} is removed from ${room}.`, 'Remove')) {
    await act('The participant is removed.', path(room, 'peers', row.id), 'DELETE');
  }
}

async function drain() {
  const text = 'The server takes nothing new from now on, and stops when nothing is left. This cannot be undone.';
  if (await confirmed('Drain this server?', text, 'Drain')) await act('The server drains.', '/v1/drain', 'POST');
}

async function showRoom(row) {
  try {
    rooms.detail(await api.ask(path(row.id)));
    element('room-title').focus();
  } catch (error) {
    failed(error);
  }
}

/** An error while the page is in use: a key that is over leads back to the login, anything else is a line. */
function failed(error) {
  if (error instanceof Refused && error.status === 401) {
    leave(meaning(error));
    return;
  }
  banner(meaning(error));
  say(meaning(error));
}

async function openRoom() {
  if (rooms.open === null) return;
  const wanted = rooms.open;
  try {
    const room = await api.ask(path(wanted));
    if (rooms.open === wanted) rooms.detail(room);
  } catch (error) {
    if (!(error instanceof Refused) || error.status !== NOT_FOUND) throw error;
    if (rooms.open === wanted) rooms.detail(null);
  }
}

async function listSessions() {
  if (!listed) return;
  try {
    sessions.show(await api.ask(SESSIONS));
  } catch (error) {
    if (!(error instanceof Refused) || error.status !== NOT_FOUND) throw error;
    listed = false;
    sessions.unavailable();
  }
}

function showStatus(status) {
  scopes = status.key.scopes;
  figures.show(status);
  showTables(status);
  setText(element('version'), status.version);
  setText(element('who'), `Key ${status.key.name} (${scopes.join(', ')}), ${clock(status.now)}`);
  element('drain').disabled = !mayChange() || status.draining;
  element('rights').hidden = mayChange();
}

async function lookAtEverything() {
  showStatus(await api.ask('/v1/status'));
  draw(await api.ask('/v1/history'));
  rooms.show(await api.ask('/v1/rooms'));
  await openRoom();
  await listSessions();
  if (element('options').open) showConfiguration((await api.ask('/v1/config')).config);
}

/** Look again; one look at a time, and none while nobody sees the page. */
async function refresh() {
  clearTimeout(timer);
  again = looking;
  if (looking || api === null) return;
  looking = true;
  if (!document.hidden) await look();
  looking = false;
  if (again) refresh();
  else if (api !== null && !paused) timer = setTimeout(refresh, EVERY);
}

/** One look. What goes wrong is said once, until it is right again; a key that is over leads back to the login. */
async function look() {
  const asked = api;
  try {
    await lookAtEverything();
    if (!lost || api !== asked) return;
    lost = false;
    banner('');
    say('The server answers again.');
  } catch (error) {
    if (api !== asked) return;
    if (isOver(error)) {
      leave(meaning(error));
    } else if (!lost) {
      lost = true;
      failed(error);
    }
  }
}

async function enter(event) {
  event.preventDefault();
  const field = element('key');
  const wanted = new Api(field.value.trim());
  note(element('login-problem'), '');
  try {
    const status = await wanted.ask('/v1/status');
    field.value = '';
    api = wanted;
    listed = true;
    element('login').hidden = true;
    element('desk').hidden = false;
    showStatus(status);
    element('desk').querySelector('h1').focus();
    await refresh();
  } catch (error) {
    note(element('login-problem'), meaning(error));
    field.focus();
  }
}

/** Forget the key and everything that was shown with it: the page is loaded anew, but for the reason. */
function leave(reason) {
  api = null;
  scopes = [];
  clearTimeout(timer);
  if (element('confirm').open) element('confirm').close('no');
  element('desk').hidden = true;
  element('login').hidden = false;
  for (const id of ['version', 'who']) setText(element(id), '');
  rooms.detail(null);
  rooms.show({rooms: []});
  sessions.show({allocations: [], total: 0});
  showConfiguration({});
  note(element('login-problem'), reason);
  element('key').focus();
}

function pause() {
  paused = !paused;
  element('pause').setAttribute('aria-pressed', String(paused));
  if (!paused) refresh();
}

wireDialog();
element('login-form').addEventListener('submit', enter);
element('logout').addEventListener('click', () => leave(''));
element('pause').addEventListener('click', pause);
element('drain').addEventListener('click', drain);
element('room-hide').addEventListener('click', () => rooms.detail(null));
element('options').addEventListener('toggle', refresh);
document.addEventListener('visibilitychange', () => {
  if (!document.hidden && !paused) refresh();
});
element('key').focus();
