/**
 * The connection to the signaling server, protocol `signal.v1`: one session that outlives its sockets.
 *
 * A session is what the server knows of this client; a socket is only how the two talk at the moment. When a socket is
 * lost the next one resumes the session: the server replays what this end has not seen (counted by `seq`), this end
 * repeats what the server has not seen (counted by `n`), and nothing is lost or heard twice. Media do not notice.
 *
 * No dependencies, no build step; works wherever there are `WebSocket` and `EventTarget`.
 */

/** The WebSocket subprotocol. */
export const PROTOCOL = 'signal.v1.json';

const VERSION = 1;
const COUNTED = new Set(['desc', 'cand', 'reset', 'restart', 'update', 'mod', 'msg']);
const BACK_OFF = [300, 1200, 2700, 4800, 7000]; // ms, each ±50 %, after a first try within FIRST_TRY
const FIRST_TRY = 500;
const CONNECT_PATIENCE = 10_000; // ms from the attempt to `hello_ok`
const PROBE_PATIENCE = 3000; // ms for the answer of a socket that is in doubt
const STEADY = 5000; // ms after which a connection counts as good, and the back-off starts over
const SETTLE = 1000; // ms between two connections made because the network came back
const HEARTBEAT = 15_000; // ms, until the server has said otherwise
const ACK_AFTER = 64; // messages that may stay unacknowledged until the next heartbeat
const RELOAD = 5000; // ms in which a page that has gone may come back as the same participant
const KEEP_FRAMES = 1000; // unacknowledged messages; more than that in a gap, and the session is given up
const KEEP_CHARS = 4_000_000;

/** Close codes after which nobody comes back, for when the `goodbye` before them was lost. */
const FINAL = new Map([[4401, 'bad_token'], [4403, 'forbidden'], [4409, 'replaced'], [4410, 'kicked'], [4426, 'unsupported_version']]);
/** Refusals of a `hello` that another try will not change. */
const REFUSED = new Set(['auth_required', 'bad_token', 'token_expired', 'token_not_yet', 'forbidden', 'banned', 'unsupported_version']);
const BAD_FRAMES = 4400;

/** What the server refused, or why a request can no longer be answered. */
export class SignalError extends Error {
  /** @param {string} code as in the protocol @param {string} [msg] one sentence @param {number} [retry] ms @param {object} [detail] */
  constructor(code, msg, retry, detail) {
    super(msg || code);
    this.name = 'SignalError';
    this.code = code;
    this.msg = msg || code;
    this.retry = retry;
    this.detail = detail;
  }
}

/**
 * Letters and digits that nobody guesses.
 * @param {number} length
 * @returns {string}
 */
export function randomName(length) {
  const letters = 'abcdefghijklmnopqrstuvwxyz234567';
  return [...crypto.getRandomValues(new Uint8Array(length))].map((byte) => letters[byte & 31]).join('');
}

/**
 * One session with the server.
 *
 * Events (`CustomEvent`, what they carry is in `detail`):
 * - `state` `{state, code?, reconnectIn?}`: the state changed, or a reconnection has been put off by so many ms
 * - `message`: every frame of the server that is not a repetition; then one event named after its type (`peer_join`, `desc`, …)
 * - `resumed`: a new socket carries the session on; `restarted`: the session was lost and a fresh one has taken its place
 * - `network`: the machine's network changed (`online`), so paths of media are in doubt
 * - `gone` `{code, msg}`: it is over and there will be no reconnection
 */
export class Signal extends EventTarget {
  #url; #token; #client; #storage; #lastMoment; #WebSocket; #random; #setTimeout; #clearTimeout; #now; #world;
  #state = 'new';
  #line = null; // the socket in use: {socket, ready, cid, hello, since, timer, beat, dead, pings}
  #session = null; // {sid, key}
  #stored = false; // the session was taken over from the page's life before a reload
  #lives = 0; // sessions that this object has had
  #seq = 0; #acked = 0; // highest handled; highest told
  #n = 0; #outbox = []; #outboxChars = 0; // [{n, text, frame}]: not known to have arrived
  #requests = new Map(); #requestName = randomName(6); #lastRequest = 0;
  #attempt = 0; #retry = null; #lastStamp = 0; #networkAt = -Infinity;
  #opening = null; #listeners = [];

