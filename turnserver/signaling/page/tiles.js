/** The tiles of a call, one for each picture, laid out so that they never scroll. A screen, or what is pinned, has the stage. */

import {grid, pair, stage} from './arrange.js';
import {make, memory} from './dom.js';
import {list, put, putLabel, text} from './texts.js';

const CORNERS = {ArrowLeft: ['l', 1], ArrowRight: ['r', 1], ArrowUp: ['t', 0], ArrowDown: ['b', 0]};
const MOST = 9; // tiles on a page of the grid
const MOST_BESIDE = 6; // beside the stage
const segmenter = globalThis.Intl?.Segmenter ? new Intl.Segmenter(undefined, {granularity: 'grapheme'}) : null;

/** What people see as the first character of a word: a whole emoji, a letter with its marks. */
function first(word) {
  return segmenter ? segmenter.segment(word)[Symbol.iterator]().next().value.segment : [...word][0];
}

/** Up to two letters that stand for a name. */
export function initials(name) {
  const words = name.trim().split(/\s+/u).filter(Boolean);
  const letters = words.length > 1 ? [words[0], words.at(-1)] : words;
  return letters.map((word) => first(word).toUpperCase()).join('') || '?';
}

/**
 * @typedef {object} TileView What a tile shows; the grid makes it so.
 * @property {string} key          unique; tiles stand in the order of the list
 * @property {'self'|'peer'|'screen'} kind
 * @property {string} id           the peer's id
 * @property {string} name
 * @property {MediaStream|null} stream
 * @property {boolean} silent      do not play its sound (one's own)
 * @property {boolean} microphone  whether it is on
 * @property {boolean} camera      whether there is a picture
 * @property {string} state        for programs: connected, connecting, reconnecting, lost, failed
 * @property {string} stateText    for people; empty if all is well
 * @property {boolean} busy        whether waiting may help
 * @property {boolean} retry       whether the user can try again
 * @property {string} path         direct, relay or unknown
 * @property {string} pathText
 * @property {boolean} [hand]      whether the hand is up
 * @property {boolean} [mirrored]  as in a mirror: one's own, unless the camera looks away
 * @property {number} [bars]       of a bad connection, 1 or 2 of 3; 0 if it is not bad
 * @property {string} [linkText]   whose connection is bad
 * @property {boolean} [soundOnly] whether there is no picture because of that
 * @property {boolean} moderated   whether this user may mute and remove the other
 * @property {boolean} [stoppable] whether this user may stop the screen that it shows
 * @property {boolean} [recording] whether this one records the call
 * @property {boolean} [host]      whether this user may put it in the spotlight
 * @property {boolean} [sound]     whether a screen has sound, which has a volume of its own
 */

export class Grid {
  /**
   * @param {HTMLElement} container
   * @param {HTMLTemplateElement} template
   * @param {{retry: (id: string) => void, mute: (id: string) => void, stop: (id: string) => void, kick: (id: string) => void, spot: (key: string) => void,
   *   zoom: (tile: HTMLElement) => void, blocked: () => void}} does
   *   what buttons do; `blocked` when the browser does not play sound before the page has been touched
   */
  constructor(container, template, does) {
    this.container = container;
    this.template = template;
    this.does = does;
    this.tiles = new Map();
    this.views = [];
    this.pinned = null;
    this.lit = null; // the key of the tile in the spotlight
    this.follow = null; // the key of the tile of who speaks, if that is to have the stage
    this.page = 0;
    this.pages = 1;
    this.small = null; // the key of the tile in front of another one
    this.corner = /^[tb][lr]$/.test(memory.get('corner') ?? '') ? memory.get('corner') : 'br';
    this.speaker = '';
    new ResizeObserver(() => this.fit()).observe(container);
  }

