/**
 * What is different on the page while a call goes through the server's SFU: that the server can see it is said, many tiles
 * have pages, who speaks can have the stage, and only what is seen is asked for, in the size in which it is seen.
 */

import {announce, element, make, memory, setPressed} from './dom.js';
import {list, number, put, spoken, text} from './texts.js';

/** Heights in pixels that a picture is asked for in; a little more is the next. */
const HEIGHTS = [90, 180, 270, 360, 540, 720, 1080];
const MOST_TILES = 64; // that the server takes
const APART = 360; // lines of a picture in a window of its own
const RECORDED = 360; // lines of a picture that only a recording sees

/** @param {number} pixels @returns {number} the height to ask for; 0: not seen */
export function heightClass(pixels) {
  if (!(pixels > 0)) return 0;
  return HEIGHTS.find((height) => height * 1.1 >= pixels) ?? HEIGHTS.at(-1);
}

/** How high a tile is in the page; 0 if it is not seen there. */
function inPage(tile) {
  if (document.hidden || tile.hidden) return 0;
  return document.fullscreenElement === tile ? globalThis.innerHeight : Number.parseFloat(tile.style.getPropertyValue('--height')) || 0;
}

/** How high its picture is in a window of its own, of which the browser does not always tell the size. */
function inOther(tile) {
  return document.pictureInPictureElement === tile.querySelector('video') ? APART : 0;
}

export class Conference {
  #mesh; #grid; #nameOf; #recording; #apart; #line = null; #pager; #button;

  /**
   * @param {import('./mesh.js').Mesh} mesh @param {import('./tiles.js').Grid} grid
   * @param {{nameOf: (id: string) => string, recording: () => boolean, apart: () => Map<string, number>}} parts
   *   `apart` has the heights of the pictures in the small window, by the key of their tiles
   */
  constructor(mesh, grid, {nameOf, recording, apart}) {
    this.#mesh = mesh;
    this.#grid = grid;
    this.#nameOf = nameOf;
    this.#recording = recording;
    this.#apart = apart;
    this.#pager = pager((step) => this.#turn(step));
    element('grid').after(this.#pager.bar);
    this.#button = make('button', '', {type: 'button', class: 'quiet', id: 'speaker-view', 'data-testid': 'speaker-view', 'aria-pressed': 'false'});
    put(this.#button, 'conference.speaker_view');
    this.#button.addEventListener('click', () => {
      memory.set('speaker-view', this.#follows ? 'off' : 'on');
      this.show();
      this.#grid.show(this.#grid.views);
    });
    element('settings').before(this.#button);
    mesh.addEventListener('speaker', () => {
      this.show();
      if (this.#follows) this.#grid.show(this.#grid.views);
    });
    spoken.addEventListener('change', () => this.show());
  }

  get #follows() { return memory.get('speaker-view') === 'on'; }

  get #through() { return this.#mesh.room?.mode === 'sfu'; }

  /** Bring everything up to date. */
  show() {
    this.#say();
    this.#button.hidden = !this.#through;
    setPressed(this.#button, this.#follows);
    const speaker = this.#through && this.#follows ? this.#mesh.room.speaker ?? this.#grid.follow : null;
    this.#grid.follow = speaker === this.#mesh.you?.id ? this.#grid.follow : speaker;
    const {page, pages} = this.#grid;
    const {bar, label, back, on} = this.#pager;
    bar.hidden = pages < 2;
    const line = text('conference.page', {page: number(page + 1), pages: number(pages)});
    if (label.textContent !== line) label.textContent = line;
    bar.setAttribute('aria-label', text('conference.pages'));
    // Not `disabled`: whoever turns pages by keyboard would lose the focus at the last one.
    back.setAttribute('aria-disabled', String(page === 0));
    on.setAttribute('aria-disabled', String(page >= pages - 1));
    for (const [button, key] of [[back, 'conference.previous'], [on, 'conference.next']]) button.setAttribute('aria-label', text(key));
  }

  /** Ask for what is seen. */
  choose() {
    if (!this.#through) return;
    const {tiles, pinned, lit} = this.#grid;
    const seen = [];
    const apart = this.#apart();
    for (const [key, tile] of tiles) {
      const [id, screen] = key.split(':');
      const height = Math.max(inPage(tile), inOther(tile), apart.get(key) ?? 0) * Math.min(2, globalThis.devicePixelRatio || 1);
      if (height === 0 || !this.#mesh.peers.has(id)) continue;
      const front = key === pinned || key === lit;
      seen.push({id, what: screen ? 'screen' : 'camera', h: heightClass(height), ...(front ? {pin: true} : {})});
    }
    const order = ({what, h, pin}) => h + (pin ? 20_000 : 0) + (what === 'screen' ? 10_000 : 0);
    seen.sort((one, other) => order(other) - order(one) || (one.id < other.id ? -1 : 1));
    this.#mesh.choose({others: this.#recording() ? RECORDED : 0, tiles: seen.slice(0, MOST_TILES)});
  }

  /** The call is over. */
  end() {
    this.#line?.remove();
    this.#line = null;
    this.#grid.follow = null;
  }

  #turn(step) {
    this.#grid.page += step;
    this.#grid.show(this.#grid.views);
    this.show();
    this.choose();
  }

  /** How the call goes, in words; nothing for a mesh that does well. */
  #say() {
    if (this.#mesh.room === null) {
      this.end();
      return;
    }
    const line = this.#words(this.#mesh.room);
    if (line === (this.#line?.textContent ?? '')) return;
    if (line === '') {
      this.end();
      announce(text('conference.mesh'), {unseen: true});
      return;
    }
    if (this.#line === null) {
      this.#line = make('p', '', {id: 'way', class: 'way', 'data-testid': 'way'});
      element('call-count').after(this.#line);
    }
    this.#line.textContent = line;
    announce(line, {unseen: true});
  }

  #words({mode, changing, why, unready = []}) {
    if (mode !== 'sfu' && why === 'sfu_gone') return text('conference.mesh_instead');
    if (mode !== 'sfu') return changing ? text('conference.sfu') : ''; // until the change is complete, the server sees it
    if (why === 'sfu_gone') return text('conference.gone');
    if (why === 'sfu_unreachable') return text('conference.unreachable');
    if (unready.includes(this.#mesh.you?.id)) return text('conference.you_not_there');
    const names = unready.filter((id) => this.#mesh.peers.has(id)).map((id) => this.#nameOf(id));
    return names.length > 0 ? text('conference.not_there', {names: list(names)}) : text('conference.sfu');
  }
}

/** The buttons to turn pages with. */
function pager(turn) {
  const bar = make('div', '', {id: 'pager', class: 'pager', role: 'group', 'data-testid': 'pager'});
  const button = (sign, step, testid) => {
    const made = make('button', sign, {type: 'button', class: 'secondary', 'data-testid': testid});
    made.addEventListener('click', () => { if (made.getAttribute('aria-disabled') !== 'true') turn(step); });
    return made;
  };
  const back = button('‹', -1, 'page-back');
  const on = button('›', 1, 'page-on');
  const label = make('span', '', {'aria-live': 'polite'});
  bar.hidden = true;
  bar.append(back, label, on);
  return {bar, label, back, on};
}
