/** The call in a small window that stays in front of all others: its pictures, and the buttons that one needs. */

import {make} from './dom.js';

const SIZE = {width: 400, height: 300};
const BUTTONS = ['mic', 'cam', 'leave'];

/** Whether there are such windows, or at least one for a single picture. */
export function possible() {
  return 'documentPictureInPicture' in globalThis || Boolean(document.pictureInPictureEnabled);
}

export class Apart {
  #window = null; #tiles = new Map(); #buttons = new Map(); #ended;

  /** @param {() => void} ended called when the window has been closed */
  constructor(ended) {
    this.#ended = ended;
  }

  /** Whether it is there. */
  get open() {
    return this.#window !== null || document.pictureInPictureElement !== null;
  }

  /** How high the pictures in it are, by the key of their tiles. @type {Map<string, number>} */
  get heights() {
    return new Map([...this.#tiles].map(([key, tile]) => [key, tile.clientHeight]));
  }

  /** Open it; call it from a click. Where pages have no windows of that kind, it has one picture. @param {HTMLVideoElement | null} main */
  async show(main) {
    if (!('documentPictureInPicture' in globalThis)) {
      if (main === null) return;
      await main.requestPictureInPicture();
      main.addEventListener('leavepictureinpicture', () => this.#ended(), {once: true});
      return;
    }
    const window = await globalThis.documentPictureInPicture.requestWindow(SIZE);
    const {document: inside} = window;
    for (const each of document.querySelectorAll('link[rel=stylesheet]')) inside.head.append(inside.importNode(each));
    for (const name of ['lang', 'dir']) inside.documentElement.setAttribute(name, document.documentElement[name]);
    inside.title = document.title;
    inside.body.className = 'apart';
    inside.body.append(inside.importNode(document.querySelector('.sprite'), true), make('div', '', {class: 'apart-tiles'}), make('nav', '', {class: 'controls'}));
    for (const id of BUTTONS) {
      const button = inside.importNode(document.getElementById(id), true);
      button.addEventListener('click', () => document.getElementById(id).click());
      this.#buttons.set(id, button);
      inside.querySelector('nav').append(button);
    }
    window.addEventListener('pagehide', () => this.#closed());
    this.#window = window;
  }

  /** Show these in it. @param {import('./tiles.js').TileView[]} views */
  update(views) {
    if (this.#window === null) return;
    const shown = views.length > 1 ? views.filter(({kind}) => kind !== 'self') : views;
    const place = this.#window.document.querySelector('.apart-tiles');
    const keys = new Set(shown.map(({key}) => key));
    for (const [key, tile] of this.#tiles) {
      if (keys.has(key)) continue;
      tile.remove();
      this.#tiles.delete(key);
    }
    for (const view of shown) {
      if (!this.#tiles.has(view.key)) this.#tiles.set(view.key, place.appendChild(this.#tile()));
      const tile = this.#tiles.get(view.key);
      const video = tile.querySelector('video');
      if (video.srcObject !== view.stream) video.srcObject = view.stream;
      tile.classList.toggle('dark', !view.camera || view.stream === null);
      tile.querySelector('.plate-name').textContent = view.name;
    }
    for (const [id, button] of this.#buttons) {
      const original = document.getElementById(id);
      for (const name of ['aria-pressed', 'aria-label']) if (original.hasAttribute(name)) button.setAttribute(name, original.getAttribute(name));
      button.querySelector('use')?.setAttribute('href', original.querySelector('use').getAttribute('href'));
      button.hidden = original.hidden;
    }
  }

  #tile() {
    const tile = make('section', '', {class: 'apart-tile', 'data-testid': 'apart-tile'});
    const video = make('video', '', {autoplay: '', playsinline: ''});
    video.muted = true; // its sound comes from the page
    const plate = make('footer', '', {class: 'plate'});
    plate.append(make('span', '', {class: 'plate-name', dir: 'auto'}));
    tile.append(video, plate);
    return tile;
  }

  /** Close it. */
  close() {
    this.#window?.close();
    if (document.pictureInPictureElement) document.exitPictureInPicture().catch(() => {});
  }

  #closed() {
    this.#window = null;
    this.#tiles.clear();
    this.#buttons.clear();
    this.#ended();
  }
}
