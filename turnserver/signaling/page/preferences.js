/** What is set once and remembered: what is done to one's sound and picture, and the sound of the speaker, to try it. */

import {PROCESSING} from './devices.js';
import {announce, make} from './dom.js';
import {SpeakerTest} from './soundcheck.js';
import {put, text} from './texts.js';

const LABELS = {
  noiseSuppression: 'preferences.noise',
  echoCancellation: 'preferences.echo',
  autoGainControl: 'preferences.gain',
  backgroundBlur: 'preferences.blur',
};

/** The part of the device dialog, and of the lobby, that is only made when it is asked for. */
export class Preferences {
  /**
   * @param {import('./devices.js').Devices} devices @param {HTMLElement} container is filled
   * @param {{id: string, label: string, on: boolean, set: (on: boolean) => void}[]} [more] switches for other things; `label` is the key of a text
   */
  constructor(devices, container, more = []) {
    this.devices = devices;
    this.queue = Promise.resolve();
    this.pending = new Map(); // how many changes are under way, by name
    this.switches = new Map();
    this.sends = make('div', '', {class: 'switches', 'data-sends': ''});
    this.music = says(make('p', '', {class: 'muted small'}), 'preferences.music');
    for (const name of [...PROCESSING, 'backgroundBlur']) {
      if (name === 'backgroundBlur') this.sends.append(this.music);
      this.switches.set(name, this.#switch(this.sends, name, LABELS[name], (on) => this.#prefer(name, on)));
    }
    for (const {id, label, on, set} of more) this.#switch(this.sends, id, label, set).checked = on;
    container.replaceChildren(this.#speaker(), this.sends);
    devices.addEventListener('change', () => this.show());
    this.show();
  }

  /** Show what the tracks really have. */
  show() {
    const {devices} = this;
    devices.video?.addEventListener('configurationchange', this.changed ??= () => this.show()); // by the system's own settings
    this.music.hidden = !PROCESSING.some((name) => possible(devices.audio, name));
    for (const [name, box] of this.switches) {
      const track = name === 'backgroundBlur' ? devices.video : devices.audio;
      box.closest('label').hidden = !possible(track, name);
      if (!this.pending.get(name)) box.checked = Boolean(track?.getSettings()[name] ?? devices.set[name] ?? true);
    }
  }

  /** A sound, and where browsers have it the choice of another speaker. */
  #speaker() {
    const {devices} = this;
    const row = make('p', '', {class: 'actions'});
    const button = says(make('button', '', {type: 'button', class: 'secondary', 'data-testid': 'speaker-test', 'data-state': 'idle'}), 'sound.test_speaker');
    this.test = new SpeakerTest(devices, button);
    button.addEventListener('click', () => this.test.press());
    row.append(button);
    if (devices.mediaDevices?.selectAudioOutput) {
      const other = says(make('button', '', {type: 'button', class: 'secondary', 'data-testid': 'speaker-choose'}), 'sound.other_speaker');
      other.addEventListener('click', async () => {
        const chosen = await devices.mediaDevices.selectAudioOutput().catch(() => null); // thought better of it
        if (chosen !== null) await devices.choose('audiooutput', chosen.deviceId);
      });
      row.append(other);
    }
    return row;
  }

  #switch(container, id, label, set) {
    const box = make('input', '', {type: 'checkbox', 'data-testid': id});
    const row = make('label', '', {class: 'switch', 'data-switch': id});
    row.append(box, says(make('span'), label));
    box.addEventListener('change', () => set(box.checked));
    container.append(row);
    return box;
  }

  /** One after the other, since each may open the device anew. */
  #prefer(name, on) {
    const count = (by) => this.pending.set(name, (this.pending.get(name) ?? 0) + by);
    count(1);
    this.queue = this.queue.then(() => this.#apply(name, on)).catch((error) => announce(text('call.did_not_work', {why: error.message || error.name}))).then(() => {
      count(-1);
      this.show();
    });
  }

  /** On the track where browsers can (Firefox), or else by another track of the same device (Chromium). */
  async #apply(name, on) {
    const {devices} = this;
    const kind = name === 'backgroundBlur' ? 'video' : 'audio';
    devices.prefer(name, on);
    const track = devices[kind];
    if (track === null) return;
    await track.applyConstraints({...track.getConstraints(), [name]: on}).catch(() => {});
    if (track.getSettings()[name] === on) return;
    await devices.renew(kind);
    if (devices[kind]?.getSettings()[name] !== on) announce(text('preferences.not_here'));
  }
}

/** An element with a text. */
function says(target, key) {
  put(target, key);
  return target;
}

/** Whether it can be had and can be left out; without a track, whether browsers know of it. */
function possible(track, name) {
  const choices = track?.getCapabilities?.()[name];
  if (choices) return choices.includes(true) && choices.includes(false);
  if (name === 'backgroundBlur') return false;
  return Boolean(navigator.mediaDevices?.getSupportedConstraints()[name]);
}
