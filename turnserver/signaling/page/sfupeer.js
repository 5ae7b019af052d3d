/** One participant whose media come through the server's SFU: it has no connection of its own, and looks like a `Peer`. */

import {Received} from './streams.js';

export class SfuPeer extends EventTarget {
  #sfu; #info; #gap; #received = new Received(); #closed = false; #undo = [];

  /** @param {import('./sfu.js').Sfu} sfu @param {object} info `P` of `joined` */
  constructor(sfu, info) {
    super();
    this.#sfu = sfu;
    this.#info = {...info};
    this.#gap = Boolean(info.gap);
    const on = (type, call) => {
      sfu.addEventListener(type, call);
      this.#undo.push(() => sfu.removeEventListener(type, call));
    };
    on('state', () => this.dispatchEvent(new CustomEvent('state', {detail: {state: this.state}})));
    on('tracks', () => this.#show());
    this.#expect();
    this.#show();
  }

  get id() { return this.#info.id; }

  get info() { return this.#info; }

  get gap() { return this.#gap; }

  get state() { return this.#closed ? 'closed' : this.#sfu.state; }

  get streams() { return this.#received.streams; }

  /** What comes from it. */
  get received() { return this.#received; }

  /** How its media go. */
  get way() { return 'sfu'; }

  /** The connection through which all of the others come: null before the SFU has offered it. */
  get pc() { return this.#sfu.pc; }

  /** Which section of that its camera is in. */
  get cameraMid() { return this.#sfu.midOf(this.id, 'video'); }

  /** Which section its microphone is in. */
  get microphoneMid() { return this.#sfu.midOf(this.id, 'audio'); }

  /** All of its sections, with those of its screen. */
  get mids() {
    return [this.id, `${this.id}.screen`].flatMap((stream) => ['audio', 'video'].map((kind) => this.#sfu.midOf(stream, kind))).filter((mid) => mid !== null);
  }

  /** @param {object} change of what the server says of the participant */
  update(change) {
    this.#info = {...this.#info, ...change};
    if ('gap' in change) this.setGap(Boolean(change.gap));
    this.#expect();
    this.#show();
  }

  /** @param {boolean} gap whether its signaling is away */
  setGap(gap) {
    this.#gap = gap;
  }

  /** It has another id. @param {object} info */
  adopt(info) {
    this.#sfu.expect(this.id, false);
    this.#info = {...info};
    this.setGap(Boolean(info.gap));
    this.#expect();
    this.#show();
  }

  /** Look for paths anew. */
  restart() {
    this.#sfu.restart();
  }

  /** Nothing of it is shown any more. */
  close() {
    if (this.#closed) return;
    this.#closed = true;
    for (const undo of this.#undo) undo();
    this.#sfu.expect(this.id, false);
    this.dispatchEvent(new CustomEvent('state', {detail: {state: 'closed'}}));
  }

  #expect() {
    const {a, v, s} = this.#info.media ?? {};
    this.#sfu.expect(this.id, Boolean(a || v || s));
  }

  #show() {
    const {id} = this;
    const of = (stream, kind) => this.#sfu.trackOf(stream, kind);
    const screen = this.#info.media?.s ? of(`${id}.screen`, 'video') : null;
    const tracks = {audio: of(id, 'audio'), video: of(id, 'video'), screen, screenAudio: screen && of(`${id}.screen`, 'audio')};
    if (this.#received.show(tracks)) this.dispatchEvent(new CustomEvent('streams', {detail: {}}));
  }
}
