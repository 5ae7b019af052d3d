/** The statistics drawer: how each pair is connected, once a second while it is open. */

import {element, make} from './dom.js';
import {duration, hasText, number, put, text} from './texts.js';

const ROWS = [
  ['drawer.path', (stats) => pathWords(stats)],
  ['drawer.server_sees', (stats, server) => (stats.path === 'server' ? null : serverText(server))],
  ['drawer.round_trip', (stats) => quantity('drawer.milliseconds', stats.rtt)],
  ['drawer.up', (stats) => (stats.path === 'server' ? null : quantity('drawer.rate', stats.up))],
  ['drawer.down', (stats) => quantity('drawer.rate', stats.down)],
  ['drawer.loss', (stats) => (stats.loss === null ? '–' : number(stats.loss / 100, {style: 'percent', minimumFractionDigits: 1, maximumFractionDigits: 1}))],
  ['drawer.sent_at_most', (stats, server, limits) => (stats.path === 'server' ? null : limitsText(limits) ?? '–')],
  ['drawer.picture', (stats) => (stats.width
    ? text('drawer.size', {width: String(stats.width), height: String(stats.height), fps: Math.round(stats.fps ?? 0)}) : text('drawer.no_picture'))],
  ['drawer.limited_by', (stats, server, limits) => limitedBy(stats, limits)],
  ['drawer.repairs', (stats) => (stats.path === 'server' ? text('drawer.repaired', {nacks: number(stats.nacks), plis: number(stats.plis)}) : null)],
];

function quantity(key, value) {
  return value === null || value === undefined ? '–' : text(key, {value: Math.round(value)});
}

function limitation(reason) {
  if (!reason || reason === 'none') return null;
  return hasText(`drawer.limited_by_${reason}`) ? text(`drawer.limited_by_${reason}`) : reason;
}

/** Which way the media take, in words. @param {import('./stats.js').PeerStats} stats */
function pathWords({path, transport, via, relayed}) {
  if (path === 'unknown') return text('drawer.not_connected');
  if (path === 'server') return relayed ? text('drawer.server_relayed', {way: pathWords({path: 'relay', transport, via})}) : text('drawer.server_over', {transport: transport.toUpperCase()});
  if (path === 'direct') return text('drawer.direct_over', {transport: transport.toUpperCase()});
  const way = transport ? text('drawer.relay_over', {transport: transport.toUpperCase()}) : text('drawer.relay');
  return via ? text('drawer.via', {way, relay: via}) : way;
}

/** What goes to the server's SFU, in words. @param {import('./stats.js').Sending} sending */
export function sendingText({layers, estimate}) {
  const shown = layers.map(({height, fps}) => text('drawer.layer', {height: String(height), fps: Math.round(fps)})).join(' · ');
  return text('drawer.to_server', {layers: shown || text('quality.nothing'), estimate: quantity('drawer.rate', estimate)});
}

/** What may be sent to one, in words. @param {import('./uplink.js').Limits} [limits] */
export function limitsText(limits) {
  if (!limits) return null;
  const {audio, video, screen} = limits;
  const amount = ({active = true, maxBitrate}) => {
    if (!active) return text('quality.nothing');
    return maxBitrate ? quantity('drawer.rate', maxBitrate / 1000) : text('quality.unlimited');
  };
  const keys = {video: 'quality.camera', screen: 'quality.screen', audio: 'quality.sound'};
  return Object.entries({video, screen, audio}).filter(([, limit]) => limit).map(([kind, limit]) => text(keys[kind], {amount: amount(limit)})).join(' · ');
}

/** Why our picture is not better, if there is a reason: ours first, then what the browser says. */
export function limitedBy(stats, limits) {
  if (limits?.by === 'uplink') return text('quality.by_uplink');
  return limitation(stats.limitation) ?? (limits?.by === 'size' ? text('quality.by_size') : null);
}

/** What the server's own table says of a pair, in words. */
export function serverText(entry) {
  if (!entry || entry.path === 'unknown') return text('drawer.not_known');
  if (entry.path === 'direct') return text('drawer.direct');
  const way = entry.proto ? text('drawer.relay_over', {transport: entry.proto.toUpperCase()}) : text('drawer.relay');
  const whose = ['you', 'peer', 'both'].includes(entry.by) ? text(`drawer.relay_of_${entry.by}`, {way}) : way;
  return text('drawer.carried', {way: whose, amount: Math.round(((entry.tx ?? 0) + (entry.rx ?? 0)) / 1024)});
}

/** How long the credential still lives, in words. @param {number|undefined} exp Unix seconds @param {number} now ms */
export function credentialText(exp, now) {
  if (!exp) return '';
  const seconds = Math.round(exp - now / 1000);
  return seconds <= 0 ? text('drawer.credential_expired') : text('drawer.credential', {duration: duration(seconds)});
}

export class Drawer {
  /** @param {import('./mesh.js').Mesh} mesh @param {import('./quality.js').Quality} quality @param {(open: boolean) => void} changed */
  constructor(mesh, quality, changed) {
    this.mesh = mesh;
    this.quality = quality;
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

  /**
   * @param {Map<string, object>} latest the statistics by peer @param {(id: string) => string} nameOf
   * @param {import('./stats.js').Sending|null} [sending] what goes to the server's SFU
   */
  show(latest, nameOf, sending = null) {
    if (!this.open) return;
    element('uplink-text').textContent = sending ? sendingText(sending) : this.quality.text;
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
      const limits = this.quality.limitsOf(id);
      ROWS.forEach(([, value], index) => {
        const shown = value(stats, server, limits);
        card.values[index].textContent = shown ?? '';
        card.values[index].hidden = card.values[index].previousElementSibling.hidden = shown === null;
      });
    }
  }

  #make(id) {
    const section = make('section', '', {class: 'peer-stats', 'data-testid': 'peer-stats', 'data-peer': id});
    const title = make('h3', '', {dir: 'auto'});
    const list = make('dl');
    const values = ROWS.map(([label]) => {
      const value = make('dd');
      const term = make('dt');
      put(term, label);
      list.append(term, value);
      return value;
    });
    section.append(title, list);
    element('drawer-peers').append(section);
    const card = {section, title, values};
    this.cards.set(id, card);
    return card;
  }
}
