/** Hands and reactions: what one shows without speaking. A hand is up until it is taken down; a reaction is gone soon. */

import {announce, element, make, setPressed} from './dom.js';
import {spoken, text} from './texts.js';

const REACTIONS = ['👍', '👏', '❤️', '😂', '🎉', '😮'];
const SHOWN = 4000; // ms

export class Gestures {
  /**
   * @param {import('./mesh.js').Mesh} mesh
   * @param {{nameOf: (id: string) => string, tile: (id: string) => HTMLElement | null, changed: () => void}} parts
   */
  constructor(mesh, {nameOf, tile, changed}) {
    this.mesh = mesh;
    this.nameOf = nameOf;
    this.tile = tile;
    this.changed = changed;
    this.up = false;
    this.known = new Set();
    element('hand').addEventListener('click', () => this.raise(!this.up));
    element('reactions').replaceChildren(...REACTIONS.map((sign) => {
      const button = make('button', sign, {type: 'button', class: 'icon', 'data-testid': 'reaction', 'aria-label': text('gestures.react', {sign})});
      button.addEventListener('click', () => {
        mesh.message({react: sign});
        this.#show('self', sign);
      });
      return button;
    }));
    spoken.addEventListener('change', () => {
      for (const button of element('reactions').children) button.setAttribute('aria-label', text('gestures.react', {sign: button.textContent}));
    });
    mesh.addEventListener('message', ({detail: {from, data}}) => {
      if (!REACTIONS.includes(data?.react)) return;
      this.#show(from, data.react);
      announce(text('chat.line', {name: nameOf(from), line: data.react}), {unseen: true});
    });
    mesh.addEventListener('peer', () => this.#look());
    mesh.addEventListener('peers', () => this.#look());
  }

  /** Whether somebody's hand is up. @param {string} id */
  isUp(id) {
    return Boolean(this.mesh.peers.get(id)?.info.meta?.hand);
  }

  /** Put one's hand up, or take it down. */
  raise(up) {
    this.up = up;
    this.mesh.patchMeta({hand: up ? 1 : null});
    setPressed(element('hand'), up);
    announce(up ? text('gestures.up') : text('gestures.down'), {unseen: true});
    this.changed();
  }

  /** The call is over. */
  end() {
    this.up = false;
    this.known.clear();
    setPressed(element('hand'), false);
  }

  #look() {
    const up = new Set([...this.mesh.peers.keys()].filter((id) => this.isUp(id)));
    for (const id of up) if (!this.known.has(id)) announce(text('gestures.raised', {name: this.nameOf(id)}));
    this.known = up;
  }

  #show(id, sign) {
    const tile = this.tile(id);
    if (tile === null) return;
    const shown = make('span', sign, {class: 'reaction', 'aria-hidden': 'true', 'data-testid': 'shown-reaction'});
    tile.append(shown);
    setTimeout(() => shown.remove(), SHOWN);
  }
}
