/** The call page: lobby, call, ending. `globalThis.meshturn` holds its parts, for support and tests; no secret is in it. */

import {Devices} from './devices.js';
import {Diagnostics} from './diagnostics.js';
import {announce, copyText, element, showView} from './dom.js';
import {embedding} from './embedding.js';
import {showEnding} from './endings.js';
import {offerLanguages} from './languages.js';
import {Lobby} from './lobby.js';
import {Mesh} from './mesh.js';
import {Signal} from './signal.js';
import {keep, take} from './returning.js';
import {StatsMonitor} from './stats.js';
import {LAST_MOMENT, storage} from './storing.js';
import {Tabs} from './tabs.js';
import {complete, language, put, spoken, text} from './texts.js';
import {claimsOf, isFor, isForAll, mayPublish, ofOne} from './token.js';

const VERSION = '1';
const GIVE_UP_AFTER = 20_000; // ms for the first contact with the server

const room = decodeURIComponent(location.pathname.split('/').filter(Boolean).at(-1) ?? '');
const query = new URLSearchParams(location.search);

/** Where a reload finds that a host has removed this user. */
const REMOVED = `meshturn.removed.${room}`;

/** The token comes in the fragment, which is sent to no server; it is taken out of the address bar at once. */
function takeToken() {
  const given = new URLSearchParams(location.hash.slice(1)).get('token');
  const key = `meshturn.token.${room}`;
  try {
    if (given) {
      storage.setItem(key, given);
      storage.removeItem(REMOVED);
    }
    return given ?? storage.getItem(key) ?? undefined;
  } catch {
    return given ?? undefined;
  } finally {
    if (given) history.replaceState(history.state, '', location.pathname + location.search);
  }
}

function number(name, least, most, usual) {
  const value = Number.parseInt(query.get(name) ?? '', 10);
  return Number.isInteger(value) ? Math.min(most, Math.max(least, value)) : usual;
}

/** The page and all that it names are there: a video without a picture before that holds up `load` for ever. */
function loaded() {
  return new Promise((resolve) => {
    if (document.readyState === 'complete') resolve();
    else addEventListener('load', resolve, {once: true});
  });
}

offerLanguages(['lobby-language', 'call-language']);
const diagnostics = new Diagnostics();
const log = (what, detail) => diagnostics.add(what, detail);
const devices = new Devices({width: number('width', 160, 1920, 1280), height: number('height', 90, 1080, 720), fps: number('fps', 5, 60, 30)});
const token = takeToken();
const claims = claimsOf(token);
if (!mayPublish(claims)) devices.forgo();
const signal = new Signal(`${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/v1/ws`, {
  token,
  client: {name: 'meshturn call page', ver: VERSION},
  storage,
  lastMoment: LAST_MOMENT,
});
const mesh = new Mesh(signal, {});
const stats = new StatsMonitor(mesh);
globalThis.meshturn = {signal, mesh, stats, devices, diagnostics};

const tabs = new Tabs(room, claims, token, {give, seen});

let over = false;

function end(code, message = '') {
  if (over) return;
  over = true;
  spoken.addEventListener('change', () => showEnding(code, {room, message}));
  if (code === 'kicked' || code === 'banned') storage.setItem(REMOVED, code);
  log('ended', {code});
  lobby.stop();
  tabs.drop();
  call?.exit();
  devices.close();
  showEnding(code, {room, message});
  tell('left', {code});
}

/** Another tab of this browser goes on with the call. @param {string} mark the end of its token */
function give(mark) {
  const as = {name: lobby.name, a: devices.wanted.audio, v: devices.wanted.video};
  const same = mark === (token ?? '').slice(-16);
  if (!same) mesh.leave();
  const session = same ? signal.handOver() : (signal.bye(), null);
  mesh.leave();
  end('moved');
  return {session, as};
}

/** Draw attention to this tab: a page cannot put itself in front. */
function seen() {
  const before = document.title;
  document.title = `👉 ${before}`;
  globalThis.focus();
  announce(text('tabs.seen'));
  const back = () => {
    if (document.hidden) return;
    document.title = before;
    document.removeEventListener('visibilitychange', back);
  };
  document.addEventListener('visibilitychange', back);
  back();
}

