/** What is needed in few calls, behind the menu: its buttons are here, and the rest is loaded when one is pressed. */

import {Apart, possible} from './apart.js';
import {announce, element, make, setIcon, setPressed} from './dom.js';
import {failure, list, put, text} from './texts.js';

export class Extras {
  #parts; #recorder = null; #apart = null; #invite; #recording = new Map();

  /**
   * @param {{mesh: import('./mesh.js').Mesh, devices: import('./devices.js').Devices, room: string, nameOf: (id: string) => string,
   *   invitation: {possible: boolean, link: () => Promise<string>}, picture: () => HTMLVideoElement | null, changed: () => void}} parts
   *   `picture` is the one on the stage
   */
  constructor(parts) {
    this.#parts = parts;
    if (possible()) this.#button('small-window', 'extras.apart', 'apart', () => this.#showApart());
    this.#invite = this.#button('invite', 'invite.title', 'link', () => this.#showInvite());
    this.#invite.setAttribute('aria-haspopup', 'dialog');
    this.#button('record', 'extras.record', 'record', () => this.#record());
  }

  #button(id, key, icon, does) {
    const made = make('button', '', {type: 'button', class: 'quiet', id, 'data-testid': `${id}-button`});
    const label = make('span');
    put(label, key);
    made.append(document.querySelector('#settings svg').cloneNode(true), label);
    setIcon(made, icon);
    made.addEventListener('click', () => {
      element('more-menu').hidePopover?.();
      does();
    });
    element('settings').before(made);
    return made;
  }

  /** Whether the call is recorded here, so that all pictures are needed even if nobody looks at the page. */
  get recording() {
    return this.#recorder?.running ?? false;
  }

  /** In the call: what a page that has died has left of its recording is offered. */
  async begin() {
    if (!localStorageHas('meshturn.recordings')) return;
    const {leftovers, megabytes} = await import('./keeping.js');
    for (const {size, ...each} of await leftovers()) await this.#offer({...each, size: megabytes(size)});
  }

  /** @param {import('./tiles.js').TileView[]} views of the tiles */
  show(views) {
    setPressed(element('record'), this.recording);
    this.#invite.hidden = !this.#parts.invitation.possible;
    this.#apart?.update(views);
    this.#showRecording();
  }

  /** Who records, as the others say; it ends with the page that does it. */
  #showRecording() {
    const now = new Map();
    for (const id of this.#parts.mesh.peers.keys()) if (this.isRecording(id)) now.set(id, this.#parts.nameOf(id));
    for (const [id, name] of now) if (!this.#recording.has(id)) announce(text('record.begins', {name}));
    for (const [id, name] of this.#recording) if (!now.has(id)) announce(text('record.ends', {name}));
    this.#recording = now;
    let mark = document.getElementById('recorded');
    if (now.size === 0) {
      mark?.remove();
      return;
    }
    if (mark === null) {
      mark = make('p', '', {id: 'recorded', class: 'recorded', 'data-testid': 'recorded'});
      element('call-count').after(mark);
    }
    const line = text('record.mark', {names: list([...now.values()])});
    if (mark.textContent !== line) mark.textContent = line;
  }

  /** Whether somebody records: no longer, if that page has died. @param {string} id */
  isRecording(id) {
    const peer = this.#parts.mesh.peers.get(id);
    return Boolean(peer?.info.meta?.rec) && !(peer.gap && peer.state !== 'connected');
  }

  /** How high the pictures in the small window are, by the key of their tiles; empty without one. @type {Map<string, number>} */
  get heights() { return this.#apart?.heights ?? new Map(); }

  /** The call is over: what has been recorded is saved. */
  end() {
    this.#recorder?.stop();
    this.#apart?.close();
    this.#recording.clear();
    document.getElementById('recorded')?.remove();
  }

  /** The ways to invite others. */
  async #showInvite() {
    const {invite} = await import('./invite.js');
    await invite(this.#parts.room, () => this.#parts.invitation.link());
  }

  async #showApart() {
    this.#apart ??= new Apart(() => setPressed(element('small-window'), false));
    try {
      if (this.#apart.open) this.#apart.close();
      else await this.#apart.show(this.#parts.picture());
      setPressed(element('small-window'), this.#apart.open);
      this.#parts.changed();
    } catch (error) {
      announce(text('extras.no_window', {reason: failure(error)}));
    }
  }

  async #record() {
    const {mesh, devices, room, changed} = this.#parts;
    if (this.#recorder === null) {
      const {Recorder} = await import('./record.js');
      this.#recorder ??= new Recorder({mesh, devices, room, changed});
    }
    if (this.#recorder.running) await this.#recorder.stop();
    else await this.#recorder.start();
  }

  async #offer({file, size, save, discard}) {
    const {ask} = await import('./ask.js');
    const answer = await ask({
      title: text('record.left'),
      text: text('record.left_text', {file, size}),
      answers: [{value: 'save', label: text('record.save')}, {value: 'discard', label: text('record.delete'), danger: true}],
    });
    if (answer === 'save') await save();
    else if (answer === 'discard') await discard();
  }
}

function localStorageHas(key) {
  try {
    return (localStorage.getItem(key) ?? '[]') !== '[]';
  } catch {
    return false;
  }
}
