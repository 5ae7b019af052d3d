/** The statistics drawer: how each pair is connected, once a second while it is open. */

import {element, make} from './dom.js';

const ROWS = [
  ['Path', (stats) => stats.pathText],
  ['Server sees', (stats, server) => serverText(server)],
  ['Round trip', (stats) => number(stats.rtt, 'ms')],
  ['Up', (stats) => number(stats.up, 'kbit/s')],
  ['Down', (stats) => number(stats.down, 'kbit/s')],
  ['Loss', (stats) => number(stats.loss, '%', 1)],
  ['Picture', (stats) => (stats.width ? `${stats.width} × ${stats.height}, ${Math.round(stats.fps ?? 0)} fps` : 'none')],
  ['Limited by', (stats) => (stats.limitation && stats.limitation !== 'none' ? stats.limitation : null)],
];

function number(value, unit, digits = 0) {
  return value === null || value === undefined ? '–' : `${value.toFixed(digits)} ${unit}`;
}

/** What the server's own table says of a pair, in words. */
export function serverText(entry) {
  if (!entry || entry.path === 'unknown') return 'not known yet';
  if (entry.path === 'direct') return 'direct';
  const whose = {you: 'yours', peer: 'theirs', both: 'both'}[entry.by];
  const kilobytes = Math.round(((entry.tx ?? 0) + (entry.rx ?? 0)) / 1024);
  return `relay${entry.proto ? ` ${entry.proto.toUpperCase()}` : ''}${whose ? ` (${whose})` : ''}, ${kilobytes} KiB`;
}

/** How long the credential still lives, in words. @param {number|undefined} exp Unix seconds @param {number} now ms */
export function credentialText(exp, now) {
  if (!exp) return '';
  const seconds = Math.round(exp - now / 1000);
  if (seconds <= 0) return 'The relay credential has expired; a fresh one is on its way.';
  const minutes = Math.floor(seconds / 60);
  return `The relay credential is good for another ${minutes > 0 ? `${minutes} min ` : ''}${seconds % 60} s; it is renewed in time.`;
}

export class Drawer {
  /** @param {import('./mesh.js').Mesh} mesh @param {(open: boolean) => void} changed */
  constructor(mesh, changed) {
    this.mesh = mesh;
    this.changed = changed;
    this.cards = new Map();
    element('drawer-close').addEventListener('click', () => this.toggle(false));
    element('drawer').addEventListener('keydown', (event) => event.key === 'Escape' && this.toggle(false));
  }

  /** Whether it is open. */
  get open() {
    return !element('drawer').hidden;
  }

  /** Open or close; the focus goes with it. */
  toggle(open = !this.open) {
    if (open === this.open) return;
    element('drawer').hidden = !open;
    (open ? element('drawer-title') : element('stats')).focus();
    this.changed(open);
  }

  /** @param {Map<string, object>} latest the statistics by peer @param {(id: string) => string} nameOf */
  show(latest, nameOf) {
    if (!this.open) return;
    element('credential-life').textContent = credentialText(this.mesh.ice?.exp, Date.now());
    for (const [id, card] of this.cards) {
      if (!latest.has(id)) {
        card.section.remove();
        this.cards.delete(id);
      }
    }
    for (const [id, stats] of latest) {
      const card = this.cards.get(id) ?? this.#make(id);
      card.title.textContent = nameOf(id);
      const server = this.mesh.serverPaths.get(id);
      ROWS.forEach(([, value], index) => {
        const shown = value(stats, server);
        card.values[index].textContent = shown ?? '–';
        if (ROWS[index][0] === 'Limited by') card.values[index].hidden = card.values[index].previousElementSibling.hidden = shown === null;
      });
    }
  }

  #make(id) {
    const section = make('section', '', {class: 'peer-stats', 'data-testid': 'peer-stats', 'data-peer': id});
    const title = make('h3');
    const list = make('dl');
    const values = ROWS.map(([label]) => {
      const value = make('dd');
      list.append(make('dt', label), value);
      return value;
    });
    section.append(title, list);
    element('drawer-peers').append(section);
    const card = {section, title, values};
    this.cards.set(id, card);
    return card;
  }
}