  /**
   * @param {string} url `wss://host/v1/ws`
   * @param {object} [options]
   * @param {string} [options.token] the room token; none for an open server
   * @param {{name: string, ver: string}} [options.client] what to call ourselves
   * @param {Pick<Storage, 'getItem'|'setItem'|'removeItem'>|null} [options.storage] where a reload finds the session again; null: a
   *   reload starts afresh
   * @param {string} [options.lastMoment] the last event of the page at which something can be stored there
   * @param {typeof WebSocket} [options.WebSocket]
   * @param {() => number} [options.random] in [0, 1)
   * @param {typeof setTimeout} [options.setTimeout] @param {typeof clearTimeout} [options.clearTimeout]
   * @param {() => number} [options.now] ms of a clock that does not jump
   * @param {EventTarget|null} [options.world] where `online`, `pagehide` and the like are to be heard
   */
  constructor(url, {
    token, client = {name: 'meshturn.js', ver: '1'}, storage = null, lastMoment = 'pagehide', WebSocket: Socket = globalThis.WebSocket,
    random = Math.random, setTimeout: later = globalThis.setTimeout, clearTimeout: never = globalThis.clearTimeout,
    now = () => performance.now(), world = globalThis,
  } = {}) {
    super();
    this.#url = url;
    this.#token = token;
    this.#client = client;
    this.#storage = storage;
    this.#lastMoment = lastMoment;
    this.#WebSocket = Socket;
    this.#random = random;
    this.#setTimeout = (call, delay) => later(call, delay);
    this.#clearTimeout = (timer) => never(timer);
    this.#now = now;
    this.#world = world;
    /** What `hello_ok` or `joined` said of this client: id, role, caps. */
    this.you = null;
    /** What the server can do besides the protocol's core, by name. */
    this.features = [];
    /** The room that the session is in according to the last `hello_ok`; `Mesh` keeps it current. */
    this.room = null;
    /** What the server accepts: `{msg, rate, burst, name, meta}`. */
    this.limits = null;
    /** How long the server keeps a session without a socket, in ms. */
    this.resumeWindow = 60_000;
    /** Round trip to the server in ms, measured by the heartbeat. */
    this.rtt = null;
  }