  /** @param {TileView[]} views */
  show(views) {
    this.views = views;
    const keys = new Set(views.map((view) => view.key));
    for (const [key, tile] of this.tiles) {
      if (!keys.has(key)) {
        tile.querySelector('video').srcObject = null;
        tile.remove();
        this.tiles.delete(key);
      }
    }
    views.forEach((view, index) => {
      const tile = this.tiles.get(view.key) ?? this.#make(view);
      if (this.container.children[index] !== tile) this.container.insertBefore(tile, this.container.children[index] ?? null);
      this.#update(tile, view);
    });
    const main = this.#onStage;
    for (const [key, tile] of this.tiles) {
      tile.toggleAttribute('data-stage', key === main);
      const pin = tile.querySelector('.tile-pin');
      pin.hidden = this.tiles.size < 2 || (key === main && this.pinned !== key);
      pin.setAttribute('aria-pressed', String(this.pinned === key));
    }
    this.fit();
  }

  /** Lay the tiles out for the space there is. */
  fit() {
    const gap = Number.parseFloat(getComputedStyle(this.container).getPropertyValue('--gap')) || 0;
    const boxes = this.#boxes(this.container.clientWidth, this.container.clientHeight, gap);
    this.tiles.forEach((tile, key) => {
      const box = boxes.get(key);
      tile.hidden = !box; // it is heard all the same
      if (!box) return;
      tile.toggleAttribute('data-small', key === this.small);
      if (key === this.small) tile.tabIndex = 0; // it can be moved by the arrow keys
      else if (tile.dataset.kind !== 'screen') tile.removeAttribute('tabindex'); // a screen is zoomed by keys
      for (const side of ['x', 'y', 'width', 'height']) tile.style.setProperty(`--${side}`, `${box[side]}px`);
    });
  }

  /** Put one tile on the stage, or take it off. @param {string} key */
  pin(key) {
    this.pinned = this.pinned === key ? null : key;
    this.show(this.views);
  }

