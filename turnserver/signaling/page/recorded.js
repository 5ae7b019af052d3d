/** That the server records the call, since when and by whom; and the way to begin and to end that for a host. */

import {ask} from './ask.js';
import {announce, element, make, note} from './dom.js';
import {text, time} from './texts.js';

export class Recorded {
  #mesh; #nameOf; #possible; #moderate; #told = false;

  /**
   * @param {import('./mesh.js').Mesh} mesh
   * @param {{nameOf: (id: string) => string, possible: () => boolean, moderate: (op: string, fields: object) => Promise<boolean>}} parts
   */
  constructor(mesh, {nameOf, possible, moderate}) {
    this.#mesh = mesh;
    this.#nameOf = nameOf;
    this.#possible = possible;
    this.#moderate = moderate;
    element('server-record').addEventListener('click', () => this.#toggle());
    mesh.addEventListener('room', ({detail: {room}}) => {
      if (room.unrecorded) announce(text('recorded.broken', {reason: room.unrecorded}));
    });
  }

  /** Say what has changed, and show the line above the stage. @param {boolean} host whether this user may begin and end it */
  show(host) {
    const recording = this.#mesh.room?.recording ?? null;
    const now = recording !== null;
    const sentence = now ? this.#sentence(recording) : '';
    if (now !== this.#told) {
      announce(now ? sentence : text('recorded.ends'), {unseen: now});
      this.#told = now;
    }
    const line = element('server-recorded');
    line.hidden = !now;
    const shown = now ? `${sentence} ${host}` : '';
    if (line.dataset.shown !== shown) {
      line.dataset.shown = shown;
      const parts = now ? [make('span', sentence, {dir: 'auto'})] : [];
      if (now && host) {
        const stop = make('button', text('recorded.stop'), {type: 'button', class: 'secondary', 'data-testid': 'server-recorded-stop'});
        stop.addEventListener('click', () => this.#moderate('record', {value: 'stop'}));
        parts.push(stop);
      }
      line.replaceChildren(...parts);
    }
    const button = element('server-record');
    note(button, text(now ? 'recorded.stop' : 'recorded.start'));
    button.hidden = !host || (!now && !this.#possible());
  }

  /** The call is over. */
  end() {
    this.#told = false;
    element('server-recorded').hidden = true;
  }

  #sentence({since, by}) {
    const at = time(since);
    if (!by) return text('recorded.by_server', {time: at});
    return by === this.#mesh.you?.id ? text('recorded.by_you', {time: at}) : text('recorded.by_host', {time: at, name: this.#mesh.peers.has(by) ? this.#nameOf(by) : text('spotlight.a_host')});
  }

  async #toggle() {
    if (this.#mesh.room?.recording) {
      this.#moderate('record', {value: 'stop'});
      return;
    }
    const answer = await ask({title: text('recorded.question'), text: text('recorded.question_text'), answers: [{value: 'start', label: text('recorded.start'), danger: true}]});
    if (answer) await this.#moderate('record', {value: 'start'});
  }
}
