/** A shared screen, closer: by wheel, pinch, double click, buttons or keys; moved by dragging or by the arrow keys. */

import {announce, make, setIcon} from './dom.js';
import {number, putLabel, spoken, text} from './texts.js';

const MOST = 8;
const PERCENT = {style: 'percent'};
const STEP = 1.25; // of a key, a button, or a notch of a wheel
const DOUBLE = 2; // what a double click goes to
const MOVE = 0.1; // of the tile, for an arrow key
const ARROWS = {ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1]};

/**
 * Where a picture stands that is `factor` times as large as its place, so that it covers the place: never beside it.
 * @param {{factor: number, x: number, y: number}} view x and y: of the middle, in px from the middle of the place
 * @param {number} width @param {number} height of the place, px
 */
export function clamp({factor, x, y}, width, height) {
  const found = Math.min(MOST, Math.max(1, factor));
  const most = (size) => (size * (found - 1)) / 2;
  const within = (value, bound) => Math.min(bound, Math.max(-bound, value));
  return {factor: found, x: within(x, most(width)), y: within(y, most(height))};
}

/**
 * Closer by `by`, with the point (px, py), counted from the middle of the place, staying where it is.
 * @param {{factor: number, x: number, y: number}} view
 */
export function about({factor, x, y}, by, px, py) {
  const found = Math.min(MOST, Math.max(1, factor * by));
  const ratio = found / factor;
  return {factor: found, x: px - (px - x) * ratio, y: py - (py - y) * ratio};
}

export class Zoom {
  #tile; #view = {factor: 1, x: 0, y: 0}; #pointers = new Map(); #said = null;

  /** @param {HTMLElement} tile of a screen */
  constructor(tile) {
    this.#tile = tile;
    tile.tabIndex = 0;
    tile.setAttribute('aria-keyshortcuts', '+ - 0 ArrowLeft ArrowRight ArrowUp ArrowDown');
    this.#addButtons();
    tile.addEventListener('wheel', (event) => this.#wheel(event), {passive: false});
    tile.addEventListener('dblclick', (event) => this.#double(event));
    tile.addEventListener('keydown', (event) => this.#key(event));
    tile.addEventListener('pointerdown', (event) => this.#down(event));
    tile.addEventListener('pointermove', (event) => this.#drag(event));
    for (const type of ['pointerup', 'pointercancel']) tile.addEventListener(type, ({pointerId}) => this.#pointers.delete(pointerId));
    new ResizeObserver(() => this.#set(this.#view)).observe(tile);
    const say = () => {
      if (tile.isConnected) this.#set(this.#view);
      else spoken.removeEventListener('change', say);
    };
    spoken.addEventListener('change', say);
  }

  #addButtons() {
    const button = (name, icon, does) => {
      const made = make('button', '', {type: 'button', class: 'icon', 'data-testid': `zoom-${name}`});
      putLabel(made, `zoom.${name}`, undefined, {title: true});
      if (icon !== null) {
        made.append(this.#tile.querySelector('.tile-menu svg').cloneNode(true));
        setIcon(made, icon);
      }
      made.addEventListener('click', does);
      return made;
    };
    const whole = button('whole', null, () => this.#set({factor: 1, x: 0, y: 0}, true));
    whole.classList.add('tile-zoom');
    whole.textContent = number(1, PERCENT);
    this.#tile.querySelector('.tile-menu').prepend(
      button('out', 'minus', () => this.#by(1 / STEP)),
      whole,
      button('in', 'plus', () => this.#by(STEP)),
    );
  }

  /** The middle of the tile, and its size without its border. */
  get #place() {
    const {x, y, width, height} = this.#tile.getBoundingClientRect();
    return {x: x + width / 2, y: y + height / 2, width: this.#tile.clientWidth, height: this.#tile.clientHeight};
  }

  #set(view, say = false) {
    const {width, height} = this.#place;
    this.#view = clamp(view, width, height);
    const {factor, x, y} = this.#view;
    this.#tile.toggleAttribute('data-zoom', factor > 1);
    for (const [name, value] of [['--zoom', factor], ['--pan-x', `${x}px`], ['--pan-y', `${y}px`]]) this.#tile.style.setProperty(name, value);
    const shown = number(factor, PERCENT);
    this.#tile.querySelector('.tile-zoom').textContent = shown;
    if (!say) return;
    clearTimeout(this.#said);
    this.#said = setTimeout(() => announce(text('zoom.now', {percent: shown}), {unseen: true}), 400);
  }

  #by(factor, px = 0, py = 0) {
    this.#set(about(this.#view, factor, px, py), true);
  }

  #wheel(event) {
    if (event.target.closest('.tile-menu')) return;
    event.preventDefault();
    const place = this.#place;
    const notches = -event.deltaY / (event.deltaMode === 0 ? 100 : 3);
    this.#by(STEP ** Math.min(3, Math.max(-3, notches * (event.ctrlKey ? 3 : 1))), event.clientX - place.x, event.clientY - place.y);
  }

  #double(event) {
    if (event.target.closest('button, input')) return;
    const place = this.#place;
    if (this.#view.factor > 1) this.#set({factor: 1, x: 0, y: 0}, true);
    else this.#by(DOUBLE, event.clientX - place.x, event.clientY - place.y);
  }

  #key(event) {
    if (event.target !== this.#tile || event.ctrlKey || event.altKey || event.metaKey) return;
    const {width, height} = this.#place;
    const {factor, x, y} = this.#view;
    if (event.key === '+' || event.key === '=') this.#by(STEP);
    else if (event.key === '-') this.#by(1 / STEP);
    else if (event.key === '0') this.#set({factor: 1, x: 0, y: 0}, true);
    else if (event.key in ARROWS && factor > 1) {
      const [across, down] = ARROWS[event.key];
      this.#set({factor, x: x + across * width * MOVE, y: y + down * height * MOVE});
    } else return;
    event.preventDefault();
  }

  #down(event) {
    if (event.target.closest('button, input')) return;
    this.#pointers.set(event.pointerId, {x: event.clientX, y: event.clientY});
    try {
      this.#tile.setPointerCapture(event.pointerId);
    } catch {
      // it is up already
    }
  }

  /** One pointer moves the picture; two move it and change its size. */
  #drag(event) {
    const before = this.#pointers.get(event.pointerId);
    if (!before) return;
    const now = {x: event.clientX, y: event.clientY};
    this.#pointers.set(event.pointerId, now);
    const others = [...this.#pointers].filter(([id]) => id !== event.pointerId);
    if (others.length === 0) {
      this.#set({...this.#view, x: this.#view.x + now.x - before.x, y: this.#view.y + now.y - before.y});
      return;
    }
    const [, other] = others[0];
    const far = (point) => Math.max(1, Math.hypot(point.x - other.x, point.y - other.y));
    const place = this.#place;
    const middle = {x: (now.x + other.x) / 2 - place.x, y: (now.y + other.y) / 2 - place.y};
    const closer = about(this.#view, far(now) / far(before), middle.x, middle.y);
    this.#set({...closer, x: closer.x + (now.x - before.x) / 2, y: closer.y + (now.y - before.y) / 2});
  }
}