  /** `connecting`, `open`, `reconnecting` or `closed`; `new` before `open()`. */
  get state() { return this.#state; }

  /** The session's public name, for logs; its key stays in here. */
  get sid() { return this.#session?.sid ?? null; }

  /** Highest `seq` handled. */
  get seq() { return this.#seq; }

  /** Counted messages that the server is not known to have yet. */
  get unacknowledged() { return this.#outbox.length; }

  /** Whether the session comes from before a reload of the page. */
  get recovered() { return this.#stored; }

  /** The server's address. */
  get url() { return this.#url; }

  /**
   * Connect; from then on every loss is followed by reconnections.
   * @returns {Promise<object>} the first `hello_ok`; rejects with `SignalError` when the server will not have us
   */
  open() {
    if (this.#opening) return this.#opening.promise;
    this.#opening = {};
    this.#opening.promise = new Promise((resolve, reject) => Object.assign(this.#opening, {resolve, reject}));
    this.#opening.promise.catch(() => {}); // who does not wait for it hears `gone`
    this.#listen();
    this.#restore();
    this.#connect();
    return this.#opening.promise;
  }

  /**
   * Ask the server something. Unanswered requests are asked again after a resume.
   * @param {string} t the message's type @param {object} [fields]
   * @returns {Promise<object>} the answer; rejects with `SignalError`
   */
  request(t, fields = {}) {
    if (this.#state === 'closed') return Promise.reject(new SignalError('closed', 'The connection is closed.'));
    const id = `${this.#requestName}${(this.#lastRequest += 1)}`;
    return new Promise((resolve, reject) => {
      const request = {t, fields, id, resolve, reject, counted: COUNTED.has(t)};
      this.#requests.set(id, request);
      if (request.counted) this.#count({t, ...fields, id}, request);
      else if (this.#line?.ready) this.#write({t, ...fields, id});
    });
  }

  /**
   * Tell the server something. Counted messages are kept until the server has them; others are dropped while it is away.
   * @param {string} t @param {object} [fields]
   */
  send(t, fields = {}) {
    if (this.#state === 'closed') return;
    if (COUNTED.has(t)) this.#count({t, ...fields});
    else if (this.#line?.ready) this.#write({t, ...fields});
  }

  /** End the session at once, for good. */
  bye() {
    if (this.#line?.ready) this.#write({t: 'bye'});
    this.#end('closed', null);
  }

  /** Stop without telling the server, which keeps the session for a while. */
  close() {
    this.#end('closed', null);
  }

  /**
   * Let another page of this origin go on with the session: it has to find the value at the key in its `storage`. The
   * server is not told, and here it is over. @returns {[string, string] | null} null if there is no session
   */
  handOver() {
    const entry = this.#session && [this.#place, this.#entry];
    this.#end('closed', null);
    return entry;
  }

  // ---- what comes in

  #connect() {
    this.#clearTimeout(this.#retry);
    this.#retry = null;
    this.#drop();
    let socket;
    try {
      socket = new this.#WebSocket(this.#url, [PROTOCOL]);
    } catch (error) {
      this.#end('unreachable', error.message);
      return;
    }
    const line = {socket, ready: false, cid: null, hello: null, since: null, beat: null, dead: null, probed: false, pings: []};
    this.#line = line;
    line.timer = this.#setTimeout(() => this.#lost(line, 'timeout'), CONNECT_PATIENCE);
    socket.onmessage = ({data}) => line === this.#line && this.#received(line, data);
    socket.onclose = ({code}) => line === this.#line && this.#closed(line, code);
    this.#setState(this.#lives > 0 ? 'reconnecting' : 'connecting');
  }

  /** Let go of the socket; nothing of it is heard any more. */
  #drop() {
    const line = this.#line;
    if (!line) return;
    this.#line = null;
    for (const timer of [line.timer, line.beat, line.dead]) this.#clearTimeout(timer);
    const {socket} = line;
    socket.onmessage = null;
    socket.onclose = null;
    // A socket closed before it is open makes a console error of it; so it is let open first.
    if (socket.readyState === 0) socket.onopen = () => socket.close(1000);
    else if (socket.readyState === 1) socket.close(1000);
  }

  #received(line, text) {
    let frame;
    try {
      frame = JSON.parse(text);
    } catch {
      return;
    }
    if (typeof frame?.t !== 'string') return;
    this.#clearTimeout(line.dead);
    line.dead = null;
    line.probed = false;
    if (Number.isInteger(frame.seq)) {
      if (frame.seq <= this.#seq) return; // heard before the socket was lost
      this.#seq = frame.seq;
    }
    switch (frame.t) {
      case 'welcome': return this.#hello(line, frame);
      case 'hello_ok': return this.#greeted(line, frame);
      case 'goodbye': return this.#farewell(line, frame);
      case 'pong': return this.#ponged(line, frame);
      case 'sync': // stands for everything up to `at`; relayed messages that are left come after it with new numbers
        this.#seq = Math.max(this.#seq, frame.at ?? 0);
        break;
      case 'error': 
        if (this.#helloRefused(line, frame)) return;
        this.#repeatLater(frame);
        break;
      default:
    }
    const request = frame.re === undefined ? undefined : this.#requests.get(frame.re);
    if (request) {
      this.#requests.delete(frame.re);
      if (request.counted) this.#forget(request.n);
      if (frame.t === 'error') request.reject(new SignalError(frame.code, frame.msg, frame.retry, frame.d));
      else request.resolve(frame);
    }
    this.#emit('message', frame);
    this.#emit(frame.t, frame);
    if (this.#seq - this.#acked >= ACK_AFTER && line === this.#line) this.#ping(line);
  }

  #hello(line, welcome) {
    if (line.hello) return;
    if (Array.isArray(welcome.v) && !welcome.v.includes(VERSION)) {
      this.#end('unsupported_version', 'The server speaks another version of the protocol; reload the page.');
      return;
    }
    this.limits = welcome.limits ?? this.limits;
    this.features = Array.isArray(welcome.feat) ? welcome.feat : [];
    line.cid = welcome.cid ?? null;
    line.heartbeat = welcome.hb > 0 ? welcome.hb : HEARTBEAT;
    if (welcome.resume > 0) this.resumeWindow = welcome.resume;
    this.#introduce(line);
  }

  #introduce(line) {
    line.hello = `${this.#requestName}h${(this.#lastRequest += 1)}`;
    const hello = {t: 'hello', id: line.hello, v: VERSION, feat: [], client: this.#client};
    if (this.#session) hello.resume = {...this.#session, seq: this.#seq};
    else if (this.#token) hello.token = this.#token;
    this.#write(hello, line);
  }

  /** Whether that error was the answer to our `hello`; if so it has been dealt with. */
  #helloRefused(line, error) {
    if (line.ready || error.re === undefined || error.re !== line.hello) return false;
    if (error.code === 'session_gone') {
      this.#session = null;
      this.#introduce(line);
    } else if (REFUSED.has(error.code) && !(error.retry > 0)) this.#end(error.d?.path === 'uses' ? 'token_used' : error.code, error.msg);
    else this.#lost(line, error.code, error.retry);
    return true;
  }

  #greeted(line, frame) {
    if (frame.re !== undefined && frame.re !== line.hello) return;
    this.#clearTimeout(line.timer);
    const resumed = Boolean(frame.resumed);
    const restarted = !resumed && this.#lives > 0;
    this.#stored = resumed && (this.#stored || this.#lives === 0);
    line.ready = true;
    line.cid = frame.cid ?? line.cid;
    line.since = this.#now();
    this.#session = {sid: frame.sid, key: frame.key};
    this.#lives += 1;
    this.you = frame.you ?? this.you;
    this.room = frame.room ?? null;
    if (resumed) {
      this.#n = Math.max(this.#n, frame.n ?? 0);
      this.#forget(frame.n ?? 0);
    } else this.#seq = 0;
    this.#acked = 0;
    if (restarted) this.#startOver();
    this.#repeat(line);
    this.#setState('open');
    this.#opening.resolve(frame);
    if (restarted) this.#emit('restarted', frame);
    else if (resumed) this.#emit('resumed', frame);
    this.#emit('message', frame);
    this.#emit('hello_ok', frame);
  }

  /** Say again what the server has not heard, and ask again what it has not answered. */
  #repeat(line) {
    for (const {text} of this.#outbox) line.socket.send(text);
    const kept = new Set(this.#outbox.map(({n}) => n));
    for (const {t, fields, id, counted, n, text} of this.#requests.values()) {
      if (!counted) this.#write({t, ...fields, id});
      else if (!kept.has(n)) line.socket.send(text); // it has been heard, and is answered if the answer was not replayed
    }
    this.#ping(line);
  }

  /** What was meant for the lost session cannot be said in a fresh one. */
  #startOver() {
    this.#outbox = [];
    this.#outboxChars = 0;
    this.#n = 0;
    for (const request of [...this.#requests.values()]) {
      if (!request.counted) continue;
      this.#requests.delete(request.id);
      request.reject(new SignalError('session_gone', 'The session was lost.'));
    }
  }

  #farewell(line, frame) {
    if (line.cid !== null && frame.cid !== undefined && frame.cid !== line.cid) return; // meant for a socket we no longer have
    if (frame.reconnect === 'never') {
      this.#end(frame.code, frame.msg);
      return;
    }
    if (frame.reconnect === 'fresh') this.#session = null;
    this.#lost(line, frame.code, frame.after);
  }

  #closed(line, code) {
    if (FINAL.has(code)) this.#end(FINAL.get(code), 'The server closed the connection.');
    else {
      if (code === BAD_FRAMES) this.#session = null; // whatever it did not like must not be repeated
      this.#lost(line, code);
    }
  }

  // ---- what goes out

  #count(frame, request) {
    this.#n += 1;
    const text = JSON.stringify({...frame, n: this.#n});
    this.#outbox.push({n: this.#n, text, frame});
    this.#outboxChars += text.length;
    if (request) Object.assign(request, {n: this.#n, text});
    if (this.#outbox.length > KEEP_FRAMES || this.#outboxChars > KEEP_CHARS) this.#overflow();
    else if (this.#line?.ready) this.#write({...frame, n: this.#n});
  }

  /** A counted message came too fast, and was dropped: say it again, under a number of its own, when the server says. */
  #repeatLater({code, re, retry, d}) {
    if (code !== 'rate_limited' || re !== undefined || d?.n === undefined) return;
    const dropped = this.#outbox.find(({n}) => n === d.n);
    const sid = this.sid;
    if (!dropped) return;
    this.#setTimeout(() => {
      if (this.#state !== 'closed' && this.sid === sid) this.#count(dropped.frame);
    }, retry > 0 ? retry : STEADY);
  }

  /** More than can be kept: begin a new session rather than a session with a hole. */
  #overflow() {
    this.#session = null;
    this.#startOver();
    if (this.#line?.ready) this.#lost(this.#line, 'overflow');
  }

  #forget(n) {
    while (this.#outbox.length > 0 && this.#outbox[0].n <= n) this.#outboxChars -= this.#outbox.shift().text.length;
  }

  #write(frame, line = this.#line) {
    if (line.socket.readyState !== 1) return;
    if (this.#seq > this.#acked && line.ready) {
      frame.ack = this.#seq;
      this.#acked = this.#seq;
    }
    line.socket.send(JSON.stringify(frame));
  }

  #ping(line, patience = Math.min(line.heartbeat / 2, 7500)) {
    this.#clearTimeout(line.beat);
    line.beat = this.#setTimeout(() => this.#ping(line), line.heartbeat);
    const ts = Math.max(this.#lastStamp + 1, Math.floor(Date.now()));
    this.#lastStamp = ts;
    line.pings.push({ts, n: this.#n, at: this.#now()});
    if (line.pings.length > 32) line.pings.shift();
    line.dead ??= this.#setTimeout(() => this.#lost(line, 'dead'), patience);
    this.#write({t: 'ping', ts}, line);
  }

  /** Frames are handled in order: what was sent before the ping has arrived when the pong is here. */
  #ponged(line, {ts}) {
    const index = line.pings.findIndex((ping) => ping.ts === ts);
    if (index < 0) return;
    const {n, at} = line.pings[index];
    line.pings.splice(0, index + 1);
    this.rtt = this.#now() - at;
    this.#forget(n);
  }

  // ---- losing and finding the server

  /** That socket is of no use any more: try another one, after a while. */
  #lost(line, code, after) {
    if (line !== this.#line) return;
    if (line.since !== null && this.#now() - line.since >= STEADY) this.#attempt = 0;
    this.#drop();
    const delay = after > 0 ? after : this.#backOff();
    this.#attempt += 1;
    this.#reconnectIn(delay, code);
  }

  #backOff() {
    if (this.#attempt === 0) return this.#random() * FIRST_TRY;
    return BACK_OFF[Math.min(this.#attempt, BACK_OFF.length) - 1] * (0.5 + this.#random());
  }

  #reconnectIn(delay, code) {
    this.#clearTimeout(this.#retry);
    this.#retry = this.#setTimeout(() => this.#connect(), delay);
    this.#setState(this.#lives > 0 ? 'reconnecting' : 'connecting', {code, reconnectIn: Math.round(delay)});
  }

  /** The network is back, perhaps as another one: a socket over the old one may be dead without knowing. */
  #online() {
    if (this.#state === 'closed') return;
    const since = this.#now() - this.#networkAt;
    this.#attempt = 0;
    if (since >= SETTLE) {
      this.#networkAt = this.#now();
      this.#connect();
    } else {
      this.#networkAt = this.#now() + SETTLE - since;
      this.#drop();
      this.#reconnectIn(SETTLE - since, 'online');
    }
    this.#emit('network', {});
  }

  /** Find out now, rather than at the next heartbeat, whether the server can still be reached. */
  probe() {
    const line = this.#line;
    if (!line?.ready || line.probed) return;
    this.#clearTimeout(line.dead);
    line.dead = null;
    line.probed = true;
    this.#ping(line, PROBE_PATIENCE);
  }

  /** The page is looked at again. */
  #visible() {
    if (this.#state === 'closed' || globalThis.document?.visibilityState === 'hidden') return;
    if (this.#line?.ready) this.probe();
    else if (this.#retry !== null) {
      this.#attempt = 0;
      this.#connect();
    }
  }

  #listen() {
    const on = (target, type, call) => {
      target?.addEventListener?.(type, call);
      this.#listeners.push(() => target?.removeEventListener?.(type, call));
    };
    on(this.#world, 'online', () => this.#online());
    on(this.#world, this.#lastMoment, () => this.#store());
    on(this.#world, 'pagehide', () => {
      if (this.#line?.ready) this.#write({t: 'bye', keep: this.#storage ? RELOAD : 1});
    });
    on(this.#world, 'pageshow', ({persisted}) => {
      if (!persisted) return;
      this.#unstore();
      this.#online();
    });
    on(this.#world?.document, 'visibilitychange', () => this.#visible());
    const connection = this.#world?.navigator?.connection; // Chromium: Wi-Fi to mobile and back need no `online`
    let type = connection?.type;
    on(connection, 'change', () => {
      if (connection.type === type) return;
      type = connection.type;
      if (this.#world.navigator.onLine !== false) this.#online();
    });
  }

  #end(code, msg) {
    if (this.#state === 'closed') return;
    const ours = code === 'closed';
    for (const undo of this.#listeners.splice(0)) undo();
    this.#clearTimeout(this.#retry);
    this.#retry = null;
    this.#drop();
    this.#session = null;
    this.#outbox = [];
    this.#outboxChars = 0;
    this.#setState('closed', ours ? {} : {code});
    const error = new SignalError(code, msg ?? 'The connection is closed.');
    for (const request of this.#requests.values()) request.reject(error);
    this.#requests.clear();
    this.#opening?.reject(error);
    if (!ours) this.#emit('gone', {code, msg: msg ?? code});
  }

  // ---- a reload of the page

  // A duplicated tab gets a copy of the session storage. So the session is in there only between the last moment and the next
  // load, and whoever takes it takes it out: a copy made while the page lives has nothing to steal the session with.

  get #place() { return `meshturn.session ${this.#url}`; }

  get #entry() { return JSON.stringify({...this.#session, seq: this.#seq, mark: (this.#token ?? '').slice(-16)}); }

  #store() {
    if (!this.#storage || !this.#session || this.#state === 'closed') return;
    try {
      this.#storage.setItem(this.#place, this.#entry);
    } catch {
      // a full or forbidden storage only costs the resume
    }
  }

  #unstore() {
    try {
      const text = this.#storage?.getItem(this.#place);
      if (text) this.#storage.removeItem(this.#place);
      return text ? JSON.parse(text) : null;
    } catch {
      return null;
    }
  }

  #restore() {
    const entry = this.#unstore();
    if (!entry || entry.mark !== (this.#token ?? '').slice(-16)) return;
    this.#session = {sid: entry.sid, key: entry.key};
    this.#seq = entry.seq ?? 0;
  }

  // ---- events

  #setState(state, detail = {}) {
    if (state === this.#state && detail.reconnectIn === undefined) return;
    this.#state = state;
    this.#emit('state', {state, ...detail});
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, {detail}));
  }
}
