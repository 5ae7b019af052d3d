/** The call itself: tiles, controls, banner, shortcuts. It shows what `Mesh` and `Devices` say and tells them what to do. */

import {Chat} from './chat.js';
import {Conference} from './conference.js';
import {problemText} from './devices.js';
import {announce, copyText, element, memory, note, setPressed, showView} from './dom.js';
import {Drawer} from './drawer.js';
import {Extras} from './extras.js';
import {Gestures} from './gestures.js';
import {InCall} from './incall.js';
import {Pickers} from './lobby.js';
import './mask.js'; // there before the network goes, for the diagnostics
import {People} from './people.js';
import {Quality} from './quality.js';
import {Recorded} from './recorded.js';
import {Spotlight} from './spotlight.js';
import {anyOf, failure, hasText, number, spoken, text, time} from './texts.js';
import {Grid, knockCard} from './tiles.js';

const NOTICE = 30_000; // ms for which the notice of a server's end covers a part of the page
const STATES = {
  connecting: ['call.connecting', true],
  reconnecting: ['call.reconnecting', true],
  lost: ['call.lost', true],
};

export class CallView {
  /**
   * @param {{mesh: import('./mesh.js').Mesh, signal: import('./signal.js').Signal, devices: import('./devices.js').Devices,
   *   stats: import('./stats.js').StatsMonitor, room: string, invitation: {possible: boolean, link: () => Promise<string>}, log: (what: string, detail?: object) => void,
   *   leave: () => void}} parts
   */
  constructor({mesh, signal, devices, stats, room, invitation, log, leave}) {
    Object.assign(this, {mesh, signal, devices, stats, room, invitation, log, leave});
    this.name = '';
    this.verdicts = new Map();
    this.known = new Map();
    this.active = false;
    this.away = false;
    this.until = null; // Unix time in ms at which the server stops, while that is said
    this.shortcuts = memory.get('shortcuts') !== 'off';
    this.grid = new Grid(element('grid'), element('tile-template'), {
      retry: (id) => this.#retry(id),
      mute: (id) => this.#moderate('mute', {to: id, value: 'audio'}),
      stop: (id) => this.#moderate('mute', {to: id, value: 'screen'}),
      kick: (id) => this.people.remove({id, name: this.#nameOf(id)}),
      spot: (key) => this.spotlight.toggle(key),
      zoom: (tile) => this.#offerZoom(tile),
      blocked: () => { element('tap-to-hear').hidden = false; },
    });
    this.quality = new Quality(mesh, stats, devices);
    globalThis.meshturn.quality = this.quality;
    this.drawer = new Drawer(mesh, this.quality, (open) => {
      setPressed(element('stats'), open);
      if (open) this.chat.toggle(false);
      this.#showStats();
    });
    this.chat = new Chat(mesh, {
      name: () => this.name,
      nameOf: (id) => this.#nameOf(id),
      changed: (open, unread) => this.#showChat(open, unread),
    });
    this.gestures = new Gestures(mesh, {
      nameOf: (id) => this.#nameOf(id),
      tile: (id) => this.grid.tiles.get(id) ?? null,
      changed: () => this.show(),
    });
    this.spotlight = new Spotlight(mesh, {
      nameOf: (id) => (id === mesh.you?.id ? this.name : this.#nameOf(id)),
      moderate: (op, fields) => this.#moderate(op, fields),
      changed: () => this.show(),
    });
    this.recorded = new Recorded(mesh, {
      nameOf: (id) => this.#nameOf(id),
      possible: () => Boolean(signal.features?.includes('record')),
      moderate: (op, fields) => this.#moderate(op, fields),
    });
    this.people = new People((op, fields) => this.#moderate(op, fields), (id) => this.spotlight.toggle(id));
    this.extras = new Extras({
      mesh, devices, room, invitation,
      picture: () => this.grid.picture,
      nameOf: (id) => this.#nameOf(id),
      changed: () => {
        this.#showHidden();
        this.show();
      },
    });
    this.conference = new Conference(mesh, this.grid, {nameOf: (id) => this.#nameOf(id), recording: () => this.extras.recording, apart: () => this.extras.heights});
    this.pickers = new Pickers(devices, ['call-camera', 'call-microphone', 'call-speaker'], 'call-device-problem');
    this.inCall = new InCall({
      mesh, devices, stats, room,
      tile: (key) => this.grid.tiles.get(key),
      shortcuts: () => this.shortcuts,
      does: {togglemicrophone: () => this.#toggleMicrophone(), togglecamera: () => this.#toggleCamera(), hangup: () => this.leave()},
    });
    element('call-room').textContent = room;
    this.#wireControls();
    this.#wireMesh();
    devices.addEventListener('change', () => this.show());
    devices.addEventListener('lost', (event) => announce(text(event.detail.kind === 'video' ? 'call.camera_gone' : 'call.microphone_gone')));
    stats.onupdate = () => {
      if (this.active) this.quality.round(this.grid.tiles);
      if (this.active) this.conference.choose();
      this.#showStats();
    };
    spoken.addEventListener('change', () => {
      this.#showBanner();
      this.#showChat(this.chat.open, this.chat.unread);
      this.show();
    });
  }

  /** The room has let us in. @param {string} name one's own */
  enter(name) {
    this.name = name;
    this.active = true;
    this.known = new Map([...this.mesh.peers.keys()].map((id) => [id, this.#nameOf(id)]));
    showView('call');
    document.title = this.room;
    this.#showNotice();
    this.pickers.fill();
    this.stats.start();
    this.inCall.enter();
    this.chat.begin();
    this.extras.begin();
    const {a = 0, v = 0, s = 0} = this.mesh.you?.media ?? {}; // after a reload, what the server knows from before
    this.told = JSON.stringify({a, v, s});
    this.#tellMedia();
    this.show();
  }

  /** The call is over. */
  exit() {
    this.active = false;
    this.extras.end();
    this.stats.stop();
    this.inCall.exit();
    this.grid.show([]);
    this.drawer.toggle(false);
    this.quality.end();
    this.chat.end();
    this.gestures.end();
    this.spotlight.end();
    this.recorded.end();
    this.conference.end();
    element('more-menu').hidePopover?.();
    for (const dialog of document.querySelectorAll('dialog[open]')) dialog.close();
    element('tap-to-hear').hidden = true;
    element('knocks').replaceChildren();
    this.away = false;
    this.until = null;
    this.#showBanner();
  }

  /** Bring everything up to date; it may be called at any time. */
  show() {
    if (!this.active) return;
    const {devices, mesh} = this;
    this.grid.setSpeaker(devices.current('audiooutput'));
    setPressed(element('mic'), devices.microphoneOn, devices.microphoneOn ? 'mic' : 'mic-off');
    setPressed(element('cam'), devices.cameraOn, devices.cameraOn ? 'cam' : 'cam-off');
    setPressed(element('screen'), devices.screen !== null);
    const {caps = [], role} = mesh.you ?? {};
    for (const id of ['mic', 'cam']) element(id).hidden = devices.forgone;
    element('screen').hidden = !devices.mediaDevices?.getDisplayMedia || !caps.includes('screen');
    element('sharing').hidden = devices.screen === null;
    element('devices-dialog').toggleAttribute('data-listener', devices.forgone);
    const host = role === 'host';
    const count = mesh.peers.size + 1;
    const who = count === 1 ? text('call.only_you') : text('call.people', {count});
    element('call-count').textContent = devices.forgone ? text('call.you_listen', {who}) : who;
    element('copy-link').hidden = !this.invitation.possible;
    element('chat').hidden = !caps.includes('message');
    element('alone-card').hidden = mesh.peers.size > 0;
    element('alone-ways').hidden = !this.invitation.possible;
    note(element('alone'), mesh.peers.size > 0 ? '' : this.invitation.possible
      ? text('call.alone')
      : text('call.alone_no_link'));
    this.spotlight.show(host);
    this.recorded.show(host);
    this.grid.lit = this.spotlight.key;
    this.people.show(this.#people(), mesh.room, host);
    const views = this.#views(host);
    this.grid.show(views);
    this.conference.show();
    this.extras.show(views);
  }

  /** One line above everything while the server is away; media go on without it. @param {string} state of `Signal` */
  signaling(state) {
    if (!this.active) return;
    const away = state === 'reconnecting' || state === 'connecting';
    if (away === this.away) return;
    this.away = away;
    this.#showBanner();
    announce(away ? text('call.server_away') : text('call.server_back'));
  }

  /** The server is about to stop, and has said when at the latest. @param {number | null} until Unix time in ms; null: it is not */
  draining(until) {
    this.until = until;
    if (this.active) this.#showNotice();
  }

  get #notice() { return this.until === null ? '' : text('call.draining', {time: time(this.until)}); }

  #showNotice() {
    this.#showBanner();
    const {until} = this;
    if (until === null) return;
    announce(this.#notice);
    setTimeout(() => {
      if (this.until === until) this.until = null;
      this.#showBanner();
    }, NOTICE);
  }

  #showBanner() {
    const line = this.away ? text('call.server_reconnecting') : this.#notice;
    element('banner-spinner').hidden = !this.away;
    element('banner-text').textContent = line;
    element('banner').hidden = line === '';
  }

  #people() {
    const {devices, mesh} = this;
    const self = {id: mesh.you?.id ?? '', name: this.name, you: true, host: mesh.you?.role === 'host', microphone: devices.microphoneOn, pc: null};
    const others = [...mesh.peers.values()].map(({id, info, pc, way}) => (
      {id, name: this.#nameOf(id), you: false, host: info.role === 'host', microphone: Boolean(info.media?.a), pc: way === 'mesh' ? pc : null}
    ));
    return [self, ...others];
  }

  #views(host) {
    const views = [];
    for (const peer of this.mesh.peers.values()) {
      const view = this.#peerView(peer, host);
      if (peer.streams.screen) views.push({...view, key: `${peer.id}:screen`, kind: 'screen', stream: peer.streams.screen, camera: true, silent: false, sound: peer.streams.screen.getAudioTracks().length > 0, stateText: '', busy: false, moderated: false, stoppable: host, pathText: '', bars: 0, linkText: '', soundOnly: false});
      views.push(view);
    }
    const {devices} = this;
    const self = {id: this.mesh.you?.id ?? '', name: this.name, silent: true, state: 'connected', stateText: '', busy: false, retry: false, path: '', pathText: '', moderated: false, hand: this.gestures.up, recording: this.extras.recording};
    if (!devices.forgone) views.push({...self, key: 'self', kind: 'self', stream: devices.stream, microphone: devices.microphoneOn, camera: devices.cameraOn, mirrored: devices.facing !== 'environment', ...this.quality.view()});
    return views;
  }

  #peerView(peer, host) {
    const media = peer.info.media ?? {};
    const stats = this.stats.latest.get(peer.id);
    const verdict = this.verdicts.get(peer.id);
    const link = this.quality.view(peer.id, this.#nameOf(peer.id));
    let [key, busy] = peer.state === 'connected' ? ['', false] : STATES[peer.state] ?? ['', false];
    if (peer.gap && !['connected', 'failed'].includes(peer.state)) [key, busy] = STATES.lost;
    const {unready = [], changing} = this.mesh.room ?? {};
    if (key === '' && !changing && unready.includes(peer.id)) [key, busy] = ['conference.no_media', true];
    const stateText = peer.state === 'failed' ? verdict ? verdictText(verdict) : text('call.no_connection') : key && text(key);
    return {
      key: peer.id,
      kind: 'peer',
      id: peer.id,
      name: this.#nameOf(peer.id),
      stream: peer.streams.camera ?? null,
      silent: false,
      microphone: Boolean(media.a),
      camera: Boolean(media.v) && !link.soundOnly,
      ...link,
      state: peer.state,
      stateText,
      busy,
      retry: peer.state === 'failed',
      path: stats?.path ?? 'unknown',
      pathText: peer.state === 'connected' ? shortPath(stats) : '',
      hand: this.gestures.isUp(peer.id),
      recording: this.extras.isRecording(peer.id),
      moderated: host,
      host,
    };
  }

  async #offerZoom(tile) {
    const {Zoom} = await import('./zoom.js');
    new Zoom(tile);
  }

  #nameOf(id) {
    return this.mesh.peers.get(id)?.info.name || text('people.guest');
  }

  #showStats() {
    if (!this.active) return;
    this.show();
    this.drawer.show(this.stats.latest, (id) => this.#nameOf(id), this.stats.sending);
  }

  #retry(id) {
    this.verdicts.delete(id);
    this.mesh.restart(id, 'user');
    this.show();
  }

  async #moderate(op, fields) {
    try {
      await this.mesh.moderate(op, fields);
      return true;
    } catch (error) {
      announce(text('call.did_not_work', {why: failure(error)}));
      return false;
    }
  }

  #wireControls() {
    const {devices} = this;
    const on = (id, does) => element(id).addEventListener('click', does);
    on('mic', () => this.#toggleMicrophone());
    on('cam', () => this.#toggleCamera());
    on('screen', () => this.#toggleScreen());
    on('stop-sharing', () => this.#toggleScreen());
    // What the menu opens gives the focus back to what had it, and the menu's own buttons cannot be seen any more by then.
    element('more-menu').addEventListener('click', (event) => {
      if (!event.target.closest('button.quiet')) return;
      element('more-menu').hidePopover?.();
      element('more').focus();
    }, true);
    on('stats', () => this.drawer.toggle());
    on('chat', () => {
      this.drawer.toggle(false);
      this.chat.toggle();
    });
    on('leave', () => this.leave());
    on('settings', () => element('devices-dialog').showModal());
    on('keys', () => element('keys-dialog').showModal());
    for (const id of ['copy-link', 'alone-copy']) on(id, () => this.#copyLink());
    on('alone-invite', () => element('invite').click());
    on('tap-to-hear', async () => {
      element('tap-to-hear').hidden = true;
      await this.grid.play();
    });
    for (const button of document.querySelectorAll('dialog [data-close]')) {
      button.addEventListener('click', () => button.closest('dialog').close());
    }
    const box = element('keys-on');
    box.checked = this.shortcuts;
    box.addEventListener('change', () => {
      this.shortcuts = box.checked;
      memory.set('shortcuts', box.checked ? 'on' : 'off');
    });
    addEventListener('keydown', (event) => this.#key(event));
    document.addEventListener('visibilitychange', () => this.#showHidden());
    devices.addEventListener('change', () => this.#tellMedia());
  }

  #wireMesh() {
    const {mesh} = this;
    for (const name of ['peers', 'peer', 'room']) mesh.addEventListener(name, () => this.#changed());
    mesh.addEventListener('verdict', (event) => {
      this.verdicts.set(event.detail.peer.id, event.detail);
      this.log('verdict', {peer: event.detail.peer.id, verdict: event.detail.verdict, text: event.detail.text});
      announce(verdictText(event.detail));
      this.show();
    });
    mesh.addEventListener('mute', (event) => this.#muted(event.detail.what));
    mesh.addEventListener('knock', (event) => this.#knocked(event.detail));
  }

  /** Say who came and went, once each. */
  #changed() {
    if (!this.active) return;
    for (const id of this.mesh.peers.keys()) {
      if (!this.known.has(id)) announce(text('call.has_joined', {name: this.#nameOf(id)}));
      this.known.set(id, this.#nameOf(id));
    }
    for (const [id, name] of this.known) {
      if (!this.mesh.peers.has(id)) {
        announce(text('call.has_left', {name}));
        this.known.delete(id);
        this.verdicts.delete(id);
      }
    }
    for (const [id] of this.verdicts) {
      if (this.mesh.peers.get(id)?.state === 'connected') this.verdicts.delete(id);
    }
    this.chat.begin();
    this.#showHidden();
    this.show();
  }

  #showChat(open, unread) {
    setPressed(element('chat'), open);
    const badge = element('chat-unread');
    note(badge, unread > 0 ? number(Math.min(unread, 99)) : '');
    element('chat').setAttribute('aria-label', unread > 0 ? text('chat.unread', {count: unread}) : text('chat.title'));
  }

  #tellMedia() {
    if (!this.active) return;
    const {devices} = this;
    const media = {a: Number(devices.microphoneOn), v: Number(devices.cameraOn), s: Number(devices.screen !== null)};
    const now = JSON.stringify(media);
    if (now === this.told) return;
    this.told = now;
    this.mesh.setMedia(media);
  }

  #showHidden() {
    for (const id of this.mesh.peers.keys()) this.mesh.setHidden(id, document.hidden && !this.extras.recording);
  }

  async #copyLink() {
    let link;
    try {
      link = await this.invitation.link();
    } catch (error) {
      announce(text('call.no_link', {why: failure(error)}));
      return;
    }
    announce(await copyText(link) ? text('call.link_copied') : text('call.link_is', {link}));
  }

  async #toggleMicrophone() {
    const wanted = !this.devices.microphoneOn;
    const on = await this.devices.setMicrophone(wanted);
    announce(text(on ? 'call.microphone_on' : 'call.microphone_off'), {unseen: true});
    if (wanted && !on) this.#showProblem('audio');
  }

  async #toggleCamera() {
    const wanted = !this.devices.cameraOn;
    const on = await this.devices.setCamera(wanted);
    announce(text(on ? 'call.camera_on' : 'call.camera_off'), {unseen: true});
    if (wanted && !on) this.#showProblem('video');
  }

  /** Why a device cannot be switched on, where another one can be chosen. */
  #showProblem(kind) {
    if (this.devices.forgone) return;
    const none = {audio: null, video: null};
    note(element('call-device-problem'), problemText({...none, [kind]: this.devices.problems[kind] ?? 'NotFoundError'}));
    const dialog = element('devices-dialog');
    if (!dialog.open) dialog.showModal();
  }

  async #toggleScreen() {
    if (this.devices.screen !== null) {
      this.devices.stopSharing();
      announce(text('call.screen_not_shared'));
      return;
    }
    try {
      if (await this.devices.share()) announce(text('call.screen_shared'));
    } catch (error) {
      announce(text('call.screen_refused', {why: error.message}));
    }
  }

  async #muted(what) {
    if (what === 'video') await this.devices.setCamera(false);
    else if (what === 'screen') this.devices.stopSharing();
    else await this.devices.setMicrophone(false);
    announce(text({video: 'call.camera_off_by_host', screen: 'call.screen_stopped_by_host'}[what] ?? 'call.muted_by_host'), {urgent: true});
  }

  #knocked({id, name, gone}) {
    element('knocks').querySelector(`[data-peer="${CSS.escape(id)}"]`)?.remove();
    if (gone) return;
    const card = knockCard(() => name || text('knock.somebody'), () => {
      card.remove();
      this.#moderate('admit', {to: id});
    });
    card.dataset.peer = id;
    element('knocks').append(card);
  }

  #key(event) {
    if (!this.active || !this.shortcuts || !event.ctrlKey || event.altKey || event.metaKey || event.repeat) return;
    const key = event.key.toLowerCase();
    let does = null;
    if (!event.shiftKey && key === 'd') does = () => this.#toggleMicrophone();
    else if (!event.shiftKey && key === 'e') does = () => this.#toggleCamera();
    else if (event.shiftKey && key === 's') does = () => this.#toggleScreen();
    if (does === null) return;
    event.preventDefault();
    does();
  }
}

/** The path in two words; the drawer has all of it. */
function shortPath(stats) {
  if (!stats || stats.path === 'unknown') return '';
  if (stats.path === 'direct') return text('drawer.direct');
  if (stats.path === 'server' && !stats.relayed) return text('call.through_server');
  return stats.transport ? text('call.relayed_over', {transport: stats.transport.toUpperCase()}) : text('call.relayed');
}

/** Why there is no connection, in the words of the page, or, for what it does not know, in those of the server. */
function verdictText({verdict, case: which, tried = [], text: said}) {
  if (!hasText(`verdict.${verdict}_${which}`)) return said;
  return text(`verdict.${verdict}_${which}`, {tried: tried.length > 0 ? text('verdict.over', {ways: anyOf(tried)}) : text('verdict.in_any_way')});
}
