/**
 * How the media of a room go, and the change from mesh to SFU and back: make before break.
 *
 * While the mode changes, there are two of each participant: the one that is shown, with the connection of the mode before, and
 * the other one, whose connection is in the making. When everything decodes, all are exchanged in one go, and the server
 * is told; when it says that the others need the old connections no more, these end. `switching.py` is the server's side. Who
 * still comes the way before and not yet the new one is waited for as long as the server lets us: a weak machine takes seconds.
 */

import {Peer} from './peer.js';
import {Sfu} from './sfu.js';
import {SfuPeer} from './sfupeer.js';

const LOOK = 150; // ms between two looks at what is decoded
const ENOUGH = 4000; // ms with connections that stand after which nothing more is waited for of those who sent nothing before either
const FLOWING = 1000; // ms since the last packet within which sound flows: who is silent sends one in 400 ms (DTX)

export class Ways {
  #shown; #room = null; #other = new Map(); #sfu = null; #parts; #waiting = null;

  /**
   * @param {object} parts
   * @param {Map<string, Peer>} parts.peers those who are shown, by id: `Mesh` keeps it
   * @param {(info: object, announce: boolean) => object} parts.peer options of a `Peer`
   * @param {() => object} parts.sfu options of an `Sfu`
   * @param {(peer: object) => void} parts.wire hear its events
   * @param {(peer: object) => void} parts.exchanged a participant is shown by another one now
   * @param {() => void} parts.changed the SFU's connections do differently
   * @param {import('./signal.js').Signal} parts.signal
   * @param {typeof setTimeout} parts.setTimeout @param {typeof clearTimeout} parts.clearTimeout
   */
  constructor(parts) {
    this.#parts = parts;
    this.#shown = parts.peers;
  }

