/** Before the call: a picture of oneself, devices, a network check, who is there, and the way in. */

import {problemText} from './devices.js';
import {announce, element, make, memory, note, setPressed} from './dom.js';
import {checkNetwork} from './stats.js';
import {failure, put, spoken, text} from './texts.js';

const PEEK_EVERY = 5000;
const METER_EVERY = 100;
const SEAT_EVERY = 500;
const MARKS = {ok: '✓', spare: '–', blocked: '✗'};
const WAYS = [
  ['udp', 'UDP'],
  ['tcp', 'TCP'],
  ['tls', 'TLS'],
];

/** The devices' pickers, wherever they are: filled, kept up to date, and what is chosen is used. */
export class Pickers {
  /** @param {import('./devices.js').Devices} devices @param {string[]} ids of `<select data-kind>` @param {string} problem */
  constructor(devices, ids, problem) {
    this.devices = devices;
    this.selects = ids.map(element);
    this.problem = element(problem);
    for (const select of this.selects) select.addEventListener('change', () => this.#choose(select));
    devices.addEventListener('change', () => this.fill());
    spoken.addEventListener('change', () => this.fill());
  }

  /** Show the devices there are now. */
  async fill() {
    const found = await this.devices.list();
    for (const select of this.selects) this.#show(select, found[select.dataset.kind]);
  }

  #show(select, devices) {
    const kind = select.dataset.kind;
    const labels = devices.map((device, index) => [device.deviceId, device.label || text(`lobby.unnamed_${kind}`, {number: index + 1})]);
    const wanted = JSON.stringify(labels);
    if (select.dataset.shown !== wanted) {
      select.dataset.shown = wanted;
      select.replaceChildren(...labels.map(([value, label]) => make('option', label, {value, dir: 'auto'})));
      if (labels.length === 0) put(select.appendChild(make('option', '', {value: ''})), kind === 'audiooutput' ? 'lobby.chosen_by_system' : 'lobby.none_found');
    }
    select.disabled = labels.length === 0;
    select.closest('.field').hidden = kind === 'audiooutput' && !('setSinkId' in HTMLMediaElement.prototype);
    const current = this.devices.current(kind);
    if (current && labels.some(([value]) => value === current)) select.value = current;
  }

  async #choose(select) {
    try {
      await this.devices.choose(select.dataset.kind, select.value);
      note(this.problem, '');
    } catch (error) {
      const kind = select.dataset.kind === 'videoinput' ? 'video' : 'audio';
      note(this.problem, problemText({audio: null, video: null, [kind]: error.name}));
      await this.fill();
    }
  }
}