/** Go on here with the call of another tab, as after a reload. @returns {Promise<boolean>} false if that tab did not answer */
async function takeOver() {
  const given = await tabs.take();
  if (given === null) return false;
  over = true;
  signal.bye();
  if (given.session) storage.setItem(...given.session);
  keep(room, given.as);
  location.reload();
  return true;
}

/**
 * If this user is in the call in another tab already, it is for them to say where they want to be.
 * @returns {Promise<boolean>} whether to go on here
 */
async function goesOnHere() {
  if (!(await tabs.taken())) return true;
  const answers = [{value: 'here', label: text('tabs.here')}, {value: 'there', label: text('tabs.there')}];
  if (!ofOne(claims)) answers.push({value: 'both', label: text('tabs.both')});
  const {ask} = await import('./ask.js');
  const answer = await ask({title: text('tabs.question'), text: text('tabs.question_text'), answers});
  if (answer === 'here') return !(await takeOver());
  if (answer === 'there') {
    tabs.show();
    signal.bye();
    end('elsewhere');
  }
  return answer === 'both';
}

function leave() {
  mesh.leave();
  signal.bye();
  end('left');
}

async function join(name, {back = false} = {}) {
  if (!back && !(await goesOnHere())) {
    element('join').disabled = over;
    return;
  }
  const media = {a: Number(devices.microphoneOn), v: Number(devices.cameraOn), s: 0};
  for (const kind of ['audio', 'video']) {
    if (devices[kind] !== null) mesh.setTrack(kind, devices[kind], devices.stream);
  }
  lobby.name = name;
  try {
    await callLoaded;
    await mesh.join(room, {name, meta: {}, media});
  } catch (error) {
    log('join refused', {code: error.code});
    if (!element('returning').hidden) showView('lobby');
    if (error.code === 'waiting') {
      lobby.waiting();
      return;
    }
    if (error.code === 'room_full' && error.retry > 0) {
      lobby.full(error.retry);
      return;
    }
    if (['room_full', 'room_locked', 'forbidden', 'banned', 'bad_token', 'token_used', 'token_expired', 'draining'].includes(error.code)) {
      signal.bye();
      end(error.code, error.message);
      return;
    }
    throw error;
  }
}

/** Who may invite others, and the link for them. */
const invitation = {
  get possible() {
    return token === undefined || isForAll(claims) || mesh.you?.role === 'host';
  },
  async link() {
    const plain = location.origin + location.pathname;
    if (token === undefined) return plain;
    return `${plain}#token=${isForAll(claims) ? token : (await mesh.invite()).token}`;
  },
};

/** The call itself: loaded after what the lobby needs, which is there the sooner. */
let call = null;
const callLoaded = loaded().then(() => Promise.all([import('./callview.js'), import('./ways.js'), complete()])).then(([{CallView}]) => {
  call = new CallView({mesh, signal, devices, stats, room, invitation, log, leave});
});
callLoaded.catch((error) => log('the call did not load', {error: error.message}));
const lobby = new Lobby({devices, signal, room, claims, join, checked: (result) => { diagnostics.network = result; }});

/** What the page around this one may do. */
const tell = embedding({
  does: {
    join: (name, {microphone, camera}) => {
      if (call?.active || over || !element('returning').hidden) return; // a reload comes back by itself
      if (microphone !== undefined) devices.setMicrophone(microphone);
      if (camera !== undefined) devices.setCamera(camera);
      lobby.enter(name);
    },
    leave: () => !over && leave(),
    microphone: (on) => devices.setMicrophone(on),
    camera: (on) => devices.setCamera(on),
  },
});
const tellLanguage = () => tell('language', {language: language(), title: text('page.title')});
tellLanguage();
spoken.addEventListener('change', tellLanguage);
const media = () => ({microphone: devices.microphoneOn, camera: devices.cameraOn});
devices.addEventListener('change', () => tell('media', {...media(), joined: Boolean(call?.active)}));
mesh.addEventListener('peers', () => tell('people', {count: mesh.room === null ? 0 : mesh.peers.size + 1}));