  /** The tile on the stage: what is pinned, or else in the spotlight, or else a screen, or who speaks if that is wanted. */
  get #onStage() {
    for (const key of [this.pinned, this.lit]) if (this.tiles.has(key)) return key;
    return this.views.find(({kind}) => kind === 'screen')?.key ?? (this.tiles.has(this.follow) ? this.follow : null);
  }

  /** Those of the present page, of `keys`. */
  #paged(keys, most) {
    this.pages = Math.max(1, Math.ceil(keys.length / most));
    this.page = Math.min(Math.max(0, this.page), this.pages - 1);
    return keys.slice(this.page * most, (this.page + 1) * most);
  }

  /** The picture on the stage, or else the first. @returns {HTMLVideoElement | null} */
  get picture() {
    const tile = this.tiles.get(this.#onStage) ?? this.tiles.values().next().value;
    return tile?.querySelector('video') ?? null;
  }

  #boxes(width, height, gap) {
    const keys = this.views.map(({key}) => key);
    const main = this.#onStage;
    this.small = null;
    if (main !== null) {
      const others = this.#paged(keys.filter((key) => key !== main), MOST_BESIDE);
      const found = stage(others.length, this.tiles.get(main).dataset.kind === 'screen', width, height, gap);
      return new Map([[main, found.stage], ...others.map((key, index) => [key, found.strip[index]])]);
    }
    if (keys.length === 2 && keys[1] === 'self') {
      const found = pair(this.corner, width, height, gap);
      this.small = 'self';
      return new Map([[keys[0], found.stage], ['self', found.small]]);
    }
    const present = this.#paged(keys, MOST);
    const found = grid(present.length, {x: 0, y: 0, width, height}, gap);
    return new Map(present.map((key, index) => [key, found[index]]));
  }

  /** A side as the tiles are laid out: from the right where text runs so. */
  #along(side) {
    return getComputedStyle(this.container).direction === 'rtl' ? {l: 'r', r: 'l'}[side] ?? side : side;
  }

  /** The small tile goes to another corner, by the arrow keys or by dragging. */
  #move(side, at) {
    const letters = [...this.corner];
    letters[at] = side;
    this.corner = letters.join('');
    memory.set('corner', this.corner);
    this.fit();
  }

  #drag(tile, event) {
    if (!tile.hasAttribute('data-small') || event.target.closest('button')) return;
    const area = this.container.getBoundingClientRect();
    const done = ({clientX, clientY}) => {
      removeEventListener('pointerup', done);
      removeEventListener('pointercancel', done);
      if (Math.hypot(clientX - event.clientX, clientY - event.clientY) < 24) return;
      this.#move(clientY < area.top + area.height / 2 ? 't' : 'b', 0);
      this.#move(this.#along(clientX < area.left + area.width / 2 ? 'l' : 'r'), 1);
    };
    addEventListener('pointerup', done);
    addEventListener('pointercancel', done);
  }

  /** Play what the browser has held back; call it from a click. */
  async play() {
    await Promise.all([...this.tiles.values()].map((tile) => this.#play(tile.querySelector('video'))));
  }

  /** Play sound on this device, where the browser can choose. @param {string} deviceId */
  setSpeaker(deviceId) {
    this.speaker = deviceId;
    for (const tile of this.tiles.values()) this.#route(tile.querySelector('video'));
  }

  #make(view) {
    const tile = this.template.content.firstElementChild.cloneNode(true);
    tile.dataset.peer = view.id;
    tile.dataset.kind = view.kind;
    if (view.kind === 'self') tile.dataset.testid = 'self-tile';
    if (view.kind === 'screen') tile.dataset.testid = 'screen-tile';
    const video = tile.querySelector('video');
    video.muted = view.silent;
    this.#route(video);
    tile.querySelector('.tile-pin').addEventListener('click', () => this.pin(view.key));
    this.#offerViews(tile, video);
    if (view.kind === 'self') {
      tile.addEventListener('pointerdown', (event) => this.#drag(tile, event));
      tile.addEventListener('keydown', (event) => {
        if (!tile.hasAttribute('data-small') || !(event.key in CORNERS)) return;
        event.preventDefault();
        const [side, at] = CORNERS[event.key];
        this.#move(this.#along(side), at);
      });
    }
    tile.querySelector('.tile-spot').addEventListener('click', () => this.does.spot(view.key));
    if (view.kind === 'screen') this.does.zoom(tile);
    tile.querySelector('.tile-retry').addEventListener('click', () => this.does.retry(view.id));
    tile.querySelector('.tile-mute').addEventListener('click', () => this.does.mute(view.id));
    tile.querySelector('.tile-kick').addEventListener('click', () => this.does.kick(view.id));
    tile.querySelector('.tile-stop').addEventListener('click', () => this.does.stop(view.id));
    this.tiles.set(view.key, tile);
    return tile;
  }

  /** Full screen, and a window of its own, where the browser has them. */
  #offerViews(tile, video) {
    const whole = tile.querySelector('.tile-full');
    whole.hidden = !document.fullscreenEnabled;
    whole.addEventListener('click', () => (document.fullscreenElement === tile ? document.exitFullscreen() : tile.requestFullscreen()).catch(() => {}));
    const apart = tile.querySelector('.tile-apart');
    apart.hidden = !document.pictureInPictureEnabled;
    apart.addEventListener('click', () => (document.pictureInPictureElement === video ? document.exitPictureInPicture() : video.requestPictureInPicture()).catch(() => {}));
  }

  /** The sound of a screen is as loud as each likes it, beside the voices. */
  #offerVolume(tile, video, view) {
    let volume = tile.querySelector('.tile-volume');
    if (!view.sound) {
      volume?.remove();
      return;
    }
    if (volume === null) {
      volume = make('input', '', {type: 'range', min: '0', max: '1', step: '0.05', class: 'tile-volume', 'data-testid': 'screen-volume'});
      volume.value = String(video.volume);
      volume.addEventListener('input', () => { video.volume = Number(volume.value); });
      tile.querySelector('.tile-menu').prepend(volume);
    }
    named(volume, text('tile.volume', {name: view.name}));
  }

  #update(tile, view) {
    const video = tile.querySelector('video');
    if (video.muted !== view.silent) {
      video.muted = view.silent;
      this.#route(video);
    }
    this.#offerVolume(tile, video, view);
    if (video.srcObject !== view.stream) {
      video.srcObject = view.stream;
      if (view.stream !== null) this.#play(video);
    }
    tile.dataset.picture = view.camera && view.stream !== null ? 'on' : 'off';
    tile.dataset.state = view.state;
    tile.dataset.path = view.path;
    video.classList.toggle('mirrored', Boolean(view.mirrored));
    tile.setAttribute('aria-label', describe(view));
    setText(tile.querySelector('.avatar'), initials(view.name));
    setText(tile.querySelector('.plate-name'), title(view));
    tile.querySelector('.plate-rec').hidden = !view.recording;
    tile.querySelector('.plate-hand').hidden = !view.hand;
    tile.querySelector('.plate-mic').toggleAttribute('hidden', view.microphone || view.kind === 'screen');
    const bars = tile.querySelector('.tile-bars');
    bars.hidden = !view.bars;
    bars.dataset.bars = view.bars ?? 0;
    bars.title = view.linkText ?? '';
    const note = tile.querySelector('.tile-note');
    note.hidden = !view.soundOnly || view.stateText !== '';
    setText(note, view.soundOnly ? view.linkText : '');
    const path = tile.querySelector('.plate-path');
    path.hidden = view.pathText === '';
    setText(path, view.pathText);
    const state = tile.querySelector('.tile-state');
    state.hidden = view.stateText === '';
    setText(state.querySelector('.tile-state-text'), view.stateText);
    state.querySelector('.spinner').hidden = !view.busy;
    state.querySelector('.tile-retry').hidden = !view.retry;
    tile.querySelector('.tile-menu').hidden = view.kind === 'self';
    for (const button of ['.tile-mute', '.tile-kick']) tile.querySelector(button).hidden = !view.moderated;
    const stop = tile.querySelector('.tile-stop');
    stop.hidden = !view.stoppable;
    if (view.stoppable) named(stop, text('tile.stop_screen', {name: view.name}));
    named(tile.querySelector('.tile-pin'), text('tile.pin', {name: title(view)}));
    named(tile.querySelector('.tile-full'), text('tile.full', {name: title(view)}));
    named(tile.querySelector('.tile-apart'), text('tile.apart', {name: title(view)}));
    const spot = tile.querySelector('.tile-spot');
    spot.hidden = !view.host;
    spot.setAttribute('aria-pressed', String(this.lit === view.key));
    named(spot, text(view.kind === 'screen' ? 'spotlight.show_screen' : 'spotlight.show', {name: view.name}));
    if (view.moderated) {
      named(tile.querySelector('.tile-mute'), text('people.ask_to_mute', {name: view.name}));
      named(tile.querySelector('.tile-kick'), text('people.remove_name', {name: view.name}));
    }
  }

  async #play(video) {
    try {
      await video.play();
    } catch (error) {
      if (error.name === 'NotAllowedError') this.does.blocked();
    }
  }

  #route(video) {
    if (this.speaker && video.setSinkId && !video.muted) video.setSinkId(this.speaker).catch(() => {});
  }
}