export class Lobby {
  /**
   * @param {{devices: import('./devices.js').Devices, signal: import('./signal.js').Signal, room: string, claims: {name?: string},
   *   join: (name: string) => Promise<void>, checked: (result: object) => void}} parts
   */
  constructor({devices, signal, room, claims, join, checked}) {
    this.devices = devices;
    this.signal = signal;
    this.room = room;
    this.join = join;
    this.checked = checked;
    this.timers = [];
    this.tests = [];
    this.seatAt = null; // when a seat in the full room is free, by the clock of the page
    this.seatTimer = null;
    this.waits = false; // whether the user has asked to wait for it
    element('lobby-room').textContent = room;
    this.#showName(claims.name);
    if (devices.forgone) element('lobby').dataset.listener = '';
    element('lobby-mic').addEventListener('click', () => devices.setMicrophone(!devices.microphoneOn));
    element('lobby-cam').addEventListener('click', () => devices.setCamera(!devices.cameraOn));
    element('mic-test').addEventListener('click', () => this.#testMicrophone());
    element('lobby-devices').addEventListener('toggle', () => this.#morePreferences(), {once: true});
    element('join-form').addEventListener('submit', (event) => {
      event.preventDefault();
      this.#submit();
    });
    devices.addEventListener('change', () => this.#showDevices());
    spoken.addEventListener('change', () => this.#showAll());
    this.found = null; // who is in the room
    this.network = null;
    this.refused = null; // why the call could not be joined
    this.pickers = new Pickers(devices, ['lobby-camera', 'lobby-microphone', 'lobby-speaker'], 'device-problem');
  }

  /** The name in a token replaces the one that the user would choose. */
  #showName(fixed) {
    const field = element('name');
    field.value = fixed ?? memory.get('name') ?? '';
    field.readOnly = fixed !== undefined;
    element('name-how').hidden = fixed === undefined;
  }

  /** Ask for the devices, and show their picture and level. */
  async start() {
    this.timers.push(setInterval(() => this.#showLevel(), METER_EVERY));
    await this.devices.open();
    this.#showDevices();
    await this.pickers.fill();
    import('./flip.js').then(({offerFlip}) => offerFlip(this.devices, element('lobby-flip')), () => {}); // it stays hidden
  }

  /** The server is there: say who is in the room, and try its relays. */
  online() {
    this.#peek();
    this.timers.push(setInterval(() => this.#peek(), PEEK_EVERY));
    this.check();
  }

  /** Go in, as if the button had been pressed. @param {string} [name] in place of what stands in the field */
  enter(name) {
    const field = element('name');
    if (name !== undefined && !field.readOnly) field.value = name.slice(0, field.maxLength);
    this.#enter();
  }

  /** Everything that runs only while the lobby is to be seen ends. */
  stop() {
    for (const timer of this.timers) clearInterval(timer);
    this.timers = [];
    this.#forgetSeat();
    this.devices.closeMeter();
    for (const test of this.tests) test.stop();
    element('preview').srcObject = null;
  }

  /** Try every way to the relay and show what works. */
  async check() {
    const list = element('net-check');
    let result;
    try {
      const {ice} = await this.signal.request('ice_get', {why: 'check'});
      result = await checkNetwork(ice);
    } catch (error) {
      const line = make('li', '', {class: 'muted'});
      put(line, 'lobby.network_unchecked_why', () => ({why: failure(error)}));
      list.replaceChildren(line);
      list.dataset.done = 'true';
      put(element('net-summary'), 'lobby.network_unchecked');
      return;
    }
    this.checked(result);
    this.network = result;
    this.#showNetwork();
  }

  #showNetwork() {
    const [list, result] = [element('net-check'), this.network];
    const works = WAYS.some(([id]) => result[id] === 'ok');
    const lines = WAYS.filter(([id]) => result[id] !== undefined && result[id] !== null).map(([id, way]) => {
      const codes = (result.errors ?? []).filter((error) => error.transport === id && error.code).map((error) => error.code);
      if (result[id] === 'ok') return checkLine('ok', text('lobby.way_works', {way}));
      if (works) return checkLine('spare', text('lobby.way_spare', {way})); // such as TLS with a certificate that nobody has signed
      return checkLine('blocked', codes.length > 0 ? text('lobby.way_blocked_why', {way, codes: [...new Set(codes)].join(', ')}) : text('lobby.way_blocked', {way}));
    });
    const local = /^(localhost|127\.|\[::1\])/.test(location.host); // where some browsers look for no relay
    if (!works && !local) lines.push(checkLine('blocked', text('lobby.no_relay')));
    list.replaceChildren(...lines);
    list.dataset.done = 'true';
    element('net-details').dataset.result = works ? 'ok' : local ? 'unknown' : 'blocked';
    put(element('net-summary'), works ? 'lobby.network_good' : local ? 'lobby.network_local' : 'lobby.network_bad');
  }

  /** Say that a host has been asked. */
  waiting() {
    this.#note('lobby.waiting');
    element('join').disabled = true;
  }

  /**
   * The room is full, and the seat of somebody who has lost the connection is kept. Whether to wait for it is asked.
   * @param {number} retry ms until the seat is free
   */
  full(retry) {
    this.seatAt = performance.now() + retry;
    this.seatTimer ??= setInterval(() => this.#showSeat(), SEAT_EVERY);
    element('join').disabled = false;
    this.#showSeat();
    if (!this.waits) announce(element('seat').textContent);
  }

  /** The server is about to stop: a call that is going on can still be joined. */
  draining() {
    this.#note('lobby.draining');
  }

  #note(key) {
    this.refused = null;
    put(element('join-problem'), key);
    element('join-problem').hidden = false;
  }

  /** Say why the call could not be joined; null: nothing is the matter. @param {{code: string, message: string} | null} error */
  problem(error) {
    this.refused = error;
    note(element('join-problem'), error === null ? '' : failure(error));
  }

  /** Everything again, in another language. */
  #showAll() {
    if (!element('lobby').hidden) document.title = text('lobby.title', {room: this.room});
    this.#showDevices();
    if (this.found !== null) note(element('room-count'), occupancy(this.found));
    if (this.network !== null) this.#showNetwork();
    if (this.seatAt !== null) this.#showSeat();
    if (this.refused !== null) this.problem(this.refused);
  }

  #showDevices() {
    const {devices} = this;
    setPressed(element('lobby-mic'), devices.microphoneOn, devices.microphoneOn ? 'mic' : 'mic-off');
    setPressed(element('lobby-cam'), devices.cameraOn, devices.cameraOn ? 'cam' : 'cam-off');
    const preview = element('preview');
    if (!element('lobby').hidden && preview.srcObject !== devices.stream) preview.srcObject = devices.stream;
    preview.hidden = !devices.cameraOn;
    preview.classList.toggle('mirrored', devices.facing !== 'environment');
    element('preview-off').hidden = devices.cameraOn;
    put(element('preview-off'), devices.video === null && devices.problems.video ? 'lobby.no_camera' : 'lobby.camera_off');
    const problem = problemText(devices.problems);
    note(element('device-problem'), problem && `${problem} ${text('lobby.join_all_the_same')}`);
    element('join-how').textContent = joinsAs(devices);
  }

  async #testMicrophone() {
    const {MicrophoneTest} = await import('./soundcheck.js');
    if (!this.microphoneTest) this.tests.push(this.microphoneTest = new MicrophoneTest(this.devices, element('mic-test')));
    this.microphoneTest.press();
  }

  async #morePreferences() {
    const {Preferences} = await import('./preferences.js');
    this.tests.push(new Preferences(this.devices, element('lobby-preferences')).test);
  }

  #showLevel() {
    element('level').value = this.devices.level();
  }

  async #peek() {
    let found;
    try {
      found = await this.signal.request('peek', {room: this.room});
    } catch {
      return; // not connected just now; the next look will tell
    }
    const again = this.signal.room === this.room; // after a reload the session is still in the call
    this.found = again ? {...found, count: found.count - 1} : found;
    note(element('room-count'), occupancy(this.found));
  }

