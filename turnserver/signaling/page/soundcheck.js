/** Trying microphone and speaker before the others have to. Nothing of it leaves the page, and nothing is kept. */

import {announce} from './dom.js';
import {put, text} from './texts.js';

const RECORDED = 3000; // ms
const NOTES = [523.25, 659.25, 783.99, 1046.5]; // Hz: a chord, one note after the other
const STEP = 0.16; // s from one note to the next
const LENGTH = 1.5; // s
const RATE = 22_050; // samples a second
const HEADER = 44; // bytes before the samples of a WAV file

/** One button that begins something and stops it; what it does just now is its text, and `data-state`. */
class Trial {
  constructor(button, texts) {
    this.button = button;
    this.texts = texts;
    this.state = 'idle';
    this.audio = null;
  }

  /** Begin, or stop. */
  press() {
    if (this.state === 'idle') this.begin();
    else this.stop();
  }

  /** As if it had not been begun. */
  stop() {
    this.audio?.pause();
    this.show('idle');
  }

  show(state) {
    if (state === this.state) return;
    this.state = state;
    this.button.dataset.state = state;
    put(this.button, this.texts[state]);
    announce(text(this.texts[state]), {unseen: true});
  }

  /** Play it to the end, or until `stop`. @param {Blob} sound @param {string} speaker empty: the system's choice */
  async play(sound, speaker) {
    const audio = new Audio(URL.createObjectURL(sound));
    this.audio = audio;
    this.show('playing');
    try {
      if (speaker && audio.setSinkId) await audio.setSinkId(speaker).catch(() => {});
      if (this.state !== 'playing') return;
      const over = new Promise((resolve) => { for (const type of ['ended', 'pause', 'error']) audio.addEventListener(type, resolve); });
      await audio.play();
      await over;
    } catch (error) {
      if (error.name !== 'AbortError') announce(text('sound.cannot_play', {why: error.message}));
    } finally {
      URL.revokeObjectURL(audio.src);
      if (this.audio === audio) {
        this.audio = null;
        this.show('idle');
      }
    }
  }
}

/** A few seconds of the microphone, and then what they sound like. */
export class MicrophoneTest extends Trial {
  /** @param {import('./devices.js').Devices} devices @param {HTMLButtonElement} button */
  constructor(devices, button) {
    super(button, {idle: 'sound.test_microphone', recording: 'sound.recording', playing: 'sound.playing'});
    this.devices = devices;
    this.recorder = null;
    devices.addEventListener('change', () => {
      if (this.state === 'recording' && (devices.audio !== this.track || !devices.microphoneOn)) this.stop();
    });
  }

  /** Record, then play. */
  async begin() {
    const {devices} = this;
    if (!devices.microphoneOn) {
      announce(text('sound.microphone_off'));
      return;
    }
    this.track = devices.audio;
    const parts = [];
    const recorder = new MediaRecorder(new MediaStream([this.track]));
    this.recorder = recorder;
    recorder.addEventListener('dataavailable', ({data}) => parts.push(data));
    const over = new Promise((resolve) => { recorder.addEventListener('stop', resolve); });
    recorder.start();
    this.show('recording');
    const timer = setTimeout(() => recorder.state !== 'inactive' && recorder.stop(), RECORDED);
    await over;
    clearTimeout(timer);
    if (this.recorder !== recorder) return;
    this.recorder = null;
    await this.play(new Blob(parts, {type: parts[0]?.type}), devices.current('audiooutput'));
  }

  stop() {
    const {recorder} = this;
    this.recorder = null;
    if (recorder !== null && recorder.state !== 'inactive') recorder.stop();
    super.stop();
  }
}

/** A pleasant sound, where the others would be heard. */
export class SpeakerTest extends Trial {
  /** @param {import('./devices.js').Devices} devices @param {HTMLButtonElement} button */
  constructor(devices, button) {
    super(button, {idle: 'sound.test_speaker', playing: 'sound.playing'});
    this.devices = devices;
  }

  /** Play it. */
  begin() {
    return this.play(new Blob([chime()], {type: 'audio/wav'}), this.devices.current('audiooutput'));
  }
}

/** Four notes, each of which dies away, as a WAV file: 16 bit, one channel. */
function chime() {
  const count = Math.round(LENGTH * RATE);
  const view = new DataView(new ArrayBuffer(HEADER + count * 2));
  const words = [[0, 'RIFF'], [8, 'WAVE'], [12, 'fmt '], [36, 'data']];
  for (const [at, word] of words) [...word].forEach((letter, index) => view.setUint8(at + index, letter.charCodeAt(0)));
  const long = [[4, HEADER - 8 + count * 2], [16, 16], [24, RATE], [28, RATE * 2], [40, count * 2]];
  for (const [at, value] of long) view.setUint32(at, value, true);
  for (const [at, value] of [[20, 1], [22, 1], [32, 2], [34, 16]]) view.setUint16(at, value, true);
  for (let index = 0; index < count; index += 1) {
    let sum = 0;
    NOTES.forEach((pitch, note) => {
      const since = index / RATE - note * STEP;
      if (since > 0) sum += Math.sin(2 * Math.PI * pitch * since) * Math.min(1, since * 200) * Math.exp(-4 * since);
    });
    view.setInt16(HEADER + index * 2, sum * 6000, true);
  }
  return view.buffer;
}