/** What a tile is called. */
function title(view) {
  if (view.kind === 'screen') return text('tile.screen_of', {name: view.name});
  return view.kind === 'self' ? text('people.with_facts', {name: view.name, facts: text('people.you')}) : view.name;
}

function describe(view) {
  const parts = [title(view)];
  if (view.kind !== 'screen') {
    parts.push(text(view.microphone ? 'people.microphone_on' : 'people.microphone_off'));
    if (!view.camera && !view.soundOnly) parts.push(text('tile.camera_off'));
    if (view.hand) parts.push(text('tile.hand_raised'));
    if (view.recording) parts.push(text('tile.recording'));
  }
  if (view.linkText) parts.push(view.linkText);
  if (view.stateText) parts.push(view.stateText);
  return list(parts);
}

/** A button of one icon: its name for everybody. */
function named(button, name) {
  button.setAttribute('aria-label', name);
  button.title = name;
}

function setText(target, value) {
  if (target.textContent !== value) target.textContent = value;
}

/** A request to come in, for a host. @param {() => string} name of who asks, in the language of the page if it is none of theirs */
export function knockCard(name, admit) {
  const card = make('div', '', {class: 'knock', 'data-testid': 'knock'});
  const button = make('button', '', {type: 'button', class: 'secondary', 'data-testid': 'admit-button'});
  const values = () => ({name: name()});
  put(button, 'knock.admit');
  putLabel(button, 'knock.admit_name', values);
  button.addEventListener('click', admit);
  const line = make('span');
  put(line, 'knock.wants_in', values);
  card.append(line, button);
  return card;
}