  #submit() {
    if (this.seatAt === null) {
      this.#enter();
      return;
    }
    this.waits = !this.waits;
    this.#showSeat();
  }

  #showSeat() {
    const left = Math.max(0, Math.ceil((this.seatAt - performance.now()) / 1000));
    if (left === 0) {
      const {waits} = this;
      this.#forgetSeat();
      this.waits = waits;
      if (waits) this.#enter();
      else note(element('seat'), text('lobby.seat_perhaps'));
      return;
    }
    note(element('seat'), text(this.waits ? 'lobby.seat_waiting' : 'lobby.seat_soon', {count: left}));
    put(element('join'), this.waits ? 'lobby.stop_waiting' : 'lobby.wait');
  }

  #forgetSeat() {
    clearInterval(this.seatTimer);
    this.seatTimer = null;
    this.seatAt = null;
    this.waits = false;
    note(element('seat'), '');
    put(element('join'), 'lobby.join');
  }

  async #enter() {
    const field = element('name');
    const name = field.value.trim() || text('people.guest');
    if (!field.readOnly) memory.set('name', field.value.trim());
    const button = element('join');
    this.problem(null);
    button.disabled = true;
    try {
      await this.join(name);
    } catch (error) {
      this.waits = false;
      this.problem(error);
      button.disabled = false;
    }
  }
}

/**
 * Who is in a room, in words.
 * @param {{count?: number, max?: number, locked?: boolean, retry?: number}} found `retry`: ms until a seat is free
 */
export function occupancy({count = 0, max = 0, locked = false, retry}) {
  if (locked) return text('lobby.locked', {count});
  if (count === 0) return text('lobby.nobody');
  if (max && count >= max) return [text('lobby.full', {count, max}), seatText(retry)].filter(Boolean).join(' ');
  return text('lobby.here', {count});
}

function seatText(retry) {
  if (retry === undefined) return '';
  const seconds = Math.ceil(retry / 1000);
  return seconds > 0 ? text('lobby.seat_in', {count: seconds}) : text('lobby.seat_now');
}

function joinsAs(devices) {
  if (devices.microphoneOn && devices.cameraOn) return '';
  if (devices.microphoneOn) return text('lobby.joins_heard');
  if (devices.cameraOn) return text('lobby.joins_seen');
  return text('lobby.joins_listening');
}

function checkLine(result, words) {
  const line = make('li', '', {'data-result': result});
  line.append(make('span', MARKS[result], {class: 'mark', 'aria-hidden': 'true'}), make('span', words));
  return line;
}
