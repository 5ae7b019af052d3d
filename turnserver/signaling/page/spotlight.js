/** Whom or which screen a host shows large to everybody, who did it, and the way out of it for oneself. */

import {announce, element, make} from './dom.js';
import {text} from './texts.js';

export class Spotlight {
  #mesh; #nameOf; #moderate; #changed; #told = ''; #left = false;

  /**
   * @param {import('./mesh.js').Mesh} mesh
   * @param {{nameOf: (id: string) => string, moderate: (op: string, fields: object) => Promise<boolean>, changed: () => void}} parts
   */
  constructor(mesh, {nameOf, moderate, changed}) {
    this.#mesh = mesh;
    this.#nameOf = nameOf;
    this.#moderate = moderate;
    this.#changed = changed;
  }

  /** What the server says: `{id, what, by}`, or null. */
  get #light() {
    const light = this.#mesh.room?.spotlight;
    return light && (light.id === this.#mesh.you?.id || this.#mesh.peers.has(light.id)) ? light : null;
  }

  /** The key of the tile that has the stage by it; null for none, for oneself, and if one has left it. */
  get key() {
    const light = this.#light;
    return light === null || this.#left || light.id === this.#mesh.you?.id ? null : keyOf(light);
  }

  /** As a host: put a tile or a person in the spotlight, or out of it. @param {string} key of a tile; `self` and one's own id are the same */
  toggle(key) {
    const [id, screen] = key.split(':');
    const to = id === 'self' ? this.#mesh.you.id : id;
    const value = screen ? 'screen' : 'camera';
    const light = this.#light;
    const lit = light !== null && light.id === to && light.what === value;
    return this.#moderate('spotlight', lit ? {} : {to, value});
  }

  /** Say what has changed, and show the line above the stage. @param {boolean} host whether this user may end it */
  show(host) {
    const light = this.#light;
    const now = light === null ? '' : JSON.stringify([keyOf(light), light.by, this.#nameOf(light.id)]);
    if (now !== this.#told) {
      this.#left = false;
      if (light !== null) announce(this.#sentence(light), {unseen: true});
      else if (this.#told) announce(text('spotlight.off'));
      this.#told = now;
    }
    this.#showLine(light, host);
  }

  /** The call is over. */
  end() {
    this.#told = '';
    this.#left = false;
    element('spotlight').hidden = true;
  }

  #sentence({id, what, by}) {
    const me = this.#mesh.you?.id;
    const names = {by: this.#mesh.peers.has(by) ? this.#nameOf(by) : text('spotlight.a_host'), name: this.#nameOf(id)};
    if (id === me) return by === me ? text('spotlight.you_yourself') : text('spotlight.shows_you', names);
    if (what === 'screen') return by === me ? text('spotlight.you_show_screen', names) : text('spotlight.shows_screen', names);
    return by === me ? text('spotlight.you_show', names) : text('spotlight.shows', names);
  }

  #showLine(light, host) {
    const line = element('spotlight');
    const state = light === null ? '' : `${this.#sentence(light)} ${host} ${this.#left}`;
    if (line.dataset.shown === state && line.hidden === (light === null)) return;
    line.dataset.shown = state;
    line.hidden = light === null;
    if (light === null) return;
    const button = (label, name, does) => {
      const made = make('button', label, {type: 'button', class: 'secondary', 'data-testid': name});
      made.addEventListener('click', does);
      return made;
    };
    const parts = [make('span', this.#sentence(light), {dir: 'auto'})];
    if (host) parts.push(button(text('spotlight.stop'), 'spotlight-stop', () => this.#moderate('spotlight', {})));
    if (light.id !== this.#mesh.you?.id) {
      parts.push(button(text(this.#left ? 'spotlight.again' : 'spotlight.leave'), 'spotlight-leave', () => {
        this.#left = !this.#left;
        this.#changed();
        element('spotlight').querySelector('[data-testid=spotlight-leave]')?.focus();
      }));
    }
    line.replaceChildren(...parts);
  }
}

function keyOf({id, what}) {
  return what === 'screen' ? `${id}:screen` : id;
}
