/** What goes on beside the tiles while there is a call: who speaks, push to talk, the system's own keys, and what can be set. */

import {announce, element, memory} from './dom.js';
import {offerFlip} from './flip.js';
import {Preferences} from './preferences.js';
import {Speaking} from './speaking.js';
import {System} from './system.js';
import {TalkKey} from './talkkey.js';
import {text} from './texts.js';

const KEYBOARD = '(any-pointer: fine)'; // there is no question that asks for a keyboard itself

export class InCall {
  /**
   * @param {object} parts
   * @param {import('./mesh.js').Mesh} parts.mesh @param {import('./devices.js').Devices} parts.devices
   * @param {import('./stats.js').StatsMonitor} parts.stats @param {string} parts.room
   * @param {(key: string) => HTMLElement | undefined} parts.tile @param {() => boolean} parts.shortcuts whether Ctrl + D works
   * @param {{togglemicrophone: () => void, togglecamera: () => void, hangup: () => void}} parts.does
   */
  constructor({mesh, devices, stats, room, tile, shortcuts, does}) {
    this.devices = devices;
    this.shortcuts = shortcuts;
    this.active = false;
    this.wasOn = false;
    this.speaking = new Speaking({mesh, devices, stats, tile, muted: () => this.#muted()});
    this.speaking.listens = memory.get('listens') !== 'off';
    this.talkKey = new TalkKey(devices, element('mic'));
    this.talkKey.on = memory.get('talkKey') !== 'off';
    this.system = new System(devices, {title: room, does: devices.forgone ? {hangup: does.hangup} : does});
    this.preferences = new Preferences(devices, element('call-preferences'), [
      this.#setting('talkKey', 'preferences.talk_key', this.talkKey, 'on'),
      this.#setting('listens', 'preferences.listens', this.speaking, 'listens'),
    ]);
    element('devices-dialog').addEventListener('close', () => this.preferences.test.stop());
    offerFlip(devices, element('flip'));
    devices.addEventListener('change', () => this.#tellKey());
  }

  /** The room has let us in. */
  enter() {
    this.active = true;
    this.talkKey.active = true;
    this.wasOn = this.devices.microphoneOn;
    this.system.start();
    this.speaking.start();
  }

  /** The call is over. */
  exit() {
    this.active = false;
    this.talkKey.release();
    this.talkKey.active = false;
    this.system.stop();
    this.speaking.stop();
    this.preferences.test.stop();
  }

  #setting(id, label, of, property) {
    const set = (on) => {
      of[property] = on;
      memory.set(id, on ? 'on' : 'off');
    };
    return {id, label, on: of[property], set};
  }

  get #holds() {
    return this.talkKey.on && matchMedia(KEYBOARD).matches;
  }

  #muted() {
    const ways = [this.shortcuts() ? text('muted.key') : '', this.#holds ? text('muted.hold') : ''].filter(Boolean);
    announce([text('muted.you_are'), ...ways].join(' '), {urgent: true});
  }

  /** Said when one mutes for the first time, since nobody looks for a key that is not to be seen. */
  #tellKey() {
    const {microphoneOn} = this.devices;
    const muted = this.wasOn && !microphoneOn;
    this.wasOn = microphoneOn;
    if (!muted || !this.active || !this.#holds || this.told || memory.get('toldKey')) return;
    this.told = true;
    memory.set('toldKey', 'yes');
    announce(text('muted.hold'));
  }
}