  /** The connections with the SFU; null without any. @type {Sfu|null} */
  get sfu() { return this.#sfu; }

  /** What has a connection of its own, shown or not. */
  get meshed() {
    return [...this.#shown.values(), ...this.#other.values()].filter(({way}) => way === 'mesh');
  }

  /** One that has come, in the room's mode. @param {object} info @param {boolean} [announce] see `Peer` */
  make(info, announce = false) {
    const peer = this.#room.mode === 'sfu' ? new SfuPeer(this.#sfu, info) : new Peer(this.#parts.peer(info, announce));
    this.#parts.wire(peer);
    return peer;
  }

  /**
   * The room as the server describes it, before anybody is made for it. @param {object} room
   * @param {boolean} [fresh] the session is another one: what there was with the SFU is gone
   */
  enter(room, fresh = false) {
    if (fresh) this.#endSfu();
    this.#room = room;
    if (room.mode === 'sfu') this.#begin();
  }

  /** Go on with what the room says now, after `enter`, and after each change. @param {object} room */
  follow(room) {
    this.enter(room);
    const missing = [...this.#shown.values()].filter(({id, way}) => way !== room.mode && this.#other.get(id)?.way !== room.mode);
    for (const peer of missing) this.#other.set(peer.id, this.make(peer.info));
    if (room.changing) this.#await(room);
    else this.#settle(room);
  }

  /** Somebody has left. @param {string} id */
  drop(id) {
    this.#other.get(id)?.close();
    this.#other.delete(id);
  }

  /** What the server says of somebody. @param {string} id @param {object} change */
  update(id, change) {
    this.#other.get(id)?.update(change);
  }

  /** A frame from a peer or from the SFU. @param {object} frame */
  receive(frame) {
    if (frame.from === 'sfu' || frame.t === 'layers') {
      this.#sfu?.receive(frame);
      return;
    }
    for (const peer of [this.#shown.get(frame.from), this.#other.get(frame.from)]) if (peer?.way === 'mesh') peer.receive(frame);
  }

  /** Out of the room. */
  clear() {
    for (const id of [...this.#other.keys()]) this.drop(id);
    this.#endSfu();
    this.#room = null;
  }

  #begin() {
    if (this.#sfu) return;
    this.#sfu = new Sfu(this.#parts.sfu());
    this.#sfu.addEventListener('state', () => this.#parts.changed());
  }

  #endSfu() {
    this.#parts.clearTimeout(this.#waiting);
    this.#sfu?.close();
    this.#sfu = null;
  }

  // ---- changes

  #await(room) {
    this.#parts.clearTimeout(this.#waiting);
    let since = null;
    const counts = new Map();
    const look = async () => {
      const ready = await this.#ready(room.mode, counts);
      if (room !== this.#room) return;
      const now = performance.now();
      if (ready === 'stands') since ??= now;
      else if (ready !== 'decodes') since = null;
      if (ready === 'decodes' || (since !== null && now - since > ENOUGH)) {
        this.#exchange(room.mode);
        this.#parts.signal.send('mode_ready', {epoch: room.epoch});
      } else this.#waiting = this.#parts.setTimeout(look, LOOK);
    };
    look();
  }

  /** The change is complete, or was taken back. */
  #settle(room) {
    this.#parts.clearTimeout(this.#waiting);
    this.#exchange(room.mode);
    for (const [id, peer] of this.#other) {
      if (peer.way !== room.mode) this.drop(id);
    }
    if (room.unready?.includes(this.#parts.signal.you?.id)) this.#await(room); // say so when we are
    if (room.mode === 'mesh') this.#endSfu();
  }

  /** Show those of that mode. */
  #exchange(mode) {
    for (const [id, peer] of [...this.#other]) {
      const shown = this.#shown.get(id);
      if (peer.way !== mode || !shown || shown.way === mode) continue;
      peer.received.takeOver(shown.received);
      peer.update({...shown.info, gap: shown.gap});
      this.#shown.set(id, peer);
      this.#other.set(id, shown);
      this.#parts.exchanged(peer);
    }
  }

  /**
   * @returns {Promise<''|'stands'|'decodes'>} how far the connections of a mode are; `stands`: who is not decoded yet did not
   *   come the way before either, so nothing is lost by going over
   */
  async #ready(mode, counts) {
    const people = [...this.#shown.keys()].map((id) => {
      const both = [this.#shown.get(id), this.#other.get(id)];
      return {next: both.find((peer) => peer?.way === mode), before: both.find((peer) => peer && peer.way !== mode)};
    }).filter(({next}) => next);
    if (mode === 'sfu' && this.#sfu?.state !== 'connected') return '';
    if (people.some(({next}) => next.state !== 'connected')) return '';
    const reports = new Map();
    for (const {pc} of people.flatMap(({next, before}) => [next, before ?? next])) {
      if (pc && !reports.has(pc)) reports.set(pc, await pc.getStats().catch(() => new Map()));
    }
    const found = people.map(({next, before}) => ({
      now: decodes(next, received(next, reports, counts)),
      then: Boolean(before) && flows(before, received(before, reports, counts)),
    }));
    if (found.every(({now}) => now)) return 'decodes';
    return found.every(({now, then}) => now || !then) ? 'stands' : '';
  }
}

/** What of a participant's camera and microphone has arrived; `counts` remembers when it last grew. */
function received(peer, reports, counts) {
  const inbound = [...(reports.get(peer.pc)?.values() ?? [])].filter(({type}) => type === 'inbound-rtp');
  const of = (kind, mid, name) => {
    const count = inbound.find((report) => report.kind === kind && report.mid === mid)?.[name] ?? 0;
    const key = `${peer.way} ${peer.id} ${kind}`;
    const now = performance.now();
    const before = counts.get(key) ?? {count, grown: -Infinity};
    const grown = count === before.count ? before.grown : now;
    counts.set(key, {count, grown});
    return {count, flows: now - grown < FLOWING};
  };
  return {sound: of('audio', peer.microphoneMid, 'packetsReceived'), picture: of('video', peer.cameraMid, 'framesDecoded')};
}

/** Whether what a participant says it sends is decoded. */
function decodes(peer, {sound, picture}) {
  const {a, v} = peer.info.media ?? {};
  return (!a || sound.flows) && (!v || picture.count > 0 || peer.paused === true);
}

/** Whether anything of a participant comes that is missed when it stops. */
function flows({info}, {sound, picture}) {
  const {a, v} = info.media ?? {};
  return Boolean((a && sound.flows) || (v && picture.flows));
}