devices.addEventListener('track', ({detail}) => {
  log('track', {kind: detail.kind, on: detail.track !== null});
  mesh.setTrack(detail.kind, detail.track, detail.stream);
});
mesh.addEventListener('joined', () => {
  if (over || call === null || call.active) return;
  log('joined', {peers: mesh.peers.size});
  lobby.stop();
  tabs.hold();
  call.enter(mesh.you?.name || lobby.name);
  tell('joined', {name: call.name, ...media()});
});
mesh.addEventListener('peer', ({detail}) => log('peer', {peer: detail.peer.id, state: detail.peer.state, gap: detail.peer.gap}));
mesh.addEventListener('ended', ({detail}) => end(detail.code, detail.msg));
signal.addEventListener('gone', ({detail}) => end(detail.code, detail.msg));
signal.addEventListener('state', ({detail}) => {
  log('signaling', {state: detail.state, code: detail.code});
  call?.signaling(detail.state);
});
signal.addEventListener('draining', ({detail}) => {
  if (over) return;
  log('draining', {until: detail.until});
  if (!call?.active) lobby.draining();
  callLoaded.then(() => call.draining(detail.until), () => {}); // noted above
});
signal.addEventListener('restarted', () => call?.draining(null));
for (const name of ['online', 'offline']) addEventListener(name, () => log(name));
addEventListener('pageshow', ({persisted}) => persisted && take(room)); // a tab that is duplicated now begins in the lobby
addEventListener(LAST_MOMENT, () => {
  if (call?.active && !over) keep(room, {name: lobby.name, a: devices.wanted.audio, v: devices.wanted.video});
});
addEventListener('pagehide', (event) => {
  if (over) return;
  if (event.persisted) return;
  if (call) call.active = false; // the others are not told that a camera is off which is back in a moment
  devices.close();
});

async function copyDiagnostics(button, area) {
  const copied = await copyText(await diagnostics.text(mesh, signal, stats.latest), element(area));
  put(button, copied ? 'diagnostics.copied' : 'diagnostics.copy_below');
  setTimeout(() => put(button, 'diagnostics.copy'), 3000);
}
element('copy-diagnostics').addEventListener('click', (event) => copyDiagnostics(event.currentTarget, 'diagnostics-text'));
element('end-diagnostics').addEventListener('click', (event) => copyDiagnostics(event.currentTarget, 'end-diagnostics-text'));
element('end-again').addEventListener('click', async () => {
  if (!['moved', 'elsewhere'].includes(element('end').dataset.code) || !(await takeOver())) location.reload();
});

/** No WebSocket came about. A server that answers to HTTP is there, and so is the network: something else is in the way. */
async function giveUp() {
  const status = await fetch('/v1/ws', {cache: 'no-store'}).then((answer) => answer.status, () => 0);
  if (signal.state !== 'open') end(status === 426 ? 'refused' : 'unreachable');
}

/** As muted as before; where that does not work, the lobby says why. */
async function comeBack({name}) {
  try {
    await join(name, {back: true});
  } catch (error) {
    showView('lobby');
    lobby.problem(error);
  }
  if (!call?.active && !over) lobby.online();
}

async function start() {
  const back = take(room);
  if (back !== null) Object.assign(devices.wanted, {audio: back.a, video: back.v});
  document.title = text('lobby.title', {room});
  showView(back === null ? 'lobby' : 'returning');
  lobby.problem(null);
  await loaded();
  if (back === null && ofOne(claims) && !(await goesOnHere())) {
    if (!over) end('elsewhere');
    return;
  }
  const patience = setTimeout(giveUp, GIVE_UP_AFTER);
  const ready = lobby.start();
  try {
    await signal.open();
  } catch (error) {
    end(error.code ?? 'unreachable', error.message);
    return;
  } finally {
    clearTimeout(patience);
  }
  tell('ready');
  if (back === null) lobby.online();
  else {
    await ready;
    await comeBack(back);
  }
}

const removed = storage.getItem(REMOVED);
if (removed) end(removed);
else if (!isFor(claims, room)) end('other_room');
else start();
