/** The grid of a call: one tile for each picture, laid out so that it never scrolls. */

import {make} from './dom.js';

const WIDEST = 16 / 9;
const NARROWEST = 4 / 3;
const NARROWEST_UPRIGHT = 3 / 4; // on a telephone held upright

/**
 * The best number of columns and size of a tile for `count` tiles in a space: the largest tiles that fit, neither wider
 * than 16:9 nor narrower than 4:3 (3:4 in a space that is higher than wide), so that little of a picture is cut off.
 * @returns {{columns: number, width: number, height: number}}
 */
export function layout(count, width, height, gap) {
  const narrowest = width < height ? NARROWEST_UPRIGHT : NARROWEST;
  let best = {columns: 1, width: 0, height: 0};
  for (let columns = 1; columns <= count; columns += 1) {
    const rows = Math.ceil(count / columns);
    let tileWidth = (width - (columns - 1) * gap) / columns;
    let tileHeight = (height - (rows - 1) * gap) / rows;
    if (tileWidth > tileHeight * WIDEST) tileWidth = tileHeight * WIDEST;
    if (tileHeight > tileWidth / narrowest) tileHeight = tileWidth / narrowest;
    if (tileWidth > 0 && tileHeight > 0 && tileWidth * tileHeight > best.width * best.height) {
      best = {columns, width: Math.floor(tileWidth), height: Math.floor(tileHeight)};
    }
  }
  return best;
}

/** Up to two letters that stand for a name. */
export function initials(name) {
  const words = name.trim().split(/\s+/u).filter(Boolean);
  const letters = words.length > 1 ? [words[0], words.at(-1)] : words;
  return letters.map((word) => [...word][0].toUpperCase()).join('') || '?';
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
 * @property {boolean} speaking
 * @property {boolean} moderated   whether this user may mute and remove the other
 */

export class Grid {
  /**
   * @param {HTMLElement} container
   * @param {HTMLTemplateElement} template
   * @param {{retry: (id: string) => void, mute: (id: string) => void, kick: (id: string) => void, blocked: () => void}} does
   *   what buttons do; `blocked` when the browser does not play sound before the page has been touched
   */
  constructor(container, template, does) {
    this.container = container;
    this.template = template;
    this.does = does;
    this.tiles = new Map();
    this.speaker = '';
    new ResizeObserver(() => this.fit()).observe(container.parentElement);
  }

  /** @param {TileView[]} views */
  show(views) {
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
    this.fit();
  }

  /** Lay the tiles out for the space there is. */
  fit() {
    const area = this.container.parentElement;
    const style = getComputedStyle(area);
    const gap = Number.parseFloat(getComputedStyle(this.container).columnGap) || 0;
    const width = area.clientWidth - Number.parseFloat(style.paddingLeft) - Number.parseFloat(style.paddingRight);
    const best = layout(this.tiles.size, width, area.clientHeight, gap);
    this.container.style.setProperty('--columns', String(best.columns));
    this.container.style.setProperty('--tile-width', `${best.width}px`);
    this.container.style.setProperty('--tile-height', `${best.height}px`);
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
    video.classList.toggle('mirrored', view.kind === 'self');
    this.#route(video);
    tile.querySelector('.tile-retry').addEventListener('click', () => this.does.retry(view.id));
    tile.querySelector('.tile-mute').addEventListener('click', () => this.does.mute(view.id));
    tile.querySelector('.tile-kick').addEventListener('click', () => this.does.kick(view.id));
    this.tiles.set(view.key, tile);
    return tile;
  }

  #update(tile, view) {
    const video = tile.querySelector('video');
    if (video.srcObject !== view.stream) {
      video.srcObject = view.stream;
      if (view.stream !== null) this.#play(video);
    }
    tile.dataset.picture = view.camera && view.stream !== null ? 'on' : 'off';
    tile.dataset.state = view.state;
    tile.dataset.path = view.path;
    tile.toggleAttribute('data-speaking', view.speaking);
    tile.setAttribute('aria-label', describe(view));
    text(tile.querySelector('.avatar'), initials(view.name));
    text(tile.querySelector('.plate-name'), view.kind === 'self' ? `${view.name} (you)` : view.kind === 'screen' ? `Screen of ${view.name}` : view.name);
    tile.querySelector('.plate-mic').toggleAttribute('hidden', view.microphone || view.kind === 'screen');
    const path = tile.querySelector('.plate-path');
    path.hidden = view.pathText === '';
    text(path, view.pathText);
    const state = tile.querySelector('.tile-state');
    state.hidden = view.stateText === '';
    text(state.querySelector('.tile-state-text'), view.stateText);
    state.querySelector('.spinner').hidden = !view.busy;
    state.querySelector('.tile-retry').hidden = !view.retry;
    tile.querySelector('.tile-menu').hidden = !view.moderated;
    if (view.moderated) {
      named(tile.querySelector('.tile-mute'), `Ask ${view.name} to mute`);
      named(tile.querySelector('.tile-kick'), `Remove ${view.name} from the call`);
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

function describe(view) {
  const parts = [view.kind === 'screen' ? `Screen of ${view.name}` : view.kind === 'self' ? `${view.name} (you)` : view.name];
  if (view.kind !== 'screen') {
    parts.push(`microphone ${view.microphone ? 'on' : 'off'}`);
    if (!view.camera) parts.push('camera off');
  }
  if (view.stateText) parts.push(view.stateText);
  return parts.join(', ');
}

/** A button of one icon: its name for everybody. */
function named(button, name) {
  button.setAttribute('aria-label', name);
  button.title = name;
}

function text(target, value) {
  if (target.textContent !== value) target.textContent = value;
}

/** A request to come in, for a host. */
export function knockCard(name, admit) {
  const card = make('div', '', {class: 'knock', 'data-testid': 'knock'});
  const button = make('button', 'Let in', {type: 'button', class: 'secondary', 'data-testid': 'admit-button', 'aria-label': `Let ${name} in`});
  button.addEventListener('click', admit);
  card.append(make('span', `${name} would like to join.`), button);
  return card;
}
